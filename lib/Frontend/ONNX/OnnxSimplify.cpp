//===- OnnxSimplify.cpp - normalise, fold, infer --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpTable.h"
#include "Simplify.h"
#include "effc/Frontend/ONNX/Eval.h"
#include "effc/Frontend/ONNX/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectResourceBlobManager.h"

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
/// Most bytes that all folding together reads and writes.
static constexpr int64_t totalBytes = int64_t(16) << 30;
/// Most multiplications of a folded product.
static constexpr int64_t productWork = 50'000'000;

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
  return NodeOp::create(
      b, at.getLoc(), SmallVector<Type>(results, unknown), operands,
      b.getStringAttr(type), b.getStringAttr(""),
      b.getI64IntegerAttr(std::max<int64_t>(at.getSince(), 18)),
      b.getStrArrayAttr({}), 0);
}

Step Simplifier::replace(NodeOp op, ValueRange values) {
  for (auto [result, value] : llvm::zip(op.getOutputs(), values))
    if (value)
      result.replaceAllUsesWith(value);
  if (!op.use_empty())
    return Step::Kept;
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

/// The rules below read the operands that every use of an operator has; modules
/// need not come from the importer.
static LogicalResult checkArity(NodeOp op) {
  const OpSchema *schema = findOp(op.getDomain(), op.getOpType());
  if (!schema)
    return success();
  int inputs = op.getInputs().size(), outputs = op.getOutputs().size();
  if (inputs < schema->minInputs ||
      (schema->maxInputs >= 0 && inputs > schema->maxInputs))
    return Inference(op).wrong("it has " + Twine(inputs) + " operands");
  if (outputs < schema->minOutputs ||
      (schema->maxOutputs >= 0 && outputs > schema->maxOutputs))
    return Inference(op).wrong("it has " + Twine(outputs) + " results");
  bool control = op.is("Loop") || op.is("Scan");
  for (int i = 0; i < schema->minInputs && op.getDomain().empty() && !control;
       ++i)
    if (!op.getInput(i))
      return Inference(op).wrong("operand " + Twine(i) + " is absent");
  return success();
}

/// The sum and the activation of com.microsoft's BiasGelu and FastGelu, so that
/// the sum can join the product before it.
static Step splitBias(Simplifier &s, NodeOp op) {
  bool fast = op.is("FastGelu", "com.microsoft") && op.getInput(1);
  if (!fast && !op.is("BiasGelu", "com.microsoft"))
    return Step::Kept;
  NodeOp sum = s.make(op, "Add", {op.getInput(0), op.getInput(1)});
  NodeOp gelu = s.make(op, fast ? "FastGelu" : "Gelu", {sum->getResult(0)});
  gelu.setDomain("com.microsoft");
  return s.replace(op, gelu->getResults());
}

/// The bias of com.microsoft's norms of a sum, added to the product that it
/// belongs to.
static Step splitSkipBias(Simplifier &s, NodeOp op) {
  bool simple = op.is("SkipSimplifiedLayerNormalization", "com.microsoft");
  if (!simple && !op.is("SkipLayerNormalization", "com.microsoft"))
    return Step::Kept;
  unsigned at = simple ? 3 : 4;
  if (!op.getInput(at) || op.getInputs().size() != at + 1)
    return Step::Kept;
  auto isProduct = [](Value v) {
    auto node = v.getDefiningOp<NodeOp>();
    return node && node.is("MatMul");
  };
  unsigned summand = isProduct(op.getInput(1)) ? 1 : 0;
  NodeOp sum = s.make(op, "Add", {op.getInput(summand), op.getInput(at)});
  op->setOperand(summand, sum->getResult(0));
  op->eraseOperand(at);
  return Step::Replaced;
}

Step Simplifier::visit(NodeOp op) {
  if (failed(checkArity(op)))
    return Step::Error;
  if (Step step = visitControl(op); step != Step::Kept)
    return step;
  if (op.getNumRegions())
    return Step::Kept;
  if (op.getDomain().empty())
    if (Step step = normalize(*this, op); step != Step::Kept)
      return step;
  if (Step step = splitBias(*this, op); step != Step::Kept)
    return step;
  if (Step step = splitSkipBias(*this, op); step != Step::Kept)
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

/// Multiplications of a product whose types are static; an upper bound for
/// Einsum.
static int64_t workOf(NodeOp op) {
  auto countOf = [](Value value) {
    auto type = value ? staticTypeOf(value) : RankedTensorType();
    return type ? std::clamp<int64_t>(type.getNumElements(), 1, 1 << 20)
                : int64_t(1);
  };
  int64_t operands = countOf(op.getInput(0)) * countOf(op.getInput(1));
  auto result = staticTypeOf(op.getOutputs()[0]),
       first = staticTypeOf(op.getInputs()[0]);
  if (!result || !first || op.is("Einsum"))
    return operands;
  auto weight = staticTypeOf(op.getInputs()[1]);
  int64_t depth = 1;
  if (op.is("Conv") && weight)
    depth =
        weight.getNumElements() / std::max<int64_t>(weight.getDimSize(0), 1);
  else if (op.is("Gemm"))
    depth = std::max(first.getDimSize(0), first.getDimSize(1));
  else if (first.getRank())
    depth = first.getShape().back();
  return countOf(op.getOutputs()[0]) * std::min<int64_t>(depth, 1 << 20);
}

/// A Gather along the first axis of an initializer.
static bool isRowGather(NodeOp op) {
  return op.is("Gather") && op.getInt("axis", 0) == 0 &&
         constantOf(op.getInputs()[0]) &&
         cast<RankedTensorType>(op.getInputs()[0].getType()).getRank() > 0;
}

/// Whether a sum reads a value, itself or seen from another side.
static bool isAdded(Value value, unsigned depth = 0) {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    auto node = dyn_cast<NodeOp>(user);
    if (!node || !node.getDomain().empty())
      return false;
    bool view = isView(node) || node.is("Unsqueeze") || node.is("Squeeze") ||
                node.is("Expand") || node.is("Identity");
    return node.is("Add") ||
           (view && depth < 8 && isAdded(node->getResult(0), depth + 1));
  });
}

