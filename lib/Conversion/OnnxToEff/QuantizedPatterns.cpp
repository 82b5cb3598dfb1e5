//===- QuantizedPatterns.cpp - linears that a file has quantised ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Operators on integers whose weights are constants become linears and tables
/// on the file's own integers. What surrounds them (QDQ pairs between other
/// operators, QLinearAdd, ...) is lowered as it is written.
///
//===----------------------------------------------------------------------===//

#include "Linear.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

static StringRef nameOf(Value v) {
  auto constant = v.getDefiningOp<onnx::ConstantOp>();
  return constant ? constant.getName() : StringRef();
}

/// Emits a matrix of integers under the name of the value that holds them.
static std::function<Value(Emitter &)> emitMatrix(IntegerMatrix m, Value named,
                                                  unsigned bits = 4) {
  auto shared = std::make_shared<IntegerMatrix>(std::move(m));
  std::string name = nameOf(named).str();
  return [=](Emitter &e) {
    return e.integers(*shared, name.empty() ? "weight" : name, bits);
  };
}

//===----------------------------------------------------------------------===//
// Packed weights and tables
//===----------------------------------------------------------------------===//

static std::optional<Match> matMulNBits(Graph &g, onnx::NodeOp root) {
  if (!root.is("MatMulNBits", "com.microsoft") ||
      g.isConstant(root.getInput(0)))
    return std::nullopt;
  std::string why;
  Linear p;
  // Weights that come in are computed with as they are.
  if (!g.constant(root.getInput(1)) || !g.constant(root.getInput(2)))
    return std::nullopt;
  auto m = IntegerMatrix::readNBits(g, root, why, p.order);
  if (!m) {
    if (!why.empty())
      g.note(root, why);
    return std::nullopt;
  }
  if (Value bias = root.getInput(5)) {
    auto numbers = g.numbers(bias);
    if (!numbers || int64_t(numbers->size()) != m->n) {
      g.note(root, "the bias must be N constants");
      return std::nullopt;
    }
    p.numbers = std::move(*numbers);
  }
  p.out = root->getResult(0);
  p.x = root.getInput(0);
  p.n = m->n;
  p.k = m->k;
  p.makeWeight = emitMatrix(std::move(*m), root.getInput(1));
  return linearMatch(p, {root});
}

static std::optional<Match> packedTable(Graph &g, onnx::NodeOp root) {
  if (!root.is("GatherBlockQuantized", "com.microsoft"))
    return std::nullopt;
  Value ids = root.getInput(1);
  if (!areTokenIds(g, ids)) {
    g.note(root, "its indices are not token ids that come in");
    return std::nullopt;
  }
  std::string why;
  auto m = IntegerMatrix::readTable(g, root, why);
  if (!m) {
    g.note(root, why);
    return std::nullopt;
  }
  int64_t width = m->k;
  return embedMatch(root, ids, width,
                    emitMatrix(std::move(*m), root.getInput(0)));
}

/// `q` as `[n, k]` with a scale and zero point for each n, or one.
static std::optional<IntegerMatrix> readRows(Graph &g, Value q, bool rows,
                                             Value scale, Value zero) {
  auto element = dyn_cast<IntegerType>(Graph::elementType(q));
  if (!g.constant(q) || Graph::rank(q) != 2 || !element ||
      element.getWidth() != 8)
    return std::nullopt;
  View w = g.view(q);
  if (!rows)
    w.dims.transpose({1, 0});
  IntegerMatrix m;
  m.n = w.dims.size(0);
  m.k = w.dims.size(1);
  auto numbers = g.numbers(w), scales = g.numbers(scale);
  auto zeros = zero ? g.numbers(zero) : std::vector<double>{0};
  auto fits = [&](const std::optional<std::vector<double>> &values) {
    return values && (values->size() == 1 || int64_t(values->size()) == m.n) &&
           llvm::all_of(*values, [](double x) { return std::isfinite(x); });
  };
  if (!numbers || !fits(scales) || !fits(zeros))
    return std::nullopt;
  double half = element.isUnsigned() ? 128 : 0;
  for (double x : *numbers)
    m.q.push_back(int8_t(x - half));
  for (int64_t i = 0; i < m.n; ++i) {
    m.scales.push_back(float((*scales)[scales->size() == 1 ? 0 : i]));
    m.zeros.push_back(float((*zeros)[zeros->size() == 1 ? 0 : i] - half));
  }
  m.settle(8);
  return m;
}

