//===- effc-conformance.cpp - runs the ONNX backend tests -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Imports each test model, binds it to the shapes of its inputs, lowers it and
/// runs it in the reference interpreter; then compares with the outputs that
/// the suite holds. Each case runs in a process of its own, with limits, so
/// that a crash is one result among others.
///
//===----------------------------------------------------------------------===//

#include "Case.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <algorithm>
#include <fcntl.h>
#include <map>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace effc::conformance;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace {

struct Options {
  std::string folder, json, filter;
  unsigned jobs = 1, seconds = 20, gigabytes = 4, every = 1;
  bool verbose = false;
  Level level = Level::Literal;
  Way way = Way::Static;
};

struct Case {
  CaseFiles files;
  std::string category, name;
  Outcome outcome;
};

struct Child {
  pid_t pid = -1;
  int pipe = -1;
  std::string output;
  size_t index = 0;
};

constexpr llvm::StringLiteral usage =
    "usage: effc-conformance DIRECTORY [options]\n"
    "  Runs the ONNX backend tests under DIRECTORY: folders with model.onnx "
    "and test_data_set_<k>.\n"
    "  --level LEVEL       how a graph is run: literal (each node lowered, "
    "interpreted; the default), raised (to\n"
    "                      eff, interpreted) or compiled (to a model file)\n"
    "  --way WAY           what a model says about its inputs: static (as the "
    "file has it; the default),\n"
    "                      dynamic (no shapes: the data's are bound at compile "
    "time) or constants (the inputs\n"
    "                      are part of the model)\n"
    "  --filter TEXT,...   only cases whose name contains one of the words\n"
    "  --every N           only every N-th case, by name (default 1)\n"
    "  --jobs N            processes at a time (default 1)\n"
    "  --timeout-s N       seconds of processor time for a case (default 20)\n"
    "  --max-mem-gb N      address space of a case in GiB (default 4)\n"
    "  --json FILE         write every case to FILE\n"
    "  --verbose           print every case that did not pass\n";

bool parse(int argc, char **argv, Options &options) {
  for (int i = 1; i < argc; ++i) {
    llvm::StringRef word = argv[i];
    auto value = [&]() -> llvm::StringRef {
      return i + 1 < argc ? argv[++i] : "";
    };
    if (word == "--filter")
      options.filter = value().str();
    else if (word == "--json")
      options.json = value().str();
    else if (word == "--level") {
      llvm::StringRef level = value();
      if (level != "literal" && level != "raised" && level != "compiled")
        return false;
      options.level = level == "literal"  ? Level::Literal
                      : level == "raised" ? Level::Raised
                                          : Level::Compiled;
    } else if (word == "--way") {
      llvm::StringRef way = value();
      if (way != "static" && way != "dynamic" && way != "constants")
        return false;
      options.way = way == "static"    ? Way::Static
                    : way == "dynamic" ? Way::Dynamic
                                       : Way::Constants;
    } else if (word == "--verbose")
      options.verbose = true;
    else if (word == "--jobs" || word == "--timeout-s" ||
             word == "--max-mem-gb" || word == "--every") {
      unsigned &number = word == "--jobs"        ? options.jobs
                         : word == "--timeout-s" ? options.seconds
                         : word == "--every"     ? options.every
                                                 : options.gigabytes;
      if (!llvm::to_integer(value(), number) || number == 0)
        return false;
    } else if (word.starts_with("-") || !options.folder.empty())
      return false;
    else
      options.folder = word.str();
  }
  return !options.folder.empty();
}

/// Whether a name contains one of the words.
bool isWanted(llvm::StringRef name, llvm::StringRef words) {
  llvm::SmallVector<llvm::StringRef> list;
  words.split(list, ',');
  return llvm::any_of(
      list, [&](llvm::StringRef word) { return name.contains(word); });
}

