//===- BlockReductions.cpp - reductions in blocks of registers ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Convolutions, products and other reductions whose result has a last
/// dimension that their operands have last too, or not at all. A block of the
/// result, some rows of one vector each, stays in registers while all reduced
/// loops run; a vector that is read serves each row.
///
/// ```
/// for rows, columns of the result:
///   acc[rows] = result[rows, columns]
///   for reduced loops:
///     acc[r] = body(scalar of row r, vector, acc[r])   for each row r
///   result[rows, columns] = acc[rows]
/// ```
///
//===----------------------------------------------------------------------===//

#include "LowerGeneric.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace effc;

namespace {
/// Elements of a vector: one register of f32 where AVX-512 is at hand.
constexpr int64_t kLanes = 16;
/// Narrower results are left to the other form.
constexpr int64_t kFewestLanes = 4;
/// Rows of a block. Eight of them hide the latency of a product and sum; where
/// what is left of a row takes a second form of the code, half of them keep it
/// small.
constexpr int64_t kMostRows = 8;
/// Between elements of a vector in memory; each is read with its neighbours.
constexpr int64_t kMostStride = 4;
/// What the second cache holds beside other things.
constexpr int64_t kCachedBytes = 256 << 10;

/// How an operand is read.
struct Access {
  AffineMap map;
  /// Step of the last index from lane to lane; 0: the same element for all.
  int64_t stride = 0;
  bool readsRow = false;
};

class BlockedReduction {
public:
  /// Fails when the op has another form.
  static FailureOr<BlockedReduction> of(linalg::GenericOp op);
  /// Code for an op on buffers.
  void emit(OpBuilder &b) { emitLoops(b, 0); }

private:
  explicit BlockedReduction(linalg::GenericOp op) : op(op), loc(op.getLoc()) {}

  void emitLoops(OpBuilder &b, unsigned next);
  void emitColumns(OpBuilder &b);
  void emitRows(OpBuilder &b, int64_t lanes);
  void emitBlock(OpBuilder &b, int64_t lanes);
  SmallVector<Value> emitReduced(OpBuilder &b, unsigned next, int64_t lanes,
                                 ArrayRef<Value> sums);
  SmallVector<Value> emitBody(OpBuilder &b, int64_t lanes,
                              ArrayRef<Value> sums);
  Value emitRow(OpBuilder &b, IRMapping &values, int64_t lanes);
  Value readOperand(OpBuilder &b, unsigned operand, int64_t lanes);
  SmallVector<Value> indicesOf(OpBuilder &b, AffineMap map);
  Value index(OpBuilder &b, int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }
  /// A loop over a dimension; builds in its body.
  OpBuilder enter(OpBuilder &b, unsigned dim, int64_t to, int64_t step) {
    auto over =
        scf::ForOp::create(b, loc, index(b, 0), index(b, to), index(b, step));
    at[dim] = over.getInductionVar();
    return OpBuilder::atBlockTerminator(over.getBody());
  }

  linalg::GenericOp op;
  Location loc;
  SmallVector<int64_t> ranges;
  SmallVector<Access> inputs;
  AffineMap output;
  /// Loops of the result but for `row` and `column`, outermost first; then the
  /// reduced ones.
  SmallVector<unsigned> outer, reduced;
  unsigned column = 0;
  std::optional<unsigned> row;
  int64_t rows = 1;
  /// Index of each loop in the code so far.
  SmallVector<Value> at;
  /// The row within a block that is emitted.
  int64_t rowInBlock = 0;
};
} // namespace

/// The factor of a dimension in an expression; nullopt when it is not linear.
static std::optional<int64_t> factorOf(AffineExpr expr, unsigned dim) {
  if (!expr.isFunctionOfDim(dim))
    return 0;
  if (isa<AffineDimExpr>(expr))
    return 1;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return std::nullopt;
  std::optional<int64_t> left = factorOf(binary.getLHS(), dim);
  if (expr.getKind() == AffineExprKind::Add) {
    std::optional<int64_t> right = factorOf(binary.getRHS(), dim);
    return left && right ? std::optional(*left + *right) : std::nullopt;
  }
  auto constant = dyn_cast<AffineConstantExpr>(binary.getRHS());
  if (expr.getKind() != AffineExprKind::Mul || !constant || !left)
    return std::nullopt;
  return *left * constant.getValue();
}

