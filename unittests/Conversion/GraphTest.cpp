//===- GraphTest.cpp - forms that no exporter's file at hand has ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;
using namespace effc;
using namespace effc::test;

namespace {
class Graph : public testing::Test {
protected:
  Graph() {
    context.loadDialect<onnx::OnnxDialect, eff::EffDialect, func::FuncDialect,
                        arith::ArithDialect, math::MathDialect,
                        tensor::TensorDialect, linalg::LinalgDialect>();
  }

  /// Raises a graph of two rows, compares it with the graph, and returns the
  /// entry function.
  func::FuncOp raise(const std::string &text, int64_t tokens, int64_t past = 1,
                     eff::EntryKind kind = eff::EntryKind::Prefill) {
    graph = parseSourceString<ModuleOp>(text, &context);
    if (!graph) {
      ADD_FAILURE() << "the graph does not parse";
      return {};
    }
    module = ModuleOp::create(UnknownLoc::get(&context));
    auto entry =
        raiseToEff(*graph, *module, entryOptions(kind, 2, tokens, past));
    if (failed(entry) || failed(verify(*module))) {
      ADD_FAILURE() << "the graph is not raised";
      return {};
    }
    for (unsigned seed : {1u, 2u, 3u}) {
      auto error = compareWithGraph(*graph, *entry, past, seed);
      if (!error) {
        ADD_FAILURE() << llvm::toString(error.takeError());
        return {};
      }
      // One f32 rounding a node.
      EXPECT_LT(error->results, 2e-6);
      EXPECT_LT(error->states, 2e-6);
    }
    return *entry;
  }

