//===- GraphBuilder.h - from a parsed model to the onnx dialect -*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_GRAPHBUILDER_H
#define EFFC_LIB_FRONTEND_ONNX_GRAPHBUILDER_H

#include "Graphs.h"
#include "ModelReader.h"
#include "TensorReader.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace effc::onnx {

class NodeOp;

/// Builds the module of a parsed model: nodes in order, subgraphs as regions,
/// functions inlined.
class GraphBuilder {
public:
  GraphBuilder(mlir::MLIRContext *context, ParsedModel &parsed,
               TensorReader &tensors, const FunctionTable &functions)
      : parsed(parsed), tensors(tensors), functions(functions), b(context) {}

  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> build();

private:
  using Opsets = llvm::StringMap<int64_t>;
  using Bindings = llvm::StringMap<mlir::Attribute>;

  /// The values of one graph or function body; a subgraph also sees those
  /// around it.
  struct Scope {
    Scope *parent = nullptr;
    llvm::StringMap<mlir::Value> values;
    llvm::StringMap<const onnx_ir::TypeProto *> declared;

    mlir::Value lookup(llvm::StringRef name) const;
    mlir::Type typeOf(mlir::MLIRContext *context, llvm::StringRef name) const;
  };
  /// Where nodes come from: the model's graph or a function.
  struct Source {
    const Opsets *opsets;
    const Bindings *bindings; // null outside functions
    std::string prefix;       // of node names
    unsigned depth;
  };

  llvm::Expected<Opsets> readOpsets(
      const google::protobuf::RepeatedPtrField<onnx_ir::OperatorSetIdProto>
          &imports,
      llvm::StringRef where);
  llvm::Error readInitializers(onnx_ir::GraphProto &graph, Scope &scope,
                               bool isMain);
  llvm::Error buildMain(mlir::ModuleOp module, const Opsets &opsets);
  llvm::Error buildNodes(const NodeList &nodes, Scope &scope,
                         const Source &source, const llvm::StringSet<> &outer);
  llvm::Error buildNode(const onnx_ir::NodeProto &node, Scope &scope,
                        const Source &source);
  llvm::Error buildRegion(const onnx_ir::GraphProto &graph,
                          mlir::Region &region, Scope &scope,
                          const Source &source);
  llvm::Error inlineCall(const onnx_ir::NodeProto &node,
                         const onnx_ir::FunctionProto &function,
                         llvm::ArrayRef<mlir::Value> operands, Scope &scope,
                         const Source &source);
  llvm::Expected<mlir::Attribute>
  readAttribute(const onnx_ir::AttributeProto &attribute,
                llvm::StringRef where);
  /// The attributes of a node but its graphs, references resolved.
  llvm::Error readAttributes(
      const onnx_ir::NodeProto &node, const Source &source, Bindings &result,
      llvm::SmallVectorImpl<std::pair<std::string, const onnx_ir::GraphProto *>>
          &graphs);
  mlir::Value none(mlir::Location loc);

  ParsedModel &parsed;
  TensorReader &tensors;
  const FunctionTable &functions;
  mlir::OpBuilder b;
  llvm::DenseMap<const onnx_ir::TensorProto *, mlir::ElementsAttr> seen;
};

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_GRAPHBUILDER_H
