//===- OnnxRaiseScans.cpp - onnx-raise-scans ------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "NodeBuilder.h"
#include "Recurrence.h"
#include "RecurrenceCache.h"
#include "SinkTransposes.h"

#include "effc/Conversion/OnnxToEff/Raise.h"
#include "effc/Conversion/OnnxToEff/RaiseScans.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/IR/Remarks.h"

namespace effc {
#define GEN_PASS_DEF_ONNXRAISESCANSPASS
#include "effc/Conversion/OnnxToEff/Passes.h.inc"
} // namespace effc

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// Elements agree to this part of their mean; f32 values of some hundred nodes
/// have about 2e-6.
static constexpr double tolerance = 1e-5, cumulativeTolerance = 1e-3;

namespace {
class ScanRaiser {
public:
  ScanRaiser(func::FuncOp main, const RaiseScansOptions &options)
      : main(main), options(options), graph(main, raiseOptions), cache(graph) {}

  std::vector<ScanReport> run();

private:
  struct Found {
    ClosedRegion region;
    ScanRoles roles;
  };
  std::optional<Found> find(RegionFinder &finder, onnx::NodeOp anchor,
                            ScanReport &report);
  std::optional<Found> findLikeBefore(RegionFinder &finder, onnx::NodeOp anchor,
                                      std::string &first);
  std::optional<Found> findLast(RegionFinder &finder, onnx::NodeOp anchor,
                                ScanReport &report);
  void replace(const Found &found, unsigned layer);
  void replace(const ConvRoles &conv, unsigned layer);
  Value stateArgument(StringRef part, unsigned layer, ArrayRef<int64_t> shape,
                      Type element);
  Value past(NodeBuilder &at, const View &view, StringRef part, unsigned layer,
             ArrayRef<int64_t> shape, Type element, bool &isNew);
  void present(Value now, ArrayRef<View> views, StringRef part, unsigned layer,
               bool isNew);
  void dropStates();
  void removeUnused();
  Operation *lastOf(ArrayRef<View> views);

  func::FuncOp main;
  RaiseScansOptions options;
  RaiseOptions raiseOptions;
  Graph graph;
  RegionCache cache;
  /// The place of the region that was taken, by the text of an anchor's first.
  llvm::StringMap<unsigned> places;
  llvm::DenseMap<Operation *, unsigned> order;
  /// Results of scans and convolutions that new results replace.
  SmallVector<Value> oldPresents;
  std::vector<ScanReport> reports;
};
} // namespace

//===----------------------------------------------------------------------===//
// Finding
//===----------------------------------------------------------------------===//

/// A layer that begins like an earlier one most likely ends like it: its region
/// is looked for at once. `first` becomes the text of where the search begins.
std::optional<ScanRaiser::Found>
ScanRaiser::findLikeBefore(RegionFinder &finder, onnx::NodeOp anchor,
                           std::string &first) {
  std::optional<Found> found;
  std::optional<unsigned> place;
  auto accept = [&](const ClosedRegion &region) {
    if (!place) {
      first = cache.textOf(region);
      auto it = places.find(first);
      if (it == places.end())
        return true;
      place = it->second;
      if (region.place != *place)
        return false;
    }
    if (auto answer = cache.lookup(region); answer && answer->roles)
      found = Found{region, std::move(*answer->roles)};
    return true;
  };
  finder.regions(anchor, accept, place);
  return found;
}

/// The last value behind the anchor that still is a scan: with the skip, cut to
/// its length. Without one, `report` says why.
std::optional<ScanRaiser::Found> ScanRaiser::findLast(RegionFinder &finder,
                                                      onnx::NodeOp anchor,
                                                      ScanReport &report) {
  std::optional<Found> best;
  unsigned after = 0;
  finder.regions(anchor, [&](const ClosedRegion &region) {
    if (best && ++after > 6)
      return true;
    bool cumulative = region.form == ScanForm::CumulativeSum;
    report.form = describe(region.form);
    report.nodes = int64_t(region.nodes.size());
    report.bytes = region.bytes;
    if (cumulative && !options.cumulativeSums) {
      if (report.why.empty())
        report.why = "it divides by a cumulative product, which loses small "
                     "numbers; --raise-cumsum takes it";
      return false;
    }
    std::optional<ScanRoles> found;
    std::string why;
    if (auto answer = cache.lookup(region)) {
      found = std::move(answer->roles);
      why = std::move(answer->why);
    } else {
      RoleFinder roles(graph, region,
                       cumulative ? cumulativeTolerance : tolerance);
      found = roles.find();
      why = roles.why();
      cache.remember(region, found, why);
    }
    if (!found) {
      if (!best)
        report.why = why;
      return false;
    }
    best = Found{region, std::move(*found)};
    after = 0;
    return false;
  });
  return best;
}

