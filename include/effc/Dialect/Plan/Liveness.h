//===- Liveness.h - when the buffers of a program are in use ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_PLAN_LIVENESS_H
#define EFFC_DIALECT_PLAN_LIVENESS_H

#include "effc/Dialect/Plan/Plan.h"
#include "llvm/ADT/MapVector.h"

namespace effc::plan {

/// The steps, by their number in the program, between which a buffer or output
/// is in use, both included.
struct LiveRange {
  int64_t first;
  int64_t last;
  /// Whether the first step that uses it writes it.
  bool defined;
  bool overlaps(const LiveRange &other) const {
    return first <= other.last && other.first <= last;
  }
};

/// Live ranges of the buffers and outputs of one program, in the order of the
/// ops that make them.
class Liveness {
public:
  explicit Liveness(ProgramOp program);

  using Ranges = llvm::MapVector<mlir::Value, LiveRange>;
  const Ranges &getRanges() const { return ranges; }
  /// Steps in order.
  llvm::ArrayRef<StepOp> getSteps() const { return steps; }

private:
  Ranges ranges;
  llvm::SmallVector<StepOp> steps;
};

/// The reference that views lead back to.
mlir::Value getBase(mlir::Value ref);
/// The sum of the views' offsets on the way to the base.
int64_t getViewOffset(mlir::Value ref);

/// Bytes that a buffer takes in the arena: rounded up to 64, and 64 beyond.
int64_t getFootprint(int64_t bytes);

} // namespace effc::plan

#endif // EFFC_DIALECT_PLAN_LIVENESS_H
