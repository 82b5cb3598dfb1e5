//===- Rotate.cpp - Hadamard rotations of activations and weights ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ResidualWeb.h"
#include "Statistics.h"
#include "WeightUses.h"
#include "effc/Compress/Hadamard.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"

#include <thread>

namespace effc::eff {
#define GEN_PASS_DEF_EFFROTATEPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc;
using namespace effc::eff;
using compress::HadamardPlan;

namespace {
/// What happens to one weight matrix: W <- H_out W diag(norm) H_in^T.
struct Job {
  std::string norm;
  /// Sizes of the rotations; 0: none.
  int64_t inputs = 0, outputs = 0;
  /// Why its inputs are rotated at run time; empty when they are not.
  std::string online;
};

class EffRotatePass : public effc::eff::impl::EffRotatePassBase<EffRotatePass> {
public:
  using EffRotatePassBase::EffRotatePassBase;
  void runOnOperation() override;

private:
  LogicalResult planResidual();
  LogicalResult planOnline();
  LogicalResult makePlan(Operation *op, int64_t size);

  LogicalResult rotateWeights();
  LogicalResult rotateVectors();
  void rotateStream(ResidualWeb &web);
  void keepNorms(ResidualWeb &web);
  void insertOnline();
  void report(WeightOp weight, const Job &job);

  RankedTensorType withRotation(Type type);
  BasisAttr rotated(BasisAttr basis, int64_t size);