/// The data sets of a folder, in their order.
std::vector<std::string> findSets(llvm::StringRef folder) {
  std::vector<std::string> sets;
  for (unsigned k = 0;; ++k) {
    llvm::SmallString<128> set(folder);
    path::append(set, "test_data_set_" + llvm::Twine(k));
    if (!fs::is_directory(set))
      return sets;
    sets.push_back(set.str().str());
  }
}

/// Reads check.json, which cases of wrong behaviour have: which model, how
/// near, what must be refused.
bool readCheck(llvm::StringRef file, CaseFiles &files) {
  auto buffer = llvm::MemoryBuffer::getFile(file);
  if (!buffer)
    return false;
  auto value = llvm::json::parse((*buffer)->getBuffer());
  if (!value) {
    llvm::consumeError(value.takeError());
    return false;
  }
  const llvm::json::Object *check = value->getAsObject();
  if (!check || check->getString("expect").value_or("") == "text")
    return false;
  auto beside = [&](llvm::StringRef name) {
    llvm::SmallString<128> result = path::parent_path(file);
    path::append(result, name);
    return result.str().str();
  };
  files.model = beside(check->getString("model").value_or("model.onnx"));
  files.tolerance.relative = check->getNumber("rtol").value_or(1e-3);
  files.tolerance.absolute = check->getNumber("atol").value_or(1e-7);
  files.mayRefuse =
      check->getString("expect").value_or("") == "match-or-refuse";
  if (const llvm::json::Array *refused = check->getArray("refuse_models"))
    for (const llvm::json::Value &name : *refused)
      files.refused.push_back(beside(name.getAsString().value_or("")));
  return true;
}

/// A case that this file is the root of; false when it is none.
bool makeCase(llvm::StringRef file, Case &found) {
  llvm::StringRef folder = path::parent_path(file), name = path::filename(file);
  found.name = path::filename(folder).str();
  found.category = path::filename(path::parent_path(folder)).str();
  if (name == "model.onnx") {
    llvm::SmallString<128> check(folder);
    path::append(check, "check.json");
    found.files.model = file.str();
    found.files.sets = findSets(folder);
    return !fs::exists(check) && !found.files.sets.empty();
  }
  if (name == "check.json") {
    found.files.sets = findSets(folder);
    return readCheck(file, found.files);
  }
  // Large models with constant weights: an output beside each.
  if (path::filename(folder) != "light" || path::extension(file) != ".onnx")
    return false;
  found.name = path::stem(file).str();
  found.category = "light";
  found.files.model = file.str();
  found.files.lightOutput =
      (file.drop_back(llvm::StringRef(".onnx").size()) + "_output_0.pb").str();
  return fs::exists(found.files.lightOutput);
}

std::vector<Case> findCases(const Options &options) {
  std::vector<Case> cases;
  std::error_code error;
  for (fs::recursive_directory_iterator it(options.folder, error), end;
       it != end && !error; it.increment(error)) {
    Case found;
    if (makeCase(it->path(), found) && isWanted(found.name, options.filter))
      cases.push_back(std::move(found));
  }
  std::sort(cases.begin(), cases.end(), [](const Case &a, const Case &b) {
    return std::tie(a.category, a.name) < std::tie(b.category, b.name);
  });
  std::vector<Case> some;
  for (size_t i = 0; i < cases.size(); i += options.every)
    some.push_back(std::move(cases[i]));
  return some;
}

//===----------------------------------------------------------------------===//
// Processes
//===----------------------------------------------------------------------===//

llvm::json::Array toJson(const std::set<std::string> &words) {
  return llvm::json::Array(words);
}

std::string encode(const Outcome &outcome) {
  llvm::json::Object object{{"status", int(outcome.status)},
                            {"reason", llvm::json::fixUTF8(outcome.reason)},
                            {"ops", toJson(outcome.ops)},
                            {"versions", toJson(outcome.versions)},
                            {"types", toJson(outcome.types)},
                            {"bound", llvm::json::Array(outcome.boundInputs)}};
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(object));
  return text;
}

