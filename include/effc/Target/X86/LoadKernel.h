//===- LoadKernel.h - compiled kernels in this process ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Compiles a kernel and maps it into the process that asks, for tests and
/// benchmarks.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_TARGET_X86_LOADKERNEL_H
#define EFFC_TARGET_X86_LOADKERNEL_H

#include "effc/Target/X86/CompileKernel.h"
#include "effrt/effrt.h"

#include <memory>

namespace effc {

/// A kernel that can be called; the code lives as long as this does.
class LoadedKernel {
public:
  static llvm::Expected<LoadedKernel> load(const KernelSpec &spec,
                                           const X86Machine &machine);

  void operator()(void *const *operands, const eff_call &call,
                  int32_t thread = 0, int32_t threads = 1) const {
    run(operands, &call, thread, threads);
  }

private:
  std::shared_ptr<void> code;
  eff_kernel run = nullptr;
};

} // namespace effc

#endif // EFFC_TARGET_X86_LOADKERNEL_H
