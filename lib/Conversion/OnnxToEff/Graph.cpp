//===- Graph.cpp - an onnx graph as patterns read it ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Graph.h"
#include "IntegerMatrix.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/DialectResourceBlobManager.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

template <typename T>
static void readAs(ArrayRef<char> bytes, std::vector<double> &out) {
  for (size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    T x;
    std::memcpy(&x, bytes.data() + i, sizeof(T));
    out.push_back(static_cast<double>(x));
  }
}

static bool readRaw(Type type, ArrayRef<char> bytes, std::vector<double> &out) {
  if (auto f = dyn_cast<FloatType>(type)) {
    if (f.isF32())
      readAs<float>(bytes, out);
    else if (f.isF64())
      readAs<double>(bytes, out);
    else if (f.getWidth() == 16)
      for (size_t i = 0; i + 2 <= bytes.size(); i += 2) {
        uint16_t x;
        std::memcpy(&x, bytes.data() + i, 2);
        out.push_back(
            APFloat(f.getFloatSemantics(), APInt(16, x)).convertToDouble());
      }
    else if (f.getWidth() <= 8) // one byte each
      for (char c : bytes) {
        APInt bits(f.getWidth(), static_cast<uint8_t>(c), false, true);
        APFloat x(f.getFloatSemantics(), bits);
        bool lost;
        x.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
        out.push_back(x.convertToDouble());
      }
    else
      return false;
    return true;
  }
  auto i = dyn_cast<IntegerType>(type);
  if (!i)
    return false;
  bool isUnsigned = i.isUnsigned();
  switch (i.getWidth()) {
  case 1:
    for (char c : bytes)
      out.push_back(c != 0);
    return true;
  case 8:
    isUnsigned ? readAs<uint8_t>(bytes, out) : readAs<int8_t>(bytes, out);
    return true;
  case 16:
    isUnsigned ? readAs<uint16_t>(bytes, out) : readAs<int16_t>(bytes, out);
    return true;
  case 32:
    isUnsigned ? readAs<uint32_t>(bytes, out) : readAs<int32_t>(bytes, out);
    return true;
  case 64:
    isUnsigned ? readAs<uint64_t>(bytes, out) : readAs<int64_t>(bytes, out);
    return true;
  default:
    return false;
  }
}

/// Most elements of one value that are written out: 1 GiB of them.
static constexpr size_t mostRepeats = size_t(1) << 27;

