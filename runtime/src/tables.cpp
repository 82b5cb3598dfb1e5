//===- tables.cpp - checking the tables of a loaded model -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "tables.h"

#include <cstring>

namespace effrt {
namespace {

// Bounds that keep sums of sizes far from overflow.
constexpr uint64_t mostBytes = uint64_t(1) << 44;
constexpr uint32_t mostOperands = 4096;
constexpr uint32_t mostInputs = 4096;
constexpr int32_t mostRows = 1 << 20;

class Checker {
public:
  Checker(const CodeImage &image, const eff_model &model)
      : image_(image), model_(model) {}

  std::string run(const eff_header &header, const Manifest &manifest) {
    std::string why = checkModel(header, manifest);
    for (uint32_t i = 0; why.empty() && i < model_.variant_count; ++i)
      why = checkVariant(model_.variants[i], manifest);
    return why;
  }

private:
  template <typename T> bool has(const T *table, uint64_t count) const {
    return count == 0 ||
           (count < mostBytes / sizeof(T) &&
            reinterpret_cast<uintptr_t>(table) % alignof(T) == 0 &&
            image_.contains(table, count * sizeof(T)));
  }

  std::string checkModel(const eff_header &header, const Manifest &manifest) {
    if (model_.magic != EFF_MAGIC || model_.abi_version != header.abi_version ||
        model_.model_bytes < sizeof(eff_model) ||
        !image_.contains(&model_, model_.model_bytes))
      return "its entry point is not a model's table";
    if (model_.weights_bytes != header.weights_bytes ||
        model_.weights_bytes > mostBytes)
      return "the size of the weights is not what the code expects";
    if (model_.variant_count == 0 ||
        !has(model_.variants, model_.variant_count))
      return "the table of targets is not inside the file";
    if (!has(model_.states, model_.state_count))
      return "the table of states is not inside the file";
    if (model_.vocab < 0 || model_.max_length < 0 ||
        manifest.vocab != model_.vocab ||
        manifest.maxLength != model_.max_length)
      return "vocabulary or capacity differ between manifest and code";
    if (manifest.states.size() != model_.state_count)
      return "the states differ between manifest and code";
    for (uint32_t i = 0; i < model_.state_count; ++i)
      if (std::string why = checkState(model_.states[i], manifest.states[i]);
          !why.empty())
        return why;
    return "";
  }

  std::string checkState(const eff_state &state, const StateInfo &info) {
    if (!image_.containsText(state.name))
      return "a state has no name";
    std::string name = "the state '" + std::string(state.name) + "' ";
    if (state.kind > EFF_STATE_CACHE || state.slot_bytes > mostBytes)
      return name + "has an impossible kind or size";
    if (state.kind == EFF_STATE_CACHE) {
      uint64_t head = 0;
      if (state.heads == 0 || model_.max_length == 0 ||
          state.slot_bytes % state.heads != 0 ||
          __builtin_mul_overflow(state.token_bytes, uint64_t(model_.max_length),
                                 &head) ||
          head > state.slot_bytes / state.heads)
        return name + "is smaller than its rows";
    }
    if (info.name != state.name || uint32_t(info.kind) != state.kind ||
        info.bytes != state.slot_bytes)
      return name + "differs between manifest and code";
    return "";
  }

  std::string checkVariant(const eff_variant &variant,
                           const Manifest &manifest) {
    if (!image_.containsText(variant.target))
      return "a target has no name";
    if (variant.entry_count == 0 || !has(variant.entries, variant.entry_count))
      return "the table of entry points is not inside the file";
    if (manifest.entries.size() != variant.entry_count)
      return "the entry points differ between manifest and code";
    for (uint32_t i = 0; i < variant.entry_count; ++i)
      if (std::string why = checkEntry(variant.entries[i], manifest.entries[i]);
          !why.empty())
        return why;
    return "";
  }

