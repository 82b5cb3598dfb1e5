//===- ModelLayout.h - where everything lies in a model file ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_ARTIFACT_MODELLAYOUT_H
#define EFFC_LIB_ARTIFACT_MODELLAYOUT_H

#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/Plan/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

#include <vector>

namespace effc {

/// A weight and its place in the section .eff.weights.
struct PlacedWeight {
  eff::WeightOp op;
  uint64_t offset, bytes;
};

/// A state or cache, in the order of eff_model.states.
struct PlacedState {
  mlir::Operation *op;
  std::string name;
  bool isCache;
  uint32_t heads;
  /// Of one sequence; of one head's row of a cache.
  uint64_t slotBytes, tokenBytes;
  std::vector<int64_t> shape;
};

/// The parts of a module in the order in which the file has them.
struct ModelLayout {
  /// Fails when a program has no arena yet, or the module no eff.model
  /// attribute.
  static llvm::Expected<ModelLayout> create(mlir::ModuleOp module);

  eff::ModelAttr model;
  std::vector<plan::ProgramOp> programs;
  /// The kernels and generic code that steps run, in their order.
  std::vector<mlir::Operation *> kernels;
  llvm::StringMap<mlir::Operation *> kernelsByName;
  /// Weights that steps read; others do not go into the file.
  std::vector<PlacedWeight> weights;
  std::vector<PlacedState> states;
  uint64_t weightBytes = 0;
  llvm::StringMap<uint64_t> weightOffsets;
  llvm::StringMap<uint32_t> stateIndices;
};

/// Whether a kernel multiplies integers.
bool isInteger(mlir::Operation *kernel);

/// Bytes of a tensor as an input or output.
uint64_t getTensorBytes(mlir::RankedTensorType type);

/// "bf16", "int8", "int4 g128".
std::string getFormatName(eff::WeightType type);

/// Name of a kernel's symbol in the code for the target number `target`.
std::string getSymbol(mlir::Operation *kernel, size_t target);

} // namespace effc

#endif // EFFC_LIB_ARTIFACT_MODELLAYOUT_H
