//===- Recurrence.h - scans spelled out in plain ONNX -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A state-space scan that an exporter spelled out arrives in many shapes:
/// unrolled, as a tree of products, as products of chunks, as a single step.
/// All have one anchor, the product of a constant (A) and the step widths (dt)
/// that an exponential reads, and all are closed: one value (y) is all that
/// leaves, apart from the last state. Which value outside plays which part is
/// found by computing the region and the scan on random numbers; a match of all
/// elements is the proof.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_RECURRENCE_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_RECURRENCE_H

#include "Graph.h"

#include "effc/Frontend/ONNX/HostTensor.h"

#include "llvm/ADT/SetVector.h"

namespace effc::raise {

/// The ways in which a scan is spelled out.
enum class ScanForm { Unrolled, Tree, Chunks, Scan, CumulativeSum, Step };
llvm::StringRef describe(ScanForm form);

/// The nodes between an anchor and a value behind which nothing of it is left,
/// with what they read.
struct ClosedRegion {
  onnx::NodeOp anchor;
  Value a;    ///< the anchor's constant operand
  Value step; ///< its other operand
  Value result;
  llvm::SetVector<mlir::Operation *> nodes; ///< in the order of the block
  llvm::SetVector<Value> leaves;            ///< not constant, from outside
  llvm::SetVector<Value> steps; ///< the leaves that the step widths come from
  llvm::SmallVector<Value> escapes; ///< values that the graph returns too
  /// Bytes of all values that the nodes make, were they computed as written.
  int64_t bytes = 0;
  ScanForm form = ScanForm::Unrolled;
  bool hasSlices = false; ///< something outside is read through a Slice
  unsigned place = 0;     ///< which of the anchor's candidates it is
};

/// Walks a graph of static shapes for regions.
class RegionFinder {
public:
  explicit RegionFinder(Graph &graph);

  /// Every product of a constant and something else that an exponential reads.
  std::vector<onnx::NodeOp> anchors();
  /// Regions that begin at an anchor, the smallest first; `accept` returns true
  /// to end the search. Each value is tried with its operands reached through
  /// slices and without. With `only`, which `accept` may set, no other place is
  /// tried.
  bool regions(onnx::NodeOp anchor,
               llvm::function_ref<bool(const ClosedRegion &)> accept,
               const std::optional<unsigned> &only = std::nullopt);

private:
  std::optional<ClosedRegion> close(ClosedRegion region,
                                    llvm::ArrayRef<mlir::Operation *> inner,
                                    bool throughSlices);
  bool reads(Value v, unsigned depth);
  static ScanForm classify(const ClosedRegion &region, int64_t tokens);

  Graph &graph;
  llvm::DenseMap<mlir::Operation *, unsigned> order;
};

/// A constant vector or matrix of a scan: its numbers, and how the graph has
/// them; `view.base` is null where the graph repeats each.
struct ScanVector {
  View view;
  std::vector<double> numbers;
};

/// What the values around a region are to a scan. Views are [batch, tokens,
/// count].
struct ScanRoles {
  bool ssd = false;
  int64_t batch = 1, tokens = 1, channels = 0, heads = 0, n = 0, groups = 1;
  View dt, u, b, c;
  ScanVector a;    ///< [channels, n] or [heads]
  ScanVector skip; ///< [heads]; empty where there is none
  View y;          ///< the region's result
  /// The state before, as [batch, channels, n] or [batch, heads, p, n]; base
  /// is null where it starts at zero.
  View past;
  /// Values of the graph that are the state after, seen the same way.
  llvm::SmallVector<View, 1> presents;
  double error = 0; ///< largest difference over the mean of the elements
};

/// Finds the roles of a region, or says why it has none. `tolerance` is of
/// elements relative to their mean.
class RoleFinder {
public:
  RoleFinder(Graph &graph, const ClosedRegion &region, double tolerance)
      : graph(graph), region(region), tolerance(tolerance) {}
  std::optional<ScanRoles> find();
  std::string why() const { return reason; }

private:
  using Numbers = std::vector<double>;
  bool evaluate(uint64_t seed);
  const Numbers &values(Value base);
  std::vector<View> placements(Value v, int64_t tokens) const;
  std::vector<View> statePlacements(Value v, const ScanRoles &r) const;
  std::vector<ScanVector> vectors(Value v, llvm::ArrayRef<int64_t> shape);
  Numbers gather(const View &placed);
  llvm::SmallVector<int64_t> lengths() const;
  bool search(ScanRoles &r, int64_t tokens);
  bool searchForm(ScanRoles &r);
  bool searchInputs(ScanRoles &r);
  bool findState(ScanRoles &r);
  bool agrees(ScanRoles &r, Numbers *last = nullptr);
  bool holds(ScanRoles &r);

  Graph &graph;
  const ClosedRegion &region;
  double tolerance;
  std::string reason;
  llvm::DenseMap<Value, Numbers> known;
};

/// A spelled-out causal convolution.
struct ConvRoles {
  onnx::NodeOp root;  ///< its last node
  Value result;       ///< what is replaced
  View x;             ///< [batch, tokens, channels]
  Value weight, bias; ///< bias may be null
  View taps;          ///< the weight as [channels, k]
  View y;             ///< the result, [batch, tokens, channels]
  bool silu = false;
  View past; ///< [batch, k - 1 or k, channels]; base may be null
  llvm::SmallVector<View, 1> presents;
  int64_t batch = 1, tokens = 1, channels = 0, kernel = 0;
  int64_t stateColumns = 0; ///< of the file's state: k - 1, k, or 0 for none
  double error = 0;
};

/// The convolutions of a graph whose state starts at zero or is an input.
std::vector<ConvRoles> findConvolutions(Graph &graph);

/// A number in [0, 1) (splitmix64).
double randomAt(uint64_t seed, uint64_t stream, uint64_t i);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_RECURRENCE_H
