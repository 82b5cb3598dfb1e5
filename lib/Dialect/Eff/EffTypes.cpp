//===- EffTypes.cpp - types of the eff dialect ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/Eff/Layout.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace effc::eff;

//===----------------------------------------------------------------------===//
// Parts of the assembly
//===----------------------------------------------------------------------===//

static ParseResult parseShape(AsmParser &parser, SmallVector<int64_t> &shape) {
  return parser.parseDimensionList(shape, /*allowDynamic=*/false,
                                   /*withTrailingX=*/false);
}

static void printShape(AsmPrinter &printer, ArrayRef<int64_t> shape) {
  printer.printDimensionList(shape);
}

static ParseResult parseHeadShape(AsmParser &parser, int64_t &heads,
                                  int64_t &headDim) {
  SmallVector<int64_t> shape;
  SMLoc loc = parser.getCurrentLocation();
  if (parseShape(parser, shape))
    return failure();
  if (shape.size() != 2)
    return parser.emitError(loc, "expected heads x head_dim, got ")
           << shape.size() << " dimension(s)";
  heads = shape[0];
  headDim = shape[1];
  return success();
}

static void printHeadShape(AsmPrinter &printer, int64_t heads,
                           int64_t headDim) {
  printer << heads << 'x' << headDim;
}

static ParseResult parseFormat(AsmParser &parser, Attribute &format) {
  return parser.parseAttribute(format);
}

static void printFormat(AsmPrinter &printer, Attribute format) {
  printer << format;
}

static ParseResult parseLayoutName(AsmParser &parser, Layout &layout) {
  StringRef name;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&name))
    return failure();
  std::optional<Layout> parsed = symbolizeLayout(name);
  if (parsed) {
    layout = *parsed;
    return success();
  }
  InFlightDiagnostic error = parser.emitError(loc, "unknown layout '")
                             << name << "', expected one of: ";
  for (uint32_t i = 0; i <= getMaxEnumValForLayout(); ++i)
    error << (i ? ", " : "") << stringifyLayout(static_cast<Layout>(i));
  return error;
}

static void printLayoutName(AsmPrinter &printer, Layout layout) {
  printer << stringifyLayout(layout);
}

#define GET_TYPEDEF_CLASSES
#include "effc/Dialect/Eff/EffTypes.cpp.inc"

void EffDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "effc/Dialect/Eff/EffTypes.cpp.inc"
      >();
}

