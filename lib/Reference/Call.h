//===- Call.h - one call of the reference interpreter -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What the evaluators of the op families share: the values computed so far,
/// and what the call brings (rows, past, valid). An evaluator reads operands
/// with get, getWeight and getBuffer and defines results with set. Verifiers
/// have promised shapes and types.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_REFERENCE_CALL_H
#define EFFC_LIB_REFERENCE_CALL_H

#include "effc/Dialect/Eff/Eff.h"
#include "effc/Reference/Interpreter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/DenseMap.h"

#include <cmath>

namespace effc::reference {

/// A decoded weight.
template <typename T> struct Weight {
  llvm::SmallVector<int64_t, 2> shape;
  std::vector<T> values;
  /// Of an integer format, for int8 activations: the integers, and the scale of
  /// each row and group of `group` columns (0: a whole row), and the zero
  /// points, if there are any.
  std::vector<int8_t> quantized;
  std::vector<float> scales, zeros;
  int64_t group = 0;
};

/// The decoded weights of a module.
template <typename T> struct Weights {
  std::map<mlir::Operation *, Weight<T>> decoded;

  llvm::Expected<const Weight<T> *> get(eff::WeightOp op);
};

/// What a convolution multiplies with and adds; the bias may be null.
template <typename T> struct Filter {
  const Weight<T> *weight;
  const T *bias;
};

/// An error about an op that cannot be evaluated.
llvm::Error cannotInterpret(mlir::Operation *op, const llvm::Twine &why);

template <typename T> class Call {
public:
  Call(mlir::ModuleOp module, Weights<T> &weights, llvm::ArrayRef<Row<T>> rows,
       bool allLogits)
      : allLogits(allLogits), module(module), weights(weights), rows(rows) {}

  llvm::Expected<std::vector<Tensor<T>>> run(mlir::func::FuncOp function,
                                             std::vector<Tensor<T>> inputs);

  const Tensor<T> &get(mlir::Value value) const {
    return *tensors.find(value)->second;
  }
  void set(mlir::Value value, Tensor<T> tensor) {
    tensors[value] = std::make_shared<Tensor<T>>(std::move(tensor));
  }

  llvm::Expected<const Weight<T> *> getWeight(mlir::Value value);
  /// The values of an optional weight, null when it is absent.
  llvm::Expected<const T *> getOptional(mlir::Value value);
  /// The weight and the bias of a convolution.
  template <typename Op> llvm::Expected<Filter<T>> getFilter(Op op) {
    llvm::Expected<const Weight<T> *> weight = getWeight(op.getWeight());
    if (!weight)
      return weight.takeError();
    llvm::Expected<const T *> bias = getOptional(op.getBias());
    if (!bias)
      return bias.takeError();
    return Filter<T>{*weight, *bias};
  }
  /// The buffer of a state or cache for a batch row.
  llvm::Expected<std::vector<T> *> getBuffer(mlir::Operation *op,
                                             mlir::Value value, int64_t row);

  /// Checks that the call has a row for each row of a batch, and no more valid
  /// tokens than there are.
  llvm::Error checkRows(mlir::Operation *op, int64_t batch,
                        int64_t tokens) const;
  int64_t getPast(int64_t row) const {
    return rows.empty() || !rows[row].sequence ? 0 : rows[row].sequence->length;
  }
  int64_t getValid(int64_t row, int64_t tokens) const {
    return rows.empty() || rows[row].valid < 0 ? tokens : rows[row].valid;
  }

  const bool allLogits;

private:
  llvm::Error evaluateOp(mlir::Operation &op);
  llvm::Error evaluateBlock(mlir::Block &block);
  llvm::Error evaluateLoop(mlir::scf::WhileOp loop);
  void assign(mlir::ValueRange to, mlir::ValueRange from);

  mlir::ModuleOp module;
  Weights<T> &weights;
  llvm::ArrayRef<Row<T>> rows;
  llvm::DenseMap<mlir::Value, std::shared_ptr<Tensor<T>>> tensors;
  /// The symbol behind an `eff.use`.
  llvm::DenseMap<mlir::Value, mlir::Operation *> resources;
};

//===----------------------------------------------------------------------===//
// Evaluators, one overload for each op
//===----------------------------------------------------------------------===//

template <typename T> llvm::Error evaluate(eff::AttentionOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::CacheAppendOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::PositionEmbedOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::RopeOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::CollapseChannelsOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::CollapsedScanOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::ExpandChannelsOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::CrossMergeOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::CrossScanOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::DepthwiseConv2DOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::Conv2DOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::DequantizeOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::EmbedOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::HadamardOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::LinearOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::QuantizeOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::QuantizeStaticOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::TensorScaleOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::SampleOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::SelectRowsOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::SplitOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::GatedNormOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::LayerNormOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::RmsNormOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(eff::CausalConv1DOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::SsdScanOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::SsmScanOp op, Call<T> &call);
template <typename T> llvm::Error evaluate(eff::ReadOp op, Call<T> &call);
template <typename T>
llvm::Error evaluate(mlir::linalg::LinalgOp op, Call<T> &call);
/// arith.constant.
template <typename T>
llvm::Error evaluate(mlir::arith::ConstantOp op, Call<T> &call);
/// Ops of the tensor dialect.
template <typename T>
llvm::Error evaluateTensorOp(mlir::Operation *op, Call<T> &call);
/// arith and math ops on scalars, or element by element on tensors.
template <typename T>
llvm::Error evaluateElementwise(mlir::Operation *op, Call<T> &call);

/// Instantiates the evaluator of an op, at the end of the file that defines it.
#define EFFC_INSTANTIATE(name, Op)                                             \
  template llvm::Error name(Op, Call<float> &);                                \
  template llvm::Error name(Op, Call<double> &);

/// What a linear of int8 activations accumulates: `scale * sum_g s_g * sum_k
/// (q - zero) (w - zero_g)`, for one row of the activations and row `n` of the
/// weight.
template <typename T>
T multiplyIntegers(const int64_t *q, const Weight<T> &weight, int64_t n,
                   T scale, int64_t zero = 0) {
  int64_t k = weight.shape[1], group = weight.group ? weight.group : k;
  int64_t groups = (k + group - 1) / group;
  const int8_t *w = weight.quantized.data() + n * k;
  T total = 0;
  for (int64_t g = 0; g < groups; ++g) {
    // Exact where zero points are integers.
    double sum = 0,
           offset = weight.zeros.empty() ? 0 : weight.zeros[n * groups + g];
    for (int64_t i = g * group; i < k && i < (g + 1) * group; ++i)
      sum += double(q[i] - zero) * (w[i] - offset);
    T s = T(weight.scales[n * groups + g]);
    // With one scale for a row it meets the activations' scale first.
    if (!weight.group)
      return scale * s * T(sum);
    total = std::fma(s, T(sum), total);
  }
  return scale * total;
}

/// `log(1 + exp(v))` without overflow.
template <typename T> T softplus(T v) {
  return std::log1p(std::exp(-std::abs(v))) + std::max(v, T(0));
}

/// `1 / (1 + exp(-x)) * x`.
template <typename T> T silu(T x) { return x / (T(1) + std::exp(-x)); }

/// `y[m, n] = sum_k x[m, k] w[n, k]`, all row-major.
void multiply(const float *x, const float *w, float *y, int64_t m, int64_t n,
              int64_t k);
void multiply(const double *x, const double *w, double *y, int64_t m, int64_t n,
              int64_t k);

} // namespace effc::reference

#endif // EFFC_LIB_REFERENCE_CALL_H
