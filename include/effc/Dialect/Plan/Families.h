//===- Families.h - operands and constants of kernel families ---*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The table of effc/Target/KernelSpec.h in a form that verifiers can read.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_PLAN_FAMILIES_H
#define EFFC_DIALECT_PLAN_FAMILIES_H

#include "effc/Dialect/Plan/Plan.h"
#include "effc/Target/KernelSpec.h"

namespace effc::plan {

/// How a kernel uses one of its operands. Scales of results are read when the
/// constant `quant` is 1 and written when it is 2.
enum class Use { Read, Write, Update, ScaleOfResult };

struct FamilyOperand {
  llvm::StringRef name;
  Use use;
  bool optional;
};

/// One kernel family. A linear's `extras` follow the operands listed here.
struct Family {
  llvm::StringRef name;
  llvm::SmallVector<FamilyOperand> operands;
  llvm::SmallVector<llvm::StringRef> constants;
  /// Constants that count as 0 where a kernel does not have them.
  llvm::SmallVector<llvm::StringRef> optionalConstants;
  /// Whether it is a linear: takes an epilogue and extras.
  bool linear;
  /// Whether it multiplies integers: a linear of int8 activations.
  bool integer;
};

/// The family of a name, null when there is none.
const Family *findFamily(llvm::StringRef name);

/// The spec that a kernel op stands for.
KernelSpec getSpec(KernelOp kernel);

/// An epilogue region as the text that KernelSpec::epilogue holds.
std::string printEpilogue(mlir::Region &epilogue);

/// Which operands a kernel of this family writes.
llvm::SmallVector<int64_t> getWrites(const Family &family, KernelOp kernel);

} // namespace effc::plan

#endif // EFFC_DIALECT_PLAN_FAMILIES_H
