//===- Normalize.cpp - one form for nodes of all opsets -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Simplify.h"
#include "Types.h"

#include "llvm/ADT/StringSwitch.h"

#include <limits>

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

/// Axes and bounds that are attributes in old opsets and operands in new ones
/// end as operands; an op says with `since` that its normal form is that of
/// opset 18.
static constexpr int64_t normalOpset = 18;

static Step error(LogicalResult result) {
  return failed(result) ? Step::Error : Step::Kept;
}

static void setInt(NodeOp op, StringRef name, int64_t value) {
  op->setAttr(name, Builder(op.getContext()).getI64IntegerAttr(value));
}

/// Makes an axis explicit and counts it from the front, where the rank of
/// `value` is known.
static Step fixAxis(NodeOp op, Value value, int64_t otherwise) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return Step::Kept;
  int64_t axis = op.getInt("axis", otherwise);
  // A scalar has the axis 0 in runtimes, where the specification has none.
  if (type.getRank() == 0 && (axis == 0 || axis == -1)) {
    setInt(op, "axis", 0);
    return Step::Kept;
  }
  auto fixed = Inference(op).axis(axis, type.getRank());
  if (failed(fixed))
    return Step::Error;
  setInt(op, "axis", *fixed);
  return Step::Kept;
}

static Step constantNode(Simplifier &s, NodeOp op) {
  SmallVector<StringRef> given;
  for (StringRef name : {"value", "value_float", "value_floats", "value_int",
                         "value_ints", "value_string", "value_strings"})
    if (op->hasAttr(name))
      given.push_back(name);
  if (given.size() != 1)
    return error(
        Inference(op).wrong("it has " + Twine(given.size()) + " values"));
  Attribute attr = op->getAttr(given.front());
  Builder &b = s.b;
  ElementsAttr value;
  auto vector = [&](int64_t n, Type element) {
    return RankedTensorType::get({n}, element);
  };
  if (auto elements = dyn_cast<ElementsAttr>(attr);
      elements && given[0] == "value") {
    value = elements;
  } else if (auto number = dyn_cast<FloatAttr>(attr)) {
    value =
        DenseElementsAttr::get(RankedTensorType::get({}, b.getF32Type()), attr);
  } else if (auto number = dyn_cast<IntegerAttr>(attr)) {
    value =
        DenseElementsAttr::get(RankedTensorType::get({}, b.getI64Type()), attr);
  } else if (auto list = dyn_cast<DenseI64ArrayAttr>(attr)) {
    value = DenseElementsAttr::get(vector(list.size(), b.getI64Type()),
                                   list.asArrayRef());
  } else if (auto list = dyn_cast<DenseF32ArrayAttr>(attr)) {
    value = DenseElementsAttr::get(vector(list.size(), b.getF32Type()),
                                   list.asArrayRef());
  } else {
    SmallVector<StringRef> texts;
    Type type = StringType::get(op.getContext());
    if (auto text = dyn_cast<StringAttr>(attr)) {
      texts.push_back(text.getValue());
      value =
          DenseStringElementsAttr::get(RankedTensorType::get({}, type), texts);
    } else if (auto list = dyn_cast<ArrayAttr>(attr)) {
      for (Attribute entry : list)
        if (auto text = dyn_cast<StringAttr>(entry))
          texts.push_back(text.getValue());
      value = DenseStringElementsAttr::get(vector(texts.size(), type), texts);
    }
  }
  if (!value)
    return error(Inference(op).wrong("its value has the wrong kind"));
  // A constant node keeps its output's name where it is as large as an
  // initializer.
  std::string name;
  if (isa<DenseResourceElementsAttr>(value))
    name = op.getNodeName().str();
  return s.replace(op, s.constant(op, value, name));
}

static Step dropout(Simplifier &s, NodeOp op) {
  if (Value training = op.getInput(2)) {
    auto flag = constantInts(training);
    if (!flag || flag->size() != 1)
      return Step::Kept;
    ElementsAttr ratio = constantOf(op.getInput(1));
    auto number =
        ratio ? HostTensor::read(ratio) : FailureOr<HostTensor>(failure());
    bool none =
        succeeded(number) && number->size() == 1 && number->number(0) == 0;
    if ((*flag)[0] != 0 && !none)
      return Step::Kept; // random: not a thing to compile
  }
  SmallVector<Value> values{op.getInput(0)};
  if (op.getOutput(1)) {
    auto type = staticTypeOf(op.getInput(0));
    if (!type)
      return Step::Kept;
    auto mask = RankedTensorType::get(type.getShape(), s.b.getI1Type());
    values.push_back(s.constant(op, DenseElementsAttr::get(mask, true)));
  } else if (op.getOutputs().size() > 1) {
    values.push_back({});
  }
  return s.replace(op, values);
}

