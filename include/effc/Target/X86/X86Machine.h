//===- X86Machine.h - levels and features of x86 processors -----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What code may be emitted for: one of the levels of the psABI and the
/// features beyond it that kernels use. Written "x86-64-v3",
/// "x86-64-v4+vnni+bf16".
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_TARGET_X86_X86MACHINE_H
#define EFFC_TARGET_X86_X86MACHINE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace effc {

class X86Machine {
public:
  /// From its name; "native" and "host" are the machine that this runs on.
  static llvm::Expected<X86Machine> parse(llvm::StringRef name);
  /// The machine that this runs on. `reason`, if given, gets a sentence that
  /// says what was found and what was not.
  static X86Machine host(std::string *reason = nullptr);
  /// Every name that parse accepts without a "+", worst first.
  static std::vector<std::string> levels();

  /// Canonical name: parse(name()) is equal to this.
  std::string name() const;
  /// eff_feature bits that the code may use (include/effrt/effrt.h).
  uint64_t features() const { return bits; }
  bool has(uint64_t feature) const { return (bits & feature) == feature; }
  /// Whether code for this machine runs on `other`.
  bool runsOn(const X86Machine &other) const {
    return (bits & ~other.bits) == 0;
  }
  /// Whether code for this machine runs here.
  bool runsHere() const;

  /// LLVM's names.
  std::string cpu() const;
  std::string llvmFeatures() const;
  /// Value of the kernels' constant `isa`.
  int64_t isa() const;
  /// Bits of the widest vector register.
  int vectorBits() const;

  bool operator==(const X86Machine &other) const { return bits == other.bits; }

private:
  explicit X86Machine(uint64_t bits) : bits(bits) {}
  uint64_t bits;
};

} // namespace effc

#endif // EFFC_TARGET_X86_X86MACHINE_H
