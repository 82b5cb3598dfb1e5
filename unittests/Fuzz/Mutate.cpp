//===- Mutate.cpp - damaged copies of files -------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Mutate.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

using namespace effc;
using namespace effc::fuzz;

static size_t below(Random &random, size_t count) { return random() % count; }

/// Numbers where programs err.
static int64_t interesting(Random &random) {
  static const int64_t values[] = {0,
                                   1,
                                   -1,
                                   2,
                                   7,
                                   16,
                                   64,
                                   255,
                                   -128,
                                   65536,
                                   INT32_MAX,
                                   INT32_MIN,
                                   int64_t(INT32_MAX) + 1,
                                   int64_t(1) << 40,
                                   INT64_MAX,
                                   INT64_MIN,
                                   INT64_MAX - 1};
  return random() % 4 ? values[below(random, std::size(values))]
                      : int64_t(random() % 64) - 16;
}

std::string effc::fuzz::mutateBytes(std::string bytes, Random &random) {
  for (size_t changes = 1 + below(random, 4); changes > 0; --changes) {
    if (bytes.empty())
      bytes = "x";
    size_t at = below(random, bytes.size());
    size_t length = 1 + below(random, std::min<size_t>(bytes.size() - at, 16));
    switch (random() % 8) {
    case 0:
      bytes[at] = char(random());
      break;
    case 1:
      bytes[at] ^= char(1 << random() % 8);
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(below(random, bytes.size()), length));
      break;
    case 4:
      bytes.replace(at, length, length, "\x00\xff\x7f\x80\x01"[random() % 5]);
      break;
    case 5: {
      int64_t value = interesting(random);
      bytes.replace(at, std::min<size_t>(8, bytes.size() - at),
                    std::string(reinterpret_cast<char *>(&value), 8));
      break;
    }
    case 6:
      std::swap(bytes[at], bytes[below(random, bytes.size())]);
      break;
    default:
      if (random() % 4 == 0)
        bytes.resize(at);
      break;
    }
  }
  return bytes;
}

//===----------------------------------------------------------------------===//
// Models
//===----------------------------------------------------------------------===//

namespace {
/// A field of protobuf's wire format. Bytes that read as fields themselves are
/// taken for a message: the format does not tell them apart.
struct Field {
  uint64_t tag = 0;    ///< number and wire type
  uint64_t number = 0; ///< of types 0, 1 and 5
  std::string text;    ///< of type 2, when it is no message
  std::vector<Field> fields;

  unsigned type() const { return tag & 7; }
  bool isText() const { return type() == 2 && fields.empty(); }
};
using Fields = std::vector<Field>;

class Reader {
public:
  explicit Reader(std::string_view bytes) : rest(bytes) {}

  /// Nothing when the bytes are not fields to their end.
  bool read(Fields &fields, int depth = 0) {
    while (!rest.empty()) {
      Field field;
      if (!readVarint(field.tag) || field.tag < 8 || field.tag >= 512)
        return false;
      uint64_t length = 0;
      switch (field.type()) {
      case 0:
        if (!readVarint(field.number))
          return false;
        break;
      case 1:
      case 5:
        if (!readFixed(field.number, field.type() == 1 ? 8 : 4))
          return false;
        break;
      case 2:
        if (!readVarint(length) || length > rest.size())
          return false;
        field.text = rest.substr(0, length);
        rest.remove_prefix(length);
        // Real models nest some ten messages.
        if (depth < 40 && length > 1 &&
            Reader(field.text).read(field.fields, depth + 1))
          field.text.clear();
        else
          field.fields.clear();
        break;
      default:
        return false;
      }
      fields.push_back(std::move(field));
    }
    return true;
  }

private:
  bool readVarint(uint64_t &value) {
    value = 0;
    for (int shift = 0; shift < 64 && !rest.empty(); shift += 7) {
      auto byte = uint8_t(rest.front());
      rest.remove_prefix(1);
      value |= uint64_t(byte & 127) << shift;
      if (byte < 128)
        return true;
    }
    return false;
  }
  bool readFixed(uint64_t &value, size_t bytes) {
    if (rest.size() < bytes)
      return false;
    std::memcpy(&value, rest.data(), bytes);
    rest.remove_prefix(bytes);
    return true;
  }

