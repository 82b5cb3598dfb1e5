//===- AssignLayout.cpp - packed layouts of weights -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "WeightUses.h"
#include "effc/Dialect/Eff/Layout.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"

#include "mlir/IR/Remarks.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFASSIGNLAYOUTPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc::eff;

namespace {
class EffAssignLayoutPass
    : public effc::eff::impl::EffAssignLayoutPassBase<EffAssignLayoutPass> {
public:
  using EffAssignLayoutPassBase::EffAssignLayoutPassBase;
  void runOnOperation() override;
};
} // namespace

/// The layout of a matrix: that of its linear kernels; tables of floats that
/// only embeddings read stay in rows.
static Layout chooseLayout(const WeightUse &use, WeightType type) {
  if (!use.linear && !use.conv && type.getFloatFormat())
    return Layout::RowMajor;
  return getKernelLayout(type.getFormat());
}

/// Row-major f32, which every kernel reads that is not a linear.
static WeightType getPlainType(WeightType type) {
  Attribute f32 = TypeAttr::get(Float32Type::get(type.getContext()));
  return type.withLayout(Layout::RowMajor).withFormat(f32);
}

/// Declares a weight again for its uses outside of matrices and hands them
/// over; returns the new weight.
static WeightOp splitPlainUses(WeightOp weight, WeightUse &use,
                               SymbolTable &symbols) {
  OpBuilder builder(weight->getContext());
  builder.setInsertionPointAfter(weight);
  auto plain = llvm::cast<WeightOp>(weight->clone());
  plain.setSymName((weight.getSymName() + ".plain").str());
  symbols.insert(plain, std::next(weight->getIterator()));
  for (UseOp matrix : use.uses) {
    builder.setInsertionPointAfter(matrix);
    auto other = llvm::cast<UseOp>(builder.clone(*matrix));
    other.setSymbol(plain.getSymName());
    other.getResult().setType(getPlainType(weight.getType()));
    matrix.getResult().replaceUsesWithIf(
        other.getResult(),
        [](OpOperand &operand) { return !isMatrixOperand(operand); });
    if (other->use_empty())
      other.erase();
  }
  plain.setType(getPlainType(weight.getType()));
  return plain;
}

static void report(WeightOp weight, llvm::StringRef reason) {
  WeightType type = weight.getType();
  remark::passed(weight.getLoc(), remark::RemarkOpts::name("LayoutChosen")
                                      .category("eff-assign-layout")
                                      .function(weight.getSymName()))
      << remark::add("{0}", weight.getSymName())
      << remark::metric("Layout", stringifyLayout(type.getLayout()))
      << remark::metric("Format", toString(type.getFormat()))
      << remark::metric("Bytes", type.getPackedBytes())
      << remark::reason("{0}", reason);
}

void EffAssignLayoutPass::runOnOperation() {
  SymbolTable symbols(getOperation());
  for (auto &[weight, use] : findWeightUses(getOperation())) {
    WeightOp op = weight;
    WeightType type = op.getType();
    if (!use.isMatrix()) {
      setWeightType(op, use.uses, getPlainType(type));
      report(op, "read as plain values");
      continue;
    }
    if (use.other)
      report(splitPlainUses(op, use, symbols),
             "a copy for uses that are no matrix");
    setWeightType(op, use.uses, type.withLayout(chooseLayout(use, type)));
    report(op, use.linear ? (use.table ? "a linear's, shared with an embedding"
                                       : "matrix of a linear")
               : use.conv ? "matrix of a patch convolution"
                          : "table of an embedding");
  }
}
