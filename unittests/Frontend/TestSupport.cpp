//===- TestSupport.cpp - helpers for the front end's tests ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"
#include "effc/Frontend/ONNX/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <unistd.h>

using namespace effc;
using namespace effc::test;
namespace fs = std::filesystem;

TempDir::TempDir() {
  std::string pattern =
      (fs::temp_directory_path() / "effc-onnx-XXXXXX").string();
  const char *made = ::mkdtemp(pattern.data());
  path = made ? made : "/nonexistent";
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

void TempDir::write(const std::string &name, const std::string &bytes) const {
  fs::create_directories(fs::path(file(name)).parent_path());
  std::ofstream(file(name), std::ios::binary) << bytes;
}

std::optional<std::string> test::archive(const std::string &name,
                                         std::string &reason) {
  static std::map<std::string, std::unique_ptr<TempDir>> unpacked;
  const char *variable = std::getenv("EFFC_TEST_DATA");
  std::string root =
      variable && *variable ? variable : EFFC_SOURCE_DIR "/../shared";
  std::string file = root + "/onnx/" + name;
  if (!fs::exists(file)) {
    reason = file + " is not there (set EFFC_TEST_DATA)";
    return std::nullopt;
  }
  auto &directory = unpacked[name];
  if (!directory) {
    directory = std::make_unique<TempDir>();
    auto tar = llvm::sys::findProgramByName("tar");
    if (!tar || llvm::sys::ExecuteAndWait(
                    *tar, {"tar", "-C", directory->path, "-xf", file})) {
      reason = "tar cannot unpack " + file;
      directory.reset();
      return std::nullopt;
    }
  }
  return directory->path;
}

std::vector<std::string> test::filesUnder(const std::string &folder,
                                          const std::string &suffix) {
  std::vector<std::string> files;
  for (const auto &entry : fs::recursive_directory_iterator(folder)) {
    std::string name = entry.path().string();
    if (entry.is_regular_file() && llvm::StringRef(name).ends_with(suffix))
      files.push_back(name);
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string test::readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

onnx_ir::ModelProto test::emptyModel(int64_t opset) {
  onnx_ir::ModelProto model;
  model.set_ir_version(10);
  model.add_opset_import()->set_version(opset);
  model.mutable_graph()->set_name("test");
  return model;
}

void test::addInput(onnx_ir::GraphProto &graph, const std::string &name,
                    int type, std::vector<int64_t> shape) {
  auto *input = graph.add_input();
  input->set_name(name);
  auto *tensor = input->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  tensor->mutable_shape();
  for (int64_t size : shape)
    tensor->mutable_shape()->add_dim()->set_dim_value(size);
}

void test::addOutput(onnx_ir::GraphProto &graph, const std::string &name,
                     int type) {
  auto *output = graph.add_output();
  output->set_name(name);
  output->mutable_type()->mutable_tensor_type()->set_elem_type(type);
}

onnx_ir::NodeProto &
test::addNode(google::protobuf::RepeatedPtrField<onnx_ir::NodeProto> &nodes,
              const std::string &type, std::vector<std::string> inputs,
              std::vector<std::string> outputs) {
  onnx_ir::NodeProto &node = *nodes.Add();
  node.set_op_type(type);
  for (const std::string &input : inputs)
    node.add_input(input);
  for (const std::string &output : outputs)
    node.add_output(output);
  return node;
}

onnx_ir::TensorProto &test::addWeight(onnx_ir::GraphProto &graph,
                                      const std::string &name,
                                      std::vector<int64_t> shape,
                                      std::vector<float> values) {
  onnx_ir::TensorProto &tensor = *graph.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(onnx_ir::TensorProto::FLOAT);
  for (int64_t size : shape)
    tensor.add_dims(size);
  tensor.set_raw_data(values.data(), values.size() * sizeof(float));
  return tensor;
}

static Imported
finish(llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> result) {
  Imported imported;
  if (result)
    imported.module = std::move(*result);
  else
    llvm::handleAllErrors(
        result.takeError(), [&](const UserError &e) { imported.error = e; },
        [&](const llvm::ErrorInfoBase &e) {
          imported.error = UserError(ErrorCode::CodeGen, e.message());
        });
  return imported;
}

Imported test::importBytes(mlir::MLIRContext &context, const std::string &bytes,
                           const ImportOptions &options) {
  return finish(
      importOnnxBuffer(context, {bytes.data(), bytes.size()}, options));
}

Imported test::importModel(mlir::MLIRContext &context,
                           const onnx_ir::ModelProto &model,
                           const ImportOptions &options) {
  return importBytes(context, model.SerializeAsString(), options);
}

Imported test::importFile(mlir::MLIRContext &context, const std::string &path,
                          const ImportOptions &options) {
  return finish(importOnnx(context, path, options));
}

std::optional<UserError> test::runPasses(mlir::ModuleOp module,
                                         const std::string &pipeline) {
  static const bool registered = [] {
    registerOnnxPasses();
    return true;
  }();
  std::optional<UserError> error;
  mlir::MLIRContext *context = module.getContext();
  mlir::ScopedDiagnosticHandler handler(
      context, [&](mlir::Diagnostic &diagnostic) {
        if (!error &&
            diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
          error = fromDiagnostic(diagnostic);
        return mlir::success();
      });
  mlir::PassManager manager(context);
  if (!registered || mlir::failed(mlir::parsePassPipeline(pipeline, manager)))
    return UserError(ErrorCode::BadOption, "the pipeline cannot be read");
  if (mlir::failed(manager.run(module)) && !error)
    error = UserError(ErrorCode::CodeGen, "a pass failed without an error");
  return error;
}

std::string test::codeOf(const std::optional<UserError> &error) {
  return error ? codeName(error->code) : "";
}

std::string test::print(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream os(text);
  module.print(os);
  return text;
}
