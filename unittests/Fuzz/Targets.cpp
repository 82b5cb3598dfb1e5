//===- Targets.cpp - what reads files of strangers ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Targets.h"

#include "effc/Pipelines/Compile.h"
#include "effc/Support/Error.h"
#include "effrt/elf_image.h"
#include "effrt/loader.h"
#include "effrt/text/stream.h"
#include "effrt/text/tokenizer.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

using namespace effc;
using namespace effc::fuzz;

Scratch::Scratch() : owner(getpid()) {
  const char *parent =
      std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
  path = std::string(parent) + "/effc-fuzz-XXXXXX";
  if (!mkdtemp(path.data())) {
    std::perror(path.c_str());
    std::exit(1);
  }
}

Scratch::~Scratch() {
  std::error_code ignored;
  if (owner == getpid())
    std::filesystem::remove_all(path, ignored);
}

std::string effc::fuzz::readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void effc::fuzz::writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

bool effc::fuzz::kindOf(const std::string &path, Kind &kind) {
  std::string end = std::filesystem::path(path).extension();
  kind = end == ".onnx"   ? Kind::Onnx
         : end == ".json" ? Kind::Tokenizer
                          : Kind::Model;
  return end == ".onnx" || end == ".json" || end == ".eff";
}

[[noreturn]] static void broken(const std::string &why) {
  std::fprintf(stderr, "broken promise: %s\n", why.c_str());
  std::abort();
}

template <typename E> static void checkError(const E &error) {
  if (error.code.compare(0, 3, "EFF") != 0 || error.what.empty())
    broken("an error without code or text: '" + error.code + "' '" +
           error.what + "'");
}

bool effc::fuzz::tryOnnx(const std::string &bytes, const Scratch &scratch) {
  CompileOptions options;
  options.input = scratch.file("model.onnx");
  writeFile(options.input, bytes);
  options.prefill = {4};
  options.jobs = 1;
  options.stopAfter = Stage::Plan;
  auto compiled = compileModel(options);
  if (compiled)
    return true;
  llvm::handleAllErrors(
      compiled.takeError(),
      [](const UserError &error) {
        if (error.what.empty() || codeName(error.code).empty())
          broken("an error without code or text");
        // Passes must say why they fail.
        if (error.what.find("without a reason") != std::string::npos)
          broken(error.what);
      },
      [](const llvm::ErrorInfoBase &error) {
        broken("an error that is not for users: " + error.message());
      });
  return false;
}

bool effc::fuzz::tryTokenizer(const std::string &bytes) {
  auto tokenizer = effrt::Tokenizer::fromJson(bytes);
  if (!tokenizer) {
    checkError(tokenizer.error());
    return false;
  }
  for (const char *text :
       {"", "Hello, world! 123",
        "e\xCC\x81 \xF0\x9F\x98\x80\xE3\x80\x80 it's <|endoftext|> <s>  solo",
        "\xFF\xC3 \r\n\n"}) {
    auto ids = tokenizer->encode(text);
    if (!ids) {
      checkError(ids.error());
      continue;
    }
    tokenizer->decode(*ids);
    effrt::DecodeStream stream(*tokenizer);
    for (effrt::TokenId id : *ids)
      stream.push(id);
    stream.finish();
  }
  return true;
}

bool effc::fuzz::tryModel(const std::string &bytes, const Scratch &scratch) {
  std::string path = scratch.file("model.eff");
  writeFile(path, bytes);
  auto open = [&] {
    auto info = effrt::readInfo(path);
    if (!info)
      checkError(info.error());
    auto model = effrt::Model::open(path);
    if (!model)
      checkError(model.error());
    return model.ok();
  };
  bool accepted = open();
  // A stranger can compute checksums, too.
  if (effrt::sealModel(path).ok())
    accepted |= open();
  return accepted;
}

bool effc::fuzz::compileExample(const std::string &onnx,
                                const std::string &output) {
  CompileOptions options;
  options.input = onnx;
  options.output = output;
  options.targets.push_back(X86Machine::host());
  options.jobs = 1;
  auto compiled = compileModel(options);
  if (compiled)
    return true;
  std::fputs(llvm::toString(compiled.takeError()).c_str(), stderr);
  return false;
}

bool effc::fuzz::tryFile(Kind kind, const std::string &bytes,
                         const Scratch &scratch) {
  switch (kind) {
  case Kind::Onnx:
    return tryOnnx(bytes, scratch);
  case Kind::Tokenizer:
    return tryTokenizer(bytes);
  case Kind::Model:
    return tryModel(bytes, scratch);
  }
  return false;
}
