//===- StaticScales.cpp - scales of activations from calibration ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "StaticScales.h"

#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"
#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace mlir;
using namespace effc;
using namespace effc::eff;

bool PartScales::isUniform() const { return llvm::all_equal(values); }

static int64_t getFeatures(Value value) {
  return llvm::cast<RankedTensorType>(value.getType()).getShape().back();
}

/// Gives each of `counts` runs of channels one scale that covers it.
static std::vector<float> coverRuns(llvm::ArrayRef<float> maxima,
                                    llvm::ArrayRef<int64_t> counts) {
  std::vector<float> scales;
  for (int64_t count : counts) {
    llvm::ArrayRef<float> run = maxima.slice(scales.size(), count);
    scales.insert(scales.end(), count,
                  scaleFor(*std::max_element(run.begin(), run.end())));
  }
  return scales;
}

/// The sections of a convolution's channels: the parts that its result is cut
/// into.
static llvm::SmallVector<int64_t> getSections(CausalConv1DOp conv) {
  llvm::SmallVector<int64_t> sections;
  Value result = conv.getResult();
  if (result.hasOneUse())
    if (auto split = llvm::dyn_cast<SplitOp>(*result.user_begin()))
      for (Value part : split.getResults())
        sections.push_back(getFeatures(part));
  if (sections.empty())
    sections.push_back(getFeatures(result));
  return sections;
}

/// Scales of the scan input of Mamba-2 by the clusters of its reordered heads
/// and channels.
static std::vector<float> coverClusters(SsdScanOp scan, ClustersAttr clusters,
                                        llvm::ArrayRef<float> maxima) {
  int64_t heads = scan.getHeads(), groups = scan.getGroups();
  int64_t headDim = maxima.size() / heads, perGroup = heads / groups;
  llvm::ArrayRef<int64_t> headEnds = clusters.getHeadEnds();
  llvm::ArrayRef<int64_t> channelEnds = clusters.getChannelEnds();
  int64_t headClusters = headEnds.size() / groups;
  int64_t channelClusters = channelEnds.size() / headEnds.size();
  auto indexOf = [&](int64_t channel) {
    int64_t head = channel / headDim, group = head / perGroup;
    llvm::ArrayRef<int64_t> ends =
        headEnds.slice(group * headClusters, headClusters);
    int64_t hc = llvm::upper_bound(ends, head % perGroup) - ends.begin();
    ends = channelEnds.slice((group * headClusters + hc) * channelClusters,
                             channelClusters);
    int64_t cc = llvm::upper_bound(ends, channel % headDim) - ends.begin();
    return (group * headClusters + hc) * channelClusters + cc;
  };
  std::vector<float> largest(channelEnds.size());
  for (auto [channel, max] : llvm::enumerate(maxima))
    largest[indexOf(channel)] = std::max(largest[indexOf(channel)], max);
  std::vector<float> scales;
  for (size_t channel = 0; channel < maxima.size(); ++channel)
    scales.push_back(scaleFor(largest[indexOf(channel)]));
  return scales;
}

llvm::Expected<std::vector<float>>
StaticScales::choosePart(Value part, llvm::ArrayRef<float> maxima) {
  int64_t size = maxima.size();
  auto uniform = [&](float range) {
    return std::vector<float>(size, scaleFor(range));
  };
  auto observed = [&](const std::string &name) {
    llvm::Expected<float> range = statistics.getRange(name);
    return range ? llvm::Expected<std::vector<float>>(uniform(*range))
                 : range.takeError();
  };
  auto groupsOf = [&](int64_t groups) {
    return coverRuns(maxima, llvm::SmallVector<int64_t>(groups, size / groups));
  };
  for (Operation *user : part.getUsers()) {
    if (auto conv = llvm::dyn_cast<CausalConv1DOp>(user))
      return coverRuns(maxima, getSections(conv));
    if (auto scan = llvm::dyn_cast<SsmScanOp>(user)) {
      if (scan.getInput() == part && perChannel)
        return coverRuns(maxima, llvm::SmallVector<int64_t>(size, 1));
      if (scan.getInput() == part)
        return observed(getObservedName("ssm",
                                        scan.getState() ? Value(scan.getState())
                                                        : Value(scan.getA()),
                                        "u"));
      if (scan.getB() == part || scan.getC() == part)
        return groupsOf(scan.getGroups());
    }
    if (auto scan = llvm::dyn_cast<SsdScanOp>(user)) {
      if (scan.getB() == part || scan.getC() == part)
        return groupsOf(scan.getGroups());
      if (scan.getInput() == part) {
        if (ClustersAttr clusters = scan.getClustersAttr())
          return coverClusters(scan, clusters, maxima);
        return observed(getObservedName("ssd", scan.getState(), "x"));
      }
    }
  }
  return uniform(*std::max_element(maxima.begin(), maxima.end()));
}

/// The op's resource after which its values are named.
static Value getResource(Operation *producer) {
  if (auto linear = llvm::dyn_cast<LinearOp>(producer))
    return linear.getWeight();
  return llvm::cast<CausalConv1DOp>(producer).getState();
}

