//===- ReaderTest.cpp - guarded parse of model files ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"

#include "gtest/gtest.h"

#include <filesystem>
#include <random>
#include <sys/stat.h>

using namespace effc;
using namespace effc::test;
using mlir::MLIRContext;

namespace {

/// y = Relu(x + w), with a function, a subgraph and metadata, so that damage
/// finds something to hit.
onnx_ir::ModelProto sample() {
  onnx_ir::ModelProto model = emptyModel();
  auto &graph = *model.mutable_graph();
  addInput(graph, "x", 1, {2, 3});
  addWeight(graph, "w", {3}, {1, 2, 3});
  addNode(*graph.mutable_node(), "Add", {"x", "w"}, {"s"});
  addNode(*graph.mutable_node(), "Twice", {"s"}, {"t"}).set_domain("local");
  auto &condition = addNode(*graph.mutable_node(), "Constant", {}, {"c"});
  auto *value = condition.add_attribute();
  value->set_name("value_int");
  value->set_type(onnx_ir::AttributeProto::INT);
  value->set_i(1);
  // Constants that passes compute with, in operators that index.
  addWeight(graph, "table", {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  addWeight(graph, "update", {1, 4}, {9, 9, 9, 9});
  for (auto [name, values] :
       std::vector<std::pair<std::string, std::vector<int64_t>>>{
           {"row", {1}},
           {"one", {1}},
           {"three", {3}},
           {"sizes", {1, 3}},
           {"shape", {4, 2}}}) {
    auto &tensor = *graph.add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx_ir::TensorProto::INT64);
    tensor.add_dims(int64_t(values.size()));
    for (int64_t value : values)
      tensor.add_int64_data(value);
  }
  auto &nodes = *graph.mutable_node();
  addNode(nodes, "ScatterND", {"table", "row2", "update"}, {"scattered"});
  addNode(nodes, "Unsqueeze", {"row", "one"}, {"row2"});
  addNode(nodes, "GatherND", {"scattered", "row2"}, {"picked"});
  addNode(nodes, "Slice", {"picked", "one", "three", "one"}, {"part"});
  addNode(nodes, "Concat", {"part", "picked"}, {"joined"})
      .add_attribute()
      ->set_name("axis");
  nodes.rbegin()->mutable_attribute(0)->set_type(onnx_ir::AttributeProto::INT);
  nodes.rbegin()->mutable_attribute(0)->set_i(1);
  addNode(nodes, "Reshape", {"table", "shape"}, {"reshaped"});
  addNode(nodes, "MatMul", {"table", "reshaped"}, {"product"});
  addNode(nodes, "TopK", {"joined", "one"}, {"top", "places"});
  addNode(nodes, "ReduceSum", {"product", "one"}, {"sum"});
  addNode(nodes, "Where", {"flag", "sum", "product"}, {"chosen"});
  addNode(nodes, "Greater", {"product", "sum"}, {"flag"});
  addNode(nodes, "Tile", {"chosen", "sizes"}, {"tiled"});
  addNode(nodes, "CumSum", {"tiled", "one0"}, {"running"});
  addNode(nodes, "ReduceMax", {"one"}, {"one0"});
  addNode(*graph.mutable_node(), "Relu", {"t"}, {"y"});
  addOutput(graph, "y");
  for (const char *name : {"top", "places", "running"})
    addOutput(graph, name, std::string(name) == "places" ? 7 : 1);
  auto &function = *model.add_functions();
  function.set_domain("local");
  function.set_name("Twice");
  function.add_input("a");
  function.add_output("b");
  function.add_opset_import()->set_version(18);
  addNode(*function.mutable_node(), "Add", {"a", "a"}, {"b"});
  auto *entry = model.add_metadata_props();
  entry->set_key("effc.config");
  entry->set_value("{}");
  return model;
}

onnx_ir::GraphProto nested(int depth) {
  onnx_ir::GraphProto graph;
  auto *output = graph.add_output();
  output->set_name("y" + std::to_string(depth));
  if (depth == 0) {
    addNode(*graph.mutable_node(), "Identity", {"x"}, {"y0"});
    return graph;
  }
  auto &node = addNode(*graph.mutable_node(), "If", {"c"},
                       {"y" + std::to_string(depth)});
  for (const char *name : {"then_branch", "else_branch"}) {
    auto *attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx_ir::AttributeProto::GRAPH);
    if (std::string(name) == "then_branch") {
      *attribute->mutable_g() = nested(depth - 1);
    } else {
      addNode(*attribute->mutable_g()->mutable_node(), "Identity", {"x"},
              {"e" + std::to_string(depth)});
      attribute->mutable_g()->add_output()->set_name("e" +
                                                     std::to_string(depth));
    }
  }
  return graph;
}

onnx_ir::ModelProto nestedModel(int depth) {
  onnx_ir::ModelProto model = emptyModel();
  *model.mutable_graph() = nested(depth);
  addInput(*model.mutable_graph(), "x", 1, {2});
  addInput(*model.mutable_graph(), "c", 9, {});
  return model;
}

} // namespace