  template <typename Op> static unsigned count(func::FuncOp f) {
    unsigned n = 0;
    f.walk([&](Op) { ++n; });
    return n;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> graph, module;
};
} // namespace

TEST_F(Graph, Mamba2WrittenAsLinearAttentionGetsItsStepsBack) {
  auto f = raise(R"(
func.func @main(%x: tensor<2x3x4x5xf32> {onnx.name = "x"}, %dtr: tensor<2x3x4xf32> {onnx.name = "dt"},
                %b: tensor<2x3x12xf32> {onnx.name = "b"}, %c: tensor<2x3x12xf32> {onnx.name = "c"},
                %s: tensor<2x4x6x5xf32> {onnx.name = "past_ssm.0"})
    -> (tensor<2x3x4x5xf32> {onnx.name = "y"}, tensor<2x4x6x5xf32> {onnx.name = "present_ssm.0"}) {
  %a = onnx.constant "a" dense<[-1.0, -0.5, -0.25, -2.0]> : tensor<4xf32>
  %d = onnx.constant "d" dense<[[1.0], [0.5], [2.0], [-1.0]]> : tensor<4x1xf32>
  %dt = onnx.node "Softplus"(%dtr) since 18 : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %g = onnx.node "Mul"(%dt, %a) since 18 : (tensor<2x3x4xf32>, tensor<4xf32>) -> tensor<2x3x4xf32>
  %s4 = onnx.constant "" dense<[2, 3, 4, 1]> : tensor<4xi64>
  %dt4 = onnx.node "Reshape"(%dt, %s4) since 18 : (tensor<2x3x4xf32>, tensor<4xi64>) -> tensor<2x3x4x1xf32>
  %xd = onnx.node "Mul"(%x, %dt4) since 18 : (tensor<2x3x4x5xf32>, tensor<2x3x4x1xf32>) -> tensor<2x3x4x5xf32>
  %sv = onnx.constant "" dense<[2, 3, 20]> : tensor<3xi64>
  %v = onnx.node "Reshape"(%xd, %sv) since 18 : (tensor<2x3x4x5xf32>, tensor<3xi64>) -> tensor<2x3x20xf32>
  %sg = onnx.constant "" dense<[2, 3, 2, 1, 6]> : tensor<5xi64>
  %se = onnx.constant "" dense<[2, 3, 2, 2, 6]> : tensor<5xi64>
  %sk = onnx.constant "" dense<[2, 3, 24]> : tensor<3xi64>
  %b5 = onnx.node "Reshape"(%b, %sg) since 18 : (tensor<2x3x12xf32>, tensor<5xi64>) -> tensor<2x3x2x1x6xf32>
  %be = onnx.node "Expand"(%b5, %se) since 18 : (tensor<2x3x2x1x6xf32>, tensor<5xi64>) -> tensor<2x3x2x2x6xf32>
  %k = onnx.node "Reshape"(%be, %sk) since 18 : (tensor<2x3x2x2x6xf32>, tensor<3xi64>) -> tensor<2x3x24xf32>
  %c5 = onnx.node "Reshape"(%c, %sg) since 18 : (tensor<2x3x12xf32>, tensor<5xi64>) -> tensor<2x3x2x1x6xf32>
  %ce = onnx.node "Expand"(%c5, %se) since 18 : (tensor<2x3x2x1x6xf32>, tensor<5xi64>) -> tensor<2x3x2x2x6xf32>
  %q = onnx.node "Reshape"(%ce, %sk) since 18 : (tensor<2x3x2x2x6xf32>, tensor<3xi64>) -> tensor<2x3x24xf32>
  %o, %n = onnx.node "LinearAttention"(%q, %k, %v, %s, %g) since 27
    {update_rule = "gated", scale = 1.0 : f32, q_num_heads = 4 : i64, kv_num_heads = 4 : i64}
    : (tensor<2x3x24xf32>, tensor<2x3x24xf32>, tensor<2x3x20xf32>, tensor<2x4x6x5xf32>, tensor<2x3x4xf32>) -> (tensor<2x3x20xf32>, tensor<2x4x6x5xf32>)
  %sy = onnx.constant "" dense<[2, 3, 4, 5]> : tensor<4xi64>
  %o4 = onnx.node "Reshape"(%o, %sy) since 18 : (tensor<2x3x20xf32>, tensor<4xi64>) -> tensor<2x3x4x5xf32>
  %skip = onnx.node "Mul"(%x, %d) since 18 : (tensor<2x3x4x5xf32>, tensor<4x1xf32>) -> tensor<2x3x4x5xf32>
  %y = onnx.node "Add"(%o4, %skip) since 18 : (tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>) -> tensor<2x3x4x5xf32>
  return %y, %n : tensor<2x3x4x5xf32>, tensor<2x4x6x5xf32>
})",
                 3);
  ASSERT_TRUE(f);
  unsigned scans = 0;
  f.walk([&](eff::SsdScanOp op) {
    ++scans;
    EXPECT_EQ(op.getGroups(), 2u);
    EXPECT_TRUE(op.getSkip());
  });
  EXPECT_EQ(scans, 1u);
  EXPECT_EQ(count<arith::DivFOp>(f), 0u);
}

