//===- LowerGeneric.cpp - linalg on tensors to the LLVM dialect -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "LowerGeneric.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Conversion/VectorToSCF/VectorToSCF.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Affine/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/ControlFlow/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Index/IR/IndexDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/AllInterfaces.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/IR/TensorTilingInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/ValueBoundsOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/SubsetInsertionOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Vector/Transforms/LoweringPatterns.h"
#include "mlir/Dialect/Vector/Transforms/SubsetOpInterfaceImpl.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace effc;

void effc::registerGenericLowering(DialectRegistry &registry) {
  registry
      .insert<affine::AffineDialect, arith::ArithDialect,
              bufferization::BufferizationDialect, cf::ControlFlowDialect,
              func::FuncDialect, index::IndexDialect, linalg::LinalgDialect,
              LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect,
              scf::SCFDialect, tensor::TensorDialect, vector::VectorDialect>();
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(
      registry);
  cf::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerAllDialectInterfaceImplementations(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerSubsetOpInterfaceExternalModels(registry);
  tensor::registerTilingInterfaceExternalModels(registry);
  tensor::registerValueBoundsOpInterfaceExternalModels(registry);
  vector::registerBufferizableOpInterfaceExternalModels(registry);
  vector::registerSubsetOpInterfaceExternalModels(registry);
  affine::registerValueBoundsOpInterfaceExternalModels(registry);
  arith::registerValueBoundsOpInterfaceExternalModels(registry);
  scf::registerValueBoundsOpInterfaceExternalModels(registry);
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  index::registerConvertIndexToLLVMInterface(registry);
  registerConvertFuncToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  registerConvertMemRefToLLVMInterface(registry);
  ub::registerConvertUBToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

namespace {
/// Runs patterns over a function.
class PatternPass
    : public PassWrapper<PatternPass, OperationPass<func::FuncOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PatternPass)
  using Populate = void (*)(RewritePatternSet &patterns);
  explicit PatternPass(Populate populate) : populate(populate) {}
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populate(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }

private:
  Populate populate;
};

/// A copy of a buffer as a linalg op: LLVM would call memcpy for it.
struct ExpandCopy : OpRewritePattern<memref::CopyOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(memref::CopyOp copy,
                                PatternRewriter &rewriter) const override {
    auto generic = linalg::makeMemRefCopyOp(rewriter, copy.getLoc(),
                                            copy.getSource(), copy.getTarget());
    rewriter.replaceOp(copy, generic);
    return success();
  }
};
/// What a loop carries goes to where it was: a buffer of its own for each step
/// would need an allocator.
struct YieldInPlace : OpRewritePattern<scf::YieldOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(scf::YieldOp yield,
                                PatternRewriter &rewriter) const override {
    auto loop = llvm::dyn_cast<scf::WhileOp>(yield->getParentOp());
    if (!loop)
      return rewriter.notifyMatchFailure(yield, "no loop");
    auto condition = loop.getConditionOp();
    bool changed = false;
    for (OpOperand &operand : yield->getOpOperands()) {
      unsigned i = operand.getOperandNumber();
      Value value = operand.get();
      if (!llvm::isa<RankedTensorType>(value.getType()) ||
          i >= condition.getArgs().size() ||
          condition.getArgs()[i] != loop.getBeforeArguments()[i])
        continue;
      Value place = loop.getAfterArguments()[i];
      auto insert = value.getDefiningOp<tensor::InsertSliceOp>();
      if (value == place || (insert && insert.getDest() == place) ||
          value.getDefiningOp<bufferization::MaterializeInDestinationOp>())
        continue;
      auto moved = bufferization::MaterializeInDestinationOp::create(
          rewriter, yield.getLoc(), value, place);
      rewriter.modifyOpInPlace(yield, [&] { operand.set(moved.getResult()); });
      changed = true;
    }
    return success(changed);
  }
};
} // namespace

static std::unique_ptr<Pass> withPatterns(PatternPass::Populate populate) {
  return std::make_unique<PatternPass>(populate);
}

static void populateTensorForms(RewritePatternSet &patterns) {
  tensor::populateDecomposeTensorConcatPatterns(patterns);
  linalg::populateDecomposePadPatterns(patterns);
  populateFloatForms(patterns);
}

static void populateVectorLowering(RewritePatternSet &patterns) {
  vector::populateVectorContractLoweringPatterns(
      patterns, vector::VectorContractLowering::OuterProduct);
  vector::populateVectorOuterProductLoweringPatterns(patterns);
  vector::populateVectorMultiReductionLoweringPatterns(
      patterns, vector::VectorMultiReductionLowering::InnerReduction);
  vector::populateVectorBroadcastLoweringPatterns(patterns);
  vector::populateVectorTransposeLoweringPatterns(
      patterns, vector::VectorTransposeLowering::Shuffle1D);
  vector::populateVectorShapeCastLoweringPatterns(patterns);
}

