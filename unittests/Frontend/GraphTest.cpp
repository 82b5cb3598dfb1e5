//===- GraphTest.cpp - what must hold of graphs and functions -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"
#include "effc/Dialect/ONNX/Onnx.h"

#include "gtest/gtest.h"

#include <chrono>

using namespace effc;
using namespace effc::test;
using namespace effc::onnx;
using mlir::MLIRContext;
using onnx_ir::AttributeProto;

namespace {

using Nodes = google::protobuf::RepeatedPtrField<onnx_ir::NodeProto>;

/// A graph with the input x, the output y, and nodes that the caller adds.
onnx_ir::ModelProto around(std::function<void(Nodes &)> add,
                           int64_t opset = 18) {
  auto model = emptyModel(opset);
  addInput(*model.mutable_graph(), "x", 1, {2});
  add(*model.mutable_graph()->mutable_node());
  addOutput(*model.mutable_graph(), "y");
  return model;
}

std::string codeFor(const onnx_ir::ModelProto &model,
                    const ImportOptions &options = {}) {
  MLIRContext context;
  return importModel(context, model, options).code();
}

onnx_ir::FunctionProto &addFunction(onnx_ir::ModelProto &model,
                                    const std::string &name,
                                    std::vector<std::string> calls) {
  auto &function = *model.add_functions();
  function.set_domain("local");
  function.set_name(name);
  function.add_input("a");
  function.add_output("b");
  function.add_opset_import()->set_version(18);
  std::string value = "a";
  for (size_t i = 0; i < calls.size(); ++i) {
    std::string next = i + 1 == calls.size() ? "b" : "v" + std::to_string(i);
    auto &node = addNode(*function.mutable_node(), calls[i], {value}, {next});
    if (calls[i][0] == 'f')
      node.set_domain("local");
    value = next;
  }
  return function;
}

void setInt(onnx_ir::NodeProto &node, const std::string &name, int64_t value) {
  auto *attribute = node.add_attribute();
  attribute->set_name(name);
  attribute->set_type(AttributeProto::INT);
  attribute->set_i(value);
}

} // namespace

TEST(GraphTest, UnsortedNodesAreSorted) {
  MLIRContext context;
  auto model = around([](Nodes &n) {
    addNode(n, "Neg", {"b"}, {"y"});
    addNode(n, "Abs", {"a"}, {"b"});
    addNode(n, "Relu", {"x"}, {"a"});
  });
  Imported result = importModel(context, model);
  ASSERT_EQ(result.code(), "");
  std::vector<std::string> order;
  result.module->walk(
      [&](NodeOp op) { order.push_back(op.getOpType().str()); });
  EXPECT_EQ(order, (std::vector<std::string>{"Relu", "Abs", "Neg"}));
}

TEST(GraphTest, H19_FunctionsMustNotCallThemselves) {
  auto call = [](Nodes &n) {
    addNode(n, "f", {"x"}, {"y"}).set_domain("local");
  };
  auto direct = around(call);
  addFunction(direct, "f", {"Relu", "f"});
  EXPECT_EQ(codeFor(direct), "EFF0206");
  auto mutual = around(call);
  addFunction(mutual, "f", {"f2"});
  addFunction(mutual, "f2", {"f"});
  EXPECT_EQ(codeFor(mutual), "EFF0206");
  // Through a subgraph.
  auto hidden = around(call);
  auto &function = addFunction(hidden, "f", {"Relu"});
  auto &branch = addNode(*function.mutable_node(), "If", {"a"}, {"c"});
  auto *attribute = branch.add_attribute();
  attribute->set_name("then_branch");
  attribute->set_type(AttributeProto::GRAPH);
  addNode(*attribute->mutable_g()->mutable_node(), "f", {"a"}, {"d"})
      .set_domain("local");
  EXPECT_EQ(codeFor(hidden), "EFF0206");
}

