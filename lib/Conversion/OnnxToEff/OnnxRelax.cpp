//===- OnnxRelax.cpp - onnx-relax -----------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Follows the batch and the tokens of the first argument through a graph of
/// static shapes. Each dimension is a list of parts, outermost first: a number,
/// the batch, or the tokens. Reshapes take the parts in order, so 16 of a
/// shape [1, 16, 8, 16] are the tokens where the operand had them.
///
//===----------------------------------------------------------------------===//

#include "NodeBuilder.h"

#include "effc/Conversion/OnnxToEff/RaiseScans.h"
#include "effc/Support/Error.h"

namespace effc {
#define GEN_PASS_DEF_ONNXRELAXPASS
#include "effc/Conversion/OnnxToEff/Passes.h.inc"
} // namespace effc

using namespace mlir;
using namespace effc;
using namespace effc::raise;

namespace {
struct Part {
  enum Kind { Number, Batch, Tokens } kind;
  int64_t size;
};
using Dim = SmallVector<Part, 2>;
using Dims = SmallVector<Dim, 4>;

bool isFree(const Dim &dim) {
  return llvm::any_of(dim, [](Part p) { return p.kind != Part::Number; });
}
bool isFree(const Dims &dims) {
  return llvm::any_of(dims, [](const Dim &d) { return isFree(d); });
}
Dim number(int64_t size) {
  return size == 1 ? Dim{} : Dim{{Part::Number, size}};
}
bool same(const Dim &a, const Dim &b) {
  return a.size() == b.size() && llvm::equal(a, b, [](Part x, Part y) {
           return x.kind == y.kind && x.size == y.size;
         });
}

class Relaxer {
public:
  Relaxer(func::FuncOp main, const RelaxOptions &options)
      : main(main), options(options), graph(main, raiseOptions) {}

  LogicalResult run();

private:
  LogicalResult start();
  LogicalResult visit(onnx::NodeOp node);
  LogicalResult elementwise(onnx::NodeOp node);
  LogicalResult matmul(onnx::NodeOp node);
  LogicalResult gather(onnx::NodeOp node);
  LogicalResult reshape(onnx::NodeOp node);
  LogicalResult expand(onnx::NodeOp node);
  LogicalResult alongAxes(onnx::NodeOp node, ArrayRef<int64_t> axes, bool keep);
  LogicalResult scan(onnx::NodeOp node);
  LogicalResult refuse(onnx::NodeOp node, const Twine &why);
  const Dims &of(Value v);
  void set(Value v, Dims dims) { known[v] = std::move(dims); }
  Value shapeOf(NodeBuilder &at, const Dims &dims);
  void addStates();
  void retype();

  func::FuncOp main;
  RelaxOptions options;
  RaiseOptions raiseOptions;
  Graph graph;
  llvm::DenseMap<Value, Dims> known;
  int64_t tokens = 1;
  Value batchSize, tokenCount; ///< vectors of one element
};
} // namespace

LogicalResult Relaxer::refuse(onnx::NodeOp node, const Twine &why) {
  auto d = emitUserError(node.getLoc(), ErrorCode::FixedLength,
                         "the number of tokens cannot be freed at " +
                             node.getOpType());
  noteWhy(d, why);
  noteTry(d, defaultHint(ErrorCode::FixedLength));
  return failure();
}

const Dims &Relaxer::of(Value v) {
  auto [it, isNew] = known.try_emplace(v);
  if (isNew)
    if (auto type = dyn_cast<RankedTensorType>(v.getType()))
      for (int64_t d : type.getShape())
        it->second.push_back(number(d));
  return it->second;
}

