//===- TensorReader.cpp - TensorProto to elements attributes --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TensorReader.h"
#include "Types.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/HostTensor.h"
#include "effc/Support/Error.h"

#include "mlir/IR/DialectResourceBlobManager.h"

#include <cstring>

using namespace mlir;
using namespace effc;
using namespace effc::onnx;
using onnx_ir::TensorProto;

/// Below this size an attribute holds its own copy.
static constexpr size_t smallBytes = 4096;

static llvm::Error bad(const Twine &what, StringRef where,
                       const Twine &why = {}) {
  return makeError(ErrorCode::BadTensor, what, where, why);
}

static unsigned bitsOf(Type type) {
  if (auto complex = dyn_cast<ComplexType>(type))
    return 2 * complex.getElementType().getIntOrFloatBitWidth();
  return type.isInteger(1) ? 8 : type.getIntOrFloatBitWidth();
}

/// The typed field that holds elements of a type, and how many entries `count`
/// elements take.
static int64_t typedEntries(const TensorProto &t, Type type, int64_t count,
                            int64_t &present) {
  if (type.isF32() || type.isF64() || isa<ComplexType>(type)) {
    bool twice = isa<ComplexType>(type);
    unsigned bits = bitsOf(type) / (twice ? 2 : 1);
    present = bits == 32 ? t.float_data_size() : t.double_data_size();
    return twice ? 2 * count : count;
  }
  if (type.isInteger(64) && !type.isUnsignedInteger()) {
    present = t.int64_data_size();
    return count;
  }
  if (type.isUnsignedInteger(64) || type.isUnsignedInteger(32)) {
    present = t.uint64_data_size();
    return count;
  }
  present = t.int32_data_size();
  return llvm::divideCeil(count * std::min(8u, bitsOf(type)), 8u);
}

template <typename T, typename Field>
static void copyAs(std::vector<char> &to, const Field &field) {
  to.resize(size_t(field.size()) * sizeof(T));
  char *at = to.data();
  for (auto value : field) {
    T narrow = T(value);
    std::memcpy(at, &narrow, sizeof(T));
    at += sizeof(T);
  }
}

/// The typed field's values in the format of raw data.
static std::vector<char> typedBytes(const TensorProto &t, Type type) {
  std::vector<char> bytes;
  if (type.isF32() || (isa<ComplexType>(type) && bitsOf(type) == 64))
    copyAs<float>(bytes, t.float_data());
  else if (type.isF64() || isa<ComplexType>(type))
    copyAs<double>(bytes, t.double_data());
  else if (type.isUnsignedInteger(64))
    copyAs<uint64_t>(bytes, t.uint64_data());
  else if (type.isUnsignedInteger(32))
    copyAs<uint32_t>(bytes, t.uint64_data());
  else if (type.isInteger(64))
    copyAs<int64_t>(bytes, t.int64_data());
  else if (bitsOf(type) == 32)
    copyAs<int32_t>(bytes, t.int32_data());
  else if (bitsOf(type) == 16)
    copyAs<uint16_t>(bytes, t.int32_data());
  else
    copyAs<uint8_t>(bytes, t.int32_data());
  return bytes;
}

llvm::Expected<ElementsAttr> TensorReader::strings(const TensorProto &tensor,
                                                   RankedTensorType type,
                                                   StringRef where) {
  if (tensor.string_data_size() != type.getNumElements())
    return bad("a tensor has " + Twine(tensor.string_data_size()) +
                   " strings, its shape says " + Twine(type.getNumElements()),
               where);
  SmallVector<StringRef> values;
  for (const std::string &value : tensor.string_data())
    values.push_back(value);
  return DenseStringElementsAttr::get(type, values);
}

llvm::Expected<ArrayRef<char>>
TensorReader::external(const TensorProto &tensor, int64_t need, StringRef where,
                       std::shared_ptr<MappedFile> &owner) {
  auto refuse = [&](const Twine &what, const Twine &why = {}) {
    return makeError(ErrorCode::ExternalData, what, where, why);
  };
  if (!directory)
    return refuse("external data in a model that is not a file");
  std::optional<StringRef> location, offset, length, checksum;
  for (const auto &entry : tensor.external_data()) {
    StringRef key = entry.key();
    std::optional<StringRef> *slot = key == "location"   ? &location
                                     : key == "offset"   ? &offset
                                     : key == "length"   ? &length
                                     : key == "checksum" ? &checksum
                                                         : nullptr;
    if (!slot) {
      if (warn)
        warn("the tensor '" + where + "' has an unknown key for external data");
      continue;
    }
    if (*slot)
      return refuse("external data gives '" + key + "' twice");
    *slot = StringRef(entry.value());
  }
  uint64_t begin = 0, size = need;
  if ((offset && offset->getAsInteger(10, begin)) ||
      (length && length->getAsInteger(10, size)))
    return refuse("offset and length must be decimal numbers");
  if (size != uint64_t(need))
    return refuse("external data has the wrong length",
                  Twine(size) + " bytes are given, the shape needs " +
                      Twine(need));
  auto file = directory->file(location.value_or(""));
  if (!file) {
    auto error = file.takeError();
    std::string name = where.str();
    return llvm::handleErrors(
        std::move(error), [&](std::unique_ptr<UserError> e) -> llvm::Error {
          e->where = name + (e->where.empty() ? "" : " in " + e->where);
          return llvm::Error(std::move(e));
        });
  }
  owner = *file;
  ArrayRef<char> data = owner->getData();
  if (begin > data.size() || size > data.size() - begin)
    return refuse("external data ends beyond its file",
                  "bytes " + Twine(begin) + " to " + Twine(begin) + "+" +
                      Twine(size) + " of " + Twine(data.size()));
  return data.slice(begin, size);
}

