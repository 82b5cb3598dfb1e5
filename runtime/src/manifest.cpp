//===- manifest.cpp - what a model file says of itself --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/manifest.h"
#include "effrt/codes.h"
#include "effrt/cpu.h"
#include "json_members.h"

#include <nlohmann/json.hpp>

#include <limits>
#include <map>

namespace effrt {
namespace {

using Json = nlohmann::json;

constexpr size_t mostItems = 1 << 20;
constexpr size_t mostDimensions = 16;

struct NamedType {
  const char *name;
  DType type;
  uint64_t bytes;
};
constexpr NamedType types[] = {
    {"f32", DType::F32, 4},  {"f16", DType::F16, 2}, {"bf16", DType::BF16, 2},
    {"f64", DType::F64, 8},  {"i8", DType::I8, 1},   {"i16", DType::I16, 2},
    {"i32", DType::I32, 4},  {"i64", DType::I64, 8}, {"u8", DType::U8, 1},
    {"u16", DType::U16, 2},  {"u32", DType::U32, 4}, {"u64", DType::U64, 8},
    {"bool", DType::Bool, 1}};

Error broken(const std::string &where, const std::string &why) {
  return fail(Code::DamagedModel, "the model file's manifest is damaged", where,
              why);
}

/// Reads members of one object; remembers the first thing that is wrong.
class Reader {
public:
  Reader(const Json &object, std::string path, Status &status)
      : object_(object), path_(std::move(path)), status_(status) {
    if (!object_.is_object())
      wrong("", "an object");
  }

  void text(const char *key, std::string &value) {
    if (const Json *member = find(key)) {
      if (member->is_string())
        value = member->get_ref<const std::string &>();
      else
        wrong(key, "a string");
    }
  }
  template <typename Int> void number(const char *key, Int &value) {
    if (const Json *member = find(key))
      value = integer<Int>(*member, key);
  }
  void numbers(const char *key, std::vector<int64_t> &values, size_t most) {
    const Json *member = find(key);
    if (!member)
      return;
    if (!member->is_array() || member->size() > most)
      return wrong(key, "a list of numbers");
    for (const Json &item : *member)
      values.push_back(integer<int64_t>(item, key));
  }
  /// Calls `each(item, path)` for the items of a list.
  template <typename F> void list(const char *key, F each) {
    const Json *member = find(key);
    if (!member)
      return;
    if (!member->is_array() || member->size() > mostItems)
      return wrong(key, "a list");
    size_t index = 0;
    for (const Json &item : *member) {
      if (!status_.ok())
        return;
      each(item, join(key) + "[" + std::to_string(index++) + "]");
    }
  }
  /// The number that a word stands for.
  template <typename Enum>
  void word(const char *key, Enum &value,
            const std::map<std::string, Enum> &known) {
    std::string name;
    text(key, name);
    if (name.empty())
      return;
    auto at = known.find(name);
    if (at == known.end())
      return wrong(key, "a known word, not '" + name + "'");
    value = at->second;
  }

  const Json *find(const char *key) const {
    if (!object_.is_object())
      return nullptr;
    auto at = object_.find(key);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }
  void wrong(const std::string &key, const std::string &expected) {
    if (status_.ok())
      status_ = broken(join(key), "it must be " + expected);
  }

private:
  template <typename Int> Int integer(const Json &item, const char *key) {
    if (item.is_number_unsigned()) {
      uint64_t value = item.get<uint64_t>();
      if (value <= uint64_t(std::numeric_limits<Int>::max()))
        return static_cast<Int>(value);
    } else if (item.is_number_integer() && std::is_signed_v<Int>) {
      int64_t value = item.get<int64_t>();
      if (value >= int64_t(std::numeric_limits<Int>::min()) &&
          value <= int64_t(std::numeric_limits<Int>::max()))
        return static_cast<Int>(value);
    }
    wrong(key, "a whole number in range");
    return 0;
  }
  std::string join(const std::string &key) const {
    return path_.empty() || key.empty() ? path_ + key : path_ + "." + key;
  }

