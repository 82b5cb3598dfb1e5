//===- MappedFile.cpp - model files and the data beside them --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "MappedFile.h"
#include "effc/Support/Error.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;
using namespace effc;
using namespace effc::onnx;

// O_NONBLOCK: opening a FIFO must not wait for a writer.
static constexpr int readFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
static constexpr int directoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

FileHandle::~FileHandle() {
  if (fd >= 0)
    ::close(fd);
}

MappedFile::~MappedFile() {
  range = {};
  if (owned.empty() && !data.empty())
    ::munmap(const_cast<char *>(data.data()), data.size());
}

Expected<std::shared_ptr<MappedFile>>
MappedFile::map(FileHandle handle, StringRef name, int64_t maxBytes) {
  struct stat info;
  if (::fstat(handle.get(), &info) != 0)
    return makeError(ErrorCode::FileNotFound, "cannot read the file", name,
                     std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return makeError(ErrorCode::FileNotFound, "not a regular file", name);
  if (info.st_size > maxBytes)
    return makeError(ErrorCode::NotOnnx, "the model file is too large", name,
                     Twine(info.st_size) + " bytes; the limit is " +
                         Twine(maxBytes),
                     "export with external data");
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->otherLinks = info.st_nlink > 1;
  if (info.st_size > 0) {
    void *at =
        ::mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, handle.get(), 0);
    if (at == MAP_FAILED)
      return makeError(ErrorCode::FileNotFound, "cannot map the file", name,
                       std::strerror(errno));
    file->data = ArrayRef<char>(static_cast<char *>(at), info.st_size);
    file->range = FileRange(file->data, name);
  }
  file->handle = std::move(handle);
  return file;
}

std::shared_ptr<MappedFile> MappedFile::copy(ArrayRef<char> bytes) {
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->owned.assign(bytes.begin(), bytes.end());
  file->data = ArrayRef<char>(file->owned.data(), file->owned.size());
  return file;
}

Expected<std::shared_ptr<MappedFile>> onnx::openModel(StringRef path,
                                                      int64_t maxBytes) {
  if (path.contains('\0'))
    return makeError(ErrorCode::FileNotFound, "a file name with a NUL byte");
  FileHandle handle(::open(path.str().c_str(), readFlags));
  if (!handle)
    return makeError(ErrorCode::FileNotFound, "cannot open the model", path,
                     std::strerror(errno));
  return MappedFile::map(std::move(handle), path, maxBytes);
}

/// The path with all links resolved; empty when it does not exist.
static std::string resolve(const Twine &path) {
  std::unique_ptr<char, decltype(&std::free)> real(
      ::realpath(path.str().c_str(), nullptr), &std::free);
  return real ? std::string(real.get()) : std::string();
}

Expected<ModelDirectory> ModelDirectory::open(StringRef modelPath, bool strict,
                                              Warning warn) {
  ModelDirectory result;
  result.strict = strict;
  result.warn = std::move(warn);
  result.path = sys::path::parent_path(modelPath).str();
  if (result.path.empty())
    result.path = ".";
  result.realPath = resolve(result.path);
  result.realModelPath = sys::path::parent_path(resolve(modelPath)).str();
  result.directory = FileHandle(::open(result.path.c_str(), directoryFlags));
  result.realDirectory =
      FileHandle(::open(result.realModelPath.c_str(), directoryFlags));
  if (!result.directory || !result.realDirectory)
    return makeError(ErrorCode::FileNotFound,
                     "cannot open the model's directory", result.path,
                     std::strerror(errno));
  return result;
}

static Error refuse(const Twine &what, StringRef location, const Twine &why) {
  return makeError(ErrorCode::ExternalData, what, location, why);
}

/// Splits a location and refuses every form that could leave the directory.
static Expected<SmallVector<StringRef>> components(StringRef location) {
  if (location.empty())
    return refuse("external data without a file name", "", "");
  if (location.size() > 4096)
    return refuse("a file name of more than 4096 bytes", "", "");
  if (location.contains('\0') || location.contains('\\'))
    return refuse("a file name with a NUL byte or a backslash", "", "");
  if (location.starts_with("/"))
    return refuse("external data has an absolute path", location,
                  "data files must lie in the model's directory");
  SmallVector<StringRef> parts, result;
  location.split(parts, '/', -1, /*KeepEmpty=*/false);
  for (StringRef part : parts) {
    if (part == "..")
      return refuse("external data leaves the model's directory", location,
                    "the path has a '..' component");
    if (part != ".")
      result.push_back(part);
  }
  if (result.empty())
    return refuse("external data without a file name", location, "");
  return result;
}

/// Walks down from `directory` without following any link. A link gives ELOOP
/// (or ENOTDIR in the middle).
static FileHandle descend(int directory, ArrayRef<StringRef> parts) {
  FileHandle current;
  int at = directory;
  for (StringRef part : parts.drop_back()) {
    FileHandle next(
        ::openat(at, part.str().c_str(), directoryFlags | O_NOFOLLOW));
    if (!next)
      return next;
    current = std::move(next);
    at = current.get();
  }
  return FileHandle(
      ::openat(at, parts.back().str().c_str(), readFlags | O_NOFOLLOW));
}

Expected<FileHandle> ModelDirectory::openThroughLink(StringRef location) {
  std::string real = resolve(path + "/" + location);
  if (real.empty())
    return refuse("external data is missing", location, std::strerror(ENOENT));
  if (strict)
    return refuse("external data is behind a symbolic link", location,
                  "--strict-paths refuses links");
  // Beneath the model's directory, or beside the file that the model's own link
  // points to (a hub cache).
  StringRef rest = real;
  FileHandle handle;
  if (rest.consume_front(realPath) && rest.consume_front("/")) {
    SmallVector<StringRef> parts;
    rest.split(parts, '/', -1, false);
    handle = descend(directory.get(), parts);
  } else if (sys::path::parent_path(real) == realModelPath) {
    handle = descend(realDirectory.get(), {sys::path::filename(real)});
  } else {
    return refuse("external data is outside the model's directory", location,
                  "it is a symbolic link to another directory");
  }
  if (!handle)
    return refuse("external data cannot be opened", location,
                  std::strerror(errno));
  return handle;
}

Expected<FileHandle> ModelDirectory::openBeneath(StringRef location) {
  auto parts = components(location);
  if (!parts)
    return parts.takeError();
  FileHandle handle = descend(directory.get(), *parts);
  if (handle)
    return handle;
  int reason = errno;
  if (reason == ELOOP || reason == ENOTDIR)
    return openThroughLink(location);
  return refuse(reason == ENOENT ? "external data is missing"
                                 : "external data cannot be opened",
                location, std::strerror(reason));
}

Expected<std::shared_ptr<MappedFile>> ModelDirectory::file(StringRef location) {
  auto known = files.find(location);
  if (known != files.end())
    return known->second;
  auto handle = openBeneath(location);
  if (!handle)
    return handle.takeError();
  struct stat info;
  if (::fstat(handle->get(), &info) != 0 || !S_ISREG(info.st_mode))
    return refuse("external data is not a regular file", location, "");
  auto mapped = MappedFile::map(std::move(*handle), location, INT64_MAX);
  if (!mapped)
    return mapped.takeError();
  if ((*mapped)->hasOtherLinks()) {
    if (strict)
      return refuse("external data has several hard links", location,
                    "--strict-paths refuses links");
    if (warn)
      warn("the data file '" + location + "' has several hard links");
  }
  files[location] = *mapped;
  return *mapped;
}
