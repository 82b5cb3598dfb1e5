//===- ScanLoopTest.cpp - Scan nodes and what they are raised to ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include "mlir/Parser/Parser.h"

using namespace mlir;
using namespace effc;
using namespace effc::test;

namespace {
/// Batch 2, 5 tokens, 3 channels or heads, 4 numbers of state, heads of 2.
class ScanLoop : public testing::Test {
protected:
  ScanLoop() {
    context
        .loadDialect<onnx::OnnxDialect, eff::EffDialect, func::FuncDialect>();
  }

  void parse(const std::string &text) {
    graph = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(graph);
    PassManager passes(&context);
    passes.addPass(createOnnxSimplifyPass());
    ASSERT_TRUE(succeeded(passes.run(*graph)));
  }

  FailureOr<func::FuncOp> raise() {
    module = ModuleOp::create(UnknownLoc::get(&context));
    return raiseToEff(*graph, *module,
                      entryOptions(eff::EntryKind::Prefill, 2, 5, 1));
  }

  /// Raises to one op named `name`, which computes what the graph does.
  void expectRaised(const std::string &text, StringRef name) {
    parse(text);
    auto entry = raise();
    ASSERT_TRUE(succeeded(entry));
    ASSERT_TRUE(succeeded(verify(*module)));
    int found = 0;
    entry->walk(
        [&](Operation *op) { found += op->getName().getStringRef() == name; });
    EXPECT_EQ(found, 1);
    auto error = compareWithGraph(*graph, *entry, 1);
    ASSERT_TRUE(static_cast<bool>(error)) << llvm::toString(error.takeError());
    EXPECT_LT(error->results, 2e-6);
    EXPECT_LT(error->states, 2e-6);
  }

  /// Is not raised; some note of the error holds `reason`.
  void expectRefused(const std::string &text, const std::string &reason) {
    parse(text);
    std::string said;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &d) {
      said += d.str();
      for (Diagnostic &note : d.getNotes())
        said += "\n" + note.str();
      return success();
    });
    EXPECT_TRUE(failed(raise()));
    EXPECT_NE(said.find(reason), std::string::npos) << said;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> graph, module;
};

/// A graph whose Scan reads u, dt, b, c in this order, with a body that begins
/// with `body` and yields %next and %y. `attributes` belong to the Scan.
std::string
mamba1(const std::string &body,
       const std::string &attributes =
           "num_scan_inputs = 4 : i64, scan_input_axes = array<i64: "
           "1, 1, 1, 1>, scan_output_axes = array<i64: 1>") {
  return R"(
func.func @main(%u: tensor<2x5x3xf32> {onnx.name = "u"}, %dt: tensor<2x5x3xf32> {onnx.name = "dt"},
                %b: tensor<2x5x4xf32> {onnx.name = "b"}, %c: tensor<2x5x4xf32> {onnx.name = "c"},
                %s: tensor<2x3x4xf32> {onnx.name = "past_ssm.0"})
    -> (tensor<2x5x3xf32> {onnx.name = "y"}, tensor<2x3x4xf32> {onnx.name = "present_ssm.0"}) {
  %a = onnx.constant "a" dense<[[-1.0, -2.0, -3.0, -0.5], [-0.25, -1.5, -1.0, -0.125], [-0.5, -0.75, -2.5, -1.25]]> : tensor<3x4xf32>
  %d = onnx.constant "d" dense<[0.5, -1.0, 2.0]> : tensor<3xf32>
  %one = onnx.constant "" dense<1> : tensor<1xi64>
  %two = onnx.constant "" dense<2> : tensor<1xi64>
  %last, %ys = onnx.node "Scan"(%s, %u, %dt, %b, %c) since 17 graphs ["body"] {)" +
         attributes + R"(}
    : (tensor<2x3x4xf32>, tensor<2x5x3xf32>, tensor<2x5x3xf32>, tensor<2x5x4xf32>, tensor<2x5x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x5x3xf32>) {
  ^bb0(%st: tensor<2x3x4xf32>, %ut: tensor<2x3xf32>, %dtt: tensor<2x3xf32>, %bt: tensor<2x4xf32>, %ct: tensor<2x4xf32>):
)" + body +
         R"(
    onnx.yield %next, %y : tensor<2x3x4xf32>, tensor<2x3xf32>
  }
  return %ys, %last : tensor<2x5x3xf32>, tensor<2x3x4xf32>
})";
}