/// The vector of the sizes.
Value Relaxer::shapeOf(NodeBuilder &at, const Dims &dims) {
  SmallVector<Value> sizes;
  Type one = RankedTensorType::get({1}, at.b.getI64Type());
  for (const Dim &dim : dims) {
    int64_t count = 1;
    Value size;
    for (Part p : dim) {
      if (p.kind == Part::Number) {
        count *= p.size;
        continue;
      }
      Value v = p.kind == Part::Batch ? batchSize : tokenCount;
      size = size ? at.node("Mul", {size, v}, {one})->getResult(0) : v;
    }
    if (!size)
      size = at.ints({count});
    else if (count != 1)
      size = at.node("Mul", {size, at.ints({count})}, {one})->getResult(0);
    sizes.push_back(size);
  }
  if (sizes.size() == 1)
    return sizes[0];
  return at
      .node("Concat", sizes,
            {RankedTensorType::get({int64_t(sizes.size())}, at.b.getI64Type())},
            {at.b.getNamedAttr("axis", at.b.getI64IntegerAttr(0))})
      ->getResult(0);
}

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

LogicalResult Relaxer::elementwise(onnx::NodeOp node) {
  int64_t rank = Graph::rank(node->getResult(0));
  Dims out(rank);
  SmallVector<int64_t> fixed(rank, 1);
  for (Value v : node.getInputs()) {
    if (isa<NoneType>(v.getType()))
      continue;
    Dims dims = of(v);
    for (auto [i, dim] : llvm::enumerate(dims)) {
      int64_t at = rank - int64_t(dims.size()) + int64_t(i);
      if (!isFree(dim)) {
        fixed[at] = std::max(fixed[at], Graph::shape(v)[i]);
        continue;
      }
      if (isFree(out[at]) && !same(out[at], dim))
        return refuse(node, "it combines batch and tokens");
      out[at] = dim;
    }
  }
  for (auto [dim, size] : llvm::zip_equal(out, fixed)) {
    if (!isFree(dim))
      dim = number(size);
    else if (size != 1)
      return refuse(node, "an operand has " + Twine(size) +
                              " elements where another has the tokens");
  }
  for (Value v : node->getResults())
    set(v, out);
  return success();
}

LogicalResult Relaxer::matmul(onnx::NodeOp node) {
  Dims a = of(node.getInput(0)), b = of(node.getInput(1));
  if (node.is("Gemm")) {
    if (node.getInt("transA", 0))
      std::swap(a[0], a[1]);
    if (node.getInt("transB", 0))
      std::swap(b[0], b[1]);
  }
  if (a.size() < 2 || b.size() < 2 || isFree(a.back()) ||
      isFree(b[b.size() - 2]))
    return refuse(node, "it sums over the tokens");
  size_t rank = std::max(a.size(), b.size());
  Dims out(rank);
  for (size_t i = 0; i + 2 < rank; ++i) {
    const Dim *x = i + a.size() >= rank ? &a[i + a.size() - rank] : nullptr,
              *y = i + b.size() >= rank ? &b[i + b.size() - rank] : nullptr;
    out[i] = x && !x->empty() ? *x : y ? *y : Dim();
    if (x && y && !x->empty() && !y->empty() && !same(*x, *y))
      return refuse(node, "its operands differ in batch or tokens");
  }
  out[rank - 2] = a[a.size() - 2];
  out[rank - 1] = b.back();
  set(node->getResult(0), out);
  return success();
}

LogicalResult Relaxer::gather(onnx::NodeOp node) {
  Dims data = of(node.getInput(0)), indices = of(node.getInput(1)), out;
  int64_t axis = Graph::axis(node, 0, int64_t(data.size()));
  if (isFree(data[axis]))
    return refuse(node, "it reads one token by its number");
  for (auto [i, dim] : llvm::enumerate(data))
    if (int64_t(i) == axis)
      llvm::append_range(out, indices);
    else
      out.push_back(dim);
  set(node->getResult(0), out);
  return success();
}