/// How lanes along `column` read an operand; nullopt when not along its last
/// dimension.
static std::optional<Access> accessOf(AffineMap map, unsigned column) {
  Access access{map};
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    std::optional<int64_t> factor = factorOf(expr, column);
    if (!factor || (*factor != 0 && i + 1 != map.getNumResults()))
      return std::nullopt;
    access.stride = *factor;
  }
  if (access.stride < 0 || access.stride > kMostStride)
    return std::nullopt;
  return access;
}

/// Whether the ops of a body have forms on vectors, and the operands. Vectors
/// of integers below a byte lie packed in memory, buffers of them do not.
static bool hasVectorForm(linalg::GenericOp op) {
  for (Type type : op->getOperandTypes())
    if (Type element = getElementTypeOrSelf(type);
        element.isInteger() && element.getIntOrFloatBitWidth() < 8)
      return false;
  Block &body = *op.getBody();
  return llvm::all_of(body.without_terminator(), [](Operation &inner) {
    return inner.getNumRegions() == 0 && inner.getNumResults() == 1 &&
           (isa<arith::ConstantOp>(inner) ||
            OpTrait::hasElementwiseMappableTraits(&inner));
  });
}

static int64_t bytesOf(Value operand) {
  auto type = cast<ShapedType>(operand.getType());
  return type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8);
}

FailureOr<BlockedReduction> BlockedReduction::of(linalg::GenericOp op) {
  BlockedReduction block(op);
  block.ranges = op.getStaticLoopRanges();
  if (op.getNumDpsInits() != 1 || !hasVectorForm(op) ||
      llvm::is_contained(block.ranges, 0))
    return failure();
  block.output = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  if (!block.output.isProjectedPermutation() ||
      block.output.getNumResults() == 0)
    return failure();
  block.column = block.output.getDimPosition(block.output.getNumResults() - 1);
  for (auto [loop, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    if (kind == utils::IteratorType::reduction)
      block.reduced.push_back(loop);
  bool allOfResult = block.output.getNumResults() + block.reduced.size() ==
                     block.ranges.size();
  if (block.reduced.empty() || !allOfResult ||
      block.ranges[block.column] < kFewestLanes)
    return failure();
  for (OpOperand *operand : op.getDpsInputOperands()) {
    if (!isa<ShapedType>(operand->get().getType()))
      return failure();
    std::optional<Access> access =
        accessOf(op.getMatchingIndexingMap(operand), block.column);
    if (!access)
      return failure();
    block.inputs.push_back(*access);
  }
  // Rows: a loop of the result that no vector depends on, else any.
  bool rowShares = false;
  for (unsigned i = block.output.getNumResults() - 1; i-- > 0;) {
    unsigned loop = block.output.getDimPosition(i);
    bool shares = llvm::none_of(block.inputs, [&](const Access &access) {
      return access.stride != 0 && access.map.isFunctionOfDim(loop);
    });
    if (block.ranges[loop] > 1 && (!block.row || (shares && !rowShares))) {
      block.row = loop;
      rowShares = shares;
    }
  }
  int64_t size = block.ranges[block.column];
  bool twice = size > kLanes && size % kLanes != 0;
  if (block.row)
    for (int64_t rows = 2; rows <= (twice ? kMostRows / 2 : kMostRows); ++rows)
      if (block.ranges[*block.row] % rows == 0)
        block.rows = rows;
  int64_t rowBytes = 0;
  for (auto [i, access] : llvm::enumerate(block.inputs)) {
    access.readsRow = block.row && access.map.isFunctionOfDim(*block.row);
    if (access.readsRow)
      rowBytes += bytesOf(op.getDpsInputs()[i]);
  }
  // All rows of a column after another while what they read stays in the
  // cache; else a block of rows for all columns.
  for (AffineExpr expr : block.output.getResults()) {
    unsigned loop = cast<AffineDimExpr>(expr).getPosition();
    if (loop != block.column && loop != block.row)
      block.outer.push_back(loop);
    if (block.row && loop == *block.row && rowBytes > kCachedBytes)
      block.outer.push_back(loop);
  }
  block.at.resize(block.ranges.size());
  return block;
}

SmallVector<Value> BlockedReduction::indicesOf(OpBuilder &b, AffineMap map) {
  SmallVector<Value> values(at);
  if (row && rowInBlock > 0 && map.isFunctionOfDim(*row))
    values[*row] =
        arith::AddIOp::create(b, loc, values[*row], index(b, rowInBlock));
  SmallVector<Value> indices;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      indices.push_back(values[dim.getPosition()]);
    else if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      indices.push_back(index(b, constant.getValue()));
    else
      indices.push_back(affine::AffineApplyOp::create(
          b, loc, AffineMap::get(map.getNumDims(), 0, expr), values));
  }
  return indices;
}

/// Elements that lie one after another along the last dimension.
static Value readVector(OpBuilder &b, Location loc, Value buffer,
                        ArrayRef<Value> indices, int64_t lanes) {
  auto type = cast<MemRefType>(buffer.getType());
  auto vector = VectorType::get({lanes}, type.getElementType());
  if (type.isLastDimUnitStride())
    return vector::LoadOp::create(b, loc, vector, buffer, indices);
  SmallVector<Value> elements;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    SmallVector<Value> at(indices);
    at.back() = arith::AddIOp::create(
        b, loc, at.back(), arith::ConstantIndexOp::create(b, loc, lane));
    elements.push_back(memref::LoadOp::create(b, loc, buffer, at));
  }
  return vector::FromElementsOp::create(b, loc, vector, elements);
}

