//===- ScanLoopPatterns.cpp - Scan nodes that are linear recurrences ------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A Scan over `state = exp(dt A) state + dt u B, y = state C (+ D u)` becomes
/// eff.ssm_scan or eff.ssd_scan. Shapes say which operand may be which; that
/// the body computes the recurrence on them is found out by computing both.
///
//===----------------------------------------------------------------------===//

#include "Scan.h"
#include "ScanRegion.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

namespace {
/// How the state of one sequence lies: [channels, n] or [heads, p, n], or with
/// n before what is its neighbour there.
struct Form {
  bool ssd = false, nFirst = false;
  int64_t heads = 0, p = 1, n = 0; ///< Mamba-1 has heads of one channel
  int64_t channels() const { return heads * p; }
  int64_t decays() const { return ssd ? heads : heads * n; }
  int64_t stateAt(int64_t b, int64_t h, int64_t i, int64_t k) const {
    if (!nFirst)
      return ((b * heads + h) * p + i) * n + k;
    return ssd ? ((b * heads + h) * n + k) * p + i : (b * n + k) * heads + h;
  }
};

struct Roles {
  View dt, u, b, c;
  View a, skip; ///< skip.base may be null
};

/// Numbers of both sides, elementwise equal to `tolerance` of the element and
/// of the mean.
class Comparison {
public:
  explicit Comparison(ArrayRef<double> wanted) : wanted(wanted) {
    for (double x : wanted)
      mean += std::abs(x) / double(wanted.size());
  }
  bool equal(int64_t i, double x) {
    double scale = std::abs(wanted[i]) + mean, error = std::abs(x - wanted[i]);
    if (scale > 0)
      largest = std::max(largest, error / scale);
    return error <= tolerance * scale;
  }
  double largest = 0;

private:
  static constexpr double tolerance = 1e-5;
  ArrayRef<double> wanted;
  double mean = 0;
};

class Recognition {
public:
  explicit Recognition(ScanRegion &region) : region(region) {}
  std::optional<std::pair<Form, Roles>> find();
  /// The largest difference on the numbers that confirmed what was found.
  double error = 0;

private:
  using Trace = ScanRegion::Trace;
  SmallVector<Form> forms() const;
  std::vector<View> views(int64_t count) const;
  std::vector<View> vectors(ArrayRef<int64_t> shape) const;
  bool statesAgree(const Form &f, const Roles &r, const Trace &trace);
  bool resultsAgree(const Form &f, const Roles &r, const Trace &trace);
  bool findResult(const Form &f, Roles &r, const Trace &trace);
  bool holds(const Form &f, const Roles &r);
  int64_t index(int64_t b, int64_t t, int64_t count) const {
    return (b * region.steps + t) * count;
  }

  ScanRegion &region;
  std::vector<View> placed;
};
} // namespace

SmallVector<Form> Recognition::forms() const {
  ArrayRef<int64_t> s = region.stateShape;
  SmallVector<Form> out;
  if (s.size() == 3) {
    out.push_back({false, false, s[1], 1, s[2]});
    out.push_back({false, true, s[2], 1, s[1]});
  } else if (s.size() == 4) {
    out.push_back({true, false, s[1], s[2], s[3]});
    out.push_back({true, true, s[1], s[3], s[2]});
  }
  return out;
}

/// Leaves with `count` numbers for each token.
std::vector<View> Recognition::views(int64_t count) const {
  std::vector<View> out;
  for (const View &v : placed)
    if (v.dims.size(2) == count)
      out.push_back(v);
  return out;
}

/// Constants as `shape`, in its order or with two dimensions exchanged.
std::vector<View> Recognition::vectors(ArrayRef<int64_t> shape) const {
  std::vector<View> out;
  for (Value v : region.constants) {
    View w = region.graph.view(v);
    w.dims = w.dims.withoutRepeats();
    if (w.dims.numElements() != numElements(shape))
      continue;
    View plain = w, swapped = w;
    if (plain.dims.reshape(shape))
      out.push_back(plain);
    if (shape.size() == 2 && shape[0] != 1 && shape[1] != 1 &&
        swapped.dims.reshape({shape[1], shape[0]})) {
      swapped.dims.transpose({1, 0});
      out.push_back(swapped);
    }
  }
  return out;
}

