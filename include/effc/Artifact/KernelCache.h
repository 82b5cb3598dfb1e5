//===- KernelCache.h - kernels that several models share --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_ARTIFACT_KERNELCACHE_H
#define EFFC_ARTIFACT_KERNELCACHE_H

#include "effc/Target/X86/CompileKernel.h"

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace effc {

/// Compiled kernels by all that their code depends on. Searches write many
/// models that differ in a few kernels. Any thread may use it.
class KernelCache {
public:
  std::optional<CompiledKernel> find(const std::string &key) const {
    std::lock_guard<std::mutex> lock(mutex);
    auto found = kernels.find(key);
    return found == kernels.end() ? std::nullopt : std::optional(found->second);
  }
  void add(const std::string &key, const CompiledKernel &kernel) {
    std::lock_guard<std::mutex> lock(mutex);
    kernels.emplace(key, kernel);
  }
  size_t size() const {
    std::lock_guard<std::mutex> lock(mutex);
    return kernels.size();
  }

private:
  mutable std::mutex mutex;
  std::map<std::string, CompiledKernel> kernels;
};

} // namespace effc

#endif // EFFC_ARTIFACT_KERNELCACHE_H
