//===- ResidualWeb.cpp - the residual stream of a model -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ResidualWeb.h"
#include "Statistics.h"
#include "WeightUses.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace effc;
using namespace effc::eff;

LogicalResult effc::eff::refuseRotation(Operation *op, const llvm::Twine &why,
                                        const llvm::Twine &hint) {
  auto diagnostic = emitUserError(op->getLoc(), ErrorCode::CannotRotate,
                                  "the model cannot be rotated as asked");
  noteWhy(diagnostic, why);
  noteTry(diagnostic, hint.isTriviallyEmpty()
                          ? llvm::Twine(defaultHint(ErrorCode::CannotRotate))
                          : hint);
  return failure();
}

static std::string nameOf(Operation *op) {
  return "'" + op->getName().getStringRef().str() + "'";
}

static std::string whyLayerNorm() {
  return "'eff.layer_norm' subtracts the mean, which does not commute with a "
         "rotation as a root-mean-square norm does";
}

static LogicalResult refuseTwice(Operation *op) {
  return refuseRotation(op, "the residual stream is rotated already",
                        "rotate a model once");
}

//===----------------------------------------------------------------------===//
// The web of one function
//===----------------------------------------------------------------------===//

static bool isSplat(Value value) {
  DenseElementsAttr constant;
  return matchPattern(value, m_Constant(&constant)) && constant.isSplat();
}

/// The weight that a broadcast repeats along the last dimension; null for
/// anything else.
static linalg::BroadcastOp getVectorBroadcast(Value value) {
  auto broadcast = value.getDefiningOp<linalg::BroadcastOp>();
  if (!broadcast || !broadcast.getInput().getDefiningOp<ReadOp>())
    return {};
  auto type = llvm::cast<RankedTensorType>(value.getType());
  if (broadcast.getInput().getType().getRank() != 1 ||
      llvm::is_contained(broadcast.getDimensions(), type.getRank() - 1))
    return {};
  return broadcast;
}

/// Whether an epilogue is linear in its arguments: sums, differences and
/// products with constants commute with a rotation.
static bool isLinear(Region &epilogue) {
  Block &block = epilogue.front();
  llvm::SmallPtrSet<Value, 8> linear(block.args_begin(), block.args_end());
  auto isConstant = [](Value value) {
    return matchPattern(value, m_Constant());
  };
  for (Operation &op : block.without_terminator()) {
    if (op.hasTrait<OpTrait::ConstantLike>())
      continue;
    bool fits = false;
    if (llvm::isa<arith::AddFOp, arith::SubFOp, arith::NegFOp>(op))
      fits = llvm::all_of(op.getOperands(),
                          [&](Value value) { return linear.contains(value); });
    else if (llvm::isa<arith::MulFOp, arith::DivFOp>(op))
      fits =
          (linear.contains(op.getOperand(0)) && isConstant(op.getOperand(1))) ||
          (llvm::isa<arith::MulFOp>(op) && isConstant(op.getOperand(0)) &&
           linear.contains(op.getOperand(1)));
    if (!fits)
      return false;
    linear.insert(op.getResult(0));
  }
  return linear.contains(block.getTerminator()->getOperand(0));
}

namespace {
class WebFinder {
public:
  FailureOr<ResidualWeb> find(func::FuncOp function);

private:
  LogicalResult enter(Value value, Operation *from);
  LogicalResult visitDefinition(Value value);
  LogicalResult visitUse(OpOperand &use);
  LogicalResult visitSum(Operation *sum);
  LogicalResult visitWriter(LinearOp linear);
  /// What is added to the stream must not be read elsewhere.
  LogicalResult checkBroadcasts();
  /// Of a product or quotient with a splat constant, the other operand; of a
  /// negation its operand; null for anything else.
  static Value getScaled(Operation *op);

  ResidualWeb web;
  llvm::SmallVector<Value> work;
  llvm::SmallPtrSet<Operation *, 16> sums;
};
} // namespace

LogicalResult WebFinder::enter(Value value, Operation *from) {
  auto type = llvm::dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.getElementType().isF32() || type.getRank() == 0 ||
      type.getShape().back() != web.features)
    return refuseRotation(from, nameOf(from) +
                                    " adds to the residual stream, but does "
                                    "not have its " +
                                    llvm::Twine(web.features) + " features");
  if (type.getEncoding())
    return refuseTwice(from);
  if (web.values.insert(value))
    work.push_back(value);
  return success();
}

