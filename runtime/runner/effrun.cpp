//===- effrun.cpp - runs a model without the compiler ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The program that --emit=exe puts before a model: it runs the model at its
/// own end. Without one it runs the model file that it is given.
///
//===----------------------------------------------------------------------===//

#include "verbs.h"

#include "effrt/codes.h"
#include "effrt/elf_image.h"

#include <cerrno>
#include <fcntl.h>

using namespace effrt;
using namespace effrt::tools;

/// The model at this program's end; null when there is none.
static Result<std::shared_ptr<const Model>> ownModel(const std::string &name) {
  OwnedFd self(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (self.get() < 0)
    return fail(Code::FileNotFound, "the program cannot read itself", name,
                systemError(errno));
  Result<FileRange> range = findEmbedded(self.get(), name);
  if (!range)
    return range.takeError();
  if (range->size == 0)
    return std::shared_ptr<const Model>();
  return Model::openEmbedded(self.get(), range->offset, range->size, name);
}

int main(int argc, char **argv) {
  Invocation call;
  call.program = argc > 0 ? argv[0] : "effrun";
  call.words.assign(argv + (argc > 0), argv + argc);
  std::string verb = call.words.empty() ? "" : call.words[0];
  using Verb = int (*)(const Invocation &);
  Verb chosen = verb == "bench" ? benchVerb : nullptr;
  if (chosen || verb == "run")
    call.words.erase(call.words.begin());
  Result<std::shared_ptr<const Model>> model = ownModel(call.program);
  if (!model)
    return reportError(model.error());
  call.embedded = model.take();
  return chosen ? chosen(call) : runVerb(call);
}
