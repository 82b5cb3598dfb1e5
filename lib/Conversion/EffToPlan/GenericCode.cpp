//===- GenericCode.cpp - gathers ops that no kernel family covers ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "GenericCode.h"
#include "ProgramBuilder.h"

#include "effc/Support/Error.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace effc;

/// Constants up to this size stand in the code; larger ones become weights.
static constexpr int64_t kMaxConstantBytes = 1024;

static int64_t getBytes(RankedTensorType type) {
  return type.getNumElements() * getElementBytes(type.getElementType());
}

/// Whether a tensor constant is better declared as a weight than repeated in
/// code.
static bool isLargeConstant(Operation *op) {
  auto constant = llvm::dyn_cast<arith::ConstantOp>(op);
  if (!constant)
    return false;
  auto type = llvm::dyn_cast<RankedTensorType>(constant.getType());
  auto value = llvm::dyn_cast<ElementsAttr>(constant.getValue());
  return type && value && type.getElementType().isF32() && !value.isSplat() &&
         getBytes(type) > kMaxConstantBytes;
}

bool effc::isCloned(Operation *op) {
  if (!llvm::isa<arith::ArithDialect, math::MathDialect, tensor::TensorDialect>(
          op->getDialect()) ||
      op->getNumRegions() > 0)
    return false;
  if (llvm::isa<tensor::EmptyOp, tensor::ExtractOp>(op) ||
      op->hasTrait<OpTrait::ConstantLike>())
    return true;
  auto isScalar = [](Type type) { return type.isIntOrIndexOrFloat(); };
  return isMemoryEffectFree(op) &&
         llvm::all_of(op->getResultTypes(), isScalar) &&
         llvm::all_of(op->getOperandTypes(), isScalar);
}

LogicalResult ProgramBuilder::placeConstant(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto type = llvm::dyn_cast<RankedTensorType>(value.getType());
  // Other constants, and values without meaning, are written by code.
  if (Operation *def = value.getDefiningOp();
      type && def && isCloned(def) &&
      !(constant && type.getElementType().isF32())) {
    Group group;
    group.ops.push_back(def);
    return emitGroup(&group, /*isWanted=*/true);
  }
  if (!constant || !type) {
    auto diagnostic = emitUserError(value.getLoc(), ErrorCode::CodeGen,
                                    "a value is used that no step can compute");
    return failure();
  }
  OpBuilder builder(symbols.getOp()->getRegion(0));
  llvm::SmallVector<int64_t> shape(type.getShape());
  if (shape.empty())
    shape.push_back(1);
  auto source = llvm::cast<ElementsAttr>(constant.getValue());
  if (auto dense = llvm::dyn_cast<DenseElementsAttr>(source);
      dense && type.getRank() == 0)
    source = dense.reshape(RankedTensorType::get(shape, type.getElementType()));
  auto weightType = eff::WeightType::get(builder.getContext(), shape,
                                         TypeAttr::get(builder.getF32Type()),
                                         eff::Layout::RowMajor);
  // The same constant in several entry points is one weight.
  eff::WeightOp weight;
  for (auto other :
       llvm::cast<ModuleOp>(symbols.getOp()).getOps<eff::WeightOp>())
    if (other.getSymName().starts_with("constant") &&
        other.getSourceAttr() == source && other.getType() == weightType)
      weight = other;
  if (!weight) {
    weight = eff::WeightOp::create(builder, value.getLoc(), "constant",
                                   weightType, source);
    weight->remove();
    symbols.insert(weight, symbols.getOp()->getRegion(0).front().begin());
  }
  Value ref =
      plan::WeightOp::create(atRefs(), value.getLoc(),
                             FlatSymbolRefAttr::get(weight.getSymNameAttr()));
  places[value] = Place::contiguous(ref, type);
  return success();
}

/// What an op reads from outside: its operands, and what its regions capture.
static llvm::SetVector<Value> getRead(Operation *op) {
  llvm::SetVector<Value> read;
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands()) {
      Operation *holder = operand.getParentBlock()->getParentOp();
      if (holder != op && !op->isProperAncestor(holder))
        read.insert(operand);
    }
  });
  return read;
}

/// Puts an op into the group that is still open and computes one of its
/// operands; else into a new one.
LogicalResult ProgramBuilder::addGeneric(Operation *op) {
  bool isKnown =
      llvm::isa<arith::ArithDialect, math::MathDialect, tensor::TensorDialect,
                linalg::LinalgDialect, scf::SCFDialect>(op->getDialect());
  auto isStatic = [](Type type) {
    auto tensor = llvm::dyn_cast<RankedTensorType>(type);
    return !tensor || tensor.hasStaticShape();
  };
  if (!isKnown || !isMemoryEffectFree(op) ||
      !llvm::all_of(op->getResultTypes(), isStatic)) {
    emitUserError(op->getLoc(), ErrorCode::UnsupportedOps,
                  "no code for " + op->getName().getStringRef());
    return failure();
  }
  Group *group = nullptr;
  llvm::SetVector<Value> read = getRead(op);
  for (size_t i = 0; i < read.size(); ++i) {
    Value operand = read[i];
    Operation *def = operand.getDefiningOp();
    // What is repeated in the code reads its own operands there.
    if (def && isCloned(def))
      read.insert(def->operand_begin(), def->operand_end());
    if (def && isLargeConstant(def) && !places.count(operand) &&
        failed(placeConstant(operand)))
      return failure();
    Group *other = def ? groupOf.lookup(def) : nullptr;
    if (!other || other == group)
      continue;
    if (!group) {
      group = other;
      continue;
    }
    // Both are open, so nothing has been emitted in between: they become one.
    for (Operation *member : other->ops)
      groupOf[member] = group;
    group->ops.append(other->ops);
    other->ops.clear();
  }
  if (!group)
    group = groups.emplace_back(std::make_unique<Group>()).get();
  group->ops.push_back(op);
  groupOf[op] = group;
  ++summary.genericOps[op->getName()];
  return success();
}

