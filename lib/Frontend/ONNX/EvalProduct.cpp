//===- EvalProduct.cpp - products, convolutions, quantisation -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "EvalImpl.h"

#include "llvm/ADT/StringMap.h"

#include <cmath>
#include <map>

using namespace mlir;
using namespace effc::onnx;

namespace {

/// c[m, n] = sum over k of a[m, k] b[k, n] for numbers of either kind.
template <typename T>
void multiply(const T *a, const T *b, T *c, int64_t m, int64_t n, int64_t k) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < n; ++j)
        c[i * n + j] += a[i * k + p] * b[p * n + j];
}

bool matMul(Evaluation &e) {
  const HostTensor &a = *e.in[0], &b = *e.in[1];
  HostTensor &y = e.out[0];
  if (a.isFloat() != b.isFloat() || a.isFloat() != y.isFloat())
    return false;
  Shape left = a.shape, right = b.shape, result = y.shape;
  if (left.size() == 1) {
    left.insert(left.begin(), 1);
    result.insert(result.end() - (right.size() > 1), 1);
  }
  if (right.size() == 1) {
    right.push_back(1);
    result.push_back(1);
  }
  int64_t m = left[left.size() - 2], k = left.back(), n = right.back();
  ArrayRef<int64_t> batch = ArrayRef<int64_t>(result).drop_back(2);
  Shape sa = broadcastStrides(ArrayRef<int64_t>(left).drop_back(2), batch);
  Shape sb = broadcastStrides(ArrayRef<int64_t>(right).drop_back(2), batch);
  forEach<2>(batch, {sa, sb}, [&](int64_t i, const std::array<int64_t, 2> &at) {
    if (a.isFloat())
      multiply(a.floats.data() + at[0] * m * k, b.floats.data() + at[1] * k * n,
               y.floats.data() + i * m * n, m, n, k);
    else
      multiply(a.ints.data() + at[0] * m * k, b.ints.data() + at[1] * k * n,
               y.ints.data() + i * m * n, m, n, k);
  });
  return true;
}

bool gemm(Evaluation &e) {
  const HostTensor &a = *e.in[0], &b = *e.in[1];
  const HostTensor *c = e.operand(2);
  HostTensor &y = e.out[0];
  if (!a.isFloat() || !b.isFloat() || !y.isFloat())
    return false;
  bool ta = e.op.getInt("transA", 0), tb = e.op.getInt("transB", 0);
  double alpha = e.op.getFloat("alpha", 1), beta = e.op.getFloat("beta", 1);
  int64_t m = y.shape[0], n = y.shape[1], k = a.shape[ta ? 0 : 1];
  Shape sc = c ? broadcastStrides(c->shape, y.shape) : Shape(2, 0);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += a.floats[ta ? p * m + i : i * k + p] *
               b.floats[tb ? j * k + p : p * n + j];
      y.floats[i * n + j] =
          alpha * sum + (c ? beta * c->floats[i * sc[0] + j * sc[1]] : 0);
    }
  return true;
}

/// Letters only; every letter of the result and of the operands is one loop.
bool einsum(Evaluation &e) {
  std::string text;
  for (char c : e.op.getString("equation", ""))
    if (c != ' ')
      text.push_back(c);
  auto [left, right] = StringRef(text).split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  HostTensor &y = e.out[0];
  if (text.find('.') != std::string::npos ||
      text.find("->") == std::string::npos || terms.size() != e.in.size() ||
      terms.size() > 3 || !y.isFloat())
    return false;
  std::map<char, int64_t> sizes;
  for (auto [term, x] : llvm::zip(terms, e.in))
    for (auto [d, letter] : llvm::enumerate(term))
      sizes[letter] = std::max(sizes[letter], x->shape[d]);
  // Result letters first, then those that are summed.
  std::string loops = right.str();
  for (auto &[letter, size] : sizes)
    if (right.find(letter) == StringRef::npos)
      loops.push_back(letter);
  Shape extent;
  double work = 1;
  for (char letter : loops) {
    extent.push_back(sizes[letter]);
    work *= double(sizes[letter]);
  }
  if (work > 1e9)
    return false;
  std::array<Shape, 4> strides; // of up to three operands and of the result
  for (Shape &s : strides)
    s.assign(loops.size(), 0);
  auto add = [&](Shape &to, StringRef term, ArrayRef<int64_t> shape) {
    Shape own = stridesOf(shape);
    for (auto [d, letter] : llvm::enumerate(term))
      if (shape[d] != 1)
        to[loops.find(letter)] += own[d];
  };
  for (size_t i = 0; i < terms.size(); ++i)
    add(strides[i], terms[i], e.in[i]->shape);
  add(strides[3], right, y.shape);
  forEach<4>(extent, strides, [&](int64_t, const std::array<int64_t, 4> &at) {
    double value = 1;
    for (size_t i = 0; i < terms.size(); ++i)
      value *= e.in[i]->floats[at[i]];
    y.floats[at[3]] += value;
  });
  return true;
}

