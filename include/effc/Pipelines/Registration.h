//===- Registration.h - dialects and passes of effc -------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_PIPELINES_REGISTRATION_H
#define EFFC_PIPELINES_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace effc {

/// Adds every dialect that effc reads or makes on its way, and the external
/// models of their interfaces.
void registerDialects(mlir::DialectRegistry &registry);

/// Registers every pass and pipeline of effc, and MLIR's general ones, under
/// their command line names.
void registerPasses();

} // namespace effc

#endif // EFFC_PIPELINES_REGISTRATION_H
