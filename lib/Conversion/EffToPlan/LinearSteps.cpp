//===- LinearSteps.cpp - linears and embeddings as steps ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"

#include "effc/Dialect/Eff/Layout.h"
#include "effc/Support/Error.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace effc;

using Pairs = llvm::SmallVector<std::pair<llvm::StringRef, int64_t>, 12>;

/// The family of linears that reads weights of this type; empty when their
/// layout is not the one it reads.
static llvm::StringRef getLinearFamily(eff::WeightType weight,
                                       bool int8Activations) {
  if (weight.getLayout() != eff::getKernelLayout(weight.getFormat()))
    return {};
  if (FloatType type = weight.getFloatFormat())
    return type.isF32()    ? "linear_f32"
           : type.isBF16() ? "linear_bf16"
                           : "linear_f16";
  if (weight.getFloat8())
    return int8Activations ? "" : "linear_f8";
  if (weight.isInt4())
    return int8Activations ? "linear_i4a8" : "linear_i4";
  return int8Activations ? "linear_i8a8" : "linear_i8";
}

/// The constant `format` of embed; nothing when embed cannot read the weight.
static std::optional<int64_t> getTableFormat(eff::WeightType table) {
  FloatType type = table.getFloatFormat();
  switch (table.getLayout()) {
  case eff::Layout::RowMajor:
    if (!type)
      return std::nullopt;
    return type.isF32() ? 0 : type.isBF16() ? 1 : 2;
  case eff::Layout::Panel16:
    return 3;
  case eff::Layout::Panel32Pair:
    return type.isBF16() ? 4 : 5;
  case eff::Layout::Quad16:
    return table.isInt8() ? std::optional<int64_t>(6) : std::nullopt;
  case eff::Layout::Nibble16:
    return 7;
  }
  return std::nullopt;
}

static LogicalResult reportLayout(Operation *op, eff::WeightType weight) {
  auto diagnostic = emitUserError(op->getLoc(), ErrorCode::CodeGen,
                                  "no kernel reads the layout of a weight");
  std::string text;
  llvm::raw_string_ostream(text) << "the weight is " << weight;
  noteWhy(diagnostic, text);
  noteTry(diagnostic, "run eff-assign-layout first");
  return failure();
}

LogicalResult ProgramBuilder::convert(eff::EmbedOp op) {
  auto table = llvm::cast<eff::WeightType>(op.getTable().getType());
  std::optional<int64_t> format = getTableFormat(table);
  if (!format)
    return reportLayout(op, table);
  Matrix ids = getMatrix(op.getIds());
  Matrix y = allocateMatrix(op.getResult());
  Pairs constants = {
      {"rows", y.rows}, {"d", y.columns},    {"vocab", table.getShape()[0]},
      {"ldy", y.ld},    {"format", *format}, {"group", table.getGroup()}};
  if (table.hasZeros())
    constants.push_back({"zeros", 1});
  addStep(op, "embed", constants, {ids.ref, getResource(op.getTable()), y.ref},
          getCost(op));
  return success();
}

/// The constants that say what a weight's integers stand for.
static void addFormat(Pairs &constants, eff::WeightType weight) {
  if (weight.getGroup() > 0)
    constants.push_back({"group", weight.getGroup()});
  if (weight.hasZeros())
    constants.push_back({"zeros", 1});
  if (eff::Float8Attr float8 = weight.getFloat8())
    constants.push_back({"format", static_cast<int64_t>(float8.getKind())});
}

LogicalResult ProgramBuilder::convert(eff::PositionEmbedOp op) {
  auto table = llvm::cast<eff::WeightType>(op.getTable().getType());
  std::optional<int64_t> format = getTableFormat(table);
  if (!format)
    return reportLayout(op, table);
  Matrix y = allocateMatrix(op.getResult());
  addStep(op, "embed",
          {{"rows", y.rows},
           {"d", y.columns},
           {"vocab", table.getShape()[0]},
           {"ldy", y.ld},
           {"format", *format},
           {"group", table.getGroup()},
           {"tokens", op.getResult().getType().getShape()[1]},
           {"first", op.getOffset()}},
          {getNull(), getResource(op.getTable()), y.ref}, getCost(op));
  return success();
}

/// Copies a linear's epilogue under the terminator of the plan dialect.
static void cloneEpilogue(eff::LinearOp op, Region &epilogue) {
  if (!op.hasEpilogue())
    return;
  IRMapping map;
  op.getEpilogue().cloneInto(&epilogue, map);
  Operation *yield = epilogue.front().getTerminator();
  OpBuilder builder(yield);
  plan::YieldOp::create(builder, yield->getLoc(), yield->getOperands());
  yield->erase();
}

