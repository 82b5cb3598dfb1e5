//===- WeightStream.cpp - packs weights into a file -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "WeightStream.h"
#include "KernelJobs.h"

#include "effc/Dialect/Eff/WeightSource.h"
#include "effc/Support/Error.h"
#include "effc/Target/PackWeight.h"

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

using namespace effc;

namespace {
/// Work of one task: large enough to be worth a thread, small enough to share
/// out.
constexpr int64_t kBytesPerTask = int64_t(4) << 20;

/// A weight's pages of the file, mapped while tasks write them.
class Window {
public:
  llvm::Error open(int fd, uint64_t offset, uint64_t bytes);
  void close();
  llvm::MutableArrayRef<uint8_t> get() const { return bytes; }

private:
  void *base = nullptr;
  size_t length = 0;
  llvm::MutableArrayRef<uint8_t> bytes;
};

/// One weight on its way into the file.
struct Job {
  /// Absent where a weight has integers alone.
  std::optional<eff::WeightSource> source;
  eff::QuantizedValues quantized;
  Window window;
  /// Panels of one task, tasks in all and those not done yet.
  int64_t panelsPerTask, tasks, left;
  std::atomic<int64_t> notFinite = 0;
};

/// Panels [begin, end) of a weight.
struct Task {
  size_t weight;
  int64_t begin, end;
};
} // namespace

static llvm::Error cannotWrite(int number) {
  return makeError(ErrorCode::CannotWrite, "the weights cannot be written", {},
                   std::strerror(number));
}

llvm::Error Window::open(int fd, uint64_t offset, uint64_t size) {
  uint64_t page = sysconf(_SC_PAGESIZE);
  uint64_t start = offset / page * page;
  length = offset + size - start;
  base = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, start);
  if (base == MAP_FAILED) {
    base = nullptr;
    return cannotWrite(errno);
  }
  bytes = {static_cast<uint8_t *>(base) + (offset - start), size};
  return llvm::Error::success();
}

void Window::close() {
  if (base)
    munmap(base, length);
  base = nullptr;
  bytes = {};
}

/// Takes the room on the disk, so that writing to mapped pages cannot fail.
static llvm::Error reserve(int fd, uint64_t offset, uint64_t bytes) {
  if (bytes == 0)
    return llvm::Error::success();
  if (int number = posix_fallocate(fd, offset, bytes))
    return cannotWrite(number);
  return llvm::Error::success();
}

static llvm::Error pack(const PlacedWeight &weight, Job &job,
                        const Task &task) {
  eff::WeightOp op = weight.op;
  eff::WeightType type = op.getType();
  auto read = [&](int64_t n, int64_t count, llvm::MutableArrayRef<float> out) {
    job.source->readRows(n, count, out);
    int64_t bad = 0;
    for (float value : out)
      bad += !std::isfinite(value);
    if (bad > 0)
      job.notFinite += bad;
  };
  RowSource rows{read, {}, job.quantized};
  packPanels(type, rows, task.begin, task.end, job.window.get());
  return llvm::Error::success();
}

llvm::Error effc::streamWeights(const ModelLayout &layout,
                                const WriteOptions &options, int fd,
                                uint64_t offset,
                                std::vector<std::string> &warnings) {
  if (llvm::Error error = reserve(fd, offset, layout.weightBytes))
    return error;
  std::vector<std::unique_ptr<Job>> jobs;
  std::vector<Task> tasks;
  for (auto [index, weight] : llvm::enumerate(layout.weights)) {
    eff::WeightOp op = weight.op;
    auto job = std::make_unique<Job>();
    if (op.getQuantized()) {
      llvm::Expected<eff::QuantizedValues> values = eff::getQuantizedValues(op);
      if (!values)
        return values.takeError();
      job->quantized = *values;
    } else {
      llvm::Expected<eff::WeightSource> source = eff::WeightSource::create(op);
      if (!source)
        return source.takeError();
      job->source = *source;
    }
    int64_t panels = getPanelCount(op.getType());
    int64_t panelBytes = std::max<int64_t>(1, weight.bytes / panels);
    job->panelsPerTask = std::max<int64_t>(1, kBytesPerTask / panelBytes);
    job->tasks = job->left =
        (panels + job->panelsPerTask - 1) / job->panelsPerTask;
    for (int64_t begin = 0; begin < panels; begin += job->panelsPerTask)
      tasks.push_back(
          {index, begin, std::min(panels, begin + job->panelsPerTask)});
    jobs.push_back(std::move(job));
  }
  std::mutex mutex;
  uint64_t done = 0;
  llvm::Error error = runParallel(
      getThreads(options.jobs), tasks.size(), [&](size_t i) -> llvm::Error {
        const Task &task = tasks[i];
        const PlacedWeight &weight = layout.weights[task.weight];
        Job &job = *jobs[task.weight];
        {
          std::lock_guard<std::mutex> lock(mutex);
          if (job.window.get().empty())
            if (llvm::Error error =
                    job.window.open(fd, offset + weight.offset, weight.bytes))
              return error;
        }
        llvm::Error error = pack(weight, job, task);
        std::lock_guard<std::mutex> lock(mutex);
        if (--job.left == 0) {
          job.window.close();
          done += weight.bytes;
          if (options.progress)
            options.progress(
                {WriteProgress::Weights, done, layout.weightBytes});
        }
        return error;
      });
  for (auto [index, job] : llvm::enumerate(jobs)) {
    job->window.close();
    if (job->notFinite > 0) {
      eff::WeightOp op = layout.weights[index].op;
      warnings.push_back("the weight '" + op.getSymName().str() + "' has " +
                         std::to_string(job->notFinite) +
                         " values that are not finite");
    }
  }
  return error;
}