TEST(GraphTest, H19_ExpansionIsBounded) {
  // Each function calls the next twice: 2^40 nodes.
  auto model = around(
      [](Nodes &n) { addNode(n, "f0", {"x"}, {"y"}).set_domain("local"); });
  for (int i = 0; i < 40; ++i) {
    std::string next = i == 39 ? "Relu" : "f" + std::to_string(i + 1);
    addFunction(model, "f" + std::to_string(i), {next, next});
  }
  EXPECT_EQ(codeFor(model), "EFF0207");
  ImportOptions few;
  few.maxExpandedNodes = 2;
  auto small = around(
      [](Nodes &n) { addNode(n, "f", {"x"}, {"y"}).set_domain("local"); });
  addFunction(small, "f", {"Relu", "Neg"});
  EXPECT_EQ(codeFor(small, few), "EFF0207");
  EXPECT_EQ(codeFor(small), "");
}

TEST(GraphTest, H19_DeepCallsAreBounded) {
  auto model = around(
      [](Nodes &n) { addNode(n, "f0", {"x"}, {"y"}).set_domain("local"); });
  for (int i = 0; i < 300; ++i)
    addFunction(model, "f" + std::to_string(i),
                {i == 299 ? "Relu" : "f" + std::to_string(i + 1)});
  EXPECT_EQ(codeFor(model), "EFF0207");
}

TEST(GraphTest, H20_EachValueIsDefinedOnceBeforeItsUse) {
  EXPECT_EQ(codeFor(around([](Nodes &n) { addNode(n, "Neg", {"z"}, {"y"}); })),
            "EFF0206")
      << "undefined";
  EXPECT_EQ(codeFor(around([](Nodes &n) {
              addNode(n, "Neg", {"x"}, {"y"});
              addNode(n, "Abs", {"x"}, {"y"});
            })),
            "EFF0206")
      << "twice";
  EXPECT_EQ(codeFor(around([](Nodes &n) {
              addNode(n, "Neg", {"b"}, {"y"});
              addNode(n, "Abs", {"y"}, {"b"});
            })),
            "EFF0206")
      << "cycle";
  EXPECT_EQ(codeFor(around([](Nodes &n) { addNode(n, "Neg", {"x"}, {"x"}); })),
            "EFF0206")
      << "an input again";
  EXPECT_EQ(codeFor(around([](Nodes &n) { addNode(n, "Neg", {"x"}, {"z"}); })),
            "EFF0206")
      << "no output";
  auto twice = around([](Nodes &n) { addNode(n, "Neg", {"x"}, {"y"}); });
  addWeight(*twice.mutable_graph(), "w", {1}, {1});
  addWeight(*twice.mutable_graph(), "w", {1}, {1});
  EXPECT_EQ(codeFor(twice), "EFF0206") << "two initializers of one name";
  auto input = around([](Nodes &n) { addNode(n, "Neg", {"x"}, {"y"}); });
  addInput(*input.mutable_graph(), "x", 1, {2});
  EXPECT_EQ(codeFor(input), "EFF0206") << "two inputs of one name";
}

TEST(GraphTest, H20_InitializersListedAsInputsAreConstants) {
  MLIRContext context;
  auto model = around([](Nodes &n) { addNode(n, "Add", {"x", "w"}, {"y"}); });
  addInput(*model.mutable_graph(), "w", 1, {2});
  addWeight(*model.mutable_graph(), "w", {2}, {1, 2});
  Imported result = importModel(context, model);
  ASSERT_EQ(result.code(), "");
  auto main = result.module->lookupSymbol<mlir::func::FuncOp>("main");
  EXPECT_EQ(main.getNumArguments(), 1u);
}

