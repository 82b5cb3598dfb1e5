//===- Uniformity.cpp - what is equal along a dimension -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Uniformity.h"

#include "effc/Dialect/Eff/Eff.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;
using namespace effc::eff;

using Blocks = Uniformity::Blocks;

static ArrayRef<int64_t> shapeOf(Value value) {
  auto type = llvm::dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() ? type.getShape() : ArrayRef<int64_t>();
}

static Blocks varying(Value value) { return Blocks(shapeOf(value).size(), 1); }
static Blocks uniform(Value value) { return Blocks(shapeOf(value)); }

/// Constant where both are.
static Blocks meet(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  Blocks blocks;
  for (auto [x, y] : llvm::zip(a, b))
    blocks.push_back(std::gcd(x, y));
  return blocks;
}

static int64_t volume(ArrayRef<int64_t> blocks) {
  int64_t product = 1;
  for (int64_t block : blocks)
    product *= block;
  return product;
}

/// What one dimension of `block` is, cut into `sizes` (outermost first).
static void splitDim(int64_t block, ArrayRef<int64_t> sizes, Blocks &out) {
  size_t first = out.size();
  for (int64_t size : llvm::reverse(sizes)) {
    out.insert(out.begin() + first, std::gcd(block, size));
    block = block % size == 0 ? block / size : 1;
  }
}

/// What dimensions are as one: runs go on while the inner ones are whole.
static int64_t mergeDims(ArrayRef<int64_t> blocks, ArrayRef<int64_t> sizes) {
  int64_t merged = 1;
  for (auto [block, size] : llvm::reverse(llvm::zip_equal(blocks, sizes))) {
    merged *= block;
    if (block != size)
      break;
  }
  return merged;
}

/// How an op that only moves elements changes blocks; empty when it is none.
static Blocks moved(Operation *op, Value source, ArrayRef<int64_t> blocks) {
  ArrayRef<int64_t> from = shapeOf(source);
  Blocks out;
  return llvm::TypeSwitch<Operation *, Blocks>(op)
      .Case([&](tensor::ExpandShapeOp e) {
        ArrayRef<int64_t> to = shapeOf(e.getResult());
        for (auto [dim, group] : llvm::enumerate(e.getReassociationIndices()))
          splitDim(blocks[dim],
                   to.slice(group.empty() ? 0 : group.front(), group.size()),
                   out);
        return out;
      })
      .Case([&](tensor::CollapseShapeOp c) {
        for (const auto &group : c.getReassociationIndices())
          out.push_back(mergeDims(blocks.slice(group.front(), group.size()),
                                  from.slice(group.front(), group.size())));
        return out;
      })
      .Case([&](linalg::TransposeOp t) {
        for (int64_t dim : t.getPermutation())
          out.push_back(blocks[dim]);
        return out;
      })
      .Case([&](linalg::BroadcastOp b) {
        ArrayRef<int64_t> to = shapeOf(b->getResult(0));
        unsigned next = 0;
        for (int64_t dim = 0; dim < int64_t(to.size()); ++dim)
          out.push_back(llvm::is_contained(b.getDimensions(), dim)
                            ? to[dim]
                            : blocks[next++]);
        return out;
      })
      .Case([&](tensor::ExtractSliceOp s) {
        bool plain =
            llvm::none_of(s.getStaticOffsets(), ShapedType::isDynamic) &&
            llvm::all_of(s.getStaticStrides(),
                         [](int64_t x) { return x == 1; });
        if (!plain)
          return varying(s.getResult());
        llvm::SmallBitVector dropped = s.getDroppedDims();
        for (unsigned dim = 0; dim < from.size(); ++dim) {
          if (dropped.test(dim))
            continue;
          int64_t size = s.getStaticSizes()[dim];
          out.push_back(
              blocks[dim] == from[dim]
                  ? size
                  : std::gcd(std::gcd(blocks[dim], s.getStaticOffsets()[dim]),
                             size));
        }
        return out;
      })
      .Case([&](CrossScanOp) {
        // Pixels move unless all are equal.
        return Blocks{blocks[0], blocks[1] == from[1] ? from[1] : 1, blocks[2]};
      })
      .Case([&](CrossMergeOp m) {
        return Blocks{
            blocks[0], blocks[1] == from[1] ? from[1] : 1,
            std::gcd(blocks[2], from[2] / int64_t(m.getDirections()))};
      })
      .Default([&](Operation *) { return out; });
}

Uniformity::Uniformity(func::FuncOp function) {
  for (Operation &op : function.getBody().getOps())
    visit(&op);
}

Uniformity::State Uniformity::get(Value value) const {
  auto it = states.find(value);
  if (it != states.end())
    return it->second;
  return {varying(value), varying(value)};
}

Blocks Uniformity::getBlocks(Value value) const { return get(value).own; }
Blocks Uniformity::getAddend(Value value) const { return get(value).addend; }

