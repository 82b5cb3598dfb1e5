//===- SinkTransposes.cpp - layout changes behind what they feed ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Exporters of Mamba keep channels before tokens between projection and scan.
/// Elementwise nodes, Split and Slice compute the same on what was not yet
/// transposed; behind them two transposes meet and cancel.
///
//===----------------------------------------------------------------------===//

#include "SinkTransposes.h"
#include "NodeBuilder.h"

#include "effc/Frontend/ONNX/HostTensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

static bool isElementwise(onnx::NodeOp node) {
  static constexpr StringLiteral names[] = {
      "Add",     "Sub",  "Mul",        "Div",  "Neg", "Sigmoid", "Softplus",
      "Exp",     "Sqrt", "Pow",        "Tanh", "Erf", "Relu",    "Where",
      "Greater", "Less", "Reciprocal", "Max",  "Min", "Clip",    "Silu"};
  return node.getDomain().empty() &&
         llvm::is_contained(names, node.getOpType());
}

static onnx::NodeOp transposeOf(Value v) {
  auto node = v.getDefiningOp<onnx::NodeOp>();
  if (!node || !node.is("Transpose") || !node.getInts("perm"))
    return {};
  // A convolution gives its result with channels first; what reads it wants
  // tokens first, as the transpose has them.
  auto from = node.getInput(0).getDefiningOp<onnx::NodeOp>();
  bool conv = from && from.getDomain() == "ai.effc";
  return conv ? onnx::NodeOp() : node;
}

static bool isOne(Value v) {
  auto type = dyn_cast<RankedTensorType>(v.getType());
  return type && type.hasStaticShape() && type.getNumElements() == 1;
}

static SmallVector<int64_t> inverseOf(ArrayRef<int64_t> perm) {
  SmallVector<int64_t> inverse(perm.size());
  for (auto [i, p] : llvm::enumerate(perm))
    inverse[p] = i;
  return inverse;
}

static Type permuted(Value v, ArrayRef<int64_t> perm) {
  SmallVector<int64_t> shape;
  for (int64_t p : perm)
    shape.push_back(Graph::shape(v)[p]);
  return RankedTensorType::get(shape, Graph::elementType(v));
}

static bool sinkElementwise(Graph &graph, onnx::NodeOp node) {
  std::optional<SmallVector<int64_t>> perm;
  int64_t rank = Graph::rank(node->getResult(0));
  for (Value v : node.getInputs()) {
    if (isa<NoneType>(v.getType()) || isOne(v))
      continue;
    if (auto t = transposeOf(v)) {
      auto p = t.getInts("perm");
      if (Graph::rank(v) != rank || (perm && *perm != *p))
        return false;
      perm = p;
    } else if (!graph.isConstant(v) || Graph::rank(v) > rank) {
      return false;
    }
  }
  if (!perm)
    return false;
  SmallVector<int64_t> inverse = inverseOf(*perm);
  NodeBuilder at(node, node.getLoc());
  SmallVector<Value> operands;
  for (Value v : node.getInputs()) {
    auto t = transposeOf(v);
    if (isa<NoneType>(v.getType()) || (isOne(v) && !t)) {
      operands.push_back(v);
    } else if (t) {
      operands.push_back(t.getInput(0));
    } else {
      SmallVector<int64_t> shape(rank - Graph::rank(v), 1);
      llvm::append_range(shape, Graph::shape(v));
      operands.push_back(at.transpose(at.reshape(v, shape), inverse));
    }
  }
  Value out = node->getResult(0);
  SmallVector<NamedAttribute> attributes(node->getDiscardableAttrs());
  auto made =
      at.node(node.getOpType(), operands, {permuted(out, inverse)}, attributes);
  out.replaceAllUsesWith(at.transpose(made->getResult(0), *perm));
  return true;
}

static bool sinkSplit(onnx::NodeOp node) {
  auto t = transposeOf(node.getInput(0));
  if (!t)
    return false;
  SmallVector<int64_t> perm = *t.getInts("perm"), inverse = inverseOf(perm);
  int64_t axis = Graph::axis(node, 0, perm.size());
  NodeBuilder at(node, node.getLoc());
  SmallVector<Value> operands(node.getInputs());
  operands[0] = t.getInput(0);
  SmallVector<Type> types;
  for (Value v : node.getOutputs())
    types.push_back(permuted(v, inverse));
  SmallVector<NamedAttribute> attributes(node->getDiscardableAttrs());
  auto made = at.node("Split", operands, types, attributes);
  made->setAttr("axis", at.b.getI64IntegerAttr(perm[axis]));
  for (auto [old, now] : llvm::zip(node.getOutputs(), made.getOutputs()))
    old.replaceAllUsesWith(at.transpose(now, perm));
  return true;
}

