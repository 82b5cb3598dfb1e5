//===- Graphs.h - names, order and functions of a model ---------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What must hold of graphs before they are built: legal names, an order in
/// which every node follows its operands, functions that do not call themselves
/// and do not expand without bound.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_GRAPHS_H
#define EFFC_LIB_FRONTEND_ONNX_GRAPHS_H

#include "onnx_ir.pb.h"

#include "effc/Frontend/ONNX/Import.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Error.h"

#include <string>

namespace effc::onnx {

using NodeList = google::protobuf::RepeatedPtrField<onnx_ir::NodeProto>;

/// What messages call a node: its name, else its operator and first output.
std::string describe(const onnx_ir::NodeProto &node);

/// Refuses names that are too long, not UTF-8, or hold control characters.
llvm::Error checkName(llvm::StringRef name, llvm::StringRef what);

/// An order in which each node follows those that it reads from, also through
/// its subgraphs; the given order where that is one. `outer` are names defined
/// before all nodes (inputs, initializers). Refuses cycles, and values that are
/// defined twice.
llvm::Expected<std::vector<int>> orderNodes(const NodeList &nodes,
                                            const llvm::StringSet<> &outer);

/// The model-local functions.
class FunctionTable {
public:
  /// Checks ids, calls and the expansion of `model` against `options`.
  static llvm::Expected<FunctionTable> create(const onnx_ir::ModelProto &model,
                                              const ImportOptions &options);

  /// The function that a node calls; null for operators that effc knows itself
  /// and for unknown ones.
  const onnx_ir::FunctionProto *callee(const onnx_ir::NodeProto &node) const;
  /// The function of a node's name, whether effc knows the operator or not.
  const onnx_ir::FunctionProto *body(const onnx_ir::NodeProto &node) const;

private:
  struct Entry {
    const onnx_ir::FunctionProto *proto = nullptr;
    int64_t nodes = 0;
    enum { Unseen, Open, Done } state = Unseen;
  };
  llvm::Expected<int64_t> expand(const NodeList &nodes, unsigned depth);
  llvm::Expected<int64_t> expand(Entry &entry, unsigned depth);
  static std::string key(llvm::StringRef domain, llvm::StringRef name,
                         llvm::StringRef overload);

  llvm::StringMap<Entry> entries;
};

/// Most levels of calls and subgraphs together.
constexpr unsigned maxDepth = 200;

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_GRAPHS_H
