//===- KernelJobs.h - compiles all kernels of a module ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_ARTIFACT_KERNELJOBS_H
#define EFFC_LIB_ARTIFACT_KERNELJOBS_H

#include "ModelLayout.h"
#include "effc/Artifact/ModelWriter.h"
#include "effc/Target/X86/CompileKernel.h"

namespace effc {

/// Threads for a number of jobs: `jobs`, or one for each processor when it is
/// 0.
unsigned getThreads(unsigned jobs);

/// Runs `task(0) .. task(count - 1)` on threads; returns the error of the first
/// task, by number, that failed.
llvm::Error runParallel(unsigned threads, size_t count,
                        llvm::function_ref<llvm::Error(size_t)> task);

/// What a kernel says of itself: family and spec.
KernelReport describeKernel(mlir::Operation *kernel);

/// All kernels for all targets: for target t and kernel k the object number t *
/// kernels + k.
llvm::Expected<std::vector<CompiledKernel>>
compileKernels(const ModelLayout &layout, const WriteOptions &options);

} // namespace effc

#endif // EFFC_LIB_ARTIFACT_KERNELJOBS_H