  const Json &object_;
  std::string path_;
  Status &status_;
};

TensorInfo readTensor(const Json &item, const std::string &path,
                      Status &status) {
  TensorInfo tensor;
  Reader reader(item, path, status);
  reader.text("name", tensor.name);
  std::map<std::string, DType> known;
  for (const NamedType &type : types)
    known.emplace(type.name, type.type);
  reader.word("dtype", tensor.dtype, known);
  reader.numbers("shape", tensor.shape, mostDimensions);
  uint64_t elements = 1;
  for (int64_t extent : tensor.shape)
    if (extent < 0 ||
        __builtin_mul_overflow(elements, uint64_t(extent), &elements) ||
        elements > (uint64_t(1) << 48))
      reader.wrong("shape", "a shape that fits into memory");
  return tensor;
}

EntryInfo readEntry(const Json &item, const std::string &path, Status &status) {
  EntryInfo entry;
  Reader reader(item, path, status);
  reader.text("name", entry.name);
  reader.word<eff_entry_kind>("kind", entry.kind,
                              {{"decode", EFF_ENTRY_DECODE},
                               {"prefill", EFF_ENTRY_PREFILL},
                               {"forward", EFF_ENTRY_FORWARD}});
  reader.number("batch", entry.batch);
  reader.number("tokens", entry.tokens);
  reader.number("arena_bytes", entry.arenaBytes);
  reader.number("flops", entry.flops);
  reader.number("integer_ops", entry.integerOps);
  reader.number("bytes", entry.bytes);
  reader.list("inputs", [&](const Json &tensor, const std::string &where) {
    entry.inputs.push_back(readTensor(tensor, where, status));
  });
  reader.list("outputs", [&](const Json &tensor, const std::string &where) {
    entry.outputs.push_back(readTensor(tensor, where, status));
  });
  if (entry.batch < 1 || entry.tokens < 1)
    reader.wrong("batch", "positive, as tokens must be");
  return entry;
}

StateInfo readState(const Json &item, const std::string &path, Status &status) {
  StateInfo state;
  Reader reader(item, path, status);
  reader.text("name", state.name);
  reader.word<eff_state_kind>(
      "kind", state.kind,
      {{"recurrent", EFF_STATE_RECURRENT}, {"cache", EFF_STATE_CACHE}});
  reader.numbers("shape", state.shape, mostDimensions);
  reader.number("bytes", state.bytes);
  reader.text("input", state.input);
  reader.text("output", state.output);
  return state;
}

KernelInfo readKernel(const Json &item, const std::string &path,
                      Status &status) {
  KernelInfo kernel;
  if (item.is_string()) {
    kernel.name = item.get<std::string>();
    return kernel;
  }
  Reader reader(item, path, status);
  reader.text("name", kernel.name);
  reader.text("family", kernel.family);
  reader.text("spec", kernel.spec);
  reader.text("target", kernel.target);
  return kernel;
}

WeightInfo readWeight(const Json &item, const std::string &path,
                      Status &status) {
  WeightInfo weight;
  Reader reader(item, path, status);
  reader.text("name", weight.name);
  reader.number("offset", weight.offset);
  reader.number("bytes", weight.bytes);
  reader.numbers("shape", weight.shape, mostDimensions);
  reader.text("format", weight.format);
  return weight;
}

TargetInfo readTarget(const Json &item, const std::string &path,
                      Status &status) {
  TargetInfo target;
  if (item.is_string()) {
    target.name = item.get<std::string>();
    return target;
  }
  Reader reader(item, path, status);
  reader.text("name", target.name);
  reader.list("features", [&](const Json &feature, const std::string &) {
    if (feature.is_string())
      target.features |= featureByName(feature.get<std::string>());
  });
  return target;
}

void readModel(const Json &item, Manifest &manifest, Status &status) {
  Reader reader(item, "model", status);
  reader.word<ModelKind>("kind", manifest.kind,
                         {{"causal_lm", ModelKind::CausalLM},
                          {"image_classifier", ModelKind::ImageClassifier},
                          {"generic", ModelKind::Generic}});
  reader.text("arch", manifest.architecture);
  reader.text("name", manifest.name);
  reader.number("vocab", manifest.vocab);
  reader.number("max_length", manifest.maxLength);
  reader.number("parameters", manifest.parameters);
  if (const Json *config = reader.find("config"))
    manifest.config = config->dump();
}

void readGeneration(const Json &item, Manifest &manifest, Status &status) {
  Reader reader(item, "generation", status);
  reader.number("bos", manifest.bos);
  const Json *eos = reader.find("eos");
  if (eos && eos->is_number_integer())
    manifest.eos.push_back(eos->get<int64_t>());
  else
    reader.numbers("eos", manifest.eos, mostItems);
}

} // namespace

const char *dtypeName(DType type) {
  for (const NamedType &known : types)
    if (known.type == type)
      return known.name;
  return "?";
}

uint64_t dtypeBytes(DType type) {
  for (const NamedType &known : types)
    if (known.type == type)
      return known.bytes;
  return 0;
}

const char *modelKindName(ModelKind kind) {
  switch (kind) {
  case ModelKind::CausalLM:
    return "causal_lm";
  case ModelKind::ImageClassifier:
    return "image_classifier";
  case ModelKind::Generic:
    return "generic";
  }
  return "?";
}

uint64_t TensorInfo::elements() const {
  uint64_t count = 1;
  for (int64_t extent : shape)
    count *= uint64_t(extent);
  return count;
}

const EntryInfo *Manifest::findEntry(std::string_view name) const {
  for (const EntryInfo &entry : entries)
    if (entry.name == name)
      return &entry;
  return nullptr;
}

Result<Manifest> parseManifest(std::string text) {
  Manifest manifest;
  manifest.text = std::move(text);
  // A tokenizer can have many megabytes: its own reader parses it, if anybody
  // asks for it.
  std::vector<JsonMember> members;
  if (!splitMembers(manifest.text, members))
    return broken("", "it is not a JSON object");
  Json rest = Json::object();
  for (const JsonMember &member : members) {
    if (member.value == "null")
      continue;
    std::string *raw = member.key == "tokenizer" ? &manifest.tokenizer
                       : member.key == "recipe"  ? &manifest.recipe
                       : member.key == "source"  ? &manifest.source
                                                 : nullptr;
    if (raw) {
      *raw = std::string(member.value);
      continue;
    }
    Json value = Json::parse(member.value, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded())
      return broken(member.key, "it is not JSON");
    rest[member.key] = std::move(value);
  }

  Status status;
  Reader reader(rest, "", status);
  reader.number("format", manifest.format);
  if (status.ok() && manifest.format != 1)
    return fail(Code::NewerModel, "the model file was made by a newer effc", "",
                "its manifest has format " + std::to_string(manifest.format) +
                    ", known is 1");
  reader.text("effc", manifest.effcVersion);
  reader.text("chat_template", manifest.chatTemplate);
  if (const Json *model = reader.find("model"))
    readModel(*model, manifest, status);
  else
    reader.wrong("model", "an object");
  if (const Json *generation = reader.find("generation"))
    readGeneration(*generation, manifest, status);
  reader.list("entries", [&](const Json &item, const std::string &path) {
    manifest.entries.push_back(readEntry(item, path, status));
  });
  reader.list("states", [&](const Json &item, const std::string &path) {
    manifest.states.push_back(readState(item, path, status));
  });
  reader.list("kernels", [&](const Json &item, const std::string &path) {
    manifest.kernels.push_back(readKernel(item, path, status));
  });
  reader.list("weights", [&](const Json &item, const std::string &path) {
    manifest.weights.push_back(readWeight(item, path, status));
  });
  reader.list("targets", [&](const Json &item, const std::string &path) {
    manifest.targets.push_back(readTarget(item, path, status));
  });
  if (!status)
    return status;
  return manifest;
}

} // namespace effrt
