//===- EvalScatter.cpp - nodes that index with tensors --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "EvalImpl.h"

#include "llvm/ADT/StringMap.h"

#include <cmath>

using namespace mlir;
using namespace effc::onnx;

namespace {

/// The offset, in a tensor of `shape` and `strides`, of the element that lies
/// where index `i` does, but along `axis` where it says. `own`: the strides of
/// `indices`.
std::optional<int64_t> elementOffset(const HostTensor &indices, int64_t i,
                                     int64_t axis, ArrayRef<int64_t> shape,
                                     const Shape &strides, const Shape &own) {
  int64_t offset = 0;
  for (int64_t d = 0; d < int64_t(shape.size()); ++d) {
    int64_t at = d == axis ? indices.ints[i] : i / own[d] % indices.shape[d];
    if (at < 0)
      at += shape[d];
    if (at < 0 || at >= shape[d])
      return std::nullopt;
    offset += at * strides[d];
  }
  return offset;
}

bool gatherElements(Evaluation &e) {
  const HostTensor &x = *e.in[0], &indices = *e.in[1];
  int64_t axis = e.op.getInt("axis", 0);
  Shape strides = stridesOf(x.shape), own = stridesOf(indices.shape);
  for (int64_t d = 0; d < x.rank(); ++d)
    if (d != axis && indices.shape[d] > x.shape[d])
      return false;
  for (int64_t i = 0; i < indices.size(); ++i) {
    auto from = elementOffset(indices, i, axis, x.shape, strides, own);
    if (!from)
      return false;
    copyElement(x, *from, e.out[0], i);
  }
  return true;
}

/// The offset of the slice that index `i` of `indices` names, in a tensor of
/// `shape` behind `batch` leading axes.
std::optional<int64_t> sliceOffset(const HostTensor &indices, int64_t i,
                                   ArrayRef<int64_t> shape,
                                   const Shape &strides, int64_t batch) {
  int64_t depth = indices.shape.back(), offset = 0;
  for (int64_t k = 0; k < depth; ++k) {
    int64_t at = indices.ints[i * depth + k], size = shape[batch + k];
    if (at < 0)
      at += size;
    if (at < 0 || at >= size)
      return std::nullopt;
    offset += at * strides[batch + k];
  }
  return offset;
}

bool gatherND(Evaluation &e) {
  const HostTensor &x = *e.in[0], &indices = *e.in[1];
  int64_t batch = e.op.getInt("batch_dims", 0), depth = indices.shape.back();
  Shape strides = stridesOf(x.shape);
  int64_t batches = 1, run = 1;
  for (int64_t d = 0; d < batch; ++d) {
    if (x.shape[d] != indices.shape[d])
      return false;
    batches *= x.shape[d];
  }
  for (int64_t d = batch + depth; d < x.rank(); ++d)
    run *= x.shape[d];
  int64_t count = depth ? indices.size() / depth : 0;
  int64_t perBatch = batches ? count / batches : 0;
  int64_t block = batches ? x.size() / batches : 0;
  for (int64_t i = 0; i < count; ++i) {
    auto offset = sliceOffset(indices, i, x.shape, strides, batch);
    if (!offset)
      return false;
    for (int64_t r = 0; r < run; ++r)
      copyElement(x, i / perBatch * block + *offset + r, e.out[0], i * run + r);
  }
  return true;
}

/// Combines element `from` of `u` into element `to` of `y`.
bool combine(StringRef reduction, const HostTensor &u, int64_t from,
             HostTensor &y, int64_t to) {
  if (reduction == "none") {
    copyElement(u, from, y, to);
    return true;
  }
  auto apply = [&](auto &a, auto b) {
    if (reduction == "add")
      a = a + b;
    else if (reduction == "mul")
      a = a * b;
    else if (reduction == "max")
      a = std::max(a, b);
    else if (reduction == "min")
      a = std::min(a, b);
    else
      return false;
    return true;
  };
  return y.isFloat() ? apply(y.floats[to], u.floats[from])
                     : apply(y.ints[to], u.ints[from]);
}

bool scatterND(Evaluation &e) {
  const HostTensor &x = *e.in[0], &indices = *e.in[1], &updates = *e.in[2];
  if (indices.rank() == 0 || indices.shape.back() < 1 ||
      indices.shape.back() > x.rank())
    return false;
  e.out[0] = x;
  Shape strides = stridesOf(x.shape);
  int64_t depth = indices.shape.back(), run = 1;
  for (int64_t d = depth; d < x.rank(); ++d)
    run *= x.shape[d];
  int64_t count = indices.size() / depth;
  if (updates.size() != count * run)
    return false;
  StringRef reduction = e.op.getString("reduction", "none");
  for (int64_t i = 0; i < count; ++i) {
    auto offset = sliceOffset(indices, i, x.shape, strides, 0);
    if (!offset)
      return false;
    for (int64_t r = 0; r < run; ++r)
      if (!combine(reduction, updates, i * run + r, e.out[0], *offset + r))
        return false;
  }
  return true;
}

bool scatterElements(Evaluation &e) {
  const HostTensor &x = *e.in[0], &indices = *e.in[1], &updates = *e.in[2];
  if (indices.shape != updates.shape || indices.rank() != x.rank())
    return false;
  e.out[0] = x;
  int64_t axis = e.op.getInt("axis", 0);
  Shape strides = stridesOf(x.shape), own = stridesOf(indices.shape);
  StringRef reduction = e.op.getString("reduction", "none");
  for (int64_t i = 0; i < indices.size(); ++i) {
    auto to = elementOffset(indices, i, axis, x.shape, strides, own);
    if (!to || !combine(reduction, updates, i, e.out[0], *to))
      return false;
  }
  return true;
}

/// past [B, ..., M, ...], update [B, ..., T, ...], write positions [B].
bool tensorScatter(Evaluation &e) {
  const HostTensor &past = *e.in[0], &update = *e.in[1];
  int64_t axis = e.op.getInt("axis", -2);
  if (axis < 0)
    axis += past.rank();
  bool circular = e.op.getString("mode", "linear") == "circular";
  if (axis < 1 || axis >= past.rank() || update.rank() != past.rank())
    return false;
  Shape positions = e.operand(2) ? e.ints(2) : Shape(past.shape[0], 0);
  if (int64_t(positions.size()) != past.shape[0])
    return false;
  for (int64_t d = 0; d < past.rank(); ++d)
    if (d != axis && past.shape[d] != update.shape[d])
      return false;
  e.out[0] = past;
  Split3 from(update.shape, axis), to(past.shape, axis);
  int64_t perBatch = past.shape[0] ? from.outer / past.shape[0] : 1;
  for (int64_t o = 0; o < from.outer; ++o)
    for (int64_t t = 0; t < from.size; ++t) {
      int64_t at = positions[o / perBatch] + t;
      if (circular && to.size)
        at %= to.size;
      if (at < 0 || at >= to.size)
        return false;
      for (int64_t i = 0; i < from.inner; ++i)
        copyElement(update, (o * from.size + t) * from.inner + i, e.out[0],
                    (o * to.size + at) * to.inner + i);
    }
  return true;
}

} // namespace

EvalFn effc::onnx::findScatterEval(StringRef name) {
  static const llvm::StringMap<bool (*)(Evaluation &)> table = {
      {"GatherElements", gatherElements}, {"GatherND", gatherND},
      {"ScatterND", scatterND},           {"ScatterElements", scatterElements},
      {"Scatter", scatterElements},       {"TensorScatter", tensorScatter},
  };
  auto it = table.find(name);
  return it == table.end() ? EvalFn() : EvalFn(it->second);
}
