//===- LayerTest.cpp - collapsed layers compute what they should ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The numbered invariants of the specification of VMeanba on layers of random
/// shapes, computed by the reference interpreter before and after
/// eff-collapse-channels. The arithmetic itself is tested with
/// effc/Compress/Collapse.h.
///
//===----------------------------------------------------------------------===//

#include "Model.h"

#include "effc/Compress/Collapse.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"

#include <random>

using namespace effc;
using namespace effc::reference;

namespace {

/// One SS2D core: scan orders, scan, merge, norm.
struct Layer {
  int64_t batch = 1, height = 3, width = 4, directions = 4, channels = 6, n = 3;
  /// What follows the merge, with %m as its input and %y as its result.
  std::string norm = "%y = eff.layer_norm %m, %w bias %v {eps = 1.0e-5 : f32} "
                     ": tensor<TYPE>, !eff.weight<E, f32>, !eff.weight<E, f32>";
  uint64_t seed = 1;

  int64_t pixels() const { return height * width; }
  int64_t all() const { return directions * channels; }
  std::string text() const;
  template <typename T> std::vector<Tensor<T>> inputs() const;
};

std::string replaced(std::string text, const std::string &from,
                     const std::string &to) {
  for (size_t at; (at = text.find(from)) != std::string::npos;)
    text.replace(at, from.size(), to);
  return text;
}

std::string Layer::text() const {
  Values a = noise(all() * n, seed), d = noise(all(), seed + 1);
  for (double &v : a)
    v = -std::fabs(v) - 0.125;
  std::string text =
      weight("l.A", std::to_string(all()) + "x" + std::to_string(n), a) +
      weight("l.D", "KE", d) + weight("l.w", "E", noise(channels, seed + 2)) +
      weight("l.v", "E", noise(channels, seed + 3)) + R"(
    func.func @main(%x: tensor<TYPE>, %dt: tensor<BxPxKExf32>, %b: tensor<BxPxKNxf32>, %c: tensor<BxPxKNxf32>,
                    %z: tensor<TYPE>) -> tensor<TYPE> {
      %a = eff.use @l.A : !eff.weight<KExN, f32>
      %d = eff.use @l.D : !eff.weight<KE, f32>
      %w = eff.use @l.w : !eff.weight<E, f32>
      %v = eff.use @l.v : !eff.weight<E, f32>
      %u = eff.cross_scan %x {directions = DIR, height = HH, width = WW} : tensor<TYPE> -> tensor<BxPxKExf32>
      %s = eff.ssm_scan %u, %dt, %a, %b, %c skip %d {groups = DIR}
        : tensor<BxPxKExf32>, !eff.weight<KExN, f32>, tensor<BxPxKNxf32> skip !eff.weight<KE, f32>
      %m = eff.cross_merge %s {directions = DIR, height = HH, width = WW} : tensor<BxPxKExf32> -> tensor<TYPE>
      NORM
      return %y : tensor<TYPE>
    })";
  text = replaced(text, "NORM", norm);
  text = replaced(text, "TYPE", "BxPxExf32");
  text = replaced(text, "BxPx",
                  std::to_string(batch) + "x" + std::to_string(pixels()) + "x");
  text =
      replaced(text, "KExN", std::to_string(all()) + "x" + std::to_string(n));
  text = replaced(text, "xKExf32", "x" + std::to_string(all()) + "xf32");
  text =
      replaced(text, "xKNxf32", "x" + std::to_string(directions * n) + "xf32");
  text = replaced(text, "xExf32", "x" + std::to_string(channels) + "xf32");
  text = replaced(text, "<KE,", "<" + std::to_string(all()) + ",");
  text = replaced(text, "<KExf32>", "<" + std::to_string(all()) + "xf32>");
  text = replaced(text, "<E,", "<" + std::to_string(channels) + ",");
  text = replaced(text, "<Exf32>", "<" + std::to_string(channels) + "xf32>");
  text = replaced(text, "DIR", std::to_string(directions));
  text = replaced(text, "HH", std::to_string(height));
  return replaced(text, "WW", std::to_string(width));
}