LogicalResult Relaxer::reshape(onnx::NodeOp node) {
  Dims from = of(node.getInput(0));
  ArrayRef<int64_t> to = Graph::shape(node->getResult(0));
  SmallVector<Part> parts;
  for (const Dim &dim : from)
    llvm::append_range(parts, dim);
  Dims out;
  size_t next = 0;
  auto numberOnly = [&](size_t i) {
    return i < parts.size() && parts[i].kind == Part::Number;
  };
  for (auto [i, size] : llvm::enumerate(to)) {
    Dim dim;
    int64_t rest = size;
    // A free part of one element begins a dimension of its own where there is
    // room for it.
    if (size == 1) {
      if (next < parts.size() && parts[next].size == 1)
        dim.push_back(parts[next++]);
      out.push_back(dim);
      continue;
    }
    while (next < parts.size() && parts[next].size == 1)
      dim.push_back(parts[next++]);
    while (rest > 1 && next < parts.size()) {
      Part &p = parts[next];
      if (rest % p.size == 0) {
        dim.push_back(p);
        rest /= p.size;
        ++next;
      } else if (numberOnly(next) && p.size % rest == 0) {
        dim.push_back({Part::Number, rest});
        p.size /= rest;
        rest = 1;
      } else {
        return refuse(node, "the shape mixes tokens and features");
      }
    }
    if (rest != 1)
      return refuse(node, "the shape mixes tokens and features");
    // Numbers that follow each other are one.
    Dim merged;
    for (Part p : dim)
      if (p.kind == Part::Number && !merged.empty() &&
          merged.back().kind == Part::Number)
        merged.back().size *= p.size;
      else if (p.kind != Part::Number || p.size != 1)
        merged.push_back(p);
    out.push_back(merged);
  }
  for (; next < parts.size(); ++next) {
    if (parts[next].size != 1 || out.empty())
      return refuse(node, "the shape mixes tokens and features");
    out.back().push_back(parts[next]);
  }
  if (isFree(out)) {
    NodeBuilder at(node, node.getLoc());
    node->setOperand(1, shapeOf(at, out));
  }
  set(node->getResult(0), out);
  return success();
}

LogicalResult Relaxer::expand(onnx::NodeOp node) {
  Dims from = of(node.getInput(0)), out;
  ArrayRef<int64_t> to = Graph::shape(node->getResult(0));
  for (auto [i, size] : llvm::enumerate(to)) {
    int64_t lead = int64_t(to.size()) - int64_t(from.size());
    Dim dim = int64_t(i) < lead ? Dim() : from[i - lead];
    if (!isFree(dim))
      dim = number(size);
    else if (Graph::shape(node.getInput(0))[i - lead] != size)
      return refuse(node, "it repeats one token");
    out.push_back(dim);
  }
  if (isFree(out)) {
    NodeBuilder at(node, node.getLoc());
    node->setOperand(1, shapeOf(at, out));
  }
  set(node->getResult(0), out);
  return success();
}

/// Nodes that treat `axes` as a whole, which must not be free.
LogicalResult Relaxer::alongAxes(onnx::NodeOp node, ArrayRef<int64_t> axes,
                                 bool keep) {
  Dims in = of(node.getInput(0));
  for (int64_t a : axes)
    if (isFree(in[a]))
      return refuse(node, "it works along the tokens");
  for (Value v : node->getResults()) {
    if (isa<NoneType>(v.getType()))
      continue;
    Dims out;
    for (auto [i, dim] : llvm::enumerate(in)) {
      bool here = llvm::is_contained(axes, int64_t(i));
      if (!here)
        out.push_back(dim);
      else if (keep)
        out.push_back(number(Graph::shape(v)[out.size()]));
    }
    set(v, out);
  }
  return success();
}

