//===- HostTensor.cpp - tensors that the compiler computes with -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Frontend/ONNX/HostTensor.h"
#include "effc/Dialect/ONNX/Onnx.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/APFloat.h"

#include <cstring>

using namespace mlir;
using namespace effc::onnx;

/// Constants up to this size are held inline; the printed module shows them.
static constexpr size_t inlineBytes = 4096;

unsigned effc::onnx::storedBytes(Type elementType) {
  if (auto complex = dyn_cast<ComplexType>(elementType))
    return 2 * storedBytes(complex.getElementType());
  return llvm::divideCeil(elementType.getIntOrFloatBitWidth(), 8);
}

FailureOr<ElementBytes> ElementBytes::of(ElementsAttr elements) {
  ElementBytes result;
  ShapedType type = elements.getShapedType();
  Type elementType = type.getElementType();
  if (!isa<IntegerType, FloatType, ComplexType>(elementType))
    return failure();
  size_t count = type.getNumElements();
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob || blob->getData().size() != count * storedBytes(elementType))
      return failure();
    result.view = blob->getData();
    return result;
  }
  auto dense = dyn_cast<DenseElementsAttr>(elements);
  if (!dense || isa<DenseStringElementsAttr>(elements))
    return failure();
  if (elementType.isInteger(1)) {
    result.owned.reserve(count);
    for (bool value : dense.getValues<bool>())
      result.owned.push_back(value);
    return result;
  }
  ArrayRef<char> raw = dense.getRawData();
  if (!dense.isSplat() || count <= 1) {
    result.view = raw.take_front(count * storedBytes(elementType));
    return result;
  }
  result.owned.resize(count * raw.size());
  for (size_t i = 0; i < count; ++i)
    std::memcpy(&result.owned[i * raw.size()], raw.data(), raw.size());
  return result;
}

static bool allEqual(ArrayRef<char> bytes, size_t width) {
  return bytes.size() > width && std::memcmp(bytes.data(), bytes.data() + width,
                                             bytes.size() - width) == 0;
}

ElementsAttr effc::onnx::makeElements(RankedTensorType type,
                                      ArrayRef<char> bytes, StringRef name) {
  Type elementType = type.getElementType();
  size_t width = storedBytes(elementType);
  bool splat = allEqual(bytes, width);
  if (bytes.size() <= inlineBytes || splat) {
    if (elementType.isInteger(1)) {
      if (splat)
        return DenseElementsAttr::get(type, bytes[0] != 0);
      SmallVector<bool> values;
      for (char byte : bytes)
        values.push_back(byte != 0);
      return DenseElementsAttr::get(type, ArrayRef<bool>(values));
    }
    return DenseElementsAttr::getFromRawBuffer(
        type, splat ? bytes.take_front(width) : bytes);
  }
  return DenseResourceElementsAttr::get(
      type, name, HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, 64));
}

double effc::onnx::roundTo(FloatType type, double value) {
  if (type.isF64())
    return value;
  if (type.isF32())
    return float(value);
  llvm::APFloat number(value);
  bool losesInfo = false;
  number.convert(type.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven,
                 &losesInfo);
  number.convert(llvm::APFloat::IEEEdouble(),
                 llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToDouble();
}

HostTensor::HostTensor(Type elementType, ArrayRef<int64_t> shape)
    : elementType(elementType), shape(shape) {
  int64_t count = ShapedType::getNumElements(shape);
  if (isFloat())
    floats.resize(count);
  else
    ints.resize(count);
}

void HostTensor::round() {
  if (auto type = dyn_cast<FloatType>(elementType)) {
    if (!type.isF64())
      for (double &value : floats)
        value = roundTo(type, value);
    return;
  }
  unsigned width = elementType.getIntOrFloatBitWidth();
  if (width == 1)
    for (int64_t &value : ints)
      value = value != 0;
  else if (width < 64)
    for (int64_t &value : ints)
      value = isUnsigned()
                  ? int64_t(uint64_t(value) & ((uint64_t(1) << width) - 1))
                  : llvm::SignExtend64(uint64_t(value), width);
}

template <typename T> static T load(const char *at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

static double decode(FloatType type, const char *at) {
  if (type.isF32())
    return load<float>(at);
  if (type.isF64())
    return load<double>(at);
  unsigned width = type.getWidth();
  uint64_t bits = width > 8 ? load<uint16_t>(at) : load<uint8_t>(at);
  if (type.isBF16())
    return llvm::bit_cast<float>(uint32_t(bits) << 16);
  if (width < 8)
    bits &= (1u << width) - 1;
  llvm::APFloat number(type.getFloatSemantics(), llvm::APInt(width, bits));
  bool losesInfo = false;
  number.convert(llvm::APFloat::IEEEdouble(),
                 llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToDouble();
}

FailureOr<HostTensor> HostTensor::read(ElementsAttr elements) {
  Type elementType = elements.getShapedType().getElementType();
  if (!isa<IntegerType, FloatType>(elementType) ||
      elementType.getIntOrFloatBitWidth() > 64)
    return failure();
  auto bytes = ElementBytes::of(elements);
  if (failed(bytes))
    return failure();
  HostTensor result(elementType, elements.getShapedType().getShape());
  const char *at = bytes->get().data();
  unsigned step = storedBytes(elementType);
  if (auto type = dyn_cast<FloatType>(elementType)) {
    for (size_t i = 0; i < result.floats.size(); ++i, at += step)
      result.floats[i] = decode(type, at);
    return result;
  }
  for (size_t i = 0; i < result.ints.size(); ++i, at += step) {
    int64_t value = 0;
    std::memcpy(&value, at,
                step); // little-endian, as every target of the compiler
    result.ints[i] = value;
  }
  result.round();
  return result;
}

ElementsAttr HostTensor::write(StringRef name) const {
  unsigned step = storedBytes(elementType);
  std::vector<char> bytes(size_t(size()) * step);
  char *at = bytes.data();
  if (auto type = dyn_cast<FloatType>(elementType)) {
    for (double value : floats) {
      if (type.isF64()) {
        std::memcpy(at, &value, 8);
      } else if (type.isF32()) {
        float single = float(value);
        std::memcpy(at, &single, 4);
      } else {
        llvm::APFloat number(value);
        bool losesInfo = false;
        number.convert(type.getFloatSemantics(),
                       llvm::APFloat::rmNearestTiesToEven, &losesInfo);
        uint64_t bits = number.bitcastToAPInt().getZExtValue();
        std::memcpy(at, &bits, step);
      }
      at += step;
    }
  } else {
    HostTensor rounded = *this;
    rounded.round();
    unsigned width = elementType.getIntOrFloatBitWidth();
    uint64_t mask = width == 64 ? ~uint64_t(0) : (uint64_t(1) << width) - 1;
    for (int64_t value : rounded.ints) {
      uint64_t bits = uint64_t(value) & mask;
      std::memcpy(at, &bits, step);
      at += step;
    }
  }
  return makeElements(getType(), bytes, name);
}
