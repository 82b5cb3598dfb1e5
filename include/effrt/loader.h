//===- loader.h - model files, opened and checked -------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//

#ifndef EFFRT_LOADER_H
#define EFFRT_LOADER_H

#include "effrt/effrt.h"
#include "effrt/manifest.h"
#include "effrt/support.h"

#include <cstdint>
#include <memory>
#include <string>

namespace effrt {

/// What can be said of a model file without running anything of it; also of
/// one for another processor.
struct ModelInfo {
  std::string path;
  eff_header header;
  Manifest manifest;
  std::string machine; ///< "x86-64"
  uint64_t fileBytes = 0;
  uint64_t codeBytes = 0; ///< loaded from the file
  uint64_t weightsOffset = 0;
};

/// Checks sizes, versions and hashes. `path` may be a program made with
/// --emit=exe.
Result<ModelInfo> readInfo(const std::string &path);

struct LoadOptions {
  /// Copy the weights into memory of large pages instead of mapping the file.
  bool copyWeights = false;
  /// Ask the system to read the weights ahead.
  bool readAhead = true;
  /// eff_feature bits to choose the code by; 0: those of this machine.
  uint64_t features = 0;
};

/// A model in memory: immutable, shared by any number of engines and threads.
class Model {
public:
  /// `path`: a model file, or a program with a model at its end.
  static Result<std::shared_ptr<const Model>>
  open(const std::string &path, const LoadOptions &options = {});
  /// A model file of `size` bytes that starts at `offset`, a multiple of the
  /// page size, of an open file. `name` is for messages. The file may be closed
  /// afterwards.
  static Result<std::shared_ptr<const Model>>
  openEmbedded(int fd, uint64_t offset, uint64_t size, const std::string &name,
               const LoadOptions &options = {});
  ~Model();

  const ModelInfo &info() const;
  const Manifest &manifest() const { return info().manifest; }
  const eff_model &tables() const;
  /// The code that was chosen for this machine.
  const eff_variant &variant() const;
  const eff_entry *findEntry(std::string_view name) const;
  const uint8_t *weights() const;

  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);

private:
  std::unique_ptr<Impl> impl_;
};

} // namespace effrt

#endif // EFFRT_LOADER_H