TEST_F(Graph, Mamba1WrittenAsLinearAttentionGetsItsStepsBack) {
  auto f = raise(R"(
func.func @main(%u: tensor<2x3x4xf32> {onnx.name = "u"}, %dtr: tensor<2x3x4xf32> {onnx.name = "dt"},
                %b: tensor<2x3x6xf32> {onnx.name = "b"}, %c: tensor<2x3x6xf32> {onnx.name = "c"},
                %z: tensor<2x3x4xf32> {onnx.name = "z"}, %s: tensor<2x4x6x1xf32> {onnx.name = "past_ssm.0"})
    -> (tensor<2x3x4xf32> {onnx.name = "y"}, tensor<2x4x6x1xf32> {onnx.name = "present_ssm.0"}) {
  %a = onnx.constant "a" dense<[[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0], [-0.1, -0.2, -0.3, -0.4, -0.5, -0.6],
                                [-1.0, -2.0, -1.0, -2.0, -1.0, -2.0], [-0.5, -0.4, -0.3, -0.2, -0.1, -0.05]]> : tensor<4x6xf32>
  %d = onnx.constant "d" dense<[1.0, 0.5, 2.0, -1.0]> : tensor<4xf32>
  %dt = onnx.node "Softplus"(%dtr) since 18 : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %s4 = onnx.constant "" dense<[2, 3, 4, 1]> : tensor<4xi64>
  %sk = onnx.constant "" dense<[2, 3, 24]> : tensor<3xi64>
  %dt4 = onnx.node "Reshape"(%dt, %s4) since 18 : (tensor<2x3x4xf32>, tensor<4xi64>) -> tensor<2x3x4x1xf32>
  %g4 = onnx.node "Mul"(%dt4, %a) since 18 : (tensor<2x3x4x1xf32>, tensor<4x6xf32>) -> tensor<2x3x4x6xf32>
  %g = onnx.node "Reshape"(%g4, %sk) since 18 : (tensor<2x3x4x6xf32>, tensor<3xi64>) -> tensor<2x3x24xf32>
  %v = onnx.node "Mul"(%dt, %u) since 18 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %sg = onnx.constant "" dense<[2, 3, 1, 6]> : tensor<4xi64>
  %se = onnx.constant "" dense<[2, 3, 4, 6]> : tensor<4xi64>
  %b4 = onnx.node "Reshape"(%b, %sg) since 18 : (tensor<2x3x6xf32>, tensor<4xi64>) -> tensor<2x3x1x6xf32>
  %be = onnx.node "Expand"(%b4, %se) since 18 : (tensor<2x3x1x6xf32>, tensor<4xi64>) -> tensor<2x3x4x6xf32>
  %k = onnx.node "Reshape"(%be, %sk) since 18 : (tensor<2x3x4x6xf32>, tensor<3xi64>) -> tensor<2x3x24xf32>
  %c4 = onnx.node "Reshape"(%c, %sg) since 18 : (tensor<2x3x6xf32>, tensor<4xi64>) -> tensor<2x3x1x6xf32>
  %ce = onnx.node "Expand"(%c4, %se) since 18 : (tensor<2x3x1x6xf32>, tensor<4xi64>) -> tensor<2x3x4x6xf32>
  %q = onnx.node "Reshape"(%ce, %sk) since 18 : (tensor<2x3x4x6xf32>, tensor<3xi64>) -> tensor<2x3x24xf32>
  %o, %n = onnx.node "LinearAttention"(%q, %k, %v, %s, %g) domain "com.microsoft" since 1
    {update_rule = "gated", scale = 1.0 : f32, q_num_heads = 4 : i64, kv_num_heads = 4 : i64}
    : (tensor<2x3x24xf32>, tensor<2x3x24xf32>, tensor<2x3x4xf32>, tensor<2x4x6x1xf32>, tensor<2x3x24xf32>) -> (tensor<2x3x4xf32>, tensor<2x4x6x1xf32>)
  %skip = onnx.node "Mul"(%u, %d) since 18 : (tensor<2x3x4xf32>, tensor<4xf32>) -> tensor<2x3x4xf32>
  %os = onnx.node "Add"(%o, %skip) since 18 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %zs = onnx.node "Sigmoid"(%z) since 18 : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %zz = onnx.node "Mul"(%z, %zs) since 18 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %y = onnx.node "Mul"(%os, %zz) since 18 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %y, %n : tensor<2x3x4xf32>, tensor<2x4x6x1xf32>
})",
                 3);
  ASSERT_TRUE(f);
  unsigned scans = 0;
  f.walk([&](eff::SsmScanOp op) {
    ++scans;
    EXPECT_EQ(op.getGroups(), 1u);
    EXPECT_TRUE(op.getSkip() && op.getGate());
  });
  EXPECT_EQ(scans, 1u);
  EXPECT_EQ(count<linalg::ReduceOp>(f), 0u);
}