Value WebFinder::getScaled(Operation *op) {
  if (llvm::isa<arith::NegFOp>(op))
    return op->getOperand(0);
  if (llvm::isa<arith::MulFOp>(op) && isSplat(op->getOperand(0)))
    return op->getOperand(1);
  if (llvm::isa<arith::MulFOp, arith::DivFOp>(op) && isSplat(op->getOperand(1)))
    return op->getOperand(0);
  return {};
}

LogicalResult WebFinder::visitSum(Operation *sum) {
  if (!sums.insert(sum).second)
    return success();
  for (Value operand : sum->getOperands()) {
    if (linalg::BroadcastOp bias = getVectorBroadcast(operand)) {
      auto read = bias.getInput().getDefiningOp<ReadOp>();
      web.biases.push_back(&read.getWeightMutable());
      web.broadcasts.insert(bias);
      continue;
    }
    if (failed(enter(operand, sum)))
      return failure();
  }
  return enter(sum->getResult(0), sum);
}

LogicalResult WebFinder::visitWriter(LinearOp linear) {
  if (linear.hasEpilogue() && !isLinear(linear.getEpilogue()))
    return refuseRotation(linear, "the epilogue of a linear that writes the "
                                  "residual stream is more than sums");
  if (!linear.getInput().getType().getElementType().isF32())
    return refuseRotation(linear, "its activations are quantised already",
                          "rotate before activations are quantised");
  web.writers.push_back(linear);
  for (OpOperand &extra : linear.getExtrasMutable()) {
    if (llvm::isa<WeightType>(extra.get().getType()))
      web.biases.push_back(&extra);
    else if (failed(enter(extra.get(), linear)))
      return failure();
  }
  return success();
}

LogicalResult WebFinder::visitDefinition(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op) {
    auto function =
        llvm::cast<func::FuncOp>(value.getParentBlock()->getParentOp());
    return refuseRotation(function,
                          "an input of the function is part of the residual "
                          "stream");
  }
  if (llvm::isa<EmbedOp>(op))
    return success();
  if (auto linear = llvm::dyn_cast<LinearOp>(op))
    return visitWriter(linear);
  if (llvm::isa<arith::AddFOp, arith::SubFOp>(op))
    return visitSum(op);
  if (auto select = llvm::dyn_cast<SelectRowsOp>(op))
    return enter(select.getInput(), op);
  if (Value scaled = getScaled(op))
    return enter(scaled, op);
  if (llvm::isa<HadamardOp>(op))
    return refuseTwice(op);
  return refuseRotation(op, nameOf(op) + " defines a value of the residual "
                                         "stream; it does not commute with a "
                                         "rotation");
}

LogicalResult WebFinder::visitUse(OpOperand &use) {
  Operation *op = use.getOwner();
  if (auto norm = llvm::dyn_cast<RmsNormOp>(op)) {
    web.norms.push_back(norm);
    return success();
  }
  if (auto linear = llvm::dyn_cast<LinearOp>(op)) {
    if (&use != &linear.getInputMutable())
      return enter(linear.getResult(), op);
    web.readers.push_back(linear);
    return success();
  }
  if (llvm::isa<arith::AddFOp, arith::SubFOp>(op))
    return visitSum(op);
  if (llvm::isa<SelectRowsOp>(op) || getScaled(op))
    return enter(op->getResult(0), op);
  if (llvm::isa<LayerNormOp>(op))
    return refuseRotation(op, whyLayerNorm());
  if (llvm::isa<HadamardOp>(op))
    return refuseTwice(op);
  if (llvm::isa<func::ReturnOp>(op))
    return refuseRotation(op,
                          "the function returns a value of the residual "
                          "stream",
                          "export the model without hidden states");
  return refuseRotation(op, nameOf(op) + " reads the residual stream; it does "
                                         "not commute with a rotation");
}

LogicalResult WebFinder::checkBroadcasts() {
  for (Operation *broadcast : web.broadcasts) {
    auto read = broadcast->getOperand(0).getDefiningOp<ReadOp>();
    for (Operation *user : broadcast->getUsers())
      if (!sums.contains(user))
        return refuseRotation(user, "it reads a vector that is added to the "
                                    "residual stream");
    for (Operation *user : read->getUsers())
      if (!web.broadcasts.contains(user))
        return refuseRotation(user, "it reads a vector that is added to the "
                                    "residual stream");
  }
  return success();
}

