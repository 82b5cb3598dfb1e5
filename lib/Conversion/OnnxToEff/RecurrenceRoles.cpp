//===- RecurrenceRoles.cpp - which value of a region is what --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Recurrence.h"

#include "effc/Frontend/ONNX/Eval.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;
using onnx::HostTensor;

/// Most bytes of a region that is computed to find its roles.
static constexpr int64_t mostBytes = int64_t(2) << 30;

double effc::raise::randomAt(uint64_t seed, uint64_t stream, uint64_t i) {
  uint64_t x = (seed << 56) ^ (stream << 40) ^ i;
  for (int round = 0; round < 2; ++round) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    x ^= x >> 31;
  }
  return double(x >> 11) * 0x1p-53;
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

/// Computes the region on random leaves; keeps those, the result and what
/// escapes.
bool RoleFinder::evaluate(uint64_t seed) {
  known.clear();
  llvm::DenseMap<Value, HostTensor> values;
  llvm::DenseMap<Value, unsigned> uses;
  for (auto [i, leaf] : llvm::enumerate(region.leaves)) {
    HostTensor t(Graph::elementType(leaf), Graph::shape(leaf));
    bool step = region.steps.contains(leaf);
    for (auto [k, x] : llvm::enumerate(t.floats)) {
      double r = randomAt(seed, i + 1, k);
      // Of the first run no number is near zero, so that elements can be told
      // apart by their size.
      x = step ? 1e-3 + 0.999 * r : seed == 0 ? 0.2 + r : 2 * r - 1;
    }
    t.round();
    known[leaf] = t.floats;
    values[leaf] = std::move(t);
  }
  for (Operation *op : region.nodes)
    for (Value v : op->getOperands())
      ++uses[v];
  auto kept = [&](Value v) {
    return v == region.result || llvm::is_contained(region.escapes, v);
  };
  for (Operation *op : region.nodes) {
    auto node = cast<onnx::NodeOp>(op);
    SmallVector<const HostTensor *> operands;
    for (Value v : node.getInputs()) {
      auto constant = v.getDefiningOp<onnx::ConstantOp>();
      if (constant && !values.count(v)) {
        auto t = HostTensor::read(constant.getValue());
        if (failed(t))
          return false;
        values[v] = std::move(*t);
      }
    }
    for (Value v : node.getInputs()) {
      auto it = values.find(v);
      operands.push_back(it == values.end() ? nullptr : &it->second);
    }
    auto results = onnx::evaluate(node, operands);
    if (!results) {
      reason =
          ("the operator " + node.getOpType() + " has no evaluation").str();
      return false;
    }
    for (Value v : op->getOperands())
      if (--uses[v] == 0 && !kept(v))
        values.erase(v);
    for (auto [v, r] : llvm::zip_equal(node.getOutputs(), *results))
      if (uses.lookup(v) || kept(v))
        values[v] = std::move(r);
  }
  for (Value v : region.escapes)
    if (auto it = values.find(v); it != values.end() && it->second.isFloat())
      known[v] = it->second.floats;
  known[region.result] = values[region.result].floats;
  return true;
}

const RoleFinder::Numbers &RoleFinder::values(Value base) {
  auto [it, isNew] = known.try_emplace(base);
  if (isNew)
    it->second = graph.numbers(base).value_or(Numbers());
  return it->second;
}

/// The elements that a view shows, in its order.
RoleFinder::Numbers RoleFinder::gather(const View &placed) {
  return placed.dims.gather(values(placed.base));
}

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

static int64_t batchOf(Graph &graph) {
  auto module = graph.main->getParentOfType<ModuleOp>();
  auto bound = module->getAttrOfType<DictionaryAttr>("onnx.bound");
  auto batch = bound ? bound.getAs<IntegerAttr>("batch") : IntegerAttr();
  return batch ? batch.getInt() : graph.options.batch;
}

std::vector<View> RoleFinder::placements(Value v, int64_t tokens) const {
  return placeTokens(v, batchOf(graph), tokens);
}

/// Every way to see `v` as the state of all sequences.
std::vector<View> RoleFinder::statePlacements(Value v,
                                              const ScanRoles &r) const {
  int64_t p = r.channels / r.heads;
  std::vector<View> out;
  auto add = [&](ArrayRef<int64_t> shape, ArrayRef<int64_t> perm) {
    View w{v, Strided::identity(Graph::shape(v))};
    if (!w.dims.reshape(shape))
      return;
    w.dims.transpose(perm);
    out.push_back(std::move(w));
  };
  if (numElements(Graph::shape(v)) != r.batch * r.channels * r.n)
    return out;
  if (r.ssd) {
    add({r.batch, r.heads, p, r.n}, {0, 1, 2, 3});
    add({r.batch, r.heads, r.n, p}, {0, 1, 3, 2});
  } else {
    add({r.batch, r.channels, r.n}, {0, 1, 2});
    add({r.batch, r.n, r.channels}, {0, 2, 1});
  }
  return out;
}