std::optional<std::vector<double>>
effc::raise::readElements(ElementsAttr values) {
  std::vector<double> out;
  size_t count = values.getNumElements();
  // A value that a file repeats costs it nothing.
  if (count > mostRepeats && values.isSplat())
    return std::nullopt;
  out.reserve(count);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(values)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob || !readRaw(values.getElementType(), blob->getData(), out) ||
        out.size() != count)
      return std::nullopt;
    return out;
  }
  auto dense = dyn_cast<DenseElementsAttr>(values);
  if (!dense)
    return std::nullopt;
  Type type = values.getElementType();
  if (isa<FloatType>(type)) {
    for (const APFloat &x : dense.getValues<APFloat>()) {
      APFloat wide = x;
      bool lost;
      wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
      out.push_back(wide.convertToDouble());
    }
    return out;
  }
  if (auto i = dyn_cast<IntegerType>(type)) {
    for (const APInt &x : dense.getValues<APInt>())
      out.push_back(i.isUnsigned() || i.getWidth() == 1
                        ? static_cast<double>(x.getZExtValue())
                        : static_cast<double>(x.getSExtValue()));
    return out;
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Looking through
//===----------------------------------------------------------------------===//

/// Whether values of this type are taken as f32: 8-bit floats and below are
/// formats, not arithmetic; f64 stays what it is.
static bool isArithmetic(Type type) {
  return isa<FloatType>(type) && type.getIntOrFloatBitWidth() >= 16 &&
         !type.isF64();
}

/// Whether a Dropout may drop anything: its third operand may say so.
static bool trains(onnx::NodeOp node) {
  Value training = node.getInput(2);
  if (!training)
    return false;
  auto constant = training.getDefiningOp<onnx::ConstantOp>();
  auto values = constant ? readElements(constant.getValue()) : std::nullopt;
  return !values || values->size() != 1 || values->front() != 0;
}

Value Graph::strip(Value v) const {
  while (auto node = v.getDefiningOp<onnx::NodeOp>()) {
    bool transparent =
        node.is("Identity") ||
        (node.is("Dropout") && v == node->getResult(0) && !trains(node));
    transparent |= node.is("Concat") && node->getNumOperands() == 1;
    if (node.is("Cast") || node.is("CastLike"))
      transparent = isArithmetic(elementType(v)) &&
                    isArithmetic(elementType(node.getInput(0)));
    if (!transparent)
      break;
    v = node.getInput(0);
  }
  return v;
}

bool Graph::isLayout(onnx::NodeOp node) const {
  if (!node.getDomain().empty())
    return false;
  StringRef type = node.getOpType();
  return type == "Transpose" || type == "Reshape" || type == "Squeeze" ||
         type == "Unsqueeze" || type == "Flatten" || type == "Expand";
}

View Graph::view(Value v, double *scale) {
  if (!scale)
    if (auto it = views.find(v); it != views.end())
      return it->second;
  // Walk to the base, then replay the layout ops on it.
  SmallVector<onnx::NodeOp> path;
  Value base = strip(v);
  while (auto node = base.getDefiningOp<onnx::NodeOp>()) {
    if (isLayout(node)) {
      path.push_back(node);
      base = strip(node.getInput(0));
      continue;
    }
    if (!scale || !isFloat(base))
      break;
    if (node.is("Mul") || node.is("Div")) {
      bool divide = node.is("Div");
      std::optional<double> factor = scalar(node.getInput(1));
      Value rest = node.getInput(0);
      if (!factor && !divide && (factor = scalar(node.getInput(0))))
        rest = node.getInput(1);
      if (factor && shape(rest) == shape(base) && *factor != 0) {
        *scale = divide ? *scale / *factor : *scale * *factor;
        base = strip(rest);
        continue;
      }
    }
    break;
  }
  Strided dims = Strided::identity(shape(base));
  for (onnx::NodeOp node : llvm::reverse(path)) {
    Value result = node->getResult(0);
    bool ok = true;
    if (node.is("Transpose")) {
      auto perm = node.getInts("perm");
      SmallVector<int64_t> reversed;
      if (!perm)
        for (int64_t i = rank(result); i-- > 0;)
          reversed.push_back(i);
      dims.transpose(perm ? *perm : reversed);
    } else if (node.is("Expand")) {
      dims.expand(shape(result));
    } else {
      ok = dims.reshape(shape(result));
    }
    if (!ok) { // such a value is a base of its own
      base = result;
      dims = Strided::identity(shape(base));
    }
  }
  View out{base, dims};
  if (!scale)
    views[v] = out;
  return out;
}

onnx::NodeOp Graph::node(Value v, StringRef type, StringRef domain) const {
  auto node = strip(v).getDefiningOp<onnx::NodeOp>();
  return node && node.is(type, domain) ? node : onnx::NodeOp();
}

bool Graph::same(Value a, Value b) {
  if (strip(a) == strip(b))
    return true;
  View x = view(a), y = view(b);
  return x.base == y.base && x.dims == y.dims;
}

bool Graph::usedOnce(Value v) const { return v.hasOneUse(); }

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

onnx::ConstantOp Graph::constant(Value v) {
  return view(v).base.getDefiningOp<onnx::ConstantOp>();
}

/// A DequantizeLinear of initializers.
static onnx::NodeOp getDequantized(Value base) {
  auto node = base.getDefiningOp<onnx::NodeOp>();
  if (!node || (!node.is("DequantizeLinear") &&
                !node.is("DequantizeLinear", "com.microsoft")))
    return {};
  for (Value v : node.getInputs())
    if (!isa<NoneType>(v.getType()) && !v.getDefiningOp<onnx::ConstantOp>())
      return {};
  return node;
}

onnx::NodeOp Graph::dequantized(Value v) {
  return getDequantized(view(v).base);
}

/// Elementwise functions that exporters leave on weights.
static std::optional<double (*)(double)> unaryFunction(onnx::NodeOp node) {
  if (node.is("Neg"))
    return [](double x) { return -x; };
  if (node.is("Exp"))
    return [](double x) { return std::exp(x); };
  if (node.is("Reciprocal"))
    return [](double x) { return 1 / x; };
  if (node.is("Sqrt"))
    return [](double x) { return std::sqrt(x); };
  if (node.is("Cos"))
    return [](double x) { return std::cos(x); };
  if (node.is("Sin"))
    return [](double x) { return std::sin(x); };
  if (node.is("Log"))
    return [](double x) { return std::log(x); };
  return std::nullopt;
}

bool Graph::isConstant(Value v) {
  Value base = view(v).base;
  if (base.getDefiningOp<onnx::ConstantOp>() || getDequantized(base))
    return true;
  auto node = base.getDefiningOp<onnx::NodeOp>();
  return node && unaryFunction(node) && isConstant(node.getInput(0));
}

std::optional<std::vector<double>> Graph::numbers(const View &w) {
  std::optional<std::vector<double>> elements;
  if (auto constant = w.base.getDefiningOp<onnx::ConstantOp>()) {
    elements = readElements(constant.getValue());
  } else if (onnx::NodeOp dequantize = getDequantized(w.base)) {
    auto constant = DequantizedConstant::create(dequantize);
    if (succeeded(constant))
      elements = constant->numbers();
  } else if (auto node = w.base.getDefiningOp<onnx::NodeOp>()) {
    auto function = unaryFunction(node);
    if (function && (elements = numbers(node.getInput(0))))
      for (double &x : *elements)
        x = isFloat(w.base)
                ? static_cast<double>(static_cast<float>((*function)(x)))
                : (*function)(x);
  }
  if (!elements || w.dims.isIdentity(elements->size()))
    return elements;
  return w.dims.gather(*elements);
}

std::optional<SmallVector<int64_t>> Graph::ints(Value v) {
  if (!v || isFloat(v))
    return std::nullopt;
  auto values = numbers(v);
  if (!values)
    return std::nullopt;
  SmallVector<int64_t> out;
  for (double x :
       *values) // INT64_MAX, "to the end", is not a double: stay inside
    out.push_back(x >= 9.2e18    ? std::numeric_limits<int64_t>::max()
                  : x <= -9.2e18 ? std::numeric_limits<int64_t>::min()
                                 : static_cast<int64_t>(x));
  return out;
}

std::optional<double> Graph::scalar(Value v) {
  if (!v || !isa<ShapedType>(v.getType()) || numElements(shape(v)) != 1)
    return std::nullopt;
  auto values = numbers(v);
  if (!values || values->size() != 1)
    return std::nullopt;
  return (*values)[0];
}

bool Graph::isScalar(Value v, double value, double tolerance) {
  std::optional<double> x = scalar(v);
  return x &&
         std::abs(*x - value) <= tolerance * std::max(1.0, std::abs(value));
}

bool Graph::isFeatureVector(Value v, int64_t size) {
  ArrayRef<int64_t> s = shape(v);
  return isConstant(v) && isFloat(v) && !s.empty() && s.back() == size &&
         numElements(s) == size;
}

std::optional<SmallVector<int64_t>> Graph::axes(onnx::NodeOp node,
                                                unsigned input, int64_t rank) {
  SmallVector<int64_t> out;
  if (auto attribute = node.getInts("axes")) {
    out = *attribute;
  } else if (node.getInput(input)) {
    auto values = ints(node.getInput(input));
    if (!values)
      return std::nullopt;
    out = *values;
  }
  if (out.empty())
    for (int64_t i = 0; i < rank; ++i)
      out.push_back(i);
  for (int64_t &a : out)
    a = a < 0 ? a + rank : a;
  llvm::sort(out);
  return out;
}

bool Graph::isDouble(onnx::NodeOp node) {
  auto isF64 = [](Type type) { return getElementTypeOrSelf(type).isF64(); };
  return llvm::any_of(node->getOperandTypes(), isF64) ||
         llvm::any_of(node->getResultTypes(), isF64);
}

std::string effc::raise::reportName(Value v) {
  if (!v)
    return "";
  if (auto arg = dyn_cast<BlockArgument>(v)) {
    auto main = dyn_cast<func::FuncOp>(arg.getOwner()->getParentOp());
    auto name = main ? main.getArgAttrOfType<StringAttr>(arg.getArgNumber(),
                                                         "onnx.name")
                     : StringAttr();
    return name ? name.str() : "an input";
  }
  if (auto constant = v.getDefiningOp<onnx::ConstantOp>())
    return constant.getName().empty() ? "a constant" : constant.getName().str();
  if (auto node = v.getDefiningOp<onnx::NodeOp>())
    return node.getNodeName().empty() ? node.getOpType().str()
                                      : node.getNodeName().str();
  return "a value";
}

void Graph::note(Operation *op, const Twine &reason) {
  std::string &text = reasons[op];
  if (text.empty())
    text = reason.str();
}

std::vector<View> effc::raise::placeTokens(Value v, int64_t batch,
                                           int64_t tokens) {
  SmallVector<int64_t> shape;
  for (int64_t d : Graph::shape(v))
    if (d != 1)
      shape.push_back(d);
  auto where = [&](int64_t size) { // -1 where the dimension has one step
    SmallVector<int64_t> out;
    if (size == 1)
      out.push_back(-1);
    else
      for (auto [i, d] : llvm::enumerate(shape))
        if (d == size)
          out.push_back(i);
    return out;
  };
  std::vector<View> out;
  for (int64_t b : where(batch))
    for (int64_t t : where(tokens)) {
      if (b == t && b >= 0)
        continue;
      SmallVector<int64_t> perm;
      for (int64_t first : {b, t})
        if (first >= 0)
          perm.push_back(first);
      int64_t count = 1;
      for (auto [i, d] : llvm::enumerate(shape))
        if (int64_t(i) != b && int64_t(i) != t) {
          perm.push_back(i);
          count *= d;
        }
      View placed{v, Strided::identity(Graph::shape(v))};
      if (!placed.dims.reshape(shape))
        continue;
      placed.dims.transpose(perm);
      if (placed.dims.reshape({batch, tokens, count}))
        out.push_back(std::move(placed));
    }
  return out;
}