FailureOr<ResidualWeb> WebFinder::find(func::FuncOp function) {
  function.walk([&](EmbedOp embed) { web.embeds.push_back(embed); });
  if (web.embeds.empty()) {
    WalkResult result = function.walk([](LayerNormOp norm) {
      (void)refuseRotation(norm, whyLayerNorm());
      return WalkResult::interrupt();
    });
    if (!result.wasInterrupted())
      (void)refuseRotation(function, "the function has no 'eff.embed', where "
                                     "a residual stream begins");
    return failure();
  }
  web.features = web.embeds.front().getType().getShape().back();
  for (EmbedOp embed : web.embeds)
    if (failed(enter(embed.getResult(), embed)))
      return failure();
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (failed(visitDefinition(value)))
      return failure();
    for (OpOperand &use : value.getUses())
      if (failed(visitUse(use)))
        return failure();
  }
  if (failed(checkBroadcasts()))
    return failure();
  return std::move(web);
}

FailureOr<ResidualWeb> effc::eff::findResidualWeb(func::FuncOp function) {
  return WebFinder().find(function);
}

//===----------------------------------------------------------------------===//
// The fate of the weights
//===----------------------------------------------------------------------===//

namespace {
class Planner {
public:
  explicit Planner(ModuleOp module) : module(module) {}
  FailureOr<ResidualPlan> plan();

private:
  /// What a linear's activations are.
  struct Read {
    enum Kind { Plain, Stream, Norm } kind = Plain;
    llvm::StringRef norm;
    bool operator==(const Read &other) const {
      return kind == other.kind && norm == other.norm;
    }
  };

  LogicalResult findWebs();
  void findTied();
  void findNorms();
  LogicalResult settleMatrices();
  LogicalResult settleVectors();
  Read getRead(LinearOp linear);
  void keep(llvm::StringRef norm, const llvm::Twine &why);

  ModuleOp module;
  ResidualPlan plan_;
  llvm::MapVector<WeightOp, WeightUse> uses;
  llvm::DenseMap<Operation *, llvm::StringRef> normOf;
  llvm::DenseSet<Operation *> readers, writers;
};
} // namespace

LogicalResult Planner::findWebs() {
  for (func::FuncOp function : module.getOps<func::FuncOp>()) {
    if (function.isExternal())
      continue;
    FailureOr<ResidualWeb> web = findResidualWeb(function);
    if (failed(web))
      return failure();
    if (plan_.features && plan_.features != web->features)
      return refuseRotation(function, "its residual stream has " +
                                          llvm::Twine(web->features) +
                                          " features, that of another function "
                                          "has " +
                                          llvm::Twine(plan_.features));
    plan_.features = web->features;
    for (RmsNormOp norm : web->norms)
      normOf[norm] = getSymbolOf(norm.getWeight());
    readers.insert(web->readers.begin(), web->readers.end());
    writers.insert(web->writers.begin(), web->writers.end());
    plan_.webs.push_back(std::move(*web));
  }
  if (plan_.webs.empty())
    return refuseRotation(module, "the model has no function");
  return success();
}

void Planner::findTied() {
  for (auto &[weight, use] : uses) {
    if (!use.table)
      continue;
    if (use.linear || use.conv || use.other)
      plan_.tied.insert(weight.getSymName());
    else
      plan_.matrices[weight.getSymName()].inputs = true;
  }
}

void Planner::keep(llvm::StringRef norm, const llvm::Twine &why) {
  plan_.folded.remove(norm);
  plan_.kept.insert({norm, why.str()});
}

