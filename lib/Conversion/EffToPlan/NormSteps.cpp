//===- NormSteps.cpp - norms, rotations and rounding as steps -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"

#include "effc/Compress/Hadamard.h"
#include "effc/Support/Error.h"

using namespace mlir;
using namespace effc;

using Pairs = llvm::SmallVector<std::pair<llvm::StringRef, int64_t>, 16>;

//===----------------------------------------------------------------------===//
// Quantised activations
//===----------------------------------------------------------------------===//

LogicalResult ProgramBuilder::convert(eff::QuantizeOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix q = allocateMatrix(op.getResult());
  Matrix scale = allocateMatrix(op.getScale());
  addStep(op, "quantize_rows",
          {{"rows", getRows(op.getInput(), x.rows)},
           {"k", x.columns},
           {"ldx", x.ld},
           {"ldq", q.ld}},
          {x.ref, q.ref, scale.ref}, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::QuantizeStaticOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix q = allocateMatrix(op.getResult());
  Pairs constants = {{"rows", getRows(op.getInput(), x.rows)},
                     {"k", x.columns},
                     {"ldx", x.ld},
                     {"ldq", q.ld}};
  if (op.getAsymmetric())
    constants.push_back({"asymmetric", 1});
  else
    constants.push_back({"scale_each", hasScaleEach(op.getScale())});
  bool isWeight = llvm::isa<eff::WeightType>(op.getScale().getType());
  addStep(op, "quantize_static", constants,
          {x.ref,
           isWeight ? getResource(op.getScale()) : getMatrix(op.getScale()).ref,
           q.ref},
          getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::TensorScaleOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix y = allocateMatrix(op.getResult());
  addStep(op, "tensor_scale",
          {{"rows", getRows(op.getInput(), x.rows)},
           {"k", x.columns},
           {"ldx", x.ld}},
          {x.ref, y.ref}, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::DequantizeOp op) {
  Matrix q = getMatrix(op.getInput());
  bool isStatic = llvm::isa<eff::WeightType>(op.getScale().getType());
  Value scale =
      isStatic ? getResource(op.getScale()) : getMatrix(op.getScale()).ref;
  Matrix y = allocateMatrix(op.getResult());
  Pairs constants = {{"rows", getRows(op.getInput(), q.rows)},
                     {"k", q.columns},
                     {"ldq", q.ld},
                     {"ldy", y.ld}};
  if (isStatic) {
    constants.push_back({"static_scale", 1});
    constants.push_back({"scale_each", hasScaleEach(op.getScale())});
  }
  addStep(op, "dequantize_rows", constants, {q.ref, scale, y.ref}, getCost(op));
  return success();
}

//===----------------------------------------------------------------------===//
// Norms and rotations
//===----------------------------------------------------------------------===//

LogicalResult ProgramBuilder::convert(eff::RmsNormOp op) {
  Matrix x = getMatrix(op.getInput());
  Writing y = getWriting(op.getResult());
  Pairs constants = {{"rows", getRows(op.getInput(), x.rows)},
                     {"d", x.columns},
                     {"ldx", x.ld},
                     {"ldy", y.matrix.ld},
                     {"group", op.getGroup() ? op.getGroup() : x.columns},
                     {"eps_bits", getBits(op.getEps())}};
  addQuantization(constants, y);
  addStep(op, "rms_norm", constants,
          {x.ref, getResource(op.getWeight()), y.matrix.ref, y.scale},
          getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::LayerNormOp op) {
  Matrix x = getMatrix(op.getInput());
  Writing y = getWriting(op.getResult());
  Pairs constants = {{"rows", getRows(op.getInput(), x.rows)},
                     {"d", x.columns},
                     {"ldx", x.ld},
                     {"ldy", y.matrix.ld},
                     {"eps_bits", getBits(op.getEps())}};
  addQuantization(constants, y);
  addStep(op, "layer_norm", constants,
          {x.ref, getResource(op.getWeight()), getResource(op.getBias()),
           y.matrix.ref, y.scale},
          getCost(op));
  return success();
}

/// The rotation of so many features, as constants of a kernel.
static void addRotation(Pairs &constants, int64_t features) {
  // The verifier has promised an order.
  auto plan = compress::HadamardPlan::createBlockDiagonal(features);
  constants.push_back({"base", plan->getBase()});
  constants.push_back({"log2", plan->getLog2()});
  constants.push_back({"blocks", plan->getBlocks()});
}

/// The rotation that alone reads a value; null when there is none.
static eff::HadamardOp getRotation(Value value) {
  if (!value.hasOneUse())
    return {};
  auto op = llvm::dyn_cast<eff::HadamardOp>(*value.user_begin());
  return op && !op.getTransposed() ? op : eff::HadamardOp();
}

LogicalResult ProgramBuilder::convert(eff::GatedNormOp op) {
  Matrix x = getMatrix(op.getInput());
  Reading z = getReading(op.getGateMutable());
  eff::HadamardOp rotation = getRotation(op.getResult());
  Writing y = getWriting(rotation ? rotation.getResult() : op.getResult());
  Pairs constants = {{"rows", getRows(op.getInput(), x.rows)},
                     {"d", x.columns},
                     {"ldx", x.ld},
                     {"ldz", z.matrix.ld},
                     {"ldy", y.matrix.ld},
                     {"group", op.getGroup() ? op.getGroup() : x.columns},
                     {"norm_before_gate", op.getNormBeforeGate()},
                     {"eps_bits", getBits(op.getEps())}};
  if (rotation) {
    constants.push_back({"hadamard", 1});
    addRotation(constants, x.columns);
    done.insert(rotation);
  }
  addReading(constants, z, "z_i8", "zscale_each");
  addQuantization(constants, y);
  addStep(op, "gated_norm", constants,
          {x.ref, z.matrix.ref, getResource(op.getWeight()), y.matrix.ref,
           y.scale, z.scale},
          getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::HadamardOp op) {
  Matrix x = getMatrix(op.getInput());
  Writing y = getWriting(op.getResult());
  Pairs constants = {{"rows", getRows(op.getInput(), x.rows)},
                     {"d", x.columns},
                     {"ldx", x.ld},
                     {"ldy", y.matrix.ld},
                     {"transposed", op.getTransposed()}};
  addRotation(constants, x.columns);
  addQuantization(constants, y);
  addStep(op, "hadamard", constants, {x.ref, y.matrix.ref, y.scale},
          getCost(op));
  return success();
}
