//===- NormOps.cpp - normalisations ---------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Call.h"

using namespace mlir;

namespace effc::reference {

/// `1 / sqrt(mean(x^2) + eps)`.
template <typename T> static T inverseRms(const T *x, int64_t count, T eps) {
  T sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += x[i] * x[i];
  return T(1) / std::sqrt(sum / T(count) + eps);
}

/// The f32 attribute's value.
template <typename T> static T toFloat(const APFloat &value) {
  return T(value.convertToDouble());
}

template <typename T> llvm::Error evaluate(eff::RmsNormOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  llvm::Expected<const T *> weight = call.getOptional(op.getWeight());
  if (!weight)
    return weight.takeError();
  Tensor<T> result = input;
  T eps = toFloat<T>(op.getEps());
  int64_t group = op.getGroup() ? op.getGroup() : input.getColumns();
  int64_t groups =
      input.getDefinedRows() * (group ? input.getColumns() / group : 0);
  for (int64_t g = 0; g < groups; ++g) {
    const T *x = input.floats.data() + g * group;
    T *y = result.floats.data() + g * group;
    T factor = inverseRms(x, group, eps);
    for (int64_t i = 0; i < group; ++i)
      y[i] = x[i] * factor * (*weight)[i];
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::LayerNormOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  llvm::Expected<const T *> weight = call.getOptional(op.getWeight());
  if (!weight)
    return weight.takeError();
  llvm::Expected<const T *> bias = call.getOptional(op.getBias());
  if (!bias)
    return bias.takeError();
  Tensor<T> result = input;
  T eps = toFloat<T>(op.getEps());
  int64_t features = input.getColumns();
  for (int64_t row = 0; row < input.getDefinedRows(); ++row) {
    const T *x = input.floats.data() + row * features;
    T *y = result.floats.data() + row * features;
    T mean = 0, variance = 0;
    for (int64_t i = 0; i < features; ++i)
      mean += x[i];
    mean /= T(features);
    for (int64_t i = 0; i < features; ++i)
      variance += (x[i] - mean) * (x[i] - mean);
    T factor = T(1) / std::sqrt(variance / T(features) + eps);
    for (int64_t i = 0; i < features; ++i)
      y[i] = (x[i] - mean) * factor * (*weight)[i] + (*bias ? (*bias)[i] : 0);
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::GatedNormOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  const Tensor<T> &gate = call.get(op.getGate());
  llvm::Expected<const T *> weight = call.getOptional(op.getWeight());
  if (!weight)
    return weight.takeError();
  Tensor<T> result = input;
  T eps = toFloat<T>(op.getEps());
  int64_t features = input.getColumns();
  int64_t group = op.getGroup() ? op.getGroup() : features;
  bool normFirst = op.getNormBeforeGate();
  for (int64_t row = 0; row < input.getDefinedRows(); ++row)
    for (int64_t begin = 0; begin < features; begin += group) {
      const T *x = input.floats.data() + row * features + begin;
      const T *z = gate.floats.data() + row * features + begin;
      T *y = result.floats.data() + row * features + begin;
      for (int64_t i = 0; i < group; ++i)
        y[i] = normFirst ? x[i] : x[i] * silu(z[i]);
      T factor = inverseRms(y, group, eps);
      for (int64_t i = 0; i < group; ++i)
        y[i] *= factor * (*weight)[begin + i] * (normFirst ? silu(z[i]) : T(1));
    }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, eff::RmsNormOp)
EFFC_INSTANTIATE(evaluate, eff::LayerNormOp)
EFFC_INSTANTIATE(evaluate, eff::GatedNormOp)

} // namespace effc::reference