static Step cast(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  int64_t to = op.getInt("to", 0);
  if (op.is("CastLike")) {
    auto like = dyn_cast<TensorType>(op.getInputs()[1].getType());
    if (!like || isa<UnknownType>(like.getElementType()))
      return Step::Kept;
    op.setOpType("Cast");
    op.getInputsMutable().erase(1);
    to = dataTypeOf(like.getElementType());
  } else if (auto text = op->getAttrOfType<StringAttr>("to")) {
    to = llvm::StringSwitch<int64_t>(text.getValue())
             .Case("FLOAT", 1)
             .Case("UINT8", 2)
             .Case("INT8", 3)
             .Case("UINT16", 4)
             .Case("INT16", 5)
             .Case("INT32", 6)
             .Case("INT64", 7)
             .Case("STRING", 8)
             .Case("BOOL", 9)
             .Case("FLOAT16", 10)
             .Case("DOUBLE", 11)
             .Case("UINT32", 12)
             .Case("UINT64", 13)
             .Case("BFLOAT16", 16)
             .Default(0);
  }
  op->setAttr("to", s.b.getI64IntegerAttr(to));
  auto type = staticTypeOf(input);
  if (type && type.getElementType() == elementType(op.getContext(), to))
    return s.replace(op, input);
  return Step::Kept;
}

/// Sum, Max, Min of any number of operands: a chain of nodes with two.
static Step chain(Simplifier &s, NodeOp op, StringRef binary) {
  SmallVector<Value> operands(op.getInputs());
  if (operands.size() == 2 && binary == op.getOpType())
    return Step::Kept;
  bool mean = op.is("Mean");
  Value value = operands[0];
  for (Value next : ArrayRef<Value>(operands).drop_front())
    value = s.make(op, binary, {value, next})->getResult(0);
  if (mean && operands.size() > 1) {
    auto type = staticTypeOf(operands[0]);
    if (!type || !isa<FloatType>(type.getElementType()))
      return Step::Kept;
    auto scalar = RankedTensorType::get({}, type.getElementType());
    auto count = FloatAttr::get(type.getElementType(), double(operands.size()));
    Value divisor =
        s.constant(op, DenseElementsAttr::get(scalar, Attribute(count)));
    value = s.make(op, "Div", {value, divisor})->getResult(0);
  }
  return s.replace(op, value);
}

/// Softmax and its like flatten to a matrix before opset 13.
static Step softmax(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  bool old = op.getSince() < 13;
  if (Step step = fixAxis(op, input, old ? 1 : -1); step != Step::Kept || !old)
    return step;
  if (!type) {
    return Step::Kept;
  }
  int64_t axis = op.getInt("axis", 0), rank = type.getRank();
  if (rank == 0 || axis == rank - 1)
    return Step::Kept;
  int64_t outer = 1, inner = 1;
  for (int64_t i = 0; i < rank; ++i)
    (i < axis ? outer : inner) *= type.getDimSize(i);
  Value flat =
      s.make(op, "Reshape", {input, s.ints(op, {outer, inner})})->getResult(0);
  NodeOp soft = s.make(op, op.getOpType(), {flat});
  setInt(soft, "axis", 1);
  Value back =
      s.make(op, "Reshape", {soft->getResult(0), s.ints(op, type.getShape())})
          ->getResult(0);
  return s.replace(op, back);
}

