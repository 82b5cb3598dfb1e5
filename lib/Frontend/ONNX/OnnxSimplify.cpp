//===- OnnxSimplify.cpp - normalise, fold, infer --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Simplify.h"
#include "effc/Frontend/ONNX/Eval.h"
#include "effc/Frontend/ONNX/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSwitch.h"

namespace effc {
#define GEN_PASS_DEF_ONNXSIMPLIFYPASS
#include "effc/Frontend/ONNX/Passes.h.inc"
} // namespace effc

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

/// An initializer above this size is a weight: it is not copied.
static constexpr int64_t weightBytes = 64 << 10;
/// Most bytes of a result that is computed from weights.
static constexpr int64_t weightResultBytes = 4 << 20;
/// Most bytes of any folded result.
static constexpr int64_t resultBytes = 64 << 20;

static int64_t bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape() ||
      !isa<IntegerType, FloatType, ComplexType>(tensor.getElementType()))
    return 0;
  return tensor.getNumElements() * storedBytes(tensor.getElementType());
}

static bool isWeight(Value value) {
  auto constant = value.getDefiningOp<ConstantOp>();
  return constant && !constant.getName().empty() &&
         bytesOf(value.getType()) > weightBytes;
}

/// Nodes that only look at an initializer from another side.
static bool isView(NodeOp op) {
  return op.is("Cast") || op.is("Transpose") || op.is("Reshape");
}

Value Simplifier::constant(NodeOp at, ElementsAttr value, StringRef name) {
  b.setInsertionPoint(at);
  return ConstantOp::create(b, at.getLoc(), value.getType(),
                            b.getStringAttr(name), value);
}

Value Simplifier::ints(NodeOp at, ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({int64_t(values.size())}, b.getI64Type());
  return constant(at, DenseElementsAttr::get(type, values));
}

NodeOp Simplifier::make(NodeOp at, StringRef type, ArrayRef<Value> operands,
                        unsigned results) {
  b.setInsertionPoint(at);
  Type unknown = UnrankedTensorType::get(UnknownType::get(b.getContext()));
  return NodeOp::create(b, at.getLoc(), SmallVector<Type>(results, unknown),
                        operands, b.getStringAttr(type), b.getStringAttr(""),
                        b.getI64IntegerAttr(std::max<int64_t>(at.getSince(), 18)),
                        b.getStrArrayAttr({}), 0);
}

Step Simplifier::replace(NodeOp op, ValueRange values) {
  for (auto [result, value] : llvm::zip(op.getOutputs(), values))
    if (value)
      result.replaceAllUsesWith(value);
  op.erase();
  return Step::Replaced;
}

LogicalResult Simplifier::run(Block &block) {
  return block.empty() ? success() : runRange(&block.front(), nullptr);
}

LogicalResult Simplifier::runRange(Operation *first, Operation *end) {
  Block *block = first->getBlock();
  for (Operation *op = first; op && op != end;) {
    auto node = dyn_cast<NodeOp>(op);
    if (!node) {
      op = op->getNextNode();
      continue;
    }
    Operation *before = op->getPrevNode();
    switch (visit(node)) {
    case Step::Error:
      return failure();
    case Step::Kept:
      op = op->getNextNode();
      break;
    case Step::Replaced:
      op = before ? before->getNextNode() : &block->front();
      break;
    }
  }
  return success();
}

Step Simplifier::visit(NodeOp op) {
  if (Step step = visitControl(op); step != Step::Kept)
    return step;
  if (op.getNumRegions())
    return Step::Kept;
  if (op.getDomain().empty())
    if (Step step = normalize(*this, op); step != Step::Kept)
      return step;
  if (failed(inferTypes(op)))
    return Step::Error;
  return fold(op);
}

ElementsAttr Simplifier::valueOf(Value value, unsigned depth) {
  if (ElementsAttr known = constantOf(value))
    return known;
  auto node = value.getDefiningOp<NodeOp>();
  if (!node || depth > 4 || !node.getDomain().empty() || !isView(node) ||
      bytesOf(value.getType()) > resultBytes)
    return {};
  SmallVector<ElementsAttr> operands;
  for (Value operand : node.getInputs()) {
    operands.push_back(valueOf(operand, depth + 1));
    if (!operands.back())
      return {};
  }
  auto results = evaluate(node, operands);
  return results ? results->front() : ElementsAttr();
}

