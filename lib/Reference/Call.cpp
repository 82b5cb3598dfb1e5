//===- Call.cpp - one call of the reference interpreter -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Call.h"
#include "effc/Dialect/Eff/Rounding.h"
#include "effc/Dialect/Eff/WeightSource.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace effc::reference {

llvm::Error cannotInterpret(Operation *op, const llvm::Twine &why) {
  std::string where;
  llvm::raw_string_ostream os(where);
  os << op->getLoc();
  return makeError(ErrorCode::CannotInterpret,
                   "cannot interpret '" + op->getName().getStringRef() + "'",
                   where, why);
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Rounds a row to the weight's format, in place.
template <typename T>
static void roundRow(eff::WeightType type, MutableArrayRef<float> row,
                     Weight<T> &weight) {
  if (FloatType format = type.getFloatFormat()) {
    if (format.isBF16())
      for (float &value : row)
        value = eff::fromBF16(eff::toBF16(value));
    if (format.isF16())
      for (float &value : row)
        value = eff::fromF16(eff::toF16(value));
    return;
  }
  std::vector<int8_t> q(row.size());
  size_t group = type.getGroup() ? type.getGroup() : row.size();
  for (size_t begin = 0; begin < row.size(); begin += group) {
    MutableArrayRef<float> part =
        row.slice(begin, std::min(group, row.size() - begin));
    float scale = type.isInt4() ? eff::roundInt4(part, q.data() + begin)
                                : eff::roundInt8(part, q.data() + begin);
    for (size_t i = 0; i < part.size(); ++i)
      part[i] = scale * float(q[begin + i]);
    weight.scales.push_back(scale);
    if (type.hasZeros())
      weight.zeros.push_back(0);
  }
  weight.quantized.insert(weight.quantized.end(), q.begin(), q.end());
}

/// The values of integers and scales that a pass has chosen.
template <typename T>
static void decode(const eff::QuantizedValues &values, Weight<T> &weight) {
  weight.quantized.assign(values.q.begin(), values.q.end());
  weight.scales.assign(values.scales.begin(), values.scales.end());
  weight.zeros.assign(values.zeros.begin(), values.zeros.end());
  int64_t k = weight.shape[1], group = weight.group ? weight.group : k;
  int64_t groups = (k + group - 1) / group;
  for (int64_t i = 0; i < int64_t(weight.quantized.size()); ++i)
    weight.values.push_back(T(values.get(i, i / k * groups + i % k / group)));
}

template <typename T>
llvm::Expected<const Weight<T> *> Weights<T>::get(eff::WeightOp op) {
  auto found = decoded.find(op);
  if (found != decoded.end())
    return &found->second;
  auto type = cast<eff::WeightType>(op.getType());
  Weight<T> weight;
  weight.shape.assign(type.getShape().begin(), type.getShape().end());
  weight.group = type.getGroup();
  weight.values.reserve(type.getNumElements());
  if (op.getQuantized()) {
    llvm::Expected<eff::QuantizedValues> values = eff::getQuantizedValues(op);
    if (!values)
      return values.takeError();
    decode(*values, weight);
    return &decoded.emplace(op, std::move(weight)).first->second;
  }
  llvm::Expected<eff::WeightSource> source = eff::WeightSource::create(op);
  if (!source)
    return source.takeError();
  // A few rows at a time: transposed sources are slow to read row by row.
  constexpr int64_t step = 16;
  int64_t columns = source->getColumns();
  std::vector<float> block(step * columns);
  for (int64_t n = 0; n < source->getRows(); n += step) {
    int64_t count = std::min(step, source->getRows() - n);
    MutableArrayRef<float> values(block.data(), count * columns);
    source->readRows(n, count, values);
    for (int64_t i = 0; i < count; ++i)
      roundRow(type, values.slice(i * columns, columns), weight);
    weight.values.insert(weight.values.end(), values.begin(), values.end());
  }
  return &decoded.emplace(op, std::move(weight)).first->second;
}

template struct Weights<float>;
template struct Weights<double>;

template <typename T>
llvm::Expected<const Weight<T> *> Call<T>::getWeight(Value value) {
  auto op = dyn_cast_or_null<eff::WeightOp>(resources.lookup(value));
  if (!op)
    return makeError(ErrorCode::CannotInterpret,
                     "a weight does not come from eff.use");
  return weights.get(op);
}

template <typename T>
llvm::Expected<const T *> Call<T>::getOptional(Value value) {
  if (!value)
    return nullptr;
  llvm::Expected<const Weight<T> *> weight = getWeight(value);
  if (!weight)
    return weight.takeError();
  return (*weight)->values.data();
}

template <typename T>
llvm::Expected<std::vector<T> *> Call<T>::getBuffer(Operation *op, Value value,
                                                    int64_t row) {
  Operation *symbol = resources.lookup(value);
  if (!symbol)
    return cannotInterpret(op, "a state or cache does not come from eff.use");
  if (rows.empty() || !rows[row].sequence)
    return cannotInterpret(op, "the call has no sequence for batch row " +
                                   llvm::Twine(row));
  auto &buffers = rows[row].sequence->buffers;
  auto found = buffers.find(SymbolTable::getSymbolName(symbol).str());
  bool fits = found != buffers.end();
  if (auto state = dyn_cast<eff::StateType>(value.getType()); fits && state)
    fits = int64_t(found->second.size()) == state.getNumElements();
  // What this call has appended to a cache comes on top of its past.
  if (auto cache = dyn_cast<eff::CacheType>(value.getType()); fits && cache)
    fits = int64_t(found->second.size()) >=
           getPast(row) * cache.getHeads() * cache.getHeadDim();
  if (!fits)
    return cannotInterpret(op, "the sequence belongs to another model");
  return &found->second;
}

template <typename T>
llvm::Error Call<T>::checkRows(Operation *op, int64_t batch,
                               int64_t tokens) const {
  if (rows.empty())
    return llvm::Error::success();
  if (int64_t(rows.size()) != batch)
    return cannotInterpret(op, "the call has " + llvm::Twine(rows.size()) +
                                   " rows, the op " + llvm::Twine(batch));
  for (int64_t row = 0; row < batch; ++row)
    if (getValid(row, tokens) > tokens)
      return cannotInterpret(op, "more tokens are valid than there are");
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

template <typename T> llvm::Error Call<T>::evaluateBlock(Block &block) {
  for (Operation &op : block.without_terminator())
    if (llvm::Error error = evaluateOp(op))
      return error;
  return llvm::Error::success();
}

/// Moves values to where others stand: all are read before the first is set.
template <typename T> void Call<T>::assign(ValueRange to, ValueRange from) {
  llvm::SmallVector<std::shared_ptr<Tensor<T>>> read;
  for (Value value : from)
    read.push_back(tensors.find(value)->second);
  for (auto [value, tensor] : llvm::zip(to, read))
    tensors[value] = tensor;
}

template <typename T> llvm::Error Call<T>::evaluateLoop(scf::WhileOp loop) {
  Block &before = loop.getBefore().front(), &after = loop.getAfter().front();
  assign(before.getArguments(), loop.getInits());
  while (true) {
    if (llvm::Error error = evaluateBlock(before))
      return error;
    auto condition = cast<scf::ConditionOp>(before.getTerminator());
    if (!(get(condition.getCondition()).integers[0] & 1)) {
      assign(loop.getResults(), condition.getArgs());
      return llvm::Error::success();
    }
    assign(after.getArguments(), condition.getArgs());
    if (llvm::Error error = evaluateBlock(after))
      return error;
    assign(before.getArguments(), after.getTerminator()->getOperands());
  }
}

template <typename T> llvm::Error Call<T>::evaluateOp(Operation &op) {
  return llvm::TypeSwitch<Operation *, llvm::Error>(&op)
      .Case([&](eff::UseOp use) -> llvm::Error {
        Operation *symbol = module.lookupSymbol(use.getSymbol());
        if (!symbol)
          return cannotInterpret(use, "the symbol is not in the module");
        resources[use.getResult()] = symbol;
        return llvm::Error::success();
      })
      .Case([&](func::CallOp callee) -> llvm::Error {
        auto function = module.lookupSymbol<func::FuncOp>(callee.getCallee());
        if (!function || function.isExternal())
          return cannotInterpret(callee, "the callee has no body");
        std::vector<Tensor<T>> inputs;
        for (Value operand : callee.getOperands()) {
          if (!tensors.count(operand))
            return cannotInterpret(callee, "an operand is not a tensor");
          inputs.push_back(get(operand));
        }
        Call<T> inner(module, weights, rows, allLogits);
        llvm::Expected<std::vector<Tensor<T>>> results =
            inner.run(function, std::move(inputs));
        if (!results)
          return results.takeError();
        for (auto [value, tensor] : llvm::zip(callee.getResults(), *results))
          set(value, std::move(tensor));
        return llvm::Error::success();
      })
      .Case([&](scf::WhileOp loop) { return evaluateLoop(loop); })
      .template Case<eff::AttentionOp, eff::CacheAppendOp, eff::PositionEmbedOp,
                     eff::RopeOp, eff::Conv2DOp, eff::DequantizeOp,
                     eff::EmbedOp, eff::HadamardOp, eff::LinearOp,
                     eff::QuantizeOp, eff::QuantizeStaticOp, eff::SampleOp,
                     eff::SelectRowsOp, eff::SplitOp, eff::TensorScaleOp,
                     eff::GatedNormOp, eff::LayerNormOp, eff::RmsNormOp,
                     eff::CausalConv1DOp, eff::SsdScanOp, eff::SsmScanOp,
                     eff::CollapseChannelsOp, eff::CollapsedScanOp,
                     eff::ExpandChannelsOp, eff::CrossMergeOp, eff::CrossScanOp,
                     eff::DepthwiseConv2DOp, eff::ReadOp, arith::ConstantOp>(
          [&](auto typed) { return evaluate(typed, *this); })
      .Case(
          [&](linalg::LinalgOp linalgOp) { return evaluate(linalgOp, *this); })
      .Default([&](Operation *other) {
        if (isa_and_nonnull<tensor::TensorDialect>(other->getDialect()))
          return evaluateTensorOp(other, *this);
        return evaluateElementwise(other, *this);
      });
}

template <typename T>
llvm::Expected<std::vector<Tensor<T>>>
Call<T>::run(func::FuncOp function, std::vector<Tensor<T>> inputs) {
  if (!llvm::hasSingleElement(function.getBody()))
    return cannotInterpret(function, "it has more than one block");
  for (auto [argument, input] : llvm::zip(function.getArguments(), inputs))
    set(argument, std::move(input));
  for (Operation &op : function.getBody().front()) {
    if (auto result = dyn_cast<func::ReturnOp>(op)) {
      std::vector<Tensor<T>> outputs;
      for (Value value : result.getOperands()) {
        if (!tensors.count(value))
          return cannotInterpret(result, "it returns what is not a tensor");
        outputs.push_back(get(value));
      }
      return outputs;
    }
    if (llvm::Error error = evaluateOp(op))
      return error;
  }
  return cannotInterpret(function, "it does not return");
}

template class Call<float>;
template class Call<double>;

} // namespace effc::reference
