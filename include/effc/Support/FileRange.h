//===- FileRange.h - memory that shows a file -------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reading a mapped file beyond its end raises SIGBUS, and a file may become
/// shorter while it is read. Ranges that are known here end a program with an
/// error for its user instead.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_SUPPORT_FILERANGE_H
#define EFFC_SUPPORT_FILERANGE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <utility>

namespace effc {

/// Says, as long as it lives, that `bytes` show the file `name`.
class FileRange {
public:
  FileRange() = default;
  FileRange(llvm::ArrayRef<char> bytes, llvm::StringRef name);
  FileRange(FileRange &&other) noexcept
      : entry(std::exchange(other.entry, nullptr)) {}
  FileRange &operator=(FileRange &&other) noexcept {
    std::swap(entry, other.entry);
    return *this;
  }
  ~FileRange();

  struct Entry;

private:
  Entry *entry = nullptr;
};

/// From now on, a file of a range that is found to end too early ends the
/// process: EFF0205 on stderr, status 1, files that LLVM would remove on a
/// signal removed. For programs only; a library leaves signals to its program.
void exitWhenFilesShrink();

} // namespace effc

#endif // EFFC_SUPPORT_FILERANGE_H
