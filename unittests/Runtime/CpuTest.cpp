//===- CpuTest.cpp - what the processor at hand can do --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/cpu.h"

#include <filesystem>
#include <sched.h>

using namespace effrt;
using namespace effrt::test;

namespace {

constexpr uint64_t v4 =
    EFF_FEATURE_X86_64_V2 | EFF_FEATURE_X86_64_V3 | EFF_FEATURE_X86_64_V4;

TEST(Cpu, DetectsLevels) {
  uint64_t features = cpuFeatures();
#if defined(__x86_64__)
  // The compiler's own view of the machine.
  __builtin_cpu_init();
  EXPECT_EQ(bool(features & EFF_FEATURE_X86_64_V3),
            __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi2"));
  EXPECT_EQ(bool(features & EFF_FEATURE_X86_64_V4),
            __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512dq"));
  EXPECT_EQ(bool(features & EFF_FEATURE_AVX512_VNNI),
            bool(__builtin_cpu_supports("avx512vnni")));
#endif
  EXPECT_EQ(withoutFeatures(features, ""), features);
  EXPECT_FALSE(cpuName().empty());
}

TEST(Cpu, DisablingALevelDisablesWhatIsAbove) {
  uint64_t all = v4 | EFF_FEATURE_AVX512_VNNI | EFF_FEATURE_AMX_INT8 |
                 EFF_FEATURE_AVX_VNNI;
  EXPECT_EQ(withoutFeatures(all, "amx_int8,nonsense"),
            all & ~uint64_t(EFF_FEATURE_AMX_INT8));
  EXPECT_EQ(withoutFeatures(all, "x86-64-v4"),
            uint64_t(EFF_FEATURE_X86_64_V2 | EFF_FEATURE_X86_64_V3 |
                     EFF_FEATURE_AVX_VNNI));
  EXPECT_EQ(withoutFeatures(all, "x86-64-v2"), 0u);
}

TEST(Cpu, Names) {
  EXPECT_EQ(featureNames(0), "none");
  EXPECT_EQ(featureNames(v4 | EFF_FEATURE_AVX512_BF16),
            "x86-64-v4, avx512_bf16");
  EXPECT_EQ(featureNames(EFF_FEATURE_X86_64_V2), "x86-64-v2");
  EXPECT_EQ(featureByName("avx_vnni"), uint64_t(EFF_FEATURE_AVX_VNNI));
  EXPECT_EQ(featureByName("avx9"), 0u);
}

TEST(Cpu, ControlGroupVersion2) {
  TempDir dir;
  std::filesystem::create_directories(dir / "a/b");
  writeFile(dir / "a/cpu.max", "150000 100000\n");
  writeFile(dir / "a/b/cpu.max", "max 100000\n");
  // The group above limits.
  EXPECT_DOUBLE_EQ(cgroupQuota(dir.path(), "0::/a/b\n"), 1.5);
  writeFile(dir / "a/b/cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(cgroupQuota(dir.path(), "0::/a/b\n"), 0.5);
  EXPECT_DOUBLE_EQ(cgroupQuota(dir.path(), "0::/\n"), 0);
  // In a container the named group is not there, the mount is the group.
  writeFile(dir / "cpu.max", "200000 100000\n");
  EXPECT_DOUBLE_EQ(cgroupQuota(dir.path(), "0::/docker/xyz\n"), 2);
}

TEST(Cpu, ControlGroupVersion1) {
  TempDir dir;
  std::filesystem::create_directories(dir / "cpu,cpuacct/job");
  writeFile(dir / "cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n");
  writeFile(dir / "cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  std::string membership = "4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n";
  EXPECT_DOUBLE_EQ(cgroupQuota(dir.path(), membership), 3);
  writeFile(dir / "cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  EXPECT_DOUBLE_EQ(cgroupQuota(dir.path(), membership), 0);
  EXPECT_DOUBLE_EQ(cgroupQuota(dir.path(), "garbage"), 0);
}

TEST(Cpu, HonoursAffinity) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CpuSet all = usableCpus();
  EXPECT_EQ(int(all.cpus.size()), CPU_COUNT(&before));
  EXPECT_GE(all.cores, 1);
  int last = all.cpus.back();
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  CpuSet few = usableCpus();
  EXPECT_EQ(few.cpus, std::vector<int>{last});
  EXPECT_EQ(few.defaultThreads(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(Cpu, QuotaLimitsThreads) {
  CpuSet set;
  set.cpus = {0, 1, 2, 3, 4, 5, 6, 7};
  set.cores = 4;
  EXPECT_EQ(set.defaultThreads(), 4);
  set.quota = 2.5;
  EXPECT_EQ(set.defaultThreads(), 3);
  set.quota = 2.0;
  EXPECT_EQ(set.defaultThreads(), 2);
  set.quota = 0.1;
  EXPECT_EQ(set.defaultThreads(), 1);
}

} // namespace
