//===- ConvertOnnxToLinalg.cpp - lowers whole graphs ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Control.h"
#include "effc/Conversion/OnnxToLinalg/Lower.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace effc {
#define GEN_PASS_DEF_CONVERTONNXTOLINALGPASS
#include "effc/Conversion/OnnxToLinalg/Passes.h.inc"

namespace {

/// What one function has that cannot be lowered: how often, and the first node
/// of the kind.
using Unsupported =
    llvm::MapVector<StringAttr, std::pair<unsigned, onnx::NodeOp>>;

struct ConvertOnnxToLinalg
    : impl::ConvertOnnxToLinalgPassBase<ConvertOnnxToLinalg> {
  void runOnOperation() override {
    for (auto function :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (!function.isExternal() && failed(convert(function)))
        return signalPassFailure();
  }

  LogicalResult convert(func::FuncOp function);
  LogicalResult convertOp(OpBuilder &builder, Operation &op, IRMapping &values,
                          Unsupported &unsupported);
  LogicalResult convertNode(OpBuilder &builder, onnx::NodeOp node,
                            IRMapping &values, Unsupported &unsupported);
};

/// A constant with a signless type; null when no tensor of numbers.
ElementsAttr makeSignless(ElementsAttr value) {
  RankedTensorType type = getLoweredType(value.getType());
  if (!type)
    return {};
  if (value.getType() == type)
    return value;
  if (auto dense = dyn_cast<DenseIntOrFPElementsAttr>(value))
    return cast<ElementsAttr>(Attribute(
        DenseElementsAttr::getFromRawBuffer(type, dense.getRawData())));
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    return cast<ElementsAttr>(Attribute(
        DenseResourceElementsAttr::get(type, resource.getRawHandle())));
  return {};
}

LogicalResult failType(Location loc, Type type, const Twine &what) {
  auto shaped = dyn_cast<ShapedType>(type);
  bool isDynamic = isa<UnrankedTensorType>(type) ||
                   (shaped && shaped.hasRank() && !shaped.hasStaticShape());
  auto diagnostic = emitUserError(
      loc, isDynamic ? ErrorCode::DynamicShape : ErrorCode::UnsupportedType,
      what +
          (isDynamic ? " has no static shape" : " is not a tensor of numbers"));
  std::string text;
  llvm::raw_string_ostream(text) << "its type is " << type;
  noteWhy(diagnostic, text);
  return diagnostic;
}

bool isStatic(Type type) {
  RankedTensorType lowered = getLoweredType(type);
  return lowered && lowered.hasStaticShape();
}

LogicalResult ConvertOnnxToLinalg::convertNode(OpBuilder &builder,
                                               onnx::NodeOp node,
                                               IRMapping &values,
                                               Unsupported &unsupported) {
  auto refuse = [&] {
    std::string name = node.getOpType().str();
    if (!node.getDomain().empty())
      name = (node.getDomain() + "." + name).str();
    auto *entry =
        unsupported.insert({StringAttr::get(&getContext(), name), {0, node}})
            .first;
    ++entry->second.first;
    return success();
  };
  SmallVector<Value> operands;
  for (Value input : node.getInputs()) {
    if (isa<NoneType>(input.getType())) {
      operands.push_back({});
      continue;
    }
    // A value of a node that is listed already, or one that no tensor stands
    // for.
    Value operand = values.lookupOrNull(input);
    if (!operand)
      return input.getDefiningOp<onnx::NodeOp>() && hasLinalgLowering(node)
                 ? success()
                 : refuse();
    operands.push_back(operand);
  }
  if (!node.getSubgraphs().empty()) {
    auto convertInner = [&](Operation &op) {
      return convertOp(builder, op, values, unsupported);
    };
    auto done =
        lower::lowerControl(builder, node, operands, values, {}, convertInner);
    if (!done)
      return refuse();
    return *done;
  }
  if (hasLinalgLowering(node))
    for (Value output : node.getOutputs())
      if (!isa<NoneType>(output.getType()) && !isStatic(output.getType()))
        return failType(node.getLoc(), output.getType(),
                        "a result of " + node.getOpType());
  FailureOr<SmallVector<Value>> results =
      lowerToLinalg(builder, node, operands);
  if (failed(results))
    return refuse();
  for (auto [output, result] : llvm::zip(node.getOutputs(), *results))
    if (result)
      values.map(output, result);
  return success();
}

LogicalResult ConvertOnnxToLinalg::convertOp(OpBuilder &builder, Operation &op,
                                             IRMapping &values,
                                             Unsupported &unsupported) {
  if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
    if (ElementsAttr value = makeSignless(constant.getValue()))
      values.map(constant.getResult(),
                 arith::ConstantOp::create(builder, op.getLoc(),
                                           cast<TypedAttr>(Attribute(value)))
                     .getResult());
    return success();
  }
  if (auto node = dyn_cast<onnx::NodeOp>(op))
    return convertNode(builder, node, values, unsupported);
  if (isa<onnx::NoneOp>(op))
    return success();
  for (Value operand : op.getOperands())
    if (!values.contains(operand))
      return op.emitOpError("does not belong into an onnx graph");
  builder.clone(op, values);
  return success();
}

LogicalResult ConvertOnnxToLinalg::convert(func::FuncOp function) {
  if (!llvm::hasSingleElement(function.getBody()))
    return success();
  SmallVector<Type> inputs;
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
    if (!isStatic(type))
      return failType(function.getLoc(), type,
                      "input " + Twine(i) + " of '" + function.getName() + "'");
    inputs.push_back(getLoweredType(type));
  }

