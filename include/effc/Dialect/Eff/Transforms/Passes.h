//===- Passes.h - passes over the eff dialect -------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_TRANSFORMS_PASSES_H
#define EFFC_DIALECT_EFF_TRANSFORMS_PASSES_H

#include "effc/Dialect/Eff/Eff.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace effc::eff {

/// What `--quant` chooses among; see EffQuantizePass.
enum class QuantFormat {
  None,
  F32,
  BF16,
  W8A16,
  W8A8Dynamic,
  W8A8,
  W4A16,
  W4A8Dynamic,
  W4A8
};
/// Formats of tables and heads.
enum class TableFormat { Keep, Int8, Int4 };
/// Whether and how recurrent states become int8.
enum class StateQuantization { None, Static, Dynamic };
/// What eff-collapse-channels averages; see there.
enum class CollapseMode { Post, Dir, Pre };

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"

} // namespace effc::eff

#endif // EFFC_DIALECT_EFF_TRANSFORMS_PASSES_H