std::optional<ScanRaiser::Found> ScanRaiser::find(RegionFinder &finder,
                                                  onnx::NodeOp anchor,
                                                  ScanReport &report) {
  report.anchor = reportName(anchor->getResult(0));
  report.what = "ssm_scan";
  std::string first;
  std::optional<Found> best = findLikeBefore(finder, anchor, first);
  if (!best)
    best = findLast(finder, anchor, report);
  if (!best)
    return std::nullopt;
  places[first] = best->region.place;
  ClosedRegion &region = best->region;
  ScanRoles &roles = best->roles;
  if (region.form == ScanForm::Unrolled && roles.tokens == 1)
    region.form = ScanForm::Step;
  report.why.clear();
  report.what = roles.ssd ? "ssd_scan" : "ssm_scan";
  report.form = describe(region.form);
  report.nodes = int64_t(region.nodes.size());
  report.bytes = region.bytes;
  report.error = roles.error;
  report.dt = reportName(roles.dt.base);
  report.u = reportName(roles.u.base);
  report.b = reportName(roles.b.base);
  report.c = reportName(roles.c.base);
  report.a = reportName(region.a);
  report.hasPast = static_cast<bool>(roles.past.base);
  return best;
}

//===----------------------------------------------------------------------===//
// States
//===----------------------------------------------------------------------===//

Value ScanRaiser::stateArgument(StringRef part, unsigned layer,
                                ArrayRef<int64_t> shape, Type element) {
  OpBuilder b(main.getContext());
  std::string name =
      ("past_states." + Twine(layer) + "." + part + "_state").str();
  auto type = RankedTensorType::get(shape, element);
  unsigned at = main.getNumArguments();
  if (failed(main.insertArgument(at, type,
                                 b.getDictionaryAttr(b.getNamedAttr(
                                     "onnx.name", b.getStringAttr(name))),
                                 main.getLoc())))
    return {};
  return main.getArgument(at);
}

/// The state before, in the layout of ai.effc. An input that has this layout
/// already is used as it is.
Value ScanRaiser::past(NodeBuilder &at, const View &view, StringRef part,
                       unsigned layer, ArrayRef<int64_t> shape, Type element,
                       bool &isNew) {
  isNew = false;
  if (!view.base)
    return at.zeros(shape, element);
  if (isa<BlockArgument>(view.base) && Graph::shape(view.base) == shape &&
      view.dims.isIdentity(numElements(shape)))
    return view.base;
  isNew = true;
  return stateArgument(part, layer, shape, element);
}

void ScanRaiser::present(Value now, ArrayRef<View> views, StringRef part,
                         unsigned layer, bool isNew) {
  if (!isNew) {
    for (const View &w : views) {
      NodeBuilder at(now.getDefiningOp()->getNextNode(), now.getLoc());
      SmallVector<int64_t> shape(Graph::shape(w.base));
      Value old = w.base;
      old.replaceAllUsesWith(at.underlying(now, w, shape));
    }
    return;
  }
  for (const View &w : views)
    oldPresents.push_back(w.base);
  auto ret = main.getBody().front().getTerminator();
  ret->insertOperands(ret->getNumOperands(), now);
  OpBuilder b(main.getContext());
  std::string name =
      ("present_states." + Twine(layer) + "." + part + "_state").str();
  if (failed(main.insertResult(main.getNumResults(), now.getType(),
                               b.getDictionaryAttr(b.getNamedAttr(
                                   "onnx.name", b.getStringAttr(name))))))
    oldPresents.clear();
}

/// Whether all of `v` are old states, through moves.
static bool isMadeOf(Value v, ArrayRef<Value> states) {
  if (llvm::is_contained(states, v))
    return true;
  auto node = v.getDefiningOp<onnx::NodeOp>();
  if (!node || !node.getDomain().empty())
    return false;
  if (node.is("Concat"))
    return llvm::all_of(node.getInputs(),
                        [&](Value x) { return isMadeOf(x, states); });
  bool moves = node.is("Reshape") || node.is("Transpose") ||
               node.is("Unsqueeze") || node.is("Squeeze") ||
               node.is("Identity") || node.is("Slice");
  return moves && isMadeOf(node.getInput(0), states);
}

/// Results that are nothing but states in the file's layout go, and so do
/// arguments that nothing reads.
void ScanRaiser::dropStates() {
  if (oldPresents.empty())
    return;
  Operation *ret = main.getBody().front().getTerminator();
  llvm::BitVector results(ret->getNumOperands());
  for (unsigned i = 0; i < ret->getNumOperands(); ++i)
    if (isMadeOf(ret->getOperand(i), oldPresents))
      results.set(i);
  ret->eraseOperands(results);
  if (failed(main.eraseResults(results)))
    return;
  removeUnused();
  llvm::BitVector arguments(main.getNumArguments());
  for (BlockArgument arg : main.getArguments())
    if (arg.use_empty())
      arguments.set(arg.getArgNumber());
  if (failed(main.eraseArguments(arguments)))
    return;
}