/// A constant as `shape`, in its order, exchanged, or one of each run of equal
/// elements.
std::vector<ScanVector> RoleFinder::vectors(Value constant,
                                            ArrayRef<int64_t> shape) {
  std::vector<ScanVector> out;
  int64_t count = numElements(shape);
  auto add = [&](View view) {
    if (auto numbers = graph.numbers(view))
      out.push_back({std::move(view), std::move(*numbers)});
  };
  View w = graph.view(constant), bare = w;
  bare.dims = bare.dims.withoutRepeats();
  for (View &v : SmallVector<View, 2>{bare, w}) {
    if (v.dims.numElements() != count)
      continue;
    View plain = v, swapped = v;
    if (plain.dims.reshape(shape))
      add(plain);
    if (shape.size() == 2 && shape[0] != 1 && shape[1] != 1 &&
        swapped.dims.reshape({shape[1], shape[0]})) {
      swapped.dims.transpose({1, 0});
      add(swapped);
    }
  }
  int64_t whole = w.dims.numElements();
  if (!out.empty() || shape.size() != 1 || whole == count ||
      whole % count != 0 || whole > int64_t(1) << 24)
    return out;
  auto numbers = graph.numbers(w);
  if (!numbers)
    return out;
  ScanVector v;
  int64_t run = whole / count;
  for (int64_t i = 0; i < whole; ++i) {
    if (i % run == 0)
      v.numbers.push_back((*numbers)[i]);
    else if ((*numbers)[i] != v.numbers.back())
      return out;
  }
  out.push_back(std::move(v));
  return out;
}

//===----------------------------------------------------------------------===//
// Comparing
//===----------------------------------------------------------------------===//

/// Whether the scan of these roles gives the region's numbers; notes the
/// largest difference. `last` receives the state at the end.
bool RoleFinder::agrees(ScanRoles &r, Numbers *last) {
  Numbers dt = gather(r.dt), u = gather(r.u), b = gather(r.b), c = gather(r.c),
          want = gather(r.y);
  const Numbers &a = r.a.numbers, &skip = r.skip.numbers;
  if (int64_t(a.size()) != (r.ssd ? r.heads : r.channels * r.n))
    return false;
  double mean = 0;
  for (double x : want)
    mean += std::abs(x) / double(want.size());
  int64_t width = r.groups * r.n, p = r.channels / r.heads;
  Numbers h =
      r.past.base ? gather(r.past) : Numbers(r.batch * r.channels * r.n, 0.0);
  Numbers decay(r.n);
  double worst = 0;
  for (int64_t row = 0; row < r.batch; ++row)
    for (int64_t t = 0; t < r.tokens; ++t) {
      int64_t at = row * r.tokens + t;
      for (int64_t i = 0; i < r.channels; ++i) {
        int64_t head = i / p,
                group = i * r.groups / r.channels * r.n + at * width;
        double step = dt[at * r.heads + head], x = u[at * r.channels + i],
               y = skip.empty() ? 0 : skip[head] * x;
        double *state = h.data() + (row * r.channels + i) * r.n;
        double whole = r.ssd ? std::exp(step * a[head]) : 0;
        for (int64_t k = 0; k < r.n; ++k) {
          double keep = r.ssd ? whole : std::exp(step * a[i * r.n + k]);
          state[k] = keep * state[k] + step * x * b[group + k];
          y += state[k] * c[group + k];
        }
        double wanted = want[at * r.channels + i];
        double error = std::abs(y - wanted) / (std::abs(wanted) + mean);
        if (!(error <= tolerance))
          return false;
        worst = std::max(worst, error);
      }
    }
  r.error = std::max(r.error, worst);
  if (last)
    *last = std::move(h);
  return true;
}

/// The values that escape are the state at the end.
bool RoleFinder::findState(ScanRoles &r) {
  Numbers last;
  if (!agrees(r, &last))
    return false;
  double mean = 0;
  for (double x : last)
    mean += std::abs(x) / double(last.size());
  r.presents.clear();
  for (Value v : region.escapes) {
    if (v == region.result)
      continue;
    bool found = false;
    for (const View &w : statePlacements(v, r)) {
      Numbers have = gather(w);
      found = have.size() == last.size() &&
              llvm::all_of(llvm::zip(have, last), [&](auto pair) {
                auto [x, y] = pair;
                return std::abs(x - y) <= tolerance * (std::abs(y) + mean);
              });
      if (found) {
        r.presents.push_back(w);
        break;
      }
    }
    if (!found) {
      reason = "a value that the graph returns is neither y nor the last state";
      return false;
    }
  }
  return true;
}

bool RoleFinder::holds(ScanRoles &r) {
  for (uint64_t seed : {1, 2, 3})
    if (!evaluate(seed) || !findState(r))
      return false;
  return true;
}

//===----------------------------------------------------------------------===//
// Searching
//===----------------------------------------------------------------------===//