/// One byte for each element of a type below a byte.
static std::vector<char> unpack(ArrayRef<char> bytes, unsigned bits,
                                int64_t count) {
  std::vector<char> result(count);
  unsigned perByte = 8 / bits;
  for (int64_t i = 0; i < count; ++i)
    result[i] = char((uint8_t(bytes[i / perByte]) >> (i % perByte * bits)) &
                     ((1u << bits) - 1));
  return result;
}

ElementsAttr TensorReader::raw(RankedTensorType type, ArrayRef<char> bytes,
                               const std::shared_ptr<void> &owner,
                               StringRef name) {
  Type element = type.getElementType();
  unsigned bits = bitsOf(element);
  if (bits < 8)
    return makeElements(type, unpack(bytes, bits, type.getNumElements()), name);
  if (element.isInteger(1)) {
    // Any byte but 0 is true.
    bool clean = llvm::all_of(bytes, [](char c) { return c == 0 || c == 1; });
    if (!clean) {
      std::vector<char> normal(bytes.begin(), bytes.end());
      for (char &c : normal)
        c = c != 0;
      return makeElements(type, normal, name);
    }
  }
  size_t align = std::min(storedBytes(element), 8u);
  bool aligned = reinterpret_cast<uintptr_t>(bytes.data()) % align == 0;
  if (!owner || !aligned || bytes.size() <= smallBytes)
    return makeElements(type, bytes, name);
  auto blob = UnmanagedAsmResourceBlob::allocateWithAlign(
      bytes, align, [owner](void *, size_t, size_t) {});
  return DenseResourceElementsAttr::get(type, name, std::move(blob));
}

llvm::Expected<ElementsAttr>
TensorReader::read(TensorProto &tensor, std::optional<ArrayRef<char>> mapped,
                   StringRef where) {
  Type element = elementType(context, tensor.data_type());
  if (!element)
    return makeError(ErrorCode::UnsupportedType,
                     "the element type " + Twine(tensor.data_type()) +
                         " does not exist",
                     where);
  if (tensor.has_segment())
    return bad("a tensor in segments", where);
  SmallVector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
  std::optional<int64_t> count = elementCount(dims);
  if (int64_t(dims.size()) > maxRank || !count)
    return bad("a tensor's shape is negative or too large", where);
  auto type = RankedTensorType::get(dims, element);

  bool isExternal = tensor.data_location() == TensorProto::EXTERNAL;
  bool hasRaw = mapped || !tensor.raw_data().empty();
  int fields = (tensor.float_data_size() > 0) + (tensor.int32_data_size() > 0) +
               (tensor.int64_data_size() > 0) +
               (tensor.double_data_size() > 0) +
               (tensor.uint64_data_size() > 0) +
               (tensor.string_data_size() > 0) + isExternal + hasRaw;
  if (fields > 1)
    return bad("a tensor has data in several places", where);
  if (isa<StringType>(element)) {
    if (isExternal || hasRaw)
      return bad("strings in raw data", where);
    return strings(tensor, type, where);
  }
  if (*count > (int64_t(1) << 58))
    return bad("a tensor's shape is too large", where);
  int64_t need =
      int64_t(llvm::divideCeil(uint64_t(*count) * bitsOf(element), 8u));
  int64_t present = 0, expected = 0;
  if (!hasRaw && !isExternal) {
    expected = typedEntries(tensor, element, *count, present);
    if (present != expected || (present == 0 && fields != 0))
      return bad("a tensor has " + Twine(present) +
                     " values where its shape needs " + Twine(expected),
                 where, "or its data is in a field of another type");
  }
  if (need > budget)
    return makeError(ErrorCode::BadTensor, "the weights are too large in sum",
                     where);
  budget -= need;

  if (isExternal) {
    std::shared_ptr<MappedFile> owner;
    auto bytes = external(tensor, need, where, owner);
    if (!bytes)
      return bytes.takeError();
    return raw(type, *bytes, owner, tensor.name());
  }
  if (!hasRaw) {
    std::vector<char> bytes = typedBytes(tensor, element);
    auto owned = std::make_shared<std::vector<char>>(std::move(bytes));
    return raw(type, {owned->data(), size_t(need)}, owned, tensor.name());
  }
  size_t size = mapped ? mapped->size() : tensor.raw_data().size();
  if (size != size_t(need))
    return bad("a tensor has " + Twine(size) + " bytes, its shape needs " +
                   Twine(need),
               where);
  if (mapped)
    return raw(type, *mapped, modelFile, tensor.name());
  auto owned =
      std::make_shared<std::string>(std::move(*tensor.mutable_raw_data()));
  return raw(type, {owned->data(), owned->size()}, owned, tensor.name());
}
