//===- Manifest.h - what a model file says of itself ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_ARTIFACT_MANIFEST_H
#define EFFC_LIB_ARTIFACT_MANIFEST_H

#include "ModelLayout.h"
#include "Tables.h"
#include "effc/Artifact/ModelWriter.h"

namespace effc {

/// The JSON text of the section .eff.manifest.
llvm::Expected<std::string> createManifest(const ModelLayout &layout,
                                           llvm::ArrayRef<Variant> variants,
                                           const WriteOptions &options,
                                           const ModelReport &report);

} // namespace effc

#endif // EFFC_LIB_ARTIFACT_MANIFEST_H