/// Numbers of tokens that the step widths may be of: the graph's own first.
SmallVector<int64_t> RoleFinder::lengths() const {
  SmallVector<int64_t> out;
  auto module = graph.main->getParentOfType<ModuleOp>();
  auto bound = module->getAttrOfType<DictionaryAttr>("onnx.bound");
  if (auto tokens = bound ? bound.getAs<IntegerAttr>("tokens") : IntegerAttr())
    out.push_back(tokens.getInt());
  for (int64_t d : Graph::shape(region.steps.front()))
    if (!llvm::is_contained(out, d))
      out.push_back(d);
  if (!llvm::is_contained(out, 1))
    out.push_back(1);
  return out;
}

std::optional<ScanRoles> RoleFinder::find() {
  if (region.bytes > mostBytes) {
    reason = "it is too large to be computed here (" +
             std::to_string(region.bytes >> 20) + " MiB)";
    return std::nullopt;
  }
  for (Value leaf : region.leaves)
    if (!Graph::isFloat(leaf)) {
      reason = "it reads what are no floats";
      return std::nullopt;
    }
  if (!evaluate(0))
    return std::nullopt;
  ScanRoles r;
  r.batch = batchOf(graph);
  for (int64_t tokens : lengths())
    if (search(r, tokens))
      return r;
  if (reason.empty())
    reason = "it does not compute exp(dt A) state + dt u B and state C + D u";
  return std::nullopt;
}

bool RoleFinder::search(ScanRoles &r, int64_t tokens) {
  int64_t rows = r.batch * tokens,
          all = numElements(Graph::shape(region.result));
  if (rows < 1 || all % rows != 0)
    return false;
  r.tokens = tokens;
  r.channels = all / rows;
  for (const View &dt : placements(region.steps.front(), tokens))
    for (const View &y : placements(region.result, tokens)) {
      r.dt = dt;
      r.y = y;
      r.heads = dt.dims.size(2);
      if (r.channels % r.heads != 0)
        continue;
      for (bool ssd : {true, false}) {
        r.ssd = ssd;
        if (searchForm(r))
          return true;
      }
    }
  return false;
}

bool RoleFinder::searchForm(ScanRoles &r) {
  if (r.ssd) {
    for (ScanVector &a : vectors(region.a, {r.heads})) {
      r.a = std::move(a);
      if (searchInputs(r))
        return true;
    }
    return false;
  }
  if (r.heads != r.channels)
    return false;
  int64_t elements = graph.view(region.a).dims.withoutRepeats().numElements(),
          whole = numElements(Graph::shape(region.a));
  for (int64_t count : {elements, whole}) {
    if (count % r.channels != 0)
      continue;
    r.n = count / r.channels;
    for (ScanVector &a : vectors(region.a, {r.channels, r.n})) {
      r.a = std::move(a);
      if (searchInputs(r))
        return true;
    }
    if (whole == elements)
      break;
  }
  return false;
}

bool RoleFinder::searchInputs(ScanRoles &r) {
  // Leaves that are not yet known, by what they can be.
  std::vector<View> us, bs;
  for (Value leaf : region.leaves)
    for (const View &v : placements(leaf, r.tokens)) {
      if (leaf == r.dt.base)
        continue;
      int64_t count = v.dims.size(2);
      if (count == r.channels)
        us.push_back(v);
      if (r.ssd || count % r.n == 0)
        bs.push_back(v);
    }
  std::vector<ScanVector> skips(1);
  llvm::DenseSet<Value> seen{region.a};
  for (Operation *op : region.nodes)
    for (Value v : op->getOperands()) {
      if (isa<NoneType>(v.getType()) || !graph.isConstant(v) ||
          !Graph::isFloat(v) || !seen.insert(graph.view(v).base).second ||
          numElements(Graph::shape(v)) < r.heads)
        continue;
      for (ScanVector &d : vectors(v, {r.heads}))
        skips.push_back(std::move(d));
    }
  size_t leaves = region.leaves.size();
  for (const View &u : us)
    for (const View &b : bs)
      for (const View &c : bs) {
        int64_t width = b.dims.size(2);
        if (c.dims.size(2) != width || b.base == c.base || u.base == b.base ||
            u.base == c.base)
          continue;
        SmallVector<int64_t> groups;
        if (!r.ssd)
          groups.push_back(width / r.n);
        else
          for (int64_t g = 1; g <= r.heads; ++g)
            if (r.heads % g == 0 && width % g == 0)
              groups.push_back(g);
        for (int64_t g : groups) {
          if (r.channels % g != 0)
            continue;
          r.groups = g;
          r.n = width / g;
          r.u = u;
          r.b = b;
          r.c = c;
          std::vector<View> pasts(1);
          if (leaves > 4) {
            pasts.clear();
            for (Value leaf : region.leaves)
              if (leaf != u.base && leaf != b.base && leaf != c.base &&
                  leaf != r.dt.base)
                llvm::append_range(pasts, statePlacements(leaf, r));
            if (leaves != 5)
              continue;
          }
          for (const View &past : pasts)
            for (const ScanVector &skip : skips) {
              r.past = past;
              r.skip = skip;
              r.error = 0;
              if (!agrees(r))
                continue;
              if (holds(r))
                return true;
              // The numbers of the first run are needed again.
              if (!evaluate(0))
                return false;
            }
        }
      }
  return false;
}