template <typename T> std::vector<Tensor<T>> Layer::inputs() const {
  int64_t rows = batch * pixels();
  Values dt = noise(rows * all(), seed + 4);
  for (double &v : dt)
    v = std::fabs(v);
  llvm::SmallVector<int64_t> image{batch, pixels(), channels};
  return {tensor<T>(image, noise(rows * channels, seed + 5)),
          tensor<T>({batch, pixels(), all()}, dt),
          tensor<T>({batch, pixels(), directions * n},
                    noise(rows * directions * n, seed + 6)),
          tensor<T>({batch, pixels(), directions * n},
                    noise(rows * directions * n, seed + 7)),
          tensor<T>(image, noise(rows * channels, seed + 8))};
}

/// Layers of random shapes: odd sizes, 1, 2 and 4 directions, up to 16 states.
std::vector<Layer> randomLayers() {
  std::mt19937 random(7);
  std::vector<Layer> layers;
  for (int i = 0; i < 12; ++i) {
    Layer layer;
    layer.batch = 1 + int64_t(random() % 2);
    layer.height = 1 + int64_t(random() % 7);
    layer.width = 2 + int64_t(random() % 6);
    layer.directions = 1 << random() % 3;
    layer.channels = 2 + int64_t(random() % 23);
    layer.n = 1 + int64_t(random() % 16);
    layer.seed = 100 * uint64_t(i + 1);
    layers.push_back(layer);
  }
  return layers;
}

using Options = eff::EffCollapseChannelsPassOptions;

/// Runs the pass; false when it reports an error.
bool collapse(Model &model, Options options) {
  mlir::PassManager pm(&model.context, mlir::ModuleOp::getOperationName());
  pm.addPass(eff::createEffCollapseChannelsPass(options));
  return succeeded(pm.run(*model.module)) &&
         succeeded(mlir::verify(*model.module));
}

Options whole(eff::CollapseMode variant, bool literal) {
  Options options;
  options.variant = variant;
  options.layers = {"0"};
  options.literal = literal;
  return options;
}

template <typename OpTy> int64_t count(Model &model) {
  int64_t found = 0;
  model.module->walk([&](OpTy) { ++found; });
  return found;
}

template <typename T>
std::vector<T> outputOf(const Layer &layer, Options options) {
  Model model(layer.text());
  EXPECT_TRUE(collapse(model, options));
  return model.run<T>(layer.inputs<T>())[0].floats;
}

Values toValues(const std::vector<double> &v) { return Values(v); }

std::string textOf(Model &model) {
  std::string text;
  llvm::raw_string_ostream(text) << *model.module;
  return text;
}

TEST(CollapsedLayer, VMeanbaInvariant1_EmptySelectionChangesNothing) {
  for (const Layer &layer : randomLayers()) {
    Model model(layer.text()), same(layer.text());
    EXPECT_TRUE(collapse(model, Options()));
    EXPECT_EQ(textOf(model), textOf(same));
  }
}

/// Equal channels: with one direction the collapsed layer is the layer.
TEST(CollapsedLayer, VMeanbaInvariant2_EqualChannelsCollapseExactly) {
  for (auto mode : {eff::CollapseMode::Post, eff::CollapseMode::Dir,
                    eff::CollapseMode::Pre}) {
    int64_t rows = 12, channels = 8, n = 3;
    Values a = noise(n, 1), all;
    for (int64_t c = 0; c < channels; ++c)
      for (double v : a)
        all.push_back(-std::fabs(v) - 0.125);
    std::string text = weight("l.A", "8x3", all) +
                       weight("l.D", "8", Values(channels, 0.5)) + R"(
    func.func @main(%u: tensor<1x12x8xf32>, %dt: tensor<1x12x8xf32>, %b: tensor<1x12x3xf32>, %c: tensor<1x12x3xf32>)
        -> tensor<1x12x8xf32> {
      %a = eff.use @l.A : !eff.weight<8x3, f32>
      %d = eff.use @l.D : !eff.weight<8, f32>
      %s = eff.ssm_scan %u, %dt, %a, %b, %c skip %d
        : tensor<1x12x8xf32>, !eff.weight<8x3, f32>, tensor<1x12x3xf32> skip !eff.weight<8, f32>
      return %s : tensor<1x12x8xf32>
    })";
    Values u = noise(rows, 2), dt = noise(rows, 3), us, dts;
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t c = 0; c < channels; ++c) {
        us.push_back(u[t]);
        dts.push_back(std::fabs(dt[t]));
      }
    std::vector<Tensor<double>> inputs = {
        tensor<double>({1, rows, channels}, us),
        tensor<double>({1, rows, channels}, dts),
        tensor<double>({1, rows, n}, noise(rows * n, 4)),
        tensor<double>({1, rows, n}, noise(rows * n, 5))};
    Model model(text), collapsed(text);
    ASSERT_TRUE(collapse(collapsed, whole(mode, true)));
    expectNear(collapsed.run<double>(inputs)[0].floats,
               toValues(model.run<double>(inputs)[0].floats), 1e-12);
  }
}

