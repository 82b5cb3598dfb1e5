//===- ScalarOps.cpp - arith and math ops on scalars ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Scalar.h"
#include "effc/Dialect/Eff/Rounding.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/ADT/bit.h"

#include <limits>

using namespace mlir;

namespace effc::reference {

namespace {
/// Operand `index` of an instruction.
template <typename T>
T f(const Instruction<T> &i, Scalar<T> *r, unsigned index) {
  return r[i.operands[index]].f;
}
template <typename T>
int64_t n(const Instruction<T> &i, Scalar<T> *r, unsigned index) {
  return r[i.operands[index]].i;
}
/// The same, zero-extended.
template <typename T>
uint64_t u(const Instruction<T> &i, Scalar<T> *r, unsigned index) {
  uint64_t value = n(i, r, index);
  return i.operandWidth >= 64 ? value
                              : value & ((uint64_t(1) << i.operandWidth) - 1);
}

template <typename T>
void setInteger(const Instruction<T> &i, Scalar<T> *r, int64_t value) {
  r[i.result].i = wrap(value, i.resultWidth);
}

/// Division by zero and overflow are undefined in the dialect; here they give
/// 0.
int64_t divide(int64_t a, int64_t b) {
  if (b == 0 || (b == -1 && a == std::numeric_limits<int64_t>::min()))
    return 0;
  return a / b;
}
int64_t remainder(int64_t a, int64_t b) {
  return b == 0 || b == -1 ? 0 : a % b;
}
int64_t floorDivide(int64_t a, int64_t b) {
  int64_t quotient = divide(a, b);
  return remainder(a, b) != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}
int64_t ceilDivide(int64_t a, int64_t b) {
  int64_t quotient = divide(a, b);
  return remainder(a, b) != 0 && (a < 0) == (b < 0) ? quotient + 1 : quotient;
}

template <typename T> int64_t toInteger(T value) {
  // Beyond the range the conversion would be undefined; it saturates here.
  if (!(value > T(-9.2e18)))
    return value <= T(-9.2e18) ? std::numeric_limits<int64_t>::min() : 0;
  return value < T(9.2e18) ? int64_t(value)
                           : std::numeric_limits<int64_t>::max();
}

template <typename T> bool compareFloats(int64_t predicate, T a, T b) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (P(predicate)) {
  case P::AlwaysFalse:
    return false;
  case P::OEQ:
    return !unordered && a == b;
  case P::OGT:
    return a > b;
  case P::OGE:
    return a >= b;
  case P::OLT:
    return a < b;
  case P::OLE:
    return a <= b;
  case P::ONE:
    return !unordered && a != b;
  case P::ORD:
    return !unordered;
  case P::UEQ:
    return unordered || a == b;
  case P::UGT:
    return !(a <= b);
  case P::UGE:
    return !(a < b);
  case P::ULT:
    return !(a >= b);
  case P::ULE:
    return !(a > b);
  case P::UNE:
    return unordered || a != b;
  case P::UNO:
    return unordered;
  case P::AlwaysTrue:
    return true;
  }
  return false;
}

template <typename T>
bool compareIntegers(const Instruction<T> &i, Scalar<T> *r) {
  using P = arith::CmpIPredicate;
  int64_t a = n(i, r, 0), b = n(i, r, 1);
  uint64_t ua = u(i, r, 0), ub = u(i, r, 1);
  switch (P(i.detail)) {
  case P::eq:
    return a == b;
  case P::ne:
    return a != b;
  // A true i1 is -1 to a signed comparison.
  case P::slt:
    return i.operandWidth == 1 ? -a < -b : a < b;
  case P::sle:
    return i.operandWidth == 1 ? -a <= -b : a <= b;
  case P::sgt:
    return i.operandWidth == 1 ? -a > -b : a > b;
  case P::sge:
    return i.operandWidth == 1 ? -a >= -b : a >= b;
  case P::ult:
    return ua < ub;
  case P::ule:
    return ua <= ub;
  case P::ugt:
    return ua > ub;
  case P::uge:
    return ua >= ub;
  }
  return false;
}

/// NaN wins.
template <typename T> T maximum(T a, T b) {
  return std::isnan(a) ? a : std::isnan(b) ? b : std::max(a, b);
}
template <typename T> T minimum(T a, T b) {
  return std::isnan(a) ? a : std::isnan(b) ? b : std::min(a, b);
}
} // namespace