TEST(ReaderTest, SampleImports) {
  MLIRContext context;
  Imported result = importModel(context, sample());
  ASSERT_EQ(result.code(), "") << result.error->what;
  std::string text = print(*result.module);
  EXPECT_NE(text.find("effc.config = \"{}\""), std::string::npos);
  EXPECT_EQ(text.find("Twice"), std::string::npos) << "the function is inlined";
  EXPECT_EQ(codeOf(runPasses(*result.module, "onnx-bind,onnx-simplify")), "");
  EXPECT_EQ(print(*result.module).find("TopK"), std::string::npos)
      << "it is computed";
}

TEST(ReaderTest, H1_OnlyRegularFilesOfBoundedSize) {
  MLIRContext context;
  TempDir dir;
  EXPECT_EQ(importFile(context, dir.file("none.onnx")).code(), "EFF0101");
  EXPECT_EQ(importFile(context, dir.path).code(), "EFF0101");
  ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(importFile(context, dir.file("pipe")).code(), "EFF0101");
  EXPECT_EQ(importFile(context, "/dev/null").code(), "EFF0101");
  dir.write("m.onnx", sample().SerializeAsString());
  EXPECT_EQ(importFile(context, dir.file("m.onnx")).code(), "");
  ImportOptions small;
  small.maxModelBytes = 16;
  EXPECT_EQ(importFile(context, dir.file("m.onnx"), small).code(), "EFF0201");
}

TEST(ReaderTest, H2_NestingIsBounded) {
  MLIRContext context;
  EXPECT_EQ(importModel(context, nestedModel(10)).code(), "");
  EXPECT_EQ(importModel(context, nestedModel(31)).code(), "");
  EXPECT_EQ(importModel(context, nestedModel(34)).code(), "EFF0207");
  EXPECT_EQ(importModel(context, nestedModel(200)).code(), "EFF0207");
}

TEST(ReaderTest, H3_ThePartOfAFileIsNotAModel) {
  MLIRContext context;
  std::string bytes = sample().SerializeAsString();
  int refused = 0;
  for (size_t n = 0; n < bytes.size(); ++n)
    refused += importBytes(context, bytes.substr(0, n)).error.has_value();
  // A cut between two fields leaves a smaller message that may still be a
  // model.
  EXPECT_GT(refused, int(bytes.size() * 9 / 10));
  EXPECT_EQ(importBytes(context, bytes + '\x3a').code(), "EFF0202");
  EXPECT_EQ(importBytes(context, "").code(), "EFF0201");
}

