//===- Tables.h - the tables of effrt.h as an object ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_ARTIFACT_TABLES_H
#define EFFC_LIB_ARTIFACT_TABLES_H

#include "ModelLayout.h"
#include "effc/Target/X86/X86Machine.h"

namespace effc {

/// Symbol of the table that a model file's entry address names.
inline constexpr llvm::StringLiteral kModelSymbol = "eff_model";

/// A target and the eff_feature bits that its code needs.
struct Variant {
  X86Machine machine;
  uint64_t features;
};

/// A relocatable object that defines `eff_model` and all that it points at, but
/// for the kernels.
llvm::Expected<llvm::SmallVector<char, 0>>
emitTables(const ModelLayout &layout, llvm::ArrayRef<Variant> variants);

} // namespace effc

#endif // EFFC_LIB_ARTIFACT_TABLES_H
