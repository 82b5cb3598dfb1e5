//===- Verify.h - checks a raised model by its numbers ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOEFF_VERIFY_H
#define EFFC_CONVERSION_ONNXTOEFF_VERIFY_H

#include "effc/Conversion/OnnxToEff/Raise.h"
#include "effc/Frontend/ONNX/HostTensor.h"

#include "llvm/Support/Error.h"

namespace effc {

/// Evaluates a bound, simplified graph node by node as the operators are
/// defined, in double, each result rounded to its type. Composite operators
/// (attention, scans, ...) are evaluated too; they share no code with the eff
/// dialect.
llvm::Expected<std::vector<onnx::HostTensor>>
evaluateGraph(mlir::func::FuncOp main, llvm::ArrayRef<onnx::HostTensor> inputs);

struct RaiseError {
  /// Largest difference of a result, divided by the largest absolute value of
  /// that result.
  double results = 0;
  /// The same of the states after the call.
  double states = 0;
};

/// Runs `entry`, which was raised from a graph like `@main` of `onnxModule`, in
/// the reference interpreter, and the graph itself, on random inputs and random
/// past states of length `past` (that of the graph), and compares results and
/// present states.
llvm::Expected<RaiseError> compareWithGraph(mlir::ModuleOp onnxModule,
                                            mlir::func::FuncOp entry,
                                            int64_t past, unsigned seed = 1);

} // namespace effc

#endif // EFFC_CONVERSION_ONNXTOEFF_VERIFY_H
