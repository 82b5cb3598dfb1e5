//===- FuseEpilogue.cpp - elementwise arithmetic into linears -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/SetVector.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFFUSEEPILOGUEPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc::eff;

namespace {
/// The ops that move into one linear, in their order; the last one gives the
/// new result.
struct Fusion {
  llvm::SmallSetVector<Operation *, 8> ops;
  /// Why no (larger) set could be taken; empty when nothing was in the way.
  std::string obstacle;
};

class EffFuseEpiloguePass
    : public effc::eff::impl::EffFuseEpiloguePassBase<EffFuseEpiloguePass> {
public:
  using EffFuseEpiloguePassBase::EffFuseEpiloguePassBase;
  void runOnOperation() override;
};
} // namespace

/// The value that a splat constant repeats.
static TypedAttr getSplat(Value value) {
  DenseElementsAttr constant;
  if (!matchPattern(value, m_Constant(&constant)) || !constant.isSplat())
    return {};
  return llvm::dyn_cast<TypedAttr>(constant.getSplatValue<Attribute>());
}

/// The weight vector that a value repeats along the last dimension of `type`.
static Value getVector(Value value, RankedTensorType type) {
  auto broadcast = value.getDefiningOp<linalg::BroadcastOp>();
  if (!broadcast)
    return {};
  auto read = broadcast.getInput().getDefiningOp<ReadOp>();
  if (!read ||
      llvm::cast<WeightType>(read.getWeight().getType()).getShape().size() != 1)
    return {};
  // All dimensions but the last are new.
  if (llvm::is_contained(broadcast.getDimensions(), type.getRank() - 1))
    return {};
  return read.getWeight();
}

/// Whether an op computes each element of its result from those of its operands
/// at the same place.
static bool isElementwise(Operation *op, RankedTensorType type) {
  if (!llvm::isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) ||
      !OpTrait::hasElementwiseMappableTraits(op) || op->getNumResults() != 1 ||
      !isMemoryEffectFree(op))
    return false;
  auto result = llvm::dyn_cast<RankedTensorType>(op->getResult(0).getType());
  return result && result.getShape() == type.getShape();
}

/// Whether a value from outside can be given to an epilogue.
static bool canEnter(Value value, RankedTensorType type) {
  return value.getType() == type || getSplat(value) || getVector(value, type);
}

/// The ops after the linear that depend on it, each elementwise with operands
/// that can enter.
static llvm::SmallSetVector<Operation *, 8> collectForward(LinearOp linear) {
  RankedTensorType type = linear.getResult().getType();
  llvm::SmallSetVector<Operation *, 8> reached;
  auto isInside = [&](Value value) {
    return value == linear.getResult() ||
           (value.getDefiningOp() && reached.contains(value.getDefiningOp()));
  };
  for (Operation *op = linear->getNextNode(); op; op = op->getNextNode()) {
    if (llvm::none_of(op->getOperands(), isInside) || !isElementwise(op, type))
      continue;
    if (llvm::all_of(op->getOperands(), [&](Value operand) {
          return isInside(operand) || canEnter(operand, type);
        }))
      reached.insert(op);
  }
  return reached;
}

/// The part of `reached` that `last` is computed from, `last` included, in
/// order.
static llvm::SmallSetVector<Operation *, 8>
sliceTo(Operation *last, const llvm::SmallSetVector<Operation *, 8> &reached) {
  llvm::SmallPtrSet<Operation *, 8> needed = {last};
  for (Operation *op : llvm::reverse(reached.getArrayRef()))
    if (needed.contains(op))
      for (Value operand : op->getOperands())
        if (Operation *def = operand.getDefiningOp();
            def && reached.contains(def))
          needed.insert(def);
  llvm::SmallSetVector<Operation *, 8> slice;
  for (Operation *op : reached)
    if (needed.contains(op))
      slice.insert(op);
  return slice;
}

