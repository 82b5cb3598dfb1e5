//===- images.h - images in .npz files as a model's input -----------*- C++
//-*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_TOOLS_IMAGES_H
#define EFFRT_TOOLS_IMAGES_H

#include "npy.h"

#include "effrt/manifest.h"

#include <map>
#include <string>
#include <vector>

namespace effrt::tools {

/// The member "images" of an archive, uint8 [n, height, width, channels], for
/// an entry point with one input f32 [batch, channels, height, width].
class Images {
public:
  /// An error if there are none or the model does not take them. `where` is for
  /// messages.
  static Result<Images> create(const std::map<std::string, NpyArray> &arrays,
                               const Manifest &manifest,
                               const std::string &where);

  /// The entry point with the largest batch that takes images.
  const EntryInfo &entry() const { return *entry_; }
  int64_t count() const { return count_; }
  /// Writes images first .. first + count - 1, normalised as the model's
  /// configuration says (mean and deviation 0.5 when it says nothing), into the
  /// first places of a batch.
  void fill(int64_t first, int64_t count, float *input) const;

private:
  const EntryInfo *entry_ = nullptr;
  const NpyArray *array_ = nullptr;
  int64_t count_ = 0, pixels_ = 0, channels_ = 0;
  std::vector<double> mean_, deviation_;
};

} // namespace effrt::tools

#endif // EFFRT_TOOLS_IMAGES_H
