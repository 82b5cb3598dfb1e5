//===- Scalar.h - scalar code of the reference interpreter ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_REFERENCE_SCALAR_H
#define EFFC_LIB_REFERENCE_SCALAR_H

#include "Call.h"

namespace effc::reference {

/// A float (of any type, held as T) or an integer (sign-extended, i1: 0 or 1).
template <typename T> union Scalar {
  T f;
  int64_t i;
};

/// One op of a program over numbered registers.
template <typename T> struct Instruction {
  using Apply = void (*)(const Instruction &, Scalar<T> *registers);

  Apply apply = nullptr;
  llvm::SmallVector<unsigned, 3> operands;
  unsigned result = 0;
  /// Predicate of a comparison, or a dimension.
  int64_t detail = 0;
  /// Widths of the first operand's and the result's integer type.
  unsigned operandWidth = 0, resultWidth = 0;
  /// What a tensor.extract reads.
  const Tensor<T> *tensor = nullptr;
};

/// Scalar code: the body of an epilogue or of a linalg op, or a single op.
template <typename T> class Program {
public:
  /// Compiles a block. Its arguments are the first registers, then come the
  /// indices of `loops` loops (linalg.index). Values from outside must be known
  /// to `call`.
  static llvm::Expected<Program> compile(mlir::Block &block, unsigned loops,
                                         Call<T> &call);
  /// Compiles one op whose operands are the first registers.
  static llvm::Expected<Program> compile(mlir::Operation *op);

  /// Register of argument `index`.
  Scalar<T> &argument(unsigned index) { return registers[index]; }
  /// Register of a loop's index.
  Scalar<T> &loop(unsigned index) { return registers[firstLoop + index]; }
  /// Register of a yielded value.
  Scalar<T> &yielded(unsigned index) { return registers[results[index]]; }

  void run() {
    for (const Instruction<T> &instruction : instructions)
      instruction.apply(instruction, registers.data());
  }

private:
  /// Adds an op; its operands must have registers, constants and values from
  /// outside get theirs.
  llvm::Error add(mlir::Operation *op, Call<T> &call);
  llvm::Expected<unsigned> getRegister(mlir::Operation *user, mlir::Value value,
                                       Call<T> &call);

  std::vector<Scalar<T>> registers;
  std::vector<Instruction<T>> instructions;
  llvm::SmallVector<unsigned, 2> results;
  llvm::DenseMap<mlir::Value, unsigned> numbers;
  unsigned firstLoop = 0;
};

/// Sets the instruction's function for an arith or math op; false when the op
/// is not known.
template <typename T>
bool selectInstruction(mlir::Operation *op, Instruction<T> &instruction);

/// Cuts an integer to a width and extends its sign; i1 becomes 0 or 1.
inline int64_t wrap(int64_t value, unsigned width) {
  if (width == 1)
    return value & 1;
  if (width >= 64)
    return value;
  uint64_t shifted = uint64_t(value) << (64 - width);
  return int64_t(shifted) >> (64 - width);
}

} // namespace effc::reference

#endif // EFFC_LIB_REFERENCE_SCALAR_H