/// The op's means against those of the library, which factors B out.
TEST(CollapsedLayer, VMeanbaInvariant3_MeansAreTheLiteralOnes) {
  for (const Layer &layer : randomLayers())
    for (int64_t scans : {int64_t(1), layer.directions}) {
      int64_t rows = layer.pixels(), width = layer.all(), n = layer.n,
              k = layer.directions;
      auto dims = [&](int64_t features) {
        return "1x" + std::to_string(rows) + "x" + std::to_string(features) +
               "xf32";
      };
      Values a = noise(width * n, layer.seed);
      for (double &v : a)
        v = -std::fabs(v) - 0.125;
      std::string matrix = std::to_string(width) + "x" + std::to_string(n);
      Model model(
          weight("a", matrix, a) + "func.func @main(%u: tensor<" + dims(width) +
          ">, %dt: tensor<" + dims(width) + ">, %b: tensor<" + dims(k * n) +
          ">, %c: tensor<" + dims(k * n) + ">) -> (tensor<" + dims(scans * n) +
          ">, tensor<" + dims(scans * n) + ">, tensor<" + dims(scans * n) +
          ">) {\n" + use("a", "!eff.weight<" + matrix + ", f32>") +
          "%x, %y, %z = eff.collapse_channels %u, %dt, %a, %b, %c {groups = " +
          std::to_string(k) + ", scans = " + std::to_string(scans) +
          "} : tensor<" + dims(width) + ">, tensor<" + dims(width) +
          ">, !eff.weight<" + matrix + ", f32>, tensor<" + dims(k * n) +
          "> -> tensor<" + dims(scans * n) + ">\nreturn %x, %y, %z : tensor<" +
          dims(scans * n) + ">, tensor<" + dims(scans * n) + ">, tensor<" +
          dims(scans * n) + ">\n}");
      Values u = noise(rows * width, 1), raw = noise(rows * width, 2), dt,
             b = noise(rows * k * n, 3), c = noise(rows * k * n, 4),
             d(width, 0.0);
      for (double v : raw)
        dt.push_back(std::log1p(std::exp(v)));
      auto results = model.run<double>({tensor<double>({1, rows, width}, u),
                                        tensor<double>({1, rows, width}, dt),
                                        tensor<double>({1, rows, k * n}, b),
                                        tensor<double>({1, rows, k * n}, c)});
      compress::ScanInputs<double> inputs;
      inputs.length = rows;
      inputs.directions = k;
      inputs.channels = layer.channels;
      inputs.states = n;
      inputs.u = u;
      inputs.dt = raw;
      inputs.a = a;
      inputs.b = b;
      inputs.c = c;
      inputs.d = d;
      auto expected = compress::collapse(inputs,
                                         scans == k && k > 1
                                             ? compress::CollapseVariant::Dir
                                             : compress::CollapseVariant::Post,
                                         true);
      ASSERT_TRUE(bool(expected));
      expectNear(results[0].floats, toValues(expected->decay), kDouble);
      expectNear(results[1].floats, toValues(expected->input), kDouble);
      expectNear(results[2].floats, toValues(expected->c), kDouble);
    }
}

/// A broadcast moves through the merge, so the merge may run on one channel.
TEST(CollapsedLayer, VMeanbaInvariant6_MergeAndBroadcastCommute) {
  Model model(R"(
    func.func @main(%s: tensor<1x12x4xf32>) -> (tensor<1x12x5xf32>, tensor<1x12x5xf32>) {
      %wide = eff.expand_channels %s : tensor<1x12x4xf32> -> tensor<1x12x20xf32>
      %x = eff.cross_merge %wide {directions = 4, height = 3, width = 4} : tensor<1x12x20xf32> -> tensor<1x12x5xf32>
      %one = eff.cross_merge %s {directions = 4, height = 3, width = 4} : tensor<1x12x4xf32> -> tensor<1x12x1xf32>
      %y = eff.expand_channels %one : tensor<1x12x1xf32> -> tensor<1x12x5xf32>
      return %x, %y : tensor<1x12x5xf32>, tensor<1x12x5xf32>
    })");
  auto results = model.run<double>({tensor<double>({1, 12, 4}, noise(48, 9))});
  expectNear(results[0].floats, toValues(results[1].floats), 0);
}

