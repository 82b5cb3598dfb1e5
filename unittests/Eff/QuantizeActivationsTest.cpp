//===- QuantizeActivationsTest.cpp - int8 activations, states, layers -----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "effc/Compress/Observers.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <fstream>

using namespace mlir;
using namespace effc::eff;

namespace effc::reference {
namespace {

constexpr int64_t kTokens = 5, kWidth = 16, kInner = 32, kHeads = 4,
                  kGroups = 2, kStates = 8,
                  kConv = kInner + 2 * kGroups * kStates;

/// A block of Mamba-2 with int8 weights and float activations.
std::string block() {
  int64_t in = kInner + kConv + kHeads;
  auto shape = [](int64_t n, int64_t k) {
    return std::to_string(n) + "x" + std::to_string(k);
  };
  auto int8 = [&](const std::string &name, int64_t n, int64_t k, int seed) {
    return "eff.weight @" + name + " : !eff.weight<" + shape(n, k) +
           ", #eff.int8> = " + dense(noise(n * k, seed), shape(n, k)) + "\n";
  };
  std::string text =
      int8("in_proj", in, kWidth, 1) + int8("out_proj", kWidth, kInner, 2) +
      weight("conv", shape(kConv, 4), noise(kConv * 4, 3)) +
      weight("a", "4", {-0.5, -1, -1.5, -2}) +
      weight("skip", "4", noise(4, 4)) + weight("bias", "4", noise(4, 5)) +
      weight("norm", "32", noise(32, 6)) +
      "eff.state @conv_state : !eff.state<conv, 3x64, f32>\n"
      "eff.state @ssm_state : !eff.state<ssd, 4x8x8, f32>\n"
      "func.func @main(%x: tensor<1x5x16xf32>) -> tensor<1x5x16xf32> {\n" +
      use("in_proj", "!eff.weight<" + shape(in, kWidth) + ", #eff.int8>") +
      use("out_proj", "!eff.weight<16x32, #eff.int8>") +
      use("conv", "!eff.weight<64x4, f32>") + use("a", "!eff.weight<4, f32>") +
      use("skip", "!eff.weight<4, f32>") + use("bias", "!eff.weight<4, f32>") +
      use("norm", "!eff.weight<32, f32>") +
      use("conv_state", "!eff.state<conv, 3x64, f32>") +
      use("ssm_state", "!eff.state<ssd, 4x8x8, f32>");
  return text + R"(
    %0 = eff.linear %x, %in_proj : tensor<1x5x16xf32>, !eff.weight<100x16, #eff.int8> -> tensor<1x5x100xf32>
    %z, %xbc, %dt = eff.split %0 : tensor<1x5x100xf32> -> tensor<1x5x32xf32>, tensor<1x5x64xf32>, tensor<1x5x4xf32>
    %1 = eff.causal_conv1d %xbc, %conv, %conv_state {activation = #eff.activation<silu>}
      : tensor<1x5x64xf32>, !eff.weight<64x4, f32>, !eff.state<conv, 3x64, f32>
    %u, %b, %c = eff.split %1 : tensor<1x5x64xf32> -> tensor<1x5x32xf32>, tensor<1x5x16xf32>, tensor<1x5x16xf32>
    %2 = eff.ssd_scan %u, %dt, %a, %b, %c, %ssm_state skip %skip dt_bias %bias {heads = 4, groups = 2, dt_softplus}
      : tensor<1x5x32xf32>, tensor<1x5x4xf32>, !eff.weight<4, f32>, tensor<1x5x16xf32>, !eff.state<ssd, 4x8x8, f32>,
        !eff.weight<4, f32> dt_bias !eff.weight<4, f32>
    %3 = eff.gated_norm %2, %z, %norm {eps = 1.0e-5 : f32} : tensor<1x5x32xf32>, !eff.weight<32, f32>
    %4 = eff.linear %3, %out_proj : tensor<1x5x32xf32>, !eff.weight<16x32, #eff.int8> -> tensor<1x5x16xf32>
    return %4 : tensor<1x5x16xf32>
  })";
}

/// A calibration that saw magnitudes up to `range` everywhere.
class CalibrationFile {
public:
  using Channels = std::vector<std::pair<std::string, int64_t>>;

