//===- EvalReduce.cpp - nodes that run along axes -------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "EvalImpl.h"

#include "llvm/ADT/StringMap.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace effc::onnx;

namespace {

/// For each result element, the operand's elements that it combines.
std::vector<std::vector<int64_t>> groups(const HostTensor &x, const Shape &axes,
                                         int64_t results) {
  std::vector<std::vector<int64_t>> members(results);
  Shape kept(x.shape), strides(x.rank(), 0);
  for (int64_t axis : axes)
    kept[axis] = 1;
  Shape own = stridesOf(kept);
  for (int64_t d = 0; d < x.rank(); ++d)
    strides[d] = kept[d] == 1 ? 0 : own[d];
  forEach<1>(x.shape, {strides},
             [&](int64_t i, const std::array<int64_t, 1> &at) {
               members[at[0]].push_back(i);
             });
  return members;
}

double reduceFloats(StringRef name, const HostTensor &x,
                    ArrayRef<int64_t> members) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  double sum = 0, product = 1, most = -infinity, least = infinity;
  bool nan = false;
  for (int64_t i : members) {
    double v = x.floats[i];
    nan |= std::isnan(v);
    most = std::fmax(most, v);
    least = std::fmin(least, v);
    product *= v;
    sum += name == "ReduceL1"                                ? std::fabs(v)
           : name == "ReduceL2" || name == "ReduceSumSquare" ? v * v
                                                             : v;
  }
  if (name == "ReduceMax")
    return nan ? NAN : most;
  if (name == "ReduceMin")
    return nan ? NAN : least;
  if (name == "ReduceProd")
    return product;
  if (name == "ReduceMean")
    return sum / double(members.size());
  if (name == "ReduceL2")
    return std::sqrt(sum);
  if (name == "ReduceLogSum")
    return std::log(sum);
  if (name == "ReduceLogSumExp") {
    double base = std::isinf(most) ? 0 : most, total = 0;
    for (int64_t i : members)
      total += std::exp(x.floats[i] - base);
    return std::log(total) + base;
  }
  return sum;
}

std::optional<int64_t> reduceInts(StringRef name, const HostTensor &x,
                                  ArrayRef<int64_t> members) {
  uint64_t sum = 0, product = 1;
  int64_t most = 0, least = 0;
  bool first = true;
  auto less = [&](int64_t a, int64_t b) {
    return x.isUnsigned() ? uint64_t(a) < uint64_t(b) : a < b;
  };
  for (int64_t i : members) {
    int64_t v = x.ints[i];
    if (first || less(most, v))
      most = v;
    if (first || less(v, least))
      least = v;
    first = false;
    product *= uint64_t(v);
    sum += name == "ReduceL1" ? uint64_t(v < 0 && !x.isUnsigned() ? -v : v)
           : name == "ReduceSumSquare" || name == "ReduceL2"
               ? uint64_t(v) * uint64_t(v)
               : uint64_t(v);
  }
  if (name == "ReduceMax" || name == "ReduceMin") {
    if (first)
      return std::nullopt;
    return name == "ReduceMax" ? most : least;
  }
  if (name == "ReduceProd")
    return int64_t(product);
  if (name == "ReduceSum" || name == "ReduceL1" || name == "ReduceSumSquare")
    return int64_t(sum);
  if (name == "ReduceL2")
    return int64_t(std::sqrt(double(int64_t(sum))));
  if (name == "ReduceMean" && !first)
    return int64_t(sum) / int64_t(members.size());
  if (name == "ReduceLogSum")
    return int64_t(std::log(double(int64_t(sum))));
  return std::nullopt;
}

bool reduce(Evaluation &e) {
  if (!e.operand(1))
    return false;
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  StringRef name = e.op.getOpType();
  auto members = groups(x, e.ints(1), y.size());
  for (int64_t i = 0; i < y.size(); ++i) {
    if (x.isFloat()) {
      y.floats[i] = reduceFloats(name, x, members[i]);
      continue;
    }
    auto value = reduceInts(name, x, members[i]);
    if (!value)
      return false;
    y.ints[i] = *value;
  }
  return true;
}

