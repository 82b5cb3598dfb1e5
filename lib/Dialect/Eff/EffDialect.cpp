//===- EffDialect.cpp - the eff dialect -----------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Eff.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace effc::eff;

#include "effc/Dialect/Eff/EffDialect.cpp.inc"

#include "effc/Dialect/Eff/EffEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "effc/Dialect/Eff/EffAttrs.cpp.inc"

#include "effc/Dialect/Eff/EffInterfaces.cpp.inc"

void EffDialect::initialize() {
  registerTypes();
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "effc/Dialect/Eff/EffOps.cpp.inc"
      >();
}

LogicalResult
Int8StateAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                      StateScaling, StateRounding, int64_t residual,
                      StateEvery) {
  if (residual != 0 && residual != 4 && residual != 8)
    return emitError() << "C1: a residual has 0, 4 or 8 bits, got " << residual;
  return success();
}

LogicalResult IntCacheAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t bits) {
  if (bits != 8 && bits != 4)
    return emitError() << "C1: a cache has integers of 8 or 4 bits, got "
                       << bits;
  return success();
}

LogicalResult BasisAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                StringAttr order, int64_t hadamard) {
  bool hasOrder = order && !order.getValue().empty();
  if (hadamard < 0 || (!hasOrder && hadamard == 0) || (order && !hasOrder))
    return emitError() << "C1: a basis has an order with a name or a rotation";
  return success();
}

void EffDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "effc/Dialect/Eff/EffAttrs.cpp.inc"
      >();
}

static LogicalResult verifyEntry(Operation *op, Attribute value) {
  auto entry = dyn_cast<EntryAttr>(value);
  if (!entry || !isa<FunctionOpInterface>(op))
    return op->emitOpError(
        "C1: 'eff.entry' must be an #eff.entry attribute of a function");
  if (entry.getBatch() < 1 || entry.getTokens() < 1)
    return op->emitOpError(
               "C2: batch and tokens of an entry point must be positive, got ")
           << entry.getBatch() << " and " << entry.getTokens();
  if (entry.getKind() == EntryKind::Decode && entry.getTokens() != 1)
    return op->emitOpError("C2: a decode entry point has one token, got ")
           << entry.getTokens();
  return success();
}

static LogicalResult verifyModel(Operation *op, Attribute value) {
  auto model = dyn_cast<ModelAttr>(value);
  if (!model || !isa<ModuleOp>(op))
    return op->emitOpError(
        "C1: 'eff.model' must be an #eff.model attribute of a module");
  if (model.getVocab() < 0 || model.getMaxLength() < 0)
    return op->emitOpError(
               "C2: vocab and max_length of a model must not be negative, got ")
           << model.getVocab() << " and " << model.getMaxLength();
  return success();
}

LogicalResult EffDialect::verifyOperationAttribute(Operation *op,
                                                   NamedAttribute attribute) {
  if (attribute.getName() == kEntryAttr)
    return verifyEntry(op, attribute.getValue());
  if (attribute.getName() == kModelAttr)
    return verifyModel(op, attribute.getValue());
  return success();
}
