//===- FloatForms.cpp - float ops that x86 has no instruction for ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "LowerGeneric.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace effc;

namespace {
/// Builds constants of a type, or tensors and vectors full of them.
struct Numbers {
  Value real(double value) {
    return constant(type, FloatAttr::get(getElementTypeOrSelf(type), value));
  }
  Value bits(int64_t value) {
    return constant(bitsType,
                    IntegerAttr::get(getElementTypeOrSelf(bitsType), value));
  }
  Value constant(Type like, Attribute scalar) {
    if (auto shaped = dyn_cast<ShapedType>(like))
      scalar = DenseElementsAttr::get(shaped, scalar);
    return arith::ConstantOp::create(b, loc, cast<TypedAttr>(scalar));
  }
  template <typename Op, typename... Args> Value op(Args &&...args) {
    return Op::create(b, loc, std::forward<Args>(args)...);
  }

  OpBuilder &b;
  Location loc;
  Type type, bitsType;
};

/// `extf(truncf(x))` by way of a format of 8 bits or less: `x` rounded to the
/// numbers of that format. With e the exponent of x, at least the format's
/// least one, and m its mantissa bits, `round(x / 2^(e-m)) * 2^(e-m)`.
struct RoundToSmallFloat : OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::ExtFOp ext,
                                PatternRewriter &rewriter) const override {
    auto trunc = ext.getIn().getDefiningOp<arith::TruncFOp>();
    if (!trunc || trunc.getIn().getType() != ext.getType())
      return rewriter.notifyMatchFailure(ext, "no rounding");
    auto target =
        cast<FloatType>(getElementTypeOrSelf(trunc.getResult().getType()));
    auto source = cast<FloatType>(getElementTypeOrSelf(ext.getType()));
    if (target.getWidth() > 8 || (!source.isF32() && !source.isF64()))
      return rewriter.notifyMatchFailure(ext, "not to a small format");
    Value x = trunc.getIn();
    // Powers of two come as such.
    if (isa<Float8E8M0FNUType>(target)) {
      rewriter.replaceOp(ext, x);
      return success();
    }
    Type bitsType = rewriter.getIntegerType(source.getWidth());
    if (auto shaped = dyn_cast<ShapedType>(x.getType()))
      bitsType = shaped.clone(bitsType);
    Numbers n{rewriter, ext.getLoc(), x.getType(), bitsType};
    rewriter.replaceOp(ext, round(n, x, target, source));
    return success();
  }

  static Value round(Numbers &n, Value x, FloatType target, FloatType source) {
    const llvm::fltSemantics &format = target.getFloatSemantics();
    const llvm::fltSemantics &wide = source.getFloatSemantics();
    int mantissa = int(APFloat::semanticsPrecision(format)) - 1;
    int sourceMantissa = int(APFloat::semanticsPrecision(wide)) - 1;
    int64_t bias = APFloat::semanticsMaxExponent(wide);
    double largest = APFloat::getLargest(format).convertToDouble();

    Value raw = n.op<arith::BitcastOp>(n.bitsType, x);
    Value field =
        n.op<arith::AndIOp>(n.op<arith::ShRUIOp>(raw, n.bits(sourceMantissa)),
                            n.bits(2 * bias + 1));
    Value exponent = n.op<arith::MaxSIOp>(
        field, n.bits(bias + APFloat::semanticsMinExponent(format)));
    Value steps = n.op<arith::SubIOp>(exponent, n.bits(mantissa));
    auto power = [&](Value biased) {
      return n.op<arith::BitcastOp>(
          n.type, n.op<arith::ShLIOp>(biased, n.bits(sourceMantissa)));
    };
    Value quantum = power(steps);
    Value inverse = power(n.op<arith::SubIOp>(n.bits(2 * bias), steps));
    Value y = n.op<arith::MulFOp>(
        n.op<math::RoundEvenOp>(n.op<arith::MulFOp>(x, inverse)), quantum);
    Value beyond = n.op<arith::CmpFOp>(arith::CmpFPredicate::OGT,
                                       n.op<math::AbsFOp>(y), n.real(largest));
    Value otherwise;
    if (target.getWidth() < 8)
      otherwise = n.op<math::CopySignOp>(n.real(largest), x);
    else if (isa<Float8E5M2Type>(target))
      otherwise = n.op<math::CopySignOp>(n.real(HUGE_VAL), x);
    else
      otherwise = n.real(std::nan(""));
    y = n.op<arith::SelectOp>(beyond, otherwise, y);
    // Formats without a negative zero.
    if (isa<Float8E4M3FNUZType, Float8E5M2FNUZType, Float8E4M3B11FNUZType>(
            target)) {
      Value isZero =
          n.op<arith::CmpFOp>(arith::CmpFPredicate::OEQ, y, n.real(0));
      y = n.op<arith::SelectOp>(isZero, n.real(0), y);
    }
    return y;
  }
};