bool argReduce(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  bool most = e.op.is("ArgMax"), last = e.op.getInt("select_last_index", 0);
  Split3 parts(x.shape, e.op.getInt("axis", 0));
  if (parts.size == 0)
    return false;
  auto before = [&](int64_t a, int64_t b) { // a is a better place than b
    bool less = x.isFloat()      ? x.floats[a] < x.floats[b]
                : x.isUnsigned() ? uint64_t(x.ints[a]) < uint64_t(x.ints[b])
                                 : x.ints[a] < x.ints[b];
    bool more = x.isFloat()      ? x.floats[a] > x.floats[b]
                : x.isUnsigned() ? uint64_t(x.ints[a]) > uint64_t(x.ints[b])
                                 : x.ints[a] > x.ints[b];
    return most ? more : less;
  };
  for (int64_t o = 0; o < parts.outer; ++o)
    for (int64_t i = 0; i < parts.inner; ++i) {
      auto at = [&](int64_t k) {
        return (o * parts.size + k) * parts.inner + i;
      };
      int64_t best = 0;
      for (int64_t k = 1; k < parts.size; ++k)
        if (before(at(k), at(best)) || (last && !before(at(best), at(k))))
          best = k;
      e.out[0].ints[o * parts.inner + i] = best;
    }
  return true;
}

bool cumSum(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  if (!e.operand(1) || e.in[1]->size() != 1)
    return false;
  int64_t axis = e.ints(1)[0];
  if (axis < 0)
    axis += x.rank();
  if (axis < 0 || axis >= x.rank())
    return false;
  bool exclusive = e.op.getInt("exclusive", 0),
       reverse = e.op.getInt("reverse", 0);
  Split3 parts(x.shape, axis);
  for (int64_t o = 0; o < parts.outer; ++o)
    for (int64_t i = 0; i < parts.inner; ++i) {
      double sum = 0;
      uint64_t whole = 0;
      for (int64_t n = 0; n < parts.size; ++n) {
        int64_t k = reverse ? parts.size - 1 - n : n,
                at = (o * parts.size + k) * parts.inner + i;
        if (x.isFloat()) {
          y.floats[at] = exclusive ? sum : sum + x.floats[at];
          sum += x.floats[at];
        } else {
          y.ints[at] =
              int64_t(exclusive ? whole : whole + uint64_t(x.ints[at]));
          whole += uint64_t(x.ints[at]);
        }
      }
    }
  return true;
}

bool topK(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  Split3 parts(x.shape, e.op.getInt("axis", -1));
  bool largest = e.op.getInt("largest", 1);
  int64_t k = e.ints(1)[0];
  std::vector<int64_t> order(parts.size);
  for (int64_t o = 0; o < parts.outer; ++o)
    for (int64_t i = 0; i < parts.inner; ++i) {
      auto at = [&](int64_t n) {
        return (o * parts.size + n) * parts.inner + i;
      };
      for (int64_t n = 0; n < parts.size; ++n)
        order[n] = n;
      auto less = [&](int64_t a, int64_t b) {
        if (x.isFloat()) // NaN is above all numbers, so that this is an order
          return x.floats[at(a)] < x.floats[at(b)] ||
                 (std::isnan(x.floats[at(b)]) && !std::isnan(x.floats[at(a)]));
        int64_t u = x.ints[at(a)], v = x.ints[at(b)];
        return x.isUnsigned() ? uint64_t(u) < uint64_t(v) : u < v;
      };
      // Of equal values the lower index comes first.
      llvm::sort(order, [&](int64_t a, int64_t b) {
        bool first = largest ? less(b, a) : less(a, b),
             second = largest ? less(a, b) : less(b, a);
        return first || (!second && a < b);
      });
      for (int64_t n = 0; n < k; ++n) {
        int64_t to = (o * k + n) * parts.inner + i;
        if (e.out[0].elementType)
          copyElement(x, at(order[n]), e.out[0], to);
        if (e.out.size() > 1 && e.out[1].elementType)
          e.out[1].ints[to] = order[n];
      }
    }
  return true;
}