TEST(CollapsedLayer, VMeanbaInvariant7_LayerNormCancelsTheScan) {
  for (const Layer &layer : randomLayers())
    for (auto mode : {eff::CollapseMode::Post, eff::CollapseMode::Dir,
                      eff::CollapseMode::Pre}) {
      Model free(layer.text());
      ASSERT_TRUE(collapse(free, whole(mode, false)));
      EXPECT_EQ(count<eff::CollapsedScanOp>(free), 0);
      EXPECT_EQ(count<eff::SsmScanOp>(free), 0);
      Values literal = toValues(outputOf<double>(layer, whole(mode, true)));
      // Pre is constant over channels: its norm has eps alone below the root,
      // and what is left of the mean.
      double tolerance = mode == eff::CollapseMode::Pre ? 1e-9 : 1e-12;
      expectNear(free.run<double>(layer.inputs<double>())[0].floats, literal,
                 tolerance);
      if (mode != eff::CollapseMode::Pre)
        expectNear(outputOf<float>(layer, whole(mode, true)), literal, 2e-4);
    }
}

/// Without a mean that is subtracted over the same features the scan stays.
TEST(CollapsedLayer, VMeanbaInvariant7_OtherNormsDoNotCancel) {
  const std::string sigmoid = R"(%e = math.exp %m : tensor<TYPE>
      %y = arith.divf %e, %e : tensor<TYPE>)";
  const std::string gate = R"(%g = arith.mulf %m, %z : tensor<TYPE>
      %y = eff.layer_norm %g, %w {eps = 1.0e-5 : f32} : tensor<TYPE>, !eff.weight<E, f32>)";
  for (const std::string &norm :
       {std::string("%y = eff.rms_norm %m, %w {eps = 1.0e-5 : f32} : "
                    "tensor<TYPE>, !eff.weight<E, f32>"),
        std::string("%y = arith.negf %m : tensor<TYPE>"), sigmoid, gate}) {
    Layer layer;
    layer.norm = norm;
    Model model(layer.text());
    ASSERT_TRUE(collapse(model, whole(eff::CollapseMode::Post, false))) << norm;
    EXPECT_EQ(count<eff::CollapsedScanOp>(model), 1) << norm;
    EXPECT_EQ(count<eff::SsmScanOp>(model), 0) << norm;
  }
}

/// A norm over half of the features keeps what differs between the halves.
TEST(CollapsedLayer, VMeanbaInvariant7_AnotherAxisDoesNotCancel) {
  Layer layer;
  layer.directions = 1;
  layer.height = 3;
  layer.width = 4;
  layer.norm =
      R"(%t = tensor.collapse_shape %m [[0], [1, 2]] : tensor<TYPE> into tensor<1x72xf32>
      %r = tensor.expand_shape %t [[0, 1], [2]] output_shape [1, 1, 72] : tensor<1x72xf32> into tensor<1x1x72xf32>
      %q = eff.use @wide : !eff.weight<72, f32>
      %n = eff.layer_norm %r, %q {eps = 1.0e-5 : f32} : tensor<1x1x72xf32>, !eff.weight<72, f32>
      %k = tensor.collapse_shape %n [[0, 1], [2]] : tensor<1x1x72xf32> into tensor<1x72xf32>
      %y = tensor.expand_shape %k [[0], [1, 2]] output_shape [1, 12, 6] : tensor<1x72xf32> into tensor<TYPE>)";
  Model model(weight("wide", "72", noise(72, 3)) + layer.text());
  ASSERT_TRUE(collapse(model, whole(eff::CollapseMode::Post, false)));
  EXPECT_EQ(count<eff::CollapsedScanOp>(model), 1);
}

