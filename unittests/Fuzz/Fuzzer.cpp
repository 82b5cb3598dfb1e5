//===- Fuzzer.cpp - libFuzzer's entry to one target -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Built once for each target, with EFFC_FUZZ_KIND one of Onnx, Tokenizer,
/// Model.
///
//===----------------------------------------------------------------------===//

#include "Mutate.h"

#include <cstdint>

using namespace effc::fuzz;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Scratch scratch;
  std::string bytes(reinterpret_cast<const char *>(data), size);
  tryFile(Kind::EFFC_FUZZ_KIND, bytes, scratch);
  return 0;
}

/// Half of the mutants know the format; the others are libFuzzer's own.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size,
                                          size_t most, unsigned seed) {
  Random random(seed);
  if (random() % 2)
    return LLVMFuzzerMutate(data, size, most);
  std::string bytes(reinterpret_cast<const char *>(data), size);
  bytes = mutate(Kind::EFFC_FUZZ_KIND, bytes, random);
  size_t count = std::min(bytes.size(), most);
  std::copy_n(bytes.data(), count, data);
  return count;
}