TEST_F(Graph, WindowedAttentionWithASoftcapOverACache) {
  // Past 3, 2 tokens, a window of 3; keys of one head serve both query heads.
  auto f = raise(R"(
func.func @main(%q: tensor<2x2x2x4xf32> {onnx.name = "q"}, %k: tensor<2x1x2x4xf32> {onnx.name = "k"},
                %v: tensor<2x1x2x4xf32> {onnx.name = "v"}, %pk: tensor<2x1x3x4xf32> {onnx.name = "past_key_values.7.key"},
                %pv: tensor<2x1x3x4xf32> {onnx.name = "past_key_values.7.value"})
    -> (tensor<2x2x8xf32> {onnx.name = "y"}, tensor<2x1x5x4xf32> {onnx.name = "present.7.key"},
        tensor<2x1x5x4xf32> {onnx.name = "present.7.value"}) {
  %seen = onnx.constant "" dense<[[[[false, true, true, true, false], [false, false, true, true, true]]]]> : tensor<1x1x2x5xi1>
  %low = onnx.constant "" dense<-3.0e38> : tensor<f32>
  %scale = onnx.constant "" dense<2.0> : tensor<f32>
  %cap = onnx.constant "" dense<5.0> : tensor<f32>
  %s5 = onnx.constant "" dense<[2, 2, 5, 4]> : tensor<4xi64>
  %nk = onnx.node "Concat"(%pk, %k) since 18 {axis = 2 : i64} : (tensor<2x1x3x4xf32>, tensor<2x1x2x4xf32>) -> tensor<2x1x5x4xf32>
  %nv = onnx.node "Concat"(%pv, %v) since 18 {axis = 2 : i64} : (tensor<2x1x3x4xf32>, tensor<2x1x2x4xf32>) -> tensor<2x1x5x4xf32>
  %ke = onnx.node "Expand"(%nk, %s5) since 18 : (tensor<2x1x5x4xf32>, tensor<4xi64>) -> tensor<2x2x5x4xf32>
  %ve = onnx.node "Expand"(%nv, %s5) since 18 : (tensor<2x1x5x4xf32>, tensor<4xi64>) -> tensor<2x2x5x4xf32>
  %kt = onnx.node "Transpose"(%ke) since 18 {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x2x5x4xf32>) -> tensor<2x2x4x5xf32>
  %s = onnx.node "MatMul"(%q, %kt) since 18 : (tensor<2x2x2x4xf32>, tensor<2x2x4x5xf32>) -> tensor<2x2x2x5xf32>
  %ss = onnx.node "Div"(%s, %scale) since 18 : (tensor<2x2x2x5xf32>, tensor<f32>) -> tensor<2x2x2x5xf32>
  %c0 = onnx.node "Div"(%ss, %cap) since 18 : (tensor<2x2x2x5xf32>, tensor<f32>) -> tensor<2x2x2x5xf32>
  %c1 = onnx.node "Tanh"(%c0) since 18 : (tensor<2x2x2x5xf32>) -> tensor<2x2x2x5xf32>
  %c2 = onnx.node "Mul"(%c1, %cap) since 18 : (tensor<2x2x2x5xf32>, tensor<f32>) -> tensor<2x2x2x5xf32>
  %m = onnx.node "Where"(%seen, %c2, %low) since 18 : (tensor<1x1x2x5xi1>, tensor<2x2x2x5xf32>, tensor<f32>) -> tensor<2x2x2x5xf32>
  %p = onnx.node "Softmax"(%m) since 18 {axis = 3 : i64} : (tensor<2x2x2x5xf32>) -> tensor<2x2x2x5xf32>
  %o = onnx.node "MatMul"(%p, %ve) since 18 : (tensor<2x2x2x5xf32>, tensor<2x2x5x4xf32>) -> tensor<2x2x2x4xf32>
  %ot = onnx.node "Transpose"(%o) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x2x2x4xf32>) -> tensor<2x2x2x4xf32>
  %sy = onnx.constant "" dense<[2, 2, 8]> : tensor<3xi64>
  %y = onnx.node "Reshape"(%ot, %sy) since 18 : (tensor<2x2x2x4xf32>, tensor<3xi64>) -> tensor<2x2x8xf32>
  return %y, %nk, %nv : tensor<2x2x8xf32>, tensor<2x1x5x4xf32>, tensor<2x1x5x4xf32>
})",
                 2, 3);
  ASSERT_TRUE(f);
  unsigned attentions = 0;
  f.walk([&](eff::AttentionOp op) {
    ++attentions;
    EXPECT_TRUE(op.getCausal());
    EXPECT_EQ(op.getWindow(), 3u);
    EXPECT_EQ(op.getKvHeads(), 1u);
    EXPECT_FLOAT_EQ(op.getScale().convertToFloat(), 0.5f);
    ASSERT_TRUE(op.getSoftcap().has_value());
    EXPECT_FLOAT_EQ(op.getSoftcap()->convertToFloat(), 5.0f);
  });
  EXPECT_EQ(attentions, 1u);
  EXPECT_TRUE(module->lookupSymbol("l7.key"));
}

