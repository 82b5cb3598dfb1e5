//===- Expr.cpp - scalar code, or the same on tensors ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

#include "mlir/IR/Matchers.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace effc::lower {

static bool isFloatLike(Value x) {
  return isa<FloatType>(getElementTypeOrSelf(x.getType()));
}

/// `element`, or a tensor of it shaped like `like`.
static Type typeLike(Type like, Type element) {
  if (auto tensor = dyn_cast<RankedTensorType>(like))
    return tensor.clone(element);
  return element;
}

static TypedAttr attributeOf(Type type, Attribute scalar) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return cast<TypedAttr>(Attribute(DenseElementsAttr::get(tensor, scalar)));
  return cast<TypedAttr>(scalar);
}

Value Expr::integer(Type type, int64_t value) const {
  Type element = getElementTypeOrSelf(type);
  Attribute scalar;
  if (element.isIndex())
    scalar = b.getIndexAttr(value);
  else
    scalar = IntegerAttr::get(
        element, APInt(element.getIntOrFloatBitWidth(), uint64_t(value),
                       /*isSigned=*/false, /*implicitTrunc=*/true));
  return op<arith::ConstantOp>(attributeOf(type, scalar));
}

Value Expr::constant(Type type, double value) const {
  Type element = getElementTypeOrSelf(type);
  if (isa<FloatType>(element))
    return op<arith::ConstantOp>(
        attributeOf(type, FloatAttr::get(element, value)));
  int64_t number = value >= 0x1p63    ? std::numeric_limits<int64_t>::max()
                   : value <= -0x1p63 ? std::numeric_limits<int64_t>::min()
                                      : int64_t(value);
  return integer(type, number);
}

Value Expr::index(int64_t value) const {
  return op<arith::ConstantIndexOp>(value);
}

Value Expr::add(Value x, Value y) const {
  return isFloatLike(x) ? op<arith::AddFOp>(x, y) : op<arith::AddIOp>(x, y);
}
Value Expr::sub(Value x, Value y) const {
  return isFloatLike(x) ? op<arith::SubFOp>(x, y) : op<arith::SubIOp>(x, y);
}
Value Expr::mul(Value x, Value y) const {
  return isFloatLike(x) ? op<arith::MulFOp>(x, y) : op<arith::MulIOp>(x, y);
}

/// `divisor` where a division by it is defined for every dividend, else 1.
static Value makeSafe(const Expr &e, Value divisor, bool isUnsigned) {
  APInt known;
  if (matchPattern(divisor, m_ConstantInt(&known)) && !known.isZero() &&
      (isUnsigned || !known.isAllOnes()))
    return divisor;
  Type type = divisor.getType();
  Value unsafe = e.compare(Compare::EQ, divisor, e.integer(type, 0));
  if (!isUnsigned)
    unsafe = e.op<arith::OrIOp>(
        unsafe, e.compare(Compare::EQ, divisor, e.integer(type, -1)));
  return e.select(unsafe, e.integer(type, 1), divisor);
}

Value Expr::div(Value x, Value y, bool isUnsigned) const {
  if (isFloatLike(x))
    return op<arith::DivFOp>(x, y);
  Value safe = makeSafe(*this, y, isUnsigned);
  if (isUnsigned)
    return op<arith::DivUIOp>(x, safe);
  Value quotient = op<arith::DivSIOp>(x, safe);
  if (safe == y)
    return quotient;
  // x / -1 may overflow; -x wraps.
  Value minusOne = compare(Compare::EQ, y, integer(y.getType(), -1));
  return select(minusOne, neg(x), quotient);
}

Value Expr::rem(Value x, Value y, bool isUnsigned) const {
  if (isFloatLike(x))
    return op<arith::RemFOp>(x, y);
  Value safe = makeSafe(*this, y, isUnsigned);
  return isUnsigned ? op<arith::RemUIOp>(x, safe) : op<arith::RemSIOp>(x, safe);
}

Value Expr::max(Value x, Value y, bool isUnsigned) const {
  if (isFloatLike(x))
    return op<arith::MaximumFOp>(x, y);
  return isUnsigned ? op<arith::MaxUIOp>(x, y) : op<arith::MaxSIOp>(x, y);
}
Value Expr::min(Value x, Value y, bool isUnsigned) const {
  if (isFloatLike(x))
    return op<arith::MinimumFOp>(x, y);
  return isUnsigned ? op<arith::MinUIOp>(x, y) : op<arith::MinSIOp>(x, y);
}

Value Expr::neg(Value x) const {
  if (isFloatLike(x))
    return op<arith::NegFOp>(x);
  return sub(integer(x.getType(), 0), x);
}

Value Expr::abs(Value x) const {
  return isFloatLike(x) ? op<math::AbsFOp>(x) : op<math::AbsIOp>(x);
}

Value Expr::select(Value condition, Value x, Value y) const {
  return op<arith::SelectOp>(condition, x, y);
}