llvm::Expected<std::vector<PartScales>>
StaticScales::choose(Operation *producer, ValueRange parts) {
  std::string name =
      getObservedName(llvm::isa<LinearOp>(producer) ? "linear" : "conv",
                      getResource(producer), "out");
  auto maxima =
      statistics.getChannelMax(name, getFeatures(producer->getResult(0)));
  if (!maxima)
    return maxima.takeError();
  std::vector<PartScales> scales;
  int64_t offset = 0;
  for (Value part : parts) {
    int64_t size = getFeatures(part);
    auto chosen =
        choosePart(part, llvm::ArrayRef<float>(*maxima).slice(offset, size));
    if (!chosen)
      return chosen.takeError();
    scales.push_back({offset, std::move(*chosen)});
    offset += size;
  }
  return scales;
}

/// The kind of a scan, its state, and what an operand is called there.
static std::string getOperandName(OpOperand &use) {
  if (auto scan = llvm::dyn_cast<SsmScanOp>(use.getOwner())) {
    llvm::StringRef port = use.get() == scan.getInput() ? "u"
                           : use.get() == scan.getDt()  ? "dt"
                           : use.get() == scan.getB()   ? "b"
                           : use.get() == scan.getC()   ? "c"
                                                        : "z";
    // A scan of an image has no state.
    return getObservedName(
        "ssm", scan.getState() ? Value(scan.getState()) : Value(scan.getA()),
        port);
  }
  auto scan = llvm::cast<SsdScanOp>(use.getOwner());
  llvm::StringRef port = use.get() == scan.getInput() ? "x"
                         : use.get() == scan.getDt()  ? "dt"
                         : use.get() == scan.getB()   ? "b"
                                                      : "c";
  return getObservedName("ssd", scan.getState(), port);
}

llvm::Expected<PartScales> StaticScales::chooseOperand(OpOperand &use) {
  std::string name = getOperandName(use);
  auto maxima = statistics.getChannelMax(name, getFeatures(use.get()));
  if (!maxima)
    return maxima.takeError();
  auto values = choosePart(use.get(), *maxima);
  if (!values)
    return values.takeError();
  return PartScales{0, std::move(*values)};
}

Value StaticScales::getOperand(OpBuilder &builder, OpOperand &use,
                               const PartScales &scales) {
  return declare(builder, use.getOwner()->getLoc(),
                 getOperandName(use) + ".scale", scales.values);
}

Value StaticScales::declare(OpBuilder &builder, Location loc,
                            const llvm::Twine &name,
                            llvm::ArrayRef<float> values) {
  // One scale for all need not be repeated.
  if (llvm::all_equal(values))
    values = values.take_front();
  auto type = WeightType::get(builder.getContext(), {int64_t(values.size())},
                              TypeAttr::get(builder.getF32Type()));
  // Names of observed values hold an '@', those of weights none.
  std::string symbol = name.str();
  llvm::erase(symbol, '@');
  if (!symbols.lookup(symbol)) {
    auto tensor = RankedTensorType::get(type.getShape(), builder.getF32Type());
    OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
    auto weight = WeightOp::create(top, loc, symbol, type,
                                   DenseElementsAttr::get(tensor, values));
    weight->remove();
    symbols.insert(weight, module.getBody()->begin());
  }
  return UseOp::create(builder, loc, type,
                       FlatSymbolRefAttr::get(builder.getContext(), symbol));
}

Value StaticScales::getWhole(OpBuilder &builder, Operation *producer,
                             llvm::ArrayRef<PartScales> parts) {
  std::vector<float> all;
  for (const PartScales &part : parts)
    all.insert(all.end(), part.values.begin(), part.values.end());
  return declare(builder, producer->getLoc(),
                 getSymbolOf(getResource(producer)) + ".out_scale", all);
}

Value StaticScales::getPart(OpBuilder &builder, Operation *producer,
                            const PartScales &part, bool isSplit) {
  llvm::StringRef name = getSymbolOf(getResource(producer));
  if (!isSplit)
    return declare(builder, producer->getLoc(), name + ".out_scale",
                   part.values);
  return declare(builder, producer->getLoc(),
                 name + ".out_scale." + llvm::Twine(part.offset), part.values);
}

llvm::Expected<Value>
StaticScales::foldIntoWeight(OpBuilder &builder, LinearOp linear,
                             llvm::ArrayRef<float> values) {
  auto weight = symbols.lookup<WeightOp>(getSymbolOf(linear.getWeight()));
  bool isRead = llvm::all_of(
      *SymbolTable::getSymbolUses(weight, module), [](const auto &symbolUse) {
        auto use = llvm::dyn_cast<UseOp>(symbolUse.getUser());
        return use && llvm::all_of(use.getResult().getUsers(), [](auto *user) {
                 return llvm::isa<LinearOp>(user);
               });
      });
  if (weight.getQuantized() || !isRead)
    return Value();
  if (folded.insert(weight.getSymName()).second) {
    llvm::Expected<WeightValues> matrix = WeightValues::read(weight);
    if (!matrix)
      return matrix.takeError();
    for (int64_t n = 0; n < matrix->getRows(); ++n)
      for (auto [w, scale] : llvm::zip(matrix->getRow(n), values))
        w *= scale;
    WeightValues::replace(weight, std::move(*matrix));
  }
  return declare(builder, linear.getLoc(),
                 getSymbolOf(linear.getWeight()) + ".in_scale", 1.0f);
}

llvm::Expected<Value> StaticScales::getSingle(OpBuilder &builder,
                                              LinearOp linear,
                                              llvm::StringRef observed) {
  llvm::Expected<float> range = statistics.getRange(observed);
  if (!range)
    return range.takeError();
  return declare(builder, linear.getLoc(),
                 getSymbolOf(linear.getWeight()) + ".in_scale",
                 scaleFor(*range));
}