/// Functions of a library become polynomials or simpler ops.
static void populateMathLowering(RewritePatternSet &patterns) {
  auto all = [](llvm::StringRef) { return true; };
  math::populateExpansionPatterns(
      patterns, {"acosh", "asinh", "atanh", "cosh", "sinh", "tan", "powf",
                 "fpowi", "exp2", "ceil", "roundeven", "round", "rsqrt"});
  populateMathF32ExpansionPatterns(patterns, all);
  populateMathPolynomialApproximationPatterns(patterns, all);
}

static LogicalResult run(ModuleOp module,
                         llvm::function_ref<void(OpPassManager &)> fill) {
  PassManager passes(module.getContext());
  fill(passes);
  return passes.run(module);
}

LogicalResult effc::lowerToBuffers(ModuleOp module) {
  return run(module, [](OpPassManager &passes) {
    OpPassManager &func = passes.nest<func::FuncOp>();
    func.addPass(withPatterns(populateTensorForms));
    func.addPass(createConvertElementwiseToLinalgPass());
    func.addPass(createLinalgGeneralizeNamedOpsPass());
    func.addPass(createLinalgElementwiseOpFusionPass());
    func.addPass(createCanonicalizerPass());
    func.addPass(createCSEPass());
    func.addPass(withPatterns(populateRemainderForms));
    func.addPass(createTileAndVectorizePass());
    func.addPass(createLoopInvariantCodeMotionPass());
    func.addPass(createLoopInvariantSubsetHoistingPass());
    func.addPass(createCanonicalizerPass());
    func.addPass(createCSEPass());
    func.addPass(withPatterns([](RewritePatternSet &patterns) {
      patterns.add<YieldInPlace>(patterns.getContext());
    }));
    passes.addPass(bufferization::createEmptyTensorEliminationPass());
    bufferization::OneShotBufferizePassOptions bufferize;
    bufferize.bufferizeFunctionBoundaries = true;
    bufferize.functionBoundaryTypeConversion =
        bufferization::LayoutMapOption::IdentityLayoutMap;
    passes.addPass(bufferization::createOneShotBufferizePass(bufferize));
    passes.addPass(createCanonicalizerPass());
    passes.addPass(createCSEPass());
    bufferization::BufferResultsToOutParamsPassOptions results;
    results.hoistStaticAllocs = true;
    results.modifyPublicFunctions = true;
    passes.addPass(bufferization::createBufferResultsToOutParamsPass(results));
    // Copies of a part of a buffer onto itself, which insertions leave behind,
    // go away.
    passes.addPass(createCSEPass());
    passes.addPass(createCanonicalizerPass());
    passes.addNestedPass<func::FuncOp>(createPlaceTemporariesPass());
    passes.addNestedPass<func::FuncOp>(
        withPatterns([](RewritePatternSet &patterns) {
          patterns.add<ExpandCopy>(patterns.getContext());
        }));
  });
}

LogicalResult effc::lowerToLLVM(ModuleOp module) {
  return run(module, [](OpPassManager &passes) {
    OpPassManager &func = passes.nest<func::FuncOp>();
    func.addPass(createBlockReductionsPass());
    func.addPass(createConvertLinalgToLoopsPass());
    func.addPass(withPatterns(populateVectorLowering));
    func.addPass(withPatterns(populateMathLowering));
    func.addPass(createConvertVectorToSCFPass(
        VectorTransferToSCFOptions().enableFullUnroll(true).setTargetRank(1)));
    func.addPass(memref::createExpandStridedMetadataPass());
    func.addPass(createLowerAffinePass());
    func.addPass(createCanonicalizerPass());
    func.addPass(createCSEPass());
    func.addPass(createLoopInvariantCodeMotionPass());
    func.addPass(createSCFToControlFlowPass());
    ConvertVectorToLLVMPassOptions vectors;
    vectors.reassociateFPReductions = true;
    passes.addPass(createConvertVectorToLLVMPass(vectors));
    ConvertFuncToLLVMPassOptions functions;
    functions.useBarePtrCallConv = true;
    passes.addPass(createConvertFuncToLLVMPass(functions));
    passes.addPass(createConvertToLLVMPass());
    passes.addPass(createReconcileUnrealizedCastsPass());
    passes.addPass(createCanonicalizerPass());
  });
}
