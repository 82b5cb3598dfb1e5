//===- Registration.cpp - dialects and passes of effc -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Pipelines/Registration.h"
#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#ifdef EFFC_HAS_EFFTOPLAN
#include "effc/Conversion/EffToPlan/Passes.h"
#endif
#ifdef EFFC_HAS_ONNX
#include "effc/Dialect/ONNX/Onnx.h"
#endif
#ifdef EFFC_HAS_PLAN
#include "effc/Dialect/Plan/Plan.h"
#include "effc/Dialect/Plan/Transforms/Passes.h"
#endif

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void effc::registerDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, eff::EffDialect, func::FuncDialect,
                  linalg::LinalgDialect, math::MathDialect,
                  tensor::TensorDialect>();
#ifdef EFFC_HAS_ONNX
  registry.insert<onnx::OnnxDialect>();
#endif
#ifdef EFFC_HAS_PLAN
  registry.insert<plan::PlanDialect>();
#endif
}

void effc::registerPasses() {
  mlir::registerTransformsPasses();
  eff::registerEffPasses();
#ifdef EFFC_HAS_PLAN
  plan::registerPlanPasses();
#endif
#ifdef EFFC_HAS_EFFTOPLAN
  registerEffToPlanPasses();
#endif
}
