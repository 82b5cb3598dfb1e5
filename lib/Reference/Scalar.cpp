//===- Scalar.cpp - scalar code of the reference interpreter --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Scalar.h"
#include "effc/Dialect/Eff/Rounding.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace effc::reference {

/// Rounds to a float type of at most 8 bits.
template <typename T>
static void roundSmall(const Instruction<T> &i, Scalar<T> *r) {
  APFloat value{double(r[i.result].f)};
  bool losesInfo = false;
  value.convert(APFloat::EnumToSemantics(APFloat::Semantics(i.detail)),
                APFloat::rmNearestTiesToEven, &losesInfo);
  r[i.result].f = T(value.convertToDouble());
}

/// An instruction that rounds a register to a float type of at most 16 bits, in
/// place.
template <typename T>
static std::optional<Instruction<T>> makeRounding(Type type, unsigned number) {
  type = getElementTypeOrSelf(type);
  Instruction<T> instruction;
  instruction.result = number;
  if (type.isBF16())
    instruction.apply = [](const Instruction<T> &i, Scalar<T> *r) {
      r[i.result].f = eff::fromBF16(eff::toBF16(float(r[i.result].f)));
    };
  else if (type.isF16())
    instruction.apply = [](const Instruction<T> &i, Scalar<T> *r) {
      r[i.result].f = eff::fromF16(eff::toF16(float(r[i.result].f)));
    };
  else if (auto small = dyn_cast<FloatType>(type);
           small && small.getWidth() <= 8) {
    instruction.apply = roundSmall<T>;
    instruction.detail = APFloat::SemanticsToEnum(small.getFloatSemantics());
  } else
    return std::nullopt;
  return instruction;
}

/// `tensor[indices..]`; an index outside is an error of the program, which
/// reads the nearest element.
template <typename T>
static void extract(const Instruction<T> &i, Scalar<T> *r) {
  int64_t offset = 0;
  for (auto [dimension, operand] : llvm::zip(i.tensor->shape, i.operands)) {
    int64_t index = std::max<int64_t>(r[operand].i, 0);
    offset = offset * dimension + std::min(index, dimension - 1);
  }
  if (i.tensor->isInteger)
    r[i.result].i = i.tensor->integers[offset];
  else
    r[i.result].f = i.tensor->floats[offset];
}

template <typename T>
llvm::Expected<unsigned> Program<T>::getRegister(Operation *user, Value value,
                                                 Call<T> &call) {
  auto found = numbers.find(value);
  if (found != numbers.end())
    return found->second;
  // A scalar from outside keeps its value while the program runs.
  if (isa<ShapedType>(value.getType()) ||
      !value.getType().isIntOrIndexOrFloat())
    return cannotInterpret(user, "an operand is not a scalar");
  const Tensor<T> &scalar = call.get(value);
  unsigned number = registers.size();
  Scalar<T> &entry = registers.emplace_back();
  if (scalar.isInteger)
    entry.i = scalar.integers[0];
  else
    entry.f = scalar.floats[0];
  numbers[value] = number;
  return number;
}

template <typename T>
llvm::Error Program<T>::add(Operation *op, Call<T> &call) {
  if (op->getNumResults() != 1)
    return cannotInterpret(op, "it has not one result");
  Value result = op->getResult(0);
  if (auto index = dyn_cast<linalg::IndexOp>(op)) {
    numbers[result] = firstLoop + index.getDim();
    return llvm::Error::success();
  }
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    if (llvm::Error error = evaluate(constant, call))
      return error;
    return getRegister(op, result, call).takeError();
  }
  Instruction<T> instruction;
  ValueRange operands = op->getOperands();
  if (auto extractOp = dyn_cast<tensor::ExtractOp>(op)) {
    instruction.apply = extract<T>;
    instruction.tensor = &call.get(extractOp.getTensor());
    if (instruction.tensor->getNumElements() == 0)
      return cannotInterpret(op, "the tensor is empty");
    operands = extractOp.getIndices();
  } else if (!selectInstruction(op, instruction)) {
    return cannotInterpret(op, "the reference interpreter does not know it");
  }
  for (Value operand : operands) {
    llvm::Expected<unsigned> number = getRegister(op, operand, call);
    if (!number)
      return number.takeError();
    instruction.operands.push_back(*number);
  }
  instruction.result = registers.size();
  numbers[result] = instruction.result;
  registers.emplace_back();
  std::optional<Instruction<T>> rounding =
      makeRounding<T>(result.getType(), instruction.result);
  instructions.push_back(std::move(instruction));
  if (rounding)
    instructions.push_back(std::move(*rounding));
  return llvm::Error::success();
}

