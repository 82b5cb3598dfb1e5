//===- Symbols.cpp - weights, states and caches of the eff module ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "effc/Dialect/Eff/WeightSource.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// Letters, digits, '_', '.', '$' and '-' print without quotes.
static std::string sanitise(StringRef name) {
  std::string out;
  for (char c : name.trim("/"))
    out += llvm::isAlnum(c) || c == '_' || c == '.' || c == '$' || c == '-'
               ? c
               : '.';
  if (out.empty() || llvm::isDigit(out[0]))
    out.insert(0, "w");
  return out;
}

static std::string nameFromLocation(Location loc) {
  std::string name;
  loc->walk([&](Location l) {
    auto named = dyn_cast<NameLoc>(l);
    if (!named)
      return WalkResult::advance();
    name = named.getName().str();
    return WalkResult::interrupt();
  });
  return name;
}

/// The same values at another shape, without touching them.
static ElementsAttr withShape(ElementsAttr values, ArrayRef<int64_t> shape) {
  auto type = RankedTensorType::get(shape, values.getElementType());
  if (values.getShapedType() == type)
    return values;
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(values))
    return DenseResourceElementsAttr::get(type, resource.getRawHandle());
  return cast<DenseElementsAttr>(values).reshape(type);
}

/// Whether two sources hold the same values. The same file imported twice gives
/// two resources: those are compared at both ends and at places between.
static bool sameValues(ElementsAttr a, ElementsAttr b) {
  if (a == b)
    return true;
  auto x = dyn_cast<DenseResourceElementsAttr>(a),
       y = dyn_cast<DenseResourceElementsAttr>(b);
  if (!x || !y || x.getType() != y.getType())
    return false;
  AsmResourceBlob *p = x.getRawHandle().getBlob(),
                  *q = y.getRawHandle().getBlob();
  if (!p || !q || p->getData().size() != q->getData().size())
    return false;
  ArrayRef<char> u = p->getData(), v = q->getData();
  constexpr size_t piece = 4096, places = 64;
  if (u.data() == v.data())
    return true;
  if (u.size() <= piece * places)
    return std::memcmp(u.data(), v.data(), u.size()) == 0;
  for (size_t i = 0; i < places; ++i) {
    size_t at = (u.size() - piece) / (places - 1) * i;
    if (std::memcmp(u.data() + at, v.data() + at, piece) != 0)
      return false;
  }
  return true;
}

Value Emitter::use(StringRef symbol, Type type) {
  auto ref = FlatSymbolRefAttr::get(builder.getContext(), symbol);
  Value &value = uses[ref];
  if (value)
    return value;
  OpBuilder::InsertionGuard guard(builder);
  if (lastUse)
    builder.setInsertionPointAfter(lastUse);
  else
    builder.setInsertionPointToStart(&function.getBody().front());
  auto op =
      eff::UseOp::create(builder, symbols.lookup(symbol)->getLoc(), type, ref);
  lastUse = op;
  return value = op.getResult();
}

/// Declarations stand before the functions, in the order of their first use.
void Emitter::declare(Operation *op) {
  symbols.insert(op);
  op->moveBefore(*module.getOps<func::FuncOp>().begin());
}

Value Emitter::insert(eff::WeightOp op) {
  declare(op);
  ours[op] = true;
  return use(op.getSymName(), op.getType());
}

/// Finds or declares a weight. `named`: the file names it, so that another
/// weight of the same name in another entry point is a contradiction.
Value Emitter::symbol(StringRef name, bool named, eff::WeightType type,
                      ElementsAttr source, bool transposed) {
  std::string wanted = sanitise(name);
  for (unsigned i = 0;; ++i) {
    std::string candidate = i ? wanted + "_" + std::to_string(i) : wanted;
    Operation *existing = symbols.lookup(candidate);
    if (!existing) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPoint(function);
      return insert(eff::WeightOp::create(builder, loc, candidate, type, source,
                                          transposed));
    }
    auto weight = dyn_cast<eff::WeightOp>(existing);
    if (weight && weight.getType() == type &&
        weight.getTransposed() == transposed && weight.getSource() &&
        sameValues(*weight.getSource(), source)) {
      ours[existing] = true;
      return use(candidate, type);
    }
    if (named && !ours.contains(existing)) {
      auto d =
          error("two entry points disagree about the weight '" + name + "'");
      noteWhy(d, "an entry point raised before has other values or another "
                 "shape under this name");
      noteTry(d, "raise all entry points from the same file");
      return {};
    }
  }
}

