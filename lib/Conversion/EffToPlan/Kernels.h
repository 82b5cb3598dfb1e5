//===- Kernels.h - the kernels that programs share --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_EFFTOPLAN_KERNELS_H
#define EFFC_LIB_CONVERSION_EFFTOPLAN_KERNELS_H

#include "effc/Dialect/Plan/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace effc {

/// Constants of a kernel, in any order.
using Constants = llvm::ArrayRef<std::pair<llvm::StringRef, int64_t>>;

/// The kernels and generic code of a module: each is declared once, under a
/// name that follows from its contents.
class Kernels {
public:
  explicit Kernels(mlir::ModuleOp module) : module(module) {}

  /// The kernel of a family with these constants; takes the body of `epilogue`,
  /// which may be empty.
  plan::KernelOp get(llvm::StringRef family, Constants constants,
                     mlir::Region &epilogue, mlir::Location loc);
  /// The generic code with this body, which it takes.
  plan::GenericOp getGeneric(mlir::Region &body, mlir::Location loc);

private:
  mlir::ModuleOp module;
  llvm::StringMap<plan::KernelOp> kernels;
  llvm::StringMap<plan::GenericOp> generics;
};

/// The bits of an f32, as specs carry them.
int64_t getBits(const llvm::APFloat &value);

} // namespace effc

#endif // EFFC_LIB_CONVERSION_EFFTOPLAN_KERNELS_H