template <typename T>
llvm::Expected<Program<T>> Program<T>::compile(Block &block, unsigned loops,
                                               Call<T> &call) {
  Program program;
  program.firstLoop = block.getNumArguments();
  program.registers.resize(block.getNumArguments() + loops);
  for (BlockArgument argument : block.getArguments())
    program.numbers[argument] = argument.getArgNumber();
  for (Operation &op : block.without_terminator())
    if (llvm::Error error = program.add(&op, call))
      return error;
  Operation *terminator = block.getTerminator();
  for (Value value : terminator->getOperands()) {
    llvm::Expected<unsigned> number =
        program.getRegister(terminator, value, call);
    if (!number)
      return number.takeError();
    program.results.push_back(*number);
  }
  return program;
}

template <typename T>
llvm::Expected<Program<T>> Program<T>::compile(Operation *op) {
  Program program;
  program.registers.resize(op->getNumOperands());
  Instruction<T> instruction;
  if (op->getNumResults() != 1 || op->getNumOperands() == 0 ||
      !selectInstruction(op, instruction))
    return cannotInterpret(op, "the reference interpreter does not know it");
  for (unsigned i = 0; i < op->getNumOperands(); ++i)
    instruction.operands.push_back(i);
  instruction.result = program.registers.size();
  program.registers.emplace_back();
  program.results.push_back(instruction.result);
  std::optional<Instruction<T>> rounding =
      makeRounding<T>(op->getResult(0).getType(), instruction.result);
  program.instructions.push_back(std::move(instruction));
  if (rounding)
    program.instructions.push_back(std::move(*rounding));
  return program;
}

template class Program<float>;
template class Program<double>;

//===----------------------------------------------------------------------===//
// arith and math ops on scalars and tensors
//===----------------------------------------------------------------------===//

template <typename T>
llvm::Error evaluateElementwise(Operation *op, Call<T> &call) {
  llvm::Expected<Program<T>> program = Program<T>::compile(op);
  if (!program)
    return program.takeError();
  Type type = op->getResult(0).getType();
  ArrayRef<int64_t> shape;
  if (auto tensor = dyn_cast<RankedTensorType>(type)) {
    if (!tensor.hasStaticShape())
      return cannotInterpret(op, "its shape is not static");
    shape = tensor.getShape();
  }
  Tensor<T> result(shape, getElementTypeOrSelf(type).isIntOrIndex());
  llvm::SmallVector<const Tensor<T> *, 3> operands;
  for (Value operand : op->getOperands()) {
    operands.push_back(&call.get(operand));
    if (operands.back()->definedRows >= 0)
      result.definedRows = operands.back()->definedRows;
  }
  int64_t count = result.getDefinedRows() * result.getColumns();
  for (int64_t element = 0; element < count; ++element) {
    for (auto [index, operand] : llvm::enumerate(operands)) {
      // A scalar beside tensors: the condition of arith.select.
      int64_t at = operand->shape.empty() ? 0 : element;
      if (operand->isInteger)
        program->argument(index).i = operand->integers[at];
      else
        program->argument(index).f = operand->floats[at];
    }
    program->run();
    if (result.isInteger)
      result.integers[element] = program->yielded(0).i;
    else
      result.floats[element] = program->yielded(0).f;
  }
  call.set(op->getResult(0), std::move(result));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluateElementwise, Operation *)

} // namespace effc::reference
