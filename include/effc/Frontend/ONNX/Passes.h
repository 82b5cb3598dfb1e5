//===- Passes.h - passes of the ONNX front end ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_FRONTEND_ONNX_PASSES_H
#define EFFC_FRONTEND_ONNX_PASSES_H

#include "effc/Dialect/ONNX/Onnx.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <memory>
#include <string>

namespace effc {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "effc/Frontend/ONNX/Passes.h.inc"

} // namespace effc

#endif // EFFC_FRONTEND_ONNX_PASSES_H
