//===- TargetMachine.cpp - LLVM's x86 back end ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/X86/TargetMachine.h"

#include "effc/Support/Error.h"

#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"

#include <mutex>

using namespace llvm;

Expected<std::unique_ptr<TargetMachine>>
effc::createTargetMachine(StringRef cpu, StringRef features) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
  Triple triple("x86_64-unknown-linux-gnu");
  std::string why;
  const Target *entry = TargetRegistry::lookupTarget(triple, why);
  if (!entry)
    return makeError(ErrorCode::CodeGen, "LLVM has no x86 back end", {}, why);
  TargetOptions options;
  options.AllowFPOpFusion = FPOpFusion::Fast;
  std::unique_ptr<TargetMachine> machine(
      entry->createTargetMachine(triple, cpu, features, options, Reloc::PIC_,
                                 std::nullopt, CodeGenOptLevel::Aggressive));
  if (!machine)
    return makeError(ErrorCode::CodeGen, "LLVM cannot make a target machine",
                     {}, cpu);
  return machine;
}
