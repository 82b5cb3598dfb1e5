//===- Graphs.cpp - names, order and functions of a model -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Graphs.h"
#include "OpTable.h"
#include "effc/Support/Error.h"

#include "llvm/Support/ConvertUTF.h"

#include <functional>
#include <queue>

using namespace llvm;
using namespace effc;
using namespace effc::onnx;
using onnx_ir::AttributeProto;
using onnx_ir::FunctionProto;
using onnx_ir::GraphProto;
using onnx_ir::NodeProto;

std::string onnx::describe(const NodeProto &node) {
  if (!node.name().empty())
    return node.name();
  std::string text = node.op_type();
  if (node.output_size())
    text += " -> " + node.output(0);
  return text;
}

Error onnx::checkName(StringRef name, StringRef what) {
  if (name.size() > 4096)
    return makeError(ErrorCode::BadGraph,
                     "a " + what + " of more than 4096 bytes");
  const auto *begin = reinterpret_cast<const UTF8 *>(name.data());
  if (!isLegalUTF8String(&begin, begin + name.size()))
    return makeError(ErrorCode::BadGraph, "a " + what + " is not UTF-8");
  for (unsigned char c : name)
    if (c < 0x20 || c == 0x7f)
      return makeError(ErrorCode::BadGraph,
                       "a " + what + " holds control characters");
  return Error::success();
}

static void forEachGraph(const NodeProto &node,
                         function_ref<void(const GraphProto &)> visit) {
  for (const AttributeProto &attribute : node.attribute()) {
    if (attribute.has_g())
      visit(attribute.g());
    for (const GraphProto &graph : attribute.graphs())
      visit(graph);
  }
}

/// Adds the names that a node reads from the scope around it.
static void freeNames(const NodeProto &node, std::vector<StringRef> &names) {
  for (const std::string &input : node.input())
    if (!input.empty())
      names.push_back(input);
  forEachGraph(node, [&](const GraphProto &graph) {
    StringSet<> inner;
    for (const auto &input : graph.input())
      inner.insert(input.name());
    for (const auto &tensor : graph.initializer())
      inner.insert(tensor.name());
    std::vector<StringRef> used;
    for (const NodeProto &nested : graph.node()) {
      for (const std::string &output : nested.output())
        inner.insert(output);
      freeNames(nested, used);
    }
    for (const auto &output : graph.output())
      used.push_back(output.name());
    for (StringRef name : used)
      if (!inner.contains(name))
        names.push_back(name);
  });
}

Expected<std::vector<int>> onnx::orderNodes(const NodeList &nodes,
                                            const StringSet<> &outer) {
  StringMap<int> producer;
  for (int i = 0; i < nodes.size(); ++i)
    for (const std::string &output : nodes[i].output()) {
      if (output.empty())
        continue;
      if (auto error = checkName(output, "value name"))
        return error;
      if (outer.contains(output) || !producer.try_emplace(output, i).second)
        return makeError(ErrorCode::BadGraph,
                         "the value '" + output + "' is defined twice",
                         describe(nodes[i]));
    }
  std::vector<SmallVector<int, 4>> users(nodes.size());
  std::vector<int> waiting(nodes.size(), 0);
  std::vector<StringRef> names;
  for (int i = 0; i < nodes.size(); ++i) {
    names.clear();
    freeNames(nodes[i], names);
    for (StringRef name : names) {
      auto it = producer.find(name);
      if (it == producer.end())
        continue;
      users[it->second].push_back(i);
      ++waiting[i];
    }
  }
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
  for (int i = 0; i < nodes.size(); ++i)
    if (waiting[i] == 0)
      ready.push(i);
  std::vector<int> order;
  order.reserve(nodes.size());
  while (!ready.empty()) {
    int i = ready.top();
    ready.pop();
    order.push_back(i);
    for (int user : users[i])
      if (--waiting[user] == 0)
        ready.push(user);
  }
  if (int(order.size()) == nodes.size())
    return order;
  for (int i = 0; i < nodes.size(); ++i)
    if (waiting[i] > 0)
      return makeError(ErrorCode::BadGraph,
                       "nodes depend on each other in a cycle",
                       describe(nodes[i]));
  return order;
}