TEST_F(Graph, AttentionWithBatchAndHeadsInOneDimension) {
  auto f = raise(R"(
func.func @main(%x: tensor<2x3x8xf32> {onnx.name = "x"}) -> (tensor<2x3x8xf32> {onnx.name = "y"}) {
  %s4 = onnx.constant "" dense<[2, 3, 2, 4]> : tensor<4xi64>
  %s3 = onnx.constant "" dense<[4, 3, 4]> : tensor<3xi64>
  %sh = onnx.constant "" dense<[2, 2, 3, 4]> : tensor<4xi64>
  %sy = onnx.constant "" dense<[2, 3, 8]> : tensor<3xi64>
  %h = onnx.node "Reshape"(%x, %s4) since 18 : (tensor<2x3x8xf32>, tensor<4xi64>) -> tensor<2x3x2x4xf32>
  %t = onnx.node "Transpose"(%h) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xf32>) -> tensor<2x2x3x4xf32>
  %q = onnx.node "Reshape"(%t, %s3) since 18 : (tensor<2x2x3x4xf32>, tensor<3xi64>) -> tensor<4x3x4xf32>
  %kt = onnx.node "Transpose"(%q) since 18 {perm = array<i64: 0, 2, 1>} : (tensor<4x3x4xf32>) -> tensor<4x4x3xf32>
  %s = onnx.node "MatMul"(%q, %kt) since 18 : (tensor<4x3x4xf32>, tensor<4x4x3xf32>) -> tensor<4x3x3xf32>
  %p = onnx.node "Softmax"(%s) since 18 {axis = 2 : i64} : (tensor<4x3x3xf32>) -> tensor<4x3x3xf32>
  %o = onnx.node "MatMul"(%p, %q) since 18 : (tensor<4x3x3xf32>, tensor<4x3x4xf32>) -> tensor<4x3x4xf32>
  %o4 = onnx.node "Reshape"(%o, %sh) since 18 : (tensor<4x3x4xf32>, tensor<4xi64>) -> tensor<2x2x3x4xf32>
  %ot = onnx.node "Transpose"(%o4) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x2x3x4xf32>) -> tensor<2x3x2x4xf32>
  %y = onnx.node "Reshape"(%ot, %sy) since 18 : (tensor<2x3x2x4xf32>, tensor<3xi64>) -> tensor<2x3x8xf32>
  return %y : tensor<2x3x8xf32>
})",
                 3, 0, eff::EntryKind::Forward);
  ASSERT_TRUE(f);
  EXPECT_EQ(count<eff::AttentionOp>(f), 1u);
  EXPECT_EQ(count<linalg::TransposeOp>(f), 0u);
}

TEST_F(Graph, HeadNormsKeepTheLayoutOfTokens) {
  auto f = raise(R"(
func.func @main(%x: tensor<2x3x8xf32> {onnx.name = "x"}) -> (tensor<2x2x3x4xf32> {onnx.name = "y"}) {
  %w = onnx.constant "w" dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %two = onnx.constant "" dense<2.0> : tensor<f32>
  %eps = onnx.constant "" dense<1.0e-5> : tensor<f32>
  %axes = onnx.constant "" dense<[3]> : tensor<1xi64>
  %s4 = onnx.constant "" dense<[2, 3, 2, 4]> : tensor<4xi64>
  %h = onnx.node "Reshape"(%x, %s4) since 18 : (tensor<2x3x8xf32>, tensor<4xi64>) -> tensor<2x3x2x4xf32>
  %t = onnx.node "Transpose"(%h) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xf32>) -> tensor<2x2x3x4xf32>
  %sq = onnx.node "Pow"(%t, %two) since 18 : (tensor<2x2x3x4xf32>, tensor<f32>) -> tensor<2x2x3x4xf32>
  %me = onnx.node "ReduceMean"(%sq, %axes) since 18 {keepdims = 1 : i64} : (tensor<2x2x3x4xf32>, tensor<1xi64>) -> tensor<2x2x3x1xf32>
  %ad = onnx.node "Add"(%me, %eps) since 18 : (tensor<2x2x3x1xf32>, tensor<f32>) -> tensor<2x2x3x1xf32>
  %rt = onnx.node "Sqrt"(%ad) since 18 : (tensor<2x2x3x1xf32>) -> tensor<2x2x3x1xf32>
  %n = onnx.node "Div"(%t, %rt) since 18 : (tensor<2x2x3x4xf32>, tensor<2x2x3x1xf32>) -> tensor<2x2x3x4xf32>
  %y = onnx.node "Mul"(%n, %w) since 18 : (tensor<2x2x3x4xf32>, tensor<4xf32>) -> tensor<2x2x3x4xf32>
  return %y : tensor<2x2x3x4xf32>
})",
                 3, 0, eff::EntryKind::Forward);
  ASSERT_TRUE(f);
  unsigned norms = 0;
  f.walk([&](eff::RmsNormOp op) {
    ++norms;
    EXPECT_EQ(op.getGroup(), 4u);
    EXPECT_EQ(op.getType(), f.getArgumentTypes()[0]);
  });
  EXPECT_EQ(norms, 1u);
}