TEST(GraphTest, H21_ArityAndAttributesOfKnownOperators) {
  EXPECT_EQ(codeFor(around([](Nodes &n) { addNode(n, "Add", {"x"}, {"y"}); })),
            "EFF0206");
  EXPECT_EQ(
      codeFor(around([](Nodes &n) { addNode(n, "Neg", {"x", "x"}, {"y"}); })),
      "EFF0206");
  EXPECT_EQ(
      codeFor(around([](Nodes &n) { addNode(n, "Add", {"x", ""}, {"y"}); })),
      "EFF0206");
  auto kind = around([](Nodes &n) {
    auto &node = addNode(n, "Softmax", {"x"}, {"y"});
    auto *attribute = node.add_attribute();
    attribute->set_name("axis");
    attribute->set_type(AttributeProto::FLOAT);
    attribute->set_f(0.5f);
  });
  EXPECT_EQ(codeFor(kind), "EFF0206");
  auto again = around([](Nodes &n) {
    auto &node = addNode(n, "Softmax", {"x"}, {"y"});
    setInt(node, "axis", 0);
    setInt(node, "axis", 0);
  });
  EXPECT_EQ(codeFor(again), "EFF0206");
  auto reserved = around(
      [](Nodes &n) { setInt(addNode(n, "Neg", {"x"}, {"y"}), "op_type", 1); });
  EXPECT_EQ(codeFor(reserved), "EFF0206");
}

TEST(GraphTest, H22_FoldingIsBounded) {
  auto ints = [](onnx_ir::ModelProto &model, const std::string &name,
                 std::vector<int64_t> values, bool scalar = false) {
    auto &tensor = *model.mutable_graph()->add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx_ir::TensorProto::INT64);
    if (!scalar)
      tensor.add_dims(int64_t(values.size()));
    for (int64_t value : values)
      tensor.add_int64_data(value);
  };
  auto simplified = [](const onnx_ir::ModelProto &model) {
    MLIRContext context;
    Imported result = importModel(context, model);
    EXPECT_EQ(result.code(), "");
    auto start = std::chrono::steady_clock::now();
    auto error = runPasses(*result.module, "onnx-bind,onnx-simplify");
    EXPECT_LT(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count(),
        5);
    return error ? codeOf(error) : print(*result.module);
  };
  auto expand = around([](Nodes &n) {
    addNode(n, "ConstantOfShape", {"wide"}, {"c"});
    addNode(n, "Neg", {"c"}, {"y"});
  });
  ints(expand, "wide", {int64_t(1) << 20, int64_t(1) << 20});
  EXPECT_NE(simplified(expand).find("\"Neg\""), std::string::npos);
  auto range = around(
      [](Nodes &n) { addNode(n, "Range", {"from", "to", "step"}, {"y"}); });
  ints(range, "from", {0}, true);
  ints(range, "to", {int64_t(1) << 40}, true);
  ints(range, "step", {1}, true);
  EXPECT_EQ(simplified(range), "EFF0206");
  auto impossible =
      around([](Nodes &n) { addNode(n, "ConstantOfShape", {"wide"}, {"y"}); });
  ints(impossible, "wide", {int64_t(1) << 40, int64_t(1) << 40});
  EXPECT_EQ(simplified(impossible), "EFF0213");
  // A loop of 2^40 rounds stays.
  auto loop = around([](Nodes &n) {
    auto &node = addNode(n, "Loop", {"trips", "", "x"}, {"y"});
    auto *attribute = node.add_attribute();
    attribute->set_name("body");
    attribute->set_type(AttributeProto::GRAPH);
    auto &body = *attribute->mutable_g();
    addInput(body, "i", 7, {});
    addInput(body, "go", 9, {});
    addInput(body, "state", 1, {2});
    addNode(*body.mutable_node(), "Identity", {"go"}, {"on"});
    addNode(*body.mutable_node(), "Neg", {"state"}, {"next"});
    addOutput(body, "on", 9);
    addOutput(body, "next");
  });
  ints(loop, "trips", {int64_t(1) << 40}, true);
  EXPECT_NE(simplified(loop).find("\"Loop\""), std::string::npos);
}

TEST(GraphTest, H23_ReferencesOutsideFunctions) {
  auto model = around([](Nodes &n) {
    auto *attribute = addNode(n, "Softmax", {"x"}, {"y"}).add_attribute();
    attribute->set_name("axis");
    attribute->set_type(AttributeProto::INT);
    attribute->set_ref_attr_name("k");
  });
  EXPECT_EQ(codeFor(model), "EFF0206");
}