TEST(CollapsedLayer, VMeanbaInvariant9_NothingReadsTheScansWeights) {
  for (const Layer &layer : randomLayers()) {
    Model model(layer.text());
    ASSERT_TRUE(collapse(model, whole(eff::CollapseMode::Post, false)));
    EXPECT_FALSE(model.module->lookupSymbol("l.A"));
    EXPECT_FALSE(model.module->lookupSymbol("l.D"));
    EXPECT_TRUE(model.module->lookupSymbol("l.D.sum"));
    // dt, B and C are inputs that nobody reads any more.
    auto main = model.module->lookupSymbol<mlir::func::FuncOp>("main");
    for (unsigned i : {1u, 2u, 3u})
      EXPECT_TRUE(main.getArgument(i).use_empty());
  }
}

TEST(CollapsedLayer, LiteralFormKeepsTheScan) {
  Layer layer;
  Model post(layer.text()), dir(layer.text());
  ASSERT_TRUE(collapse(post, whole(eff::CollapseMode::Post, true)));
  ASSERT_TRUE(collapse(dir, whole(eff::CollapseMode::Dir, true)));
  post.module->walk([](eff::CollapsedScanOp op) {
    EXPECT_EQ(op.getResult().getType().getShape()[2], 1);
  });
  dir.module->walk([](eff::CollapsedScanOp op) {
    EXPECT_EQ(op.getResult().getType().getShape()[2], 4);
  });
  EXPECT_EQ(count<eff::CollapsedScanOp>(post), 1);
  EXPECT_EQ(count<eff::CollapsedScanOp>(dir), 1);
}

/// Splitting the tokens of a language model gives the same as one call.
TEST(CollapsedLayer, LanguageFormKeepsItsStateBetweenCalls) {
  auto text = [](int64_t tokens) {
    std::string t = std::to_string(tokens);
    return weight("l.A", "4x2", {-1, -2, -0.5, -1, -1.5, -1, -0.25, -2}) +
           "eff.state @s : !eff.state<ssm, 2x4, f32>\n" +
           "func.func @main(%u: tensor<1x" + t + "x4xf32>, %dt: tensor<1x" + t +
           "x4xf32>, %b: tensor<1x" + t + "x2xf32>) -> tensor<1x" + t +
           "x4xf32> {\n" + use("l.A", "!eff.weight<4x2, f32>") +
           "%s = eff.use @s : !eff.state<ssm, 2x4, f32>\n" +
           "%y = eff.ssm_scan %u, %dt, %l.A, %b, %b, %s : tensor<1x" + t +
           "x4xf32>, !eff.weight<4x2, f32>, tensor<1x" + t +
           "x2xf32>, !eff.state<ssm, 2x4, f32>\nreturn %y : tensor<1x" + t +
           "x4xf32>\n}";
  };
  Values u = noise(24, 1), dt = noise(24, 2), b = noise(12, 3);
  for (double &v : dt)
    v = std::fabs(v);
  Options options = whole(eff::CollapseMode::Post, false);
  Model refused(text(6));
  EXPECT_FALSE(collapse(refused, options));
  options.language = true;
  Model once(text(6)), half(text(3));
  ASSERT_TRUE(collapse(once, options));
  ASSERT_TRUE(collapse(half, options));
  auto state = once.module->lookupSymbol<eff::StateOp>("s");
  EXPECT_EQ(llvm::cast<eff::StateType>(state.getType()).getNumElements(), 2);
  auto given = [&](int64_t from, int64_t tokens) {
    return std::vector<Tensor<double>>{
        tensor<double>({1, tokens, 4}, part(u, from * 4, tokens * 4)),
        tensor<double>({1, tokens, 4}, part(dt, from * 4, tokens * 4)),
        tensor<double>({1, tokens, 2}, part(b, from * 2, tokens * 2))};
  };
  auto one = once.get<double>().createSequence(),
       two = half.get<double>().createSequence();
  auto row = [](Sequence<double> &s) {
    Row<double> r;
    r.sequence = &s;
    return std::vector<Row<double>>{r};
  };
  Values expected = toValues(once.run<double>(given(0, 6), row(one))[0].floats);
  Values actual = toValues(half.run<double>(given(0, 3), row(two))[0].floats);
  Values rest = toValues(half.run<double>(given(3, 3), row(two))[0].floats);
  actual.insert(actual.end(), rest.begin(), rest.end());
  expectNear(actual, expected, kDouble);
}

} // namespace