static bool sinkSlice(Graph &graph, onnx::NodeOp node) {
  auto t = transposeOf(node.getInput(0));
  auto axes = graph.ints(node.getInput(3));
  if (!t || !axes)
    return false;
  SmallVector<int64_t> perm = *t.getInts("perm"), inverse = inverseOf(perm);
  for (int64_t &a : *axes)
    a = perm[a < 0 ? a + int64_t(perm.size()) : a];
  NodeBuilder at(node, node.getLoc());
  SmallVector<Value> operands(node.getInputs());
  operands[0] = t.getInput(0);
  operands[3] = at.ints(*axes);
  Value out = node->getResult(0);
  auto made = at.node("Slice", operands, {permuted(out, inverse)});
  out.replaceAllUsesWith(at.transpose(made->getResult(0), perm));
  return true;
}

/// Parts that are all transposed alike, as the halves of a rotary embedding.
static bool sinkConcat(onnx::NodeOp node) {
  std::optional<SmallVector<int64_t>> perm;
  SmallVector<Value> operands;
  for (Value v : node.getInputs()) {
    auto t = transposeOf(v);
    if (!t || (perm && *perm != *t.getInts("perm")))
      return false;
    perm = t.getInts("perm");
    operands.push_back(t.getInput(0));
  }
  if (!perm || operands.size() < 2)
    return false;
  Value out = node->getResult(0);
  int64_t axis = Graph::axis(node, 0, perm->size());
  NodeBuilder at(node, node.getLoc());
  auto made = at.node("Concat", operands, {permuted(out, inverseOf(*perm))});
  made->setAttr("axis", at.b.getI64IntegerAttr((*perm)[axis]));
  out.replaceAllUsesWith(at.transpose(made->getResult(0), *perm));
  return true;
}

/// A reshape of a reshape is one, or none.
static bool mergeReshapes(onnx::NodeOp node) {
  Value from = node.getInput(0), out = node->getResult(0);
  while (auto inner = from.getDefiningOp<onnx::NodeOp>()) {
    if (!inner.is("Reshape"))
      break;
    from = inner.getInput(0);
  }
  NodeBuilder at(node, node.getLoc());
  SmallVector<int64_t> shape(Graph::shape(out));
  if (Graph::rank(from) == Graph::rank(out)) {
    Value same = at.reorder(from, shape);
    auto made = same.getDefiningOp<onnx::NodeOp>();
    if (same == from || (made && made.is("Transpose"))) {
      out.replaceAllUsesWith(same);
      return true;
    }
  }
  node->setOperand(0, from);
  return false;
}

