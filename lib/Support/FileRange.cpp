//===- FileRange.cpp - memory that shows a file ---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Support/FileRange.h"
#include "effc/Support/Error.h"

#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

#include <atomic>
#include <csignal>
#include <mutex>
#include <string>
#include <unistd.h>

using namespace effc;

/// The list that a signal handler reads: entries are added and used again, but
/// never go.
struct FileRange::Entry {
  std::atomic<const char *> begin = nullptr; ///< null when it is free
  std::atomic<const char *> end = nullptr;
  std::string message;
  Entry *next = nullptr;
};

static std::atomic<FileRange::Entry *> ranges = nullptr;
static std::mutex adding;

FileRange::FileRange(llvm::ArrayRef<char> bytes, llvm::StringRef name) {
  std::string message;
  llvm::raw_string_ostream os(message);
  UserError(ErrorCode::ExternalData, "a file became shorter while it was read",
            name.str(), "another program cut it off",
            "compile again when nothing else writes to it")
      .log(os);
  std::lock_guard<std::mutex> lock(adding);
  for (entry = ranges; entry && entry->begin; entry = entry->next) {
  }
  if (!entry) {
    entry = new Entry;
    entry->next = ranges;
    ranges = entry;
  }
  entry->message = std::move(message);
  entry->end = bytes.end();
  entry->begin = bytes.begin();
}

FileRange::~FileRange() {
  if (entry)
    entry->begin = nullptr;
}

static struct sigaction otherwise;

/// Reads atomics and calls write(2) and _exit(2) alone, besides LLVM's own
/// removal of files.
static void onBusError(int, siginfo_t *info, void *) {
  auto *at = static_cast<const char *>(info->si_addr);
  for (FileRange::Entry *e = ranges; e; e = e->next) {
    const char *begin = e->begin;
    if (!begin || at < begin || at >= e->end)
      continue;
    llvm::sys::RunInterruptHandlers();
    ssize_t ignored =
        write(STDERR_FILENO, e->message.data(), e->message.size());
    (void)ignored;
    _exit(1);
  }
  // Something else: the access fails again, under the handler from before.
  sigaction(SIGBUS, &otherwise, nullptr);
}

void effc::exitWhenFilesShrink() {
  // LLVM takes over all signals once, when a first file or handler is
  // registered; this must come after it.
  llvm::sys::AddSignalHandler([](void *) {}, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = onBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &otherwise);
}
