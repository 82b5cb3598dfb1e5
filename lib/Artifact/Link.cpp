//===- Link.cpp - joins objects with LLD ----------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Link.h"

#include "effc/Support/Error.h"
#include "lld/Common/Driver.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace effc;

llvm::Expected<ObjectDirectory> ObjectDirectory::create() {
  llvm::SmallString<128> path;
  if (std::error_code code =
          llvm::sys::fs::createUniqueDirectory("effc-objects", path))
    return makeError(ErrorCode::CannotWrite,
                     "no directory for object files can be made", {},
                     code.message(), "set TMPDIR to a directory with room");
  return ObjectDirectory(std::string(path));
}

ObjectDirectory::~ObjectDirectory() {
  if (!path.empty())
    (void)llvm::sys::fs::remove_directories(path, /*IgnoreErrors=*/true);
}

llvm::Error effc::writeFile(llvm::StringRef path, llvm::ArrayRef<char> bytes) {
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  if (!code) {
    os.write(bytes.data(), bytes.size());
    os.close();
    code = os.error();
    os.clear_error();
  }
  if (code)
    return makeError(ErrorCode::CannotWrite, "cannot write a file", path,
                     code.message());
  return llvm::Error::success();
}

llvm::Error effc::linkObjects(llvm::ArrayRef<std::string> objects,
                              llvm::StringRef entry, llvm::StringRef output) {
  // LLD keeps global state: one link at a time.
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::string entryName = entry.str(), outputName = output.str();
  std::vector<const char *> arguments = {"ld.lld",
                                         "-shared",
                                         "-Bsymbolic",
                                         "--gc-sections",
                                         "--no-undefined",
                                         "--build-id=none",
                                         "--threads=1",
                                         "--strip-all",
                                         "--hash-style=gnu",
                                         "-z",
                                         "noexecstack",
                                         "-z",
                                         "pack-relative-relocs",
                                         "-e",
                                         entryName.c_str(),
                                         "-o",
                                         outputName.c_str()};
  for (const std::string &object : objects)
    arguments.push_back(object.c_str());
  std::string messages;
  llvm::raw_string_ostream os(messages);
  const lld::DriverDef drivers[] = {{lld::Gnu, &lld::elf::link}};
  lld::Result result = lld::lldMain(arguments, os, os, drivers);
  if (result.retCode != 0 || !result.canRunAgain)
    return makeError(ErrorCode::CodeGen, "the kernels cannot be linked", output,
                     llvm::StringRef(messages).trim());
  return llvm::Error::success();
}
