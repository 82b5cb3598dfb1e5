//===- cpu.cpp - what the processor at hand can do ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/cpu.h"
#include "effrt/effrt.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sched.h>
#include <set>
#include <string_view>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace effrt {
namespace {

struct Feature {
  const char *name;
  uint64_t bit;
  uint64_t needs; ///< cannot be used without these
};

constexpr uint64_t v2 = EFF_FEATURE_X86_64_V2;
constexpr uint64_t v3 = v2 | EFF_FEATURE_X86_64_V3;
constexpr uint64_t v4 = v3 | EFF_FEATURE_X86_64_V4;

constexpr Feature features[] = {
    {"x86-64-v2", EFF_FEATURE_X86_64_V2, 0},
    {"x86-64-v3", EFF_FEATURE_X86_64_V3, v2},
    {"x86-64-v4", EFF_FEATURE_X86_64_V4, v3},
    {"avx512_vnni", EFF_FEATURE_AVX512_VNNI, v4},
    {"avx512_bf16", EFF_FEATURE_AVX512_BF16, v4},
    {"amx_int8", EFF_FEATURE_AMX_INT8, v4},
    {"amx_bf16", EFF_FEATURE_AMX_BF16, v4},
    {"avx_vnni", EFF_FEATURE_AVX_VNNI, v3},
};

#if defined(__x86_64__)
struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(unsigned leaf, unsigned subleaf = 0) {
  Leaf r;
  if (leaf <= __get_cpuid_max(leaf & 0x80000000u, nullptr))
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
  return r;
}

bool all(unsigned word, std::initializer_list<int> bits) {
  for (int bit : bits)
    if (!(word >> bit & 1))
      return false;
  return true;
}

uint64_t enabledRegisters() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

/// Tile registers need the kernel's leave, once for each process, before the
/// first tile instruction of any thread.
bool requestTiles() {
  constexpr int getSupported = 0x1021, requestPermission = 0x1023, tiles = 18;
  uint64_t supported = 0;
  if (syscall(SYS_arch_prctl, getSupported, &supported) != 0 ||
      !(supported >> tiles & 1))
    return false;
  return syscall(SYS_arch_prctl, requestPermission, tiles) == 0;
}

uint64_t detect() {
  uint64_t found = 0;
  Leaf one = cpuid(1), seven = cpuid(7), sevenOne = cpuid(7, 1);
  Leaf extended = cpuid(0x80000001u);
  // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF.
  if (all(one.ecx, {0, 9, 13, 19, 20, 23}) && all(extended.ecx, {0}))
    found |= EFF_FEATURE_X86_64_V2;
  if (!all(one.ecx, {27})) // OSXSAVE
    return found;
  uint64_t saved = enabledRegisters();
  bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6;
  bool tiles = (saved >> 17 & 3) == 3;
  // FMA, MOVBE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT.
  if (ymm && all(one.ecx, {12, 22, 28, 29}) && all(seven.ebx, {3, 5, 8}) &&
      all(extended.ecx, {5}))
    found |= EFF_FEATURE_X86_64_V3;
  // F, DQ, CD, BW, VL.
  if (zmm && all(seven.ebx, {16, 17, 28, 30, 31}))
    found |= EFF_FEATURE_X86_64_V4;
  if (zmm && all(seven.ecx, {11}))
    found |= EFF_FEATURE_AVX512_VNNI;
  if (zmm && all(sevenOne.eax, {5}))
    found |= EFF_FEATURE_AVX512_BF16;
  if (ymm && all(sevenOne.eax, {4}))
    found |= EFF_FEATURE_AVX_VNNI;
  // AMX-TILE, then AMX-INT8 or AMX-BF16.
  bool int8 = all(seven.edx, {24, 25}), bf16 = all(seven.edx, {24, 22});
  if (tiles && (int8 || bf16) && requestTiles())
    found |=
        (int8 ? EFF_FEATURE_AMX_INT8 : 0) | (bf16 ? EFF_FEATURE_AMX_BF16 : 0);
  return found;
}
#else
uint64_t detect() { return 0; }
#endif

/// Removes what is left without its base.
uint64_t closed(uint64_t mask) {
  for (const Feature &f : features)
    if ((mask & f.needs) != f.needs)
      mask &= ~f.bit;
  return mask;
}

/// The file's text, empty when it cannot be read. (No streams: they would pull
/// the whole of libstdc++'s locales into every executable model.)
std::string readAll(const std::string &path) {
  std::string text;
  if (std::FILE *file = std::fopen(path.c_str(), "rbe")) {
    char part[4096];
    while (size_t count = std::fread(part, 1, sizeof part, file))
      text.append(part, count);
    std::fclose(file);
  }
  return text;
}

/// What stands before the next `end`; takes it and `end` off `rest`.
std::string takeUntil(std::string_view &rest, char end) {
  size_t at = rest.find(end);
  std::string part(rest.substr(0, at));
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return part;
}

std::string readLine(const std::string &path) {
  std::string text = readAll(path);
  std::string_view rest = text;
  return takeUntil(rest, '\n');
}

/// Quota of one group's folder: 0 when it sets none.
double groupQuota(const std::string &folder) {
  std::string text = readLine(folder + "/cpu.max");
  std::string_view rest = text;
  std::string quota = takeUntil(rest, ' '); // "max" or microseconds
  if (!rest.empty()) {
    double period = std::atof(std::string(rest).c_str());
    return period > 0 ? std::atof(quota.c_str()) / period : 0;
  }
  double v1Quota = std::atof(readLine(folder + "/cpu.cfs_quota_us").c_str());
  double v1Period = std::atof(readLine(folder + "/cpu.cfs_period_us").c_str());
  return v1Quota > 0 && v1Period > 0 ? v1Quota / v1Period : 0;
}

} // namespace

