//===- ImageSteps.cpp - convolutions and scans of images as steps ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"

using namespace mlir;
using namespace effc;

using Pairs = llvm::SmallVector<std::pair<llvm::StringRef, int64_t>, 16>;

static int64_t getDim(Value value, int64_t dim) {
  return llvm::cast<RankedTensorType>(value.getType()).getShape()[dim];
}

LogicalResult ProgramBuilder::convert(eff::DepthwiseConv2DOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix y = allocateMatrix(op.getResult());
  addStep(
      op, "depthwise_conv2d",
      {{"batch", getDim(op.getInput(), 0)},
       {"channels", x.columns},
       {"height", op.getHeight()},
       {"width", op.getWidth()},
       {"kh", op.getKernel()[0]},
       {"kw", op.getKernel()[1]},
       {"ldx", x.ld},
       {"ldy", y.ld},
       {"silu", op.getActivation() == eff::Activation::SiLU}},
      {x.ref, getResource(op.getWeight()), getResource(op.getBias()), y.ref},
      getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::CrossScanOp op) {
  llvm::SmallVector<Matrix> inputs;
  for (Value input : op.getInputs())
    inputs.push_back(getMatrix(input));
  // The kernel reads all of them at one distance of rows.
  bool isEven = llvm::all_of(
      inputs, [&](const Matrix &m) { return m.ld == inputs.front().ld; });
  if (!isEven)
    for (auto [matrix, input] : llvm::zip(inputs, op.getInputs())) {
      places[input] = makeContiguous(getPlace(input));
      matrix = getMatrix(input);
    }
  llvm::SmallVector<Value> operands;
  for (unsigned k = 0; k < 4; ++k)
    operands.push_back(k >= op.getDirections() ? getNull()
                       : inputs.size() == 1    ? inputs.front().ref
                                               : inputs[k].ref);
  Matrix y = allocateMatrix(op.getResult());
  operands.push_back(y.ref);
  addStep(op, "cross_scan",
          {{"batch", getDim(op.getResult(), 0)},
           {"directions", op.getDirections()},
           {"height", op.getHeight()},
           {"width", op.getWidth()},
           {"d", inputs.front().columns},
           {"ldx", inputs.front().ld},
           {"ldy", y.ld}},
          operands, {});
  return success();
}

LogicalResult ProgramBuilder::convert(eff::CrossMergeOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix y = allocateMatrix(op.getResult());
  addStep(op, "cross_merge",
          {{"batch", getDim(op.getInput(), 0)},
           {"directions", op.getDirections()},
           {"height", op.getHeight()},
           {"width", op.getWidth()},
           {"d", y.columns},
           {"ldx", x.ld},
           {"ldy", y.ld}},
          {x.ref, y.ref}, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::CollapseChannelsOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix dt = getMatrix(op.getDt());
  Matrix b = getMatrix(op.getB());
  Matrix c = getMatrix(op.getC());
  auto a = llvm::cast<eff::WeightType>(op.getA().getType());
  int64_t groups = op.getGroups();
  Pairs constants = {{"rows", x.rows},
                     {"channels", x.columns},
                     {"n", b.columns / groups},
                     {"groups", groups},
                     {"scans", op.getScans()},
                     {"heads", a.getShape().size() == 1 ? a.getShape()[0] : 0},
                     {"ldu", x.ld},
                     {"lddt", dt.ld},
                     {"ldb", b.ld},
                     {"ldc", c.ld}};
  llvm::SmallVector<Value> operands = {x.ref, dt.ref, getResource(op.getA()),
                                       b.ref, c.ref};
  for (Value result : op.getResults())
    operands.push_back(allocateMatrix(result).ref);
  addStep(op, "collapse_channels", constants, operands, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::CollapsedScanOp op) {
  llvm::SmallVector<Value> operands;
  for (Value operand : {op.getDecay(), op.getIncrement(), op.getOutput()}) {
    places[operand] = makeContiguous(getPlace(operand));
    operands.push_back(getMatrix(operand).ref);
  }
  operands.push_back(getResource(op.getState()));
  Matrix y = allocateMatrix(op.getResult());
  operands.push_back(y.ref);
  int64_t scans = getDim(op.getResult(), 2);
  addStep(op, "collapsed_scan",
          {{"batch", getDim(op.getDecay(), 0)},
           {"tokens", getDim(op.getDecay(), 1)},
           {"n", getDim(op.getDecay(), 2) / scans},
           {"scans", scans}},
          operands, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::ExpandChannelsOp op) {
  places[op.getInput()] = makeContiguous(getPlace(op.getInput()));
  Matrix x = getMatrix(op.getInput());
  Matrix u = {getNull(), 0, 0, 0}, z = u;
  if (op.getSkip())
    u = getMatrix(op.getSkip());
  if (op.getGate())
    z = getMatrix(op.getGate());
  Matrix y = allocateMatrix(op.getResult());
  addStep(op, "expand_channels",
          {{"rows", y.rows},
           {"channels", y.columns},
           {"scans", getDim(op.getInput(), 2)},
           {"ldu", u.ld},
           {"ldz", z.ld},
           {"ldy", y.ld}},
          {x.ref, u.ref, getResource(op.getFactor()), z.ref, y.ref},
          getCost(op));
  return success();
}
