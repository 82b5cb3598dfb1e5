//===- StaticLld.cpp - what LLD asks for and effc leaves out --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// LLD as a library initialises every back end that LLVM was built with, for
/// link-time optimisation, and knows Polly as an extension. effc links objects
/// for x86 alone: a static build gives the others empty initialisers.
///
//===----------------------------------------------------------------------===//

#include "llvm/Plugins/PassPlugin.h"

#define EFFC_NO_BACK_END(name)                                                 \
  extern "C" void LLVMInitialize##name##TargetInfo() {}                        \
  extern "C" void LLVMInitialize##name##Target() {}                            \
  extern "C" void LLVMInitialize##name##TargetMC() {}                          \
  extern "C" void LLVMInitialize##name##AsmPrinter() {}                        \
  extern "C" void LLVMInitialize##name##AsmParser() {}

EFFC_NO_BACK_END(AArch64)
EFFC_NO_BACK_END(AMDGPU)
EFFC_NO_BACK_END(ARM)
EFFC_NO_BACK_END(AVR)
EFFC_NO_BACK_END(BPF)
EFFC_NO_BACK_END(Hexagon)
EFFC_NO_BACK_END(Lanai)
EFFC_NO_BACK_END(LoongArch)
EFFC_NO_BACK_END(M68k)
EFFC_NO_BACK_END(MSP430)
EFFC_NO_BACK_END(Mips)
EFFC_NO_BACK_END(NVPTX)
EFFC_NO_BACK_END(PowerPC)
EFFC_NO_BACK_END(RISCV)
EFFC_NO_BACK_END(SPIRV)
EFFC_NO_BACK_END(Sparc)
EFFC_NO_BACK_END(SystemZ)
EFFC_NO_BACK_END(VE)
EFFC_NO_BACK_END(WebAssembly)
EFFC_NO_BACK_END(XCore)
EFFC_NO_BACK_END(Xtensa)

llvm::PassPluginLibraryInfo getPollyPluginInfo() {
  return {LLVM_PLUGIN_API_VERSION, "none", "0", [](llvm::PassBuilder &) {}};
}