// Each case is one op: float results, or integer results after EFFC_INT.
#define EFFC_FLOAT(Op, expression)                                             \
  .Case([&](Op) {                                                              \
    apply = [](const Instruction<T> &i, Scalar<T> *r) {                        \
      r[i.result].f = expression;                                              \
    };                                                                         \
  })
#define EFFC_INT(Op, expression)                                               \
  .Case([&](Op) {                                                              \
    apply = [](const Instruction<T> &i, Scalar<T> *r) {                        \
      setInteger(i, r, int64_t(expression));                                   \
    };                                                                         \
  })

// clang-format off: the tables below have one op on a line.
/// The bits of a float of the same width, or the float of these bits.
template <typename T>
static void selectBitcast(arith::BitcastOp op,
                          typename Instruction<T>::Apply &apply) {
  Type from = getElementTypeOrSelf(op.getIn().getType()),
       to = getElementTypeOrSelf(op.getType());
  if (from.isF32() && to.isInteger(32))
    apply = [](const Instruction<T> &i, Scalar<T> *r) {
      r[i.result].i = int32_t(llvm::bit_cast<uint32_t>(float(f(i, r, 0))));
    };
  else if (from.isF64() && to.isInteger(64))
    apply = [](const Instruction<T> &i, Scalar<T> *r) {
      r[i.result].i = int64_t(llvm::bit_cast<uint64_t>(double(f(i, r, 0))));
    };
  else if (from.isInteger(32) && to.isF32())
    apply = [](const Instruction<T> &i, Scalar<T> *r) {
      r[i.result].f = T(llvm::bit_cast<float>(uint32_t(n(i, r, 0))));
    };
  else if (from.isInteger(64) && to.isF64())
    apply = [](const Instruction<T> &i, Scalar<T> *r) {
      r[i.result].f = T(llvm::bit_cast<double>(uint64_t(n(i, r, 0))));
    };
}

template <typename T>
static void selectArithFloat(Operation *op,
                             typename Instruction<T>::Apply &apply) {
  llvm::TypeSwitch<Operation *>(op)
  EFFC_FLOAT(arith::AddFOp, f(i, r, 0) + f(i, r, 1))
  EFFC_FLOAT(arith::SubFOp, f(i, r, 0) - f(i, r, 1))
  EFFC_FLOAT(arith::MulFOp, f(i, r, 0) * f(i, r, 1))
  EFFC_FLOAT(arith::DivFOp, f(i, r, 0) / f(i, r, 1))
  EFFC_FLOAT(arith::RemFOp, std::fmod(f(i, r, 0), f(i, r, 1)))
  EFFC_FLOAT(arith::NegFOp, -f(i, r, 0))
  EFFC_FLOAT(arith::MaximumFOp, maximum(f(i, r, 0), f(i, r, 1)))
  EFFC_FLOAT(arith::MinimumFOp, minimum(f(i, r, 0), f(i, r, 1)))
  EFFC_FLOAT(arith::MaxNumFOp, std::fmax(f(i, r, 0), f(i, r, 1)))
  EFFC_FLOAT(arith::MinNumFOp, std::fmin(f(i, r, 0), f(i, r, 1)))
  EFFC_FLOAT(arith::ExtFOp, f(i, r, 0))
  EFFC_FLOAT(arith::TruncFOp, f(i, r, 0))
  EFFC_FLOAT(arith::SIToFPOp, i.operandWidth == 1 ? -T(n(i, r, 0)) : T(n(i, r, 0)))
  EFFC_FLOAT(arith::UIToFPOp, T(u(i, r, 0)))
  EFFC_INT(arith::FPToSIOp, toInteger(f(i, r, 0)))
  EFFC_INT(arith::FPToUIOp, toInteger(f(i, r, 0)))
  EFFC_INT(arith::CmpFOp, compareFloats(i.detail, f(i, r, 0), f(i, r, 1)));
}

