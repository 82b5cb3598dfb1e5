//===- TargetMachine.h - LLVM's x86 back end --------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_TARGET_X86_TARGETMACHINE_H
#define EFFC_TARGET_X86_TARGETMACHINE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"

#include <memory>

namespace effc {

/// LLVM's back end for position-independent code of a processor, by LLVM's
/// names of it and its features. Multiplications and additions may fuse.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(llvm::StringRef cpu, llvm::StringRef features);

} // namespace effc

#endif // EFFC_TARGET_X86_TARGETMACHINE_H
