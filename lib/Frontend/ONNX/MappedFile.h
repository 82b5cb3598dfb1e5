//===- MappedFile.h - model files and the data beside them ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_MAPPEDFILE_H
#define EFFC_LIB_FRONTEND_ONNX_MAPPEDFILE_H

#include "effc/Support/FileRange.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <memory>
#include <string>

namespace effc::onnx {

/// A file descriptor that closes itself.
class FileHandle {
public:
  explicit FileHandle(int fd = -1) : fd(fd) {}
  FileHandle(FileHandle &&other) noexcept : fd(other.fd) { other.fd = -1; }
  FileHandle &operator=(FileHandle &&other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~FileHandle();

  int get() const { return fd; }
  explicit operator bool() const { return fd >= 0; }

private:
  int fd;
};

/// A regular file, mapped private and read-only; the descriptor stays open.
class MappedFile {
public:
  /// Maps what `handle` refers to; `name` is for messages.
  static llvm::Expected<std::shared_ptr<MappedFile>>
  map(FileHandle handle, llvm::StringRef name, int64_t maxBytes);
  /// Holds a copy of `bytes` instead of a file.
  static std::shared_ptr<MappedFile> copy(llvm::ArrayRef<char> bytes);
  ~MappedFile();

  llvm::ArrayRef<char> getData() const { return data; }
  bool hasOtherLinks() const { return otherLinks; }

private:
  MappedFile() = default;
  FileHandle handle;
  llvm::ArrayRef<char> data;
  FileRange range;
  std::string owned;
  bool otherLinks = false;
};

/// Opens a model file: must be regular and at most `maxBytes`.
llvm::Expected<std::shared_ptr<MappedFile>> openModel(llvm::StringRef path,
                                                      int64_t maxBytes);

/// The directory of a model and the data files that its tensors name. Nothing
/// outside is ever opened: files lie beneath the directory, or, through a link,
/// in the directory where the model file itself really is.
class ModelDirectory {
public:
  using Warning = std::function<void(const llvm::Twine &)>;

  static llvm::Expected<ModelDirectory> open(llvm::StringRef modelPath,
                                             bool strict, Warning warn);

  /// The data file at `location`, relative to the directory; mapped once.
  llvm::Expected<std::shared_ptr<MappedFile>> file(llvm::StringRef location);

private:
  llvm::Expected<FileHandle> openBeneath(llvm::StringRef location);
  llvm::Expected<FileHandle> openThroughLink(llvm::StringRef location);

  FileHandle directory, realDirectory;
  std::string path, realPath, realModelPath;
  bool strict = false;
  Warning warn;
  llvm::StringMap<std::shared_ptr<MappedFile>> files;
};

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_MAPPEDFILE_H