bool Recognition::statesAgree(const Form &f, const Roles &r,
                              const Trace &trace) {
  auto a = region.graph.numbers(r.a);
  if (!a)
    return false;
  std::vector<double> dt = region.values(r.dt), u = region.values(r.u),
                      b = region.values(r.b);
  int64_t width = r.b.dims.size(2), groups = width / f.n;
  for (int64_t t = 0; t < region.steps; ++t) {
    Comparison next(trace.states[t + 1]);
    const std::vector<double> &state = trace.states[t];
    for (int64_t row = 0; row < region.batch; ++row)
      for (int64_t h = 0; h < f.heads; ++h)
        for (int64_t i = 0; i < f.p; ++i)
          for (int64_t k = 0; k < f.n; ++k) {
            double step = dt[index(row, t, f.heads) + h];
            double decay = (*a)[f.ssd ? h : h * f.n + k];
            double input =
                step * u[index(row, t, f.channels()) + h * f.p + i] *
                b[index(row, t, width) + h * groups / f.heads * f.n + k];
            int64_t at = f.stateAt(row, h, i, k);
            if (!next.equal(at, std::exp(step * decay) * state[at] + input))
              return false;
          }
    error = std::max(error, next.largest);
  }
  return true;
}

bool Recognition::resultsAgree(const Form &f, const Roles &r,
                               const Trace &trace) {
  std::optional<std::vector<double>> skip;
  if (r.skip.base && !(skip = region.graph.numbers(r.skip)))
    return false;
  std::vector<double> u = region.values(r.u), c = region.values(r.c);
  int64_t width = r.c.dims.size(2), groups = width / f.n;
  for (int64_t t = 0; t < region.steps; ++t) {
    Comparison result(trace.results[t]);
    const std::vector<double> &state = trace.states[t + 1];
    for (int64_t row = 0; row < region.batch; ++row)
      for (int64_t h = 0; h < f.heads; ++h)
        for (int64_t i = 0; i < f.p; ++i) {
          double y =
              skip ? (*skip)[h] * u[index(row, t, f.channels()) + h * f.p + i]
                   : 0;
          for (int64_t k = 0; k < f.n; ++k)
            y += state[f.stateAt(row, h, i, k)] *
                 c[index(row, t, width) + h * groups / f.heads * f.n + k];
          if (!result.equal((row * f.heads + h) * f.p + i, y))
            return false;
        }
    error = std::max(error, result.largest);
  }
  return true;
}

bool Recognition::findResult(const Form &f, Roles &r, const Trace &trace) {
  std::vector<View> skips = vectors({f.heads});
  skips.insert(skips.begin(), View());
  for (const View &c : views(r.b.dims.size(2)))
    for (const View &skip : skips) {
      r.c = c;
      r.skip = skip;
      if (resultsAgree(f, r, trace))
        return true;
    }
  return false;
}

/// Whether the region computes the recurrence on other numbers too: steps as
/// Softplus gives them, and around zero.
bool Recognition::holds(const Form &f, const Roles &r) {
  error = 0;
  for (uint64_t seed : {1, 2, 3}) {
    auto trace =
        region.run(seed, {-1, 1}, r.dt.base,
                   seed < 3 ? NumberRange{1e-3, 1} : NumberRange{-0.1, 0.1});
    if (!trace || !statesAgree(f, r, *trace) || !resultsAgree(f, r, *trace))
      return false;
  }
  return true;
}

