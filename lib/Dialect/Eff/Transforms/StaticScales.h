//===- StaticScales.h - scales of activations from calibration --*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_DIALECT_EFF_TRANSFORMS_STATICSCALES_H
#define EFFC_LIB_DIALECT_EFF_TRANSFORMS_STATICSCALES_H

#include "Statistics.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringSet.h"

namespace effc::eff {

/// Scales of a part of what an op computes: `values[i]` is that of feature i.
struct PartScales {
  /// Features in front of the part.
  int64_t offset;
  std::vector<float> values;
  /// Whether one scale serves all.
  bool isUniform() const;
};

/// Chooses scales and declares them as weights, once for all functions.
class StaticScales {
public:
  /// With `perChannel` each channel of the input of a Mamba-1 scan has a scale
  /// of its own.
  StaticScales(mlir::ModuleOp module, const Statistics &statistics,
               bool perChannel)
      : module(module), symbols(module), statistics(statistics),
        perChannel(perChannel) {}

  /// Scales of the parts (results of a split, or the result itself) of what a
  /// linear or convolution computes, by what reads them: one for a
  /// convolution's section, for a gate and for dt; one for the `n` values of
  /// B and C of a state-space group; one for each cluster of channels of a
  /// reordered scan, else one for all channels.
  llvm::Expected<std::vector<PartScales>> choose(mlir::Operation *producer,
                                                 mlir::ValueRange parts);

  /// Uses of the declared vectors: of all parts, of one part, of one value.
  mlir::Value getWhole(mlir::OpBuilder &builder, mlir::Operation *producer,
                       llvm::ArrayRef<PartScales> parts);
  mlir::Value getPart(mlir::OpBuilder &builder, mlir::Operation *producer,
                      const PartScales &part, bool isSplit);
  llvm::Expected<mlir::Value> getSingle(mlir::OpBuilder &builder,
                                        LinearOp linear,
                                        llvm::StringRef observed);
  /// Scales of what a scan reads, whatever makes it, and their use.
  llvm::Expected<PartScales> chooseOperand(mlir::OpOperand &use);
  mlir::Value getOperand(mlir::OpBuilder &builder, mlir::OpOperand &use,
                         const PartScales &scales);
  /// Lets a linear read codes whose scales differ: the scales go into the
  /// columns of its weight, and the scale that is left is 1. Null when that
  /// cannot be, because the weight's integers are chosen already or others read
  /// it.
  llvm::Expected<mlir::Value> foldIntoWeight(mlir::OpBuilder &builder,
                                             LinearOp linear,
                                             llvm::ArrayRef<float> values);

private:
  /// By what reads the part. `maxima` are those of its channels.
  llvm::Expected<std::vector<float>> choosePart(mlir::Value part,
                                                llvm::ArrayRef<float> maxima);
  mlir::Value declare(mlir::OpBuilder &builder, mlir::Location loc,
                      const llvm::Twine &name, llvm::ArrayRef<float> values);

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  const Statistics &statistics;
  const bool perChannel;
  llvm::StringSet<> folded;
};

} // namespace effc::eff

#endif // EFFC_LIB_DIALECT_EFF_TRANSFORMS_STATICSCALES_H
