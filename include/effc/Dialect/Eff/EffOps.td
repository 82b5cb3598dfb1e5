//===- EffOps.td - all ops of the eff dialect ---------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFOPS_TD
#define EFFC_DIALECT_EFF_EFFOPS_TD

include "effc/Dialect/Eff/EffAttentionOps.td"
include "effc/Dialect/Eff/EffCollapseOps.td"
include "effc/Dialect/Eff/EffImageOps.td"
include "effc/Dialect/Eff/EffLinearOps.td"
include "effc/Dialect/Eff/EffNormOps.td"
include "effc/Dialect/Eff/EffScanOps.td"
include "effc/Dialect/Eff/EffSymbolOps.td"

#endif