/// The 16-bit type that holds every value of a small f32 constant: folding has
/// widened what the file stores in it. The type itself for others.
static FloatType storedType(ElementsAttr values, FloatType type) {
  constexpr int64_t most = 32 << 10; // elements; above this nothing is folded
  if (!type.isF32() || values.isSplat() || values.getNumElements() > most)
    return type;
  auto numbers = readElements(values);
  auto fits = [&](const llvm::fltSemantics &semantics) {
    return numbers && llvm::all_of(*numbers, [&](double x) {
             APFloat f(x);
             bool lost = false;
             f.convert(semantics, APFloat::rmNearestTiesToEven, &lost);
             return !lost;
           });
  };
  MLIRContext *context = type.getContext();
  if (fits(APFloat::BFloat()))
    return BFloat16Type::get(context);
  return fits(APFloat::IEEEhalf()) ? FloatType(Float16Type::get(context))
                                   : type;
}

Value Emitter::weight(const View &w, ArrayRef<int64_t> shape, bool wantF32) {
  Strided dims = w.dims;
  SmallVector<int64_t> logical(shape.empty() ? ArrayRef(dims.shape()) : shape);
  auto constant = w.base.getDefiningOp<onnx::ConstantOp>();
  Type stored = Graph::elementType(w.base);
  if (constant && isa<FloatType>(stored) &&
      stored.getIntOrFloatBitWidth() >= 16 && dims.reshape(logical)) {
    Type f32 = builder.getF32Type();
    bool keep = logical.size() > 1 && !wantF32 && !stored.isF64();
    FloatType f = keep
                      ? storedType(constant.getValue(), cast<FloatType>(stored))
                      : cast<FloatType>(stored);
    auto type = eff::WeightType::get(builder.getContext(), logical,
                                     TypeAttr::get(keep ? Type(f) : f32),
                                     eff::Layout::RowMajor);
    StringRef name = constant.getName();
    std::string fallback =
        name.empty() ? nameFromLocation(constant.getLoc()) : name.str();
    ElementsAttr source = constant.getValue();
    int64_t count = source.getNumElements();
    if (dims.isIdentity(count))
      return symbol(fallback.empty() ? "constant" : fallback, !name.empty(),
                    type, withShape(source, logical), false);
    if (logical.size() == 2) {
      Strided swapped = dims;
      swapped.transpose({1, 0});
      if (swapped.isIdentity(count))
        return symbol(fallback.empty() ? "constant" : fallback, !name.empty(),
                      type, withShape(source, {logical[1], logical[0]}), true);
    }
  }
  // A computed constant, or a layout that neither order has: write the values
  // down.
  auto numbers = graph.numbers(w);
  constexpr size_t most = size_t(16) << 20;
  if (!numbers || numbers->size() > most || !Graph::isFloat(w.base)) {
    error("a constant cannot become a weight");
    return {};
  }
  SmallVector<float> values(numbers->begin(), numbers->end());
  auto type = eff::WeightType::get(builder.getContext(), logical,
                                   TypeAttr::get(builder.getF32Type()),
                                   eff::Layout::RowMajor);
  std::string name;
  if (constant)
    name = constant.getName().str();
  if (name.empty())
    name = nameFromLocation(w.base.getDefiningOp()->getLoc());
  return symbol(name.empty() ? "constant" : name, false, type,
                DenseElementsAttr::get(f32(logical), ArrayRef<float>(values)),
                false);
}

Value Emitter::vector(StringRef name, ArrayRef<double> values) {
  return table(name, values, [&](ArrayRef<double> existing) {
    return llvm::equal(existing, values,
                       [](double a, double b) { return float(a) == float(b); });
  });
}