//===----------------------------------------------------------------------===//
// Replacing
//===----------------------------------------------------------------------===//

/// The last of the operations that make these values, or the block's first.
Operation *ScanRaiser::lastOf(ArrayRef<View> views) {
  Operation *last = &main.getBody().front().front();
  for (const View &v : views)
    if (Operation *op = v.base ? v.base.getDefiningOp() : nullptr)
      if (order.lookup(op) > order.lookup(last))
        last = op;
  return last;
}

/// A constant vector: as the graph has it, or its numbers.
static Value vectorOf(NodeBuilder &at, const ScanVector &v, Type element) {
  if (v.view.base)
    return at.tensor(v.view);
  onnx::HostTensor t(element, {int64_t(v.numbers.size())});
  t.floats = v.numbers;
  ElementsAttr value = t.write();
  return onnx::ConstantOp::create(at.b, at.loc, value.getShapedType(),
                                  at.b.getStringAttr(""), value);
}

void ScanRaiser::replace(const Found &found, unsigned layer) {
  const ScanRoles &r = found.roles;
  Value result = found.region.result;
  onnx::NodeOp anchor = found.region.anchor;
  SmallVector<Location> locations{anchor.getLoc(), result.getLoc()};
  NodeBuilder at(lastOf({r.dt, r.u, r.b, r.c, r.past, r.a.view, r.skip.view})
                     ->getNextNode(),
                 FusedLoc::get(main.getContext(), locations));
  Type element = Graph::elementType(result);
  auto of = [&](ArrayRef<int64_t> shape) {
    return RankedTensorType::get(shape, element);
  };
  int64_t p = r.channels / r.heads;
  SmallVector<int64_t> flat{r.batch, r.tokens, r.channels},
      inner{r.batch, r.tokens, r.groups, r.n};
  Value b = at.reshape(at.tensor(r.b), inner),
        c = at.reshape(at.tensor(r.c), inner), dt = at.tensor(r.dt),
        a = vectorOf(at, r.a, element), u = at.tensor(r.u);
  bool isNew;
  Value y;
  SmallVector<int64_t> stateShape, shape = flat;
  if (r.ssd) {
    stateShape = {r.batch, r.heads, p, r.n};
    shape = {r.batch, r.tokens, r.heads, p};
    u = at.reshape(u, shape);
  } else {
    stateShape = {r.batch, r.channels, r.n};
  }
  Value before = past(at, r.past, "ssm", layer, stateShape, element, isNew);
  auto node =
      at.node(r.ssd ? "SSDScan" : "SelectiveScan", {u, dt, a, b, c, before},
              {of(shape), of(stateShape)}, {}, "ai.effc");
  y = node->getResult(0);
  if (!r.skip.numbers.empty()) {
    Value d = vectorOf(at, r.skip, element);
    if (r.ssd)
      d = at.reshape(d, {r.heads, 1});
    Value du = at.node("Mul", {u, d}, {of(shape)})->getResult(0);
    y = at.node("Add", {y, du}, {of(shape)})->getResult(0);
  }
  y = at.reshape(y, flat);
  SmallVector<int64_t> wanted(Graph::shape(result));
  result.replaceAllUsesWith(at.underlying(y, r.y, wanted));
  present(node->getResult(1), r.presents, "ssm", layer, isNew);
}

void ScanRaiser::replace(const ConvRoles &r, unsigned layer) {
  onnx::NodeOp root = r.root;
  NodeBuilder at(lastOf({r.x, r.past})->getNextNode(), root.getLoc());
  Type element = Graph::elementType(r.result);
  SmallVector<int64_t> shape{r.batch, r.channels, r.tokens},
      stateShape{r.batch, r.channels, r.kernel - 1};
  Value x = at.tensor(r.x); // [batch, tokens, channels]
  x = at.transpose(x, {0, 2, 1});
  Value w = at.reshape(at.tensor(r.taps), {r.channels, 1, r.kernel});
  bool isNew;
  // The file's window holds the newest column too, or is stacked.
  Value before;
  if (r.past.base && r.stateColumns == r.kernel - 1) {
    View channelsFirst = r.past;
    channelsFirst.dims.transpose({0, 2, 1});
    before = past(at, channelsFirst, "conv", layer, stateShape, element, isNew);
  } else if (r.past.base) {
    isNew = true;
    before = stateArgument("conv", layer, stateShape, element);
  } else {
    before = at.zeros(stateShape, element);
    isNew = false;
  }
  Value bias = r.bias ? at.reshape(r.bias, {r.channels})
                      : at.zeros({r.channels}, element);
  auto node =
      at.node("CausalConv1d", {x, w, bias, before},
              {RankedTensorType::get(shape, element),
               RankedTensorType::get(stateShape, element)},
              {at.b.getNamedAttr("activation",
                                 at.b.getStringAttr(r.silu ? "silu" : "none"))},
              "ai.effc");
  Value y = at.transpose(node->getResult(0), {0, 2, 1});
  SmallVector<int64_t> wanted(Graph::shape(r.result));
  Value old = r.result;
  old.replaceAllUsesWith(at.underlying(y, r.y, wanted));
  present(node->getResult(1), r.presents, "conv", layer, isNew && r.past.base);
}