LogicalResult Relaxer::scan(onnx::NodeOp node) {
  unsigned last = node->getNumOperands() - 1;
  Dims y = of(node.getInput(0)), state;
  bool isConv = node.is("CausalConv1d", "ai.effc");
  unsigned inputs = isConv ? 1 : 5;
  for (unsigned i = 0; i < inputs; ++i) {
    if (i == 2)
      continue; // A
    Dims d = of(node.getInput(i));
    unsigned time = isConv ? 2 : 1;
    auto is = [](const Dim &dim, Part::Kind kind) {
      return dim.size() == 1 && dim[0].kind == kind;
    };
    if (d.size() <= time || !is(d[0], Part::Batch) ||
        !is(d[time], Part::Tokens))
      return refuse(node, "operand " + Twine(i) +
                              " does not have batch and tokens where a scan "
                              "has them");
  }
  // The state of as many sequences as there are.
  Value past = node.getInput(last);
  for (int64_t d : Graph::shape(past))
    state.push_back(number(d));
  state[0] = {{Part::Batch, 1}};
  if (graph.isConstant(past)) {
    NodeBuilder at(node, node.getLoc());
    SmallVector<int64_t> one(Graph::shape(past));
    Value zero = at.zeros({1}, Graph::elementType(past));
    auto type = cast<RankedTensorType>(past.getType());
    node->setOperand(
        last,
        at.node("Expand", {zero, shapeOf(at, state)}, {type})->getResult(0));
    set(node.getInput(last), state);
  }
  set(node->getResult(0), y);
  set(node->getResult(1), state);
  return success();
}

LogicalResult Relaxer::visit(onnx::NodeOp node) {
  static constexpr StringLiteral scans[] = {"SelectiveScan", "SSDScan",
                                            "CausalConv1d"};
  if (node.getDomain() == "ai.effc" &&
      llvm::is_contained(scans, node.getOpType()))
    return scan(node);
  bool anyFree = llvm::any_of(node.getInputs(), [&](Value v) {
    return !isa<NoneType>(v.getType()) && isFree(of(v));
  });
  if (!anyFree)
    return success(); // of() knows the sizes
  StringRef type = node.getOpType();
  if (!node.getDomain().empty() && node.getDomain() != "com.microsoft")
    return refuse(node, "the operator is not known to leave tokens apart");
  if (node->getNumRegions())
    return refuse(node, "it has subgraphs");
  Dims in = of(node.getInput(0));
  int64_t rank = int64_t(in.size());
  if (type == "MatMul" || type == "Gemm")
    return matmul(node);
  if (type == "MatMulNBits") {
    in.back() = number(Graph::shape(node->getResult(0)).back());
    set(node->getResult(0), in);
    return success();
  }
  if (type == "Gather")
    return gather(node);
  if (type == "Reshape")
    return reshape(node);
  if (type == "Expand")
    return expand(node);
  if (type == "Transpose") {
    Dims out;
    auto perm = node.getInts("perm");
    for (int64_t p : *perm)
      out.push_back(in[p]);
    set(node->getResult(0), out);
    return success();
  }
  if (type == "Split" || type == "Softmax" || type == "LogSoftmax")
    return alongAxes(node, {Graph::axis(node, -1, rank)}, true);
  if (type == "LayerNormalization" || type == "RMSNormalization" ||
      type == "SimplifiedLayerNormalization") {
    SmallVector<int64_t> axes;
    for (int64_t a = Graph::axis(node, -1, rank); a < rank; ++a)
      axes.push_back(a);
    return alongAxes(node, axes, true);
  }
  if (type.starts_with("Reduce")) {
    auto axes = graph.axes(node, 1, rank);
    if (!axes)
      return refuse(node, "its axes are not constant");
    return alongAxes(node, *axes, node.getInt("keepdims", 1) != 0);
  }
  if (type == "Slice") {
    auto axes = graph.axes(node, 3, rank);
    if (!axes)
      return refuse(node, "its axes are not constant");
    SmallVector<int64_t> cut;
    for (int64_t a : *axes)
      if (Graph::shape(node->getResult(0))[a] !=
          Graph::shape(node.getInput(0))[a])
        cut.push_back(a);
    return alongAxes(node, cut, true);
  }
  if (type == "Concat") {
    int64_t axis = Graph::axis(node, 0, rank);
    Dims out = in;
    for (Value v : node.getInputs())
      if (isFree(of(v)[axis]))
        return refuse(node, "it joins tokens");
    out[axis] = number(Graph::shape(node->getResult(0))[axis]);
    set(node->getResult(0), out);
    return success();
  }
  static constexpr StringLiteral along[] = {
      "Add",         "Sub",         "Mul",       "Div",
      "Pow",         "Sqrt",        "Exp",       "Log",
      "Neg",         "Abs",         "Erf",       "Tanh",
      "Relu",        "Sigmoid",     "Gelu",      "Where",
      "Greater",     "Less",        "Softplus",  "Clip",
      "Reciprocal",  "Max",         "Min",       "Cast",
      "Silu",        "Swish",       "IsNaN",     "Not",
      "And",         "Or",          "Equal",     "GreaterOrEqual",
      "LessOrEqual", "QuickGelu",   "FastGelu",  "BiasGelu",
      "HardSwish",   "HardSigmoid", "LeakyRelu", "Elu"};
  if (llvm::is_contained(along, type))
    return elementwise(node);
  return refuse(node, "the operator is not known to leave tokens apart");
}