  /// The values of the block of Mamba-2.
  static Channels block(bool complete = true) {
    Channels values = {{"linear:@in_proj:in", kWidth},
                       {"linear:@in_proj:out", 100},
                       {"linear:@out_proj:in", kInner},
                       {"ssd:@ssm_state:x", kInner},
                       {"state:@ssm_state", 4 * 8 * 8}};
    if (complete)
      values.emplace_back("conv:@conv_state:out", kConv);
    return values;
  }

  explicit CalibrationFile(float range, const Channels &values = block()) {
    compress::Calibration calibration;
    for (const auto &[value, channels] : values)
      add(calibration, value, channels, range);
    llvm::SmallString<128> name;
    EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("effc-calib", name));
    directory = name.str().str();
    llvm::sys::path::append(name, "calibration.json");
    path = name.str().str();
    EXPECT_TRUE(bool(calibration.save(path)));
  }
  ~CalibrationFile() { llvm::sys::fs::remove_directories(directory); }

  std::string path;

private:
  static void add(compress::Calibration &calibration, const std::string &name,
                  int64_t channels, float range) {
    compress::ObserverSettings settings;
    settings.kind = compress::ObserverKind::ChannelAbsMax;
    settings.channels = channels;
    auto observer = calibration.add(name + "/channel-abs-max", settings);
    ASSERT_TRUE(bool(observer));
    std::vector<float> row(channels, range);
    EXPECT_TRUE(bool((*observer)->observe({row.data(), 1, channels})));
    EXPECT_TRUE(bool((*observer)->endSample()));
  }

  std::string directory;
};

LogicalResult run(Model &model, const std::string &pipeline) {
  static bool registered = (registerEffPasses(), true);
  (void)registered;
  PassManager pm(&model.context, ModuleOp::getOperationName());
  if (failed(parsePassPipeline(pipeline, pm)))
    return failure();
  return pm.run(*model.module);
}

Values outputOf(Model &model) {
  auto input = Tensor<double>::fromFloats({1, kTokens, kWidth},
                                          noise(kTokens * kWidth, 9));
  auto sequence = model.get<double>().createSequence();
  return model.run<double>({input}, {Row<double>{&sequence, -1}})[0].floats;
}

double relativeError(const Values &expected, const Values &actual) {
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(expected[i] - actual[i], 2);
    size += std::pow(expected[i], 2);
  }
  return std::sqrt(error / size);
}

int64_t count(Model &model, llvm::StringRef name) {
  int64_t found = 0;
  model.module->walk(
      [&](Operation *op) { found += op->getName().getStringRef() == name; });
  return found;
}

TEST(QuantizeActivations, ABlockOfInt8ActivationsStaysClose) {
  CalibrationFile calibration(4);
  Model exact(block()), model(block());
  Values expected = outputOf(exact);
  ASSERT_TRUE(succeeded(run(model, "eff-quantize-activations{"
                                   "calibration=" +
                                       calibration.path + "}")));
  ASSERT_TRUE(succeeded(verify(*model.module)));
  // in_proj's input and output, the convolution's output, out_proj's input.
  EXPECT_EQ(count(model, "eff.quantize_static"), 4);
  // conv, x, B, C, dt and the gate.
  EXPECT_EQ(count(model, "eff.dequantize"), 6);
  // Steps of 4 / 127 for B, C, x and the gate, whose values are about 0.3:
  // 3 % each.
  double error = relativeError(expected, outputOf(model));
  EXPECT_GT(error, 1e-4);
  EXPECT_LT(error, 0.12);
}