Uniformity::Kind Uniformity::getKind(Value value, int64_t features) const {
  State state = get(value);
  if (state.own.empty())
    return Kind::Varying;
  if (state.own.back() % features == 0)
    return Kind::Uniform;
  return state.addend.back() % features == 0 ? Kind::Sum : Kind::Varying;
}

/// A linalg.generic that computes each element from those that its maps name.
static bool isParallel(linalg::GenericOp generic) {
  return generic.getNumResults() == 1 &&
         generic.getNumParallelLoops() == generic.getNumLoops() &&
         generic.getMatchingIndexingMap(generic.getDpsInitOperand(0))
             .isIdentity() &&
         generic.getBody()->getOps<linalg::IndexOp>().empty();
}

void Uniformity::visit(Operation *op) {
  auto set = [&](Value value, Blocks own, Blocks addend) {
    if (shapeOf(value).empty() || own.size() != shapeOf(value).size())
      return;
    if (addend.size() != own.size() || volume(addend) < volume(own))
      addend = own;
    states[value] = {std::move(own), std::move(addend)};
  };
  DenseElementsAttr constant;
  if (matchPattern(op, m_Constant(&constant)) && constant.isSplat())
    return set(op->getResult(0), uniform(op->getResult(0)), {});
  if (llvm::isa<linalg::FillOp>(op))
    return set(op->getResult(0), uniform(op->getResult(0)), {});
  if (auto split = llvm::dyn_cast<SplitOp>(op)) {
    State in = get(split.getInput());
    int64_t offset = 0, whole = shapeOf(split.getInput()).back();
    auto part = [&](Blocks blocks, int64_t size) {
      blocks.back() = blocks.back() == whole
                          ? size
                          : std::gcd(std::gcd(blocks.back(), offset), size);
      return blocks;
    };
    for (Value result : split.getResults()) {
      int64_t size = shapeOf(result).back();
      set(result, part(in.own, size), part(in.addend, size));
      offset += size;
    }
    return;
  }
  if (auto concat = llvm::dyn_cast<tensor::ConcatOp>(op)) {
    Blocks own = uniform(concat.getResult()), addend = own;
    for (Value input : concat.getInputs()) {
      State in = get(input);
      own = meet(own, in.own);
      addend = meet(addend, in.addend);
    }
    return set(concat.getResult(), own, addend);
  }
  if (auto expand = llvm::dyn_cast<ExpandChannelsOp>(op)) {
    State in = get(expand.getInput());
    int64_t width =
        shapeOf(expand.getResult()).back() / shapeOf(expand.getInput()).back();
    Blocks spread = in.own;
    spread.back() *= width;
    if (expand.getGate())
      return;
    return set(expand.getResult(),
               expand.getSkip() ? varying(expand.getResult()) : spread, spread);
  }
  if (auto scan = llvm::dyn_cast<CrossScanOp>(op)) {
    // Several directions follow each other; a block must not cross them.
    Blocks own, addend;
    for (Value input : scan.getInputs()) {
      State in = get(input);
      Blocks a = moved(op, input, in.own), b = moved(op, input, in.addend);
      own = own.empty() ? a : meet(own, a);
      addend = addend.empty() ? b : meet(addend, b);
    }
    return set(scan.getResult(), own, addend);
  }
  if (op->getNumResults() != 1 || shapeOf(op->getResult(0)).empty())
    return;
  Value result = op->getResult(0);
  if (op->getNumOperands() > 0 && !shapeOf(op->getOperand(0)).empty()) {
    Value source = op->getOperand(0);
    State in = get(source);
    Blocks own = moved(op, source, in.own);
    if (!own.empty())
      return set(result, own, moved(op, source, in.addend));
  }
  if (auto generic = llvm::dyn_cast<linalg::GenericOp>(op)) {
    if (!isParallel(generic))
      return;
    Blocks own = uniform(result);
    for (OpOperand *operand : generic.getDpsInputOperands()) {
      AffineMap map = generic.getMatchingIndexingMap(operand);
      State in = get(operand->get());
      for (auto [at, expr] : llvm::enumerate(map.getResults())) {
        if (auto dim = llvm::dyn_cast<AffineDimExpr>(expr))
          own[dim.getPosition()] = std::gcd(own[dim.getPosition()], in.own[at]);
        else if (!llvm::isa<AffineConstantExpr>(expr))
          return;
      }
    }
    return set(result, own, {});
  }
  bool isElementwise =
      llvm::isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) &&
      OpTrait::hasElementwiseMappableTraits(op);
  if (!isElementwise)
    return;
  Blocks own = uniform(result), addend;
  for (Value operand : op->getOperands()) {
    State in = get(operand);
    if (in.own.size() != own.size())
      return;
    own = meet(own, in.own);
  }
  // A sum has every addend of its terms; the one with the largest blocks is
  // kept.
  if (llvm::isa<arith::AddFOp, arith::SubFOp>(op))
    for (Value operand : op->getOperands()) {
      Blocks other = get(operand).addend;
      if (addend.empty() || volume(other) > volume(addend))
        addend = other;
    }
  set(result, own, addend);
}
