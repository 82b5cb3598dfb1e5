//===- ImageOps.cpp - convolutions and scans of images --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Call.h"

using namespace mlir;

namespace effc::reference {

/// The pixel that position l of a direction reads.
static int64_t getPixel(int64_t direction, int64_t l, int64_t height,
                        int64_t width) {
  if (direction >= 2)
    return getPixel(direction - 2, height * width - 1 - l, height, width);
  return direction == 0 ? l : l % height * width + l / height;
}

template <typename T> llvm::Error evaluate(eff::CrossScanOp op, Call<T> &call) {
  int64_t height = op.getHeight(), width = op.getWidth(),
          pixels = height * width, directions = op.getDirections();
  Tensor<T> result(op.getResult().getType().getShape());
  for (int64_t k = 0; k < directions; ++k) {
    const Tensor<T> &x =
        call.get(op.getInputs().size() == 1 ? op.getInputs().front()
                                            : op.getInputs()[k]);
    int64_t d = x.shape[2];
    for (int64_t b = 0; b < x.shape[0]; ++b)
      for (int64_t l = 0; l < pixels; ++l)
        for (int64_t e = 0; e < d; ++e)
          result.floats[((b * pixels + l) * directions + k) * d + e] =
              x.floats[(b * pixels + getPixel(k, l, height, width)) * d + e];
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::CrossMergeOp op, Call<T> &call) {
  const Tensor<T> &x = call.get(op.getInput());
  int64_t height = op.getHeight(), width = op.getWidth(),
          pixels = height * width, directions = op.getDirections();
  Tensor<T> result(op.getResult().getType().getShape());
  int64_t d = result.shape[2];
  for (int64_t b = 0; b < x.shape[0]; ++b)
    for (int64_t k = 0; k < directions; ++k)
      for (int64_t l = 0; l < pixels; ++l)
        for (int64_t e = 0; e < d; ++e)
          result.floats[(b * pixels + getPixel(k, l, height, width)) * d + e] +=
              x.floats[((b * pixels + l) * directions + k) * d + e];
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::DepthwiseConv2DOp op, Call<T> &call) {
  const Tensor<T> &x = call.get(op.getInput());
  llvm::Expected<Filter<T>> filter = call.getFilter(op);
  if (!filter)
    return filter.takeError();
  const auto [weight, bias] = *filter;
  int64_t height = op.getHeight(), width = op.getWidth(), d = x.shape[2],
          kh = op.getKernel()[0], kw = op.getKernel()[1];
  bool activate = op.getActivation() == eff::Activation::SiLU;
  Tensor<T> result(x.shape);
  for (int64_t b = 0; b < x.shape[0]; ++b)
    for (int64_t p = 0; p < height * width; ++p)
      for (int64_t c = 0; c < d; ++c) {
        T sum = bias ? bias[c] : T(0);
        for (int64_t u = 0; u < kh; ++u)
          for (int64_t v = 0; v < kw; ++v) {
            int64_t i = p / width + u - kh / 2, j = p % width + v - kw / 2;
            if (i >= 0 && i < height && j >= 0 && j < width)
              sum += weight->values[(c * kh + u) * kw + v] *
                     x.floats[((b * height + i) * width + j) * d + c];
          }
        result.floats[(b * height * width + p) * d + c] =
            activate ? silu(sum) : sum;
      }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, eff::CrossScanOp)
EFFC_INSTANTIATE(evaluate, eff::CrossMergeOp)
EFFC_INSTANTIATE(evaluate, eff::DepthwiseConv2DOp)

} // namespace effc::reference