TEST(QuantizeActivations, FinerScalesLoseLess) {
  Model exact(block()), coarse(block()), fine(block());
  Values expected = outputOf(exact);
  CalibrationFile narrow(4), wide(64);
  auto pass = [](const std::string &path) {
    return "eff-quantize-activations{calibration=" + path + "}";
  };
  ASSERT_TRUE(succeeded(run(fine, pass(narrow.path))));
  ASSERT_TRUE(succeeded(run(coarse, pass(wide.path))));
  EXPECT_LT(4 * relativeError(expected, outputOf(fine)),
            relativeError(expected, outputOf(coarse)));
}

TEST(QuantizeActivations, LinearsAloneWithoutMixers) {
  CalibrationFile calibration(4);
  Model model(block());
  ASSERT_TRUE(succeeded(run(model, "eff-quantize-activations{mixers=false "
                                   "calibration=" +
                                       calibration.path + "}")));
  EXPECT_EQ(count(model, "eff.quantize_static"), 2);
  EXPECT_EQ(count(model, "eff.dequantize"), 0);
}

TEST(QuantizeActivations, LayersOfFloatActivationsStay) {
  CalibrationFile calibration(4);
  std::string file = calibration.path + ".precision";
  std::ofstream(file) << "{\"in_proj\": \"w8a16\"}";
  Model model(block());
  ASSERT_TRUE(
      succeeded(run(model, "eff-quantize-activations{precision=" + file +
                               " calibration=" + calibration.path + "}")));
  EXPECT_EQ(count(model, "eff.quantize_static"), 1);
}

TEST(QuantizeActivations, WhatWasNotObservedIsNamed) {
  CalibrationFile calibration(4, CalibrationFile::block(/*complete=*/false));
  Model model(block());
  std::string message;
  ScopedDiagnosticHandler handler(&model.context, [&](Diagnostic &diagnostic) {
    message += diagnostic.str();
    return success();
  });
  EXPECT_TRUE(failed(run(model, "eff-quantize-activations{"
                                "calibration=" +
                                    calibration.path + "}")));
  EXPECT_NE(message.find("conv:@conv_state:out"), std::string::npos) << message;
}

/// A Mamba-1 scan whose input is multiplied after the convolution.
std::string scaledScan() {
  return "eff.weight @x_proj : !eff.weight<12x8, #eff.int8> = " +
         dense(noise(96, 1), "12x8") + "\n" +
         "eff.weight @dt_proj : !eff.weight<8x4, #eff.int8> = " +
         dense(noise(32, 2), "8x4") + "\n" +
         weight("a", "8x4", Values(32, -1.0)) +
         "eff.state @scan : !eff.state<ssm, 4x8, f32>\n"
         "func.func @main(%x: tensor<1x5x8xf32>) -> tensor<1x5x8xf32> {\n" +
         use("x_proj", "!eff.weight<12x8, #eff.int8>") +
         use("dt_proj", "!eff.weight<8x4, #eff.int8>") +
         use("a", "!eff.weight<8x4, f32>") +
         use("scan", "!eff.state<ssm, 4x8, f32>") + R"(
    %u = arith.mulf %x, %x : tensor<1x5x8xf32>
    %0 = eff.linear %u, %x_proj : tensor<1x5x8xf32>, !eff.weight<12x8, #eff.int8> -> tensor<1x5x12xf32>
    %low, %b, %c = eff.split %0 : tensor<1x5x12xf32> -> tensor<1x5x4xf32>, tensor<1x5x4xf32>, tensor<1x5x4xf32>
    %dt = eff.linear %low, %dt_proj : tensor<1x5x4xf32>, !eff.weight<8x4, #eff.int8> -> tensor<1x5x8xf32>
    %y = eff.ssm_scan %u, %dt, %a, %b, %c, %scan {dt_softplus}
      : tensor<1x5x8xf32>, !eff.weight<8x4, f32>, tensor<1x5x4xf32>, !eff.state<ssm, 4x8, f32>
    %z = arith.addf %y, %u : tensor<1x5x8xf32>
    return %z : tensor<1x5x8xf32>
  })";
}

