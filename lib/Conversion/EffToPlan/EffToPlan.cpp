//===- EffToPlan.cpp - entry points become programs -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"

#include "effc/Conversion/EffToPlan/Passes.h"
#include "effc/Support/Error.h"
#include "mlir/IR/Remarks.h"

namespace effc {
#define GEN_PASS_DEF_CONVERTEFFTOPLANPASS
#include "effc/Conversion/EffToPlan/Passes.h.inc"
} // namespace effc

using namespace mlir;
using namespace effc;

namespace {
class ConvertEffToPlanPass
    : public effc::impl::ConvertEffToPlanPassBase<ConvertEffToPlanPass> {
public:
  using ConvertEffToPlanPassBase::ConvertEffToPlanPassBase;
  void runOnOperation() override;

private:
  LogicalResult convert(func::FuncOp func, Kernels &kernels,
                        SymbolTable &symbols);
};
} // namespace

static void report(plan::ProgramOp program,
                   const ProgramBuilder::Summary &summary) {
  std::string generic;
  for (auto &[name, count] : summary.genericOps)
    generic += (generic.empty() ? "" : ", ") + std::to_string(count) + " " +
               name.getStringRef().str();
  remark::passed(program.getLoc(), remark::RemarkOpts::name("ProgramBuilt")
                                       .category("convert-eff-to-plan")
                                       .function(program.getSymName()))
      << remark::metric("Steps", summary.steps)
      << remark::metric("GenericSteps", summary.generics)
      << remark::metric("Copies", summary.copies);
  if (!generic.empty())
    remark::missed(program.getLoc(), remark::RemarkOpts::name("NoKernel")
                                         .category("convert-eff-to-plan")
                                         .function(program.getSymName()))
        << remark::add("{0}", generic)
        << remark::reason("no kernel family covers them");
}

/// Whether everything that the conversion relies on holds.
static LogicalResult checkEntry(func::FuncOp func) {
  auto isPlain = [](Type type) {
    auto tensor = llvm::dyn_cast<RankedTensorType>(type);
    return tensor && tensor.hasStaticShape() &&
           tensor.getElementType().isIntOrFloat();
  };
  if (func.isDeclaration() || !func.getBody().hasOneBlock()) {
    auto diagnostic = emitUserError(func.getLoc(), ErrorCode::UnsupportedOps,
                                    "an entry point has branches or no body");
    return failure();
  }
  for (Type type :
       llvm::concat<const Type>(func.getArgumentTypes(), func.getResultTypes()))
    if (!isPlain(type)) {
      auto diagnostic = emitUserError(
          func.getLoc(), ErrorCode::DynamicShape,
          "an argument or result of an entry point is no tensor of static "
          "shape");
      std::string text;
      llvm::raw_string_ostream(text) << "it is " << type;
      noteWhy(diagnostic, text);
      return failure();
    }
  return success();
}

/// Rows and tokens of a row in an op whose kernel asks the call how many of
/// them are valid; 0 for other ops.
static std::pair<int64_t, int64_t> getRows(Operation *op) {
  if (!llvm::isa<eff::AttentionOp, eff::CacheAppendOp, eff::CausalConv1DOp,
                 eff::CollapsedScanOp, eff::SsdScanOp, eff::SsmScanOp>(op))
    return {0, 0};
  // A scan without a state takes all tokens.
  if (!llvm::isa<eff::AttentionOp>(op) &&
      llvm::cast<eff::Stateful>(op).getStateOperands().empty())
    return {0, 0};
  auto type = llvm::cast<RankedTensorType>(op->getOperand(0).getType());
  return {type.getShape()[0], type.getShape()[1]};
}

/// An entry point without token ids (images, say) has as many rows and tokens
/// as its ops mix: the runtime calls that many valid.
static LogicalResult setTokens(func::FuncOp func) {
  auto entry = func->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr);
  if (entry.getKind() != eff::EntryKind::Forward)
    return success();
  int64_t batch = entry.getBatch(), tokens = 0;
  WalkResult walked = func.walk([&](Operation *op) {
    auto [rows, other] = getRows(op);
    batch = std::max(batch, rows);
    if (tokens != 0 && other != 0 && other != tokens) {
      auto diagnostic =
          emitUserError(op->getLoc(), ErrorCode::UnsupportedOps,
                        "an entry point mixes sequences of different lengths");
      noteWhy(diagnostic, "one has " + llvm::Twine(tokens) +
                              " tokens, another " + llvm::Twine(other));
      return WalkResult::interrupt();
    }
    tokens = std::max(tokens, other);
    return WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();
  if (tokens > 0)
    func->setAttr(
        eff::EffDialect::kEntryAttr,
        eff::EntryAttr::get(func.getContext(), entry.getKind(), batch, tokens));
  return success();
}

LogicalResult ConvertEffToPlanPass::convert(func::FuncOp func, Kernels &kernels,
                                            SymbolTable &symbols) {
  if (failed(checkEntry(func)) || failed(setTokens(func)))
    return failure();
  ProgramBuilder builder(func, kernels, symbols);
  if (failed(builder.build()))
    return failure();
  report(builder.getProgram(), builder.getSummary());
  symbols.erase(func);
  return success();
}

void ConvertEffToPlanPass::runOnOperation() {
  ModuleOp module = getOperation();
  SymbolTable symbols(module);
  Kernels kernels(module);
  for (func::FuncOp func :
       llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
    if (!func->hasAttr(eff::EffDialect::kEntryAttr)) {
      emitUserError(func.getLoc(), ErrorCode::UnsupportedOps,
                    "a function is no entry point");
      return signalPassFailure();
    }
    if (failed(convert(func, kernels, symbols)))
      return signalPassFailure();
  }
}