/// A Split of the last dimension of a reshape that leaves it alone.
static bool sinkSplitOfReshape(onnx::NodeOp node) {
  auto reshape = node.getInput(0).getDefiningOp<onnx::NodeOp>();
  if (!reshape || !reshape.is("Reshape"))
    return false;
  Value from = reshape.getInput(0);
  int64_t rank = Graph::rank(node.getInput(0));
  if (Graph::axis(node, 0, rank) != rank - 1 || Graph::rank(from) < 1 ||
      Graph::shape(from).back() != Graph::shape(node.getInput(0)).back())
    return false;
  NodeBuilder at(node, node.getLoc());
  SmallVector<Value> operands(node.getInputs());
  operands[0] = from;
  SmallVector<Type> types;
  for (Value v : node.getOutputs()) {
    SmallVector<int64_t> shape(Graph::shape(from));
    shape.back() = Graph::shape(v).back();
    types.push_back(RankedTensorType::get(shape, Graph::elementType(v)));
  }
  SmallVector<NamedAttribute> attributes(node->getDiscardableAttrs());
  auto made = at.node("Split", operands, types, attributes);
  made->setAttr("axis", at.b.getI64IntegerAttr(Graph::rank(from) - 1));
  for (auto [old, now] : llvm::zip(node.getOutputs(), made.getOutputs())) {
    SmallVector<int64_t> shape(Graph::shape(old));
    old.replaceAllUsesWith(at.reshape(now, shape));
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Repeats
//===----------------------------------------------------------------------===//

/// The constant with one element along `axes`, along which it repeats; null
/// when it does not.
static Value withoutRepeats(Graph &graph, NodeBuilder &at, Value v,
                            ArrayRef<bool> axes) {
  int64_t rank = Graph::rank(v), lead = int64_t(axes.size()) - rank;
  SmallVector<int64_t> shape(Graph::shape(v)), out(shape);
  bool changes = false;
  for (int64_t i = 0; i < rank; ++i)
    if (axes[lead + i] && shape[i] != 1) {
      out[i] = 1;
      changes = true;
    }
  if (!changes)
    return v;
  auto numbers = graph.numbers(v);
  if (!numbers)
    return {};
  onnx::HostTensor t(Graph::elementType(v), out);
  if (!t.isFloat())
    return {};
  std::vector<bool> set(t.floats.size(), false);
  SmallVector<int64_t> index(rank, 0);
  for (double x : *numbers) {
    int64_t to = 0;
    for (int64_t i = 0; i < rank; ++i)
      to = to * out[i] + (out[i] == 1 ? 0 : index[i]);
    if (set[to] && t.floats[to] != x)
      return {};
    t.floats[to] = x;
    set[to] = true;
    for (int64_t i = rank; i-- > 0 && ++index[i] == shape[i];)
      index[i] = 0;
  }
  ElementsAttr value = t.write();
  return onnx::ConstantOp::create(at.b, at.loc, value.getShapedType(),
                                  at.b.getStringAttr(""), value);
}

/// An elementwise node on values that an Expand repeats computes the same on
/// what was not repeated.
static bool sinkRepeats(Graph &graph, onnx::NodeOp node) {
  Value out = node->getResult(0);
  int64_t rank = Graph::rank(out);
  SmallVector<bool> repeated(rank, true);
  bool any = false;
  for (Value v : node.getInputs()) {
    if (isa<NoneType>(v.getType()) || isOne(v) || graph.isConstant(v))
      continue;
    auto expand = v.getDefiningOp<onnx::NodeOp>();
    if (!expand || !expand.is("Expand") || Graph::rank(v) != rank ||
        Graph::rank(expand.getInput(0)) != rank)
      return false;
    any = true;
    for (int64_t i = 0; i < rank; ++i) {
      int64_t before = Graph::shape(expand.getInput(0))[i],
              after = Graph::shape(v)[i];
      if (before != after && after != Graph::shape(out)[i])
        return false;
      repeated[i] = repeated[i] && before == 1 && after > 1;
    }
  }
  if (!any || llvm::none_of(repeated, [](bool r) { return r; }))
    return false;
  NodeBuilder at(node, node.getLoc());
  SmallVector<Value> operands;
  for (Value v : node.getInputs()) {
    if (isa<NoneType>(v.getType()) || isOne(v)) {
      operands.push_back(v);
      continue;
    }
    if (graph.isConstant(v)) {
      operands.push_back(withoutRepeats(graph, at, v, repeated));
      if (!operands.back())
        return false;
      continue;
    }
    Value from = v.getDefiningOp<onnx::NodeOp>().getInput(0);
    for (int64_t i = 0; i < rank; ++i)
      if (!repeated[i] && Graph::shape(from)[i] != Graph::shape(out)[i])
        return false;
    operands.push_back(from);
  }
  SmallVector<int64_t> shape(Graph::shape(out));
  for (int64_t i = 0; i < rank; ++i)
    if (repeated[i])
      shape[i] = 1;
  SmallVector<NamedAttribute> attributes(node->getDiscardableAttrs());
  auto made = at.node(node.getOpType(), operands,
                      {RankedTensorType::get(shape, Graph::elementType(out))},
                      attributes);
  Value whole =
      at.node("Expand", {made->getResult(0), at.ints(Graph::shape(out))},
              {out.getType()})
          ->getResult(0);
  out.replaceAllUsesWith(whole);
  return true;
}

void effc::raise::prepareRepeats(func::FuncOp main,
                                 const RaiseOptions &options) {
  for (Operation &op : llvm::make_early_inc_range(
           main.getBody().front().without_terminator())) {
    auto node = dyn_cast<onnx::NodeOp>(op);
    if (!node || node->getNumRegions())
      continue;
    Graph graph(main, options); // nothing is remembered across changes
    // The only element of a dimension.
    if (node.is("Gather") && graph.isConstant(node.getInput(1)) &&
        numElements(Graph::shape(node.getInput(1))) == 1) {
      int64_t axis = Graph::axis(node, 0, Graph::rank(node.getInput(0)));
      if (Graph::shape(node.getInput(0))[axis] == 1) {
        NodeBuilder at(node, node.getLoc());
        SmallVector<int64_t> shape(Graph::shape(node->getResult(0)));
        node->getResult(0).replaceAllUsesWith(
            at.reshape(node.getInput(0), shape));
      }
    } else if (isElementwise(node) && !node.is("Mul")) {
      sinkRepeats(graph, node);
    }
  }
}

/// A transpose of a transpose is one, or none.
static bool mergeTransposes(onnx::NodeOp node) {
  auto inner = node.getInput(0).getDefiningOp<onnx::NodeOp>();
  auto outer = node.getInts("perm");
  if (!inner || !inner.is("Transpose") || !inner.getInts("perm") || !outer)
    return false;
  SmallVector<int64_t> perm;
  for (int64_t p : *outer)
    perm.push_back((*inner.getInts("perm"))[p]);
  NodeBuilder at(node, node.getLoc());
  node->getResult(0).replaceAllUsesWith(at.transpose(inner.getInput(0), perm));
  return true;
}

void effc::raise::sinkTransposes(func::FuncOp main,
                                 const RaiseOptions &options) {
  for (Operation &op : llvm::make_early_inc_range(
           main.getBody().front().without_terminator())) {
    auto node = dyn_cast<onnx::NodeOp>(op);
    if (!node || node->getNumRegions())
      continue;
    Graph graph(main, options); // nothing is remembered across changes
    if (node.is("Split")) {
      if (!sinkSplit(node))
        sinkSplitOfReshape(node);
    } else if (node.is("Reshape"))
      mergeReshapes(node);
    else if (node.is("Slice"))
      sinkSlice(graph, node);
    else if (node.is("Concat"))
      sinkConcat(node);
    else if (node.is("Transpose"))
      mergeTransposes(node);
    else if (isElementwise(node))
      sinkElementwise(graph, node);
  }
}
