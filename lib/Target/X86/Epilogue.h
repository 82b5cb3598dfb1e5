//===- Epilogue.h - epilogues to LLVM IR ------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_TARGET_X86_EPILOGUE_H
#define EFFC_LIB_TARGET_X86_EPILOGUE_H

#include "effc/Target/KernelSpec.h"

#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

namespace effc {

/// Defines `<16 x float> eff_epilogue(<16 x float>, i64 row, i64 col, ptr
/// extras)` from the spec's epilogue, one vector instruction for each scalar
/// one. Functions of the math dialect that are no instructions become calls of
/// eff_math_*.
llvm::Error emitEpilogue(const KernelSpec &spec, llvm::Module &module);

} // namespace effc

#endif // EFFC_LIB_TARGET_X86_EPILOGUE_H
