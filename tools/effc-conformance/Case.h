//===- Case.h - one ONNX backend test ---------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_TOOLS_EFFC_CONFORMANCE_CASE_H
#define EFFC_TOOLS_EFFC_CONFORMANCE_CASE_H

#include "effc/Frontend/ONNX/HostTensor.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/Error.h"

#include <set>
#include <string>
#include <vector>

namespace effc::conformance {

/// How a case ended, worst first.
enum class Status {
  Wrong,       // ran, with other numbers, shapes or types than expected
  Crashed,     // the process died
  TimedOut,    // took too long or too much memory
  Unsupported, // was refused with a reason
  Folded,      // right, but only with all inputs known at compile time
  Passed,
};
llvm::StringRef name(Status status);

/// How far the compiler goes before a graph runs.
enum class Level {
  Literal,  // each node lowered, then interpreted
  Raised,   // raised to eff, then interpreted
  Compiled, // compiled to a model file that the runtime runs
};

/// |actual - expected| is at most atol + rtol * |expected|.
struct Tolerance {
  double relative = 1e-3, absolute = 1e-7;
};

/// What a case's file says about its inputs.
enum class Way {
  Static,    // the shapes that it has
  Dynamic,   // no shape of any value; the data's are bound at compile time
  Constants, // the inputs themselves, as constants
};

struct Outcome {
  Status status = Status::Crashed;
  /// Why, when it did not pass.
  std::string reason;
  /// Operators of the file, with their domain unless that is ai.onnx.
  std::set<std::string> ops;
  /// Versions of the operator sets that the nodes are of.
  std::set<std::string> versions;
  /// Element types of inputs and outputs, as MLIR writes them.
  std::set<std::string> types;
  /// Inputs that had to be known at compile time.
  std::vector<std::string> boundInputs;
  /// Inputs that may be shapes, axes or bounds.
  std::vector<unsigned> shapeLike;
};

/// Where the parts of a case are.
struct CaseFiles {
  std::string model;
  /// Folders with input_<i>.pb and output_<i>.pb.
  std::vector<std::string> sets;
  /// An expected output for inputs that count up from 0 to 1, instead of sets.
  std::string lightOutput;
  Tolerance tolerance;
  /// Models that must be refused.
  std::vector<std::string> refused;
  /// Whether a refusal of the model itself is right too.
  bool mayRefuse = false;
};

/// Runs one case.
Outcome runCase(const CaseFiles &files, Level level, Way way);

/// A tensor of a test_data_set; fails for sequences, optionals and strings.
llvm::Expected<onnx::HostTensor> readTensor(mlir::MLIRContext &context,
                                            const std::string &path);

/// Why `actual` is not `expected`; empty when it is, within the tolerance for
/// floats.
std::string compare(const onnx::HostTensor &actual,
                    const onnx::HostTensor &expected, Tolerance tolerance);

/// Tiers 0 to 3 (4: the rest) by what the file uses.
int tierOf(const Outcome &outcome);
/// Whether all inputs and outputs have types that effc computes with.
bool hasCoreTypes(const Outcome &outcome);

} // namespace effc::conformance

#endif // EFFC_TOOLS_EFFC_CONFORMANCE_CASE_H