bool softmax(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  if (!x.isFloat())
    return false;
  StringRef name = e.op.getOpType();
  Split3 parts(x.shape, e.op.getInt("axis", -1));
  for (int64_t o = 0; o < parts.outer; ++o)
    for (int64_t i = 0; i < parts.inner; ++i) {
      auto at = [&](int64_t k) {
        return (o * parts.size + k) * parts.inner + i;
      };
      double most = -std::numeric_limits<double>::infinity(), sum = 0;
      int64_t best = 0;
      for (int64_t k = 0; k < parts.size; ++k)
        if (x.floats[at(k)] > most) {
          most = x.floats[at(k)];
          best = k;
        }
      for (int64_t k = 0; k < parts.size; ++k)
        sum += std::exp(x.floats[at(k)] - most);
      for (int64_t k = 0; k < parts.size; ++k) {
        double shifted = x.floats[at(k)] - most;
        y.floats[at(k)] = name == "Softmax"      ? std::exp(shifted) / sum
                          : name == "LogSoftmax" ? shifted - std::log(sum)
                                                 : double(k == best);
      }
    }
  return true;
}

/// LayerNormalization and RMSNormalization over the axes from `axis` on.
bool normalization(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  if (!x.isFloat())
    return false;
  bool center = e.op.is("LayerNormalization");
  double epsilon = e.op.getFloat("epsilon", 1e-5f);
  int64_t axis = e.op.getInt("axis", -1), run = 1;
  for (int64_t d = axis; d < x.rank(); ++d)
    run *= x.shape[d];
  if (run == 0)
    return false;
  Shape scales = broadcastStrides(e.in[1]->shape, x.shape);
  Shape shifts = e.operand(2) ? broadcastStrides(e.in[2]->shape, x.shape)
                              : Shape(x.rank(), 0);
  std::vector<double> means(x.size() / run), factors(x.size() / run);
  for (size_t r = 0; r < means.size(); ++r) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < run; ++i)
      mean += x.floats[r * run + i];
    mean = center ? mean / double(run) : 0;
    for (int64_t i = 0; i < run; ++i) {
      double d = x.floats[r * run + i] - mean;
      variance += d * d;
    }
    means[r] = mean;
    factors[r] = 1 / std::sqrt(variance / double(run) + epsilon);
  }
  forEach<2>(x.shape, {scales, shifts},
             [&](int64_t i, const std::array<int64_t, 2> &at) {
               double value = (x.floats[i] - means[i / run]) *
                              factors[i / run] * e.in[1]->floats[at[0]];
               y.floats[i] =
                   e.operand(2) ? value + e.in[2]->floats[at[1]] : value;
             });
  if (e.out.size() > 1 && e.out[1].elementType)
    e.out[1].floats = center ? means : factors;
  if (e.out.size() > 2 && e.out[2].elementType)
    e.out[2].floats = factors;
  return true;
}

} // namespace

EvalFn effc::onnx::findReduceEval(StringRef name) {
  static const llvm::StringMap<bool (*)(Evaluation &)> table = {
      {"ReduceL1", reduce},
      {"ReduceL2", reduce},
      {"ReduceLogSum", reduce},
      {"ReduceLogSumExp", reduce},
      {"ReduceMax", reduce},
      {"ReduceMean", reduce},
      {"ReduceMin", reduce},
      {"ReduceProd", reduce},
      {"ReduceSum", reduce},
      {"ReduceSumSquare", reduce},
      {"ArgMax", argReduce},
      {"ArgMin", argReduce},
      {"CumSum", cumSum},
      {"TopK", topK},
      {"Softmax", softmax},
      {"LogSoftmax", softmax},
      {"Hardmax", softmax},
      {"LayerNormalization", normalization},
      {"RMSNormalization", normalization},
  };
  auto it = table.find(name);
  return it == table.end() ? EvalFn() : EvalFn(it->second);
}
