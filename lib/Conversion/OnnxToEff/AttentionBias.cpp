//===- AttentionBias.cpp - what is added to scores ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "AttentionBias.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

//===----------------------------------------------------------------------===//
// Matching
//===----------------------------------------------------------------------===//

/// Whether a product of matrices is under reshapes, sums and functions of one
/// operand: the way from probabilities back to queries and keys.
static bool hasProduct(Graph &g, Value v, unsigned depth = 0) {
  auto node = g.anyNode(v);
  if (!node || depth > 12 || g.isConstant(v))
    return false;
  if (node.is("MatMul"))
    return !g.isConstant(node.getInput(0)) && !g.isConstant(node.getInput(1));
  if (node.is("Reshape") || node.is("Tanh"))
    return hasProduct(g, node.getInput(0), depth + 1);
  if (node.is("Add") || node.is("Mul") || node.is("Div"))
    return hasProduct(g, node.getInput(0), depth + 1) ||
           hasProduct(g, node.getInput(1), depth + 1);
  if (node.is("Where"))
    return hasProduct(g, node.getInput(1), depth + 1) ||
           hasProduct(g, node.getInput(2), depth + 1);
  return false;
}

/// The one number that a constant holds, however often.
static std::optional<double> splatOf(Graph &g, Value v) {
  constexpr int64_t most = int64_t(1) << 24;
  if (!v || !g.isConstant(v) || numElements(Graph::shape(v)) > most)
    return std::nullopt;
  auto numbers = g.numbers(v);
  bool same =
      numbers && !numbers->empty() &&
      llvm::all_of(*numbers, [&](double x) { return x == numbers->front(); });
  return same ? std::optional(numbers->front()) : std::nullopt;
}

std::optional<BiasPart> effc::raise::makeBiasPart(Graph &g, Value value,
                                                  ArrayRef<int64_t> current,
                                                  ArrayRef<int64_t> shape) {
  BiasPart part{value, g.view(value)};
  // Where(seen, 0, low), once for all that read it.
  if (auto where = part.view.base.getDefiningOp<onnx::NodeOp>();
      where && where.is("Where") && Graph::isFloat(value)) {
    auto a = splatOf(g, where.getInput(1)), b = splatOf(g, where.getInput(2));
    View condition = g.view(where.getInput(0));
    condition.dims.expand(Graph::shape(part.view.base));
    auto composed = part.view.dims.compose(condition.dims);
    if (a && b && (*a == 0) != (*b == 0) && std::min(*a, *b) <= -1e4 &&
        composed) {
      part.hidden = *b == 0;
      part.low = part.hidden ? *a : *b;
      part.value = where.getInput(0);
      part.view = {condition.base, *composed};
    }
  }
  Strided &dims = part.view.dims;
  if (dims.rank() > current.size())
    return std::nullopt;
  dims.expand(current);
  if (dims.shape() != SmallVector<int64_t>(current) || !dims.reshape(shape))
    return std::nullopt;
  auto repeats = [](Factor f) { return f.stride == 0; };
  for (unsigned d : {1u, 2u})
    if (llvm::all_of(dims.dims[d], repeats))
      dims.dims[d].clear();
  auto &batch = dims.dims[0];
  batch.erase(batch.begin(), llvm::find_if_not(batch, repeats));
  return part;
}