/// DequantizeLinear of rows that were gathered from a table of integers.
static std::optional<Match> gatheredTable(Graph &g, onnx::NodeOp root) {
  if (!root.is("DequantizeLinear"))
    return std::nullopt;
  auto gather = g.node(root.getInput(0), "Gather");
  if (!gather || Graph::axis(gather, 0, 2) != 0 ||
      !areTokenIds(g, gather.getInput(1)) || !g.scalar(root.getInput(1)) ||
      (root.getInput(2) && !g.scalar(root.getInput(2))))
    return std::nullopt;
  Value table = gather.getInput(0);
  auto m = readRows(g, table, true, root.getInput(1), root.getInput(2));
  if (!m)
    return std::nullopt;
  int64_t width = m->k;
  return embedMatch(root, gather.getInput(1), width,
                    emitMatrix(std::move(*m), table));
}

//===----------------------------------------------------------------------===//
// Integer products
//===----------------------------------------------------------------------===//

/// Gives a linear a weight of rows of 8-bit integers. Sums of products with
/// zero points stay within 32 bits up to 33,000 inputs.
static bool setRows(Graph &g, Linear &p, Value q, bool rows, Value scale,
                    Value zero) {
  auto m = readRows(g, q, rows, scale, zero);
  if (!m || m->k > 33000)
    return false;
  p.n = m->n;
  p.k = m->k;
  p.makeWeight = emitMatrix(std::move(*m), q, 8);
  return true;
}

/// Lets a linear read integers: those of a DynamicQuantizeLinear, or of a scale
/// and zero point that are constants.
static bool setCodes(Graph &g, Linear &p, Value q, Value scale, Value zero) {
  if (Graph::rank(q) < 1 || g.isConstant(q))
    return false;
  auto dynamic = g.node(q, "DynamicQuantizeLinear");
  if (dynamic && g.strip(q) == dynamic->getResult(0)) {
    if (g.strip(scale) != dynamic->getResult(1) || !zero ||
        g.strip(zero) != dynamic->getResult(2))
      return false;
    p.dynamic = dynamic;
    return true;
  }
  auto known = readCodeScale(g, Graph::elementType(q), scale, zero);
  if (!known)
    return false;
  p.codes = q;
  p.codeScale = *known;
  return true;
}

/// The operand of a product that is the scale of dynamic codes; the other one,
/// a constant, comes second.
static std::optional<std::pair<Value, Value>> splitScale(Graph &g, Value v) {
  auto mul = g.node(v, "Mul");
  auto isDynamic = [&](Value s) {
    auto node = g.node(s, "DynamicQuantizeLinear");
    return node && g.strip(s) == node->getResult(1);
  };
  auto pair = g.either(mul, isDynamic);
  if (!pair || !g.isConstant(pair->second))
    return std::nullopt;
  return pair;
}

/// Mul(Cast(MatMulInteger(q, w, zero, wzero)), Mul(scale, wscale)).
static std::optional<Linear> matMulInteger(Graph &g, onnx::NodeOp root,
                                           SmallVector<Operation *> &covers) {
  if (!root || !root.is("Mul"))
    return std::nullopt;
  auto pair = g.either(root, [&](Value v) { return bool(splitScale(g, v)); });
  if (!pair)
    return std::nullopt;
  auto [scale, weightScale] = *splitScale(g, pair->first);
  auto cast = g.node(pair->second, "Cast");
  auto product =
      cast ? g.node(cast.getInput(0), "MatMulInteger") : onnx::NodeOp();
  Linear p;
  if (!product ||
      !setCodes(g, p, product.getInput(0), scale, product.getInput(2)) ||
      !setRows(g, p, product.getInput(1), false, weightScale,
               product.getInput(3)))
    return std::nullopt;
  p.out = root->getResult(0);
  if (Graph::shape(p.out) != Graph::shape(product->getResult(0)))
    return std::nullopt;
  covers = {product, cast, root};
  return p;
}

static std::optional<Match> integerProduct(Graph &g, onnx::NodeOp root) {
  SmallVector<Operation *> covers;
  auto p = matMulInteger(g, root, covers);
  return p ? std::optional(linearMatch(*p, covers)) : std::nullopt;
}

static std::optional<Match> biasedProduct(Graph &g, onnx::NodeOp root) {
  if (!root.is("Add") || !Graph::isFloat(root->getResult(0)) ||
      Graph::rank(root->getResult(0)) < 1)
    return std::nullopt;
  Value out = root->getResult(0);
  auto pair = g.either(root, [&](Value b) {
    return g.isFeatureVector(b, Graph::shape(out).back());
  });
  if (!pair || !g.strip(pair->second).hasOneUse())
    return std::nullopt;
  SmallVector<Operation *> covers;
  auto p = matMulInteger(g, g.anyNode(pair->second), covers);
  if (!p || Graph::shape(p->out) != Graph::shape(out))
    return std::nullopt;
  p->out = out;
  p->bias = withoutZeros(g, pair->first);
  covers.push_back(root);
  return linearMatch(*p, covers);
}