void Planner::findNorms() {
  for (ResidualWeb &web : plan_.webs)
    for (RmsNormOp norm : web.norms) {
      llvm::StringRef symbol = getSymbolOf(norm.getWeight());
      plan_.folded.insert(symbol);
      int64_t group = norm.getGroup();
      if (group && group != web.features)
        keep(symbol, "it norms groups of features");
      for (OpOperand &use : norm.getResult().getUses()) {
        auto linear = llvm::dyn_cast<LinearOp>(use.getOwner());
        if (!linear || &use != &linear.getInputMutable())
          keep(symbol, nameOf(use.getOwner()) + " reads it");
        else if (plan_.tied.contains(getSymbolOf(linear.getWeight())))
          keep(symbol, "an embedding shares the matrix that reads it");
      }
    }
  // A weight that has other readers cannot become ones.
  for (auto &[weight, use] : uses)
    if (plan_.folded.contains(weight.getSymName()))
      for (UseOp op : use.uses)
        for (Operation *user : op->getUsers())
          if (!normOf.count(user))
            keep(weight.getSymName(), nameOf(user) + " reads its weight too");
}

Planner::Read Planner::getRead(LinearOp linear) {
  if (readers.contains(linear))
    return {Read::Stream, {}};
  Operation *source = linear.getInput().getDefiningOp();
  auto norm = source ? normOf.find(source) : normOf.end();
  if (norm == normOf.end() || plan_.kept.count(norm->second))
    return {};
  return {Read::Norm, norm->second};
}

LogicalResult Planner::settleMatrices() {
  // Keeping one norm changes what other matrices read.
  size_t before;
  do {
    before = plan_.kept.size();
    for (auto &[weight, use] : uses) {
      if (!use.linear)
        continue;
      std::optional<Read> first;
      for (UseOp op : use.uses)
        for (Operation *user : op->getUsers()) {
          auto linear = llvm::dyn_cast<LinearOp>(user);
          Read read = linear ? getRead(linear) : Read();
          if (!first)
            first = read;
          if (read == *first)
            continue;
          for (const Read &other : {read, *first})
            if (other.kind == Read::Norm)
              keep(other.norm,
                   "'@" + weight.getSymName() + "' is read elsewhere too");
        }
    }
  } while (plan_.kept.size() != before);

  for (auto &[weight, use] : uses) {
    if (!use.linear)
      continue;
    llvm::SmallVector<Operation *> users;
    for (UseOp op : use.uses)
      llvm::append_range(users, op->getUsers());
    auto readOf = [&](Operation *user) {
      auto linear = llvm::dyn_cast<LinearOp>(user);
      return linear ? getRead(linear) : Read();
    };
    Read read = readOf(users.front());
    bool writes = writers.contains(users.front());
    for (Operation *user : users) {
      if (!(readOf(user) == read) || writers.contains(user) != writes)
        return refuseRotation(user, "'@" + weight.getSymName() +
                                        "' reads or writes the residual "
                                        "stream in one place and other values "
                                        "in another");
    }
    if (read.kind == Read::Plain && !writes)
      continue;
    if (plan_.tied.contains(weight.getSymName()))
      return refuseRotation(users.front(),
                            "'@" + weight.getSymName() +
                                "' is the table of an embedding and reads or "
                                "writes the residual stream");
    if (!weight.getType().getFloatFormat() || weight.getQuantized())
      return refuseRotation(
          weight, "'@" + weight.getSymName() + "' is quantised already",
          "rotate before weights are quantised");
    ResidualPlan::Matrix &matrix = plan_.matrices[weight.getSymName()];
    matrix.inputs = read.kind != Read::Plain;
    matrix.outputs = writes;
    matrix.norm = read.norm.str();
  }
  return success();
}

LogicalResult Planner::settleVectors() {
  llvm::DenseSet<OpOperand *> biases;
  for (ResidualWeb &web : plan_.webs)
    for (OpOperand *bias : web.biases) {
      biases.insert(bias);
      plan_.vectors.insert(getSymbolOf(bias->get()));
    }
  for (auto &[weight, use] : uses)
    if (plan_.vectors.contains(weight.getSymName()))
      for (UseOp op : use.uses)
        for (OpOperand &operand : op->getUses())
          if (!biases.contains(&operand))
            return refuseRotation(operand.getOwner(),
                                  "'@" + weight.getSymName() +
                                      "' is added to the residual stream and "
                                      "read elsewhere too");
  return success();
}

FailureOr<ResidualPlan> Planner::plan() {
  uses = findWeightUses(module);
  if (failed(findWebs()))
    return failure();
  findTied();
  findNorms();
  if (failed(settleMatrices()) || failed(settleVectors()))
    return failure();
  return std::move(plan_);
}

FailureOr<ResidualPlan> effc::eff::planResidualRotation(ModuleOp module) {
  return Planner(module).plan();
}
