//===- Limited.cpp - work in a process of its own, with limits ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Limited.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace effc::fuzz;

namespace {
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#elif defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

constexpr int acceptedCode = 0, refusedCode = 7;

void limit(int resource, rlim_t value, rlim_t hard) {
  struct rlimit r = {value, hard};
  setrlimit(resource, &r);
}

[[noreturn]] void runChild(const std::function<bool()> &body,
                           const Limits &limits, std::FILE *log) {
  dup2(fileno(log), STDERR_FILENO);
  limit(RLIMIT_CORE, 0, 0);
  rlim_t seconds = rlim_t(limits.seconds);
  limit(RLIMIT_CPU, seconds, seconds + 2);
  // A sanitizer maps terabytes of shadow; the parent watches what is in use.
  if (!sanitized)
    limit(RLIMIT_DATA, limits.bytes, limits.bytes);
  bool accepted = body();
  _exit(accepted ? acceptedCode : refusedCode);
}

uint64_t bytesInUse(pid_t process) {
  std::string path = "/proc/" + std::to_string(process) + "/statm";
  unsigned long size = 0, resident = 0;
  if (std::FILE *file = std::fopen(path.c_str(), "re")) {
    if (std::fscanf(file, "%lu %lu", &size, &resident) != 2)
      resident = 0;
    std::fclose(file);
  }
  return uint64_t(resident) * uint64_t(sysconf(_SC_PAGESIZE));
}

std::string endOf(std::FILE *log) {
  std::fseek(log, 0, SEEK_END);
  long size = std::ftell(log), want = std::min(size, 6000L);
  std::fseek(log, size - want, SEEK_SET);
  std::string text(size_t(want), 0);
  text.resize(std::fread(text.data(), 1, text.size(), log));
  return text;
}
} // namespace

const char *effc::fuzz::outcomeName(Outcome::Kind kind) {
  static const char *const names[] = {"accepted", "refused", "crashed",
                                      "too slow", "too large"};
  return names[kind];
}

Outcome effc::fuzz::runLimited(const std::function<bool()> &body,
                               const Limits &limits) {
  using Clock = std::chrono::steady_clock;
  Outcome outcome;
  std::FILE *log = std::tmpfile();
  if (!log) {
    std::perror("a temporary file");
    std::exit(1);
  }
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0)
    runChild(body, limits, log);
  Clock::time_point end =
      Clock::now() + std::chrono::seconds(6 * limits.seconds);
  bool late = false, large = false;
  int status = 0;
  struct rusage usage = {};
  useconds_t wait = 200;
  while (wait4(child, &status, WNOHANG, &usage) == 0) {
    late = Clock::now() > end;
    large = bytesInUse(child) > limits.bytes;
    if (late || large) {
      kill(child, SIGKILL);
      wait4(child, &status, 0, &usage);
      break;
    }
    usleep(wait);
    wait = std::min<useconds_t>(2 * wait, 20000);
  }
  auto secondsOf = [](const timeval &t) { return t.tv_sec + 1e-6 * t.tv_usec; };
  outcome.seconds = secondsOf(usage.ru_utime) + secondsOf(usage.ru_stime);
  outcome.bytes = uint64_t(usage.ru_maxrss) << 10;
  large |= outcome.bytes > limits.bytes;
  late |= WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU;
  if (WIFEXITED(status) && WEXITSTATUS(status) == acceptedCode)
    outcome.kind = Outcome::Accepted;
  else if (WIFEXITED(status) && WEXITSTATUS(status) == refusedCode)
    outcome.kind = Outcome::Refused;
  else
    outcome.kind = Outcome::Crashed;
  if (late)
    outcome.kind = Outcome::TooSlow;
  if (large)
    outcome.kind = Outcome::TooLarge;
  if (outcome.kind >= Outcome::Crashed) {
    outcome.text = endOf(log);
    if (WIFSIGNALED(status))
      outcome.text += std::string("signal: ") + strsignal(WTERMSIG(status));
  }
  std::fclose(log);
  return outcome;
}
