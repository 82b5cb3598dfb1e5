//===- TestSupport.h - helpers for the front end's tests --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_FRONTEND_TESTSUPPORT_H
#define EFFC_UNITTESTS_FRONTEND_TESTSUPPORT_H

#include "effc/Frontend/ONNX/Import.h"
#include "effc/Support/Error.h"
#include "onnx_ir.pb.h"

#include "mlir/IR/MLIRContext.h"

#include <optional>
#include <string>
#include <vector>

namespace effc::test {

/// A directory that goes when the object does.
class TempDir {
public:
  TempDir();
  ~TempDir();
  std::string file(const std::string &name) const { return path + "/" + name; }
  void write(const std::string &name, const std::string &bytes) const;
  std::string path;
};

/// An archive of $EFFC_TEST_DATA/onnx, unpacked once for the process; nullopt,
/// with the reason, when it is not there.
std::optional<std::string> archive(const std::string &name,
                                   std::string &reason);

/// All files under `folder` whose names end in `suffix`, sorted.
std::vector<std::string> filesUnder(const std::string &folder,
                                    const std::string &suffix);

std::string readFile(const std::string &path);

/// A model of one graph with IR version 10 and opset 18.
onnx_ir::ModelProto emptyModel(int64_t opset = 18);
void addInput(onnx_ir::GraphProto &graph, const std::string &name, int type,
              std::vector<int64_t> shape);
void addOutput(onnx_ir::GraphProto &graph, const std::string &name,
               int type = 1);
onnx_ir::NodeProto &
addNode(google::protobuf::RepeatedPtrField<onnx_ir::NodeProto> &nodes,
        const std::string &type, std::vector<std::string> inputs,
        std::vector<std::string> outputs);
/// A float initializer with `raw_data`.
onnx_ir::TensorProto &addWeight(onnx_ir::GraphProto &graph,
                                const std::string &name,
                                std::vector<int64_t> shape,
                                std::vector<float> values);

/// The outcome of an import: the module, or the error's parts.
struct Imported {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::optional<UserError> error;
  /// "EFF0204", or "" when the import went well.
  std::string code() const { return error ? codeName(error->code) : ""; }
};
Imported importBytes(mlir::MLIRContext &context, const std::string &bytes,
                     const ImportOptions &options = {});
Imported importModel(mlir::MLIRContext &context,
                     const onnx_ir::ModelProto &model,
                     const ImportOptions &options = {});
Imported importFile(mlir::MLIRContext &context, const std::string &path,
                    const ImportOptions &options = {});

/// Runs a pass pipeline on the module; the first error when it fails.
std::optional<UserError> runPasses(mlir::ModuleOp module,
                                   const std::string &pipeline);
/// "EFF0212" of the error, "" without one.
std::string codeOf(const std::optional<UserError> &error);

/// The module's text without locations.
std::string print(mlir::ModuleOp module);

} // namespace effc::test

#endif // EFFC_UNITTESTS_FRONTEND_TESTSUPPORT_H