template <typename T>
static void selectArithInteger(Operation *op,
                               typename Instruction<T>::Apply &apply) {
  llvm::TypeSwitch<Operation *>(op)
  EFFC_INT(arith::AddIOp, uint64_t(n(i, r, 0)) + uint64_t(n(i, r, 1)))
  EFFC_INT(arith::SubIOp, uint64_t(n(i, r, 0)) - uint64_t(n(i, r, 1)))
  EFFC_INT(arith::MulIOp, uint64_t(n(i, r, 0)) * uint64_t(n(i, r, 1)))
  EFFC_INT(arith::DivSIOp, divide(n(i, r, 0), n(i, r, 1)))
  EFFC_INT(arith::DivUIOp, u(i, r, 1) ? u(i, r, 0) / u(i, r, 1) : 0)
  EFFC_INT(arith::FloorDivSIOp, floorDivide(n(i, r, 0), n(i, r, 1)))
  EFFC_INT(arith::CeilDivSIOp, ceilDivide(n(i, r, 0), n(i, r, 1)))
  EFFC_INT(arith::RemSIOp, remainder(n(i, r, 0), n(i, r, 1)))
  EFFC_INT(arith::RemUIOp, u(i, r, 1) ? u(i, r, 0) % u(i, r, 1) : 0)
  EFFC_INT(arith::AndIOp, n(i, r, 0) & n(i, r, 1))
  EFFC_INT(arith::OrIOp, n(i, r, 0) | n(i, r, 1))
  EFFC_INT(arith::XOrIOp, n(i, r, 0) ^ n(i, r, 1))
  EFFC_INT(arith::ShLIOp, u(i, r, 1) < 64 ? u(i, r, 0) << u(i, r, 1) : 0)
  EFFC_INT(arith::ShRUIOp, u(i, r, 1) < 64 ? u(i, r, 0) >> u(i, r, 1) : 0)
  EFFC_INT(arith::ShRSIOp, n(i, r, 0) >> std::min<uint64_t>(u(i, r, 1), 63))
  EFFC_INT(arith::MaxSIOp, std::max(n(i, r, 0), n(i, r, 1)))
  EFFC_INT(arith::MinSIOp, std::min(n(i, r, 0), n(i, r, 1)))
  EFFC_INT(arith::MaxUIOp, std::max(u(i, r, 0), u(i, r, 1)))
  EFFC_INT(arith::MinUIOp, std::min(u(i, r, 0), u(i, r, 1)))
  EFFC_INT(arith::ExtSIOp, i.operandWidth == 1 ? -n(i, r, 0) : n(i, r, 0))
  EFFC_INT(arith::ExtUIOp, u(i, r, 0))
  EFFC_INT(arith::TruncIOp, n(i, r, 0))
  EFFC_INT(arith::IndexCastOp, i.operandWidth == 1 ? -n(i, r, 0) : n(i, r, 0))
  EFFC_INT(arith::IndexCastUIOp, u(i, r, 0))
  EFFC_INT(arith::CmpIOp, compareIntegers(i, r))
  .Case([&](arith::SelectOp) {
    apply = [](const Instruction<T> &i, Scalar<T> *r) {
      r[i.result] = r[i.operands[n(i, r, 0) ? 1 : 2]];
    };
  });
}

