//===- cpu.h - what the processor at hand can do --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//

#ifndef EFFRT_CPU_H
#define EFFRT_CPU_H

#include <cstdint>
#include <string>
#include <vector>

namespace effrt {

/// The eff_feature bits that code may use in this process: the processor has
/// them, the operating system saves their registers and, for AMX, has granted
/// the request to use them. Less what the environment variable
/// EFFRT_DISABLE_FEATURES names ("x86-64-v4,amx_int8"; disabling a level
/// disables what is built on it).
uint64_t cpuFeatures();

/// `features` less the comma-separated `disabled` and all that needs it. Names
/// that are not known are ignored.
uint64_t withoutFeatures(uint64_t features, const std::string &disabled);

/// "x86-64-v4, avx512_vnni"; "none" for 0.
std::string featureNames(uint64_t features);

/// The bit of one name as in featureNames, 0 when it is not known.
uint64_t featureByName(const std::string &name);

/// "Intel(R) Xeon(R) Processor", or "unknown".
std::string cpuName();

/// The processors that this process may use, from its affinity mask, with one
/// for each physical core first and their siblings after.
struct CpuSet {
  std::vector<int> cpus;
  /// How many of `cpus`, from the front, are distinct physical cores.
  int cores = 0;
  /// Processors' worth of time that the control group grants; 0: no limit.
  double quota = 0;

  /// One thread for each physical core, as far as the quota reaches.
  int defaultThreads() const;
};
CpuSet usableCpus();

/// The quota in a control group file system mounted at `mount`, read as
/// /proc/self/cgroup's text `membership` says (versions 1 and 2); 0: no limit.
double cgroupQuota(const std::string &mount, const std::string &membership);

/// Bytes of the largest data cache, 0 when the system does not tell.
uint64_t lastLevelCacheBytes();

} // namespace effrt

#endif // EFFRT_CPU_H
