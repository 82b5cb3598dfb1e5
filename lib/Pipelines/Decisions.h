//===- Decisions.h - collects what passes decided ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_PIPELINES_DECISIONS_H
#define EFFC_LIB_PIPELINES_DECISIONS_H

#include "effc/Pipelines/Compile.h"

#include "mlir/IR/MLIRContext.h"

namespace effc {

/// Collects every remark that passes of effc emit in `context`, until the
/// context dies. `decisions` must outlive it.
mlir::LogicalResult collectDecisions(mlir::MLIRContext &context,
                                     std::vector<Decision> &decisions);

/// Brings them into an order that does not depend on threads.
void sortDecisions(std::vector<Decision> &decisions);

/// Sorted decisions as model files keep them: a list of groups of one pass,
/// name, kind and set of keys, each with one row of place and values for every
/// decision. Decisions that several entry points share are there once.
llvm::json::Array describeDecisions(const std::vector<Decision> &decisions);

} // namespace effc

#endif // EFFC_LIB_PIPELINES_DECISIONS_H
