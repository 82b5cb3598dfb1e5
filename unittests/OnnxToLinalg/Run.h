//===- Run.h - lowers a graph and runs it -----------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_ONNXTOLINALG_RUN_H
#define EFFC_UNITTESTS_ONNXTOLINALG_RUN_H

#include "effc/Conversion/OnnxToLinalg/Lower.h"
#include "effc/Reference/Interpreter.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

namespace effc::test {

using Tensor = reference::Tensor<double>;

inline Tensor floats(llvm::ArrayRef<int64_t> shape,
                     llvm::ArrayRef<double> values) {
  return Tensor::fromFloats(shape, values);
}
inline Tensor integers(llvm::ArrayRef<int64_t> shape,
                       llvm::ArrayRef<int64_t> values) {
  return Tensor::fromIntegers(shape, values);
}

/// Numbers between -2 and 2 without order, the same every time.
inline Tensor numbers(llvm::ArrayRef<int64_t> shape, unsigned seed = 1) {
  Tensor tensor(shape);
  uint64_t state = seed;
  for (double &value : tensor.floats) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = double(int64_t(state >> 33) % 4001) / 1000.0 - 2.0;
  }
  return tensor;
}

/// Lowers `func.func @main`, whose body and signature are `text`, and calls it.
/// Empty when something failed.
inline std::vector<Tensor> run(const std::string &text,
                               llvm::ArrayRef<Tensor> inputs) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<onnx::OnnxDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(
      "func.func @main" + text, &context);
  if (!module) {
    ADD_FAILURE() << "the graph does not parse";
    return {};
  }
  mlir::PassManager passes(&context);
  passes.addPass(createConvertOnnxToLinalgPass());
  if (failed(passes.run(*module))) {
    ADD_FAILURE() << "the graph has no lowering";
    return {};
  }
  reference::Interpreter<double> interpreter(*module);
  auto results = interpreter.run("main", inputs);
  if (!results) {
    ADD_FAILURE() << llvm::toString(results.takeError());
    return {};
  }
  return std::move(*results);
}

/// The one result of a graph.
inline Tensor runOne(const std::string &text, llvm::ArrayRef<Tensor> inputs) {
  std::vector<Tensor> results = run(text, inputs);
  return results.empty() ? Tensor() : results[0];
}

/// Both sides are computed in double and differ in the order of sums.
constexpr double exact = 1e-12;
/// The lowering has constants (1 / sqrt(size), 1 / count) of the graph's type,
/// f32.
constexpr double f32Constants = 1e-6;

inline void expectNear(const Tensor &actual, llvm::ArrayRef<double> expected,
                       double tolerance = exact) {
  ASSERT_EQ(actual.floats.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual.floats[i], expected[i], tolerance) << "element " << i;
}

} // namespace effc::test

#endif // EFFC_UNITTESTS_ONNXTOLINALG_RUN_H