Value Expr::compare(Compare how, Value x, Value y, bool isUnsigned) const {
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  static constexpr F floats[] = {F::OEQ, F::UNE, F::OLT,
                                 F::OLE, F::OGT, F::OGE};
  static constexpr I integers[] = {I::eq,  I::ne,  I::slt,
                                   I::sle, I::sgt, I::sge};
  static constexpr I unsigneds[] = {I::eq,  I::ne,  I::ult,
                                    I::ule, I::ugt, I::uge};
  if (isFloatLike(x))
    return op<arith::CmpFOp>(floats[int(how)], x, y);
  return op<arith::CmpIOp>((isUnsigned ? unsigneds : integers)[int(how)], x, y);
}

Value Expr::scale(Value x, double factor) const {
  return mul(x, constant(x.getType(), factor));
}
Value Expr::plus(Value x, double number) const {
  return add(x, constant(x.getType(), number));
}

Value Expr::sigmoid(Value x) const {
  Value one = constant(x.getType(), 1);
  return div(one, add(one, exp(neg(x))));
}

Value Expr::softplus(Value x) const {
  // max(x, 0) + log(1 + exp(-|x|)) does not overflow.
  Value tail = op<math::Log1pOp>(exp(neg(abs(x))));
  return add(max(x, constant(x.getType(), 0)), tail);
}

/// Float to integer of 2 to 64 bits, saturating.
static Value toInteger(const Expr &e, Value x, Type result, bool isUnsigned) {
  Type element = getElementTypeOrSelf(result);
  int width = element.getIntOrFloatBitWidth();
  double above = std::ldexp(1.0, isUnsigned ? width : width - 1);
  double below = isUnsigned ? -1.0 : -std::ldexp(1.0, width - 1) - 1;
  Type type = x.getType();
  // `below` may not be a number of the type; the range's end itself then stands
  // for it.
  bool exact = element.getIntOrFloatBitWidth() <= 16 ||
               (width <= 32 && getElementTypeOrSelf(type).isF64());
  Value tooLarge = e.compare(Compare::GE, x, e.constant(type, above));
  Value tooSmall = isUnsigned || exact
                       ? e.compare(Compare::LE, x, e.constant(type, below))
                       : e.compare(Compare::LT, x, e.constant(type, -above));
  Value ordered = e.op<arith::CmpFOp>(arith::CmpFPredicate::ORD, x, x);
  Value zero = e.constant(type, 0);
  Value inside = e.select(ordered, x, zero);
  inside = e.select(tooLarge, zero, e.select(tooSmall, zero, inside));
  Value number = isUnsigned ? e.op<arith::FPToUIOp>(result, inside)
                            : e.op<arith::FPToSIOp>(result, inside);
  APInt least =
      isUnsigned ? APInt::getZero(width) : APInt::getSignedMinValue(width);
  APInt most =
      isUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width);
  number = e.select(tooSmall, e.integer(result, least.getSExtValue()), number);
  return e.select(tooLarge, e.integer(result, most.getSExtValue()), number);
}

Value Expr::cast(Value x, Type element, bool fromUnsigned,
                 bool toUnsigned) const {
  Type from = getElementTypeOrSelf(x.getType());
  if (from == element)
    return x;
  Type result = typeLike(x.getType(), element);
  bool isBool = element.isInteger(1);
  if (auto source = dyn_cast<FloatType>(from)) {
    if (isBool)
      return compare(Compare::NE, x, constant(x.getType(), 0));
    if (auto target = dyn_cast<FloatType>(element)) {
      if (source.getWidth() < target.getWidth())
        return op<arith::ExtFOp>(result, x);
      if (source.getWidth() > target.getWidth())
        return op<arith::TruncFOp>(result, x);
      return cast(cast(x, b.getF32Type()), element);
    }
    if (source.getWidth() < 32)
      return cast(cast(x, b.getF32Type()), element, fromUnsigned, toUnsigned);
    // Integers below a byte keep the low bits of the number.
    if (element.getIntOrFloatBitWidth() < 8)
      return cast(cast(x, b.getI32Type()), element);
    return toInteger(*this, x, result, toUnsigned);
  }
  if (from.isInteger(1))
    fromUnsigned = true;
  if (auto target = dyn_cast<FloatType>(element)) {
    if (target.getWidth() < 16)
      return cast(cast(x, b.getF32Type(), fromUnsigned), element);
    return fromUnsigned ? op<arith::UIToFPOp>(result, x)
                        : op<arith::SIToFPOp>(result, x);
  }
  if (isBool)
    return compare(Compare::NE, x, constant(x.getType(), 0));
  if (from.getIntOrFloatBitWidth() > element.getIntOrFloatBitWidth())
    return op<arith::TruncIOp>(result, x);
  return fromUnsigned ? op<arith::ExtUIOp>(result, x)
                      : op<arith::ExtSIOp>(result, x);
}

Value Expr::toIndex(Value x, bool isUnsigned) const {
  if (isUnsigned)
    return op<arith::IndexCastUIOp>(b.getIndexType(), x);
  return op<arith::IndexCastOp>(b.getIndexType(), x);
}

Value Expr::extract(Value tensor, ValueRange indices) const {
  return op<tensor::ExtractOp>(tensor, indices);
}

} // namespace effc::lower