TEST(ReaderTest, H4_LengthsBeyondTheFileAreRefused) {
  MLIRContext context;
  // Field 7 (graph) of 2^31 bytes, then of 2^63.
  EXPECT_EQ(
      importBytes(context, std::string("\x08\x0a\x3a\xff\xff\xff\xff\x07", 8))
          .code(),
      "EFF0202");
  EXPECT_EQ(
      importBytes(context,
                  std::string("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10))
          .code(),
      "EFF0202");
}

TEST(ReaderTest, H5_OtherFormatsAreRefusedAndUnknownFieldsIgnored) {
  MLIRContext context;
  EXPECT_NE(importBytes(context, "{\"irVersion\": 10}").code(), "");
  EXPECT_NE(importBytes(context, "ir_version: 10 graph { }").code(), "");
  EXPECT_NE(importBytes(context, std::string(4096, '\0')).code(), "");
  // Field 1000 as a varint.
  EXPECT_EQ(importBytes(context, sample().SerializeAsString() +
                                     std::string("\xc0\x3e\x05"))
                .code(),
            "");
}

TEST(ReaderTest, VersionsOutsideTheTableAreRefused) {
  MLIRContext context;
  auto model = sample();
  model.set_ir_version(15);
  EXPECT_EQ(importModel(context, model).code(), "EFF0203");
  model.set_ir_version(2);
  EXPECT_EQ(importModel(context, model).code(), "EFF0203");
  model.set_ir_version(10);
  model.mutable_opset_import(0)->set_version(29);
  EXPECT_EQ(importModel(context, model).code(), "EFF0203");
  model.mutable_opset_import(0)->set_version(5);
  EXPECT_EQ(importModel(context, model).code(), "EFF0203");
}

/// Random damage: any outcome but a crash, and a module that verifies where
/// there is one.
TEST(ReaderTest, DamagedFilesNeverCrash) {
  std::string bytes = sample().SerializeAsString();
  std::mt19937 random(7);
  int imported = 0;
  for (int round = 0; round < 6000; ++round) {
    MLIRContext context(MLIRContext::Threading::DISABLED);
    std::string damaged = bytes;
    for (int k = random() % 3; k >= 0; --k) {
      size_t at = random() % damaged.size();
      switch (random() % 4) {
      case 0:
        damaged[at] = char(random());
        break;
      case 1:
        damaged[at] ^= char(1 << random() % 8);
        break;
      case 2:
        damaged.erase(at, 1 + random() % 4);
        break;
      default:
        damaged.insert(at, 1, char(random()));
        break;
      }
      if (damaged.empty())
        damaged = "x";
    }
    Imported result = importBytes(context, damaged);
    if (result.error)
      continue;
    ++imported;
    // Passes may refuse it, with an error.
    auto error = runPasses(*result.module, "onnx-bind,onnx-simplify");
    if (error)
      EXPECT_FALSE(error->what.empty());
  }
  EXPECT_GT(imported, 0);
}

TEST(ReaderTest, LargeInlineWeightsStayInTheFile) {
  MLIRContext context;
  TempDir dir;
  auto model = emptyModel();
  auto &graph = *model.mutable_graph();
  addInput(graph, "x", 1, {1, 1024});
  std::vector<float> values(1024 * 1024);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = float(i % 251);
  addWeight(graph, "w", {1024, 1024}, values);
  addWeight(graph, "v", {1024},
            std::vector<float>(values.begin(), values.begin() + 1024));
  addNode(*graph.mutable_node(), "MatMul", {"x", "w"}, {"m"});
  addNode(*graph.mutable_node(), "Add", {"m", "v"}, {"y"});
  addOutput(graph, "y");
  dir.write("m.onnx", model.SerializeAsString());
  Imported result = importFile(context, dir.file("m.onnx"));
  ASSERT_EQ(result.code(), "") << result.error->what;
  EXPECT_EQ(runPasses(*result.module, "onnx-bind,onnx-simplify"), std::nullopt);
  EXPECT_NE(print(*result.module).find("onnx.constant \"w\" dense_resource<w>"),
            std::string::npos);
}