  std::string checkEntry(const eff_entry &entry, const EntryInfo &info) {
    if (!image_.containsText(entry.name))
      return "an entry point has no name";
    std::string name = "the entry point '" + std::string(entry.name) + "' ";
    if (entry.kind > EFF_ENTRY_FORWARD || entry.batch < 1 || entry.tokens < 1 ||
        entry.batch > mostRows || entry.tokens > mostRows ||
        entry.arena_bytes > mostBytes || entry.input_count > mostInputs ||
        entry.output_count > mostInputs)
      return name + "has an impossible size";
    if (!has(entry.steps, entry.step_count) ||
        !has(entry.input_bytes, entry.input_count) ||
        !has(entry.output_bytes, entry.output_count))
      return "the tables of " + name + "are not inside the file";
    // For arenas a manifest may say what one target needs.
    if (info.name != entry.name || uint32_t(info.kind) != entry.kind ||
        info.batch != entry.batch || info.tokens != entry.tokens ||
        info.inputs.size() != entry.input_count ||
        info.outputs.size() != entry.output_count)
      return name + "differs between manifest and code";
    for (uint32_t i = 0; i < entry.input_count; ++i)
      if (entry.input_bytes[i] > mostBytes ||
          info.inputs[i].bytes() != entry.input_bytes[i])
        return "the inputs of " + name + "differ between manifest and code";
    // The first output of token entries is the logits.
    bool logits = entry.kind != EFF_ENTRY_FORWARD;
    for (uint32_t i = 0; i < entry.output_count; ++i)
      if (entry.output_bytes[i] > mostBytes ||
          ((!logits || i > 0) &&
           info.outputs[i].bytes() != entry.output_bytes[i]))
        return "the outputs of " + name + "differ between manifest and code";
    if (logits) {
      uint64_t ids = uint64_t(entry.batch) * uint64_t(entry.tokens) * 4;
      if (model_.vocab == 0 || entry.input_count != 1 ||
          entry.output_count < 1 || entry.input_bytes[0] != ids)
        return name + "does not turn token ids into logits";
    }
    for (uint32_t i = 0; i < entry.step_count; ++i)
      if (std::string why = checkStep(entry, entry.steps[i]); !why.empty())
        return "step " + std::to_string(i) + " of " + name + why;
    return "";
  }

  std::string checkStep(const eff_entry &entry, const eff_step &step) {
    if (!image_.contains(reinterpret_cast<const void *>(step.run), 1,
                         /*execute=*/true))
      return "has no code";
    if (step.name && !image_.containsText(step.name))
      return "has no name";
    if (step.operand_count > mostOperands ||
        !has(step.operands, step.operand_count))
      return "has operands outside the file";
    for (uint32_t i = 0; i < step.operand_count; ++i)
      if (!inRange(entry, step.operands[i]))
        return "has an operand out of range";
    return "";
  }

  bool inRange(const eff_entry &entry, const eff_operand &operand) const {
    uint64_t size = 0;
    switch (operand.kind) {
    case EFF_OPERAND_ARENA:
      size = entry.arena_bytes;
      break;
    case EFF_OPERAND_WEIGHT:
      size = model_.weights_bytes;
      break;
    case EFF_OPERAND_STATE:
      if (operand.index >= model_.state_count)
        return false;
      size = model_.states[operand.index].slot_bytes;
      break;
    case EFF_OPERAND_INPUT:
      if (operand.index >= entry.input_count)
        return false;
      size = entry.input_bytes[operand.index];
      break;
    case EFF_OPERAND_OUTPUT:
      if (operand.index >= entry.output_count)
        return false;
      size = entry.output_bytes[operand.index];
      break;
    case EFF_OPERAND_NULL:
      return true;
    default:
      return false;
    }
    // An operand without bytes may stand at the end.
    return operand.offset <= size;
  }

  const CodeImage &image_;
  const eff_model &model_;
};

} // namespace

std::string checkTables(const CodeImage &image, const eff_model &model,
                        const eff_header &header, const Manifest &manifest) {
  return Checker(image, model).run(header, manifest);
}

} // namespace effrt
