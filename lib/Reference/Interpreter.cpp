//===- Interpreter.cpp - the meaning of the eff dialect -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Reference/Interpreter.h"
#include "Call.h"
#include "effc/Support/Error.h"

using namespace mlir;

namespace effc::reference {

template <typename T>
Interpreter<T>::Interpreter(ModuleOp module)
    : module(module), weights(std::make_unique<Weights<T>>()) {}

template <typename T> Interpreter<T>::~Interpreter() = default;

template <typename T> Sequence<T> Interpreter<T>::createSequence() const {
  Sequence<T> sequence;
  Block *body = ModuleOp(module).getBody();
  for (auto op : body->getOps<eff::StateOp>()) {
    int64_t elements = cast<eff::StateType>(op.getType()).getNumElements();
    sequence.buffers[op.getSymName().str()].resize(elements);
  }
  for (auto op : body->getOps<eff::CacheOp>())
    sequence.buffers[op.getSymName().str()];
  return sequence;
}

namespace {
/// Restores the sequences of a call that fails: states from copies, caches by
/// forgetting what was appended.
template <typename T> class Transaction {
public:
  Transaction(ModuleOp module, ArrayRef<Row<T>> rows) : rows(rows) {
    for (const Row<T> &row : rows) {
      Saved &copy = saved.emplace_back();
      if (!row.sequence)
        continue;
      for (auto &[name, values] : row.sequence->buffers)
        if (isa_and_nonnull<eff::CacheOp>(module.lookupSymbol(name)))
          copy.lengths[name] = values.size();
        else
          copy.states[name] = values;
    }
  }

  void rollBack() {
    for (auto [row, copy] : llvm::zip(rows, saved)) {
      for (auto &[name, values] : copy.states)
        row.sequence->buffers[name] = values;
      for (auto &[name, length] : copy.lengths)
        row.sequence->buffers[name].resize(length);
    }
  }

private:
  struct Saved {
    std::map<std::string, std::vector<T>> states;
    std::map<std::string, size_t> lengths;
  };

  ArrayRef<Row<T>> rows;
  std::vector<Saved> saved;
};
} // namespace

/// Checks that inputs have the types of a function's arguments.
template <typename T>
static llvm::Error checkInputs(func::FuncOp function,
                               ArrayRef<Tensor<T>> inputs) {
  if (function.isExternal())
    return makeError(ErrorCode::CannotInterpret,
                     "function '" + function.getName() + "' has no body");
  if (inputs.size() != function.getNumArguments())
    return makeError(ErrorCode::BadInput,
                     "'" + function.getName() + "' takes " +
                         llvm::Twine(function.getNumArguments()) +
                         " inputs, got " + llvm::Twine(inputs.size()));
  for (auto [index, input] : llvm::enumerate(inputs)) {
    auto type =
        dyn_cast<RankedTensorType>(function.getArgument(index).getType());
    std::string what = "input " + std::to_string(index);
    if (!type)
      return makeError(ErrorCode::CannotInterpret, what + " of '" +
                                                       function.getName() +
                                                       "' is not a tensor");
    if (type.getShape() != ArrayRef<int64_t>(input.shape))
      return makeError(ErrorCode::BadInput, what + " has another shape than '" +
                                                function.getName() + "' takes");
    if (type.getElementType().isIntOrIndex() != input.isInteger)
      return makeError(ErrorCode::BadInput,
                       what +
                           (input.isInteger ? " has integers, floats"
                                            : " has floats, integers") +
                           " are needed");
    size_t held = input.isInteger ? input.integers.size() : input.floats.size();
    if (held != size_t(input.getNumElements()))
      return makeError(ErrorCode::BadInput,
                       what + " holds another number of elements than its "
                              "shape says");
  }
  return llvm::Error::success();
}

template <typename T>
llvm::Expected<std::vector<Tensor<T>>>
Interpreter<T>::run(func::FuncOp function, ArrayRef<Tensor<T>> inputs,
                    ArrayRef<Row<T>> rows, bool allLogits) {
  if (llvm::Error error = checkInputs(function, inputs))
    return error;
  Transaction<T> transaction(module, rows);
  Call<T> call(module, *weights, rows, allLogits);
  llvm::Expected<std::vector<Tensor<T>>> outputs =
      call.run(function, std::vector<Tensor<T>>(inputs.begin(), inputs.end()));
  if (!outputs) {
    transaction.rollBack();
    return outputs.takeError();
  }
  auto entry =
      function->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr);
  for (const Row<T> &row : rows)
    if (row.sequence && (row.valid >= 0 || entry))
      row.sequence->length += row.valid >= 0 ? row.valid : entry.getTokens();
  return outputs;
}

template <typename T>
llvm::Expected<std::vector<Tensor<T>>>
Interpreter<T>::run(StringRef function, ArrayRef<Tensor<T>> inputs,
                    ArrayRef<Row<T>> rows, bool allLogits) {
  auto op = module.lookupSymbol<func::FuncOp>(function);
  if (!op)
    return makeError(ErrorCode::CannotInterpret,
                     "the module has no function '" + function + "'");
  return run(op, inputs, rows, allLogits);
}

template class Interpreter<float>;
template class Interpreter<double>;

} // namespace effc::reference