TEST(QuantizeActivations, ALinearTakesTheCodesOfTheScanBesideIt) {
  CalibrationFile calibration(2, {{"linear:@x_proj:in", 8},
                                  {"linear:@x_proj:out", 12},
                                  {"linear:@dt_proj:in", 4},
                                  {"linear:@dt_proj:out", 8},
                                  {"ssm:@scan:u", 8}});
  for (const char *option : {"channels ", ""}) {
    Model model(scaledScan());
    ASSERT_TRUE(
        succeeded(run(model, std::string("eff-quantize-activations{") + option +
                                 "calibration=" + calibration.path + "}")));
    ASSERT_TRUE(succeeded(verify(*model.module)));
    // u, what x_proj computes and dt: u is rounded once for both readers.
    EXPECT_EQ(count(model, "eff.quantize_static"), 3) << option;
    model.module->walk([&](SsmScanOp scan) {
      auto codes = scan.getInput().getDefiningOp<DequantizeOp>().getInput();
      int64_t linears = llvm::count_if(codes.getUsers(), [](Operation *user) {
        return isa<LinearOp>(user);
      });
      EXPECT_EQ(linears, 1) << option;
    });
    // What else reads u reads it as it is.
    model.module->walk([&](arith::AddFOp add) {
      EXPECT_TRUE(add.getRhs().getDefiningOp<arith::MulFOp>()) << option;
    });
  }
}

TEST(QuantizeStates, EveryFormatStaysClose) {
  CalibrationFile calibration(4);
  Model exact(block());
  Values expected = outputOf(exact);
  std::string activations =
      "eff-quantize-activations{calibration=" + calibration.path + "}";
  Model float8(block());
  ASSERT_TRUE(succeeded(run(float8, activations)));
  double before = relativeError(expected, outputOf(float8));
  for (const char *format :
       {"scan=static", "scan=dynamic", "scan=dynamic rounding=stochastic",
        "scan=dynamic residual=4", "scan=static residual=8",
        "scan=dynamic every=call", "scan=static every=call"}) {
    Model model(block());
    ASSERT_TRUE(succeeded(
        run(model, activations + ",eff-quantize-states{conv " + format +
                       " calibration=" + calibration.path + "}")))
        << format;
    ASSERT_TRUE(succeeded(verify(*model.module)));
    for (StateOp state : model.module->getOps<StateOp>())
      EXPECT_FALSE(state.getType().isF32()) << format;
    // The convolution's codes are exact: only the scan's state rounds, by
    // half a step of at most 5 / 127 for states of about 0.5.
    EXPECT_LT(relativeError(expected, outputOf(model)), before + 0.05)
        << format;
  }
}

TEST(QuantizeStates, CodesOfConvolutionsAreExact) {
  CalibrationFile calibration(4);
  std::string activations =
      "eff-quantize-activations{calibration=" + calibration.path + "}";
  Model before(block()), after(block());
  ASSERT_TRUE(succeeded(run(before, activations)));
  ASSERT_TRUE(
      succeeded(run(after, activations + ",eff-quantize-states{conv}")));
  EXPECT_EQ(outputOf(before), outputOf(after));
}

TEST(QuantizeStates, NothingToQuantiseIsRefused) {
  Model model(block());
  std::string message;
  ScopedDiagnosticHandler handler(&model.context, [&](Diagnostic &diagnostic) {
    message += diagnostic.str();
    return success();
  });
  // The convolution reads f32, and there are no caches.
  EXPECT_TRUE(failed(run(model, "eff-quantize-states{conv cache}")));
  EXPECT_NE(message.find("no state or cache"), std::string::npos) << message;
}

} // namespace
} // namespace effc::reference
