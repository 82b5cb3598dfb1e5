//===- EraseBases.cpp - drops the bases of values and weights -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Transforms/Passes.h"

#include "mlir/IR/AttrTypeSubElements.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFERASEBASESPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc::eff;

namespace {
class EffEraseBasesPass
    : public effc::eff::impl::EffEraseBasesPassBase<EffEraseBasesPass> {
public:
  using EffEraseBasesPassBase::EffEraseBasesPassBase;
  void runOnOperation() override;
};
} // namespace

static RankedTensorType erase(RankedTensorType type) {
  return llvm::isa_and_nonnull<BasisAttr>(type.getEncoding())
             ? type.dropEncoding()
             : type;
}

void EffEraseBasesPass::runOnOperation() {
  AttrTypeReplacer replacer;
  replacer.addReplacement(
      [](RankedTensorType type) -> std::optional<Type> { return erase(type); });
  replacer.addReplacement([](WeightType type) -> std::optional<Type> {
    return type.withBases({}, {});
  });
  // Constants hold their type beside their elements.
  replacer.addReplacement(
      [](DenseElementsAttr attr)
          -> std::optional<std::pair<Attribute, WalkResult>> {
        auto type = llvm::dyn_cast<RankedTensorType>(attr.getType());
        if (!type || erase(type) == type)
          return std::pair{Attribute(attr), WalkResult::skip()};
        return std::pair{Attribute(attr.reshape(erase(type))),
                         WalkResult::skip()};
      });
  getOperation()->walk([&](HadamardOp op) { op.setBasesErased(true); });
  replacer.recursivelyReplaceElementsIn(getOperation(), /*replaceAttrs=*/true,
                                        /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
}
