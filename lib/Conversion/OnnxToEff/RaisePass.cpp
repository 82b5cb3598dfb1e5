//===- RaisePass.cpp - raise-to-eff ---------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Conversion/OnnxToEff/Raise.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace effc {
#define GEN_PASS_DEF_RAISETOEFFPASS
#include "effc/Conversion/OnnxToEff/Passes.h.inc"
} // namespace effc

using namespace mlir;
using namespace effc;

namespace {
struct RaiseToEffPass : effc::impl::RaiseToEffPassBase<RaiseToEffPass> {
  using RaiseToEffPassBase::RaiseToEffPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    RaiseOptions options;
    options.kind = kind;
    options.batch = batch;
    options.tokens = tokens;
    options.past = past;
    options.maxLength = maxLength;
    if (options.batch < 1 || options.tokens < 1 || options.past < 0 ||
        options.maxLength < 0) {
      emitUserError(module.getLoc(), ErrorCode::BadOption,
                    "batch and tokens must be positive, past not negative");
      return signalPassFailure();
    }
    for (const std::string &pair : states) {
      auto [pastName, presentName] = StringRef(pair).split('=');
      if (presentName.empty()) {
        emitUserError(module.getLoc(), ErrorCode::BadOption,
                      "state '" + Twine(pair) + "' is not PAST=PRESENT");
        return signalPassFailure();
      }
      options.statePairs.emplace_back(pastName.str(), presentName.str());
    }
    OwningOpRef<ModuleOp> result = ModuleOp::create(module.getLoc());
    if (failed(raiseToEff(module, *result, options)))
      return signalPassFailure();
    // The new contents take the old ones' place.
    module.getBody()->clear();
    module->setAttrs(result.get()->getAttrDictionary());
    module.getBody()->getOperations().splice(
        module.getBody()->end(), result->getBody()->getOperations());
  }
};
} // namespace