TEST_F(Graph, AHeadStoredByColumnsIsTheEmbeddingsTable) {
  auto f = raise(R"(
func.func @main(%ids: tensor<2x3xi64> {onnx.name = "input_ids"}) -> (tensor<2x3x5xf32> {onnx.name = "logits"}) {
  %w = onnx.constant "w" dense<[[1.0, 2.0, 3.0, 4.0, 5.0], [0.1, 0.2, 0.3, 0.4, 0.5]]> : tensor<2x5xf32>
  %b = onnx.constant "b" dense<[1.0, -1.0, 0.5, 0.25, 2.0]> : tensor<5xf32>
  %t = onnx.node "Transpose"(%w) since 18 {perm = array<i64: 1, 0>} : (tensor<2x5xf32>) -> tensor<5x2xf32>
  %x = onnx.node "Gather"(%t, %ids) since 18 {axis = 0 : i64} : (tensor<5x2xf32>, tensor<2x3xi64>) -> tensor<2x3x2xf32>
  %m = onnx.node "MatMul"(%x, %w) since 18 : (tensor<2x3x2xf32>, tensor<2x5xf32>) -> tensor<2x3x5xf32>
  %y = onnx.node "Add"(%b, %m) since 18 : (tensor<5xf32>, tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  return %y : tensor<2x3x5xf32>
})",
                 3, 0);
  ASSERT_TRUE(f);
  auto weight = module->lookupSymbol<eff::WeightOp>("w");
  ASSERT_TRUE(weight);
  EXPECT_TRUE(weight.getTransposed());
  EXPECT_EQ(count<eff::UseOp>(f), 2u);
  EXPECT_EQ(count<eff::SelectRowsOp>(f), 1u);
}

