//===- LoadKernel.cpp - compiled kernels in this process
//--------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/X86/LoadKernel.h"

#include "effc/Support/Error.h"

#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"

using namespace llvm;

namespace effc {

Expected<LoadedKernel> LoadedKernel::load(const KernelSpec &spec,
                                          const X86Machine &machine) {
  if (!machine.runsHere())
    return makeError(ErrorCode::WrongCpu,
                     "this processor cannot run code for " + machine.name());
  Expected<CompiledKernel> kernel = compileKernel(spec, machine, spec.name());
  if (!kernel)
    return kernel.takeError();
  auto jit = orc::LLJITBuilder().create();
  if (!jit)
    return jit.takeError();
  StringRef bytes(kernel->object.data(), kernel->object.size());
  if (Error error = (*jit)->addObjectFile(
          MemoryBuffer::getMemBufferCopy(bytes, spec.name())))
    return error;
  Expected<orc::ExecutorAddr> address = (*jit)->lookup(kernel->symbol);
  if (!address)
    return address.takeError();
  LoadedKernel loaded;
  loaded.run = address->toPtr<eff_kernel>();
  loaded.code = std::shared_ptr<orc::LLJIT>(std::move(*jit));
  return loaded;
}

} // namespace effc