/// Emits the groups that compute values which a step is about to read.
LogicalResult ProgramBuilder::closeGroups(ValueRange values) {
  for (Value value : values)
    if (Operation *def = value.getDefiningOp())
      if (Group *group = groupOf.lookup(def))
        if (failed(emitGroup(group)))
          return failure();
  return success();
}

namespace {
/// Copies a group's ops into the body of generic code.
class BodyBuilder {
public:
  BodyBuilder(MLIRContext *context, Region &body,
              llvm::DenseMap<Value, Place> &places)
      : block(body.emplaceBlock()), places(places), builder(context) {
    builder.setInsertionPointToEnd(&block);
  }

  LogicalResult add(Operation *op) {
    for (Value value : getRead(op))
      if (!map.contains(value) && failed(bring(value)))
        return failure();
    builder.clone(*op, map);
    return success();
  }

  Value lookup(Value value) { return map.lookup(value); }
  OpBuilder &getBuilder() { return builder; }
  /// The values that the code reads, in the order of its arguments.
  llvm::ArrayRef<Value> getInputs() const { return inputs; }

private:
  /// Makes a value from outside available.
  LogicalResult bring(Value value) {
    Operation *def = value.getDefiningOp();
    auto place = places.find(value);
    if (place == places.end()) {
      if (!def || !isCloned(def)) {
        emitUserError(value.getLoc(), ErrorCode::CodeGen,
                      "a value is used that no step has computed");
        return failure();
      }
      for (Value operand : def->getOperands())
        if (!map.contains(operand) && failed(bring(operand)))
          return failure();
      builder.clone(*def, map);
      return success();
    }
    if (place->second.isContiguous() || !def) {
      inputs.push_back(value);
      map.map(value, block.addArgument(value.getType(), value.getLoc()));
      return success();
    }
    // Generic code reads contiguous tensors: repeat the view inside.
    if (!map.contains(def->getOperand(0)) && failed(bring(def->getOperand(0))))
      return failure();
    if (auto split = llvm::dyn_cast<eff::SplitOp>(def))
      mapPart(split, value);
    else
      builder.clone(*def, map);
    return success();
  }

  /// One part of eff.split as a slice.
  void mapPart(eff::SplitOp split, Value part) {
    auto type = llvm::cast<RankedTensorType>(part.getType());
    int64_t offset = 0;
    for (Value other : split.getResults()) {
      if (other == part)
        break;
      offset += llvm::cast<RankedTensorType>(other.getType()).getShape().back();
    }
    llvm::SmallVector<OpFoldResult> offsets(type.getRank(),
                                            builder.getIndexAttr(0)),
        sizes, steps(type.getRank(), builder.getIndexAttr(1));
    offsets.back() = builder.getIndexAttr(offset);
    for (int64_t size : type.getShape())
      sizes.push_back(builder.getIndexAttr(size));
    map.map(part, tensor::ExtractSliceOp::create(builder, split.getLoc(), type,
                                                 map.lookup(split.getInput()),
                                                 offsets, sizes, steps));
  }

  Block &block;
  llvm::DenseMap<Value, Place> &places;
  OpBuilder builder;
  IRMapping map;
  llvm::SmallVector<Value> inputs;
};
} // namespace

LogicalResult ProgramBuilder::emitGroup(Group *group, bool isWanted) {
  llvm::SmallVector<Operation *> ops = std::move(group->ops);
  group->ops.clear();
  llvm::sort(ops,
             [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  llvm::SmallPtrSet<Operation *, 8> members(ops.begin(), ops.end());
  for (Operation *op : ops)
    groupOf.erase(op);

  Region body;
  BodyBuilder code(func.getContext(), body, places);
  llvm::SmallVector<Value> results, yielded;
  for (Operation *op : ops) {
    if (failed(code.add(op)))
      return failure();
    for (Value result : op->getResults()) {
      bool escapes = llvm::any_of(result.getUsers(), [&](Operation *user) {
        // A user inside a region counts as the op that holds it.
        return !members.contains(func.front().findAncestorOpInBlock(*user));
      });
      if (!escapes && !isWanted)
        continue;
      results.push_back(result);
      yielded.push_back(code.lookup(result));
    }
  }
  if (results.empty())
    return success();
  plan::YieldOp::create(code.getBuilder(), ops.back()->getLoc(), yielded);

  Cost cost;
  llvm::SmallVector<Value> operands;
  for (Value input : code.getInputs())
    operands.push_back(getRef(places.at(input)));
  llvm::SmallVector<int64_t> writes;
  for (Value result : results) {
    writes.push_back(operands.size());
    operands.push_back(getRef(allocate(result)));
    // One operation for each op and element of the results is the best guess.
    cost.flops +=
        ops.size() *
        llvm::cast<RankedTensorType>(result.getType()).getNumElements();
  }
  plan::GenericOp generic = kernels.getGeneric(body, ops.back()->getLoc());
  plan::StepOp::create(steps, ops.back()->getLoc(), generic.getSymName(),
                       operands, writes, cost.flops, cost.bytes);
  ++summary.steps;
  ++summary.generics;
  return success();
}