LogicalResult ProgramBuilder::convert(eff::LinearOp op) {
  auto weight = llvm::cast<eff::WeightType>(op.getWeight().getType());
  bool isInt8 = static_cast<bool>(op.getScale());
  llvm::StringRef family = getLinearFamily(weight, isInt8);
  if (family.empty())
    return reportLayout(op, weight);
  Matrix x = getMatrix(op.getInput());
  // Rows of extras whose distances differ from one another are copied first,
  // before the result has a place.
  llvm::SmallVector<Value> extraRefs;
  llvm::SmallVector<int64_t> extraLds;
  for (Value extra : op.getExtras()) {
    if (llvm::isa<eff::WeightType>(extra.getType())) {
      extraRefs.push_back(getResource(extra));
      extraLds.push_back(0);
      continue;
    }
    Matrix matrix = getMatrix(extra);
    extraRefs.push_back(matrix.ref);
    extraLds.push_back(matrix.ld);
  }
  Writing writing = isInt8
                        ? getStaticWriting(op.getResult())
                        : Writing{allocateMatrix(op.getResult()), 0, {}, false};
  Matrix y = writing.matrix;
  Pairs constants = {{"rows", getRows(op.getInput(), y.rows)},
                     {"n", y.columns},
                     {"k", x.columns},
                     {"ldy", y.ld},
                     {"extras", extraRefs.size()},
                     {isInt8 ? "ldq" : "ldx", x.ld}};
  addQuantization(constants, writing);
  addFormat(constants, weight);
  llvm::SmallVector<std::string> names;
  for (size_t i = 0; i < extraLds.size(); ++i)
    names.push_back("extra" + std::to_string(i) + "_ld");
  for (auto [name, ld] : llvm::zip(names, extraLds))
    constants.push_back({name, ld});
  llvm::SmallVector<Value> operands = {x.ref};
  bool isAsymmetric = op.isAsymmetric();
  bool isWeight = isInt8 && llvm::isa<eff::WeightType>(op.getScale().getType());
  if (isWeight || isAsymmetric)
    constants.push_back({"static_scale", 1});
  if (isAsymmetric)
    constants.push_back({"asymmetric", 1});
  if (isInt8)
    operands.push_back(isWeight ? getResource(op.getScale())
                                : getMatrix(op.getScale()).ref);
  operands.append({getResource(op.getWeight()), y.ref});
  if (isInt8)
    operands.push_back(writing.scale);
  operands.append(extraRefs);
  Region epilogue;
  cloneEpilogue(op, epilogue);
  addStep(op, family, constants, epilogue, operands, getCost(op));
  return success();
}

/// An epilogue that adds its one extra.
static void createBiasEpilogue(Location loc, Region &epilogue) {
  OpBuilder builder(loc.getContext());
  Type f32 = builder.getF32Type();
  Block &body = epilogue.emplaceBlock();
  body.addArguments({f32, f32}, {loc, loc});
  builder.setInsertionPointToEnd(&body);
  Value sum = arith::AddFOp::create(builder, loc, body.getArgument(0),
                                    body.getArgument(1));
  plan::YieldOp::create(builder, loc, sum);
}

/// Patches side by side, then a linear over them.
LogicalResult ProgramBuilder::convert(eff::Conv2DOp op) {
  auto weight = llvm::cast<eff::WeightType>(op.getWeight().getType());
  llvm::StringRef family = getLinearFamily(weight, false);
  if (family.empty())
    return reportLayout(op, weight);
  auto input = llvm::cast<RankedTensorType>(op.getInput().getType());
  int64_t rows = op.getResult().getType().getNumElements() /
                 op.getResult().getType().getShape().back();
  int64_t columns = weight.getShape()[1];
  Place image = getPlace(op.getInput());
  if (!image.isContiguous())
    image = places[op.getInput()] = makeContiguous(image);
  Value patches = createBuffer(rows * columns * 4);
  addStep(op, "patchify",
          {{"batch", input.getShape()[0]},
           {"channels", input.getShape()[1]},
           {"height", input.getShape()[2]},
           {"width", input.getShape()[3]},
           {"ph", op.getPatch()[0]},
           {"pw", op.getPatch()[1]}},
          {getRef(image), patches}, {});
  Matrix y = allocateMatrix(op.getResult());
  Pairs constants = {{"rows", rows}, {"n", y.columns},
                     {"k", columns}, {"ldx", columns},
                     {"ldy", y.ld},  {"extras", op.getBias() ? 1 : 0}};
  addFormat(constants, weight);
  llvm::SmallVector<Value> operands = {patches, getResource(op.getWeight()),
                                       y.ref};
  Region epilogue;
  if (op.getBias()) {
    constants.push_back({"extra0_ld", 0});
    operands.push_back(getResource(op.getBias()));
    createBiasEpilogue(op.getLoc(), epilogue);
  }
  addStep(op, family, constants, epilogue, operands, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::SelectRowsOp op) {
  auto type = llvm::cast<RankedTensorType>(op.getInput().getType());
  Matrix x = getMatrix(op.getInput());
  Matrix y = allocateMatrix(op.getResult());
  addStep(op, "select_rows",
          {{"batch", type.getShape()[0]},
           {"tokens", type.getShape()[1]},
           {"d", x.columns},
           {"ldx", x.ld},
           {"ldy", y.ld}},
          {x.ref, y.ref}, {});
  return success();
}

LogicalResult ProgramBuilder::convert(eff::SampleOp op) {
  Matrix logits = getMatrix(op.getLogits());
  Place ids = allocate(op.getResult());
  addStep(op, "sample",
          {{"rows", getRows(op.getLogits(), logits.rows)},
           {"vocab", logits.columns},
           {"ld", logits.ld}},
          {logits.ref, getRef(ids)}, getCost(op));
  return success();
}