/// com.microsoft.MatMulIntegerToFloat and DynamicQuantizeMatMul.
static std::optional<Match> toFloat(Graph &g, onnx::NodeOp root) {
  bool isDynamic = root.is("DynamicQuantizeMatMul", "com.microsoft");
  if (!isDynamic && !root.is("MatMulIntegerToFloat", "com.microsoft"))
    return std::nullopt;
  Linear p;
  p.out = root->getResult(0);
  Value bias = root.getInput(isDynamic ? 4 : 6);
  bool fits = isDynamic ? setRows(g, p, root.getInput(1), false,
                                  root.getInput(2), root.getInput(3))
                        : setCodes(g, p, root.getInput(0), root.getInput(2),
                                   root.getInput(4)) &&
                              setRows(g, p, root.getInput(1), false,
                                      root.getInput(3), root.getInput(5));
  if (!fits || (bias && !g.isFeatureVector(bias, p.n)))
    return std::nullopt;
  p.bias = withoutZeros(g, bias);
  if (isDynamic)
    p.dynamic = root;
  return linearMatch(p, {root});
}

//===----------------------------------------------------------------------===//
// Operators with integer results
//===----------------------------------------------------------------------===//

static std::optional<Match> qLinearMatMul(Graph &g, onnx::NodeOp root) {
  if (!root.is("QLinearMatMul"))
    return std::nullopt;
  Linear p;
  p.out = root->getResult(0);
  p.result = readCodeScale(g, Graph::elementType(p.out), root.getInput(6),
                           root.getInput(7));
  if (!p.result ||
      !setCodes(g, p, root.getInput(0), root.getInput(1), root.getInput(2)) ||
      !setRows(g, p, root.getInput(3), false, root.getInput(4),
               root.getInput(5)))
    return std::nullopt;
  return linearMatch(p, {root});
}

/// com.microsoft.QGemm: the bias counts in products of both scales.
static std::optional<Match> qGemm(Graph &g, onnx::NodeOp root) {
  if (!root.is("QGemm", "com.microsoft") || root.getInt("transA", 0) ||
      root.getFloat("alpha", 1) != 1)
    return std::nullopt;
  Linear p;
  p.out = root->getResult(0);
  bool isFloat = Graph::isFloat(p.out);
  if (!isFloat)
    p.result = readCodeScale(g, Graph::elementType(p.out), root.getInput(7),
                             root.getInput(8));
  if ((!isFloat && !p.result) ||
      !setCodes(g, p, root.getInput(0), root.getInput(1), root.getInput(2)) ||
      p.dynamic ||
      !setRows(g, p, root.getInput(3), root.getInt("transB", 0) != 0,
               root.getInput(4), root.getInput(5)))
    return std::nullopt;
  if (Value bias = root.getInput(6)) {
    auto numbers = g.numbers(bias), scales = g.numbers(root.getInput(4));
    if (!numbers || !scales || int64_t(numbers->size()) != p.n)
      return std::nullopt;
    for (auto [i, x] : llvm::enumerate(*numbers))
      p.numbers.push_back(x * p.codeScale.scale *
                          (*scales)[scales->size() == 1 ? 0 : i]);
  }
  return linearMatch(p, {root});
}

/// Whether a linear reads these integers.
static bool feedsLinear(Graph &g, Value q) {
  return llvm::any_of(q.getUsers(), [&](Operation *user) {
    auto node = dyn_cast<onnx::NodeOp>(user);
    if (!node || node.getInput(0) != q)
      return false;
    if (node.is("QLinearMatMul") || node.is("QGemm", "com.microsoft"))
      return bool(g.constant(node.getInput(3)));
    if (node.is("MatMulIntegerToFloat", "com.microsoft"))
      return bool(g.constant(node.getInput(1)));
    if (!node.is("DequantizeLinear"))
      return false;
    return llvm::any_of(node->getResult(0).getUsers(), [&](Operation *reader) {
      auto product = dyn_cast<onnx::NodeOp>(reader);
      return product && (product.is("MatMul") || product.is("Gemm")) &&
             product.getInput(0) == node->getResult(0) &&
             g.dequantized(product.getInput(1));
    });
  });
}

static std::optional<Match> quantize(Graph &g, onnx::NodeOp root) {
  if (!root.is("QuantizeLinear"))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  auto scale = readCodeScale(g, Graph::elementType(out), root.getInput(1),
                             root.getInput(2));
  if (!scale || !Graph::isFloat(x) || Graph::rank(x) < 1 ||
      !feedsLinear(g, out))
    return std::nullopt;
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    Value s = t ? e.codeScale(scale->scale, scale->zero) : Value();
    if (!s)
      return failure();
    e.defineCodes(out, e.quantize(e.activations(t, out), s));
    return success();
  };
  return m;
}

void effc::raise::addQuantizedPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(),
                  {matMulNBits, packedTable, gatheredTable, biasedProduct,
                   integerProduct, toFloat, qLinearMatMul, qGemm, quantize});
}
