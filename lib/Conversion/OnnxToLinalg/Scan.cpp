//===- Scan.cpp - Scan, step by step --------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Control.h"

using namespace mlir;

namespace effc::lower {

/// Most nodes that unrolling may make.
static constexpr int64_t mostNodes = 100'000;

std::optional<LogicalResult> unrollScan(Lowering &l, IRMapping &values,
                                        LowerInner lowerInner) {
  onnx::NodeOp node = l.node;
  ArrayRef<Value> operands = l.operands;
  int64_t scanned = node.getInt("num_scan_inputs", 0);
  int64_t states = int64_t(operands.size()) - scanned;
  if (node.getSince() < 9 || scanned <= 0 || states < 0 ||
      node.getSubgraphs().size() != 1 || llvm::is_contained(operands, Value()))
    return std::nullopt;
  Block &body = node.getSubgraphs().front().front();
  Operation *yield = body.getTerminator();
  int64_t collected = int64_t(yield->getNumOperands()) - states;
  SmallVector<int64_t> zeros(std::max(scanned, std::max<int64_t>(collected, 0)),
                             0);
  auto list = [&](StringRef name, int64_t count) {
    return node.getInts(name).value_or(
        SmallVector<int64_t>(zeros.begin(), zeros.begin() + count));
  };
  if (collected < 0 || int64_t(body.getNumArguments()) != states + scanned ||
      int64_t(node->getNumResults()) != states + collected)
    return std::nullopt;
  auto inAxes = list("scan_input_axes", scanned),
       inBackward = list("scan_input_directions", scanned);
  auto outAxes = list("scan_output_axes", collected),
       outBackward = list("scan_output_directions", collected);
  if (int64_t(inAxes.size()) != scanned ||
      int64_t(inBackward.size()) != scanned ||
      int64_t(outAxes.size()) != collected ||
      int64_t(outBackward.size()) != collected)
    return std::nullopt;
  int64_t steps = -1;
  for (int64_t i = 0; i < scanned; ++i) {
    Value x = operands[states + i];
    auto axis = normalAxis(inAxes[i], Lowering::rank(x));
    if (!axis || (steps >= 0 && Lowering::shape(x)[*axis] != steps))
      return std::nullopt;
    inAxes[i] = *axis;
    steps = Lowering::shape(x)[*axis];
  }
  if (steps == 0 || steps * int64_t(body.getOperations().size()) > mostNodes)
    return std::nullopt;

  SmallVector<Value> state(operands.take_front(states));
  SmallVector<SmallVector<Value>> parts(collected);
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t i = 0; i < states; ++i)
      values.map(body.getArgument(i), state[i]);
    for (int64_t i = 0; i < scanned; ++i) {
      Value x = operands[states + i];
      int64_t at = inBackward[i] ? steps - 1 - step : step;
      SmallVector<int64_t> shape(Lowering::shape(x));
      shape.erase(shape.begin() + inAxes[i]);
      values.map(body.getArgument(states + i),
                 l.reshape(l.sliceAxis(x, inAxes[i], at, 1), shape));
    }
    for (Operation &op : body.without_terminator())
      if (failed(lowerInner(op)))
        return LogicalResult::failure();
    SmallVector<Value> yielded;
    for (Value value : yield->getOperands()) {
      Value mapped = values.lookupOrNull(value);
      // A node of the body has no lowering; it is listed already.
      if (!mapped)
        return LogicalResult::success();
      yielded.push_back(mapped);
    }
    state.assign(yielded.begin(), yielded.begin() + states);
    for (int64_t i = 0; i < collected; ++i) {
      Value part = yielded[states + i];
      auto axis = normalAxis(outAxes[i], Lowering::rank(part) + 1);
      if (!axis)
        return std::nullopt;
      outAxes[i] = *axis;
      SmallVector<int64_t> shape(Lowering::shape(part));
      shape.insert(shape.begin() + *axis, 1);
      parts[i].push_back(l.reshape(part, shape));
    }
  }
  SmallVector<Value> results(state);
  for (int64_t i = 0; i < collected; ++i) {
    if (outBackward[i])
      std::reverse(parts[i].begin(), parts[i].end());
    results.push_back(l.concat(parts[i], outAxes[i]));
  }
  for (auto [i, result] : llvm::enumerate(results)) {
    Value output = node->getResult(i);
    if (isa<NoneType>(output.getType()))
      continue;
    if (result.getType() != l.out(i))
      return std::nullopt;
    values.map(output, result);
  }
  return LogicalResult::success();
}

} // namespace effc::lower
