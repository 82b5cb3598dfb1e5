//===- LinearOps.cpp - linears, embeddings, patches -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Scalar.h"
#include "Scales.h"
#include "effc/Dialect/Eff/Rounding.h"
#include "effc/Support/Error.h"

using namespace mlir;

namespace effc::reference {

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

/// Replaces each accumulator by what the epilogue makes of it.
template <typename T>
static llvm::Error applyEpilogue(eff::LinearOp op, Tensor<T> &result,
                                 Call<T> &call) {
  llvm::Expected<Program<T>> program =
      Program<T>::compile(op.getEpilogue().front(), /*loops=*/0, call);
  if (!program)
    return program.takeError();
  // An extra is read at (row, column), or at (column) when it is a vector.
  struct Extra {
    const T *values;
    int64_t rowStride;
  };
  llvm::SmallVector<Extra, 4> extras;
  int64_t columns = result.getColumns();
  for (Value value : op.getExtras()) {
    if (!isa<eff::WeightType>(value.getType())) {
      extras.push_back({call.get(value).floats.data(), columns});
      continue;
    }
    llvm::Expected<const Weight<T> *> vector = call.getWeight(value);
    if (!vector)
      return vector.takeError();
    extras.push_back({(*vector)->values.data(), 0});
  }
  for (int64_t row = 0; row < result.getDefinedRows(); ++row)
    for (int64_t n = 0; n < columns; ++n) {
      T &element = result.floats[row * columns + n];
      program->argument(0).f = element;
      for (auto [index, extra] : llvm::enumerate(extras))
        program->argument(index + 1).f =
            extra.values[row * extra.rowStride + n];
      program->run();
      element = program->yielded(0).f;
    }
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::LinearOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  llvm::Expected<const Weight<T> *> weight = call.getWeight(op.getWeight());
  if (!weight)
    return weight.takeError();
  Tensor<T> result(op.getResult().getType().getShape());
  result.definedRows = input.definedRows;
  int64_t rows = input.getDefinedRows();
  int64_t n = (*weight)->shape[0], k = (*weight)->shape[1];
  if (!input.isInteger) {
    multiply(input.floats.data(), (*weight)->values.data(),
             result.floats.data(), rows, n, k);
  } else {
    llvm::Expected<Scales<T>> scale = getScales(op.getScale(), call);
    if (!scale)
      return scale.takeError();
    bool isAsymmetric = op.isAsymmetric();
    int64_t zero = isAsymmetric ? int64_t(scale->values[1]) : 0;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t j = 0; j < n; ++j)
        result.floats[row * n + j] = multiplyIntegers<T>(
            input.integers.data() + row * k, **weight, j,
            isAsymmetric ? scale->values[0] : scale->at(row, 0), zero);
  }
  if (op.hasEpilogue())
    if (llvm::Error error = applyEpilogue(op, result, call))
      return error;
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Other ops that read weights
//===----------------------------------------------------------------------===//

template <typename T> llvm::Error evaluate(eff::Conv2DOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  llvm::Expected<Filter<T>> filter = call.getFilter(op);
  if (!filter)
    return filter.takeError();
  const auto [weight, bias] = *filter;
  int64_t batch = input.shape[0], channels = input.shape[1];
  int64_t height = input.shape[2], width = input.shape[3];
  int64_t ph = op.getPatch()[0], pw = op.getPatch()[1];
  int64_t gridHeight = height / ph, gridWidth = width / pw;
  int64_t outputs = weight->shape[0], k = weight->shape[1];

  // Each patch becomes a row, in the order of the weight's columns.
  std::vector<T> patches;
  patches.reserve(input.floats.size());
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < gridHeight; ++i)
      for (int64_t j = 0; j < gridWidth; ++j)
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t u = 0; u < ph; ++u)
            for (int64_t v = 0; v < pw; ++v)
              patches.push_back(
                  input.floats[((b * channels + c) * height + i * ph + u) *
                                   width +
                               j * pw + v]);
  Tensor<T> result(op.getResult().getType().getShape());
  multiply(patches.data(), weight->values.data(), result.floats.data(),
           result.getRows(), outputs, k);
  if (bias)
    for (int64_t i = 0; i < result.getNumElements(); ++i)
      result.floats[i] += bias[i % outputs];
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::EmbedOp op, Call<T> &call) {
  const Tensor<T> &ids = call.get(op.getIds());
  llvm::Expected<const Weight<T> *> table = call.getWeight(op.getTable());
  if (!table)
    return table.takeError();
  int64_t batch = ids.shape[0], tokens = ids.shape[1];
  int64_t vocab = (*table)->shape[0], d = (*table)->shape[1];
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;
  Tensor<T> result(op.getResult().getType().getShape());
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < tokens; ++t) {
      int64_t id = ids.integers[b * tokens + t];
      if (id < 0 || id >= vocab) {
        // Padding may hold anything.
        if (t >= call.getValid(b, tokens))
          continue;
        return makeError(ErrorCode::BadTokens,
                         "token id " + llvm::Twine(id) +
                             " is outside the vocabulary of " +
                             llvm::Twine(vocab));
      }
      auto first = (*table)->values.begin() + id * d;
      std::copy(first, first + d, result.floats.begin() + (b * tokens + t) * d);
    }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::ReadOp op, Call<T> &call) {
  llvm::Expected<const Weight<T> *> weight = call.getWeight(op.getWeight());
  if (!weight)
    return weight.takeError();
  call.set(op.getResult(),
           Tensor<T>::fromFloats((*weight)->shape, (*weight)->values));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Rows and features
//===----------------------------------------------------------------------===//

template <typename T> llvm::Error evaluate(eff::SampleOp op, Call<T> &call) {
  const Tensor<T> &logits = call.get(op.getLogits());
  int64_t vocab = logits.getColumns();
  Tensor<T> result(op.getResult().getType().getShape(), /*isInteger=*/true);
  for (int64_t row = 0; row < logits.getRows(); ++row) {
    const T *values = logits.floats.data() + row * vocab;
    int64_t best = 0;
    for (int64_t v = 1; v < vocab; ++v)
      if (values[v] > values[best])
        best = v;
    result.integers[row] = best;
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::SelectRowsOp op, Call<T> &call) {
  Tensor<T> result = call.get(op.getInput());
  int64_t batch = result.shape[0], tokens = result.shape[1];
  int64_t features = result.shape[2];
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;
  result.shape.assign({batch * tokens, features});
  if (!call.allLogits) {
    std::vector<T> selected(result.floats.size());
    for (int64_t b = 0; b < batch; ++b) {
      int64_t valid = call.getValid(b, tokens);
      // A row without valid tokens has no last one.
      if (valid == 0)
        continue;
      auto first = result.floats.begin() + (b * tokens + valid - 1) * features;
      std::copy(first, first + features, selected.begin() + b * features);
    }
    result.floats = std::move(selected);
    result.definedRows = batch;
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::SplitOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  int64_t columns = input.getColumns(), begin = 0;
  for (Value part : op.getResults()) {
    Tensor<T> result(cast<RankedTensorType>(part.getType()).getShape(),
                     input.isInteger);
    result.definedRows = input.definedRows;
    int64_t width = result.getColumns();
    auto slice = [&](const auto &from, auto &to) {
      for (int64_t row = 0; row < input.getDefinedRows(); ++row)
        std::copy_n(from.begin() + row * columns + begin, width,
                    to.begin() + row * width);
    };
    if (input.isInteger)
      slice(input.integers, result.integers);
    else
      slice(input.floats, result.floats);
    begin += width;
    call.set(part, std::move(result));
  }
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, eff::LinearOp)
EFFC_INSTANTIATE(evaluate, eff::Conv2DOp)
EFFC_INSTANTIATE(evaluate, eff::EmbedOp)
EFFC_INSTANTIATE(evaluate, eff::ReadOp)
EFFC_INSTANTIATE(evaluate, eff::SampleOp)
EFFC_INSTANTIATE(evaluate, eff::SelectRowsOp)
EFFC_INSTANTIATE(evaluate, eff::SplitOp)

} // namespace effc::reference
