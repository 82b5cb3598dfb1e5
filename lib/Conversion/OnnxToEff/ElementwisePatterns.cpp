//===- ElementwisePatterns.cpp - float arithmetic in any layout -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Arithmetic between the parts that patterns recognise, computed in the layout
/// that its operands have. Integers, comparisons and rarer functions take the
/// literal way.
///
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

using ScalarBuilder = Value (*)(OpBuilder &, Location, ValueRange);

template <typename Op>
static Value op1(OpBuilder &b, Location l, ValueRange v) {
  return Op::create(b, l, v[0]);
}
template <typename Op>
static Value op2(OpBuilder &b, Location l, ValueRange v) {
  return Op::create(b, l, v[0], v[1]);
}

static Value sigmoid(OpBuilder &b, Location l, ValueRange v) {
  Value e = math::ExpOp::create(b, l, arith::NegFOp::create(b, l, v[0]));
  Value one = Emitter::constant(b, l, v[0].getType(), 1);
  return arith::DivFOp::create(b, l, one, arith::AddFOp::create(b, l, one, e));
}
static Value reciprocal(OpBuilder &b, Location l, ValueRange v) {
  return arith::DivFOp::create(b, l, Emitter::constant(b, l, v[0].getType(), 1),
                               v[0]);
}
static Value relu(OpBuilder &b, Location l, ValueRange v) {
  return arith::MaximumFOp::create(b, l, v[0],
                                   Emitter::constant(b, l, v[0].getType(), 0));
}
static Value square(OpBuilder &b, Location l, ValueRange v) {
  return arith::MulFOp::create(b, l, v[0], v[0]);
}
static Value cube(OpBuilder &b, Location l, ValueRange v) {
  return arith::MulFOp::create(b, l, arith::MulFOp::create(b, l, v[0], v[0]),
                               v[0]);
}

namespace {
struct Elementwise {
  StringRef name;
  unsigned operands;
  ScalarBuilder build;
};
} // namespace

static const Elementwise table[] = {
    {"Abs", 1, op1<math::AbsFOp>},
    {"Cos", 1, op1<math::CosOp>},
    {"Erf", 1, op1<math::ErfOp>},
    {"Exp", 1, op1<math::ExpOp>},
    {"Log", 1, op1<math::LogOp>},
    {"Neg", 1, op1<arith::NegFOp>},
    {"Reciprocal", 1, reciprocal},
    {"Relu", 1, relu},
    {"Sigmoid", 1, sigmoid},
    {"Sin", 1, op1<math::SinOp>},
    {"Sqrt", 1, op1<math::SqrtOp>},
    {"Tanh", 1, op1<math::TanhOp>},
    {"Add", 2, op2<arith::AddFOp>},
    {"Sub", 2, op2<arith::SubFOp>},
    {"Mul", 2, op2<arith::MulFOp>},
    {"Div", 2, op2<arith::DivFOp>},
    {"Max", 2, op2<arith::MaximumFOp>},
    {"Min", 2, op2<arith::MinimumFOp>},
};

static std::optional<Match> elementwise(Graph &g, onnx::NodeOp root) {
  if (!root.getDomain().empty() || root->getNumResults() != 1)
    return std::nullopt;
  Value out = root->getResult(0);
  SmallVector<Value> operands;
  for (unsigned i = 0; i < root->getNumOperands(); ++i) {
    Value v = root.getInput(i);
    if (!v || !Graph::isFloat(v))
      return std::nullopt;
    operands.push_back(v);
  }
  ScalarBuilder build = nullptr;
  if (root.is("Pow") && operands.size() == 2) {
    build = g.isScalar(operands[1], 2)     ? square
            : g.isScalar(operands[1], 3)   ? cube
            : g.isScalar(operands[1], 0.5) ? op1<math::SqrtOp>
                                           : nullptr;
    operands.pop_back();
    if (Graph::shape(operands[0]) != Graph::shape(out))
      return std::nullopt;
  } else {
    for (const Elementwise &e : table)
      if (e.name == root.getOpType() && e.operands == operands.size())
        build = e.build;
  }
  if (!build)
    return std::nullopt;
  Match m;
  m.needs = operands;
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    e.map(out, operands, build);
    return success();
  };
  return m;
}

void effc::raise::addElementwisePatterns(std::vector<RaisePattern> &patterns) {
  patterns.push_back(elementwise);
}