template <typename T>
static void selectMath(Operation *op, typename Instruction<T>::Apply &apply) {
  llvm::TypeSwitch<Operation *>(op)
  EFFC_FLOAT(math::AbsFOp, std::fabs(f(i, r, 0)))
  EFFC_FLOAT(math::AcosOp, std::acos(f(i, r, 0)))
  EFFC_FLOAT(math::AcoshOp, std::acosh(f(i, r, 0)))
  EFFC_FLOAT(math::AsinOp, std::asin(f(i, r, 0)))
  EFFC_FLOAT(math::AsinhOp, std::asinh(f(i, r, 0)))
  EFFC_FLOAT(math::AtanOp, std::atan(f(i, r, 0)))
  EFFC_FLOAT(math::Atan2Op, std::atan2(f(i, r, 0), f(i, r, 1)))
  EFFC_FLOAT(math::AtanhOp, std::atanh(f(i, r, 0)))
  EFFC_FLOAT(math::CbrtOp, std::cbrt(f(i, r, 0)))
  EFFC_FLOAT(math::CeilOp, std::ceil(f(i, r, 0)))
  EFFC_FLOAT(math::CopySignOp, std::copysign(f(i, r, 0), f(i, r, 1)))
  EFFC_FLOAT(math::CosOp, std::cos(f(i, r, 0)))
  EFFC_FLOAT(math::CoshOp, std::cosh(f(i, r, 0)))
  EFFC_FLOAT(math::ErfOp, std::erf(f(i, r, 0)))
  EFFC_FLOAT(math::ErfcOp, std::erfc(f(i, r, 0)))
  EFFC_FLOAT(math::ExpOp, std::exp(f(i, r, 0)))
  EFFC_FLOAT(math::Exp2Op, std::exp2(f(i, r, 0)))
  EFFC_FLOAT(math::ExpM1Op, std::expm1(f(i, r, 0)))
  EFFC_FLOAT(math::FloorOp, std::floor(f(i, r, 0)))
  EFFC_FLOAT(math::FmaOp, std::fma(f(i, r, 0), f(i, r, 1), f(i, r, 2)))
  EFFC_FLOAT(math::FPowIOp, std::pow(f(i, r, 0), T(n(i, r, 1))))
  EFFC_FLOAT(math::LogOp, std::log(f(i, r, 0)))
  EFFC_FLOAT(math::Log10Op, std::log10(f(i, r, 0)))
  EFFC_FLOAT(math::Log1pOp, std::log1p(f(i, r, 0)))
  EFFC_FLOAT(math::Log2Op, std::log2(f(i, r, 0)))
  EFFC_FLOAT(math::PowFOp, std::pow(f(i, r, 0), f(i, r, 1)))
  EFFC_FLOAT(math::RoundOp, std::round(f(i, r, 0)))
  EFFC_FLOAT(math::RoundEvenOp, std::nearbyint(f(i, r, 0)))
  EFFC_FLOAT(math::RsqrtOp, T(1) / std::sqrt(f(i, r, 0)))
  EFFC_FLOAT(math::SinOp, std::sin(f(i, r, 0)))
  EFFC_FLOAT(math::SinhOp, std::sinh(f(i, r, 0)))
  EFFC_FLOAT(math::SqrtOp, std::sqrt(f(i, r, 0)))
  EFFC_FLOAT(math::TanOp, std::tan(f(i, r, 0)))
  EFFC_FLOAT(math::TanhOp, std::tanh(f(i, r, 0)))
  EFFC_FLOAT(math::TruncOp, std::trunc(f(i, r, 0)))
  EFFC_INT(math::AbsIOp, n(i, r, 0) < 0 ? -uint64_t(n(i, r, 0)) : n(i, r, 0))
  EFFC_INT(math::IsNaNOp, std::isnan(f(i, r, 0)))
  EFFC_INT(math::IsInfOp, std::isinf(f(i, r, 0)))
  EFFC_INT(math::IsFiniteOp, std::isfinite(f(i, r, 0)));
}
// clang-format on
#undef EFFC_FLOAT
#undef EFFC_INT

static unsigned getWidth(Type type) {
  type = getElementTypeOrSelf(type);
  return type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
}

template <typename T>
bool selectInstruction(Operation *op, Instruction<T> &instruction) {
  if (auto bits = dyn_cast<arith::BitcastOp>(op))
    selectBitcast<T>(bits, instruction.apply);
  if (!instruction.apply)
    selectArithFloat<T>(op, instruction.apply);
  if (!instruction.apply)
    selectArithInteger<T>(op, instruction.apply);
  if (!instruction.apply)
    selectMath<T>(op, instruction.apply);
  if (!instruction.apply)
    return false;
  instruction.operandWidth = getWidth(op->getOperand(0).getType());
  instruction.resultWidth = getWidth(op->getResult(0).getType());
  if (auto compare = dyn_cast<arith::CmpFOp>(op))
    instruction.detail = int64_t(compare.getPredicate());
  if (auto compare = dyn_cast<arith::CmpIOp>(op))
    instruction.detail = int64_t(compare.getPredicate());
  return true;
}

template bool selectInstruction(Operation *, Instruction<float> &);
template bool selectInstruction(Operation *, Instruction<double> &);

} // namespace effc::reference