std::optional<std::pair<Form, Roles>> Recognition::find() {
  for (Value leaf : region.leaves)
    llvm::append_range(placed, region.placements(leaf));
  auto trace = region.run(4, {0.05, 1});
  if (!trace)
    return std::nullopt;
  int64_t results = int64_t(trace->results[0].size());
  for (const Form &f : forms()) {
    if (results != region.batch * f.channels())
      continue;
    std::vector<View> inputs;
    for (const View &v : placed) {
      int64_t groups = v.dims.size(2) / f.n;
      if (v.dims.size(2) % f.n == 0 && groups > 0 && f.heads % groups == 0)
        inputs.push_back(v);
    }
    SmallVector<int64_t> shape{f.heads};
    if (!f.ssd)
      shape.push_back(f.n);
    Roles r;
    for (const View &a : vectors(shape))
      for (const View &dt : views(f.heads))
        for (const View &u : views(f.channels()))
          for (const View &b : inputs) {
            r.a = a;
            r.dt = dt;
            r.u = u;
            r.b = b;
            if (dt.base != u.base && statesAgree(f, r, *trace) &&
                findResult(f, r, *trace)) {
              if (holds(f, r))
                return std::make_pair(f, r);
              // The numbers of the first run are needed again.
              trace = region.run(4, {0.05, 1});
              if (!trace)
                return std::nullopt;
            }
          }
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// The pattern
//===----------------------------------------------------------------------===//

/// The result as [batch, tokens, ..], then permuted to where the Scan collects
/// it.
static ScanResult resultOf(const ScanRegion &region) {
  ScanResult y;
  y.shape = {region.batch, region.tokens};
  llvm::append_range(y.shape, ArrayRef(region.resultShape).drop_front());
  for (int64_t i = 0; i < int64_t(y.shape.size()); ++i)
    if (i != 1)
      y.perm.push_back(i);
  y.perm.insert(y.perm.begin() + region.resultAxis, 1);
  return y;
}

/// Whether nothing computes with the state after the last step.
static bool isOnlyPresent(Value v) {
  return llvm::all_of(v.getUsers(), [](Operation *user) {
    auto node = dyn_cast<onnx::NodeOp>(user);
    return !node || ((node.is("Identity") || node.is("Cast")) &&
                     isOnlyPresent(node->getResult(0)));
  });
}

static std::optional<Match> scanLoop(Graph &g, onnx::NodeOp root) {
  if (!root.is("Scan"))
    return std::nullopt;
  ScanReport report;
  report.what = "ssm_scan";
  report.form = "F4 Scan";
  report.anchor = reportName(root->getResult(0));
  auto tell = [&] {
    if (g.options.scans)
      g.options.scans->push_back(report);
  };
  auto refuse = [&](const Twine &why) -> std::optional<Match> {
    g.note(root, why);
    report.why = why.str();
    tell();
    return std::nullopt;
  };
  ScanRegion region(g, root);
  if (auto why = region.read())
    return refuse(*why);
  State *state = g.state(root.getInput(0), root.getOutput(0), "ssm");
  if (!state)
    return refuse("what it carries is not a state of the model");
  if (root.getOutput(0) && !isOnlyPresent(root.getOutput(0)))
    return refuse("its last state is not only the model's");
  Recognition recognition(region);
  auto found = recognition.find();
  if (!found)
    return refuse("its body does not compute exp(dt A) state + dt u B and "
                  "state C + D u");
  auto &[form, roles] = *found;
  auto tensor = [](const View &v) {
    return [v](Emitter &e) { return e.tensor(e.lower(v)); };
  };
  int64_t groups = roles.b.dims.size(2) / form.n;
  report.what = form.ssd ? "ssd_scan" : "ssm_scan";
  report.dt = reportName(roles.dt.base);
  report.u = reportName(roles.u.base);
  report.b = reportName(roles.b.base);
  report.c = reportName(roles.c.base);
  report.a = reportName(roles.a.base);
  report.error = recognition.error;
  report.nodes = region.numNodes();
  report.hasPast = true;
  tell();
  Match m;
  for (const View *v : {&roles.dt, &roles.u, &roles.b, &roles.c})
    m.needs.push_back(v->base);
  m.covers = {root};
  m.states = {state};
  auto fill = [&, form = form, roles = roles](auto &op) {
    op.out = root.getOutput(1);
    op.skip = roles.skip.base;
    op.dt = tensor(roles.dt);
    op.b = tensor(roles.b);
    op.c = tensor(roles.c);
    SmallVector<int64_t> shape{form.heads};
    if (!form.ssd)
      shape.push_back(form.n);
    op.a = [a = roles.a, shape](Emitter &e) {
      return e.weight(a, shape, true);
    };
    op.state = state;
    op.n = form.n;
    op.groups = groups;
    op.y = resultOf(region);
  };
  if (form.ssd) {
    SsdScan op;
    fill(op);
    op.x = tensor(roles.u);
    op.heads = form.heads;
    op.p = form.p;
    op.perm = form.nFirst ? SmallVector<int64_t>{0, 1, 2}
                          : SmallVector<int64_t>{0, 2, 1};
    m.emit = [op](Emitter &e) { return emitSsdScan(e, op); };
  } else {
    SelectiveScan op;
    fill(op);
    op.u = tensor(roles.u);
    op.channels = form.heads;
    op.perm =
        form.nFirst ? SmallVector<int64_t>{0, 1} : SmallVector<int64_t>{1, 0};
    m.emit = [op](Emitter &e) { return emitSelectiveScan(e, op); };
  }
  return m;
}

void effc::raise::addScanLoopPatterns(std::vector<RaisePattern> &patterns) {
  patterns.push_back(scanLoop);
}