bool Simplifier::worthFolding(NodeOp op, bool hasWeight) {
  int64_t bytes = 0, read = 0;
  for (Type type : op.getOutputs().getTypes()) {
    if (isa<NoneType>(type))
      continue;
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !tensor.hasStaticShape())
      return false;
    bytes += bytesOf(type);
  }
  for (Value operand : op.getInputs())
    read += bytesOf(operand.getType());
  if (bytes > resultBytes || op.is("DequantizeLinear") || op.is("QuantizeLinear"))
    return false;
  bool product = op.is("MatMul") || op.is("Gemm") || op.is("Conv") || op.is("Einsum");
  if (product && (hasWeight || bytes > weightResultBytes || read > weightResultBytes))
    return false;
  if (!hasWeight)
    return true;
  if (isView(op))
    return false;
  if (op.is("Gather") || op.is("Slice") || op.is("Shape") || op.is("Size"))
    return 2 * bytes <= read;
  return bytes <= weightResultBytes && read <= resultBytes;
}

Step Simplifier::fold(NodeOp op) {
  if (!op.getDomain().empty() || !canEvaluate(op))
    return Step::Kept;
  // The type alone gives these.
  bool fromType = op.is("Shape") || op.is("Size") || op.is("EyeLike");
  if (fromType && !staticTypeOf(op.getInputs()[0]))
    return Step::Kept;
  bool hasWeight = false;
  std::string name;
  if (!fromType) {
    for (Value operand : op.getInputs()) {
      if (isa<NoneType>(operand.getType()))
        continue;
      Operation *from = operand.getDefiningOp();
      bool view = isa_and_nonnull<NodeOp>(from) && isView(cast<NodeOp>(from));
      if (!isa_and_nonnull<ConstantOp>(from) && !view)
        return Step::Kept;
      hasWeight |= view || isWeight(operand);
    }
    if (isView(op))
      if (auto from = op.getInputs()[0].getDefiningOp<ConstantOp>())
        name = from.getName().str();
  }
  if (!worthFolding(op, hasWeight))
    return Step::Kept;
  SmallVector<ElementsAttr> operands;
  for (Value operand : op.getInputs()) {
    bool absent = fromType || isa<NoneType>(operand.getType());
    operands.push_back(absent ? ElementsAttr() : valueOf(operand));
    if (!absent && !operands.back())
      return Step::Kept;
  }
  auto results = evaluate(op, operands);
  if (!results)
    return Step::Kept;
  SmallVector<Value> values;
  for (auto [result, value] : llvm::zip(op.getOutputs(), *results))
    values.push_back(isa<NoneType>(result.getType()) ? Value()
                                                     : constant(op, value, name));
  return replace(op, values);
}

namespace {

struct OnnxSimplifyPass
    : public effc::impl::OnnxSimplifyPassBase<OnnxSimplifyPass> {
  using OnnxSimplifyPassBase::OnnxSimplifyPassBase;

  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!function || function.isExternal()) {
      emitUserError(getOperation().getLoc(), ErrorCode::BadGraph,
                    "the module has no function @main");
      return signalPassFailure();
    }
    Block &block = function.getBody().front();
    Simplifier simplifier(&getContext(), maxUnroll);
    if (failed(simplifier.run(block)))
      return signalPassFailure();
    removeUnused(block);
    auto type = function.getFunctionType();
    function.setFunctionType(FunctionType::get(
        &getContext(), type.getInputs(),
        block.getTerminator()->getOperandTypes()));
  }

private:
  /// From the end, so that what only unused nodes read goes too.
  static void removeUnused(Block &block) {
    Operation *next = nullptr;
    for (Operation *op = block.getTerminator()->getPrevNode(); op; op = next) {
      next = op->getPrevNode();
      if (op->use_empty()) {
        op->erase();
        continue;
      }
      for (Region &region : op->getRegions())
        for (Block &inner : region)
          removeUnused(inner);
    }
  }
};

} // namespace