/// Reduce*: sorted axes as operand 1.
static Step reduce(Simplifier &s, NodeOp op) {
  auto type = staticTypeOf(op.getInputs()[0]);
  if (!type)
    return Step::Kept;
  Shape axes;
  bool given = false;
  if (auto list = op.getInts("axes")) {
    axes = *list;
    given = true;
  } else if (Value operand = op.getInput(1)) {
    auto values = constantInts(operand);
    if (!values)
      return Step::Kept;
    axes = *values;
    given = !axes.empty();
  }
  if (!given && op.getInt("noop_with_empty_axes", 0)) {
    bool plain =
        !op.getOpType().contains("Log") && !op.getOpType().contains("L1") &&
        !op.getOpType().contains("L2") && !op.getOpType().contains("Square");
    if (plain)
      return s.replace(op, op.getInputs()[0]);
    given = true;
  }
  if (!given)
    for (int64_t i = 0; i < type.getRank(); ++i)
      axes.push_back(i);
  for (int64_t &axis : axes) {
    auto fixed = Inference(op).axis(axis, type.getRank());
    if (failed(fixed))
      return Step::Error;
    axis = *fixed;
  }
  llvm::sort(axes);
  axes.erase(llvm::unique(axes), axes.end());
  setInt(op, "keepdims", op.getInt("keepdims", 1) != 0);
  op->removeAttr("axes");
  op->removeAttr("noop_with_empty_axes");
  Value operand = op.getInput(1);
  if (!operand || constantInts(operand) != axes)
    op.getInputsMutable().assign({op.getInputs()[0], s.ints(op, axes)});
  return Step::Kept;
}

static Step clip(Simplifier &s, NodeOp op) {
  if (!op->hasAttr("min") && !op->hasAttr("max"))
    return Step::Kept;
  auto tensor = dyn_cast<TensorType>(op.getInputs()[0].getType());
  auto element =
      tensor ? dyn_cast<FloatType>(tensor.getElementType()) : FloatType();
  if (!element)
    return Step::Kept;
  SmallVector<Value> operands{op.getInputs()[0]};
  for (StringRef name : {"min", "max"}) {
    float otherwise =
        (name == "min" ? -1 : 1) * std::numeric_limits<float>::max();
    auto value =
        FloatAttr::get(element, roundTo(element, op.getFloat(name, otherwise)));
    operands.push_back(s.constant(
        op, DenseElementsAttr::get(RankedTensorType::get({}, element),
                                   Attribute(value))));
    op->removeAttr(name);
  }
  op.getInputsMutable().assign(operands);
  return Step::Kept;
}

static Step topK(Simplifier &s, NodeOp op) {
  if (op.getInputs().size() == 1)
    op.getInputsMutable().append(s.ints(op, {op.getInt("k", 1)}));
  op->removeAttr("k");
  return fixAxis(op, op.getInputs()[0], -1);
}

static Step argReduce(NodeOp op) {
  setInt(op, "keepdims", op.getInt("keepdims", 1) != 0);
  return fixAxis(op, op.getInputs()[0], 0);
}

/// Before opset 7 a slope of one dimension belongs to the channels.
static Step prelu(Simplifier &s, NodeOp op) {
  auto x = staticTypeOf(op.getInputs()[0]),
       slope = staticTypeOf(op.getInputs()[1]);
  if (op.getSince() >= 7 || !x || !slope || slope.getRank() != 1 ||
      x.getRank() < 3 || slope.getDimSize(0) != x.getDimSize(1))
    return Step::Kept;
  Shape shape(x.getRank() - 1, 1);
  shape[0] = x.getDimSize(1);
  Value view = s.make(op, "Reshape", {op.getInputs()[1], s.ints(op, shape)})
                   ->getResult(0);
  return s.replace(
      op, s.make(op, "PRelu", {op.getInputs()[0], view})->getResults());
}