  ResidualPlan stream;
  llvm::MapVector<WeightOp, WeightUse> uses;
  llvm::StringMap<WeightOp> weights;
  llvm::MapVector<WeightOp, Job> jobs;
  llvm::SmallVector<LinearOp> onlineLinears;
  std::map<int64_t, HadamardPlan> plans;
};
} // namespace

//===----------------------------------------------------------------------===//
// Which linears are rotated at run time
//===----------------------------------------------------------------------===//

/// A product of two values that both depend on the activations.
static bool isProduct(Operation *op) {
  if (!llvm::isa_and_nonnull<arith::MulFOp>(op))
    return false;
  return llvm::none_of(op->getOperands(), [](Value operand) {
    return matchPattern(operand, m_Constant()) ||
           operand.getDefiningOp<linalg::BroadcastOp>();
  });
}

/// What a linear reads: what a scan gave, what attention gave, or the gated
/// product inside an MLP; empty for anything else (norms of the residual
/// stream, parts of another linear's result, ...).
static llvm::StringRef classifyInput(Value input) {
  bool scan = false, attention = false;
  llvm::SetVector<Value> values;
  values.insert(input);
  for (size_t i = 0; i < values.size(); ++i) {
    Operation *op = values[i].getDefiningOp();
    if (!op)
      continue;
    scan |= llvm::isa<SsmScanOp, SsdScanOp>(op);
    attention |= llvm::isa<AttentionOp>(op);
    if (llvm::isa<GatedNormOp, RmsNormOp, LayerNormOp>(op))
      values.insert(op->getOperand(0));
    else if (llvm::isa_and_nonnull<arith::ArithDialect, math::MathDialect>(
                 op->getDialect()))
      values.insert(op->operand_begin(), op->operand_end());
  }
  if (scan)
    return "a scan's result";
  if (attention)
    return "attention's result";
  Operation *op = input.getDefiningOp();
  auto linear = llvm::dyn_cast_or_null<LinearOp>(op);
  if (linear && linear.hasEpilogue() &&
      llvm::any_of(linear.getEpilogue().front(),
                   [](Operation &inner) { return isProduct(&inner); }))
    return "a gated product";
  return isProduct(op) ? "a gated product" : "";
}

//===----------------------------------------------------------------------===//
// Plans: nothing changes before all of them stand
//===----------------------------------------------------------------------===//

LogicalResult EffRotatePass::makePlan(Operation *op, int64_t size) {
  if (plans.count(size))
    return success();
  auto plan = HadamardPlan::createBlockDiagonal(size);
  if (!plan)
    return refuseRotation(op, plan.error().what + ": " + plan.error().why);
  plans.emplace(size, plan.take());
  return success();
}

LogicalResult EffRotatePass::planResidual() {
  FailureOr<ResidualPlan> planned = planResidualRotation(getOperation());
  if (failed(planned))
    return failure();
  stream = std::move(*planned);
  if (failed(makePlan(getOperation(), stream.features)))
    return failure();
  for (auto &[name, matrix] : stream.matrices)
    jobs[weights.lookup(name)] = {matrix.norm,
                                  matrix.inputs ? stream.features : 0,
                                  matrix.outputs ? stream.features : 0,
                                  {}};
  return success();
}

LogicalResult EffRotatePass::planOnline() {
  for (auto &[weight, use] : uses) {
    WeightOp op = weight;
    llvm::SmallVector<LinearOp> linears;
    bool all = true;
    llvm::StringRef why;
    for (UseOp user : use.uses)
      for (OpOperand &operand : user->getUses()) {
        auto linear = llvm::dyn_cast<LinearOp>(operand.getOwner());
        llvm::StringRef reason = linear && isMatrixOperand(operand)
                                     ? classifyInput(linear.getInput())
                                     : llvm::StringRef();
        all &= !reason.empty();
        if (reason.empty())
          continue;
        why = reason;
        linears.push_back(linear);
      }
    if (linears.empty() || (why == "attention's result" && !attention))
      continue;
    WeightType type = op.getType();
    if (!all)
      return refuseRotation(linears.front(),
                            "'@" + op.getSymName() +
                                "' also reads values that are not rotated");
    if (!linears.front().getInput().getType().getElementType().isF32() ||
        !type.getFloatFormat() || op.getQuantized())
      return refuseRotation(linears.front(),
                            "'@" + op.getSymName() + "' is quantised already",
                            "rotate before weights and activations are "
                            "quantised");
    if (type.getInputs() && type.getInputs().getHadamard())
      return refuseRotation(linears.front(),
                            "the inputs of '@" + op.getSymName() +
                                "' are rotated already",
                            "rotate a model once");
    Job &job = jobs[op];
    if (job.inputs)
      return refuseRotation(linears.front(),
                            "'@" + op.getSymName() +
                                "' reads the residual stream and " + why);
    if (failed(makePlan(linears.front(), type.getShape()[1])))
      return failure();
    job.inputs = type.getShape()[1];
    job.online = why.str();
    onlineLinears.append(linears.begin(), linears.end());
  }
  if (onlineLinears.empty())
    return refuseRotation(getOperation(),
                          "no linear reads a scan's result or a gated product",
                          "leave 'online' out for this model");
  return success();
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Emits what a step of compression says about a weight.
static LogicalResult check(WeightOp op, const compress::Status &status) {
  if (status)
    return success();
  auto diagnostic = emitUserError(op.getLoc(), ErrorCode::BadCompressionShape,
                                  status.error().what + " (weight '@" +
                                      op.getSymName() + "')");
  noteWhy(diagnostic, status.error().why);
  return failure();
}

BasisAttr EffRotatePass::rotated(BasisAttr basis, int64_t size) {
  if (!size)
    return basis;
  return BasisAttr::get(&getContext(), basis ? basis.getOrder() : StringAttr(),
                        size);
}

LogicalResult EffRotatePass::rotateWeights() {
  compress::ParallelFor parallel = compress::onThreads(
      threads > 0 ? unsigned(threads)
                  : std::max(1u, std::thread::hardware_concurrency()));
  for (auto &[weight, job] : jobs) {
    WeightOp op = weight;
    auto values = WeightValues::read(op);
    if (!values)
      return effc::emit(op.getLoc(), values.takeError());
    compress::MatrixView<float> view(values->getValues().data(),
                                     values->getRows(), values->getColumns());
    if (!job.norm.empty()) {
      auto norm = WeightValues::read(weights.lookup(job.norm));
      if (!norm)
        return effc::emit(op.getLoc(), norm.takeError());
      llvm::ArrayRef<float> g = norm->getValues();
      if (failed(check(
              op, compress::foldIntoInputs(
                      view, compress::Span<const float>(g.data(), g.size())))))
        return failure();
    }
    if (!compress::allFinite(view))
      return effc::emit(op.getLoc(), makeError(ErrorCode::BadCompressionValues,
                                               "weight '" + op.getSymName() +
                                                   "' is not finite"));
    auto forward = compress::Direction::Forward;
    if (job.inputs &&
        failed(check(op, compress::rotateInputs(plans.at(job.inputs), view,
                                                forward, parallel))))
      return failure();
    if (job.outputs &&
        failed(check(op, compress::rotateOutputs(plans.at(job.outputs), view,
                                                 forward, parallel))))
      return failure();
    WeightValues::replace(op, std::move(*values));
    WeightType type = op.getType();
    // The format of the file rounds what is no longer there.
    setWeightType(
        op, uses[op].uses,
        type.withFormat(TypeAttr::get(Float32Type::get(&getContext())))
            .withBases(rotated(type.getInputs(), job.inputs),
                       rotated(type.getOutputs(), job.outputs)));
    report(op, job);
  }
  return success();
}

LogicalResult EffRotatePass::rotateVectors() {
  for (llvm::StringRef name : stream.vectors) {
    WeightOp op = weights.lookup(name);
    auto values = WeightValues::read(op);
    if (!values)
      return effc::emit(op.getLoc(), values.takeError());
    compress::transform(plans.at(stream.features), values->getValues().data());
    WeightValues::replace(op, std::move(*values));
    Attribute f32 = TypeAttr::get(Float32Type::get(&getContext()));
    setWeightType(op, uses[op].uses, op.getType().withFormat(f32));
  }
  for (llvm::StringRef name : stream.folded)
    fillWeight(weights.lookup(name), 1);
  return success();
}

void EffRotatePass::report(WeightOp weight, const Job &job) {
  auto remark =
      remark::passed(weight.getLoc(), remark::RemarkOpts::name("WeightRotated")
                                          .category("eff-rotate")
                                          .function(weight.getSymName()));
  remark << remark::add("{0}", weight.getSymName());
  for (auto [side, size] :
       {std::pair{"Inputs", job.inputs}, {"Outputs", job.outputs}}) {
    if (!size)
      continue;
    const HadamardPlan &plan = plans.at(size);
    remark << remark::metric(side, size)
           << remark::metric(side + std::string("Base"), plan.getBase())
           << remark::metric(side + std::string("Blocks"), plan.getBlocks());
  }
  if (!job.norm.empty())
    remark << remark::metric("NormFolded", job.norm);
  remark << remark::reason("{0}", job.online.empty()
                                      ? std::string("residual stream")
                                      : "reads " + job.online);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

RankedTensorType EffRotatePass::withRotation(Type type) {
  auto tensor = llvm::cast<RankedTensorType>(type);
  auto basis = llvm::dyn_cast_or_null<BasisAttr>(tensor.getEncoding());
  return tensor.cloneWithEncoding(rotated(basis, tensor.getShape().back()));
}

/// Norms that stay need the model's own basis.
void EffRotatePass::keepNorms(ResidualWeb &web) {
  llvm::DenseMap<Value, Value> plain;
  for (RmsNormOp norm : web.norms) {
    if (!stream.kept.count(getSymbolOf(norm.getWeight())))
      continue;
    Value &value = plain[norm.getInput()];
    if (!value) {
      OpBuilder builder(norm);
      builder.setInsertionPointAfterValue(norm.getInput());
      value = HadamardOp::create(builder, norm.getLoc(), norm.getType(),
                                 norm.getInput(), /*transposed=*/true);
    }
    norm.getInputMutable().assign(value);
  }
}

void EffRotatePass::rotateStream(ResidualWeb &web) {
  keepNorms(web);
  // Constants and vectors that meet the stream take its type.
  for (Operation *op : web.broadcasts) {
    OpBuilder builder(op);
    auto broadcast = llvm::cast<linalg::BroadcastOp>(op);
    auto type = withRotation(op->getResult(0).getType());
    Value empty =
        tensor::EmptyOp::create(builder, op->getLoc(), type.getShape(),
                                builder.getF32Type(), type.getEncoding());
    auto other =
        linalg::BroadcastOp::create(builder, op->getLoc(), broadcast.getInput(),
                                    empty, broadcast.getDimensions());
    op->replaceAllUsesWith(other->getResults());
    op->erase();
  }
  for (Value value : web.values) {
    Operation *op = value.getDefiningOp();
    RankedTensorType type = withRotation(value.getType());
    auto embed = llvm::dyn_cast<EmbedOp>(op);
    if (embed && stream.tied.contains(getSymbolOf(embed.getTable()))) {
      OpBuilder builder(op->getContext());
      builder.setInsertionPointAfter(op);
      auto hadamard = HadamardOp::create(builder, op->getLoc(), type, value,
                                         /*transposed=*/false);
      value.replaceAllUsesExcept(hadamard.getResult(), hadamard);
      continue;
    }
    value.setType(type);
    for (OpOperand &operand : op->getOpOperands()) {
      DenseElementsAttr constant;
      if (!llvm::isa<arith::MulFOp, arith::DivFOp>(op) ||
          !matchPattern(operand.get(), m_Constant(&constant)))
        continue;
      OpBuilder builder(op);
      operand.set(arith::ConstantOp::create(
          builder, op->getLoc(),
          DenseElementsAttr::get(type, constant.getSplatValue<Attribute>())));
    }
  }
  for (RmsNormOp norm : web.norms)
    if (stream.folded.contains(getSymbolOf(norm.getWeight())))
      norm.getResult().setType(withRotation(norm.getType()));
}

void EffRotatePass::insertOnline() {
  llvm::DenseMap<Value, Value> rotations;
  for (LinearOp linear : onlineLinears) {
    Value input = linear.getInput();
    Value &value = rotations[input];
    if (!value) {
      OpBuilder builder(linear);
      builder.setInsertionPointAfterValue(input);
      value = HadamardOp::create(builder, linear.getLoc(),
                                 withRotation(input.getType()), input,
                                 /*transposed=*/false);
    }
    linear.getInputMutable().assign(value);
  }
}

void EffRotatePass::runOnOperation() {
  ModuleOp module = getOperation();
  if (!residual && !online) {
    auto diagnostic = emitUserError(module.getLoc(), ErrorCode::BadOption,
                                    "eff-rotate has nothing to do");
    noteTry(diagnostic, "give residual, online or both");
    return signalPassFailure();
  }
  uses = findWeightUses(module);
  for (auto &[weight, use] : uses)
    weights[WeightOp(weight).getSymName()] = weight;
  if ((residual && failed(planResidual())) || (online && failed(planOnline())))
    return signalPassFailure();

  if (failed(rotateWeights()) || failed(rotateVectors()))
    return signalPassFailure();
  insertOnline();
  for (ResidualWeb &web : stream.webs)
    rotateStream(web);

  for (llvm::StringRef norm : stream.folded)
    remark::passed(weights.lookup(norm).getLoc(),
                   remark::RemarkOpts::name("NormFolded")
                       .category("eff-rotate")
                       .function(norm))
        << remark::add("{0}", norm);
  for (auto &[norm, why] : stream.kept)
    remark::missed(weights.lookup(norm).getLoc(),
                   remark::RemarkOpts::name("NormKept")
                       .category("eff-rotate")
                       .function(norm))
        << remark::add("{0}", norm)
        << remark::metric("OnlineSize", stream.features)
        << remark::reason("{0}", why);
  for (const auto &table : stream.tied)
    remark::missed(weights.lookup(table.getKey()).getLoc(),
                   remark::RemarkOpts::name("TableKept")
                       .category("eff-rotate")
                       .function(table.getKey()))
        << remark::add("{0}", table.getKey())
        << remark::metric("OnlineSize", stream.features)
        << remark::reason("an output head shares it");
}
