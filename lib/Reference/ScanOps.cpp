//===- ScanOps.cpp - convolutions and state-space scans -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Call.h"

using namespace mlir;

namespace effc::reference {

template <typename T>
llvm::Error evaluate(eff::CausalConv1DOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  llvm::Expected<const Weight<T> *> weight = call.getWeight(op.getWeight());
  if (!weight)
    return weight.takeError();
  llvm::Expected<const T *> bias = call.getOptional(op.getBias());
  if (!bias)
    return bias.takeError();
  int64_t batch = input.shape[0], tokens = input.shape[1];
  int64_t channels = input.shape[2], kernel = (*weight)->shape[1];
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;
  bool activate = op.getActivation() == eff::Activation::SiLU;

  Tensor<T> result(input.shape);
  for (int64_t b = 0; b < batch; ++b) {
    llvm::Expected<std::vector<T> *> state =
        call.getBuffer(op, op.getState(), b);
    if (!state)
      return state.takeError();
    // The columns of the state, then those of the input.
    std::vector<T> padded = **state;
    auto first = input.floats.begin() + b * tokens * channels;
    padded.insert(padded.end(), first, first + tokens * channels);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t c = 0; c < channels; ++c) {
        T sum = *bias ? (*bias)[c] : T(0);
        for (int64_t j = 0; j < kernel; ++j)
          sum += (*weight)->values[c * kernel + j] *
                 padded[(t + j) * channels + c];
        result.floats[(b * tokens + t) * channels + c] =
            activate ? silu(sum) : sum;
      }
    auto kept = padded.begin() + call.getValid(b, tokens) * channels;
    (*state)->assign(kept, kept + (kernel - 1) * channels);
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::SsdScanOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  const Tensor<T> &dt = call.get(op.getDt());
  const Tensor<T> &b = call.get(op.getB()), &c = call.get(op.getC());
  llvm::Expected<const T *> a = call.getOptional(op.getA());
  if (!a)
    return a.takeError();
  llvm::Expected<const T *> skip = call.getOptional(op.getSkip());
  if (!skip)
    return skip.takeError();
  int64_t batch = input.shape[0], tokens = input.shape[1];
  int64_t heads = op.getHeads(), groups = op.getGroups();
  int64_t headDim = input.shape[2] / heads, n = b.shape[2] / groups;
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;

  Tensor<T> result(input.shape);
  for (int64_t row = 0; row < batch; ++row) {
    llvm::Expected<std::vector<T> *> state =
        call.getBuffer(op, op.getState(), row);
    if (!state)
      return state.takeError();
    for (int64_t t = 0; t < call.getValid(row, tokens); ++t)
      for (int64_t i = 0; i < heads; ++i) {
        int64_t token = row * tokens + t;
        T step = dt.floats[token * heads + i];
        T decay = std::exp(step * (*a)[i]);
        const T *x = input.floats.data() + (token * heads + i) * headDim;
        T *y = result.floats.data() + (token * heads + i) * headDim;
        int64_t group = (token * groups + i * groups / heads) * n;
        for (int64_t p = 0; p < headDim; ++p)
          y[p] = *skip ? (*skip)[i] * x[p] : T(0);
        for (int64_t s = 0; s < n; ++s) {
          T *h = (*state)->data() + (i * n + s) * headDim;
          T in = step * b.floats[group + s], out = c.floats[group + s];
          for (int64_t p = 0; p < headDim; ++p) {
            h[p] = decay * h[p] + in * x[p];
            y[p] += h[p] * out;
          }
        }
      }
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::SsmScanOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  const Tensor<T> &dt = call.get(op.getDt());
  const Tensor<T> &b = call.get(op.getB()), &c = call.get(op.getC());
  const Tensor<T> *gate = op.getGate() ? &call.get(op.getGate()) : nullptr;
  llvm::Expected<const T *> a = call.getOptional(op.getA());
  if (!a)
    return a.takeError();
  llvm::Expected<const T *> skip = call.getOptional(op.getSkip());
  if (!skip)
    return skip.takeError();
  int64_t batch = input.shape[0], tokens = input.shape[1];
  int64_t channels = input.shape[2], groups = op.getGroups();
  int64_t n = b.shape[2] / groups;
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;

  Tensor<T> result(input.shape);
  for (int64_t row = 0; row < batch; ++row) {
    llvm::Expected<std::vector<T> *> state =
        call.getBuffer(op, op.getState(), row);
    if (!state)
      return state.takeError();
    for (int64_t t = 0; t < call.getValid(row, tokens); ++t)
      for (int64_t d = 0; d < channels; ++d) {
        int64_t token = row * tokens + t;
        T step = dt.floats[token * channels + d];
        T u = input.floats[token * channels + d];
        int64_t group = (token * groups + d * groups / channels) * n;
        T y = *skip ? (*skip)[d] * u : T(0);
        for (int64_t s = 0; s < n; ++s) {
          T &h = (**state)[s * channels + d];
          h = std::exp(step * (*a)[d * n + s]) * h +
              step * u * b.floats[group + s];
          y += h * c.floats[group + s];
        }
        if (gate)
          y *= silu(gate->floats[token * channels + d]);
        result.floats[token * channels + d] = y;
      }
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, eff::CausalConv1DOp)
EFFC_INSTANTIATE(evaluate, eff::SsdScanOp)
EFFC_INSTANTIATE(evaluate, eff::SsmScanOp)

} // namespace effc::reference
