//===- CompileKernel.h - kernels to machine code ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Turns a KernelSpec into a relocatable object: links the family's bitcode
/// with the spec's constants and epilogue, folds, inlines and emits. All of it
/// happens in one LLVMContext of its own, so any number of threads may call at
/// once; equal arguments give equal bytes.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_TARGET_X86_COMPILEKERNEL_H
#define EFFC_TARGET_X86_COMPILEKERNEL_H

#include "effc/Target/KernelSpec.h"
#include "effc/Target/X86/X86Machine.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

namespace effc {

struct CompiledKernel {
  /// The one symbol that the object defines: an eff_kernel.
  std::string symbol;
  /// ELF relocatable, position independent, without undefined symbols.
  llvm::SmallVector<char, 0> object;
  /// eff_feature bits that the code needs.
  uint64_t features = 0;
};

/// What to show of a kernel instead of an object.
enum class KernelText { LLVMIR, Assembly };

/// Fails with EFF0501 for a family, constant or epilogue that there is no code
/// for.
llvm::Expected<CompiledKernel> compileKernel(const KernelSpec &spec,
                                             const X86Machine &machine,
                                             llvm::StringRef symbol);

/// The kernel as text, for people.
llvm::Expected<std::string> printKernel(const KernelSpec &spec,
                                        const X86Machine &machine,
                                        llvm::StringRef symbol,
                                        KernelText kind);

/// Families that compileKernel knows, sorted.
llvm::ArrayRef<llvm::StringRef> kernelFamilies();
/// Whether the ops of an epilogue can be compiled; the error names the first
/// that cannot.
llvm::Error checkEpilogue(llvm::StringRef epilogue);

} // namespace effc

#endif // EFFC_TARGET_X86_COMPILEKERNEL_H