/// The recurrence of Mamba-1, the decay as `decay` computes it from %scaled =
/// dt * A.
std::string recurrence(const std::string &decay) {
  return R"(
    %dtu = onnx.node "Unsqueeze"(%dtt, %two) since 13 : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
    %scaled = onnx.node "Mul"(%dtu, %a) since 14 : (tensor<2x3x1xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
)" + decay +
         R"(
    %keep = onnx.node "Mul"(%decay, %st) since 14 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
    %w = onnx.node "Mul"(%ut, %dtt) since 14 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    %wu = onnx.node "Unsqueeze"(%w, %two) since 13 : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<2x3x1xf32>
    %bu = onnx.node "Unsqueeze"(%bt, %one) since 13 : (tensor<2x4xf32>, tensor<1xi64>) -> tensor<2x1x4xf32>
    %in = onnx.node "Mul"(%bu, %wu) since 14 : (tensor<2x1x4xf32>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
    %next = onnx.node "Add"(%in, %keep) since 14 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
    %cu = onnx.node "Unsqueeze"(%ct, %two) since 13 : (tensor<2x4xf32>, tensor<1xi64>) -> tensor<2x4x1xf32>
    %yu = onnx.node "MatMul"(%next, %cu) since 13 : (tensor<2x3x4xf32>, tensor<2x4x1xf32>) -> tensor<2x3x1xf32>
    %yp = onnx.node "Squeeze"(%yu, %two) since 13 : (tensor<2x3x1xf32>, tensor<1xi64>) -> tensor<2x3xf32>
    %du = onnx.node "Mul"(%d, %ut) since 14 : (tensor<3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    %y = onnx.node "Add"(%yp, %du) since 14 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
)";
}

const char *const exponential =
    R"(    %decay = onnx.node "Exp"(%scaled) since 13 : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>)";

const char *const notRecurrence =
    "its body does not compute exp(dt A) state + dt u B and state C + D u";
} // namespace

TEST_F(ScanLoop, TheRecurrenceOfMamba1) {
  expectRaised(mamba1(recurrence(exponential)), "eff.ssm_scan");
}

TEST_F(ScanLoop, ABodyWithAnotherDecayIsRefused) {
  expectRefused(
      mamba1(recurrence(
          R"(    %decay = onnx.node "Sigmoid"(%scaled) since 13 : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>)")),
      notRecurrence);
}

