//===- CollapseOps.cpp - one scan in place of many ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Call.h"

using namespace mlir;

namespace effc::reference {

template <typename T>
llvm::Error evaluate(eff::CollapseChannelsOp op, Call<T> &call) {
  const Tensor<T> &x = call.get(op.getInput()), &dt = call.get(op.getDt());
  const Tensor<T> &b = call.get(op.getB()), &c = call.get(op.getC());
  llvm::Expected<const Weight<T> *> a = call.getWeight(op.getA());
  if (!a)
    return a.takeError();
  int64_t rows = x.shape[0] * x.shape[1], channels = x.shape[2],
          units = dt.shape[2], groups = op.getGroups(), scans = op.getScans(),
          n = b.shape[2] / groups;
  bool perState = (*a)->shape.size() == 2;
  ArrayRef<int64_t> shape = op.getDecay().getType().getShape();
  Tensor<T> decay(shape), increment(shape), output(shape);
  T share = T(scans) / T(channels);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t d = 0; d < channels; ++d)
      for (int64_t i = 0; i < n; ++i) {
        int64_t unit = d * units / channels, group = d * groups / channels,
                at = (row * scans + d * scans / channels) * n + i;
        T step = dt.floats[row * units + unit];
        T rate = (*a)->values[perState ? d * n + i : unit];
        decay.floats[at] += std::exp(step * rate) * share;
        increment.floats[at] += step * x.floats[row * channels + d] *
                                b.floats[(row * groups + group) * n + i] *
                                share;
        output.floats[at] += c.floats[(row * groups + group) * n + i] * share;
      }
  call.set(op.getDecay(), std::move(decay));
  call.set(op.getIncrement(), std::move(increment));
  call.set(op.getOutput(), std::move(output));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::CollapsedScanOp op, Call<T> &call) {
  const Tensor<T> &decay = call.get(op.getDecay());
  const Tensor<T> &increment = call.get(op.getIncrement());
  const Tensor<T> &output = call.get(op.getOutput());
  int64_t batch = decay.shape[0], tokens = decay.shape[1],
          width = decay.shape[2];
  Tensor<T> result(op.getResult().getType().getShape());
  int64_t scans = result.shape[2], n = width / scans;
  if (op.getState())
    if (llvm::Error error = call.checkRows(op, batch, tokens))
      return error;
  for (int64_t row = 0; row < batch; ++row) {
    std::vector<T> own(width);
    std::vector<T> *state = &own;
    int64_t valid = tokens;
    if (op.getState()) {
      llvm::Expected<std::vector<T> *> buffer =
          call.getBuffer(op, op.getState(), row);
      if (!buffer)
        return buffer.takeError();
      state = *buffer;
      valid = call.getValid(row, tokens);
    }
    for (int64_t t = 0; t < valid; ++t)
      for (int64_t s = 0; s < scans; ++s) {
        int64_t token = row * tokens + t;
        T y = 0;
        for (int64_t i = 0; i < n; ++i) {
          int64_t at = token * width + s * n + i;
          T &h = (*state)[i * scans + s];
          h = decay.floats[at] * h + increment.floats[at];
          y += output.floats[at] * h;
        }
        result.floats[token * scans + s] = y;
      }
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::ExpandChannelsOp op, Call<T> &call) {
  const Tensor<T> &x = call.get(op.getInput());
  const Tensor<T> *skip = op.getSkip() ? &call.get(op.getSkip()) : nullptr;
  const Tensor<T> *gate = op.getGate() ? &call.get(op.getGate()) : nullptr;
  llvm::Expected<const T *> factor = call.getOptional(op.getFactor());
  if (!factor)
    return factor.takeError();
  Tensor<T> result(op.getResult().getType().getShape());
  int64_t rows = x.shape[0] * x.shape[1], scans = x.shape[2],
          channels = result.shape[2];
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t d = 0; d < channels; ++d) {
      int64_t at = row * channels + d;
      T y = x.floats[row * scans + d * scans / channels];
      if (skip)
        y += (*factor)[d] * skip->floats[at];
      if (gate)
        y *= silu(gate->floats[at]);
      result.floats[at] = y;
    }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, eff::CollapseChannelsOp)
EFFC_INSTANTIATE(evaluate, eff::CollapsedScanOp)
EFFC_INSTANTIATE(evaluate, eff::ExpandChannelsOp)

} // namespace effc::reference
