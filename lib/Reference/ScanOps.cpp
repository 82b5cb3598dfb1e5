//===- ScanOps.cpp - convolutions and state-space scans -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Scales.h"
#include "effc/Compress/Quantize.h"
#include "effc/Compress/State.h"
#include "effc/Support/Error.h"

using namespace mlir;

namespace effc::reference {

/// dt as a scan uses it: with its bias, through softplus.
template <typename T, typename ScanOp>
static llvm::Expected<std::vector<T>> getSteps(ScanOp op, Call<T> &call) {
  std::vector<T> steps = call.get(op.getDt()).floats;
  llvm::Expected<const T *> bias = call.getOptional(op.getDtBias());
  if (!bias)
    return bias.takeError();
  int64_t columns = call.get(op.getDt()).getColumns();
  for (auto [i, step] : llvm::enumerate(steps)) {
    if (*bias)
      step += (*bias)[i % columns];
    if (op.getDtSoftplus())
      step = softplus(step);
  }
  return steps;
}

namespace {
/// Rounds the state of one sequence after a token or a call: element `s` of
/// channel `c` is at `s * stride + c` of its block.
template <typename T> class StateRounder {
public:
  template <typename ScanOp>
  static llvm::Expected<StateRounder> create(ScanOp op, Call<T> &call) {
    StateRounder rounder;
    if (!op.getState())
      return rounder;
    auto type = cast<eff::StateType>(op.getState().getType());
    ArrayRef<int64_t> shape = type.getShape();
    rounder.width = shape.back();
    rounder.n = shape[shape.size() - 2];
    rounder.blocks = shape.size() == 3 ? shape.front() : 1;
    eff::Int8StateAttr int8 = type.getInt8();
    if (!int8)
      return rounder;
    rounder.once = int8.getEvery() == eff::StateEvery::Call;
    compress::StateFormat format;
    bool isStatic = int8.getScaling() == eff::StateScaling::Static;
    format.scaling = isStatic ? compress::StateScaling::Static
                              : compress::StateScaling::Dynamic;
    format.rounding = int8.getRounding() == eff::StateRounding::Nearest
                          ? compress::StateRounding::Nearest
                          : compress::StateRounding::Stochastic;
    format.residualBits = int8.getResidual();
    std::vector<float> scales;
    if (isStatic) {
      llvm::Expected<const T *> values = call.getOptional(op.getStateScale());
      if (!values)
        return values.takeError();
      // From the order of the state to rows of one channel each.
      for (int64_t row = 0; row < rounder.rows(); ++row)
        for (int64_t s = 0; s < rounder.n; ++s)
          scales.push_back(float((*values)[rounder.at(row, s)]));
    }
    auto state =
        compress::Int8State::create(format, rounder.rows(), rounder.n, scales);
    if (!state)
      return makeError(ErrorCode::CannotInterpret, state.error().what);
    rounder.state = std::move(*state);
    return rounder;
  }

  /// After a token at `position` of its sequence, the last one of the call or
  /// not.
  void round(std::vector<T> &h, int64_t position, bool isLast) {
    if (!state || (once && !isLast))
      return;
    std::vector<float> values(n);
    for (int64_t row = 0; row < rows(); ++row) {
      for (int64_t s = 0; s < n; ++s)
        values[s] = float(h[at(row, s)]);
      state->store(row, values, position);
      state->load(row, values);
      for (int64_t s = 0; s < n; ++s)
        h[at(row, s)] = values[s];
    }
  }

private:
  int64_t rows() const { return blocks * width; }
  int64_t at(int64_t row, int64_t s) const {
    return (row / width * n + s) * width + row % width;
  }

  int64_t blocks = 1, n = 0, width = 0;
  bool once = false;
  std::optional<compress::Int8State> state;
};
} // namespace

template <typename T>
llvm::Error evaluate(eff::CausalConv1DOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  llvm::Expected<Filter<T>> filter = call.getFilter(op);
  if (!filter)
    return filter.takeError();
  const auto [weight, bias] = *filter;
  int64_t batch = input.shape[0], tokens = input.shape[1];
  int64_t channels = input.shape[2], kernel = weight->shape[1];
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;
  bool activate = op.getActivation() == eff::Activation::SiLU;

  Tensor<T> result(input.shape);
  for (int64_t b = 0; b < batch; ++b) {
    llvm::Expected<std::vector<T> *> state =
        call.getBuffer(op, op.getState(), b);
    if (!state)
      return state.takeError();
    // The columns of the state, then those of the input.
    std::vector<T> padded = **state;
    auto first = input.floats.begin() + b * tokens * channels;
    padded.insert(padded.end(), first, first + tokens * channels);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t c = 0; c < channels; ++c) {
        T sum = bias ? bias[c] : T(0);
        for (int64_t j = 0; j < kernel; ++j)
          sum +=
              weight->values[c * kernel + j] * padded[(t + j) * channels + c];
        result.floats[(b * tokens + t) * channels + c] =
            activate ? silu(sum) : sum;
      }
    auto kept = padded.begin() + call.getValid(b, tokens) * channels;
    (*state)->assign(kept, kept + (kernel - 1) * channels);
    if (op.getStateScale()) {
      llvm::Expected<Scales<T>> scale = getScales(op.getStateScale(), call);
      if (!scale)
        return scale.takeError();
      for (auto [i, x] : llvm::enumerate(**state)) {
        float s = float(scale->at(0, i % channels));
        x = T(s * float(compress::quantizeInt8(float(x), s)));
      }
    }
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

namespace {
/// What both scans read, the time steps with bias and softplus.
template <typename T> struct Scan {
  const Tensor<T> &input, &b, &c;
  std::vector<T> dt;
  const T *a, *skip;
};
} // namespace

template <typename T, typename Op>
static llvm::Expected<Scan<T>> getScan(Op op, Call<T> &call) {
  llvm::Expected<std::vector<T>> dt = getSteps(op, call);
  if (!dt)
    return dt.takeError();
  llvm::Expected<const T *> a = call.getOptional(op.getA());
  if (!a)
    return a.takeError();
  llvm::Expected<const T *> skip = call.getOptional(op.getSkip());
  if (!skip)
    return skip.takeError();
  return Scan<T>{call.get(op.getInput()),
                 call.get(op.getB()),
                 call.get(op.getC()),
                 std::move(*dt),
                 *a,
                 *skip};
}

/// Calls `body(token, state)` for each valid token, in their order, and rounds
/// the state where its format says; tokens of all rows are counted through.
template <typename T, typename Op, typename Body>
static llvm::Error forEachToken(Op op, Call<T> &call, Body body) {
  llvm::ArrayRef<int64_t> shape = op.getInput().getType().getShape();
  int64_t batch = shape[0], tokens = shape[1];
  llvm::Expected<StateRounder<T>> rounder = StateRounder<T>::create(op, call);
  if (!rounder)
    return rounder.takeError();
  if (!op.getState()) { // starts at zero, every token is valid
    auto a = cast<eff::WeightType>(op.getA().getType());
    for (int64_t row = 0; row < batch; ++row) {
      std::vector<T> state(a.getNumElements());
      for (int64_t t = 0; t < tokens; ++t)
        body(row * tokens + t, state);
    }
    return llvm::Error::success();
  }
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;
  for (int64_t row = 0; row < batch; ++row) {
    llvm::Expected<std::vector<T> *> state =
        call.getBuffer(op, op.getState(), row);
    if (!state)
      return state.takeError();
    int64_t valid = call.getValid(row, tokens);
    for (int64_t t = 0; t < valid; ++t) {
      body(row * tokens + t, **state);
      rounder->round(**state, call.getPast(row) + t, t + 1 == valid);
    }
  }
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::SsdScanOp op, Call<T> &call) {
  llvm::Expected<Scan<T>> scan = getScan<T>(op, call);
  if (!scan)
    return scan.takeError();
  int64_t heads = op.getHeads(), groups = op.getGroups();
  int64_t headDim = scan->input.shape[2] / heads, n = scan->b.shape[2] / groups;
  Tensor<T> result(scan->input.shape);
  auto step = [&](int64_t token, std::vector<T> &state) {
    for (int64_t i = 0; i < heads; ++i) {
      T step = scan->dt[token * heads + i];
      T decay = std::exp(step * scan->a[i]);
      int64_t first = (token * heads + i) * headDim;
      const T *x = scan->input.floats.data() + first;
      T *y = result.floats.data() + first;
      int64_t group = (token * groups + i * groups / heads) * n;
      for (int64_t p = 0; p < headDim; ++p)
        y[p] = scan->skip ? scan->skip[i] * x[p] : T(0);
      for (int64_t s = 0; s < n; ++s) {
        T *h = state.data() + (i * n + s) * headDim;
        T in = step * scan->b.floats[group + s];
        T out = scan->c.floats[group + s];
        for (int64_t p = 0; p < headDim; ++p) {
          h[p] = decay * h[p] + in * x[p];
          y[p] += h[p] * out;
        }
      }
    }
  };
  if (llvm::Error error = forEachToken(op, call, step))
    return error;
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::SsmScanOp op, Call<T> &call) {
  llvm::Expected<Scan<T>> scan = getScan<T>(op, call);
  if (!scan)
    return scan.takeError();
  const Tensor<T> *gate = op.getGate() ? &call.get(op.getGate()) : nullptr;
  int64_t channels = scan->input.shape[2], groups = op.getGroups();
  int64_t n = scan->b.shape[2] / groups;
  Tensor<T> result(scan->input.shape);
  auto step = [&](int64_t token, std::vector<T> &state) {
    for (int64_t d = 0; d < channels; ++d) {
      T step = scan->dt[token * channels + d];
      T u = scan->input.floats[token * channels + d];
      int64_t group = (token * groups + d * groups / channels) * n;
      T y = scan->skip ? scan->skip[d] * u : T(0);
      for (int64_t s = 0; s < n; ++s) {
        T &h = state[s * channels + d];
        h = std::exp(step * scan->a[d * n + s]) * h +
            step * u * scan->b.floats[group + s];
        y += h * scan->c.floats[group + s];
      }
      if (gate)
        y *= silu(gate->floats[token * channels + d]);
      result.floats[token * channels + d] = y;
    }
  };
  if (llvm::Error error = forEachToken(op, call, step))
    return error;
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, eff::CausalConv1DOp)
EFFC_INSTANTIATE(evaluate, eff::SsdScanOp)
EFFC_INSTANTIATE(evaluate, eff::SsmScanOp)

} // namespace effc::reference