bool effc::onnx::isPositionRows(NodeOp op) {
  auto module = op->getParentOfType<ModuleOp>();
  auto bound = module ? module->getAttrOfType<DictionaryAttr>("onnx.bound")
                      : DictionaryAttr();
  auto number = [&](StringRef name) {
    auto value = bound ? bound.getAs<IntegerAttr>(name) : IntegerAttr();
    return value ? value.getInt() : 0;
  };
  int64_t past = number("past"), tokens = number("tokens");
  if (past < 1 || tokens < 1 || !op.getDomain().empty() || !op.is("Gather") ||
      op.getInt("axis", 0) != 0)
    return false;
  auto table = op.getInputs()[0].getDefiningOp<ConstantOp>();
  auto type = table ? staticTypeOf(table) : RankedTensorType();
  auto ids = constantInts(op.getInputs()[1]);
  if (!type || type.getRank() != 2 || table.getName().empty() ||
      !isa<FloatType>(type.getElementType()) || !ids || ids->empty() ||
      ids->size() % tokens != 0 || ids->front() < past)
    return false;
  for (auto [i, id] : llvm::enumerate(*ids))
    if (id != ids->front() + int64_t(i) % tokens)
      return false;
  return isAdded(op->getResult(0));
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
  if (bytes > resultBytes || op.is("DequantizeLinear") ||
      op.is("QuantizeLinear"))
    return false;
  if (foldedBytes + bytes + read > totalBytes)
    return false;
  if (op.is("MatMul") || op.is("Gemm") || op.is("Conv") || op.is("Einsum"))
    return !hasWeight && read <= weightResultBytes && workOf(op) <= productWork;
  if (!hasWeight)
    return true;
  if (isView(op))
    return false;
  if (op.is("Gather") || op.is("Slice"))
    return 2 * bytes <= read && (read <= resultBytes || isRowGather(op));
  return bytes <= weightResultBytes && read <= resultBytes;
}

/// Rows of an initializer as they are stored: the rest of it is not read.
ElementsAttr Simplifier::gatherRows(NodeOp op) {
  auto table = ElementBytes::of(constantOf(op.getInputs()[0]));
  auto rows = constantInts(op.getInputs()[1]);
  auto type = dyn_cast<RankedTensorType>(op.getOutputs()[0].getType());
  if (failed(table) || !rows || !type || rows->empty())
    return {};
  int64_t count =
      cast<RankedTensorType>(op.getInputs()[0].getType()).getDimSize(0);
  size_t width = count ? table->get().size() / count : 0;
  std::vector<char> bytes;
  bytes.reserve(width * rows->size());
  for (int64_t row : *rows) {
    row = row < 0 ? row + count : row;
    if (row < 0 || row >= count)
      return {};
    auto slice = table->get().slice(row * width, width);
    bytes.insert(bytes.end(), slice.begin(), slice.end());
  }
  return makeElements(type, bytes);
}

/// Frees what folding made and nothing reads any more: masks of long sequences
/// have many stages.
void Simplifier::release(ArrayRef<Value> operands) {
  for (Value value : operands) {
    auto constant = value.getDefiningOp<ConstantOp>();
    if (!constant || !value.use_empty())
      continue;
    auto resource = dyn_cast<DenseResourceElementsAttr>(constant.getValue());
    if (resource && made.erase(resource))
      if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
        *blob = AsmResourceBlob();
  }
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
  if (isPositionRows(op) || !worthFolding(op, hasWeight))
    return Step::Kept;
  for (Type type : llvm::concat<Type>(SmallVector<Type>(op->getOperandTypes()),
                                      SmallVector<Type>(op->getResultTypes())))
    foldedBytes += bytesOf(type);
  SmallVector<Value> sources(op.getInputs());
  if (hasWeight && isRowGather(op)) {
    ElementsAttr rows = gatherRows(op);
    return rows ? replace(op, constant(op, rows)) : Step::Kept;
  }
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
  for (auto [result, value] : llvm::zip(op.getOutputs(), *results)) {
    values.push_back(
        isa<NoneType>(result.getType()) ? Value() : constant(op, value, name));
    if (values.back() && isa<DenseResourceElementsAttr>(value))
      made.insert(value);
  }
  Step step = replace(op, values);
  release(sources);
  return step;
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
    function.setFunctionType(
        FunctionType::get(&getContext(), type.getInputs(),
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
