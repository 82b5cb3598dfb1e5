//===- Link.h - joins objects with LLD --------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_ARTIFACT_LINK_H
#define EFFC_LIB_ARTIFACT_LINK_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace effc {

/// A directory for objects that goes away with it.
class ObjectDirectory {
public:
  static llvm::Expected<ObjectDirectory> create();
  ObjectDirectory(ObjectDirectory &&other) noexcept
      : path(std::move(other.path)) {
    other.path.clear();
  }
  ObjectDirectory &operator=(ObjectDirectory &&) = delete;
  ~ObjectDirectory();
  llvm::StringRef getPath() const { return path; }

private:
  explicit ObjectDirectory(std::string path) : path(std::move(path)) {}
  std::string path;
};

/// Writes bytes to a file, whole.
llvm::Error writeFile(llvm::StringRef path, llvm::ArrayRef<char> bytes);

/// Links objects to a position-independent file whose entry address is `entry`.
/// Whatever `entry` does not lead to is left out; an undefined symbol is an
/// error.
llvm::Error linkObjects(llvm::ArrayRef<std::string> objects,
                        llvm::StringRef entry, llvm::StringRef output);

} // namespace effc

#endif // EFFC_LIB_ARTIFACT_LINK_H
