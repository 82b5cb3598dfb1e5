//===- Registration.cpp - dialects and passes of effc ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Pipelines/Registration.h"
#include "effc/Conversion/EffToPlan/Passes.h"
#include "effc/Conversion/OnnxToEff/Raise.h"
#include "effc/Conversion/OnnxToLinalg/Lower.h"
#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Dialect/Plan/Plan.h"
#include "effc/Dialect/Plan/Transforms/Passes.h"
#include "effc/Frontend/ONNX/Passes.h"
#include "effc/Target/Generic/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void effc::registerDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, eff::EffDialect, func::FuncDialect,
                  linalg::LinalgDialect, math::MathDialect, onnx::OnnxDialect,
                  plan::PlanDialect, scf::SCFDialect, tensor::TensorDialect>();
}

void effc::registerPasses() {
  mlir::registerTransformsPasses();
  registerOnnxPasses();
  registerOnnxToEffPasses();
  registerOnnxToLinalgPasses();
  eff::registerEffPasses();
  registerEffToPlanPasses();
  plan::registerPlanPasses();
  registerGenericPasses();
}
