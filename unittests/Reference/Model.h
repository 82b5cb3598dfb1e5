//===- Model.h - small modules for tests of the reference -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_REFERENCE_MODEL_H
#define EFFC_UNITTESTS_REFERENCE_MODEL_H

#include "effc/Dialect/Eff/Eff.h"
#include "effc/Reference/Interpreter.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include "gtest/gtest.h"

#include <cmath>

namespace effc::reference {

using Values = std::vector<double>;

/// Numbers in [-1, 1) that are multiples of 2^-10, so that f32, and sums of
/// few, hold them exactly.
inline Values noise(int64_t count, uint64_t seed) {
  Values values(count);
  for (double &value : values) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    value = double(int64_t(seed >> 53) - 1024) / 1024;
  }
  return values;
}

/// `dense<"0x..."> : tensor<SHAPExf32>`.
inline std::string dense(const Values &values, const std::string &shape) {
  std::vector<float> floats(values.begin(), values.end());
  // A single element in hexadecimal would need another spelling.
  if (floats.size() == 1)
    return "dense<" + std::to_string(floats[0]) + "> : tensor<" + shape +
           "xf32>";
  llvm::StringRef bytes(reinterpret_cast<const char *>(floats.data()),
                        floats.size() * 4);
  return "dense<\"0x" + llvm::toHex(bytes) + "\"> : tensor<" + shape + "xf32>";
}

/// `eff.weight @NAME : !eff.weight<SHAPE, f32> = ..`.
inline std::string weight(const std::string &name, const std::string &shape,
                          const Values &values) {
  return "eff.weight @" + name + " : !eff.weight<" + shape +
         ", f32> = " + dense(values, shape) + "\n";
}

/// `%NAME = eff.use @NAME : TYPE`.
inline std::string use(const std::string &name, const std::string &type) {
  return "%" + name + " = eff.use @" + name + " : " + type + "\n";
}

class Model {
public:
  /// Parses a module; the test fails when it cannot.
  explicit Model(const std::string &text) {
    mlir::DialectRegistry registry;
    registry.insert<eff::EffDialect, mlir::arith::ArithDialect,
                    mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                    mlir::math::MathDialect, mlir::tensor::TensorDialect>();
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    if (!module)
      module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    single = std::make_unique<Interpreter<float>>(*module);
    precise = std::make_unique<Interpreter<double>>(*module);
  }

  template <typename T> Interpreter<T> &get() {
    if constexpr (std::is_same_v<T, float>)
      return *single;
    else
      return *precise;
  }

  /// Calls `@main`; the test fails when it cannot.
  template <typename T>
  std::vector<Tensor<T>> run(const std::vector<Tensor<T>> &inputs,
                             const std::vector<Row<T>> &rows = {},
                             bool allLogits = false,
                             const char *function = "main") {
    auto outputs = get<T>().run(function, inputs, rows, allLogits);
    if (outputs)
      return *outputs;
    ADD_FAILURE() << llvm::toString(outputs.takeError());
    // Enough for what tests take out.
    return std::vector<Tensor<T>>(8);
  }

  /// The message of the error that a call gives; the test fails when there is
  /// none.
  std::string fail(const std::vector<Tensor<double>> &inputs,
                   const std::vector<Row<double>> &rows = {},
                   const char *function = "main") {
    auto outputs = precise->run(function, inputs, rows);
    EXPECT_FALSE(bool(outputs));
    return outputs ? std::string() : llvm::toString(outputs.takeError());
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;

private:
  std::unique_ptr<Interpreter<float>> single;
  std::unique_ptr<Interpreter<double>> precise;
};

template <typename T>
Tensor<T> tensor(llvm::ArrayRef<int64_t> shape, const Values &values) {
  return Tensor<T>::fromFloats(shape,
                               std::vector<T>(values.begin(), values.end()));
}

/// Elements [begin, begin + count) of `values`.
inline Values part(const Values &values, int64_t begin, int64_t count) {
  return Values(values.begin() + begin, values.begin() + begin + count);
}

/// Compares element by element, to a tolerance relative to the largest expected
/// magnitude.
template <typename T>
void expectNear(const std::vector<T> &actual, const Values &expected,
                double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 1e-30;
  for (double value : expected)
    largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(double(actual[i]), expected[i], tolerance * largest)
        << "element " << i;
}

/// Tolerance of a double evaluation: rounding of sums of at most a few hundred
/// terms.
inline constexpr double kDouble = 1e-13;
/// Tolerance of a float evaluation of the same.
inline constexpr double kFloat = 1e-5;

inline double silu(double x) { return x / (1 + std::exp(-x)); }

} // namespace effc::reference

#endif // EFFC_UNITTESTS_REFERENCE_MODEL_H
