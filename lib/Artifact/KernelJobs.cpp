//===- KernelJobs.cpp - compiles all kernels of a module ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelJobs.h"

#include "effc/Dialect/Plan/Families.h"
#include "effc/Target/Generic/CompileGeneric.h"
#include "llvm/Support/Threading.h"

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

using namespace effc;

unsigned effc::getThreads(unsigned jobs) {
  if (jobs > 0)
    return jobs;
  return std::max(1u, std::thread::hardware_concurrency());
}

llvm::Error effc::runParallel(unsigned threads, size_t count,
                              llvm::function_ref<llvm::Error(size_t)> task) {
  std::atomic<size_t> next = 0;
  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::map<size_t, llvm::Error> errors;
  auto work = [&] {
    for (size_t i = next++; i < count && !failed; i = next++)
      if (llvm::Error error = task(i)) {
        failed = true;
        std::lock_guard<std::mutex> lock(mutex);
        errors.emplace(i, std::move(error));
      }
  };
  std::vector<std::thread> workers;
  for (size_t i = 1; i < std::min<size_t>(threads, count); ++i)
    workers.emplace_back(work);
  work();
  for (std::thread &worker : workers)
    worker.join();
  if (errors.empty())
    return llvm::Error::success();
  llvm::Error first = std::move(errors.begin()->second);
  for (auto it = std::next(errors.begin()); it != errors.end(); ++it)
    llvm::consumeError(std::move(it->second));
  return first;
}

KernelReport effc::describeKernel(mlir::Operation *kernel) {
  KernelReport report;
  report.name = mlir::SymbolTable::getSymbolName(kernel).str();
  report.bytes = 0;
  if (auto op = llvm::dyn_cast<plan::KernelOp>(kernel)) {
    report.family = op.getFamily().str();
    report.spec = plan::getSpec(op).str();
    return report;
  }
  report.family = "generic";
  std::map<std::string, int64_t> ops;
  llvm::cast<plan::GenericOp>(kernel).getBody().walk(
      [&](mlir::Operation *inner) {
        if (!inner->hasTrait<mlir::OpTrait::IsTerminator>())
          ++ops[inner->getName().getStringRef().str()];
      });
  for (auto &[name, count] : ops)
    report.spec +=
        (report.spec.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  return report;
}

llvm::Expected<std::vector<CompiledKernel>>
effc::compileKernels(const ModelLayout &layout, const WriteOptions &options) {
  // Specs and texts first: they read the module, which one thread does at a
  // time.
  size_t kernels = layout.kernels.size();
  std::vector<KernelSpec> specs(kernels);
  std::vector<std::string> texts(kernels);
  std::vector<int64_t> scratch(kernels);
  for (size_t i = 0; i < kernels; ++i) {
    if (auto kernel = llvm::dyn_cast<plan::KernelOp>(layout.kernels[i])) {
      specs[i] = plan::getSpec(kernel);
    } else {
      auto generic = llvm::cast<plan::GenericOp>(layout.kernels[i]);
      texts[i] = printGeneric(generic);
      scratch[i] = generic.getScratch();
    }
  }
  size_t count = kernels * options.targets.size();
  std::vector<CompiledKernel> objects(count);
  std::mutex mutex;
  uint64_t done = 0;
  llvm::Error error = runParallel(
      getThreads(options.jobs), count, [&](size_t i) -> llvm::Error {
        size_t kernel = i % kernels, target = i / kernels;
        const X86Machine &machine = options.targets[target];
        std::string symbol = getSymbol(layout.kernels[kernel], target);
        std::string key;
        std::optional<CompiledKernel> known;
        if (options.kernels) {
          key = machine.name() + '\n' + symbol + '\n' +
                (texts[kernel].empty()
                     ? specs[kernel].str()
                     : std::to_string(scratch[kernel]) + '\n' + texts[kernel]);
          known = options.kernels->find(key);
        }
        if (known) {
          objects[i] = std::move(*known);
        } else {
          llvm::Expected<CompiledKernel> object =
              texts[kernel].empty()
                  ? compileKernel(specs[kernel], machine, symbol)
                  : compileGeneric(texts[kernel], scratch[kernel], machine,
                                   symbol);
          if (!object)
            return object.takeError();
          objects[i] = std::move(*object);
          if (options.kernels)
            options.kernels->add(key, objects[i]);
        }
        std::lock_guard<std::mutex> lock(mutex);
        if (options.progress)
          options.progress({WriteProgress::Kernels, ++done, count});
        return llvm::Error::success();
      });
  if (error)
    return error;
  return objects;
}