/// Positive dimensions whose product stays far from overflow in any size
/// computed from it.
static LogicalResult
verifyDimensions(function_ref<InFlightDiagnostic()> emitError,
                 ArrayRef<int64_t> shape) {
  constexpr int64_t limit = int64_t(1) << 48;
  if (shape.empty())
    return emitError() << "C1: a shape must have a dimension";
  int64_t product = 1;
  for (int64_t dimension : shape) {
    if (dimension <= 0)
      return emitError() << "C1: every dimension must be positive, got "
                         << dimension;
    if (dimension > limit / product)
      return emitError() << "C1: more than 2^48 elements";
    product *= dimension;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// WeightType
//===----------------------------------------------------------------------===//

static bool isFloatFormat(Attribute format) {
  auto type = dyn_cast<TypeAttr>(format);
  return type && isa<Float32Type, BFloat16Type, Float16Type>(type.getValue());
}

/// Whether a layout's kernels read this format.
static bool fits(Layout layout, Attribute format) {
  switch (layout) {
  case Layout::RowMajor:
    return true;
  case Layout::Panel16:
    return isFloatFormat(format) && cast<TypeAttr>(format).getValue().isF32();
  case Layout::Panel32Pair:
    return isFloatFormat(format) && !cast<TypeAttr>(format).getValue().isF32();
  case Layout::Quad16:
    return isa<Int8Attr, Float8Attr>(format);
  case Layout::Nibble16:
    return isa<Int4Attr>(format);
  }
  llvm_unreachable("all layouts are handled");
}

LogicalResult WeightType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 ArrayRef<int64_t> shape, Attribute format,
                                 Layout layout, BasisAttr inputs,
                                 BasisAttr outputs) {
  if (failed(verifyDimensions(emitError, shape)))
    return failure();
  if (!isFloatFormat(format) && !isa<Int8Attr, Int4Attr, Float8Attr>(format))
    return emitError() << "C2: the format must be f32, bf16, f16, #eff.int8, "
                          "#eff.int4 or #eff.float8, got "
                       << format;
  if (!isFloatFormat(format) && shape.size() != 2)
    return emitError() << "C3: a format with scales needs a 2-d shape, got "
                       << shape.size() << "-d";
  if (auto int4 = dyn_cast<Int4Attr>(format))
    if (int4.getGroup() <= 0 || int4.getGroup() % 8)
      return emitError() << "C3: the group of #eff.int4 must be a positive "
                            "multiple of 8, got "
                         << int4.getGroup();
  if (auto int8 = dyn_cast<Int8Attr>(format))
    if (int8.getGroup() < 0 || int8.getGroup() % 8)
      return emitError()
             << "C3: the group of #eff.int8 must be 0 or a positive "
                "multiple of 8, got "
             << int8.getGroup();
  if (!fits(layout, format))
    return emitError() << "C4: layout " << stringifyLayout(layout)
                       << " does not hold format " << format;
  if (layout != Layout::RowMajor && shape.size() != 2)
    return emitError() << "C4: layout " << stringifyLayout(layout)
                       << " needs a 2-d shape, got " << shape.size() << "-d";
  if (!inputs && !outputs)
    return success();
  if (shape.size() != 2)
    return emitError() << "C5: bases need a 2-d shape, got " << shape.size()
                       << "-d";
  for (auto [basis, size] : {std::pair{inputs, shape[1]}, {outputs, shape[0]}})
    if (basis && basis.getHadamard() && basis.getHadamard() != size)
      return emitError() << "C5: a rotation of " << basis.getHadamard()
                         << " features cannot be the basis of " << size;
  return success();
}

FloatType WeightType::getFloatFormat() const {
  auto type = dyn_cast<TypeAttr>(getFormat());
  return type ? dyn_cast<FloatType>(type.getValue()) : FloatType();
}

int64_t WeightType::getGroup() const {
  if (auto int8 = dyn_cast<Int8Attr>(getFormat()))
    return int8.getGroup();
  auto int4 = dyn_cast<Int4Attr>(getFormat());
  return int4 ? int4.getGroup() : 0;
}

int64_t WeightType::getGroupCount() const {
  return getGroup() ? llvm::divideCeil(getShape().back(), getGroup()) : 1;
}

bool WeightType::hasZeros() const {
  if (auto int8 = dyn_cast<Int8Attr>(getFormat()))
    return int8.getZeros();
  auto int4 = dyn_cast<Int4Attr>(getFormat());
  return int4 && int4.getZeros();
}

int64_t WeightType::getNumElements() const {
  int64_t product = 1;
  for (int64_t dimension : getShape())
    product *= dimension;
  return product;
}

int64_t WeightType::getElementBits() const {
  if (FloatType type = getFloatFormat())
    return type.getWidth();
  return isInt4() ? 4 : 8;
}

int64_t WeightType::getPackedBytes() const {
  return getPackedLayout(*this).totalBytes;
}

WeightType WeightType::withFormat(Attribute format) const {
  Layout layout = fits(getLayout(), format) ? getLayout() : Layout::RowMajor;
  return get(getContext(), getShape(), format, layout, getInputs(),
             getOutputs());
}

WeightType WeightType::withLayout(Layout layout) const {
  return get(getContext(), getShape(), getFormat(), layout, getInputs(),
             getOutputs());
}

WeightType WeightType::withBases(BasisAttr inputs, BasisAttr outputs) const {
  return get(getContext(), getShape(), getFormat(), getLayout(), inputs,
             outputs);
}

//===----------------------------------------------------------------------===//
// StateType and CacheType
//===----------------------------------------------------------------------===//

LogicalResult StateType::verify(function_ref<InFlightDiagnostic()> emitError,
                                StateKind kind, ArrayRef<int64_t> shape,
                                Attribute format) {
  if (failed(verifyDimensions(emitError, shape)))
    return failure();
  size_t rank = kind == StateKind::Ssd ? 3 : 2;
  if (shape.size() != rank)
    return emitError() << "C1: a state of kind " << stringifyStateKind(kind)
                       << " has rank " << rank << ", got " << shape.size();
  auto type = dyn_cast<TypeAttr>(format);
  bool isConv = kind == StateKind::Conv;
  bool fits = (type && type.getValue().isF32()) ||
              (isConv ? type && type.getValue().isInteger(8)
                      : isa<Int8StateAttr>(format));
  if (!fits)
    return emitError() << "C2: a state of kind " << stringifyStateKind(kind)
                       << " holds f32 or "
                       << (isConv ? "i8" : "#eff.int8_state") << ", got "
                       << format;
  return success();
}

int64_t StateType::getNumElements() const {
  int64_t product = 1;
  for (int64_t dimension : getShape())
    product *= dimension;
  return product;
}

int64_t StateType::getBytes() const {
  int64_t elements = getNumElements();
  if (isF32())
    return 4 * elements;
  Int8StateAttr int8 = getInt8();
  if (!int8)
    return elements;
  int64_t bytes = llvm::alignTo(elements, kPackedAlignment);
  // Residuals of 4 bits share a byte with the next state's.
  int64_t states = getShape()[getShape().size() - 2];
  int64_t rows = int8.getResidual() == 4 ? llvm::divideCeil(states, 2) : states;
  if (int8.getResidual())
    bytes = llvm::alignTo(bytes + elements / states * rows, kPackedAlignment);
  // Dynamic scales: one for all states of a channel.
  if (int8.getScaling() == StateScaling::Dynamic)
    bytes += 4 * (elements / states);
  return llvm::alignTo(bytes, kPackedAlignment);
}

LogicalResult CacheType::verify(function_ref<InFlightDiagnostic()> emitError,
                                int64_t heads, int64_t headDim,
                                int64_t capacity, Attribute format) {
  if (failed(verifyDimensions(emitError, {heads, headDim, capacity})))
    return failure();
  auto type = dyn_cast<TypeAttr>(format);
  auto integers = dyn_cast<IntCacheAttr>(format);
  if (!(type && type.getValue().isF32()) && !isa<Int8Attr>(format) && !integers)
    return emitError()
           << "C2: the format must be f32, #eff.int8 or #eff.int_cache, got "
           << format;
  if (integers && integers.getBits() == 4 && headDim % 2)
    return emitError() << "C3: with integers of 4 bits, head_dim must be even, "
                          "got "
                       << headDim;
  return success();
}

int64_t CacheType::getRowBytes() const {
  if (int64_t bits = getIntBits())
    return getHeadDim() * bits / 8;
  return isInt8() ? 4 + llvm::alignTo(getHeadDim(), 4) : 4 * getHeadDim();
}

int64_t CacheType::getBytes() const {
  return getHeads() * getCapacity() * getRowBytes();
}