static Fusion findFusion(LinearOp linear) {
  Fusion fusion;
  auto reached = collectForward(linear);
  for (Operation *last : llvm::reverse(reached.getArrayRef())) {
    auto slice = sliceTo(last, reached);
    auto staysInside = [&](Value value) {
      return llvm::all_of(value.getUsers(), [&](Operation *user) {
        return slice.contains(user);
      });
    };
    bool closed = staysInside(linear.getResult()) &&
                  llvm::all_of(slice, [&](Operation *op) {
                    return op == last || staysInside(op->getResult(0));
                  });
    if (closed && last->getResult(0).getType() == linear.getType()) {
      fusion.ops = std::move(slice);
      return fusion;
    }
  }
  if (!reached.empty())
    fusion.obstacle = "other ops read a value in between";
  return fusion;
}

/// Builds the epilogue of the fused linear, and gathers its extras.
static void fillEpilogue(LinearOp linear, const Fusion &fusion,
                         Region &epilogue,
                         llvm::SmallVectorImpl<Value> &extras) {
  OpBuilder builder(linear.getContext());
  RankedTensorType type = linear.getResult().getType();
  IRMapping map;
  if (linear.hasEpilogue()) {
    linear.getEpilogue().cloneInto(&epilogue, map);
    Operation *yield = epilogue.front().getTerminator();
    map.map(linear.getResult(), yield->getOperand(0));
    yield->erase();
  } else {
    Block &block = epilogue.emplaceBlock();
    map.map(linear.getResult(),
            block.addArgument(builder.getF32Type(), linear.getLoc()));
  }
  Block &body = epilogue.front();
  builder.setInsertionPointToEnd(&body);
  auto enter = [&](Value value) -> Value {
    if (TypedAttr splat = getSplat(value))
      return arith::ConstantOp::create(builder, value.getLoc(), splat);
    Value vector = getVector(value, type);
    Value extra = vector ? vector : value;
    auto *at = llvm::find(extras, extra);
    if (at != extras.end())
      return body.getArgument(1 + (at - extras.begin()));
    extras.push_back(extra);
    return body.addArgument(builder.getF32Type(), value.getLoc());
  };
  for (Operation *op : fusion.ops) {
    for (Value operand : op->getOperands())
      if (!map.contains(operand))
        map.map(operand, enter(operand));
    // The scalar form of an elementwise op differs in its types alone.
    Operation *scalar = builder.clone(*op, map);
    Value result = scalar->getResult(0);
    result.setType(getElementTypeOrSelf(result.getType()));
  }
  YieldOp::create(builder, fusion.ops.back()->getLoc(),
                  map.lookup(fusion.ops.back()->getResult(0)));
}

static LinearOp fuse(LinearOp linear, const Fusion &fusion) {
  Operation *last = fusion.ops.back();
  OpBuilder builder(last);
  llvm::SmallVector<Value> extras(linear.getExtras());
  llvm::SmallVector<Location> locs = {linear.getLoc()};
  for (Operation *op : fusion.ops)
    locs.push_back(op->getLoc());
  Region epilogue;
  fillEpilogue(linear, fusion, epilogue, extras);
  auto fused = LinearOp::create(builder, builder.getFusedLoc(locs),
                                linear.getType(), linear.getInput(),
                                linear.getWeight(), linear.getScale(), extras);
  fused.getEpilogue().takeBody(epilogue);
  last->getResult(0).replaceAllUsesWith(fused.getResult());
  for (Operation *op : llvm::reverse(fusion.ops.getArrayRef()))
    op->erase();
  linear.erase();
  return fused;
}

void EffFuseEpiloguePass::runOnOperation() {
  func::FuncOp func = getOperation();
  llvm::SmallVector<LinearOp> linears;
  func.walk([&](LinearOp linear) { linears.push_back(linear); });
  for (LinearOp linear : linears) {
    Fusion fusion = findFusion(linear);
    if (fusion.ops.empty()) {
      if (!fusion.obstacle.empty())
        remark::missed(linear.getLoc(), remark::RemarkOpts::name("EpilogueKept")
                                            .category("eff-fuse-epilogue")
                                            .function(func.getName()))
            << remark::reason("{0}", fusion.obstacle);
      continue;
    }
    int64_t moved = fusion.ops.size();
    LinearOp fused = fuse(linear, fusion);
    remark::passed(fused.getLoc(), remark::RemarkOpts::name("EpilogueFused")
                                       .category("eff-fuse-epilogue")
                                       .function(func.getName()))
        << remark::metric("Ops", moved)
        << remark::metric("Extras",
                          static_cast<int64_t>(fused.getExtras().size()));
  }
}