Value Emitter::integers(const IntegerMatrix &m, StringRef name, unsigned bits) {
  MLIRContext *context = builder.getContext();
  bool hasZeros = !m.zeros.empty();
  // A byte for each also where no kernel takes so many columns of 4 bits.
  bool isInt4 = m.bits == 4 && bits == 4 && m.k <= 65536;
  int64_t all = (m.k + 7) / 8 * 8;
  Attribute format =
      isInt4 ? Attribute(eff::Int4Attr::get(context, m.group ? m.group : all,
                                            hasZeros))
             : Attribute(eff::Int8Attr::get(context, m.group, hasZeros));
  return pinned(name, eff::WeightType::get(context, {m.n, m.k}, format), m.q,
                m.scales, m.zeros);
}

Value Emitter::pinned(StringRef name, eff::WeightType type, ArrayRef<int8_t> q,
                      ArrayRef<float> scales, ArrayRef<float> zeros) {
  std::string wanted = sanitise(name);
  for (unsigned i = 0;; ++i) {
    std::string candidate = i ? wanted + "_" + std::to_string(i) : wanted;
    Operation *existing = symbols.lookup(candidate);
    if (existing) {
      auto weight = dyn_cast<eff::WeightOp>(existing);
      if (!weight || weight.getType() != type || !weight.getPinned())
        continue;
      auto values = eff::getQuantizedValues(weight);
      if (!values) {
        llvm::consumeError(values.takeError());
        continue;
      }
      if (values->q != q || values->scales != scales || values->zeros != zeros)
        continue;
      ours[existing] = true;
      return use(candidate, type);
    }
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(function);
    auto op = eff::WeightOp::create(builder, loc, candidate, type);
    if (llvm::Error failed = eff::setQuantizedValues(op, q, scales, zeros)) {
      op.erase();
      error(llvm::toString(std::move(failed)));
      return {};
    }
    op.setPinned(true);
    return insert(op);
  }
}

Value Emitter::matrix(const View &w, ArrayRef<int64_t> shape, unsigned bits) {
  Strided dims = w.dims;
  onnx::NodeOp node = graph.dequantized(w.base);
  if (!node || !isa<IntegerType>(Graph::elementType(node.getInput(0))) ||
      shape.size() != 2 || !dims.reshape(shape))
    return weight(w, shape);
  auto constant = node.getInput(0).getDefiningOp<onnx::ConstantOp>();
  std::string name = constant.getName().str(), why;
  auto m = IntegerMatrix::read({w.base, dims}, shape[0], shape[1], why);
  if (m)
    return integers(*m, name.empty() ? nameFromLocation(node.getLoc()) : name,
                    bits);
  emitWarning(loc) << "the quantised weight '" << name
                   << "' is kept as floats: " << why;
  return weight(w, shape);
}

/// The format of floats that kernels read as the file has them.
static std::optional<eff::Float8Kind> float8Kind(Type type) {
  if (isa<Float8E4M3FNType>(type))
    return eff::Float8Kind::E4M3FN;
  if (isa<Float8E5M2Type>(type))
    return eff::Float8Kind::E5M2;
  return std::nullopt;
}

Value Emitter::smallFloats(const View &w, ArrayRef<int64_t> shape,
                           std::vector<double> &scales) {
  onnx::NodeOp node = graph.dequantized(w.base);
  if (!node || w.dims.rank() != 2 || !hasScalePerRow(w, /*floats=*/true))
    return {};
  auto constant = DequantizedConstant::create(node);
  if (failed(constant) || constant->zeroOf(0) != 0)
    return {};
  auto source = node.getInput(0).getDefiningOp<onnx::ConstantOp>();
  auto elements = onnx::HostTensor::read(source.getValue());
  if (failed(elements))
    return {};
  StringRef name = source.getName().empty() ? "weight" : source.getName();
  std::vector<float> rows;
  int64_t count = constant->scale.size();
  for (int64_t row = 0; row < shape[0]; ++row)
    rows.push_back(float(constant->scale.floats[count == 1 ? 0 : row]));
  bool isFinite =
      llvm::all_of(elements->floats, [](double x) { return std::isfinite(x); });
  auto kind = float8Kind(elements->elementType);
  auto bytes = onnx::ElementBytes::of(source.getValue());
  if (kind && isFinite && succeeded(bytes)) {
    std::vector<int8_t> q;
    q.reserve(elements->size());
    w.dims.visit([&](int64_t at) { q.push_back(int8_t(bytes->get()[at])); });
    auto format = eff::Float8Attr::get(builder.getContext(), *kind);
    return pinned(name,
                  eff::WeightType::get(builder.getContext(), shape, format), q,
                  rows, {});
  }
  onnx::HostTensor stored(builder.getBF16Type(), shape);
  size_t next = 0;
  w.dims.visit(
      [&](int64_t at) { stored.floats[next++] = elements->floats[at]; });
  scales.assign(rows.begin(), rows.end());
  auto type = eff::WeightType::get(builder.getContext(), shape,
                                   TypeAttr::get(builder.getBF16Type()));
  return symbol(name, false, type, stored.write(name), false);
}

