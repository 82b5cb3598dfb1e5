//===- manifest.h - what a model file says of itself ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//
///
/// \file
/// The section .eff.manifest is one JSON object; docs/runtime-abi.md describes
/// its members. Members that are not known are skipped, so that older runtimes
/// read newer files.
///
//===--------------------------------------------------------------------===//

#ifndef EFFRT_MANIFEST_H
#define EFFRT_MANIFEST_H

#include "effrt/effrt.h"
#include "effrt/support.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace effrt {

enum class DType {
  F32,
  F16,
  BF16,
  F64,
  I8,
  I16,
  I32,
  I64,
  U8,
  U16,
  U32,
  U64,
  Bool
};

/// "f32", "bool", ...
const char *dtypeName(DType type);
uint64_t dtypeBytes(DType type);

enum class ModelKind { CausalLM, ImageClassifier, Generic };
const char *modelKindName(ModelKind kind);

struct TensorInfo {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;

  uint64_t elements() const;
  uint64_t bytes() const { return elements() * dtypeBytes(dtype); }
};

struct EntryInfo {
  std::string name;
  eff_entry_kind kind = EFF_ENTRY_FORWARD;
  int32_t batch = 1, tokens = 1;
  uint64_t arenaBytes = 0;
  uint64_t flops = 0, bytes = 0; ///< predicted, of one call with all valid
  uint64_t integerOps = 0;       ///< part of flops: on bytes
  std::vector<TensorInfo> inputs, outputs;
};

struct StateInfo {
  std::string name;
  eff_state_kind kind = EFF_STATE_RECURRENT;
  std::vector<int64_t> shape;
  uint64_t bytes = 0;        ///< of one sequence
  std::string input, output; ///< names in the ONNX file
};

struct KernelInfo {
  std::string name, family, spec, target;
};

struct WeightInfo {
  std::string name;
  uint64_t offset = 0, bytes = 0;
  std::vector<int64_t> shape;
  std::string format;
};

struct TargetInfo {
  std::string name;
  uint64_t features = 0;
};

struct Manifest {
  int64_t format = 1;
  std::string effcVersion;

  ModelKind kind = ModelKind::Generic;
  std::string architecture, name;
  int64_t vocab = 0, maxLength = 0, parameters = 0;

  std::vector<EntryInfo> entries;
  std::vector<StateInfo> states;
  std::vector<KernelInfo> kernels;
  std::vector<WeightInfo> weights;
  std::vector<TargetInfo> targets;

  int64_t bos = -1; ///< -1: none
  std::vector<int64_t> eos;
  std::string chatTemplate;

  // JSON as it stands in the file; empty where it is null or missing.
  std::string tokenizer, config, recipe, source;

  /// The whole text.
  std::string text;

  const EntryInfo *findEntry(std::string_view name) const;
};

/// Parses and checks. Errors are of DamagedModel and name the member.
Result<Manifest> parseManifest(std::string text);

} // namespace effrt

#endif // EFFRT_MANIFEST_H
