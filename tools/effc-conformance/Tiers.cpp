//===- Tiers.cpp - which operators make a tier ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Case.h"

#include "llvm/ADT/StringSet.h"

namespace effc::conformance {

/// T0: what the model families need, without control flow.
static constexpr const char *tier0[] = {"Add",
                                        "And",
                                        "Cast",
                                        "CastLike",
                                        "Clip",
                                        "Concat",
                                        "Constant",
                                        "ConstantOfShape",
                                        "Conv",
                                        "Cos",
                                        "Div",
                                        "Einsum",
                                        "Equal",
                                        "Erf",
                                        "Exp",
                                        "Expand",
                                        "Flatten",
                                        "Gather",
                                        "GatherND",
                                        "Gemm",
                                        "Greater",
                                        "GreaterOrEqual",
                                        "Identity",
                                        "IsNaN",
                                        "LayerNormalization",
                                        "LessOrEqual",
                                        "MatMul",
                                        "Max",
                                        "Mod",
                                        "Mul",
                                        "Neg",
                                        "Not",
                                        "Pad",
                                        "Pow",
                                        "Reciprocal",
                                        "ReduceMean",
                                        "ReduceSum",
                                        "Reshape",
                                        "ScatterND",
                                        "Shape",
                                        "Sigmoid",
                                        "Sin",
                                        "Size",
                                        "Slice",
                                        "Softmax",
                                        "Softplus",
                                        "Split",
                                        "Sqrt",
                                        "Squeeze",
                                        "Sub",
                                        "Tile",
                                        "Transpose",
                                        "Trilu",
                                        "Unsqueeze",
                                        "Where"};

/// T1 adds control flow, and the operators that newer exporters write for parts
/// of transformers.
static constexpr const char *tier1[] = {
    "Attention", "CumSum", "DequantizeLinear", "Gelu",  "GlobalAveragePool",
    "If",        "Loop",   "RMSNormalization", "Range", "RotaryEmbedding",
    "Scan"};

/// T2 adds state-space models and the other quantised operators.
static constexpr const char *tier2[] = {"CausalConvWithState",
                                        "ConvInteger",
                                        "DynamicQuantizeLinear",
                                        "LinearAttention",
                                        "MatMulInteger",
                                        "QLinearConv",
                                        "QLinearMatMul",
                                        "QuantizeLinear",
                                        "SwiGLU",
                                        "Swish",
                                        "TensorScatter"};

/// T3 is the rest of computing on tensors of numbers.
static constexpr const char *beyond[] = {"ai.onnx.preview.training.Adagrad",
                                         "ai.onnx.preview.training.Adam",
                                         "ai.onnx.preview.training.Gradient",
                                         "ai.onnx.preview.training.Momentum",
                                         "ConcatFromSequence",
                                         "SequenceAt",
                                         "SequenceConstruct",
                                         "SequenceEmpty",
                                         "SequenceErase",
                                         "SequenceInsert",
                                         "SequenceLength",
                                         "SequenceMap",
                                         "SplitToSequence",
                                         "Optional",
                                         "OptionalGetElement",
                                         "OptionalHasElement",
                                         "StringConcat",
                                         "StringNormalizer",
                                         "StringSplit",
                                         "RegexFullMatch",
                                         "TfIdfVectorizer",
                                         "ImageDecoder",
                                         "Bernoulli",
                                         "RandomNormal",
                                         "RandomNormalLike",
                                         "RandomUniform",
                                         "RandomUniformLike",
                                         "Multinomial"};

template <size_t N>
static bool contains(const char *const (&list)[N], llvm::StringRef op) {
  return std::find(std::begin(list), std::end(list), op) != std::end(list);
}

int tierOf(const Outcome &outcome) {
  int tier = outcome.ops.empty() ? 4 : 0;
  for (const std::string &op : outcome.ops) {
    int own = contains(tier0, op)                               ? 0
              : contains(tier1, op)                             ? 1
              : contains(tier2, op)                             ? 2
              : contains(beyond, op) || op.find('.') != op.npos ? 4
                                                                : 3;
    tier = std::max(tier, own);
  }
  for (const std::string &type : outcome.types)
    if (type[0] == '!' || llvm::StringRef(type).contains("complex"))
      tier = 4;
  return tier;
}

bool hasCoreTypes(const Outcome &outcome) {
  static const llvm::StringSet<> core = {
      "f32", "f16", "bf16", "i64",      "i32",    "i8",       "ui8",
      "i1",  "i4",  "ui4",  "f8E4M3FN", "f8E5M2", "f4E2M1FN", "f8E8M0FNU"};
  return llvm::all_of(outcome.types, [&](const std::string &type) {
    return core.count(type) != 0;
  });
}

} // namespace effc::conformance
