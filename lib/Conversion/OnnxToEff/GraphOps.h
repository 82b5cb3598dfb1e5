//===- GraphOps.h - composite operators by their definitions ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_GRAPHOPS_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_GRAPHOPS_H

#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/HostTensor.h"

namespace effc::raise {

/// Evaluates attention, rotary embedding, scans and norms of the contributed
/// domains in double. `results` have types and shapes already. False for
/// operators and forms that are not known here.
bool evaluateComposite(onnx::NodeOp node,
                       llvm::ArrayRef<const onnx::HostTensor *> operands,
                       llvm::SmallVectorImpl<onnx::HostTensor> &results);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_GRAPHOPS_H