//===----------------------------------------------------------------------===//
// The whole graph
//===----------------------------------------------------------------------===//

LogicalResult Relaxer::start() {
  auto module = main->getParentOfType<ModuleOp>();
  auto bound = module->getAttrOfType<DictionaryAttr>("onnx.bound");
  auto numberOf = [&](StringRef name) {
    auto attr = bound ? bound.getAs<IntegerAttr>(name) : IntegerAttr();
    return attr ? attr.getInt() : int64_t(1);
  };
  tokens = numberOf("tokens");
  OpBuilder b(main.getContext());
  Value first;
  for (BlockArgument arg : main.getArguments()) {
    auto name =
        main.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "onnx.name");
    StringRef text = name ? name.getValue() : StringRef();
    ArrayRef<int64_t> shape = Graph::shape(arg);
    bool ids = shape.size() >= 2 && shape[0] == 1 && shape[1] == tokens &&
               !text.starts_with("past");
    bool state = text.starts_with("past") && !shape.empty() && shape[0] == 1;
    if (!ids && !state) {
      auto d = emitUserError(arg.getLoc(), ErrorCode::FixedLength,
                             "the number of tokens of the input '" + text +
                                 "' cannot be freed");
      noteWhy(d, "inputs must be [1, tokens, ...] or states of one sequence");
      noteTry(d, defaultHint(ErrorCode::FixedLength));
      return failure();
    }
    Dims dims;
    for (int64_t d : shape)
      dims.push_back(number(d));
    dims[0] = {{Part::Batch, 1}};
    SmallVector<Attribute> declared;
    for (int64_t d : shape)
      declared.push_back(b.getI64IntegerAttr(d));
    declared[0] = b.getStringAttr("batch");
    if (ids) {
      dims[1] = {{Part::Tokens, tokens}};
      declared[1] = b.getStringAttr("tokens");
      if (!first)
        first = arg;
    }
    main.setArgAttr(arg.getArgNumber(), "onnx.dims", b.getArrayAttr(declared));
    set(arg, std::move(dims));
  }
  if (!first) {
    auto d = emitUserError(main.getLoc(), ErrorCode::FixedLength,
                           "the graph has no input of tokens");
    noteTry(d, defaultHint(ErrorCode::FixedLength));
    return failure();
  }
  NodeBuilder at(&main.getBody().front().front(), main.getLoc());
  Type one = RankedTensorType::get({1}, b.getI64Type());
  auto size = [&](int64_t axis) {
    return at
        .node("Shape", {first}, {one},
              {b.getNamedAttr("start", b.getI64IntegerAttr(axis)),
               b.getNamedAttr("end", b.getI64IntegerAttr(axis + 1))})
        ->getResult(0);
  };
  batchSize = size(0);
  tokenCount = size(1);
  return success();
}

