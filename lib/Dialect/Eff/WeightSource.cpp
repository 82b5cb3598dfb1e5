//===- WeightSource.cpp - reads the values of a weight --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/WeightSource.h"
#include "effc/Dialect/Eff/Rounding.h"
#include "effc/Support/Error.h"

#include "mlir/IR/DialectResourceBlobManager.h"

#include <cstring>

using namespace mlir;

namespace effc::eff {

/// The elements of a dense attribute or resource that is no splat; empty when
/// they are absent or misaligned.
template <typename T>
static ArrayRef<T> getElements(std::optional<ElementsAttr> elements) {
  if (!elements)
    return {};
  ArrayRef<char> bytes;
  if (auto dense = dyn_cast<DenseElementsAttr>(*elements)) {
    if (!dense.isSplat() || dense.getNumElements() == 1)
      bytes = dense.getRawData();
  } else if (auto resource = dyn_cast<DenseResourceElementsAttr>(*elements)) {
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      bytes = blob->getData();
  }
  size_t count = elements->getNumElements();
  if (bytes.size() < count * sizeof(T) ||
      reinterpret_cast<uintptr_t>(bytes.data()) % alignof(T))
    return {};
  return {reinterpret_cast<const T *>(bytes.data()), count};
}

llvm::Expected<QuantizedValues> getQuantizedValues(WeightOp op) {
  QuantizedValues values{getElements<int8_t>(op.getQuantized()),
                         getElements<float>(op.getScales()),
                         getElements<float>(op.getZeros()),
                         op.getType().getFloat8()};
  if (values.q.empty() || values.scales.empty() ||
      values.zeros.empty() == op.getType().hasZeros())
    return makeError(ErrorCode::BadTensor, "the integers of weight '" +
                                               op.getSymName().str() +
                                               "' are absent");
  return values;
}

llvm::Expected<WeightSource> WeightSource::create(WeightOp op) {
  WeightType type = op.getType();
  std::string name = op.getSymName().str();
  if (!op.getSource())
    return makeError(ErrorCode::BadTensor,
                     "weight '" + name + "' has no values");
  ElementsAttr source = *op.getSource();

  WeightSource reader;
  reader.transposed = op.getTransposed();
  ArrayRef<int64_t> shape = type.getShape();
  reader.rows = shape.size() == 2 ? shape[0] : 1;
  reader.columns = shape.size() == 2 ? shape[1] : type.getNumElements();

  Type elementType = source.getElementType();
  reader.element = elementType.isF32()    ? Element::F32
                   : elementType.isF16()  ? Element::F16
                   : elementType.isBF16() ? Element::BF16
                                          : Element::F64;
  if (auto dense = dyn_cast<DenseElementsAttr>(source)) {
    reader.bytes = dense.getRawData();
    reader.splat = dense.isSplat();
  } else if (auto resource = dyn_cast<DenseResourceElementsAttr>(source)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return makeError(ErrorCode::BadTensor,
                       "the values of weight '" + name + "' are absent");
    reader.bytes = blob->getData();
  } else {
    return makeError(ErrorCode::BadTensor,
                     "the values of weight '" + name +
                         "' are neither dense nor a resource");
  }

  int64_t width = elementType.getIntOrFloatBitWidth() / 8;
  int64_t expected = reader.splat ? width : type.getNumElements() * width;
  if (int64_t(reader.bytes.size()) < expected)
    return makeError(ErrorCode::BadTensor,
                     "the values of weight '" + name + "' are too short", {},
                     llvm::Twine(expected) + " bytes are needed, " +
                         llvm::Twine(reader.bytes.size()) + " are there");
  reader.bytes = reader.bytes.take_front(expected);
  if (!reader.splat && !reader.transposed &&
      type.getFloatFormat() == elementType)
    reader.verbatim = reader.bytes;
  return reader;
}

template <typename T> static T load(const char *bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes + index * int64_t(sizeof(T)), sizeof(T));
  return value;
}

float WeightSource::get(int64_t index) const {
  switch (element) {
  case Element::F32:
    return load<float>(bytes.data(), index);
  case Element::F16:
    return fromF16(load<uint16_t>(bytes.data(), index));
  case Element::BF16:
    return fromBF16(load<uint16_t>(bytes.data(), index));
  case Element::F64:
    return float(load<double>(bytes.data(), index));
  }
  llvm_unreachable("all element types are handled");
}

void WeightSource::read(int64_t n, int64_t k,
                        llvm::MutableArrayRef<float> out) const {
  if (splat) {
    std::fill(out.begin(), out.end(), get(0));
    return;
  }
  int64_t first = transposed ? k * rows + n : n * columns + k;
  int64_t stride = transposed ? rows : 1;
  if (!transposed && element == Element::F32) {
    std::memcpy(out.data(), bytes.data() + first * 4, out.size() * 4);
    return;
  }
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = get(first + int64_t(i) * stride);
}

void WeightSource::readRows(int64_t n, int64_t count,
                            llvm::MutableArrayRef<float> out) const {
  if (!transposed || splat) {
    for (int64_t i = 0; i < count; ++i)
      read(n + i, 0, out.slice(i * columns, columns));
    return;
  }
  // Neighbouring rows are neighbours in the source.
  for (int64_t k = 0; k < columns; ++k)
    for (int64_t i = 0; i < count; ++i)
      out[i * columns + k] = get(k * rows + n + i);
}

} // namespace effc::eff
