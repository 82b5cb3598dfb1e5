//===- NodeBuilder.h - new nodes in an onnx graph ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_NODEBUILDER_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_NODEBUILDER_H

#include "Graph.h"

#include "mlir/IR/Builders.h"

namespace effc::raise {

/// Makes nodes of static types in the form that onnx-simplify leaves.
class NodeBuilder {
public:
  NodeBuilder(mlir::Operation *before, mlir::Location loc)
      : b(before), loc(loc) {}

  onnx::NodeOp node(llvm::StringRef type, llvm::ArrayRef<Value> operands,
                    llvm::ArrayRef<mlir::Type> results,
                    llvm::ArrayRef<mlir::NamedAttribute> attributes = {},
                    llvm::StringRef domain = "");
  Value ints(llvm::ArrayRef<int64_t> values);
  Value zeros(llvm::ArrayRef<int64_t> shape, mlir::Type element);
  Value reshape(Value v, llvm::ArrayRef<int64_t> shape);
  Value transpose(Value v, llvm::ArrayRef<int64_t> perm);
  /// Elements in the same order: a transpose where one does, which says more
  /// about what the dimensions are, else a reshape.
  Value reorder(Value v, llvm::ArrayRef<int64_t> shape);
  /// What a view shows, as a value of the view's shape.
  Value tensor(const View &view);
  /// The inverse: `v`, of the shape of `view`, as the value that the view is
  /// of. The view shows every element once.
  Value underlying(Value v, const View &view, llvm::ArrayRef<int64_t> shape);

  mlir::OpBuilder b;
  mlir::Location loc;
};

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_NODEBUILDER_H
