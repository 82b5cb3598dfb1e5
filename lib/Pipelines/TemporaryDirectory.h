//===- TemporaryDirectory.h - files of one compilation ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_PIPELINES_TEMPORARYDIRECTORY_H
#define EFFC_LIB_PIPELINES_TEMPORARYDIRECTORY_H

#include "effc/Support/Error.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace effc {

/// A directory that goes with its object; made when it is first used.
class TemporaryDirectory {
public:
  TemporaryDirectory() = default;
  TemporaryDirectory(const TemporaryDirectory &) = delete;
  TemporaryDirectory &operator=(const TemporaryDirectory &) = delete;
  ~TemporaryDirectory() {
    if (!path.empty())
      (void)llvm::sys::fs::remove_directories(path);
  }

  llvm::Expected<std::string> getFile(const llvm::Twine &name) {
    if (path.empty())
      if (std::error_code error =
              llvm::sys::fs::createUniqueDirectory("effc-calibration", path))
        return makeError(ErrorCode::CannotWrite, "a calibration cannot be kept",
                         {}, error.message());
    llvm::SmallString<128> file(path);
    llvm::sys::path::append(file, name);
    return file.str().str();
  }

private:
  llvm::SmallString<128> path;
};

} // namespace effc

#endif // EFFC_LIB_PIPELINES_TEMPORARYDIRECTORY_H
