//===- KernelTest.h - runs kernels against their naive versions -*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_TARGET_KERNELTEST_H
#define EFFC_UNITTESTS_TARGET_KERNELTEST_H

#include "effc/Target/X86/LoadKernel.h"
#include "runtime/kernels/x86/naive.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace effc {

/// Memory whose end lies EFF_ALIGN bytes before a page that must not be
/// touched: reading further than kernels may ends the test. It starts at a
/// multiple of 4 bytes and is filled with a pattern that is a NaN as f32.
class Buffer {
public:
  explicit Buffer(int64_t bytes = 0);
  Buffer(const std::vector<float>
             &values); // implicit: tests write operands as lists
  ~Buffer();
  Buffer(Buffer &&other) noexcept;
  Buffer(const Buffer &) = delete;
  Buffer &operator=(Buffer &&other) noexcept;

  template <class T = float> T *as() const { return static_cast<T *>(data); }
  template <class T = float> std::vector<T> get() const {
    return std::vector<T>(as<T>(), as<T>() + bytes / sizeof(T));
  }
  int64_t size() const { return bytes; }
  Buffer clone() const;
  /// Whether the bytes that may be read beyond the end are as they were.
  bool tailIntact() const;

private:
  void *map = nullptr, *data = nullptr;
  int64_t mapped = 0, bytes = 0;
};

/// Numbers that look random and are the same in every run, within [-scale,
/// scale].
std::vector<float> randomFloats(int64_t count, uint64_t seed, float scale = 1);

/// The bits of an f32, as specs carry them.
int64_t bitsOf(float value);

/// What a call brings, with its arrays.
struct Call {
  std::vector<int32_t> past, valid, slot;
  eff_call call;
  Call(int32_t batch, int32_t tokens, std::vector<int32_t> past = {},
       std::vector<int32_t> valid = {}, std::vector<int32_t> slot = {},
       bool allLogits = false);
};

/// A kernel, its operands and how exact it has to be.
struct Case {
  std::string family;
  kernels::naive::Constants constants;
  std::string epilogue = {};
  kernels::naive::Epilogue naiveEpilogue = nullptr;
  /// Null for absent operands.
  std::vector<const Buffer *> operands;
  /// Indices of operands that are written; everything else must stay as it is.
  std::vector<int> outputs;
  /// Largest difference from the naive result: absolute + relative * |result|.
  double absolute = 0, relative = 0;
  /// Written operands that are int8: equal to the last bit, on targets without
  /// fused multiply-add within `steps`.
  std::vector<int> codes = {};
  int steps = 0;
  /// Floats are equal to the last bit on targets with fused multiply-add.
  bool exact = false;
  /// Outputs of bytes: each may differ by one from the naive result where that
  /// lies close to a tie, but at most one in 100 does.
  std::vector<int> nearCodes = {};
  /// Outputs with a comparison of their own.
  std::map<int, std::function<void(const Buffer &got, const Buffer &expected)>>
      comparisons = {};
  /// Whether a float or byte (by operand and index) is compared; elements that
  /// are not may have any value.
  std::function<bool(int operand, int64_t index)> compared = nullptr;
};

KernelSpec specOf(const Case &c);
/// Levels that this machine can run: every test runs on each of them.
std::vector<X86Machine> machines();
/// Runs a case on every level with 1 and 3 parts: equal to the naive result
/// within the tolerance, equal bytes for both numbers of parts, nothing written
/// outside of the outputs.
void check(const Case &c, const Call &call);

/// Compares rows of real tokens alone, in operand `operand`.
std::function<bool(int, int64_t)> realTokens(const Call &call, int operand,
                                             int64_t ld, int64_t columns);
/// Bytes of `rows` rows of d floats that start ld floats apart.
int64_t rowBytes(int64_t rows, int64_t ld, int64_t d);
/// Such rows of random numbers.
Buffer rowsOf(int64_t rows, int64_t ld, int64_t d, uint64_t seed,
              float scale = 1);
/// Runs a family on `tokens` tokens at once and one after the other; every
/// output must have equal bits. `rowBytes` has the distance of the rows of each
/// operand that has a row for each token.
void expectChunkEqualsSteps(Case c, const std::map<int, int64_t> &rowBytes,
                            int64_t tokens, bool advancePast);

} // namespace effc

#endif // EFFC_UNITTESTS_TARGET_KERNELTEST_H