TEST_F(Graph, WhatNoPatternTakesIsComputedLiterally) {
  auto f = raise(R"(
func.func @main(%x: tensor<2x3x8xf32> {onnx.name = "x"}, %i: tensor<2x2xi64> {onnx.name = "i"})
    -> (tensor<2x2x4x5xf32> {onnx.name = "y"}, tensor<2x3xi64> {onnx.name = "n"}) {
  %w = onnx.constant "w" dense<[[0.5, -1.0, 2.0, 1.0, 0.0], [1.0, 1.0, -1.0, 0.5, 3.0], [0.0, 2.0, 0.5, -0.5, 1.0], [1.5, 0.0, 0.0, 1.0, -2.0]]> : tensor<4x5xf32>
  %c = onnx.constant "c" dense<[0.1, 0.2, 0.3, 0.4, 0.5]> : tensor<5xf32>
  %half = onnx.constant "" dense<4> : tensor<2xi64>
  %zero = onnx.constant "" dense<0.0> : tensor<f32>
  %axes = onnx.constant "" dense<[2]> : tensor<1xi64>
  %a, %b = onnx.node "Split"(%x, %half) since 18 {axis = 2 : i64} : (tensor<2x3x8xf32>, tensor<2xi64>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>)
  %bt = onnx.node "Transpose"(%b) since 18 {perm = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  %p = onnx.node "MatMul"(%bt, %a) since 18 : (tensor<2x4x3xf32>, tensor<2x3x4xf32>) -> tensor<2x4x4xf32>
  %s = onnx.node "Softmax"(%p) since 18 {axis = 1 : i64} : (tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  %sel = onnx.node "Gather"(%s, %i) since 18 {axis = 1 : i64} : (tensor<2x4x4xf32>, tensor<2x2xi64>) -> tensor<2x2x2x4xf32>
  %l = onnx.node "Concat"(%sel, %sel) since 18 {axis = 2 : i64} : (tensor<2x2x2x4xf32>, tensor<2x2x2x4xf32>) -> tensor<2x2x4x4xf32>
  %g = onnx.node "MatMul"(%l, %w) since 18 : (tensor<2x2x4x4xf32>, tensor<4x5xf32>) -> tensor<2x2x4x5xf32>
  %h = onnx.node "Add"(%g, %c) since 18 : (tensor<2x2x4x5xf32>, tensor<5xf32>) -> tensor<2x2x4x5xf32>
  %q = onnx.node "Greater"(%h, %zero) since 18 : (tensor<2x2x4x5xf32>, tensor<f32>) -> tensor<2x2x4x5xi1>
  %n1 = onnx.node "Neg"(%h) since 18 : (tensor<2x2x4x5xf32>) -> tensor<2x2x4x5xf32>
  %y = onnx.node "Where"(%q, %h, %n1) since 18 : (tensor<2x2x4x5xi1>, tensor<2x2x4x5xf32>, tensor<2x2x4x5xf32>) -> tensor<2x2x4x5xf32>
  %top = onnx.node "ReduceMax"(%x, %axes) since 18 {keepdims = 0 : i64} : (tensor<2x3x8xf32>, tensor<1xi64>) -> tensor<2x3xf32>
  %n = onnx.node "Cast"(%top) since 18 {to = 7 : i64} : (tensor<2x3xf32>) -> tensor<2x3xi64>
  return %y, %n : tensor<2x2x4x5xf32>, tensor<2x3xi64>
})",
                 3, 0, eff::EntryKind::Forward);
  ASSERT_TRUE(f);
  EXPECT_EQ(count<eff::LinearOp>(f), 1u);
}

TEST_F(Graph, ALearnedPositionThatBecameAConstantIsFound) {
  // Row `past` of a table of positions, as folding leaves it at past 1 and at
  // past 2.
  auto text = [](const char *row) {
    return std::string(R"(
func.func @main(%ids: tensor<2x1xi64> {onnx.name = "input_ids"}) -> (tensor<2x1x2xf32> {onnx.name = "logits"}) {
  %t = onnx.constant "t" dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %p = onnx.constant "" dense<[[)") +
           row + R"(]]> : tensor<1x2xf32>
  %x = onnx.node "Gather"(%t, %ids) since 18 {axis = 0 : i64} : (tensor<2x2xf32>, tensor<2x1xi64>) -> tensor<2x1x2xf32>
  %y = onnx.node "Add"(%x, %p) since 18 : (tensor<2x1x2xf32>, tensor<1x2xf32>) -> tensor<2x1x2xf32>
  %z = onnx.node "MatMul"(%y, %t) since 18 : (tensor<2x1x2xf32>, tensor<2x2xf32>) -> tensor<2x1x2xf32>
  return %z : tensor<2x1x2xf32>
})";
  };
  auto entry = raise(text("0.5, 0.25"), 1, 1, eff::EntryKind::Decode);
  ASSERT_TRUE(entry);
  OwningOpRef<ModuleOp> same =
      parseSourceString<ModuleOp>(text("0.5, 0.25"), &context);
  OwningOpRef<ModuleOp> other =
      parseSourceString<ModuleOp>(text("0.5, 0.75"), &context);
  RaiseOptions options = entryOptions(eff::EntryKind::Decode, 2, 1, 2);
  EXPECT_TRUE(succeeded(checkPastIsGone(entry, *same, options)));
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &d) {
    message += d.str();
    return success();
  });
  EXPECT_TRUE(failed(checkPastIsGone(entry, *other, options)));
  EXPECT_NE(message.find("EFF0301"), std::string::npos) << message;
}
