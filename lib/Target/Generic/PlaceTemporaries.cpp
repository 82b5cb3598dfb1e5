//===- PlaceTemporaries.cpp - one buffer for all temporaries --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "LowerGeneric.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace effc;

namespace {
constexpr int64_t kAlign = 64;

/// A temporary, its extent and when it is in use: by numbers of the ops of the
/// function's block.
struct Temporary {
  memref::AllocOp alloc;
  int64_t bytes, first, last, number;
  int64_t offset = 0;
};

class PlaceTemporariesPass
    : public PassWrapper<PlaceTemporariesPass, OperationPass<func::FuncOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PlaceTemporariesPass)
  llvm::StringRef getArgument() const final {
    return "generic-place-temporaries";
  }
  void runOnOperation() override;
};
} // namespace

/// Number of the last op of the function's block that uses a buffer, through
/// views as well.
static int64_t getLastUse(Value buffer, Block &block,
                          llvm::DenseMap<Operation *, int64_t> &numbers) {
  int64_t last = 0;
  llvm::SmallVector<Value> work = {buffer};
  llvm::SmallPtrSet<Operation *, 4> seen;
  while (!work.empty()) {
    Value value = work.pop_back_val();
    for (Operation *user : value.getUsers()) {
      Operation *holder = block.findAncestorOpInBlock(*user);
      last = std::max(last, numbers[holder]);
      if (llvm::isa<ViewLikeOpInterface>(user))
        work.append(user->result_begin(), user->result_end());
      // A loop may give out the buffers that it takes.
      if (holder->getNumRegions() > 0 && seen.insert(holder).second)
        work.append(holder->result_begin(), holder->result_end());
    }
  }
  return last;
}

/// Lowest free offsets, largest temporary first.
static int64_t place(llvm::MutableArrayRef<Temporary> temporaries) {
  llvm::sort(temporaries, [](const Temporary &a, const Temporary &b) {
    return std::tie(b.bytes, a.number) < std::tie(a.bytes, b.number);
  });
  int64_t total = 0;
  for (size_t i = 0; i < temporaries.size(); ++i) {
    Temporary &temporary = temporaries[i];
    bool moved = true;
    while (moved) {
      moved = false;
      for (size_t j = 0; j < i; ++j) {
        const Temporary &other = temporaries[j];
        bool meet = temporary.first <= other.last &&
                    other.first <= temporary.last &&
                    temporary.offset < other.offset + other.bytes &&
                    other.offset < temporary.offset + temporary.bytes;
        if (!meet)
          continue;
        temporary.offset = other.offset + other.bytes;
        moved = true;
      }
    }
    total = std::max(total, temporary.offset + temporary.bytes);
  }
  return total;
}

/// A temporary that is copied to a result at the end can be the result.
static void computeInPlace(Block &block) {
  for (auto copy : llvm::make_early_inc_range(block.getOps<memref::CopyOp>())) {
    auto alloc = copy.getSource().getDefiningOp<memref::AllocOp>();
    auto result = llvm::dyn_cast<BlockArgument>(copy.getTarget());
    if (!alloc || !result || !result.hasOneUse() ||
        alloc->getBlock() != &block || alloc.getType() != result.getType())
      continue;
    copy.erase();
    alloc.replaceAllUsesWith(Value(result));
    alloc.erase();
  }
}

void PlaceTemporariesPass::runOnOperation() {
  func::FuncOp func = getOperation();
  Block &block = func.front();
  computeInPlace(block);
  llvm::DenseMap<Operation *, int64_t> numbers;
  for (Operation &op : block)
    numbers[&op] = numbers.size();
  llvm::SmallVector<Temporary> temporaries;
  WalkResult walked = func.walk([&](memref::AllocOp alloc) {
    MemRefType type = alloc.getType();
    if (!type.hasStaticShape() || !type.getLayout().isIdentity()) {
      alloc.emitError("a temporary has no static shape");
      return WalkResult::interrupt();
    }
    int64_t element = llvm::divideCeil(
        type.getElementType().isIndex() ? 64 : type.getElementTypeBitWidth(),
        8);
    Operation *holder = block.findAncestorOpInBlock(*alloc);
    // A temporary of a loop's body is in use in all of the loop, and behind it
    // as long as a result is.
    int64_t last = getLastUse(alloc, block, numbers);
    if (holder != alloc.getOperation()) {
      last = numbers[holder];
      for (Value result : holder->getResults())
        last = std::max(last, getLastUse(result, block, numbers));
    }
    temporaries.push_back(
        {alloc,
         static_cast<int64_t>(
             llvm::alignTo(type.getNumElements() * element, kAlign)),
         numbers[holder], last, static_cast<int64_t>(temporaries.size())});
    return WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return signalPassFailure();
  int64_t scratch = place(temporaries);
  OpBuilder builder(func);
  func->setAttr(kScratchAttr, builder.getI64IntegerAttr(scratch));
  if (temporaries.empty())
    return;
  unsigned index = func.getNumArguments();
  if (failed(func.insertArgument(
          index, MemRefType::get({scratch}, builder.getI8Type()), {},
          func.getLoc())))
    return signalPassFailure();
  for (Temporary &temporary : temporaries) {
    builder.setInsertionPoint(temporary.alloc);
    Location loc = temporary.alloc.getLoc();
    Value offset =
        arith::ConstantIndexOp::create(builder, loc, temporary.offset);
    Value view =
        memref::ViewOp::create(builder, loc, temporary.alloc.getType(),
                               func.getArgument(index), offset, ValueRange());
    llvm::SmallVector<Operation *> frees;
    for (Operation *user : temporary.alloc->getUsers())
      if (llvm::isa<memref::DeallocOp>(user))
        frees.push_back(user);
    for (Operation *free : frees)
      free->erase();
    temporary.alloc.replaceAllUsesWith(view);
    temporary.alloc.erase();
  }
}

std::unique_ptr<Pass> effc::createPlaceTemporariesPass() {
  return std::make_unique<PlaceTemporariesPass>();
}
