//===- OnnxDialect.cpp - the onnx dialect ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/ONNX/Onnx.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace effc::onnx;

#include "effc/Dialect/ONNX/OnnxDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "effc/Dialect/ONNX/OnnxTypes.cpp.inc"

void OnnxDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "effc/Dialect/ONNX/OnnxTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "effc/Dialect/ONNX/OnnxOps.cpp.inc"
      >();
}

Operation *OnnxDialect::materializeConstant(OpBuilder &builder, Attribute value,
                                            Type type, Location loc) {
  if (isa<NoneType>(type))
    return NoneOp::create(builder, loc, type);
  if (auto elements = dyn_cast<ElementsAttr>(value))
    if (elements.getType() == type)
      return ConstantOp::create(builder, loc, type, builder.getStringAttr(""),
                                elements);
  return nullptr;
}
