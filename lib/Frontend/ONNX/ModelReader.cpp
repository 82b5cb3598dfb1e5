//===- ModelReader.cpp - guarded parse of a model file --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ModelReader.h"
#include "effc/Support/Error.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

using namespace llvm;
using namespace effc;
using namespace effc::onnx;

namespace {

/// Each subgraph costs three nested messages.
constexpr int depthLimit = 100;
/// Raw data below this size is parsed as part of the message.
constexpr size_t smallData = 256;
/// Files below this size are parsed as they are.
constexpr size_t smallFile = 1 << 20;

enum WireType { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

/// One field on the wire; `all` includes the tag.
struct Field {
  uint32_t number;
  unsigned wireType;
  ArrayRef<char> all, payload;
};

/// Walks the fields of one message. After `next` gave false, `bad` tells damage
/// from the end.
class FieldReader {
public:
  explicit FieldReader(ArrayRef<char> bytes) : rest(bytes) {}

  bool next(Field &field) {
    if (rest.empty())
      return false;
    const char *start = rest.data();
    uint64_t tag, length = 0;
    if (!varint(tag) || tag > UINT32_MAX || (tag >> 3) == 0)
      return fail();
    field.number = tag >> 3;
    field.wireType = tag & 7;
    switch (field.wireType) {
    case Varint:
      if (!varint(length))
        return fail();
      length = 0;
      break;
    case Fixed64:
      length = 8;
      break;
    case Fixed32:
      length = 4;
      break;
    case Bytes:
      if (!varint(length))
        return fail();
      break;
    default:
      return fail();
    }
    if (length > rest.size()) {
      tooLong = true;
      return fail();
    }
    field.payload = rest.take_front(length);
    rest = rest.drop_front(length);
    field.all = ArrayRef<char>(start, rest.data());
    return true;
  }

  bool bad = false, tooLong = false;

private:
  bool fail() {
    bad = true;
    return false;
  }
  bool varint(uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest.empty()) {
        tooLong = true;
        return false;
      }
      uint8_t byte = rest.front();
      rest = rest.drop_front();
      value |= uint64_t(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return false;
  }

  ArrayRef<char> rest;
};

constexpr uint32_t modelGraph = 7, graphInitializer = 5, tensorRawData = 9;

void append(std::string &to, ArrayRef<char> bytes) {
  to.append(bytes.data(), bytes.size());
}

void appendMessage(std::string &to, uint32_t number, StringRef payload) {
  auto varint = [&](uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      to.push_back(char(value | 0x80));
    to.push_back(char(value));
  };
  varint(uint64_t(number) << 3 | Bytes);
  varint(payload.size());
  to.append(payload.data(), payload.size());
}

/// The file without the large raw data of the main graph's initializers, so
/// that parsing copies no weights.
class Redactor {
public:
  bool model(ArrayRef<char> bytes) {
    FieldReader reader(bytes);
    for (Field field; reader.next(field);) {
      if (field.number != modelGraph || field.wireType != Bytes) {
        append(text, field.all);
        continue;
      }
      std::string inner;
      if (!graph(field.payload, inner))
        return false;
      appendMessage(text, modelGraph, inner);
    }
    return !reader.bad;
  }

  std::string text;
  std::vector<std::optional<ArrayRef<char>>> rawData;

private:
  bool graph(ArrayRef<char> bytes, std::string &to) {
    FieldReader reader(bytes);
    for (Field field; reader.next(field);) {
      if (field.number != graphInitializer || field.wireType != Bytes) {
        append(to, field.all);
        continue;
      }
      std::string inner;
      if (!tensor(field.payload, inner))
        return false;
      appendMessage(to, graphInitializer, inner);
    }
    return !reader.bad;
  }

  bool tensor(ArrayRef<char> bytes, std::string &to) {
    std::optional<ArrayRef<char>> data;
    FieldReader reader(bytes);
    for (Field field; reader.next(field);) {
      if (field.number == tensorRawData && field.wireType == Bytes)
        data = field.payload; // of several, the last counts
      else
        append(to, field.all);
    }
    if (data && data->size() < smallData) {
      appendMessage(to, tensorRawData, StringRef(data->data(), data->size()));
      data.reset();
    }
    rawData.push_back(data);
    return !reader.bad;
  }
};

bool parse(ArrayRef<char> bytes, onnx_ir::ModelProto &model, int depth) {
  google::protobuf::io::ArrayInputStream raw(bytes.data(), int(bytes.size()));
  google::protobuf::io::CodedInputStream in(&raw);
  in.SetRecursionLimit(depth);
  return model.ParseFromCodedStream(&in) && in.ConsumedEntireMessage() &&
         in.CurrentPosition() == int(bytes.size());
}

Error explain(ArrayRef<char> bytes, StringRef name) {
  FieldReader reader(bytes);
  unsigned known = 0;
  for (Field field; reader.next(field);)
    known += field.number == modelGraph || field.number == 8;
  if (reader.tooLong)
    return makeError(ErrorCode::TruncatedOnnx,
                     known || bytes.size() < 64
                         ? "the file ends before its contents do"
                         : "the file is no ONNX model or is cut off",
                     name, "a length inside reaches beyond the end");
  onnx_ir::ModelProto model;
  if (!reader.bad && parse(bytes, model, 20 * depthLimit))
    return makeError(ErrorCode::TooDeep, "the model is nested too deeply", name,
                     "more than " + Twine(depthLimit) +
                         " messages inside each other");
  if (!known)
    return makeError(ErrorCode::NotOnnx, "the file is not an ONNX model", name,
                     "it cannot be read as a protobuf message");
  return makeError(ErrorCode::TruncatedOnnx, "the model is damaged", name,
                   "a message inside cannot be read");
}

} // namespace

Expected<std::unique_ptr<ParsedModel>> onnx::parseModel(ArrayRef<char> bytes,
                                                        StringRef name) {
  auto parsed = std::make_unique<ParsedModel>();
  if (bytes.empty())
    return makeError(ErrorCode::NotOnnx, "the file is empty", name);
  if (bytes.size() > size_t(INT32_MAX))
    return makeError(ErrorCode::NotOnnx, "the model file is too large", name,
                     "2 GiB is the format's limit",
                     "export with external data");
  Redactor redactor;
  bool redacted = bytes.size() >= smallFile && redactor.model(bytes);
  bool ok = redacted ? parse({redactor.text.data(), redactor.text.size()},
                             parsed->model, depthLimit)
                     : parse(bytes, parsed->model, depthLimit);
  if (!ok)
    return explain(bytes, name);
  const onnx_ir::ModelProto &model = parsed->model;
  if (!model.has_graph() ||
      (!model.has_ir_version() && model.graph().node_size() == 0))
    return makeError(ErrorCode::NotOnnx, "the file is not an ONNX model", name,
                     "it has no graph");
  parsed->rawData = std::move(redactor.rawData);
  if (!redacted)
    parsed->rawData.clear();
  parsed->rawData.resize(model.graph().initializer_size());
  return parsed;
}
