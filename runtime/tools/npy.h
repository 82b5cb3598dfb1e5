//===- npy.h - numpy's .npy and .npz files --------------------------*- C++
//-*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reads C-contiguous little-endian arrays (format versions 1 to 3) from .npy
/// files and from .npz archives (stored or deflated, zip64 too); writes .npy
/// files.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_TOOLS_NPY_H
#define EFFRT_TOOLS_NPY_H

#include "effrt/support.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace effrt::tools {

/// An array as numpy stores it. `dtype` is numpy's name without the byte order:
/// "f4", "f8", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1".
struct NpyArray {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes; ///< C order, little endian

  int64_t size() const;
  /// Element `i` in C order as a double (any dtype but f2 is exact up to 2^53).
  double at(int64_t i) const;
};

/// Bytes of one element of a dtype, 0 for one that is not known.
int64_t dtypeBytes(const std::string &dtype);

/// The bytes of a regular file.
Result<std::vector<uint8_t>> readBytes(const std::string &path);
Result<NpyArray> readNpy(const std::string &path);
/// All arrays of an archive by name.
Result<std::map<std::string, NpyArray>> readNpz(const std::string &path);
/// Writes to a temporary name and renames.
Status writeNpy(const std::string &path, const NpyArray &array);

} // namespace effrt::tools

#endif // EFFRT_TOOLS_NPY_H
