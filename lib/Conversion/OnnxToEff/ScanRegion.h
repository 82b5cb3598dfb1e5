//===- ScanRegion.h - a Scan and the products that feed it ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_SCANREGION_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_SCANREGION_H

#include "Graph.h"

#include "effc/Frontend/ONNX/HostTensor.h"

#include "llvm/ADT/SetVector.h"

namespace effc::raise {

/// Random numbers in [low, high).
struct NumberRange {
  double low = 0, high = 1;
};

/// A Scan that carries one state, with the products and exponentials outside it
/// that compute what it scans. What these read are the leaves: values that
/// evaluation replaces by random numbers.
class ScanRegion {
public:
  ScanRegion(Graph &graph, onnx::NodeOp scan) : graph(graph), scan(scan) {}

  /// Looks at the node; says why it is none.
  std::optional<std::string> read();

  /// A few steps on random numbers: the state before the first and after each,
  /// the result of each.
  struct Trace {
    std::vector<std::vector<double>> states, results;
  };
  /// Numbers in `all`, those of the leaf `one` in `ofOne`. nullopt when the
  /// body holds operators that cannot be evaluated.
  std::optional<Trace> run(uint64_t seed, NumberRange all, Value one = {},
                           NumberRange ofOne = {});

  /// Every way to see a leaf as [batch, tokens, count].
  std::vector<View> placements(Value leaf) const;
  /// The elements of such a view in the steps of the latest run.
  std::vector<double> values(const View &placed);

  /// Nodes of the body, and those outside that it stands for.
  int64_t numNodes();

  Graph &graph;
  onnx::NodeOp scan;
  int64_t batch = 1, tokens = 1, steps = 1;
  llvm::SmallVector<int64_t> stateShape, resultShape; ///< of one step
  int64_t resultAxis = 0;
  llvm::SetVector<Value> leaves;
  llvm::SetVector<Value> constants; ///< of float type

private:
  void collect(Value v, bool exponent);
  bool expand(onnx::NodeOp node, bool exponent);
  double base(Value v, int64_t offset);
  double element(Value v, llvm::ArrayRef<int64_t> index);
  bool capture(mlir::Block &body);

  llvm::SmallVector<int64_t> axes;
  llvm::DenseSet<Value> expanded;
  llvm::DenseMap<Value, std::vector<double>> numbers;
  llvm::DenseMap<Value, onnx::HostTensor> captured;
  llvm::DenseMap<Value, unsigned> ids;
  uint64_t seed = 0;
  NumberRange range, special;
  Value specialLeaf;
};

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_SCANREGION_H
