//===- ModelLayout.cpp - where everything lies in a model file ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ModelLayout.h"

#include "effc/Dialect/Plan/Families.h"
#include "effc/Support/Error.h"
#include "effrt/effrt.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"

using namespace effc;

bool effc::isInteger(mlir::Operation *kernel) {
  auto op = llvm::dyn_cast<plan::KernelOp>(kernel);
  return op && plan::findFamily(op.getFamily())->integer;
}

uint64_t effc::getTensorBytes(mlir::RankedTensorType type) {
  return type.getNumElements() *
         llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

std::string effc::getFormatName(eff::WeightType type) {
  if (mlir::FloatType format = type.getFloatFormat())
    return format.isF32() ? "f32" : format.isBF16() ? "bf16" : "f16";
  if (eff::Float8Attr float8 = type.getFloat8())
    return ("float8 " + eff::stringifyFloat8Kind(float8.getKind())).str();
  std::string name = type.isInt4() ? "int4" : "int8";
  return type.getGroup() ? name + " g" + std::to_string(type.getGroup()) : name;
}

std::string effc::getSymbol(mlir::Operation *kernel, size_t target) {
  return mlir::SymbolTable::getSymbolName(kernel).str() + "." +
         std::to_string(target);
}

static PlacedState placeState(mlir::Operation *op) {
  PlacedState state;
  state.op = op;
  state.name = mlir::SymbolTable::getSymbolName(op).str();
  uint64_t bytes = 0;
  if (auto cache = llvm::dyn_cast<eff::CacheOp>(op)) {
    eff::CacheType type = cache.getType();
    state.isCache = true;
    state.heads = type.getHeads();
    state.tokenBytes = type.getRowBytes();
    state.shape = {type.getHeads(), type.getCapacity(), type.getHeadDim()};
    bytes = type.getBytes();
  } else {
    eff::StateType type = llvm::cast<eff::StateOp>(op).getType();
    state.isCache = false;
    state.heads = 0;
    state.tokenBytes = 0;
    state.shape.assign(type.getShape().begin(), type.getShape().end());
    bytes = type.getBytes();
  }
  // Kernels count slots in elements: no gap between them.
  state.slotBytes = bytes;
  return state;
}

llvm::Expected<ModelLayout> ModelLayout::create(mlir::ModuleOp module) {
  ModelLayout layout;
  layout.model =
      module->getAttrOfType<eff::ModelAttr>(eff::EffDialect::kModelAttr);
  if (!layout.model)
    return makeError(ErrorCode::CodeGen,
                     "the module does not say what its model is", {},
                     "it has no attribute eff.model");
  llvm::StringSet<> kernels, weights, states;
  for (plan::ProgramOp program : module.getOps<plan::ProgramOp>()) {
    if (!program.getArena())
      return makeError(ErrorCode::CodeGen, "a program has no arena",
                       program.getSymName(), {}, "run plan-memory first");
    layout.programs.push_back(program);
    for (mlir::Operation &op : program.getBody().front()) {
      if (auto step = llvm::dyn_cast<plan::StepOp>(op))
        kernels.insert(step.getKernel());
      else if (auto weight = llvm::dyn_cast<plan::WeightOp>(op))
        weights.insert(weight.getSymbol());
      else if (auto state = llvm::dyn_cast<plan::StateOp>(op))
        states.insert(state.getSymbol());
    }
  }
  if (layout.programs.empty())
    return makeError(ErrorCode::CodeGen, "the module has no program");
  for (mlir::Operation &op : *module.getBody()) {
    if (llvm::isa<plan::KernelOp, plan::GenericOp>(op)) {
      llvm::StringRef name = mlir::SymbolTable::getSymbolName(&op);
      if (!kernels.contains(name))
        continue;
      layout.kernels.push_back(&op);
      layout.kernelsByName[name] = &op;
    } else if (auto weight = llvm::dyn_cast<eff::WeightOp>(op)) {
      if (!weights.contains(weight.getSymName()))
        continue;
      uint64_t bytes = weight.getType().getPackedBytes();
      layout.weightOffsets[weight.getSymName()] = layout.weightBytes;
      layout.weights.push_back({weight, layout.weightBytes, bytes});
      // Kernels may read EFF_ALIGN bytes beyond the end.
      layout.weightBytes =
          llvm::alignTo(layout.weightBytes + bytes, EFF_ALIGN) + EFF_ALIGN;
    } else if (llvm::isa<eff::StateOp, eff::CacheOp>(op)) {
      if (!states.contains(mlir::SymbolTable::getSymbolName(&op)))
        continue;
      layout.states.push_back(placeState(&op));
      layout.stateIndices[layout.states.back().name] = layout.states.size() - 1;
    }
  }
  return layout;
}
