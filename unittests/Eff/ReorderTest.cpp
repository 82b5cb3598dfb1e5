//===- ReorderTest.cpp - orders that commute with the block ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "FeatureOrder.h"
#include "RunPasses.h"
#include "effc/Compress/Hadamard.h"
#include "effc/Compress/Observers.h"
#include "effc/Dialect/Eff/WeightValues.h"

#include "llvm/Support/Path.h"

using namespace mlir;
using namespace effc::eff;
using effc::compress::Permutation;

namespace effc::reference {
namespace {

constexpr int64_t kModel = 16, kHeads = 8, kHeadDim = 4, kGroups = 2,
                  kSteps = 4;
constexpr int64_t kInner = kHeads * kHeadDim;
constexpr int64_t kConv = kInner + 2 * kGroups * kSteps;
constexpr int64_t kProj = kInner + kConv + kHeads;

std::string shape(std::initializer_list<int64_t> sizes) {
  std::string text;
  for (int64_t size : sizes)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}
std::string weightType(const std::string &shape) {
  return "!eff.weight<" + shape + ", f32>";
}
std::string tokens(int64_t features) {
  return "tensor<" + shape({1, 3, features}) + "xf32>";
}

/// One block of Mamba-2 on three tokens. The time steps come through a softplus
/// with a bias, as an exporter spells it.
std::string block() {
  std::string text;
  std::vector<std::pair<std::string, std::string>> weights = {
      {"in", shape({kProj, kModel})},  {"conv", shape({kConv, 4})},
      {"conv_bias", shape({kConv})},   {"dt_bias", shape({kHeads})},
      {"skip", shape({kHeads})},       {"norm", shape({kInner})},
      {"out", shape({kModel, kInner})}};
  std::string uses;
  for (auto [index, entry] : llvm::enumerate(weights)) {
    int64_t count = 1;
    llvm::SmallVector<llvm::StringRef> parts;
    llvm::StringRef(entry.second).split(parts, 'x');
    for (llvm::StringRef part : parts)
      count *= std::stoll(part.str());
    text += weight(entry.first, entry.second, noise(count, index + 1));
    uses += use(entry.first, weightType(entry.second));
  }
  Values a(kHeads);
  for (int64_t h = 0; h < kHeads; ++h)
    a[h] = -0.25 * (h + 1);
  text += weight("a", shape({kHeads}), a);
  uses += use("a", weightType(shape({kHeads})));
  std::string conv = "!eff.state<conv, " + shape({3, kConv}) + ", f32>";
  std::string ssd =
      "!eff.state<ssd, " + shape({kHeads, kSteps, kHeadDim}) + ", f32>";
  text +=
      "eff.state @l0.conv : " + conv + "\neff.state @l0.ssm : " + ssd + "\n";
  uses += use("l0.conv", conv) + use("l0.ssm", ssd);
  std::string x = tokens(kModel), e = tokens(kInner), h = tokens(kHeads),
              c = tokens(kConv), bc = tokens(kGroups * kSteps);
  text += "func.func @main(%x: " + x + ") -> " + x + " {\n" + uses;
  text += "%p = eff.linear %x, %in : " + x + ", " +
          weightType(shape({kProj, kModel})) + " -> " + tokens(kProj) + "\n";
  text += "%z, %xbc, %dt0 = eff.split %p : " + tokens(kProj) + " -> " + e +
          ", " + c + ", " + h + "\n";
  text += "%u = eff.causal_conv1d %xbc, %conv, %l0.conv bias %conv_bias "
          "{activation = #eff.activation<silu>} : " +
          c + ", " + weightType(shape({kConv, 4})) + ", " + conv + ", " +
          weightType(shape({kConv})) + "\n";
  text += "%v, %b, %c = eff.split %u : " + c + " -> " + e + ", " + bc + ", " +
          bc + "\n";
  std::string vector = "tensor<" + shape({kHeads}) + "xf32>";
  text += "%r = eff.read %dt_bias : " + weightType(shape({kHeads})) + " -> " +
          vector + "\n%em = tensor.empty() : " + h +
          "\n%bb = linalg.broadcast ins(%r : " + vector + ") outs(%em : " + h +
          ") dimensions = [0, 1]\n";
  text += "%dt1 = arith.addf %dt0, %bb : " + h +
          "\n%zero = arith.constant dense<0.0> : " + h +
          "\n%s0 = math.absf %dt1 : " + h + "\n%s1 = arith.negf %s0 : " + h +
          "\n%s2 = math.exp %s1 : " + h +
          "\n%s3 = arith.maximumf %dt1, %zero : " + h +
          "\n%s4 = math.log1p %s2 : " + h +
          "\n%dt = arith.addf %s3, %s4 : " + h + "\n";
  text +=
      "%y = eff.ssd_scan %v, %dt, %a, %b, %c, %l0.ssm skip %skip {heads = " +
      std::to_string(kHeads) + ", groups = " + std::to_string(kGroups) +
      "} : " + e + ", " + h + ", " + weightType(shape({kHeads})) + ", " + bc +
      ", " + ssd + ", " + weightType(shape({kHeads})) + "\n";
  text += "%n = eff.gated_norm %y, %z, %norm {eps = 1.0e-5 : f32, group = " +
          std::to_string(kInner / kGroups) + "} : " + e + ", " +
          weightType(shape({kInner})) + "\n";
  text += "%o = eff.linear %n, %out : " + e + ", " +
          weightType(shape({kModel, kInner})) + " -> " + x +
          "\nreturn %o : " + x + "\n}\n";
  return text;
}

/// A calibration that has seen these magnitudes of scan inputs, as a file that
/// goes with the object.
class CalibrationFile {
public:
  explicit CalibrationFile(
      const std::map<std::string, std::vector<float>> &magnitudes) {
    llvm::SmallString<128> name;
    EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("effc", "json", name));
    path = name.str().str();
    compress::Calibration calibration;
    for (auto &[state, values] : magnitudes) {
      compress::ObserverSettings settings;
      settings.kind = compress::ObserverKind::ChannelAbsMax;
      settings.channels = values.size();
      std::string base = "ssd:@" + state + ":x";
      auto observer = calibration.add(base + "/channel-abs-max", settings);
      EXPECT_TRUE(bool(observer));
      EXPECT_TRUE(bool((*observer)->observe(compress::MatrixView<const float>(
          values.data(), 1, int64_t(values.size())))));
      EXPECT_TRUE(bool((*observer)->endSample()));
      EXPECT_TRUE(bool(calibration.addAlias(base + "#channel-abs-max",
                                            base + "/channel-abs-max")));
    }
    EXPECT_TRUE(bool(calibration.save(path)));
  }
  ~CalibrationFile() {
    llvm::sys::fs::remove(path);
    llvm::sys::fs::remove(path + ".bin");
  }
  std::string pass(int64_t heads, int64_t channels) const {
    return "eff-reorder{calibration=" + path +
           " head-clusters=" + std::to_string(heads) +
           " channel-clusters=" + std::to_string(channels) + "}";
  }
  std::string path;
};

/// Magnitudes over some decades.
std::vector<float> spread(int64_t count, uint64_t seed) {
  std::vector<float> values;
  for (double value : noise(count, seed))
    values.push_back(float(std::exp2(4 * value)));
  return values;
}

struct Outcome {
  Values y;
  std::map<std::string, std::vector<double>> states;
};

Outcome compute(ModuleOp module) {
  Interpreter<double> interpreter(module);
  Sequence<double> sequence = interpreter.createSequence();
  auto outputs = interpreter.run(
      "main", {tensor<double>({1, 3, kModel}, noise(3 * kModel, 77))},
      {{&sequence, 3}});
  if (!outputs) {
    ADD_FAILURE() << llvm::toString(outputs.takeError());
    return {};
  }
  return {outputs->front().floats, sequence.buffers};
}

WeightOp find(ModuleOp module, llvm::StringRef name) {
  return llvm::cast<WeightOp>(SymbolTable::lookupSymbolIn(module, name));
}

std::vector<float> valuesOf(ModuleOp module, llvm::StringRef name) {
  auto values = WeightValues::read(find(module, name));
  EXPECT_TRUE(bool(values));
  return values->getValues().vec();
}

std::vector<int64_t> orderOf(ModuleOp module, llvm::StringRef state) {
  auto order = SymbolTable::lookupSymbolIn(module, state)
                   ->getAttrOfType<DenseI64ArrayAttr>("eff.order");
  EXPECT_TRUE(order);
  return order ? order.asArrayRef().vec() : std::vector<int64_t>();
}

// quamba2.md 5.1. The sums of the norm and of out_proj run in another order.
TEST(Reorder, PermutationLeavesTheBlock) {
  for (bool fused : {false, true}) {
    Model model(block());
    Outcome expected = compute(*model.module);
    CalibrationFile file({{"l0.ssm", spread(kInner, 5)}});
    std::string passes = file.pass(2, 3);
    if (fused)
      passes = "func.func(eff-fuse-dt)," + passes;
    ASSERT_TRUE(runPasses(*model.module, passes));
    Outcome actual = compute(*model.module);
    expectNear(actual.y, expected.y, 1e-12);

    // The states are the permuted ones of the model.
    std::vector<int64_t> order = orderOf(*model.module, "l0.ssm");
    ASSERT_EQ(order.size(), size_t(kInner));
    EXPECT_FALSE(llvm::is_sorted(order));
    const auto &was = expected.states["l0.ssm"], &is = actual.states["l0.ssm"];
    for (int64_t i = 0; i < kInner; ++i)
      for (int64_t n = 0; n < kSteps; ++n)
        EXPECT_NEAR(is[(i / kHeadDim * kSteps + n) * kHeadDim + i % kHeadDim],
                    was[(order[i] / kHeadDim * kSteps + n) * kHeadDim +
                        order[i] % kHeadDim],
                    1e-13);
    std::vector<int64_t> conv = orderOf(*model.module, "l0.conv");
    ASSERT_EQ(conv.size(), size_t(kConv));
    for (int64_t i = 0; i < 3 * kConv; ++i)
      EXPECT_EQ(
          actual.states["l0.conv"][i],
          expected.states["l0.conv"][i / kConv * kConv + conv[i % kConv]]);
  }
}

/// Exchanges two heads in all weights of the block, as far as the wiring asks.
/// False when the wiring does not allow it.
bool exchangeHeads(ModuleOp module, int64_t i, int64_t j) {
  std::vector<int64_t> indices(kHeads);
  for (int64_t h = 0; h < kHeads; ++h)
    indices[h] = h == i ? j : h == j ? i : h;
  auto heads = Permutation::create(indices);
  EXPECT_TRUE(bool(heads));
  Permutation channels = heads->expanded(kHeadDim);
  FeatureOrders orders;
  bool fits = true;
  module.walk([&](SsdScanOp scan) {
    orders.setAnchor(scan);
    fits = succeeded(orders.require(scan.getInput(), channels, scan)) &&
           succeeded(orders.require(scan.getResult(), channels, scan)) &&
           succeeded(orders.require(scan.getDt(), *heads, scan)) &&
           succeeded(orders.requireRows(scan.getAMutable(), *heads)) &&
           succeeded(orders.requireRows(scan.getSkipMutable()[0], *heads));
  });
  if (!fits || failed(orders.propagate()))
    return false;
  for (auto &[name, order] : orders.getWeights()) {
    auto values = WeightValues::read(find(module, name));
    EXPECT_TRUE(bool(values));
    compress::MatrixView<float> view(values->getValues().data(),
                                     values->getRows(), values->getColumns());
    if (view.rows == 1)
      view = {view.data, view.cols, 1};
    if (order.rows) {
      EXPECT_TRUE(bool(order.rows->applyToRows(view)));
    }
    if (order.columns) {
      EXPECT_TRUE(bool(order.columns->applyToColumns(view)));
    }
    WeightValues::replace(find(module, name), std::move(*values));
  }
  return true;
}

// quamba2.md 5.1: B and C belong to groups.
TEST(Reorder, CrossingGroupsFails) {
  for (int64_t other : {1, 4}) {
    // A norm of groups sees it at once, one over all channels does not.
    for (bool grouped : {true, false}) {
      Model model(block());
      if (!grouped)
        model.module->walk([](GatedNormOp norm) { norm.setGroup(0); });
      Values expected = compute(*model.module).y;
      ScopedDiagnosticHandler quiet(&model.context,
                                    [](Diagnostic &) { return success(); });
      bool allowed = exchangeHeads(*model.module, 0, other);
      EXPECT_EQ(allowed, other == 1 || !grouped);
      if (!allowed)
        continue;
      Values actual = compute(*model.module).y;
      double error = 0, largest = 0;
      for (size_t i = 0; i < actual.size(); ++i) {
        error = std::max(error, std::fabs(actual[i] - expected[i]));
        largest = std::max(largest, std::fabs(expected[i]));
      }
      if (other == 1)
        EXPECT_LT(error, 1e-12 * largest);
      else
        EXPECT_GT(error, 1e-2 * largest);
    }
  }
}

// quamba2.md 5.3: W[:, P] H^T; the other way round is refused.
TEST(Reorder, ReorderThenRotate) {
  Model model(block());
  Outcome expected = compute(*model.module);
  std::vector<float> out = valuesOf(*model.module, "out");
  CalibrationFile file({{"l0.ssm", spread(kInner, 5)}});
  ASSERT_TRUE(
      runPasses(*model.module, file.pass(4, 2) + ",eff-rotate{online=true}"));
  expectNear(compute(*model.module).y, expected.y, 2e-6);

  auto order = Permutation::create(orderOf(*model.module, "l0.ssm"));
  ASSERT_TRUE(bool(order));
  compress::MatrixView<float> view(out.data(), kModel, kInner);
  ASSERT_TRUE(bool(order->applyToColumns(view)));
  auto plan = compress::HadamardPlan::create(kInner);
  ASSERT_TRUE(bool(plan));
  ASSERT_TRUE(bool(compress::rotateInputs(*plan, view)));
  EXPECT_EQ(valuesOf(*model.module, "out"), out);
  std::string text = print(*model.module);
  EXPECT_NE(text.find("in <order = \"l0.ssm\", hadamard = 32>"),
            std::string::npos)
      << text;
}

std::string errorOf(Model &model, const std::string &passes) {
  std::string text;
  ScopedDiagnosticHandler handler(&model.context, [&](Diagnostic &diagnostic) {
    text += diagnostic.str() + "\n";
    for (Diagnostic &note : diagnostic.getNotes())
      text += note.str() + "\n";
    return success();
  });
  EXPECT_FALSE(runPasses(*model.module, passes));
  return text;
}

TEST(Reorder, RotateThenReorderIsRefused) {
  Model model(block());
  CalibrationFile file({{"l0.ssm", spread(kInner, 5)}});
  ASSERT_TRUE(runPasses(*model.module, "eff-rotate{online=true}"));
  std::string before = print(*model.module);
  std::string text = errorOf(model, file.pass(4, 2));
  EXPECT_NE(text.find("EFF0421"), std::string::npos) << text;
  EXPECT_NE(text.find("behind a rotation there are no channels"),
            std::string::npos)
      << text;
  EXPECT_EQ(print(*model.module), before);
}

TEST(Reorder, CalibrationsThatDoNotFitAreRefused) {
  Model model(block());
  CalibrationFile other({{"l1.ssm", spread(kInner, 5)}});
  std::string text = errorOf(model, other.pass(2, 2));
  EXPECT_NE(text.find("the calibration lacks the value 'ssd:@l0.ssm:x'"),
            std::string::npos)
      << text;
  CalibrationFile shorter({{"l0.ssm", spread(kInner / 2, 5)}});
  text = errorOf(model, shorter.pass(2, 2));
  EXPECT_NE(text.find("16 channels there, 32 here"), std::string::npos) << text;
}

// quamba2.md 5.4: every channel has one scale, the ends are the counts.
TEST(Reorder, RangeTables) {
  for (auto [headClusters, channelClusters] :
       {std::pair{1, 1}, {2, 3}, {4, 4}, {3, 2}}) {
    Model model(block());
    CalibrationFile file({{"l0.ssm", spread(kInner, 9)}});
    ASSERT_TRUE(
        runPasses(*model.module, file.pass(headClusters, channelClusters)));
    SsdScanOp scan;
    model.module->walk([&](SsdScanOp op) { scan = op; });
    ClustersAttr clusters = scan.getClustersAttr();
    ASSERT_TRUE(clusters);
    ASSERT_EQ(clusters.getHeadEnds().size(), size_t(kGroups * headClusters));
    ASSERT_EQ(clusters.getChannelEnds().size(),
              size_t(kGroups * headClusters * channelClusters));
    std::map<int64_t, int64_t> members;
    for (int64_t g = 0; g < kGroups; ++g)
      for (int64_t h = 0; h < kHeads / kGroups; ++h)
        for (int64_t p = 0; p < kHeadDim; ++p) {
          auto place = [](llvm::ArrayRef<int64_t> ends, int64_t i) {
            return llvm::count_if(ends, [&](int64_t end) { return end <= i; });
          };
          int64_t hc = place(
              clusters.getHeadEnds().slice(g * headClusters, headClusters), h);
          ASSERT_LT(hc, headClusters);
          int64_t row = g * headClusters + hc;
          int64_t cc = place(clusters.getChannelEnds().slice(
                                 row * channelClusters, channelClusters),
                             p);
          ASSERT_LT(cc, channelClusters);
          ++members[row * channelClusters + cc];
        }
    EXPECT_EQ(members.size(), size_t(kGroups * headClusters * channelClusters));
    for (int64_t g = 0; g < kGroups; ++g)
      EXPECT_EQ(clusters.getHeadEnds()[(g + 1) * headClusters - 1],
                kHeads / kGroups);
  }
}

TEST(Reorder, TheSameTwice) {
  std::string texts[2];
  for (std::string &text : texts) {
    Model model(block());
    CalibrationFile file({{"l0.ssm", spread(kInner, 5)}});
    ASSERT_TRUE(runPasses(*model.module, file.pass(2, 2)));
    text = print(*model.module);
  }
  EXPECT_EQ(texts[0], texts[1]);
}

class ReorderModel : public testing::TestWithParam<const char *> {};

TEST_P(ReorderModel, LogitsStay) {
  MLIRContext context;
  auto model = raise(context, GetParam());
  if (!model)
    GTEST_SKIP() << GetParam() << " is not there";
  std::map<std::string, std::vector<float>> magnitudes;
  (*model)->walk([&](StateOp state) {
    llvm::ArrayRef<int64_t> shape = state.getType().getShape();
    if (state.getType().getKind() == StateKind::Ssd)
      magnitudes[state.getSymName().str()] =
          spread(shape[0] * shape[2], magnitudes.size() + 1);
  });
  auto expected = runModel<double>(**model);
  CalibrationFile file(magnitudes);
  ASSERT_TRUE(runPasses(**model, file.pass(4, 4)));
  auto actual = runModel<double>(**model);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    expectNear(actual[i], expected[i], 1e-11);
  int64_t scans = 0;
  (*model)->walk([&](SsdScanOp scan) {
    EXPECT_TRUE(scan.getClustersAttr());
    ++scans;
  });
  // In both entry points.
  EXPECT_EQ(scans, int64_t(2 * magnitudes.size()));
}
INSTANTIATE_TEST_SUITE_P(Models, ReorderModel,
                         testing::Values("mamba2-tiny", "mamba2-16m"),
                         [](const auto &info) {
                           return "Case" + std::to_string(info.index);
                         });

} // namespace
} // namespace effc::reference
