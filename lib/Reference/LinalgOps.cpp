//===- LinalgOps.cpp - structured ops as loops over their maps ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Scalar.h"

using namespace mlir;

namespace effc::reference {

namespace {
/// A row-major offset as a linear function of the loops' indices.
struct Access {
  llvm::SmallVector<int64_t, 6> strides;
  int64_t constant = 0;
  /// Value at the current indices.
  int64_t offset = 0;
};
} // namespace

/// Adds `factor * expr` to an access; false unless the expression is linear.
static bool addLinear(AffineExpr expr, int64_t factor, Access &access) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    access.constant += factor * constant.getValue();
    return true;
  }
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    access.strides[dim.getPosition()] += factor;
    return true;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return false;
  if (expr.getKind() == AffineExprKind::Add)
    return addLinear(binary.getLHS(), factor, access) &&
           addLinear(binary.getRHS(), factor, access);
  auto multiplier = dyn_cast<AffineConstantExpr>(binary.getRHS());
  return expr.getKind() == AffineExprKind::Mul && multiplier &&
         addLinear(binary.getLHS(), factor * multiplier.getValue(), access);
}

static std::optional<Access> getAccess(AffineMap map, ArrayRef<int64_t> shape) {
  Access access;
  access.strides.assign(map.getNumDims(), 0);
  int64_t stride = 1;
  for (unsigned i = map.getNumResults(); i-- > 0;) {
    if (!addLinear(map.getResult(i), stride, access))
      return std::nullopt;
    stride *= shape[i];
  }
  access.offset = access.constant;
  return access;
}

template <typename T> llvm::Error evaluate(linalg::LinalgOp op, Call<T> &call) {
  llvm::SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  if (!op.hasPureTensorSemantics() ||
      llvm::is_contained(ranges, ShapedType::kDynamic))
    return cannotInterpret(op, "it is not on tensors of static shape");
  unsigned inputs = op.getNumDpsInputs(), outputs = op.getNumDpsInits();

  std::vector<const Tensor<T> *> operands;
  for (OpOperand &operand : op->getOpOperands())
    operands.push_back(&call.get(operand.get()));
  std::vector<Tensor<T>> results;
  for (unsigned i = 0; i < outputs; ++i)
    results.push_back(*operands[inputs + i]);
  for (unsigned i = 0; i < outputs; ++i)
    operands[inputs + i] = &results[i];

  std::vector<Access> accesses;
  for (auto [index, map] : llvm::enumerate(op.getIndexingMapsArray())) {
    std::optional<Access> access = getAccess(map, operands[index]->shape);
    if (!access)
      return cannotInterpret(op, "an indexing map is not linear");
    accesses.push_back(*access);
  }
  llvm::Expected<Program<T>> program =
      Program<T>::compile(*op.getBlock(), ranges.size(), call);
  if (!program)
    return program.takeError();

  llvm::SmallVector<int64_t, 6> indices(ranges.size(), 0);
  bool done = llvm::is_contained(ranges, 0);
  while (!done) {
    for (unsigned i = 0; i < operands.size(); ++i)
      if (operands[i]->isInteger)
        program->argument(i).i = operands[i]->integers[accesses[i].offset];
      else
        program->argument(i).f = operands[i]->floats[accesses[i].offset];
    for (unsigned loop = 0; loop < indices.size(); ++loop)
      program->loop(loop).i = indices[loop];
    program->run();
    for (unsigned i = 0; i < outputs; ++i)
      if (results[i].isInteger)
        results[i].integers[accesses[inputs + i].offset] =
            program->yielded(i).i;
      else
        results[i].floats[accesses[inputs + i].offset] = program->yielded(i).f;
    // The next point, the last loop fastest.
    done = true;
    for (unsigned loop = indices.size(); loop-- > 0;) {
      bool carry = indices[loop] + 1 == ranges[loop];
      int64_t step = carry ? -indices[loop] : 1;
      indices[loop] += step;
      for (Access &access : accesses)
        access.offset += step * access.strides[loop];
      if (!carry) {
        done = false;
        break;
      }
    }
  }
  for (auto [value, tensor] : llvm::zip(op->getResults(), results))
    call.set(value, std::move(tensor));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, linalg::LinalgOp)

} // namespace effc::reference
