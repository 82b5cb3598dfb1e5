//===- LinalgOps.cpp - structured ops as loops over their maps ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProductSums.h"
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

/// The operands x and w of a body `acc + x * w` on f32 or f64.
static std::optional<std::pair<unsigned, unsigned>> matchProductSum(Block &b) {
  auto sum =
      b.getTerminator()->getNumOperands() == 1
          ? b.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>()
          : arith::AddFOp();
  if (!sum || (!sum.getType().isF32() && !sum.getType().isF64()) ||
      b.getNumArguments() != 3 || b.getOperations().size() != 3)
    return std::nullopt;
  Value acc = b.getArgument(2);
  Value other = sum.getLhs() == acc ? sum.getRhs() : sum.getLhs();
  auto product = other.getDefiningOp<arith::MulFOp>();
  if (!product || (sum.getLhs() != acc && sum.getRhs() != acc))
    return std::nullopt;
  auto x = dyn_cast<BlockArgument>(product.getLhs()),
       w = dyn_cast<BlockArgument>(product.getRhs());
  if (!x || !w || x == acc || w == acc || x == w)
    return std::nullopt;
  return std::pair(x.getArgNumber(), w.getArgNumber());
}

/// Sums of products whose result and one factor have their last dimension in
/// common: rows of it at once, element by element the same sums in the same
/// order. False for all other ops.
template <typename T>
static bool evaluateProductSum(linalg::LinalgOp op, ArrayRef<int64_t> ranges,
                               ArrayRef<const Tensor<T> *> operands,
                               ArrayRef<Access> accesses, Tensor<T> &result) {
  auto factors = matchProductSum(*op.getBlock());
  if (!factors || llvm::is_contained(ranges, 0))
    return false;
  unsigned x = factors->first, w = factors->second;
  const Access &out = accesses[2];
  // The row: a loop over neighbours in the result.
  int64_t row = -1;
  for (unsigned loop = 0; loop < ranges.size(); ++loop)
    if (out.strides[loop] == 1 && ranges[loop] > 1)
      row = loop;
  if (row >= 0 && accesses[x].strides[row] == 0)
    std::swap(x, w);
  if (row < 0 || accesses[x].strides[row] < 1 || accesses[w].strides[row] != 0)
    return false;
  SmallVector<unsigned> kept, summed;
  for (unsigned loop = 0; loop < ranges.size(); ++loop)
    if (int64_t(loop) != row)
      (out.strides[loop] == 0 ? summed : kept).push_back(loop);

  // All points of the loops, as they come, with a place in each operand.
  struct Point {
    int64_t x, w, out;
  };
  auto points = [&](ArrayRef<unsigned> loops, Point start) {
    std::vector<Point> list{start};
    for (unsigned loop : loops) {
      std::vector<Point> finer;
      finer.reserve(list.size() * size_t(ranges[loop]));
      for (const Point &p : list)
        for (int64_t i = 0; i < ranges[loop]; ++i)
          finer.push_back({p.x + i * accesses[x].strides[loop],
                           p.w + i * accesses[w].strides[loop],
                           p.out + i * out.strides[loop]});
      list = std::move(finer);
    }
    return list;
  };
  ProductSum sum;
  sum.row = ranges[row];
  sum.stride = accesses[x].strides[row];
  for (const Point &p : points(summed, {0, 0, 0}))
    sum.steps.push_back({p.x, p.w});
  Point start{accesses[x].constant, accesses[w].constant, out.constant};
  for (const Point &p : points(kept, start))
    addProducts(result.floats.data() + p.out, operands[x]->floats.data() + p.x,
                operands[w]->floats.data() + p.w, sum);
  return true;
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
  if (inputs == 2 && outputs == 1 &&
      evaluateProductSum<T>(op, ranges, operands, accesses, results[0])) {
    call.set(op->getResult(0), std::move(results[0]));
    return llvm::Error::success();
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