uint64_t withoutFeatures(uint64_t mask, const std::string &disabled) {
  for (std::string_view names = disabled; !names.empty();)
    mask &= ~featureByName(takeUntil(names, ','));
  return closed(mask);
}

uint64_t cpuFeatures() {
  static const uint64_t detected = closed(detect());
  const char *disabled = std::getenv("EFFRT_DISABLE_FEATURES");
  return disabled ? withoutFeatures(detected, disabled) : detected;
}

std::string featureNames(uint64_t mask) {
  std::string text;
  uint64_t implied = 0;
  for (const Feature &f : features)
    if (mask & f.bit)
      implied |= f.bit <= EFF_FEATURE_X86_64_V4 ? f.needs : 0;
  // A level says all about the levels below it.
  for (const Feature &f : features)
    if (mask & f.bit & ~implied)
      text += (text.empty() ? "" : ", ") + std::string(f.name);
  return text.empty() ? "none" : text;
}

uint64_t featureByName(const std::string &name) {
  for (const Feature &f : features)
    if (name == f.name)
      return f.bit;
  return 0;
}

std::string cpuName() {
#if defined(__x86_64__)
  // Short names leave the last part empty, so ask which parts there are.
  if (cpuid(0x80000000u).eax >= 0x80000004u) {
    char name[49] = {};
    for (unsigned i = 0; i < 3; ++i) {
      Leaf part = cpuid(0x80000002u + i);
      std::memcpy(name + 16 * i, &part, 16);
    }
    std::string text = name;
    text.erase(0, text.find_first_not_of(' '));
    text.erase(text.find_last_not_of(' ') + 1);
    if (!text.empty())
      return text;
  }
#endif
  return "unknown";
}

double cgroupQuota(const std::string &mount, const std::string &membership) {
  double least = 0;
  auto limit = [&](double quota) {
    if (quota > 0)
      least = least > 0 ? std::min(least, quota) : quota;
  };
  // Lines are "id:controllers:path"; version 2 has id 0 and no controllers.
  for (std::string_view lines = membership; !lines.empty();) {
    std::string line = takeUntil(lines, '\n');
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      continue;
    std::string list = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string path = line.substr(second + 1), root;
    if (list == ",,") {
      root = mount;
      if (access((root + "/unified").c_str(), F_OK) == 0)
        root += "/unified";
    } else if (list.find(",cpu,") != std::string::npos) {
      root = mount + "/cpu";
      if (access(root.c_str(), F_OK) != 0)
        root = mount + "/" + list.substr(1, list.size() - 2);
    } else {
      continue;
    }
    // Every group above limits too. Inside a container the path may not exist
    // under the mount; then the mount itself is the group.
    for (;;) {
      limit(groupQuota(root + path));
      size_t slash = path.rfind('/');
      if (slash == std::string::npos)
        break;
      path.erase(slash);
    }
  }
  return least;
}

CpuSet usableCpus() {
  CpuSet set;
  // Grow the mask until the kernel's fits.
  for (int bits = 1024; bits <= 1 << 18; bits *= 2) {
    cpu_set_t *mask = CPU_ALLOC(bits);
    size_t size = CPU_ALLOC_SIZE(bits);
    bool known = sched_getaffinity(0, size, mask) == 0;
    for (int cpu = 0; known && cpu < bits; ++cpu)
      if (CPU_ISSET_S(cpu, size, mask))
        set.cpus.push_back(cpu);
    CPU_FREE(mask);
    if (known)
      break;
  }
  if (set.cpus.empty())
    set.cpus.push_back(0);

  std::vector<int> siblings, firsts;
  std::set<std::string> seen;
  for (int cpu : set.cpus) {
    std::string core =
        readLine("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                 "/topology/thread_siblings_list");
    bool fresh = core.empty() || seen.insert(core).second;
    (fresh ? firsts : siblings).push_back(cpu);
  }
  set.cores = static_cast<int>(firsts.size());
  set.cpus = std::move(firsts);
  set.cpus.insert(set.cpus.end(), siblings.begin(), siblings.end());
  set.quota = cgroupQuota("/sys/fs/cgroup", readAll("/proc/self/cgroup"));
  return set;
}

int CpuSet::defaultThreads() const {
  int threads = std::max(cores, 1);
  if (quota > 0)
    threads = std::min(threads, std::max(1, int(std::ceil(quota - 0.01))));
  return threads;
}

uint64_t lastLevelCacheBytes() {
  uint64_t largest = 0;
  for (int index = 0; index < 8; ++index) {
    std::string folder =
        "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    std::string size = readLine(folder + "/size");
    if (size.empty() || readLine(folder + "/type") == "Instruction")
      continue;
    uint64_t bytes = std::strtoull(size.c_str(), nullptr, 10);
    if (size.back() == 'K')
      bytes <<= 10;
    else if (size.back() == 'M')
      bytes <<= 20;
    largest = std::max(largest, bytes);
  }
  return largest;
}

} // namespace effrt
