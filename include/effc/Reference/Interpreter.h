//===- Interpreter.h - the meaning of the eff dialect -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs functions of the eff dialect, and of the arith, math, tensor and linalg
/// ops that stand beside it, in plain loops. What it computes is what the ops
/// mean: raising, compression and kernels are tested against it. T is float or
/// double; a double interpreter computes with the same (rounded) weights in
/// double.
///
/// Weights are decoded once, when first used. A quantised weight is the value
/// that rounding to nearest gives (include/effc/Dialect/Eff/Rounding.h),
/// dequantised.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_REFERENCE_INTERPRETER_H
#define EFFC_REFERENCE_INTERPRETER_H

#include "effc/Reference/Tensor.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace effc::reference {

/// What a model remembers of one sequence. A copy is a snapshot.
template <typename T> struct Sequence {
  /// Tokens consumed so far: `past` of the next call.
  int64_t length = 0;
  /// By symbol. A state has the shape of its type; a cache is `[tokens so
  /// far][heads][head_dim]`.
  std::map<std::string, std::vector<T>> buffers;
};

/// One batch row of a call.
template <typename T> struct Row {
  /// May be null for a model without states and caches.
  Sequence<T> *sequence = nullptr;
  /// Tokens of this call that are real; -1: all. With -1 a sequence grows only
  /// when the function is an entry point (`eff.entry` says how many they are).
  int64_t valid = -1;
};

template <typename T> struct Weights;

template <typename T> class Interpreter {
public:
  /// The module must outlive the interpreter and not change.
  explicit Interpreter(mlir::ModuleOp module);
  ~Interpreter();

  /// An empty sequence: every state is zero, every cache empty.
  Sequence<T> createSequence() const;
  /// Makes a sequence empty.
  void reset(Sequence<T> &sequence) const { sequence = createSequence(); }

  /// Calls a function. `rows` has one element for each batch row, or is empty
  /// when nothing is padded and no state is used. Then each sequence has
  /// `valid` tokens more. With `allLogits`, `eff.select_rows` keeps every
  /// position. After an error the sequences are as they were.
  llvm::Expected<std::vector<Tensor<T>>> run(mlir::func::FuncOp function,
                                             llvm::ArrayRef<Tensor<T>> inputs,
                                             llvm::ArrayRef<Row<T>> rows = {},
                                             bool allLogits = false);
  /// The same, for a function of the module by name.
  llvm::Expected<std::vector<Tensor<T>>> run(llvm::StringRef function,
                                             llvm::ArrayRef<Tensor<T>> inputs,
                                             llvm::ArrayRef<Row<T>> rows = {},
                                             bool allLogits = false);

  mlir::ModuleOp getModule() const { return module; }

private:
  mlir::ModuleOp module;
  std::unique_ptr<Weights<T>> weights;
};

extern template class Interpreter<float>;
extern template class Interpreter<double>;

} // namespace effc::reference

#endif // EFFC_REFERENCE_INTERPRETER_H