/// States that start at zero become arguments; what they are after the call,
/// results.
void Relaxer::addStates() {
  OpBuilder b(main.getContext());
  unsigned convs = 0, scans = 0;
  Block &block = main.getBody().front();
  for (auto node : llvm::make_early_inc_range(block.getOps<onnx::NodeOp>())) {
    if (node.getDomain() != "ai.effc" || node->getNumResults() < 2)
      continue;
    bool isConv = node.is("CausalConv1d", "ai.effc");
    unsigned layer = isConv ? convs++ : scans++;
    unsigned last = node->getNumOperands() - 1;
    Value past = node.getInput(last);
    auto from = past.getDefiningOp<onnx::NodeOp>();
    if (!from || !from.is("Expand"))
      continue;
    std::string tail =
        ("." + Twine(layer) + (isConv ? ".conv_state" : ".ssm_state")).str();
    SmallVector<Attribute> declared;
    for (int64_t d : Graph::shape(past))
      declared.push_back(b.getI64IntegerAttr(d));
    declared[0] = b.getStringAttr("batch");
    auto name = [&](StringRef head) {
      return b.getNamedAttr("onnx.name", b.getStringAttr(head + tail));
    };
    auto dims = b.getNamedAttr("onnx.dims", b.getArrayAttr(declared));
    unsigned at = main.getNumArguments();
    Dims state = of(past);
    if (failed(main.insertArgument(
            at, past.getType(),
            b.getDictionaryAttr({name("past_states"), dims}), node.getLoc())))
      return;
    set(main.getArgument(at), state);
    node->setOperand(last, main.getArgument(at));
    Operation *ret = block.getTerminator();
    ret->insertOperands(ret->getNumOperands(), node->getResult(1));
    if (failed(main.insertResult(
            main.getNumResults(), node->getResult(1).getType(),
            b.getDictionaryAttr({name("present_states"), dims}))))
      return;
  }
}

/// Free dimensions are dynamic from now on.
void Relaxer::retype() {
  Block &block = main.getBody().front();
  auto fix = [&](Value v) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    auto it = known.find(v);
    if (!type || it == known.end())
      return;
    SmallVector<int64_t> shape(type.getShape());
    for (auto [size, dim] : llvm::zip_equal(shape, it->second))
      if (isFree(dim))
        size = ShapedType::kDynamic;
    v.setType(RankedTensorType::get(shape, type.getElementType()));
  };
  for (BlockArgument arg : block.getArguments())
    fix(arg);
  for (Operation &op : block)
    for (Value v : op.getResults())
      fix(v);
  main.setFunctionType(
      FunctionType::get(main.getContext(), block.getArgumentTypes(),
                        block.getTerminator()->getOperandTypes()));
  for (unsigned i = 0; i < main.getNumResults(); ++i)
    main.removeResultAttr(i, StringAttr::get(main.getContext(), "onnx.dims"));
}

LogicalResult Relaxer::run() {
  if (failed(start()))
    return failure();
  SmallVector<onnx::NodeOp> nodes(
      main.getBody().front().getOps<onnx::NodeOp>());
  for (onnx::NodeOp node : nodes) {
    if (node->getResult(0) == batchSize || node->getResult(0) == tokenCount)
      continue;
    if (failed(visit(node)))
      return failure();
  }
  if (options.states)
    addStates();
  retype();
  auto module = main->getParentOfType<ModuleOp>();
  module->removeAttr("onnx.bound");
  return success();
}

LogicalResult effc::relaxGraph(ModuleOp module, const RelaxOptions &options) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main || main.isExternal()) {
    emitUserError(module.getLoc(), ErrorCode::BadGraph,
                  "the module has no graph");
    return failure();
  }
  return Relaxer(main, options).run();
}

namespace {
struct OnnxRelaxPass : effc::impl::OnnxRelaxPassBase<OnnxRelaxPass> {
  using OnnxRelaxPassBase::OnnxRelaxPassBase;

  void runOnOperation() override {
    RelaxOptions options;
    options.states = states;
    if (failed(relaxGraph(getOperation(), options)))
      signalPassFailure();
  }
};
} // namespace