  std::string_view rest;
};

void writeVarint(uint64_t value, std::string &out) {
  for (; value >= 128; value >>= 7)
    out += char(value | 128);
  out += char(value);
}

void write(const Fields &fields, std::string &out) {
  for (const Field &field : fields) {
    writeVarint(field.tag, out);
    if (field.type() == 0) {
      writeVarint(field.number, out);
    } else if (field.type() == 2) {
      std::string text = field.text;
      write(field.fields, text);
      writeVarint(text.size(), out);
      out += text;
    } else {
      out.append(reinterpret_cast<const char *>(&field.number),
                 field.type() == 1 ? 8 : 4);
    }
  }
}

/// All lists of fields of a model, and its short texts, which are names.
void collect(Fields &fields, std::vector<Fields *> &lists,
             std::vector<std::string> &names) {
  lists.push_back(&fields);
  for (Field &field : fields)
    if (!field.fields.empty())
      collect(field.fields, lists, names);
    else if (field.isText() && field.text.size() <= 64)
      names.push_back(field.text);
}

void change(Field &field, const std::vector<std::string> &names,
            Random &random) {
  if (field.type() != 2)
    field.number = random() % 3 ? uint64_t(interesting(random))
                                : field.number + random() % 3 - 1;
  else if (!field.fields.empty())
    field.fields.erase(field.fields.begin() +
                       long(below(random, field.fields.size())));
  else if (random() % 3 && !names.empty())
    field.text = names[below(random, names.size())];
  else
    field.text = random() % 3 ? mutateBytes(field.text, random) : "";
}
} // namespace

std::string effc::fuzz::mutateOnnx(const std::string &bytes, Random &random) {
  Fields model;
  if (!Reader(bytes).read(model))
    return mutateBytes(bytes, random);
  for (size_t changes = 1 + below(random, 3); changes > 0; --changes) {
    std::vector<Fields *> lists;
    std::vector<std::string> names;
    collect(model, lists, names);
    Fields &fields = *lists[below(random, lists.size())];
    if (fields.empty())
      continue;
    size_t i = below(random, fields.size()), k = below(random, fields.size());
    switch (random() % 8) {
    case 0:
      fields.erase(fields.begin() + long(i));
      break;
    case 1:
      std::swap(fields[i], fields[k]);
      break;
    case 2: {
      Field copy = fields[i];
      fields.insert(fields.begin() + long(k), std::move(copy));
      break;
    }
    case 3: {
      // A part from elsewhere.
      const Fields &other = *lists[below(random, lists.size())];
      if (!other.empty()) {
        Field copy = other[below(random, other.size())];
        fields[i] = std::move(copy);
      }
      break;
    }
    default:
      change(fields[i], names, random);
      break;
    }
  }
  std::string out;
  write(model, out);
  return out;
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

static void collectJson(nlohmann::json &value,
                        std::vector<nlohmann::json *> &all) {
  // Of long lists, vocabularies, a few elements stand for all.
  all.push_back(&value);
  if (!value.is_structured())
    return;
  size_t step = value.size() / 64 + 1, i = 0;
  for (nlohmann::json &part : value)
    if (i++ % step == 0)
      collectJson(part, all);
}

std::string effc::fuzz::mutateJson(const std::string &bytes, Random &random) {
  nlohmann::json root = nlohmann::json::parse(bytes, nullptr, false);
  if (root.is_discarded())
    return mutateBytes(bytes, random);
  for (size_t changes = 1 + below(random, 3); changes > 0; --changes) {
    std::vector<nlohmann::json *> all;
    collectJson(root, all);
    nlohmann::json &value = *all[below(random, all.size())];
    nlohmann::json other = *all[below(random, all.size())];
    switch (random() % 6) {
    case 0:
      value = nullptr;
      break;
    case 1:
      value = interesting(random);
      break;
    case 2:
      value = std::move(other);
      break;
    case 3:
      if (value.is_array())
        value.push_back(std::move(other));
      break;
    case 4:
      if (value.is_structured() && !value.empty())
        value.erase(std::next(value.begin(),
                              std::ptrdiff_t(below(random, value.size()))));
      break;
    default:
      if (value.is_string())
        value = mutateBytes(value.get<std::string>(), random);
      else
        value =
            random() % 2 ? nlohmann::json::array() : nlohmann::json::object();
      break;
    }
  }
  return root.dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore);
}

std::string effc::fuzz::mutate(Kind kind, const std::string &bytes,
                               Random &random) {
  if (kind == Kind::Onnx && random() % 4)
    return mutateOnnx(bytes, random);
  if (kind == Kind::Tokenizer && random() % 4)
    return mutateJson(bytes, random);
  return mutateBytes(bytes, random);
}