std::string FunctionTable::key(StringRef domain, StringRef name,
                               StringRef overload) {
  if (domain == "ai.onnx")
    domain = "";
  std::string text = domain.str();
  text.push_back('\0');
  text += name;
  text.push_back('\0');
  text += overload;
  return text;
}

const FunctionProto *FunctionTable::callee(const NodeProto &node) const {
  return findOp(node.domain(), node.op_type()) ? nullptr : body(node);
}

const FunctionProto *FunctionTable::body(const NodeProto &node) const {
  auto it = entries.find(key(node.domain(), node.op_type(), node.overload()));
  return it == entries.end() ? nullptr : it->second.proto;
}

Expected<int64_t> FunctionTable::expand(Entry &entry, unsigned depth) {
  const FunctionProto &function = *entry.proto;
  if (entry.state == Entry::Open)
    return makeError(ErrorCode::BadGraph, "a function calls itself",
                     function.domain() + "::" + function.name());
  if (entry.state == Entry::Done)
    return entry.nodes;
  entry.state = Entry::Open;
  auto nodes = expand(function.node(), depth);
  if (!nodes)
    return nodes;
  entry.nodes = *nodes;
  entry.state = Entry::Done;
  return entry.nodes;
}

Expected<int64_t> FunctionTable::expand(const NodeList &nodes, unsigned depth) {
  if (depth > maxDepth)
    return makeError(ErrorCode::TooDeep,
                     "functions and subgraphs are nested too deeply", "",
                     "more than " + Twine(maxDepth) + " levels");
  int64_t sum = nodes.size();
  auto add = [&](Expected<int64_t> more) -> Error {
    if (!more)
      return more.takeError();
    sum = std::min(sum + *more, int64_t(1) << 60);
    return Error::success();
  };
  for (const NodeProto &node : nodes) {
    Error error = Error::success();
    forEachGraph(node, [&](const GraphProto &graph) {
      if (!error)
        error = add(expand(graph.node(), depth + 1));
    });
    if (error)
      return error;
    // Of the operators that effc knows, its own alone may be expanded.
    if (findOp(node.domain(), node.op_type()) && node.domain() != "ai.effc")
      continue;
    auto it = entries.find(key(node.domain(), node.op_type(), node.overload()));
    if (it != entries.end())
      if ((error = add(expand(it->second, depth + 1))))
        return error;
  }
  return sum;
}

/// Nodes of a list with those of its subgraphs.
static int64_t countNodes(const NodeList &nodes) {
  int64_t sum = nodes.size();
  for (const NodeProto &node : nodes)
    forEachGraph(node, [&](const GraphProto &graph) {
      sum += countNodes(graph.node());
    });
  return sum;
}

Expected<FunctionTable> FunctionTable::create(const onnx_ir::ModelProto &model,
                                              const ImportOptions &options) {
  FunctionTable table;
  int64_t total = countNodes(model.graph().node());
  for (const FunctionProto &function : model.functions()) {
    if (auto error = checkName(function.name(), "function name"))
      return error;
    total += countNodes(function.node());
    Entry &entry = table.entries[key(function.domain(), function.name(),
                                     function.overload())];
    if (entry.proto)
      return makeError(ErrorCode::BadGraph, "a function is defined twice",
                       function.domain() + "::" + function.name());
    entry.proto = &function;
  }
  if (total > options.maxNodes)
    return makeError(ErrorCode::TooDeep, "the model has too many nodes", "",
                     Twine(total) + "; the limit is " +
                         Twine(options.maxNodes));
  // Cycles are refused also among functions that nothing calls.
  for (const FunctionProto &function : model.functions()) {
    auto nodes =
        table.expand(table.entries[key(function.domain(), function.name(),
                                       function.overload())],
                     1);
    if (!nodes)
      return nodes.takeError();
  }
  auto expanded = table.expand(model.graph().node(), 0);
  if (!expanded)
    return expanded.takeError();
  if (*expanded > options.maxExpandedNodes)
    return makeError(ErrorCode::TooDeep,
                     "the model's functions expand to too many nodes", "",
                     "the limit is " + Twine(options.maxExpandedNodes));
  return table;
}
