//===- TileAndVectorize.cpp - linalg to vectors ---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "LowerGeneric.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Transforms/LoweringPatterns.h"
#include "mlir/Dialect/Vector/Transforms/VectorRewritePatterns.h"
#include "mlir/Interfaces/TilingInterface.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace effc;

namespace {
/// Lanes of one vector of f32; narrower machines split it.
constexpr int64_t kLanes = 16;

class TileAndVectorizePass
    : public PassWrapper<TileAndVectorizePass, OperationPass<func::FuncOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TileAndVectorizePass)
  llvm::StringRef getArgument() const final {
    return "generic-tile-and-vectorize";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<scf::SCFDialect, vector::VectorDialect>();
  }
  void runOnOperation() override;
};
} // namespace

/// One vector along the last dimension, one element along the others. The tile
/// divides the dimension: masks would cost more than a narrower vector.
static llvm::SmallVector<int64_t> getTileSizes(linalg::LinalgOp op) {
  llvm::SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  llvm::SmallVector<int64_t> tiles(ranges.size(), 1);
  if (!ranges.empty())
    tiles.back() = ranges.back() <= kLanes ? ranges.back()
                                           : std::gcd(ranges.back(), kLanes);
  return tiles;
}

/// Vectors of integers below a byte lie packed in memory, buffers of them do
/// not; such ops stay loops.
static bool canVectorize(linalg::LinalgOp op) {
  if (op.hasDynamicShape() || op.getNumLoops() == 0)
    return false;
  for (Type type : op->getOperandTypes())
    if (Type element = getElementTypeOrSelf(type);
        element.isInteger() && element.getIntOrFloatBitWidth() < 8)
      return false;
  // Loops for one element have no form on vectors.
  for (Operation &inner : op->getRegion(0).front())
    if (inner.getNumRegions() > 0)
      return false;
  return !isBlockReduction(op) &&
         succeeded(linalg::vectorizeOpPrecondition(op));
}

static LogicalResult tileAndVectorize(IRRewriter &rewriter,
                                      linalg::LinalgOp op) {
  rewriter.setInsertionPoint(op);
  llvm::SmallVector<OpFoldResult> sizes;
  for (int64_t size : getTileSizes(op))
    sizes.push_back(rewriter.getIndexAttr(size));
  scf::SCFTilingOptions options;
  options.setTileSizes(sizes);
  FailureOr<scf::SCFTilingResult> tiled = scf::tileUsingSCF(
      rewriter, llvm::cast<TilingInterface>(op.getOperation()), options);
  if (failed(tiled))
    return failure();
  rewriter.replaceOp(op, tiled->replacements);
  for (Operation *inner : tiled->tiledOps) {
    rewriter.setInsertionPoint(inner);
    FailureOr<linalg::VectorizationResult> vectorized =
        linalg::vectorize(rewriter, inner);
    if (succeeded(vectorized))
      rewriter.replaceOp(inner, vectorized->replacements);
  }
  return success();
}

void TileAndVectorizePass::runOnOperation() {
  IRRewriter rewriter(&getContext());
  llvm::SmallVector<linalg::LinalgOp> ops;
  getOperation().walk([&](linalg::LinalgOp op) {
    if (op.hasPureTensorSemantics() && canVectorize(op))
      ops.push_back(op);
  });
  for (linalg::LinalgOp op : ops)
    if (failed(tileAndVectorize(rewriter, op)))
      return signalPassFailure();
  RewritePatternSet patterns(&getContext());
  vector::populateVectorReductionToContractPatterns(patterns);
  vector::populateCastAwayVectorLeadingOneDimPatterns(patterns);
  vector::populateVectorTransferPermutationMapLoweringPatterns(patterns);
  if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
    signalPassFailure();
}

std::unique_ptr<Pass> effc::createTileAndVectorizePass() {
  return std::make_unique<TileAndVectorizePass>();
}
