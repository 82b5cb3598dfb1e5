//===- WeightUses.cpp - how a module uses its weights ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "WeightUses.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace effc::eff;

bool effc::eff::isMatrixOperand(OpOperand &operand) {
  if (auto linear = llvm::dyn_cast<LinearLike>(operand.getOwner()))
    return &linear.getWeightOperand() == &operand;
  if (auto embed = llvm::dyn_cast<EmbedOp>(operand.getOwner()))
    return &embed.getTableMutable() == &operand;
  return false;
}

/// Whether a value's rows are the ones that eff.select_rows kept.
static bool comesFromSelectedRows(Value value) {
  while (Operation *def = value.getDefiningOp()) {
    if (llvm::isa<SelectRowsOp>(def))
      return true;
    // Norms and the like: the first operand carries the rows.
    if (def->getNumOperands() == 0 ||
        !llvm::isa<RankedTensorType>(def->getOperand(0).getType()))
      return false;
    value = def->getOperand(0);
  }
  return false;
}

static void addUses(UseOp use, WeightUse &info) {
  info.uses.push_back(use);
  for (OpOperand &operand : use.getResult().getUses()) {
    Operation *owner = operand.getOwner();
    if (!isMatrixOperand(operand)) {
      info.other = true;
    } else if (auto linear = llvm::dyn_cast<LinearOp>(owner)) {
      info.linear = true;
      info.head |= comesFromSelectedRows(linear.getInput());
    } else {
      (llvm::isa<EmbedOp>(owner) ? info.table : info.conv) = true;
    }
  }
}

llvm::MapVector<WeightOp, WeightUse>
effc::eff::findWeightUses(ModuleOp module) {
  llvm::MapVector<WeightOp, WeightUse> weights;
  llvm::StringMap<WeightOp> byName;
  for (WeightOp weight : module.getOps<WeightOp>()) {
    weights.insert({weight, {}});
    byName[weight.getSymName()] = weight;
  }
  module.walk([&](UseOp use) {
    auto weight = byName.find(use.getSymbol());
    if (weight != byName.end())
      addUses(use, weights[weight->second]);
  });
  return weights;
}

void effc::eff::setWeightType(WeightOp weight, llvm::ArrayRef<UseOp> uses,
                              WeightType type) {
  weight.setType(type);
  for (UseOp use : uses)
    use.getResult().setType(type);
}

std::string effc::eff::toString(Attribute format) {
  if (auto type = llvm::dyn_cast<TypeAttr>(format)) {
    std::string text;
    llvm::raw_string_ostream(text) << type.getValue();
    return text;
  }
  if (auto int4 = llvm::dyn_cast<Int4Attr>(format))
    return "int4 g" + std::to_string(int4.getGroup());
  if (auto float8 = llvm::dyn_cast<Float8Attr>(format))
    return ("float8 " + stringifyFloat8Kind(float8.getKind())).str();
  auto int8 = llvm::dyn_cast<Int8Attr>(format);
  if (int8 && int8.getGroup())
    return "int8 g" + std::to_string(int8.getGroup());
  return "int8";
}