/// An operand at the present indices: one element, or one for each lane.
Value BlockedReduction::readOperand(OpBuilder &b, unsigned operand,
                                    int64_t lanes) {
  const Access &access = inputs[operand];
  Value buffer = op.getDpsInputs()[operand];
  SmallVector<Value> indices = indicesOf(b, access.map);
  if (access.stride == 0)
    return memref::LoadOp::create(b, loc, buffer, indices);
  if (access.stride == 1)
    return readVector(b, loc, buffer, indices, lanes);
  int64_t read = (lanes - 1) * access.stride + 1;
  Value wide = readVector(b, loc, buffer, indices, read);
  SmallVector<int64_t> mask;
  for (int64_t lane = 0; lane < lanes; ++lane)
    mask.push_back(lane * access.stride);
  return vector::ShuffleOp::create(b, loc, wide, wide, mask);
}

static Value asVector(OpBuilder &b, Location loc, Value value, int64_t lanes) {
  if (isa<VectorType>(value.getType()))
    return value;
  return vector::BroadcastOp::create(
      b, loc, VectorType::get({lanes}, value.getType()), value);
}

/// The body for values of its arguments; what depends on no vector stays
/// scalar.
Value BlockedReduction::emitRow(OpBuilder &b, IRMapping &values,
                                int64_t lanes) {
  Block &body = *op.getBody();
  for (Operation &inner : body.without_terminator()) {
    SmallVector<Value> operands;
    for (Value operand : inner.getOperands())
      operands.push_back(values.lookupOrDefault(operand));
    bool isVector = llvm::any_of(
        operands, [](Value value) { return isa<VectorType>(value.getType()); });
    if (!isVector) {
      b.clone(inner, values);
      continue;
    }
    for (Value &operand : operands)
      operand = asVector(b, loc, operand, lanes);
    OperationState state(loc, inner.getName(), operands,
                         VectorType::get({lanes}, inner.getResult(0).getType()),
                         inner.getAttrs());
    values.map(inner.getResult(0), b.create(state)->getResult(0));
  }
  Value yielded = body.getTerminator()->getOperand(0);
  return asVector(b, loc, values.lookupOrDefault(yielded), lanes);
}

