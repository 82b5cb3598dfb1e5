//===- Kernels.cpp - the kernels that programs share ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include "effc/Dialect/Plan/Families.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace effc;
using namespace effc::plan;

int64_t effc::getBits(const llvm::APFloat &value) {
  return value.bitcastToAPInt().getZExtValue();
}

/// Where declarations go: before the first function or program.
static OpBuilder atDeclarations(ModuleOp module) {
  OpBuilder builder(module.getContext());
  for (Operation &op : *module.getBody())
    if (llvm::isa<FunctionOpInterface, ProgramOp>(op)) {
      builder.setInsertionPoint(&op);
      return builder;
    }
  builder.setInsertionPointToEnd(module.getBody());
  return builder;
}

KernelOp Kernels::get(llvm::StringRef family, Constants constants,
                      Region &epilogue, Location loc) {
  KernelSpec spec;
  spec.family = family.str();
  for (auto [name, value] : constants)
    spec.set(name, value);
  spec.epilogue = printEpilogue(epilogue);
  std::string name = spec.name();
  KernelOp &kernel = kernels[name];
  if (kernel)
    return kernel;
  OpBuilder builder = atDeclarations(module);
  llvm::SmallVector<NamedAttribute> attributes;
  for (auto &[constant, value] : spec.constants)
    attributes.push_back(
        builder.getNamedAttr(constant, builder.getI64IntegerAttr(value)));
  kernel = KernelOp::create(builder, loc, name, family,
                            builder.getDictionaryAttr(attributes));
  kernel.getEpilogue().takeBody(epilogue);
  return kernel;
}

GenericOp Kernels::getGeneric(Region &body, Location loc) {
  OpBuilder builder = atDeclarations(module);
  auto generic = GenericOp::create(builder, loc, "generic");
  generic.getBody().takeBody(body);
  // Its text without locations is its identity.
  std::string text;
  llvm::raw_string_ostream os(text);
  generic->print(os, OpPrintingFlags().useLocalScope().enableDebugInfo(false));
  GenericOp &known = generics[text];
  if (known) {
    generic.erase();
    return known;
  }
  // FNV-1a, 64 bit.
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : text)
    hash = (hash ^ c) * 0x100000001b3;
  generic.setSymName("generic_" + llvm::utohexstr(hash, true, 16));
  known = generic;
  return known;
}