  Block &old = function.getBody().front();
  trustDeclaredShapes(function);
  Block *body = new Block;
  IRMapping values;
  for (auto [argument, type] : llvm::zip(old.getArguments(), inputs))
    values.map(argument, body->addArgument(type, argument.getLoc()));
  OpBuilder builder(&getContext());
  builder.setInsertionPointToEnd(body);
  Unsupported unsupported;
  std::unique_ptr<Block> owner(body);
  for (Operation &op : old.without_terminator())
    if (failed(convertOp(builder, op, values, unsupported)))
      return failure();
  if (!unsupported.empty()) {
    auto first = unsupported.front().second.second;
    unsigned total = 0;
    for (auto &entry : unsupported)
      total += entry.second.first;
    auto diagnostic =
        emitUserError(first.getLoc(), ErrorCode::UnsupportedOps,
                      "the model has " + Twine(total) + " node" +
                          (total == 1 ? "" : "s") + " without a lowering");
    std::string list;
    llvm::raw_string_ostream os(list);
    llvm::interleaveComma(unsupported, os, [&](auto &entry) {
      os << entry.first.getValue() << " (" << entry.second.first;
      onnx::NodeOp first = entry.second.second;
      if (StringRef node = first.getNodeName(); !node.empty())
        os << ", first '" << node << "'";
      os << ")";
    });
    noteWhy(diagnostic, list);
    return diagnostic;
  }
  Operation *terminator = old.getTerminator();
  SmallVector<Value> returned;
  for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
    Value mapped = values.lookupOrNull(value);
    if (!mapped)
      return failType(terminator->getLoc(), value.getType(),
                      "output " + Twine(i) + " of '" + function.getName() +
                          "'");
    returned.push_back(mapped);
  }
  auto results = llvm::to_vector(ValueRange(returned).getTypes());
  func::ReturnOp::create(builder, terminator->getLoc(), returned);
  function.getBody().push_back(owner.release());
  old.erase();
  function.setFunctionType(builder.getFunctionType(inputs, results));
  // Constants that were read at compile time are no longer used.
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*body)))
    if (isOpTriviallyDead(&op))
      op.erase();
  return success();
}

} // namespace
} // namespace effc