/// Equal for small exponents alone.
TEST_F(ScanLoop, ABodyThatClampsIsRefused) {
  expectRefused(mamba1(recurrence(
                    R"(    %limit = onnx.constant "" dense<0.0> : tensor<f32>
    %clamped = onnx.node "Min"(%scaled, %limit) since 13 : (tensor<2x3x4xf32>, tensor<f32>) -> tensor<2x3x4xf32>
    %decay = onnx.node "Exp"(%clamped) since 13 : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>)")),
                notRecurrence);
}

TEST_F(ScanLoop, ABackwardScanIsRefused) {
  expectRefused(
      mamba1(recurrence(exponential),
             "num_scan_inputs = 4 : i64, scan_input_axes = array<i64: 1, 1, 1, "
             "1>, scan_output_axes = array<i64: 1>, scan_input_directions = "
             "array<i64: 1, 1, 1, 1>"),
      "it does not run forward");
}

/// exp(dt A) and dt u B come from outside, tokens before the state's numbers
/// and after the channels, as Hugging Face's models have them; time is first in
/// what is scanned.
TEST_F(ScanLoop, PrecomputedDecaysAndInputs) {
  expectRaised(R"(
func.func @main(%u: tensor<2x3x5xf32> {onnx.name = "u"}, %dt: tensor<2x3x5xf32> {onnx.name = "dt"},
                %b: tensor<2x5x4xf32> {onnx.name = "b"}, %c: tensor<2x5x4xf32> {onnx.name = "c"},
                %s: tensor<2x3x4xf32> {onnx.name = "past_ssm.0"})
    -> (tensor<5x2x3xf32> {onnx.name = "y"}, tensor<2x3x4xf32> {onnx.name = "present_ssm.0"}) {
  %a = onnx.constant "a" dense<[[[[-1.0, -2.0, -3.0, -0.5]], [[-0.25, -1.5, -1.0, -0.125]], [[-0.5, -0.75, -2.5, -1.25]]]]> : tensor<1x3x1x4xf32>
  %one = onnx.constant "" dense<1> : tensor<1xi64>
  %two = onnx.constant "" dense<2> : tensor<1xi64>
  %three = onnx.constant "" dense<3> : tensor<1xi64>
  %dtu = onnx.node "Unsqueeze"(%dt, %three) since 13 : (tensor<2x3x5xf32>, tensor<1xi64>) -> tensor<2x3x5x1xf32>
  %uu = onnx.node "Unsqueeze"(%u, %three) since 13 : (tensor<2x3x5xf32>, tensor<1xi64>) -> tensor<2x3x5x1xf32>
  %bu = onnx.node "Unsqueeze"(%b, %one) since 13 : (tensor<2x5x4xf32>, tensor<1xi64>) -> tensor<2x1x5x4xf32>
  %scaled = onnx.node "Mul"(%a, %dtu) since 14 : (tensor<1x3x1x4xf32>, tensor<2x3x5x1xf32>) -> tensor<2x3x5x4xf32>
  %decay = onnx.node "Exp"(%scaled) since 13 : (tensor<2x3x5x4xf32>) -> tensor<2x3x5x4xf32>
  %db = onnx.node "Mul"(%dtu, %bu) since 14 : (tensor<2x3x5x1xf32>, tensor<2x1x5x4xf32>) -> tensor<2x3x5x4xf32>
  %dbu = onnx.node "Mul"(%db, %uu) since 14 : (tensor<2x3x5x4xf32>, tensor<2x3x5x1xf32>) -> tensor<2x3x5x4xf32>
  %first = onnx.node "Transpose"(%dbu) since 13 {perm = array<i64: 2, 0, 1, 3>} : (tensor<2x3x5x4xf32>) -> tensor<5x2x3x4xf32>
  %last, %ys = onnx.node "Scan"(%s, %decay, %first, %c) since 17 graphs ["body"] {num_scan_inputs = 3 : i64, scan_input_axes = array<i64: 2, 0, -2>}
    : (tensor<2x3x4xf32>, tensor<2x3x5x4xf32>, tensor<5x2x3x4xf32>, tensor<2x5x4xf32>) -> (tensor<2x3x4xf32>, tensor<5x2x3xf32>) {
  ^bb0(%st: tensor<2x3x4xf32>, %dat: tensor<2x3x4xf32>, %dbt: tensor<2x3x4xf32>, %ct: tensor<2x4xf32>):
    %keep = onnx.node "Mul"(%st, %dat) since 14 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
    %next = onnx.node "Add"(%keep, %dbt) since 14 : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
    %cu = onnx.node "Unsqueeze"(%ct, %one) since 13 : (tensor<2x4xf32>, tensor<1xi64>) -> tensor<2x1x4xf32>
    %yc = onnx.node "Mul"(%next, %cu) since 14 : (tensor<2x3x4xf32>, tensor<2x1x4xf32>) -> tensor<2x3x4xf32>
    %y = onnx.node "ReduceSum"(%yc, %two) since 13 {keepdims = 0 : i64} : (tensor<2x3x4xf32>, tensor<1xi64>) -> tensor<2x3xf32>
    onnx.yield %next, %y : tensor<2x3x4xf32>, tensor<2x3xf32>
  }
  return %ys, %last : tensor<5x2x3xf32>, tensor<2x3x4xf32>
})",
               "eff.ssm_scan");
}

