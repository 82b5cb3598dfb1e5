//===- Verbs.h - the verbs of effc that need the compiler -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_TOOLS_EFFC_VERBS_H
#define EFFC_TOOLS_EFFC_VERBS_H

#include "verbs.h"

namespace effc::driver {

int compileVerb(const effrt::tools::Invocation &call);
/// Of an ONNX file; model files are left to the runtime's.
int inspectVerb(const effrt::tools::Invocation &call);
int calibrateVerb(const effrt::tools::Invocation &call);
int targetsVerb(const effrt::tools::Invocation &call);
int doctorVerb(const effrt::tools::Invocation &call);
/// `effc run --reference`.
int runReference(const effrt::tools::ReferenceRequest &request);

} // namespace effc::driver

#endif // EFFC_TOOLS_EFFC_VERBS_H
