//===- WeightStream.h - packs weights into a file ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_ARTIFACT_WEIGHTSTREAM_H
#define EFFC_LIB_ARTIFACT_WEIGHTSTREAM_H

#include "ModelLayout.h"
#include "effc/Artifact/ModelWriter.h"

namespace effc {

/// Packs all weights into a file from `offset` on, straight from their sources
/// into mapped pages of the file. Adds a warning for each weight with values
/// that are not finite.
llvm::Error streamWeights(const ModelLayout &layout,
                          const WriteOptions &options, int fd, uint64_t offset,
                          std::vector<std::string> &warnings);

} // namespace effc

#endif // EFFC_LIB_ARTIFACT_WEIGHTSTREAM_H