BareScores effc::raise::takeBiases(Graph &g, Value scores,
                                   ArrayRef<int64_t> shape) {
  BareScores bare;
  SmallVector<Operation *> pending; // reshapes that count when a sum follows
  Value v = scores;
  bare.scores = v;
  while (auto node = g.anyNode(v)) {
    ArrayRef<int64_t> current = Graph::shape(node->getResult(0));
    std::optional<BiasPart> part;
    if (node.is("Reshape")) {
      pending.push_back(node);
      v = node.getInput(0);
      if (Graph::rank(v) < 3)
        break;
      continue;
    }
    if (node.is("Add")) {
      auto pair = g.either(node, [&](Value s) { return hasProduct(g, s); });
      if (!pair || Graph::shape(pair->first) != current)
        break;
      part = makeBiasPart(g, pair->second, current, shape);
      v = pair->first;
    } else if (node.is("Where")) {
      bool first = hasProduct(g, node.getInput(1));
      Value s = node.getInput(first ? 1 : 2);
      auto low = g.scalar(node.getInput(first ? 2 : 1));
      if (!hasProduct(g, s) || !low || *low > -1e4 ||
          Graph::shape(s) != current)
        break;
      part = makeBiasPart(g, node.getInput(0), current, shape);
      if (part) {
        part->hidden = !first;
        part->low = *low;
      }
      v = s;
    }
    if (!part)
      break;
    bare.parts.push_back(*part);
    bare.covers.append(pending);
    pending.clear();
    bare.covers.push_back(node);
    bare.scores = v;
  }
  // A reshape below the last sum belongs to the scores' own layout.
  return bare;
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

SmallVector<int64_t> effc::raise::shapeOfParts(ArrayRef<BiasPart> parts) {
  SmallVector<int64_t> out{1, 1, 1, 1};
  for (const BiasPart &part : parts)
    for (auto [have, size] : llvm::zip(out, part.view.dims.shape()))
      have = std::max(have, size);
  return out;
}

static bool isBoolean(const BiasPart &part) {
  return !Graph::isFloat(part.value);
}

std::optional<std::vector<double>>
effc::raise::sumOfConstants(Graph &g, ArrayRef<BiasPart> parts) {
  SmallVector<int64_t> shape = shapeOfParts(parts);
  std::vector<double> sum(numElements(shape), 0);
  for (const BiasPart &part : parts) {
    if (!g.isConstant(part.view.base))
      return std::nullopt;
    auto numbers = g.numbers(part.view);
    if (!numbers)
      return std::nullopt;
    // What repeats along a dimension has one element there; the batch repeats
    // from outside.
    SmallVector<int64_t> own = part.view.dims.shape();
    size_t i = 0;
    for (int64_t b = 0; b < shape[0]; ++b)
      for (int64_t h = 0; h < shape[1]; ++h)
        for (int64_t t = 0; t < shape[2]; ++t) {
          int64_t row =
              ((b % own[0]) * own[1] + h % own[1]) * own[2] + t % own[2];
          for (int64_t j = 0; j < shape[3]; ++j, ++i) {
            double x = (*numbers)[row * shape[3] + j];
            if (isBoolean(part))
              x = (x != 0) == part.hidden ? part.low : 0;
            sum[i] += x;
          }
        }
  }
  for (double &x : sum) // as the scores have it
    x = static_cast<float>(x);
  return sum;
}

/// The sum, computed in each call.
static Value computedBias(Emitter &e, ArrayRef<BiasPart> parts,
                          ArrayRef<int64_t> shape) {
  OpBuilder &b = e.builder;
  // The batch in two dimensions where parts repeat in it.
  int64_t inner = shape[0];
  for (const BiasPart &part : parts)
    if (int64_t size = part.view.dims.size(0); size > 1)
      inner = std::min(inner, size);
  SmallVector<int64_t> split{shape[0] / inner, inner, shape[1], shape[2],
                             shape[3]};
  SmallVector<Value> tensors;
  SmallVector<AffineMap> maps;
  for (const BiasPart &part : parts) {
    Value t = e.tensor(e.lower(part.view));
    if (!t)
      return {};
    SmallVector<int64_t> own = part.view.dims.shape();
    if (own[0] != 1 && own[0] != inner && own[0] != shape[0])
      return {};
    while (auto *op = t.getDefiningOp()) { // one reshape will do
      if (!isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
        break;
      t = op->getOperand(0);
    }
    bool outer = own[0] == shape[0] && shape[0] != inner;
    t = e.reshape(t, {outer ? split[0] : 1, own[0] == 1 ? 1 : inner, own[1],
                      own[2], own[3]});
    SmallVector<AffineExpr> exprs;
    for (auto [d, size] :
         llvm::enumerate(cast<RankedTensorType>(t.getType()).getShape()))
      exprs.push_back(size == 1 && split[d] != 1
                          ? getAffineConstantExpr(0, b.getContext())
                          : getAffineDimExpr(d, b.getContext()));
    tensors.push_back(t);
    maps.push_back(AffineMap::get(5, 0, exprs, b.getContext()));
  }
  maps.push_back(AffineMap::getMultiDimIdentityMap(5, b.getContext()));
  Type f32 = b.getF32Type();
  SmallVector<utils::IteratorType> iterators(5, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      b, e.loc, e.f32(split), tensors, e.empty(split, f32), maps, iterators,
      [&](OpBuilder &body, Location loc, ValueRange args) {
        Value sum;
        for (auto [part, x] : llvm::zip(parts, args)) {
          Value term = x;
          if (isBoolean(part)) {
            Value low = Emitter::constant(body, loc, f32, part.low),
                  zero = Emitter::constant(body, loc, f32, 0);
            term =
                arith::SelectOp::create(body, loc, x, part.hidden ? low : zero,
                                        part.hidden ? zero : low);
          }
          sum = sum ? arith::AddFOp::create(body, loc, sum, term) : term;
        }
        linalg::YieldOp::create(body, loc, sum);
      });
  return e.reshape(generic.getResult(0), shape);
}

Value effc::raise::emitBias(Emitter &e, ArrayRef<BiasPart> parts) {
  SmallVector<int64_t> shape = shapeOfParts(parts);
  Value bias;
  if (auto sum = sumOfConstants(e.graph, parts)) {
    auto type = eff::WeightType::get(e.builder.getContext(), shape,
                                     TypeAttr::get(e.builder.getF32Type()));
    Value w = e.table(
        "attention.bias", *sum,
        [&](ArrayRef<double> have) { return have == ArrayRef(*sum); }, type);
    if (w)
      bias = eff::ReadOp::create(e.builder, e.loc, e.f32(shape), w);
  } else {
    // Layers share a mask, as a rule.
    const BiasPart &first = parts.front();
    Value *shared = parts.size() == 1
                        ? &e.biases[{first.value.getAsOpaquePointer(), shape[0],
                                     first.hidden, first.low}]
                        : nullptr;
    bias = shared && *shared ? *shared : computedBias(e, parts, shape);
    if (shared)
      *shared = bias;
  }
  if (!bias)
    e.error("what is added to the scores of an attention has no layout");
  return bias;
}
