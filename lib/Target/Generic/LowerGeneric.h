//===- LowerGeneric.h - linalg on tensors to the LLVM dialect ---*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_TARGET_GENERIC_LOWERGENERIC_H
#define EFFC_LIB_TARGET_GENERIC_LOWERGENERIC_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace effc {

/// Dialects and interfaces that the lowering uses.
void registerGenericLowering(mlir::DialectRegistry &registry);

/// Name of the function that is lowered.
inline constexpr llvm::StringLiteral kGenericFunction = "generic";
/// Attribute of the function: bytes of its temporaries.
inline constexpr llvm::StringLiteral kScratchAttr = "scratch_bytes";

/// Tensors to buffers: afterwards the function's arguments are its inputs, its
/// results and, when it has temporaries, one buffer that holds them.
mlir::LogicalResult lowerToBuffers(mlir::ModuleOp module);
/// Buffers to the LLVM dialect, each argument a bare pointer.
mlir::LogicalResult lowerToLLVM(mlir::ModuleOp module);

/// Rounding to floats of 8 bits and below as arithmetic of the wider type, and
/// comparisons with zero that hold for the smallest numbers too.
void populateFloatForms(mlir::RewritePatternSet &patterns);
/// Remainders of scalar floats as loops.
void populateRemainderForms(mlir::RewritePatternSet &patterns);

/// Whether an op is a reduction that keeps blocks of its result in registers.
bool isBlockReduction(mlir::linalg::LinalgOp op);
/// Replaces these on buffers by loops over vectors.
std::unique_ptr<mlir::Pass> createBlockReductionsPass();
/// Tiles each other linalg op to vectors along its last dimension and
/// vectorises it where it can be.
std::unique_ptr<mlir::Pass> createTileAndVectorizePass();
/// Gives temporaries their places in one buffer, the function's new last
/// argument.
std::unique_ptr<mlir::Pass> createPlaceTemporariesPass();

} // namespace effc

#endif // EFFC_LIB_TARGET_GENERIC_LOWERGENERIC_H
