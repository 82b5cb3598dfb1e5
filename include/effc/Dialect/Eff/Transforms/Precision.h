//===- Precision.h - formats layer by layer ---------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_TRANSFORMS_PRECISION_H
#define EFFC_DIALECT_EFF_TRANSFORMS_PRECISION_H

#include "effc/Dialect/Eff/Eff.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace effc::eff {

/// Bits of a layer's weights and of the activations that its linears read, as
/// "w4a8" says them.
struct LayerFormat {
  int64_t weightBits, activationBits;

  /// "w8a8", "w8a16", "w4a8", "w4a16", or "a16" and "w16a16" for a layer that
  /// stays as it is; nothing for other words.
  static std::optional<LayerFormat> parse(llvm::StringRef word);
  /// "w4a8".
  std::string str() const;
};

/// A file that gives some layers a format of their own: a JSON object whose
/// keys are parts of weights' names and whose values are formats, e.g.
/// `{"layers.0.": "w4a16", "layers.5.": "w4a16"}`. The longest key that a name
/// contains counts.
class Precision {
public:
  /// No layer has a format of its own.
  Precision() = default;
  /// An empty path gives no layer a format of its own.
  static llvm::Expected<Precision> load(llvm::StringRef path);

  /// Whether no layer has a format of its own.
  bool empty() const { return layers.empty(); }
  /// What the file says of a weight; nothing if it says nothing.
  std::optional<LayerFormat> find(llvm::StringRef weight) const;
  /// The format of the layer that a weight belongs to.
  LayerFormat get(llvm::StringRef weight, LayerFormat otherwise) const;

private:
  std::vector<std::pair<std::string, LayerFormat>> layers;
};

/// A matrix that can have a format of its own.
struct LayerWeight {
  WeightOp op;
  /// A table of embeddings or an output head, which read float activations.
  bool isTable = false;
  /// Linears multiply each token by it; heads do so for chosen tokens alone,
  /// and tables of embeddings are looked up.
  bool isLinear = false, isHead = false;
};

/// The matrices of linears and the tables of a module that are used as such
/// alone, in the order of declaration.
std::vector<LayerWeight> listLayerWeights(mlir::ModuleOp module);

} // namespace effc::eff

#endif // EFFC_DIALECT_EFF_TRANSFORMS_PRECISION_H
