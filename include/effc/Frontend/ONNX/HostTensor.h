//===- HostTensor.h - tensors that the compiler computes with ---*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_FRONTEND_ONNX_HOSTTENSOR_H
#define EFFC_FRONTEND_ONNX_HOSTTENSOR_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"

#include <string>
#include <vector>

namespace effc::onnx {

/// Bytes that one element takes where effc stores tensors: types below a byte
/// and `i1` take a byte each.
unsigned storedBytes(mlir::Type elementType);

/// The elements of a constant as stored: sub-byte values in the low bits of a
/// byte, booleans as 0 or 1. Refers to the attribute's own data when that has
/// this form already.
class ElementBytes {
public:
  /// Fails for strings and for resources whose data is gone.
  static mlir::FailureOr<ElementBytes> of(mlir::ElementsAttr elements);
  llvm::ArrayRef<char> get() const {
    return owned.empty() ? view : llvm::ArrayRef<char>(owned);
  }

private:
  llvm::ArrayRef<char> view;
  std::vector<char> owned;
};

/// A constant from stored bytes, which are copied: inline when small or all
/// elements are equal, else a resource.
mlir::ElementsAttr makeElements(mlir::RankedTensorType type,
                                llvm::ArrayRef<char> bytes,
                                llvm::StringRef name = "folded");

/// A tensor of numbers in memory. Floats of every format are held as double,
/// integers and booleans as int64
/// (`ui64` by its bits); `round` brings the values back to what the element
/// type can hold.
class HostTensor {
public:
  HostTensor() = default;
  /// All zero.
  HostTensor(mlir::Type elementType, llvm::ArrayRef<int64_t> shape);

  /// Fails for strings, complex numbers, and missing data.
  static mlir::FailureOr<HostTensor> read(mlir::ElementsAttr elements);
  /// The constant with these values, rounded to the element type.
  mlir::ElementsAttr write(llvm::StringRef name = "folded") const;

  mlir::RankedTensorType getType() const {
    return mlir::RankedTensorType::get(shape, elementType);
  }
  int64_t rank() const { return int64_t(shape.size()); }
  int64_t size() const {
    return isFloat() ? int64_t(floats.size()) : int64_t(ints.size());
  }
  bool isFloat() const { return llvm::isa<mlir::FloatType>(elementType); }
  bool isUnsigned() const {
    return elementType.isUnsignedInteger() || elementType.isInteger(1);
  }
  /// Element `i` as a number, whatever the type.
  double number(int64_t i) const {
    return isFloat()      ? floats[i]
           : isUnsigned() ? double(uint64_t(ints[i]))
                          : double(ints[i]);
  }
  /// Rounds to the element type: floats to nearest even, integers modulo their
  /// width, booleans to 0 or 1.
  void round();

  mlir::Type elementType;
  llvm::SmallVector<int64_t> shape;
  std::vector<double> floats;
  std::vector<int64_t> ints;
};

/// `value` rounded to the float type `type`.
double roundTo(mlir::FloatType type, double value);

} // namespace effc::onnx

#endif // EFFC_FRONTEND_ONNX_HOSTTENSOR_H
