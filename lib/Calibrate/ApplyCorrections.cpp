//===- ApplyCorrections.cpp - corrections become weights and filters ------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Calibrate/CorrectLayers.h"

#include "LayerTargets.h"
#include "effc/Dialect/Eff/Transforms/Collapse.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace effc;

std::vector<Operation *> effc::findProducts(ModuleOp module,
                                            llvm::StringRef weight) {
  std::vector<Operation *> products;
  module.walk([&](eff::ReadOp read) {
    auto use = read.getWeight().getDefiningOp<eff::UseOp>();
    if (!use || use.getSymbol() != weight)
      return;
    for (Operation *user : read->getUsers())
      if (llvm::isa<linalg::BroadcastOp>(user))
        for (Operation *product : user->getUsers())
          if (llvm::isa<arith::MulFOp>(product) &&
              product->getOperand(1) == user->getResult(0))
            products.push_back(product);
  });
  return products;
}

/// Declares a weight of f32 behind `after`.
static eff::WeightOp createWeight(SymbolTable &symbols, Operation *after,
                                  const Twine &name, ArrayRef<int64_t> shape,
                                  ArrayRef<float> values) {
  OpBuilder builder(after->getContext());
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  auto op = eff::WeightOp::create(
      builder, after->getLoc(), name.str(),
      eff::WeightType::get(after->getContext(), shape,
                           TypeAttr::get(builder.getF32Type())),
      DenseElementsAttr::get(type, values));
  symbols.insert(op, std::next(after->getIterator()));
  return op;
}

/// Puts filters in the place of the products with `correction.factor`.
static void applyFilter(ModuleOp module, const LayerCorrection &correction) {
  SymbolTable symbols(module);
  auto factor = symbols.lookup<eff::WeightOp>(correction.factor);
  assert(factor && "a layer without a scan multiplies by its factor");
  int64_t channels = int64_t(correction.bias.size()),
          taps = correction.kernel * correction.kernel;
  eff::WeightOp weight = createWeight(symbols, factor,
                                      correction.layer + ".filter.weight",
                                      {channels, taps}, correction.filters),
                bias = createWeight(symbols, weight,
                                    correction.layer + ".filter.bias",
                                    {channels}, correction.bias);
  auto use = [&](OpBuilder &b, Location loc, eff::WeightOp op) {
    return eff::UseOp::create(b, loc, op.getType(),
                              FlatSymbolRefAttr::get(op.getSymNameAttr()));
  };
  for (Operation *product : findProducts(module, correction.factor)) {
    OpBuilder b(product);
    Location loc = product->getLoc();
    Value x = product->getOperand(0);
    Value y = eff::DepthwiseConv2DOp::create(
        b, loc, x.getType(), x, use(b, loc, weight), use(b, loc, bias),
        correction.height, correction.width,
        ArrayRef<int64_t>{correction.kernel, correction.kernel},
        eff::Activation::None);
    product->getResult(0).replaceAllUsesWith(y);
    product->erase();
  }
  eff::eraseUnused(module);
}

llvm::Error
effc::applyCorrections(ModuleOp collapsed,
                       llvm::ArrayRef<LayerCorrection> corrections) {
  for (const LayerCorrection &correction : corrections) {
    if (!correction.filters.empty())
      applyFilter(collapsed, correction);
    if (correction.values.empty())
      continue;
    auto op = collapsed.lookupSymbol<eff::WeightOp>(correction.weight);
    assert(op && "collapsing a scan leaves the linear behind it");
    auto values = eff::WeightValues::read(op);
    if (!values)
      return values.takeError();
    llvm::copy(correction.values, values->getValues().begin());
    eff::WeightValues::replace(op, std::move(*values));
  }
  return llvm::Error::success();
}
