//===- IntegerMatrix.h - matrices that a file holds as integers -*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_INTEGERMATRIX_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_INTEGERMATRIX_H

#include "Graph.h"

#include "effc/Frontend/ONNX/HostTensor.h"

namespace effc::raise {

/// A constant under DequantizeLinear, element by element.
class DequantizedConstant {
public:
  /// Fails when scales or zero points do not fit the constant, or a scale is
  /// not finite.
  static mlir::FailureOr<DequantizedConstant> create(onnx::NodeOp node);

  /// Which scale, and zero point, element `i` has, in row-major order.
  int64_t scaleIndex(int64_t i) const;
  /// The stored number of element `i` of a type of integers.
  int64_t integer(int64_t i) const;
  /// All elements in f32.
  std::vector<double> numbers() const;
  double zeroOf(int64_t index) const { return zero ? zero->number(index) : 0; }

  mlir::RankedTensorType type;
  onnx::HostTensor scale;
  int64_t axis = 0, block = 0;

private:
  onnx::ElementBytes bytes;
  mlir::ElementsAttr values;
  std::optional<onnx::HostTensor> zero;
  int64_t inner = 1;
};

/// `w[n, k] = scales[n, g] * (q[n, k] - zeros[n, g])` with `g = k / group`, and
/// one group for a row where `group` is 0.
struct IntegerMatrix {
  int64_t n = 0, k = 0, group = 0;
  /// Bits that hold every `q`: 4 or 8.
  unsigned bits = 8;
  std::vector<int8_t> q;
  /// No zero points: all are 0.
  std::vector<float> scales, zeros;

  int64_t groups() const { return group ? (k + group - 1) / group : 1; }

  /// What a view of a DequantizeLinear of constants shows as `[n, k]`. `why`
  /// says what stands against it.
  static std::optional<IntegerMatrix> read(const View &view, int64_t n,
                                           int64_t k, std::string &why);
  /// The weight of a com.microsoft.MatMulNBits, its columns in the order
  /// `order` when there is a group index. Without a reason the node is sound,
  /// but for groups of other sizes than its blocks.
  static std::optional<IntegerMatrix>
  readNBits(Graph &graph, onnx::NodeOp node, std::string &why,
            llvm::SmallVectorImpl<int64_t> &order);
  /// The table of a com.microsoft.GatherBlockQuantized.
  static std::optional<IntegerMatrix> readTable(Graph &graph, onnx::NodeOp node,
                                                std::string &why);

  /// Takes zero points into the integers where these stay within their bits,
  /// and chooses the bits. Unsigned numbers of `storedBits` come less half
  /// their range, and so do their zero points.
  void settle(unsigned storedBits);
};

/// Whether a view `[n, k]` of a DequantizeLinear of constants has one scale for
/// each n, or one for all; of integers of up to 8 bits, or of such floats.
bool hasScalePerRow(const View &view, bool floats = false);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_INTEGERMATRIX_H