Value Emitter::table(StringRef name, ArrayRef<double> values,
                     function_ref<bool(ArrayRef<double>)> accept,
                     eff::WeightType type) {
  if (!type)
    type = eff::WeightType::get(
        builder.getContext(), {static_cast<int64_t>(values.size())},
        TypeAttr::get(builder.getF32Type()), eff::Layout::RowMajor);
  for (unsigned i = 0;; ++i) {
    std::string candidate = sanitise(name) + (i ? "_" + std::to_string(i) : "");
    auto existing = symbols.lookup<eff::WeightOp>(candidate);
    if (!existing) {
      SmallVector<float> narrow(values.begin(), values.end());
      return symbol(
          candidate, false, type,
          DenseElementsAttr::get(f32(type.getShape()), ArrayRef<float>(narrow)),
          false);
    }
    if (existing.getType() != type || !existing.getSource())
      continue;
    auto numbers = readElements(*existing.getSource());
    if (numbers && accept(*numbers))
      return use(candidate, type);
  }
}

Value Emitter::state(State &state, Type type, ArrayRef<int64_t> perm) {
  std::string name = sanitise(state.pastName);
  if (state.layer >= 0 && !state.part.empty())
    name = "l" + std::to_string(state.layer) + "." + state.part;
  else if (state.pastName.empty())
    name = state.presentName.empty() ? state.part : sanitise(state.presentName);
  // States that the graph starts at zero have no names of their own: number
  // them.
  if (state.pastName.empty()) {
    std::string numbered = name + ".0";
    for (unsigned i = 1; llvm::is_contained(usedStates, numbered); ++i)
      numbered = name + "." + std::to_string(i);
    name = numbered;
  }
  usedStates.push_back(name);
  if (Operation *existing = symbols.lookup(name)) {
    auto declared = existing->getAttrOfType<TypeAttr>("type");
    if (!declared || declared.getValue() != type) {
      auto d = emitUserError(loc, ErrorCode::BadState,
                             "two entry points disagree about the state '" +
                                 name + "'");
      std::string text;
      llvm::raw_string_ostream os(text);
      os << "one needs " << type;
      if (declared)
        os << ", the other " << declared.getValue();
      noteWhy(d, text);
      noteTry(d, "raise all entry points from the same file and with the same "
                 "maximal length");
      return {};
    }
    return use(name, type);
  }
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(function);
  Operation *op;
  if (isa<eff::CacheType>(type))
    op = eff::CacheOp::create(builder, loc, name, cast<eff::CacheType>(type));
  else
    op = eff::StateOp::create(builder, loc, name, cast<eff::StateType>(type));
  if (state.past) {
    op->setAttr("eff.past", builder.getStringAttr(state.pastName));
    SmallVector<int64_t> shape(Graph::shape(state.past).drop_front());
    if (isa<eff::CacheType>(type))
      shape[1] = -1; // grows
    op->setAttr("eff.onnx_shape", builder.getDenseI64ArrayAttr(shape));
    op->setAttr("eff.perm", builder.getDenseI64ArrayAttr(perm));
  }
  if (!state.presentName.empty())
    op->setAttr("eff.present", builder.getStringAttr(state.presentName));
  declare(op);
  return use(name, type);
}