/// `x == 0` and `x != 0` by the bits of x: the smallest numbers are not zero,
/// though the processor takes them for zero while a model runs.
struct CompareWithZero : OpRewritePattern<arith::CmpFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::CmpFOp compare,
                                PatternRewriter &rewriter) const override {
    arith::CmpFPredicate how = compare.getPredicate();
    Value x = compare.getLhs();
    Type element = getElementTypeOrSelf(x.getType());
    bool isEqual = how == arith::CmpFPredicate::OEQ;
    if ((!isEqual && how != arith::CmpFPredicate::UNE) ||
        (!element.isF32() && !element.isF64()) ||
        !matchPattern(compare.getRhs(), m_AnyZeroFloat()))
      return rewriter.notifyMatchFailure(compare, "no comparison with zero");
    int64_t width = element.getIntOrFloatBitWidth();
    Type bitsType = rewriter.getIntegerType(unsigned(width));
    if (auto shaped = dyn_cast<ShapedType>(x.getType()))
      bitsType = shaped.clone(bitsType);
    Numbers n{rewriter, compare.getLoc(), x.getType(), bitsType};
    Value magnitude = n.op<arith::AndIOp>(
        n.op<arith::BitcastOp>(n.bitsType, x),
        n.bits(width == 64 ? std::numeric_limits<int64_t>::max()
                           : std::numeric_limits<int32_t>::max()));
    rewriter.replaceOpWithNewOp<arith::CmpIOp>(
        compare, isEqual ? arith::CmpIPredicate::eq : arith::CmpIPredicate::ne,
        magnitude, n.bits(0));
    return success();
  }
};

/// The remainder of floats, by long division: every subtraction is exact.
struct ExpandRemainder : OpRewritePattern<arith::RemFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::RemFOp rem,
                                PatternRewriter &rewriter) const override {
    if (!isa<FloatType>(rem.getType()))
      return rewriter.notifyMatchFailure(rem, "no scalar");
    Value x = rem.getLhs(), y = rem.getRhs();
    Numbers n{rewriter, rem.getLoc(), rem.getType(), rem.getType()};
    using P = arith::CmpFPredicate;
    auto compare = [&](P how, Value a, Value b) {
      return n.op<arith::CmpFOp>(how, a, b);
    };
    Value divisor = n.op<math::AbsFOp>(y), magnitude = n.op<math::AbsFOp>(x);
    // A remainder exists for a finite x and a y that is neither 0 nor NaN.
    Value isFinite = compare(P::OLT, magnitude, n.real(HUGE_VAL));
    Value exists =
        n.op<arith::AndIOp>(compare(P::OGT, divisor, n.real(0)), isFinite);
    Value isInfinite = compare(P::OEQ, divisor, n.real(HUGE_VAL));
    Value divides =
        n.op<arith::AndIOp>(exists, compare(P::OLT, divisor, n.real(HUGE_VAL)));
    Value a = n.op<arith::SelectOp>(divides, magnitude, n.real(0));
    Value b = n.op<arith::SelectOp>(divides, divisor, n.real(1));
    Value half = n.real(0.5), two = n.real(2);
    // The largest b * 2^k that is not above a.
    auto grow = scf::WhileOp::create(
        rewriter, n.loc, TypeRange(rem.getType()), ValueRange(b),
        [&](OpBuilder &builder, Location loc, ValueRange args) {
          Numbers in{builder, loc, n.type, n.type};
          Value next = in.op<arith::MulFOp>(args[0], two);
          Value goOn = in.op<arith::CmpFOp>(P::OLE, next, a);
          scf::ConditionOp::create(builder, loc, goOn, args);
        },
        [&](OpBuilder &builder, Location loc, ValueRange args) {
          Numbers in{builder, loc, n.type, n.type};
          Value next = in.op<arith::MulFOp>(args[0], two);
          scf::YieldOp::create(builder, loc, next);
        });
    SmallVector<Type> types(2, rem.getType());
    auto divide = scf::WhileOp::create(
        rewriter, n.loc, TypeRange(types), ValueRange{grow.getResult(0), a},
        [&](OpBuilder &builder, Location loc, ValueRange args) {
          Numbers in{builder, loc, n.type, n.type};
          Value goOn = in.op<arith::CmpFOp>(P::OGE, args[0], b);
          scf::ConditionOp::create(builder, loc, goOn, args);
        },
        [&](OpBuilder &builder, Location loc, ValueRange args) {
          Numbers in{builder, loc, n.type, n.type};
          Value fits = in.op<arith::CmpFOp>(P::OGE, args[1], args[0]);
          Value less = in.op<arith::SubFOp>(args[1], args[0]);
          Value rest = in.op<arith::SelectOp>(fits, less, args[1]);
          Value next = in.op<arith::MulFOp>(args[0], half);
          scf::YieldOp::create(builder, loc, ValueRange{next, rest});
        });
    Value result = n.op<math::CopySignOp>(divide.getResult(1), x);
    result = n.op<arith::SelectOp>(isInfinite, x, result);
    rewriter.replaceOpWithNewOp<arith::SelectOp>(rem, exists, result,
                                                 n.real(std::nan("")));
    return success();
  }
};
} // namespace

void effc::populateFloatForms(RewritePatternSet &patterns) {
  patterns.add<RoundToSmallFloat, CompareWithZero>(patterns.getContext());
}

void effc::populateRemainderForms(RewritePatternSet &patterns) {
  patterns.add<ExpandRemainder>(patterns.getContext());
}
