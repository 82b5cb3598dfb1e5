//===- program.h - one entry point with its addresses ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_PROGRAM_H
#define EFFRT_SRC_PROGRAM_H

#include "code_image.h"
#include "effrt/effrt.h"
#include "effrt/thread_pool.h"
#include "state_store.h"

#include <vector>

namespace effrt {

/// What the operands of all entry points of an engine count from.
struct Places {
  uint8_t *arena = nullptr;
  const uint8_t *weights = nullptr;
  const StateStore *states = nullptr;
};

/// An entry point's steps, bound to memory. Inputs and outputs are its own.
class Program {
public:
  static Result<Program> bind(const eff_entry &entry, const eff_model &model,
                              const Places &places);

  const eff_entry &entry() const { return *entry_; }
  const std::vector<BoundStep> &steps() const { return steps_; }
  uint8_t *input(uint32_t index) const { return inputs_[index].data(); }
  uint8_t *output(uint32_t index) const { return outputs_[index].data(); }
  /// Predicted, of one call with every token valid.
  uint64_t flops() const { return flops_; }
  uint64_t integerOps() const { return integerOps_; } ///< part of flops
  uint64_t bytes() const { return bytes_; }

private:
  const eff_entry *entry_ = nullptr;
  std::vector<Mapping> inputs_, outputs_;
  std::vector<void *> operands_;
  std::vector<BoundStep> steps_;
  uint64_t flops_ = 0, integerOps_ = 0, bytes_ = 0;
};

} // namespace effrt

#endif // EFFRT_SRC_PROGRAM_H
