//===- CompileGeneric.h - generic code to machine code ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Compiles the body of a plan.generic: elementwise ops are fused, tiled and
/// vectorised, tensors become buffers, temporaries lie in one scratch space,
/// and the function gets the signature of an eff_kernel. There is no call in
/// it: exp, tanh and the like become polynomials. All of it happens in contexts
/// of its own, so any number of threads may call at once; equal arguments give
/// equal bytes.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_TARGET_GENERIC_COMPILEGENERIC_H
#define EFFC_TARGET_GENERIC_COMPILEGENERIC_H

#include "effc/Dialect/Plan/Plan.h"
#include "effc/Target/X86/CompileKernel.h"

#include "llvm/Support/Error.h"

namespace effc {

/// A generic's body as the text of a function `@generic`.
std::string printGeneric(plan::GenericOp generic);

/// Bytes of temporaries that the code of `printGeneric` needs.
llvm::Expected<int64_t> measureScratch(llvm::StringRef text);

/// Compiles the code of `printGeneric`. Fails with EFF0210 when it needs a
/// library function, with EFF0501 when its temporaries do not take `scratch`
/// bytes.
llvm::Expected<CompiledKernel> compileGeneric(llvm::StringRef text,
                                              int64_t scratch,
                                              const X86Machine &machine,
                                              llvm::StringRef symbol);

/// The same as text for people: LLVM IR or assembly.
llvm::Expected<std::string> printGenericCode(llvm::StringRef text,
                                             const X86Machine &machine,
                                             llvm::StringRef symbol,
                                             bool asLLVM);

} // namespace effc

#endif // EFFC_TARGET_GENERIC_COMPILEGENERIC_H
