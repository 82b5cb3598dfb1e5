//===- X86Machine.cpp - levels and features of x86 processors
//---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/X86/X86Machine.h"

#include "effc/Support/Error.h"
#include "effrt/effrt.h"
#include "runtime/kernels/x86/isa.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

using namespace llvm;

namespace effc {

namespace {
/// A level of the psABI: what LLVM calls its parts, beyond the level before it.
struct Level {
  StringLiteral name;
  uint64_t bit;
  StringLiteral needs;
};
constexpr Level kLevels[] = {
    {"x86-64-v2", EFF_FEATURE_X86_64_V2,
     "cx16,popcnt,sahf,sse3,sse4.1,sse4.2,ssse3"},
    {"x86-64-v3", EFF_FEATURE_X86_64_V3,
     "avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe"},
    {"x86-64-v4", EFF_FEATURE_X86_64_V4,
     "avx512f,avx512bw,avx512cd,avx512dq,avx512vl"},
};
/// A feature beyond the levels, with the lowest level that kernels use it at.
struct Feature {
  StringLiteral name, llvmName;
  uint64_t bit, level;
};
constexpr Feature kFeatures[] = {
    {"vnni", "avx512vnni", EFF_FEATURE_AVX512_VNNI, EFF_FEATURE_X86_64_V4},
    {"bf16", "avx512bf16", EFF_FEATURE_AVX512_BF16, EFF_FEATURE_X86_64_V4},
    {"avxvnni", "avxvnni", EFF_FEATURE_AVX_VNNI, EFF_FEATURE_X86_64_V3},
};
} // namespace

std::vector<std::string> X86Machine::levels() {
  std::vector<std::string> names;
  for (const Level &level : kLevels)
    names.push_back(level.name.str());
  return names;
}

Expected<X86Machine> X86Machine::parse(StringRef name) {
  if (name == "native" || name == "host")
    return host();
  SmallVector<StringRef> parts;
  name.split(parts, '+');
  uint64_t bits = 0;
  bool known = false;
  for (const Level &level : kLevels) {
    bits |= level.bit;
    if (level.name == parts[0]) {
      known = true;
      break;
    }
  }
  if (!known)
    return makeError(
        ErrorCode::BadTarget, "unknown x86 target '" + name + "'", {}, {},
        "targets are native, " + join(levels(), ", ") + ", each with +FEATURE");
  for (StringRef part : ArrayRef(parts).drop_front()) {
    const Feature *feature =
        find_if(kFeatures, [&](const Feature &f) { return f.name == part; });
    if (feature == std::end(kFeatures))
      return makeError(ErrorCode::BadTarget,
                       "unknown feature '" + part + "' in target '" + name +
                           "'",
                       {}, {}, "features are vnni, bf16, avxvnni");
    if (!(bits & feature->level))
      return makeError(ErrorCode::BadTarget,
                       "feature '" + part + "' needs a higher level than " +
                           parts[0]);
    bits |= feature->bit;
  }
  return X86Machine(bits);
}

X86Machine X86Machine::host(std::string *reason) {
  StringMap<bool> found = sys::getHostCPUFeatures();
  uint64_t bits = 0;
  std::string why;
  for (const Level &level : kLevels) {
    SmallVector<StringRef> needs, missing;
    level.needs.split(needs, ',');
    for (StringRef need : needs)
      if (!found.lookup(need))
        missing.push_back(need);
    if (!missing.empty()) {
      why = "no " + level.name.str() + ": the processor lacks " +
            join(missing, ", ");
      break;
    }
    bits |= level.bit;
  }
  SmallVector<StringRef> extras, absent;
  for (const Feature &feature : kFeatures) {
    // AVX-VNNI serves processors without AVX-512 alone.
    bool superseded = feature.level == EFF_FEATURE_X86_64_V3 &&
                      (bits & EFF_FEATURE_X86_64_V4);
    if (!(bits & feature.level) || superseded)
      continue;
    if (found.lookup(feature.llvmName)) {
      bits |= feature.bit;
      extras.push_back(feature.name);
    } else {
      absent.push_back(feature.name);
    }
  }
  // Code is never emitted for less than v2; such a processor is refused when
  // the model is loaded.
  X86Machine machine(bits | EFF_FEATURE_X86_64_V2);
  if (reason) {
    *reason = sys::getHostCPUName().str() + ": " + machine.name();
    if (!absent.empty())
      *reason += " (without " + join(absent, ", ") + ")";
    if (!why.empty())
      *reason += "; " + why;
  }
  return machine;
}

bool X86Machine::runsHere() const {
  StringMap<bool> found = sys::getHostCPUFeatures();
  uint64_t here = host().bits;
  for (const Feature &feature : kFeatures)
    if (found.lookup(feature.llvmName))
      here |= feature.bit;
  return (bits & ~here) == 0;
}

std::string X86Machine::name() const {
  std::string text;
  for (const Level &level : kLevels)
    if (bits & level.bit)
      text = level.name.str();
  for (const Feature &feature : kFeatures)
    if (bits & feature.bit)
      text += "+" + feature.name.str();
  return text;
}

std::string X86Machine::cpu() const {
  std::string text;
  for (const Level &level : kLevels)
    if (bits & level.bit)
      text = level.name.str();
  return text;
}

std::string X86Machine::llvmFeatures() const {
  std::string text;
  for (const Feature &feature : kFeatures)
    if (bits & feature.bit)
      text += (text.empty() ? "+" : ",+") + feature.llvmName.str();
  return text;
}

int64_t X86Machine::isa() const {
  if (has(EFF_FEATURE_X86_64_V4))
    return has(EFF_FEATURE_AVX512_VNNI) ? kernels::kIsaV4Vnni : kernels::kIsaV4;
  if (has(EFF_FEATURE_X86_64_V3))
    return has(EFF_FEATURE_AVX_VNNI) ? kernels::kIsaV3Vnni : kernels::kIsaV3;
  return kernels::kIsaV2;
}

int X86Machine::vectorBits() const {
  return has(EFF_FEATURE_X86_64_V4)   ? 512
         : has(EFF_FEATURE_X86_64_V3) ? 256
                                      : 128;
}

} // namespace effc