bool decode(llvm::StringRef text, Outcome &outcome) {
  auto value = llvm::json::parse(text);
  if (!value) {
    llvm::consumeError(value.takeError());
    return false;
  }
  const llvm::json::Object *object = value->getAsObject();
  if (!object || !object->getInteger("status"))
    return false;
  outcome.status = Status(*object->getInteger("status"));
  outcome.reason = object->getString("reason").value_or("").str();
  auto words = [&](llvm::StringRef key, auto insert) {
    if (const llvm::json::Array *array = object->getArray(key))
      for (const llvm::json::Value &word : *array)
        insert(word.getAsString().value_or("").str());
  };
  words("ops", [&](std::string word) { outcome.ops.insert(std::move(word)); });
  words("types",
        [&](std::string word) { outcome.types.insert(std::move(word)); });
  words("versions",
        [&](std::string word) { outcome.versions.insert(std::move(word)); });
  words("bound", [&](std::string word) {
    outcome.boundInputs.push_back(std::move(word));
  });
  return true;
}

bool writeAll(int fd, llvm::StringRef text) {
  while (!text.empty()) {
    ssize_t count = write(fd, text.data(), text.size());
    if (count <= 0)
      return false;
    text = text.drop_front(size_t(count));
  }
  return true;
}

Child start(const Case &test, size_t index, const Options &options) {
  int ends[2];
  Child child;
  child.index = index;
  if (pipe2(ends, O_CLOEXEC) != 0)
    return child;
  child.pid = fork();
  if (child.pid == 0) {
    close(ends[0]);
    rlim_t bytes = rlim_t(options.gigabytes) << 30;
    rlimit memory{bytes, bytes}, time{options.seconds, options.seconds + 1},
        core{0, 0};
    setrlimit(RLIMIT_AS, &memory);
    setrlimit(RLIMIT_CPU, &time);
    setrlimit(RLIMIT_CORE, &core);
    // Whatever waits without using the processor ends too.
    alarm(options.seconds * 10);
    bool written = writeAll(
        ends[1], encode(runCase(test.files, options.level, options.way)));
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  child.pipe = ends[0];
  return child;
}

void finish(Child &child, Case &test) {
  int status = 0;
  close(child.pipe);
  waitpid(child.pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
      decode(child.output, test.outcome))
    return;
  int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  bool late = signal == SIGXCPU || signal == SIGALRM || signal == SIGKILL;
  test.outcome.status = late ? Status::TimedOut : Status::Crashed;
  test.outcome.reason =
      signal ? strsignal(signal) : "it ended without a result";
}

void runAll(std::vector<Case> &cases, const Options &options) {
  std::vector<Child> running;
  size_t next = 0;
  while (next < cases.size() || !running.empty()) {
    while (next < cases.size() && running.size() < options.jobs) {
      Child child = start(cases[next], next, options);
      if (child.pid > 0)
        running.push_back(std::move(child));
      else
        cases[next].outcome.reason = "no process could be started";
      ++next;
    }
    std::vector<pollfd> waits;
    for (Child &child : running)
      waits.push_back({child.pipe, POLLIN, 0});
    poll(waits.data(), waits.size(), -1);
    for (size_t i = waits.size(); i-- > 0;) {
      if (!waits[i].revents)
        continue;
      char buffer[4096];
      ssize_t count = read(running[i].pipe, buffer, sizeof buffer);
      if (count > 0) {
        running[i].output.append(buffer, size_t(count));
        continue;
      }
      finish(running[i], cases[running[i].index]);
      running.erase(running.begin() + long(i));
    }
  }
}

//===----------------------------------------------------------------------===//
// Reports
//===----------------------------------------------------------------------===//

struct Counts {
  unsigned total = 0, by[6] = {};
  void add(Status status) {
    ++total;
    ++by[int(status)];
  }
};

void print(llvm::StringRef title, const std::map<std::string, Counts> &groups) {
  llvm::outs()
      << llvm::left_justify(title, 20)
      << "  total passed folded  wrong crashed timed-out unsupported\n";
  for (const auto &[group, counts] : groups)
    llvm::outs() << llvm::left_justify(group, 20)
                 << llvm::format("%7u%7u%7u%7u%8u%10u%12u\n", counts.total,
                                 counts.by[int(Status::Passed)],
                                 counts.by[int(Status::Folded)],
                                 counts.by[int(Status::Wrong)],
                                 counts.by[int(Status::Crashed)],
                                 counts.by[int(Status::TimedOut)],
                                 counts.by[int(Status::Unsupported)]);
  llvm::outs() << "\n";
}

void report(const std::vector<Case> &cases, const Options &options) {
  std::map<std::string, Counts> categories, tiers;
  for (const Case &test : cases) {
    Status status = test.outcome.status;
    categories[test.category].add(status);
    categories["~ all"].add(status);
    bool core = hasCoreTypes(test.outcome);
    // Tiers include the lower ones.
    for (int tier = tierOf(test.outcome); tier <= 3; ++tier) {
      tiers["T" + std::to_string(tier) + ", all types"].add(status);
      if (core)
        tiers["T" + std::to_string(tier) + ", core types"].add(status);
    }
  }
  if (options.verbose)
    for (Status status : {Status::Wrong, Status::Crashed, Status::TimedOut,
                          Status::Unsupported, Status::Folded})
      for (const Case &test : cases)
        if (test.outcome.status == status)
          llvm::outs() << name(status) << "  T" << tierOf(test.outcome) << "  "
                       << test.category << "/" << test.name << "  "
                       << llvm::StringRef(test.outcome.reason).substr(0, 300)
                       << "\n";
  print("category", categories);
  print("tier", tiers);
}

llvm::StringRef levelName(Level level) {
  return level == Level::Literal  ? "literal"
         : level == Level::Raised ? "raised"
                                  : "compiled";
}

llvm::StringRef wayName(Way way) {
  return way == Way::Static    ? "static"
         : way == Way::Dynamic ? "dynamic"
                               : "constants";
}

bool writeJson(const std::vector<Case> &cases, const Options &options) {
  const std::string &file = options.json;
  std::error_code error;
  llvm::raw_fd_ostream os(file, error);
  if (error)
    return false;
  llvm::json::OStream json(os, 1);
  json.array([&] {
    for (const Case &test : cases)
      json.object([&] {
        json.attribute("category", test.category);
        json.attribute("name", test.name);
        json.attribute("status", name(test.outcome.status));
        json.attribute("reason", llvm::json::fixUTF8(test.outcome.reason));
        json.attribute("tier", tierOf(test.outcome));
        json.attribute("level", levelName(options.level));
        json.attribute("way", wayName(options.way));
        json.attribute("core_types", hasCoreTypes(test.outcome));
        json.attribute("ops", toJson(test.outcome.ops));
        json.attribute("versions", toJson(test.outcome.versions));
        json.attribute("types", toJson(test.outcome.types));
        json.attribute("compile_time_inputs",
                       llvm::json::Array(test.outcome.boundInputs));
      });
  });
  os << "\n";
  return !os.has_error();
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    llvm::errs() << usage;
    return 2;
  }
  std::vector<Case> cases = findCases(options);
  if (cases.empty()) {
    llvm::errs() << "error: there are no cases in " << options.folder << "\n";
    return 2;
  }
  runAll(cases, options);
  report(cases, options);
  if (!options.json.empty() && !writeJson(cases, options)) {
    llvm::errs() << "error: cannot write " << options.json << "\n";
    return 2;
  }
  bool bad = std::any_of(cases.begin(), cases.end(), [](const Case &test) {
    return test.outcome.status < Status::Unsupported;
  });
  return bad ? 1 : 0;
}