void ScanRaiser::removeUnused() {
  Block &block = main.getBody().front();
  for (Operation *op = block.getTerminator()->getPrevNode(); op;) {
    Operation *before = op->getPrevNode();
    if (op->use_empty())
      op->erase();
    op = before;
  }
}

std::vector<ScanReport> ScanRaiser::run() {
  Block &block = main.getBody().front();
  removeUnused();
  unsigned i = 0;
  for (Operation &op : block)
    order[&op] = i++;
  std::vector<ConvRoles> convs;
  std::vector<Found> scans;
  RegionFinder finder(graph);
  std::vector<onnx::NodeOp> anchors = finder.anchors();
  llvm::DenseSet<Operation *> taken;
  for (onnx::NodeOp anchor : anchors) {
    if (taken.contains(anchor))
      continue;
    ScanReport report;
    if (auto found = find(finder, anchor, report)) {
      taken.insert(found->region.nodes.begin(), found->region.nodes.end());
      scans.push_back(std::move(*found));
    }
    if (!report.form.empty())
      reports.push_back(std::move(report));
  }
  // Without a scan a depthwise convolution is whatever it is.
  if (scans.empty())
    return std::move(reports);
  for (ConvRoles &conv : findConvolutions(graph)) {
    ScanReport report;
    report.what = "causal_conv1d";
    report.form = conv.tokens == 1 && conv.past.base ? "window of one step"
                                                     : "Conv and Slice";
    report.anchor = reportName(conv.root->getResult(0));
    report.u = reportName(conv.x.base);
    report.a = reportName(conv.weight);
    report.nodes = 1;
    report.hasPast = static_cast<bool>(conv.past.base);
    reports.push_back(std::move(report));
    convs.push_back(std::move(conv));
  }
  // What a scan reads may be what a convolution gives.
  for (auto [layer, scan] : llvm::enumerate(scans))
    replace(scan, layer);
  for (auto [layer, conv] : llvm::enumerate(convs))
    replace(conv, layer);
  dropStates();
  removeUnused();
  if (!sortTopologically(&block))
    return std::move(reports);
  sinkTransposes(main, raiseOptions);
  removeUnused();
  main.setFunctionType(
      FunctionType::get(main.getContext(), block.getArgumentTypes(),
                        block.getTerminator()->getOperandTypes()));
  return std::move(reports);
}

std::vector<ScanReport> effc::raiseScans(ModuleOp module,
                                         const RaiseScansOptions &options) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main || main.isExternal())
    return {};
  auto nodes = main.getBody().front().getOps<onnx::NodeOp>();
  if (llvm::none_of(nodes, [](onnx::NodeOp n) { return n.is("Exp"); }))
    return {};
  prepareRepeats(main, RaiseOptions());
  return ScanRaiser(main, options).run();
}

namespace {
struct OnnxRaiseScansPass
    : effc::impl::OnnxRaiseScansPassBase<OnnxRaiseScansPass> {
  using OnnxRaiseScansPassBase::OnnxRaiseScansPassBase;

  void runOnOperation() override {
    RaiseScansOptions options;
    options.cumulativeSums = cumulativeSums;
    for (const ScanReport &r : raiseScans(getOperation(), options)) {
      Location loc = NameLoc::get(StringAttr::get(&getContext(), r.anchor));
      if (r.why.empty())
        remark::passed(
            loc,
            remark::RemarkOpts::name("ScanRaised").category("onnx-raise-scans"))
            << remark::metric("Op", r.what) << remark::metric("Form", r.form)
            << remark::metric("Nodes", r.nodes)
            << remark::metric("Error", std::to_string(r.error));
      else
        remark::missed(
            loc,
            remark::RemarkOpts::name("ScanKept").category("onnx-raise-scans"))
            << remark::reason("{0}", r.why) << remark::metric("Form", r.form);
    }
  }
};
} // namespace
