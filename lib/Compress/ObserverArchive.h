//===- ObserverArchive.h - what an observer keeps ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_COMPRESS_OBSERVERARCHIVE_H
#define EFFC_LIB_COMPRESS_OBSERVERARCHIVE_H

#include <cstdint>
#include <vector>

namespace effc::compress {

/// Reads or writes an observer's arrays by name.
class ObserverArchive {
public:
  virtual ~ObserverArchive() = default;
  virtual void array(const char *name, std::vector<float> &values) = 0;
  virtual void array(const char *name, std::vector<double> &values) = 0;
  virtual void array(const char *name, std::vector<uint64_t> &values) = 0;
};

} // namespace effc::compress

#endif // EFFC_LIB_COMPRESS_OBSERVERARCHIVE_H
