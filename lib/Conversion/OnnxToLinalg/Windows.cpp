//===- Windows.cpp - padding and output sizes of windows ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

using namespace mlir;

namespace effc::lower {

std::optional<Windows> Windows::of(Lowering &l, ArrayRef<int64_t> sizes,
                                   ArrayRef<int64_t> kernel) {
  Windows w;
  size_t rank = sizes.size();
  SmallVector<int64_t> ones(rank, 1), zeros(2 * rank, 0);
  w.kernel.assign(kernel.begin(), kernel.end());
  w.strides = l.node.getInts("strides").value_or(ones);
  w.dilations = l.node.getInts("dilations").value_or(ones);
  SmallVector<int64_t> pads = l.node.getInts("pads").value_or(zeros);
  if (pads.empty())
    pads = zeros;
  bool ceil = l.node.getInt("ceil_mode", 0);
  StringRef mode = l.node.getString("auto_pad", "NOTSET");
  if (kernel.size() != rank || w.strides.size() != rank ||
      w.dilations.size() != rank || pads.size() != 2 * rank)
    return std::nullopt;
  for (size_t i = 0; i < rank; ++i) {
    int64_t reach = (kernel[i] - 1) * w.dilations[i] + 1;
    int64_t low = pads[i], high = pads[rank + i], stride = w.strides[i];
    if (stride <= 0 || w.dilations[i] <= 0 || kernel[i] <= 0)
      return std::nullopt;
    if (mode == "VALID")
      low = high = 0;
    if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
      int64_t out = (sizes[i] + stride - 1) / stride;
      int64_t total =
          std::max<int64_t>(0, (out - 1) * stride + reach - sizes[i]);
      low = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
      high = total - low;
    }
    int64_t room = sizes[i] + low + high - reach;
    if (room < 0 || low < 0 || high < 0)
      return std::nullopt;
    int64_t out = room / stride + 1;
    // A last window that hangs over counts when it begins before the end of the
    // input or its left padding.
    if (ceil && room % stride && out * stride < sizes[i] + low)
      ++out;
    w.low.push_back(low);
    w.high.push_back(high);
    w.out.push_back(out);
  }
  return w;
}

} // namespace effc::lower
