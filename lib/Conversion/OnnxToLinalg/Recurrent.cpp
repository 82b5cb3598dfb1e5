//===- Recurrent.cpp - RNN, GRU and LSTM, step by step --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

using namespace mlir;

namespace effc::lower {

/// Most steps that are written out.
static constexpr int64_t mostSteps = 1024;

namespace {
enum class Cell { RNN, GRU, LSTM };

/// One node: sequences [T, B, I], D directions, hidden size H.
class Recurrence {
public:
  Recurrence(Lowering &l, Cell cell) : l(l), cell(cell) {}
  Results lower();

private:
  struct State {
    Value h, c;
  };
  /// Of one direction.
  struct Weights {
    Value r;             // [gates * H, H]
    Value inputs;        // [T, B, gates * H], all inputs by W, biases added
    Value recurrentBias; // [gates * H], of the GRU's last gate alone
    Value peepholes;     // [3 * H], or null
    unsigned activation; // the first of its activations
  };

  bool read();
  bool readActivations();
  State step(const Weights &w, int64_t t, State old);
  State stepRnn(const Weights &w, Value x, State old);
  State stepGru(const Weights &w, Value x, State old);
  State stepLstm(const Weights &w, Value x, State old);
  Weights direction(int64_t d);

  int64_t gates() const {
    return cell == Cell::RNN ? 1 : cell == Cell::GRU ? 3 : 4;
  }
  Value add(Value a, Value b) {
    return l.map(a, b,
                 [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
  }
  Value mul(Value a, Value b) {
    return l.map(a, b,
                 [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); });
  }
  /// Gate `i` of values for all gates.
  Value gate(Value x, int64_t i) {
    return l.sliceAxis(x, Lowering::rank(x) - 1, i * hidden, hidden);
  }
  /// `h R^T` for gates [first, first + count).
  Value byR(Value h, Value r, int64_t first, int64_t count) {
    r = l.sliceAxis(r, 0, first * hidden, count * hidden);
    return l.contract({batch, count * hidden}, {hidden},
                      {{h, {l.dim(0), l.dim(2)}}, {r, {l.dim(1), l.dim(2)}}},
                      element);
  }
  Value activate(unsigned which, Value x);
  /// Part `d` of the first dimension, which disappears.
  Value part(Value x, int64_t d) {
    SmallVector<int64_t> shape(Lowering::shape(x).drop_front());
    return l.reshape(l.sliceAxis(x, 0, d, 1), shape);
  }
  Value initial(unsigned operand, int64_t d) {
    return l.in(operand)
               ? part(batchFirst ? l.transpose(l.in(operand), {1, 0, 2})
                                 : l.in(operand),
                      d)
               : l.filled({batch, hidden}, element, 0);
  }

  Lowering &l;
  Cell cell;
  Value x;
  Type element;
  int64_t steps = 0, batch = 0, inputs = 0, hidden = 0, directions = 1;
  bool batchFirst = false, startsBackward = false;
  double clip = 0;
  SmallVector<std::string> activations;
};
} // namespace

bool Recurrence::readActivations() {
  SmallVector<std::string> usual =
      cell == Cell::RNN   ? SmallVector<std::string>{"Tanh"}
      : cell == Cell::GRU ? SmallVector<std::string>{"Sigmoid", "Tanh"}
                          : SmallVector<std::string>{"Sigmoid", "Tanh", "Tanh"};
  if (auto names = l.node->getAttrOfType<ArrayAttr>("activations")) {
    for (Attribute name : names)
      if (auto text = dyn_cast<StringAttr>(name))
        activations.push_back(text.str());
  } else {
    for (int64_t d = 0; d < directions; ++d)
      activations.append(usual);
  }
  static constexpr StringLiteral known[] = {"Sigmoid", "Tanh", "Relu",
                                            "Softsign", "Softplus"};
  return activations.size() == usual.size() * size_t(directions) &&
         llvm::all_of(activations, [](const std::string &name) {
           return llvm::is_contained(known, StringRef(name));
         });
}

/// Reads attributes and shapes; false when they do not fit.
bool Recurrence::read() {
  x = l.in(0);
  Value w = l.in(1), r = l.in(2);
  if (!x || !w || !r || !Lowering::isFloat(x) || Lowering::rank(x) != 3 ||
      Lowering::rank(w) != 3 || Lowering::rank(r) != 3)
    return false;
  batchFirst = l.node.getInt("layout", 0) == 1;
  StringRef direction = l.node.getString("direction", "forward");
  startsBackward = direction == "reverse";
  directions = direction == "bidirectional" ? 2 : 1;
  clip = l.node.getFloat("clip", 0);
  if (batchFirst)
    x = l.transpose(x, {1, 0, 2});
  element = Lowering::elementOf(x);
  steps = Lowering::shape(x)[0];
  batch = Lowering::shape(x)[1];
  inputs = Lowering::shape(x)[2];
  hidden = Lowering::shape(r)[2];
  SmallVector<int64_t> wShape{directions, gates() * hidden, inputs},
      rShape{directions, gates() * hidden, hidden},
      bShape{directions, 2 * gates() * hidden}, pShape{directions, 3 * hidden},
      state{directions, batch, hidden};
  if (batchFirst)
    state = {batch, directions, hidden};
  auto fits = [&](unsigned i, ArrayRef<int64_t> shape) {
    return !l.in(i) || Lowering::shape(l.in(i)) == shape;
  };
  bool isLstm = cell == Cell::LSTM;
  return steps > 0 && steps <= mostSteps && batch > 0 && hidden > 0 &&
         Lowering::shape(w) == ArrayRef<int64_t>(wShape) &&
         Lowering::shape(r) == ArrayRef<int64_t>(rShape) && fits(3, bShape) &&
         fits(4, {batch}) && fits(5, state) && (!isLstm || fits(6, state)) &&
         (!isLstm || fits(7, pShape)) && readActivations();
}

Value Recurrence::activate(unsigned which, Value value) {
  StringRef name = activations[which];
  return l.map(value, [&](const Expr &e, ValueRange v) -> Value {
    Value x = v[0];
    Type type = x.getType();
    if (clip > 0)
      x = e.max(e.min(x, e.constant(type, clip)), e.constant(type, -clip));
    if (name == "Sigmoid")
      return e.sigmoid(x);
    if (name == "Relu")
      return e.max(x, e.constant(type, 0));
    if (name == "Softsign")
      return e.div(x, e.plus(e.abs(x), 1));
    if (name == "Softplus")
      return e.softplus(x);
    return e.op<math::TanhOp>(x);
  });
}

Recurrence::Weights Recurrence::direction(int64_t d) {
  Weights w;
  w.r = part(l.in(2), d);
  w.activation = unsigned(d * int64_t(activations.size()) / directions);
  int64_t width = gates() * hidden;
  w.inputs = l.contract({steps, batch, width}, {inputs},
                        {{x, {l.dim(0), l.dim(1), l.dim(3)}},
                         {part(l.in(1), d), {l.dim(2), l.dim(3)}}},
                        element);
  if (l.in(3)) {
    Value bias = part(l.in(3), d);
    Value wb = l.sliceAxis(bias, 0, 0, width),
          rb = l.sliceAxis(bias, 0, width, width);
    if (cell == Cell::GRU) {
      // The reset gate may scale the last gate's recurrent bias.
      w.recurrentBias = gate(rb, 2);
      rb = l.concat(
          {l.sliceAxis(rb, 0, 0, 2 * hidden), l.filled({hidden}, element, 0)},
          0);
    }
    w.inputs = add(w.inputs, add(wb, rb));
  }
  if (cell == Cell::LSTM && l.in(7))
    w.peepholes = part(l.in(7), d);
  return w;
}

/// H = f(x + h R).
Recurrence::State Recurrence::stepRnn(const Weights &w, Value x, State old) {
  return {activate(w.activation, add(x, byR(old.h, w.r, 0, 1))), {}};
}

/// z, r = f(..); n = g(x + (r h) R) or g(x + r (h R)); H = (1 - z) n + z h.
Recurrence::State Recurrence::stepGru(const Weights &w, Value x, State old) {
  Value zr = activate(w.activation, add(l.sliceAxis(x, 1, 0, 2 * hidden),
                                        byR(old.h, w.r, 0, 2)));
  Value z = gate(zr, 0), r = gate(zr, 1), inner;
  if (l.node.getInt("linear_before_reset", 0)) {
    inner = byR(old.h, w.r, 2, 1);
    if (w.recurrentBias)
      inner = add(inner, w.recurrentBias);
    inner = mul(r, inner);
  } else {
    inner = byR(mul(r, old.h), w.r, 2, 1);
    if (w.recurrentBias)
      inner = add(inner, w.recurrentBias);
  }
  Value n = activate(w.activation + 1, add(gate(x, 2), inner));
  Value h = l.map(element, {z, n, old.h}, [](const Expr &e, ValueRange v) {
    Value rest = e.sub(e.constant(v[0].getType(), 1), v[0]);
    return e.add(e.mul(rest, v[1]), e.mul(v[0], v[2]));
  });
  return {h, {}};
}

/// i, f = f(.. + P c); C = f c + i g(..); o = f(.. + P C); H = o h(C). Gates
/// are in the order i, o, f, c, peepholes i, o, f.
Recurrence::State Recurrence::stepLstm(const Weights &w, Value x, State old) {
  Value sums = add(x, byR(old.h, w.r, 0, 4));
  auto peeped = [&](int64_t i, Value c) {
    Value sum = gate(sums, i);
    return w.peepholes ? add(sum, mul(c, gate(w.peepholes, i))) : sum;
  };
  Value in = activate(w.activation, peeped(0, old.c)), forget;
  if (l.node.getInt("input_forget", 0))
    forget = l.map(in, [](const Expr &e, ValueRange v) {
      return e.sub(e.constant(v[0].getType(), 1), v[0]);
    });
  else
    forget = activate(w.activation, peeped(2, old.c));
  Value fresh = activate(w.activation + 1, gate(sums, 3));
  Value c = add(mul(forget, old.c), mul(in, fresh));
  Value out = activate(w.activation, peeped(1, c));
  double unclipped = std::exchange(clip, 0);
  Value h = mul(out, activate(w.activation + 2, c));
  clip = unclipped;
  return {h, c};
}

Recurrence::State Recurrence::step(const Weights &w, int64_t t, State old) {
  Value x = part(w.inputs, t);
  State next = cell == Cell::RNN   ? stepRnn(w, x, old)
               : cell == Cell::GRU ? stepGru(w, x, old)
                                   : stepLstm(w, x, old);
  Value lengths = l.in(4);
  if (!lengths)
    return next;
  // Behind its end a sequence keeps its state.
  auto keep = [&](Value fresh, Value before) {
    if (!fresh)
      return fresh;
    return l.map(element, {l.reshape(lengths, {batch, 1}), fresh, before},
                 [&](const Expr &e, ValueRange v) {
                   Value goesOn = e.compare(Compare::GT, v[0],
                                            e.integer(v[0].getType(), t));
                   return e.select(goesOn, v[1], v[2]);
                 });
  };
  return {keep(next.h, old.h), keep(next.c, old.c)};
}

Results Recurrence::lower() {
  if (!read())
    return failure();
  // Of each direction: the outputs [T, B, H], the last states.
  SmallVector<Value> all, lastH, lastC;
  for (int64_t d = 0; d < directions; ++d) {
    Weights w = direction(d);
    State state{initial(5, d), cell == Cell::LSTM ? initial(6, d) : Value()};
    bool backward = startsBackward || d == 1;
    SmallVector<Value> outputs;
    for (int64_t i = 0; i < steps; ++i) {
      int64_t t = backward ? steps - 1 - i : i;
      state = step(w, t, state);
      Value y = state.h;
      if (Value lengths = l.in(4))
        y = l.map(
            element, {l.reshape(lengths, {batch, 1}), y},
            [&](const Expr &e, ValueRange v) {
              Value goesOn =
                  e.compare(Compare::GT, v[0], e.integer(v[0].getType(), t));
              return e.select(goesOn, v[1], e.constant(v[1].getType(), 0));
            });
      outputs.push_back(l.reshape(y, {1, 1, batch, hidden}));
    }
    if (backward)
      std::reverse(outputs.begin(), outputs.end());
    all.push_back(l.concat(outputs, 0));
    lastH.push_back(l.reshape(state.h, {1, batch, hidden}));
    if (state.c)
      lastC.push_back(l.reshape(state.c, {1, batch, hidden}));
  }
  Value y = l.concat(all, 1), h = l.concat(lastH, 0),
        c = lastC.empty() ? Value() : l.concat(lastC, 0);
  if (batchFirst) {
    y = l.transpose(y, {2, 0, 1, 3});
    h = l.transpose(h, {1, 0, 2});
    if (c)
      c = l.transpose(c, {1, 0, 2});
  }
  return SmallVector<Value>{y, h, c};
}

template <Cell cell> static Results recurrent(Lowering &l) {
  return Recurrence(l, cell).lower();
}

void addRecurrent(Table &t) {
  t["RNN"] = recurrent<Cell::RNN>;
  t["GRU"] = recurrent<Cell::GRU>;
  t["LSTM"] = recurrent<Cell::LSTM>;
}

} // namespace effc::lower
