//===- tables.h - checking the tables of a loaded model -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TABLES_H
#define EFFRT_SRC_TABLES_H

#include "code_image.h"
#include "effrt/effrt.h"
#include "effrt/manifest.h"

namespace effrt {

/// Checks that every pointer of the model's tables, for all targets, points
/// into the image, that every offset lies inside what it counts from, and that
/// the manifest tells the same story. Returns what is wrong, or "".
std::string checkTables(const CodeImage &image, const eff_model &model,
                        const eff_header &header, const Manifest &manifest);

} // namespace effrt

#endif // EFFRT_SRC_TABLES_H