bool conv(Evaluation &e) {
  const HostTensor &x = *e.in[0], &w = *e.in[1];
  HostTensor &y = e.out[0];
  if (!x.isFloat() || e.op.getString("auto_pad", "NOTSET") != "NOTSET" ||
      (e.operand(2) && e.operand(2)->size() != w.shape[0]))
    return false;
  size_t n = x.shape.size() - 2;
  Shape strides = e.op.getInts("strides").value_or(Shape(n, 1));
  Shape dilations = e.op.getInts("dilations").value_or(Shape(n, 1));
  Shape pads = e.op.getInts("pads").value_or(Shape(2 * n, 0));
  int64_t group = e.op.getInt("group", 1), outputs = w.shape[0] / group;
  int64_t inPlane = 1, window = 1, outPlane = 1;
  for (size_t i = 0; i < n; ++i) {
    inPlane *= x.shape[i + 2];
    window *= w.shape[i + 2];
    outPlane *= y.shape[i + 2];
  }
  ArrayRef<int64_t> spatial = ArrayRef<int64_t>(x.shape).drop_front(2);
  ArrayRef<int64_t> kernel = ArrayRef<int64_t>(w.shape).drop_front(2);
  ArrayRef<int64_t> result = ArrayRef<int64_t>(y.shape).drop_front(2);
  Shape sIn = stridesOf(spatial), sKernel = stridesOf(kernel),
        sOut = stridesOf(result);
  for (int64_t b = 0; b < x.shape[0]; ++b)
    for (int64_t m = 0; m < w.shape[0]; ++m)
      for (int64_t o = 0; o < outPlane; ++o) {
        double sum = e.operand(2) ? e.in[2]->floats[m] : 0;
        for (int64_t k = 0; k < window; ++k) {
          int64_t at = 0;
          bool inside = true;
          for (size_t d = 0; d < n; ++d) {
            int64_t p = o / sOut[d] % result[d] * strides[d] - pads[d] +
                        k / sKernel[d] % kernel[d] * dilations[d];
            inside &= p >= 0 && p < spatial[d];
            at += p * sIn[d];
          }
          if (!inside)
            continue;
          for (int64_t c = 0; c < w.shape[1]; ++c)
            sum += x.floats[(b * x.shape[1] + m / outputs * w.shape[1] + c) *
                                inPlane +
                            at] *
                   w.floats[(m * w.shape[1] + c) * window + k];
        }
        y.floats[(b * w.shape[0] + m) * outPlane + o] = sum;
      }
  return true;
}

/// Strides of a scale along the axes of `shape`: one number, one for each place
/// on `axis`, or one for each block.
std::function<int64_t(int64_t)> scaleIndex(const HostTensor &scale,
                                           const Shape &shape, int64_t axis,
                                           int64_t block) {
  if (scale.size() == 1)
    return [](int64_t) { return int64_t(0); };
  Split3 parts(shape, axis);
  if (scale.rank() <= 1 && scale.size() == parts.size)
    return [parts](int64_t i) { return i / parts.inner % parts.size; };
  if (block < 1 || scale.rank() != int64_t(shape.size()) ||
      scale.size() != parts.outer *
                          int64_t(llvm::divideCeil(parts.size, block)) *
                          parts.inner)
    return nullptr;
  int64_t blocks = llvm::divideCeil(parts.size, block);
  return [parts, block, blocks](int64_t i) {
    int64_t inner = i % parts.inner, at = i / parts.inner % parts.size,
            outer = i / parts.inner / parts.size;
    return (outer * blocks + at / block) * parts.inner + inner;
  };
}

bool dequantize(Evaluation &e) {
  const HostTensor &x = *e.in[0], &scale = *e.in[1];
  const HostTensor *zero = e.operand(2);
  HostTensor &y = e.out[0];
  int64_t axis = e.op.getInt("axis", 1);
  if (axis < 0)
    axis += x.rank();
  auto index = scaleIndex(scale, x.shape, axis, e.op.getInt("block_size", 0));
  if (!index || !y.isFloat() || (zero && zero->size() != scale.size()))
    return false;
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t s = index(i);
    y.floats[i] =
        (x.number(i) - (zero ? zero->number(s) : 0)) * scale.floats[s];
  }
  return true;
}

bool quantize(Evaluation &e) {
  const HostTensor &x = *e.in[0], &scale = *e.in[1];
  const HostTensor *zero = e.operand(2);
  HostTensor &y = e.out[0];
  int64_t axis = e.op.getInt("axis", 1);
  if (axis < 0)
    axis += x.rank();
  auto index = scaleIndex(scale, x.shape, axis, e.op.getInt("block_size", 0));
  if (!index || !x.isFloat() || !scale.isFloat() || y.isFloat() ||
      (zero && zero->size() != scale.size()))
    return false;
  unsigned width = y.elementType.getIntOrFloatBitWidth();
  double low = y.isUnsigned() ? 0 : -std::ldexp(1, int(width) - 1);
  double high = std::ldexp(1, int(width) - (y.isUnsigned() ? 0 : 1)) - 1;
  auto type = cast<FloatType>(x.elementType);
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t s = index(i);
    // The quotient is rounded to the operand's type first, as runtimes do.
    double value =
        std::nearbyint(roundTo(type, x.floats[i] / scale.floats[s])) +
        (zero ? zero->number(s) : 0);
    y.ints[i] =
        std::isnan(value) ? 0 : int64_t(std::fmin(std::fmax(value, low), high));
  }
  return true;
}

} // namespace

EvalFn effc::onnx::findProductEval(StringRef name) {
  static const llvm::StringMap<bool (*)(Evaluation &)> table = {
      {"MatMul", matMul},
      {"Gemm", gemm},
      {"Einsum", einsum},
      {"Conv", conv},
      {"DequantizeLinear", dequantize},
      {"QuantizeLinear", quantize},
  };
  auto it = table.find(name);
  return it == table.end() ? EvalFn() : EvalFn(it->second);
}
