//===- Doctor.cpp - effc doctor, effc targets
//-------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Verbs.h"

#include "cli.h"
#include "common.h"

#include "effc/Target/X86/CompileKernel.h"
#include "effc/Target/X86/X86Machine.h"
#include "effrt/cpu.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdio>
#include <fstream>

using namespace effrt::tools;

namespace {

/// Megabytes that /proc/meminfo says are available, 0 when it does not tell.
double availableMemory() {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  double kilobytes = 0;
  while (in >> name >> kilobytes >> unit)
    if (name == "MemAvailable:")
      return kilobytes * 1024;
  return 0;
}

} // namespace

int effc::driver::targetsVerb(const Invocation &call) {
  bool asJson = false;
  effrt::cli::Command command(
      "targets", "Lists what code can be compiled for.", "",
      {"effc targets", "effc compile model.onnx --target=x86-64-v3,x86-64-v4"});
  command.flag("json", 0, asJson, "print a JSON array");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  X86Machine host = X86Machine::host();
  llvm::json::Array array;
  for (const std::string &name : X86Machine::levels()) {
    auto machine = X86Machine::parse(name);
    if (!machine) {
      llvm::consumeError(machine.takeError());
      continue;
    }
    bool here = machine->runsOn(host);
    if (asJson)
      array.push_back(
          llvm::json::Object{{"name", name},
                             {"runs_here", here},
                             {"cpu", machine->cpu()},
                             {"vector_bits", machine->vectorBits()}});
    else
      std::printf("%-12s %4d-bit vectors   %s\n", name.c_str(),
                  machine->vectorBits(),
                  here ? "runs here" : "not on this machine");
  }
  if (asJson)
    llvm::outs() << llvm::json::Value(std::move(array)) << "\n";
  else
    std::printf("\nthis machine: %s\n", host.name().c_str());
  return 0;
}

int effc::driver::doctorVerb(const Invocation &call) {
  bool asJson = false;
  effrt::cli::Command command(
      "doctor", "Shows what this machine can do and whether effc works here.",
      "", {"effc doctor", "effc doctor --json"});
  command.flag("json", 0, asJson, "print one JSON object");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;

  std::string reason;
  X86Machine host = X86Machine::host(&reason);
  effrt::CpuSet cpus = effrt::usableCpus();
  int threads = cpus.defaultThreads();
  auto roofs = measureRoofs(threads, true);
  if (!roofs)
    return reportError(roofs.error());

  // A kernel goes the whole way from bitcode to an object.
  KernelSpec spec;
  spec.family = "copy_rows";
  for (auto [name, value] : {std::pair<const char *, int64_t>{"rows", 4},
                             {"d", 64},
                             {"ldx", 64},
                             {"ldy", 64}})
    spec.set(name, value);
  double start = now();
  auto kernel = compileKernel(spec, host, "doctor");
  double seconds = now() - start;
  std::string failure;
  if (!kernel)
    failure = llvm::toString(kernel.takeError());

  double memory = availableMemory();
  if (asJson) {
    llvm::json::Object report{
        {"cpu", effrt::cpuName()},
        {"target", host.name()},
        {"reason", reason},
        {"threads", threads},
        {"cpu_quota", cpus.quota},
        {"read_bandwidth", roofs->bytesPerSecond},
        {"peak_flops", roofs->flops},
        {"peak_integer_ops", roofs->integerOps},
        {"last_level_cache",
         static_cast<int64_t>(effrt::lastLevelCacheBytes())},
        {"memory_available", memory},
        {"code_generation", failure.empty()},
        {"version", EFFC_VERSION}};
    llvm::outs() << llvm::json::Value(std::move(report)) << "\n";
    return failure.empty() ? 0 : 2;
  }
  std::printf("effc        %s\n", EFFC_VERSION);
  std::printf("processor   %s\n", effrt::cpuName().c_str());
  std::printf("target      %s: %s\n", host.name().c_str(), reason.c_str());
  std::printf("threads     %d of %zu processors", threads, cpus.cpus.size());
  if (cpus.quota > 0)
    std::printf(", the control group grants %.1f", cpus.quota);
  std::printf("\nmemory      %s available, %s last-level cache\n",
              humanBytes(memory).c_str(),
              humanBytes(double(effrt::lastLevelCacheBytes())).c_str());
  std::printf("roofline    reads %.1f GB/s, %.0f GFLOP/s in f32, %.0f GOP/s in "
              "int8 (%s)\n",
              roofs->bytesPerSecond / 1e9, roofs->flops / 1e9,
              roofs->integerOps / 1e9, roofs->instructions.c_str());
  if (failure.empty())
    std::printf("compiler    works: one kernel in %.0f ms\n", seconds * 1e3);
  else
    std::printf("compiler    fails\n%s\n", failure.c_str());
  return failure.empty() ? 0 : 2;
}