SmallVector<Value> BlockedReduction::emitBody(OpBuilder &b, int64_t lanes,
                                              ArrayRef<Value> sums) {
  SmallVector<Value> shared(inputs.size()), next;
  for (auto [i, access] : llvm::enumerate(inputs))
    if (!access.readsRow)
      shared[i] = readOperand(b, i, lanes);
  for (auto [r, sum] : llvm::enumerate(sums)) {
    rowInBlock = int64_t(r);
    IRMapping values;
    for (unsigned i = 0; i < inputs.size(); ++i)
      values.map(op.getBody()->getArgument(i),
                 shared[i] ? shared[i] : readOperand(b, i, lanes));
    values.map(op.getBody()->getArguments().back(), sum);
    next.push_back(emitRow(b, values, lanes));
  }
  rowInBlock = 0;
  return next;
}

SmallVector<Value> BlockedReduction::emitReduced(OpBuilder &b, unsigned next,
                                                 int64_t lanes,
                                                 ArrayRef<Value> sums) {
  if (next == reduced.size())
    return emitBody(b, lanes, sums);
  auto over = scf::ForOp::create(
      b, loc, index(b, 0), index(b, ranges[reduced[next]]), index(b, 1), sums);
  OpBuilder inner = OpBuilder::atBlockBegin(over.getBody());
  at[reduced[next]] = over.getInductionVar();
  SmallVector<Value> carried(over.getRegionIterArgs());
  scf::YieldOp::create(inner, loc,
                       emitReduced(inner, next + 1, lanes, carried));
  return SmallVector<Value>(over.getResults());
}

/// Reads a block of the result, sums up, writes it.
void BlockedReduction::emitBlock(OpBuilder &b, int64_t lanes) {
  Value result = op.getDpsInits()[0];
  SmallVector<Value> sums;
  for (rowInBlock = 0; rowInBlock < rows; ++rowInBlock)
    sums.push_back(readVector(b, loc, result, indicesOf(b, output), lanes));
  rowInBlock = 0;
  sums = emitReduced(b, 0, lanes, sums);
  for (rowInBlock = 0; rowInBlock < rows; ++rowInBlock)
    vector::StoreOp::create(b, loc, sums[rowInBlock], result,
                            indicesOf(b, output));
  rowInBlock = 0;
}

void BlockedReduction::emitRows(OpBuilder &b, int64_t lanes) {
  if (!row || llvm::is_contained(outer, *row))
    return emitBlock(b, lanes);
  OpBuilder inner = enter(b, *row, ranges[*row], rows);
  emitBlock(inner, lanes);
}

/// Full vectors, then one of what is left.
void BlockedReduction::emitColumns(OpBuilder &b) {
  int64_t size = ranges[column], whole = size / kLanes * kLanes;
  if (whole > 0) {
    OpBuilder inner = enter(b, column, whole, kLanes);
    emitRows(inner, kLanes);
  }
  if (whole < size) {
    at[column] = index(b, whole);
    emitRows(b, size - whole);
  }
}

void BlockedReduction::emitLoops(OpBuilder &b, unsigned next) {
  if (next == outer.size())
    return emitColumns(b);
  unsigned dim = outer[next];
  OpBuilder inner = enter(b, dim, ranges[dim], row && dim == *row ? rows : 1);
  emitLoops(inner, next + 1);
}

namespace {
class BlockReductionsPass
    : public PassWrapper<BlockReductionsPass, OperationPass<func::FuncOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(BlockReductionsPass)
  llvm::StringRef getArgument() const final {
    return "generic-block-reductions";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<affine::AffineDialect, memref::MemRefDialect,
                    scf::SCFDialect, vector::VectorDialect>();
  }
  void runOnOperation() override {
    SmallVector<linalg::GenericOp> ops;
    getOperation().walk([&](linalg::GenericOp op) {
      if (op.hasPureBufferSemantics())
        ops.push_back(op);
    });
    for (linalg::GenericOp op : ops) {
      FailureOr<BlockedReduction> block = BlockedReduction::of(op);
      if (failed(block))
        continue;
      OpBuilder builder(op);
      block->emit(builder);
      op.erase();
    }
  }
};
} // namespace

bool effc::isBlockReduction(linalg::LinalgOp op) {
  auto generic = dyn_cast<linalg::GenericOp>(op.getOperation());
  return generic && succeeded(BlockedReduction::of(generic));
}

std::unique_ptr<Pass> effc::createBlockReductionsPass() {
  return std::make_unique<BlockReductionsPass>();
}