TEST(GraphTest, FunctionAttributesAreSubstituted) {
  auto softmaxOf = [](bool given) {
    auto model = around([&](Nodes &n) {
      auto &node = addNode(n, "f", {"x"}, {"y"});
      node.set_domain("local");
      if (given)
        setInt(node, "k", 0);
    });
    auto &function = addFunction(model, "f", {"Softmax"});
    auto *reference = function.mutable_node(0)->add_attribute();
    reference->set_name("axis");
    reference->set_type(AttributeProto::INT);
    reference->set_ref_attr_name("k");
    auto *value = function.add_attribute_proto();
    value->set_name("k");
    value->set_type(AttributeProto::INT);
    value->set_i(-1);
    MLIRContext context;
    Imported result = importModel(context, model);
    int64_t axis = 99;
    if (!result.error)
      result.module->walk([&](NodeOp op) {
        axis = op.getInt("axis", 98);
        EXPECT_EQ(op.getNodeName(), "f -> y/Softmax -> b");
      });
    return axis;
  };
  EXPECT_EQ(softmaxOf(true), 0) << "from the call";
  EXPECT_EQ(softmaxOf(false), -1) << "the default";
}

TEST(GraphTest, KnownOperatorsAreKeptAndFunctionsHaveTheirOwnOpset) {
  MLIRContext context;
  auto model = around([](Nodes &n) {
    auto &node = addNode(n, "GatedRMSNorm", {"x", "x", "w"}, {"g"});
    node.set_domain("ai.effc");
    addNode(n, "f", {"g"}, {"y"}).set_domain("local");
  });
  addWeight(*model.mutable_graph(), "w", {2}, {1, 1});
  auto &body = addFunction(model, "GatedRMSNorm", {"Relu"});
  body.set_domain("ai.effc");
  auto &function = addFunction(model, "f", {"Relu"});
  function.mutable_opset_import(0)->set_version(13);
  Imported result = importModel(context, model);
  ASSERT_EQ(result.code(), "") << result.error->what;
  std::vector<std::pair<std::string, int64_t>> nodes;
  result.module->walk([&](NodeOp op) {
    nodes.emplace_back(op.getOpType().str(), op.getSince());
  });
  EXPECT_EQ(nodes, (std::vector<std::pair<std::string, int64_t>>{
                       {"GatedRMSNorm", 1}, {"Relu", 13}}));
}

TEST(GraphTest, SubgraphsSeeTheValuesAroundThem) {
  MLIRContext context;
  auto model = around([](Nodes &n) {
    addNode(n, "Abs", {"x"}, {"a"});
    auto &node = addNode(n, "If", {"c"}, {"y"});
    for (const char *name : {"then_branch", "else_branch"}) {
      auto *attribute = node.add_attribute();
      attribute->set_name(name);
      attribute->set_type(AttributeProto::GRAPH);
      addNode(*attribute->mutable_g()->mutable_node(), "Neg", {"a"}, {"r"});
      attribute->mutable_g()->add_output()->set_name("r");
    }
  });
  addInput(*model.mutable_graph(), "c", 9, {});
  Imported result = importModel(context, model);
  ASSERT_EQ(result.code(), "") << result.error->what;
  int regions = 0;
  result.module->walk([&](NodeOp op) { regions += op.getNumRegions(); });
  EXPECT_EQ(regions, 2);
}

TEST(GraphTest, UnknownOperatorsAreKept) {
  MLIRContext context;
  auto model = around([](Nodes &n) {
    addNode(n, "FancyNorm", {"x"}, {"y"}).set_domain("com.example");
  });
  Imported result = importModel(context, model);
  ASSERT_EQ(result.code(), "");
  EXPECT_EQ(runPasses(*result.module, "onnx-bind,onnx-simplify"), std::nullopt);
  EXPECT_NE(
      print(*result.module).find("\"FancyNorm\"(%arg0) domain \"com.example\""),
      std::string::npos);
}