/// Heads of two channels; dt * x is one value outside.
TEST_F(ScanLoop, TheRecurrenceOfMamba2) {
  expectRaised(R"(
func.func @main(%x: tensor<2x5x3x2xf32> {onnx.name = "x"}, %dt: tensor<2x5x3xf32> {onnx.name = "dt"},
                %b: tensor<2x5x4xf32> {onnx.name = "b"}, %c: tensor<2x5x4xf32> {onnx.name = "c"},
                %s: tensor<2x3x2x4xf32> {onnx.name = "past_ssm.0"})
    -> (tensor<2x5x3x2xf32> {onnx.name = "y"}, tensor<2x3x2x4xf32> {onnx.name = "present_ssm.0"}) {
  %a = onnx.constant "a" dense<[-1.0, -0.5, -2.0]> : tensor<3xf32>
  %three = onnx.constant "" dense<3> : tensor<1xi64>
  %four = onnx.constant "" dense<[2, 3]> : tensor<2xi64>
  %mid = onnx.constant "" dense<[1, 2]> : tensor<2xi64>
  %dtu = onnx.node "Unsqueeze"(%dt, %three) since 13 : (tensor<2x5x3xf32>, tensor<1xi64>) -> tensor<2x5x3x1xf32>
  %w = onnx.node "Mul"(%dtu, %x) since 14 : (tensor<2x5x3x1xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x2xf32>
  %last, %ys = onnx.node "Scan"(%s, %w, %dt, %b, %c) since 17 graphs ["body"] {num_scan_inputs = 4 : i64, scan_input_axes = array<i64: 1, 1, 1, 1>, scan_output_axes = array<i64: 1>}
    : (tensor<2x3x2x4xf32>, tensor<2x5x3x2xf32>, tensor<2x5x3xf32>, tensor<2x5x4xf32>, tensor<2x5x4xf32>) -> (tensor<2x3x2x4xf32>, tensor<2x5x3x2xf32>) {
  ^bb0(%st: tensor<2x3x2x4xf32>, %wt: tensor<2x3x2xf32>, %dtt: tensor<2x3xf32>, %bt: tensor<2x4xf32>, %ct: tensor<2x4xf32>):
    %scaled = onnx.node "Mul"(%dtt, %a) since 14 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
    %da = onnx.node "Exp"(%scaled) since 13 : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %da4 = onnx.node "Unsqueeze"(%da, %four) since 13 : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<2x3x1x1xf32>
    %keep = onnx.node "Mul"(%st, %da4) since 14 : (tensor<2x3x2x4xf32>, tensor<2x3x1x1xf32>) -> tensor<2x3x2x4xf32>
    %w4 = onnx.node "Unsqueeze"(%wt, %three) since 13 : (tensor<2x3x2xf32>, tensor<1xi64>) -> tensor<2x3x2x1xf32>
    %b4 = onnx.node "Unsqueeze"(%bt, %mid) since 13 : (tensor<2x4xf32>, tensor<2xi64>) -> tensor<2x1x1x4xf32>
    %in = onnx.node "Mul"(%w4, %b4) since 14 : (tensor<2x3x2x1xf32>, tensor<2x1x1x4xf32>) -> tensor<2x3x2x4xf32>
    %next = onnx.node "Add"(%keep, %in) since 14 : (tensor<2x3x2x4xf32>, tensor<2x3x2x4xf32>) -> tensor<2x3x2x4xf32>
    %c4 = onnx.node "Unsqueeze"(%ct, %mid) since 13 : (tensor<2x4xf32>, tensor<2xi64>) -> tensor<2x1x1x4xf32>
    %yc = onnx.node "Mul"(%next, %c4) since 14 : (tensor<2x3x2x4xf32>, tensor<2x1x1x4xf32>) -> tensor<2x3x2x4xf32>
    %y = onnx.node "ReduceSum"(%yc, %three) since 13 {keepdims = 0 : i64} : (tensor<2x3x2x4xf32>, tensor<1xi64>) -> tensor<2x3x2xf32>
    onnx.yield %next, %y : tensor<2x3x2x4xf32>, tensor<2x3x2xf32>
  }
  return %ys, %last : tensor<2x5x3x2xf32>, tensor<2x3x2x4xf32>
})",
               "eff.ssd_scan");
}
