//===- Collapse.h - the layers whose scans can be collapsed -----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_TRANSFORMS_COLLAPSE_H
#define EFFC_DIALECT_EFF_TRANSFORMS_COLLAPSE_H

#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace effc::eff {

/// A layer with a scan, as eff-collapse-channels names it.
struct ScanLayer {
  std::string name;
  bool hasState; ///< a language model's
};

/// The layers of a module in the order of its first function.
std::vector<ScanLayer> listScanLayers(mlir::ModuleOp module);

/// Erases ops whose results nobody reads and weights and states that no
/// function uses.
void eraseUnused(mlir::ModuleOp module);

} // namespace effc::eff

#endif // EFFC_DIALECT_EFF_TRANSFORMS_COLLAPSE_H
