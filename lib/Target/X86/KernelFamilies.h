//===- KernelFamilies.h - constants of each kernel family -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_TARGET_X86_KERNELFAMILIES_H
#define EFFC_LIB_TARGET_X86_KERNELFAMILIES_H

#include "effc/Target/KernelSpec.h"

#include "llvm/Support/Error.h"

namespace effc {

/// Checks that the x86 kernels have the family, that they know every constant
/// of the spec, and that sizes are within the bounds of the code.
llvm::Error checkSpec(const KernelSpec &spec);
/// Every constant that a kernel may refer to.
llvm::ArrayRef<llvm::StringRef> kernelConstants();

} // namespace effc

#endif // EFFC_LIB_TARGET_X86_KERNELFAMILIES_H