/// Writes the ellipsis as letters and the result's term in full.
static Step einsum(NodeOp op) {
  std::string text;
  for (char c : op.getString("equation", ""))
    if (c != ' ')
      text.push_back(c);
  auto [left, right] = StringRef(text).split("->");
  bool arrow = StringRef(text).contains("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != op.getInputs().size())
    return Step::Kept;
  // The axes that an ellipsis stands for align at their end: they get the last
  // of these letters.
  std::string spare;
  for (char c :
       StringRef("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
    if (text.find(c) == std::string::npos)
      spare.push_back(c);
  int64_t widest = 0;
  SmallVector<int64_t> hidden;
  for (auto [term, operand] : llvm::zip(terms, op.getInputs())) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type)
      return Step::Kept;
    int64_t axes =
        term.contains("...") ? type.getRank() - int64_t(term.size()) + 3 : 0;
    if (axes < 0 || axes > int64_t(spare.size()))
      return error(Inference(op).mismatch("the term '" + term +
                                          "' has too many letters"));
    hidden.push_back(axes);
    widest = std::max(widest, axes);
  }
  auto expand = [&](StringRef term, int64_t axes) {
    auto [front, back] = term.split("...");
    std::string letters = spare.substr(widest - axes, axes);
    return term.contains("...") ? front.str() + letters + back.str()
                                : term.str();
  };
  std::string result, used;
  for (auto [i, term] : llvm::enumerate(terms))
    result += (i ? "," : "") + expand(term, hidden[i]);
  if (!arrow) {
    std::string once;
    for (char c = 'A'; c <= 'z'; ++c)
      if (isalpha(c) && llvm::count(left, c) == 1)
        once.push_back(c);
    used = spare.substr(0, widest) + once;
  } else {
    used = expand(right, widest);
  }
  result += "->" + used;
  op->setAttr("equation", StringAttr::get(op.getContext(), result));
  return Step::Kept;
}

Step onnx::normalizeBroadcast(Simplifier &s, NodeOp op) {
  bool wide = op.getInt("broadcast", 0);
  auto a = dyn_cast<RankedTensorType>(op.getInputs()[0].getType());
  auto b = staticTypeOf(op.getInputs()[1]);
  if (wide && op->hasAttr("axis")) {
    if (!a || !b)
      return Step::Kept;
    auto axis = Inference(op).axis(op.getInt("axis", 0), a.getRank());
    if (failed(axis))
      return Step::Error;
    Shape shape(b.getShape());
    if (*axis + b.getRank() > a.getRank())
      return error(Inference(op).mismatch(
          "the second operand reaches beyond the first"));
    shape.append(a.getRank() - *axis - b.getRank(), 1);
    Value view = s.make(op, "Reshape", {op.getInputs()[1], s.ints(op, shape)})
                     ->getResult(0);
    NodeOp fresh = s.make(op, op.getOpType(), {op.getInputs()[0], view});
    return s.replace(op, fresh->getResults());
  }
  op->removeAttr("broadcast");
  op->removeAttr("axis");
  return Step::Kept;
}

static Step dispatch(Simplifier &s, NodeOp op) {
  StringRef name = op.getOpType();
  if (name == "Constant")
    return constantNode(s, op);
  if (name == "Identity")
    return s.replace(op, op.getInputs()[0]);
  if (name == "Dropout")
    return dropout(s, op);
  if (name == "Cast" || name == "CastLike")
    return cast(s, op);
  if (name == "Sum" || name == "Mean")
    return chain(s, op, "Add");
  if (name == "Max" || name == "Min")
    return chain(s, op, name);
  if (name == "Softmax" || name == "LogSoftmax" || name == "Hardmax")
    return softmax(s, op);
  if (name.starts_with("Reduce"))
    return reduce(s, op);
  if (name == "Clip")
    return clip(s, op);
  if (name == "TopK")
    return topK(s, op);
  if (name == "PRelu")
    return prelu(s, op);
  if (name == "Einsum")
    return einsum(op);
  if (name == "ArgMax" || name == "ArgMin")
    return argReduce(op);
  if (name == "LayerNormalization" || name == "RMSNormalization")
    return fixAxis(op, op.getInputs()[0], -1);
  if (name == "Gather" || name == "GatherElements" ||
      name == "ScatterElements" || name == "Scatter")
    return fixAxis(op, op.getInputs()[0], 0);
  if (name == "SimplifiedLayerNormalization") {
    op.setDomain("com.microsoft");
    op.setSince(1);
    return fixAxis(op, op.getInputs()[0], -1);
  }
  bool legacy = op.getSince() < 7 && op.getInputs().size() == 2 &&
                (op->hasAttr("broadcast") || op->hasAttr("axis"));
  if (legacy && llvm::is_contained({"Add", "Sub", "Mul", "Div", "Pow", "And",
                                    "Or", "Xor", "Equal", "Greater", "Less"},
                                   name))
    return normalizeBroadcast(s, op);
  if (Step step = normalizeMask(s, op); step != Step::Kept)
    return step;
  return normalizeView(s, op);
}

Step onnx::normalize(Simplifier &s, NodeOp op) {
  Step step = dispatch(s, op);
  // What could not be read for want of types keeps its version.
  auto known = [](Value value) {
    return isa<NoneType>(value.getType()) || staticTypeOf(value);
  };
  if (step == Step::Kept && op.getDomain().empty() &&
      op.getSince() < normalOpset && llvm::all_of(op.getInputs(), known))
    op.setSince(normalOpset);
  return step;
}
