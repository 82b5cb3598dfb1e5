//===- program.cpp - one entry point with its addresses -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "program.h"

#include <algorithm>

namespace effrt {

Result<Program> Program::bind(const eff_entry &entry, const eff_model &model,
                              const Places &places) {
  Program program;
  program.entry_ = &entry;
  for (uint32_t i = 0; i < entry.input_count; ++i) {
    Result<Mapping> input = Mapping::zeroed(entry.input_bytes[i] + EFF_ALIGN,
                                            "an input", /*hugePages=*/false);
    if (!input)
      return input.takeError();
    program.inputs_.push_back(input.take());
  }
  for (uint32_t i = 0; i < entry.output_count; ++i) {
    uint64_t bytes = entry.output_bytes[i];
    // Logits of every position, which only scoring asks for: untouched memory
    // costs nothing.
    if (entry.kind != EFF_ENTRY_FORWARD && i == 0)
      bytes = std::max(bytes, uint64_t(entry.batch) * uint64_t(entry.tokens) *
                                  uint64_t(model.vocab) * sizeof(float));
    Result<Mapping> output = Mapping::zeroed(bytes + EFF_ALIGN, "an output",
                                             /*hugePages=*/false);
    if (!output)
      return output.takeError();
    program.outputs_.push_back(output.take());
  }

  size_t total = 0;
  for (uint32_t i = 0; i < entry.step_count; ++i)
    total += entry.steps[i].operand_count;
  program.operands_.reserve(total); // steps point into it
  for (uint32_t i = 0; i < entry.step_count; ++i) {
    const eff_step &step = entry.steps[i];
    void *const *first = program.operands_.data() + program.operands_.size();
    for (uint32_t j = 0; j < step.operand_count; ++j) {
      const eff_operand &operand = step.operands[j];
      uint8_t *base = nullptr;
      switch (operand.kind) {
      case EFF_OPERAND_ARENA:
        base = places.arena;
        break;
      case EFF_OPERAND_WEIGHT:
        base = const_cast<uint8_t *>(places.weights); // mapped read-only
        break;
      case EFF_OPERAND_STATE:
        base = places.states->base(operand.index);
        break;
      case EFF_OPERAND_INPUT:
        base = program.input(operand.index);
        break;
      case EFF_OPERAND_OUTPUT:
        base = program.output(operand.index);
        break;
      default: // EFF_OPERAND_NULL: the loader has refused all others
        break;
      }
      program.operands_.push_back(base ? base + operand.offset : nullptr);
    }
    program.steps_.push_back({step.run, first, step.flags});
    program.flops_ += step.flops;
    if (step.flags & EFF_STEP_INTEGER)
      program.integerOps_ += step.flops;
    program.bytes_ += step.bytes;
  }
  return program;
}

} // namespace effrt
