//===- GraphBuilder.cpp - from a parsed model to the onnx dialect ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "GraphBuilder.h"
#include "OpTable.h"
#include "Types.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;
using llvm::Error;
using onnx_ir::FunctionProto;
using onnx_ir::GraphProto;
using onnx_ir::NodeProto;

static Error bad(const Twine &what, const Twine &where = {},
                 const Twine &why = {}) {
  return makeError(ErrorCode::BadGraph, what, where, why);
}

Value GraphBuilder::Scope::lookup(StringRef name) const {
  for (const Scope *scope = this; scope; scope = scope->parent)
    if (Value value = scope->values.lookup(name))
      return value;
  return {};
}

Type GraphBuilder::Scope::typeOf(MLIRContext *context, StringRef name) const {
  auto it = declared.find(name);
  if (it == declared.end())
    return unknownType(context);
  auto type = declaredType(context, *it->second, name);
  if (!type) {
    // A hint that is wrong is no hint.
    llvm::consumeError(type.takeError());
    return unknownType(context);
  }
  if (auto tensor = dyn_cast<RankedTensorType>(*type))
    return UnrankedTensorType::get(tensor.getElementType());
  return *type;
}

Value GraphBuilder::none(Location loc) {
  return NoneOp::create(b, loc, b.getNoneType());
}

static Error refuseOpset(int64_t version, const Twine &where) {
  return makeError(ErrorCode::BadOpset,
                   "opset " + Twine(version) + " is not supported", where,
                   "effc reads opset 6 to 28");
}

/// Operators that mean the same in the operator sets before 6.
static bool isUnchanged(StringRef type) {
  static constexpr StringLiteral names[] = {
      "Constant",      "GlobalAveragePool",
      "GlobalMaxPool", "Identity",
      "MatMul",        "Not",
      "Shape",         "Size",
      "Softplus",      "Softsign",
      "Squeeze",       "Transpose",
      "Unsqueeze"};
  return llvm::is_contained(names, type);
}

llvm::Expected<GraphBuilder::Opsets> GraphBuilder::readOpsets(
    const google::protobuf::RepeatedPtrField<onnx_ir::OperatorSetIdProto>
        &imports,
    StringRef where) {
  Opsets opsets;
  for (const auto &import : imports) {
    StringRef domain = import.domain();
    if (domain == "ai.onnx")
      domain = "";
    if (auto error = checkName(domain, "domain"))
      return error;
    int64_t version = import.version();
    if (domain.empty() && (version < 1 || version > 28))
      return refuseOpset(version, where);
    if (!opsets.try_emplace(domain, version).second &&
        opsets.lookup(domain) != version)
      return bad("the operator set '" + domain + "' is imported twice", where);
  }
  return opsets;
}

Error GraphBuilder::readInitializers(GraphProto &graph, Scope &scope,
                                     bool isMain) {
  if (graph.sparse_initializer_size())
    return makeError(ErrorCode::UnsupportedType, "a sparse initializer",
                     graph.sparse_initializer(0).values().name(),
                     "effc does not read sparse tensors",
                     "export the weights dense");
  for (int i = 0; i < graph.initializer_size(); ++i) {
    auto &tensor = *graph.mutable_initializer(i);
    const std::string &name = tensor.name();
    if (name.empty())
      return bad("an initializer without a name");
    if (auto error = checkName(name, "initializer name"))
      return error;
    if (scope.values.count(name))
      return bad("the initializer '" + name + "' is defined twice");
    // A function body or branch is built each time it is used; its tensors are
    // read once.
    ElementsAttr &value = seen[&tensor];
    if (!value) {
      auto read =
          tensors.read(tensor, isMain ? parsed.rawData[i] : std::nullopt, name);
      if (!read)
        return read.takeError();
      value = *read;
    }
    auto loc = NameLoc::get(b.getStringAttr(name));
    scope.values[name] = ConstantOp::create(b, loc, value.getType(),
                                            b.getStringAttr(name), value);
  }
  return Error::success();
}

Error GraphBuilder::buildNodes(const NodeList &nodes, Scope &scope,
                               const Source &source, const StringSet<> &outer) {
  auto order = orderNodes(nodes, outer);
  if (!order)
    return order.takeError();
  for (int i : *order)
    if (auto error = buildNode(nodes[i], scope, source))
      return error;
  return Error::success();
}

Error GraphBuilder::buildRegion(const GraphProto &graph, Region &region,
                                Scope &outerScope, const Source &source) {
  if (source.depth > maxDepth)
    return makeError(ErrorCode::TooDeep, "subgraphs are nested too deeply");
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&region);
  Scope scope;
  scope.parent = &outerScope;
  for (const auto &info : graph.value_info())
    scope.declared[info.name()] = &info.type();
  for (const auto &info : graph.output())
    scope.declared[info.name()] = &info.type();
  if (auto error = readInitializers(const_cast<GraphProto &>(graph), scope,
                                    /*isMain=*/false))
    return error;
  StringSet<> names;
  for (const auto &[name, value] : scope.values)
    names.insert(name);
  for (const auto &input : graph.input()) {
    if (auto error = checkName(input.name(), "input name"))
      return error;
    if (!names.insert(input.name()).second)
      return bad("a subgraph's input '" + input.name() + "' is defined twice");
    auto type = declaredType(b.getContext(), input.type(), input.name());
    if (!type)
      return type.takeError();
    scope.values[input.name()] = block->addArgument(*type, b.getUnknownLoc());
  }
  if (auto error = buildNodes(graph.node(), scope, source, names))
    return error;
  SmallVector<Value> results;
  for (const auto &output : graph.output()) {
    Value value = scope.lookup(output.name());
    if (!value)
      return bad("a subgraph's output '" + output.name() + "' is not defined");
    results.push_back(value);
  }
  YieldOp::create(b, b.getUnknownLoc(), results);
  return Error::success();
}

Error GraphBuilder::inlineCall(const NodeProto &node,
                               const FunctionProto &function,
                               ArrayRef<Value> operands, Scope &scope,
                               const Source &source) {
  std::string name = describe(node);
  if (node.input_size() > function.input_size() ||
      node.output_size() > function.output_size())
    return bad("a call has more operands or results than its function", name);
  auto opsets = readOpsets(function.opset_import(), name);
  if (!opsets)
    return opsets.takeError();
  Bindings bindings;
  SmallVector<std::pair<std::string, const GraphProto *>> graphs;
  for (const auto &attribute : function.attribute_proto()) {
    auto value = readAttribute(attribute, name);
    if (!value)
      return value.takeError();
    bindings[attribute.name()] = *value;
  }
  if (auto error = readAttributes(node, source, bindings, graphs))
    return error;
  if (!graphs.empty())
    return bad("a subgraph as the attribute of a function", name);
  Scope inner;
  StringSet<> names;
  for (int i = 0; i < function.input_size(); ++i) {
    const std::string &formal = function.input(i);
    if (formal.empty() || !names.insert(formal).second)
      return bad("a function's inputs are named twice or not at all", name);
    inner.values[formal] =
        i < int(operands.size()) ? operands[i] : none(b.getUnknownLoc());
  }
  for (const auto &info : function.value_info())
    inner.declared[info.name()] = &info.type();
  Source body{&*opsets, &bindings, source.prefix + name + "/",
              source.depth + 1};
  if (body.depth > maxDepth)
    return makeError(ErrorCode::TooDeep, "functions are nested too deeply",
                     name);
  if (auto error = buildNodes(function.node(), inner, body, names))
    return error;
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    Value value = inner.lookup(function.output(i));
    if (!value)
      return bad("a function's output '" + function.output(i) +
                     "' is not defined",
                 name);
    scope.values[node.output(i)] = value;
  }
  return Error::success();
}

/// Checks a node of a known operator against its schema.
static Error checkSchema(const OpSchema &schema, const NodeProto &node,
                         const llvm::StringMap<Attribute> &attributes) {
  auto outside = [](int n, int least, int most) {
    return n < least || (most >= 0 && n > most);
  };
  std::string name = describe(node);
  if (outside(node.input_size(), schema.minInputs, schema.maxInputs))
    return bad(schema.name + " has " + Twine(node.input_size()) + " operands",
               name);
  // Loop's limits are optional, and so are the lengths of Scan before opset 9.
  bool control = schema.name == "Loop" || schema.name == "Scan";
  for (int i = 0; i < schema.minInputs; ++i)
    if (node.input(i).empty() && schema.domain.empty() && !control)
      return bad(schema.name + " lacks operand " + Twine(i), name);
  if (outside(node.output_size(), schema.minOutputs, schema.maxOutputs))
    return bad(schema.name + " has " + Twine(node.output_size()) + " results",
               name);
  for (const auto &[attribute, value] : attributes) {
    bool fits = true;
    switch (schema.attributeKind(attribute)) {
    case 'i':
      fits = isa<IntegerAttr>(value);
      break;
    case 'f':
      fits = isa<FloatAttr>(value);
      break;
    case 's':
      fits = isa<StringAttr>(value);
      break;
    case 't':
      fits = isa<ElementsAttr>(value);
      break;
    case 'g':
      fits = false;
      break;
    case 'I':
      fits = isa<DenseI64ArrayAttr>(value);
      break;
    case 'F':
      fits = isa<DenseF32ArrayAttr>(value);
      break;
    default:
      break;
    }
    if (!fits)
      return bad("the attribute '" + attribute + "' of " + schema.name +
                     " has the wrong kind",
                 name);
  }
  return Error::success();
}

/// Whether nothing but constants makes a value.
static bool isFixed(Value value, unsigned depth = 0) {
  constexpr unsigned mostNodes = 16; // on the way to a weight
  if (isa<NoneType>(value.getType()) || value.getDefiningOp<ConstantOp>())
    return true;
  auto node = value.getDefiningOp<NodeOp>();
  return node && depth < mostNodes && node.getNumRegions() == 0 &&
         llvm::all_of(
             node.getInputs(),
             [&](Value operand) { return isFixed(operand, depth + 1); });
}

/// Whether an operator that needs its weights when it is compiled has others.
static bool hasOpenWeights(const NodeProto &node, ArrayRef<Value> operands) {
  if (node.domain() != "ai.effc")
    return false;
  StringRef type = node.op_type();
  SmallVector<unsigned> weights{2};
  if (type == "CausalConv1d")
    weights = {1, 2};
  return llvm::any_of(weights, [&](unsigned i) {
    return i < operands.size() && !isFixed(operands[i]);
  });
}

Error GraphBuilder::buildNode(const NodeProto &node, Scope &scope,
                              const Source &source) {
  std::string name = describe(node);
  for (StringRef text : {StringRef(node.name()), StringRef(node.op_type()),
                         StringRef(node.domain())})
    if (auto error = checkName(text, "node name, operator or domain"))
      return error;
  if (node.op_type().empty())
    return bad("a node without an operator", name);
  SmallVector<Value> operands;
  for (const std::string &input : node.input()) {
    Value value = input.empty() ? none(b.getUnknownLoc()) : scope.lookup(input);
    if (!value)
      return bad("the value '" + input + "' is not defined", name);
    operands.push_back(value);
  }
  const FunctionProto *function = functions.callee(node);
  // A recurrence whose weights each call brings is what its body says.
  if (!function && hasOpenWeights(node, operands))
    function = functions.body(node);
  if (function)
    return inlineCall(node, *function, operands, scope, source);
  while (!operands.empty() && isa<NoneType>(operands.back().getType()))
    operands.pop_back();

  Bindings attributes;
  SmallVector<std::pair<std::string, const GraphProto *>> graphs;
  if (auto error = readAttributes(node, source, attributes, graphs))
    return error;
  StringRef domain = node.domain(), type = node.op_type();
  if (domain == "ai.onnx")
    domain = "";
  if (const OpSchema *schema = findOp(domain, type)) {
    if (auto error = checkSchema(*schema, node, attributes))
      return error;
    type = schema->name;
  }
  auto version = source.opsets->find(domain);
  if (domain.empty() && version == source.opsets->end())
    return makeError(ErrorCode::BadOpset, "no version of ai.onnx is imported",
                     name);
  int64_t since = version == source.opsets->end() ? 1 : version->second;
  if (domain.empty() && since < 6 && !isUnchanged(type))
    return refuseOpset(since, name);

  SmallVector<Type> types;
  for (const std::string &output : node.output())
    types.push_back(output.empty() ? Type(b.getNoneType())
                                   : scope.typeOf(b.getContext(), output));
  while (!types.empty() && isa<NoneType>(types.back()))
    types.pop_back();
  SmallVector<StringRef> graphNames;
  for (auto &graph : graphs)
    graphNames.push_back(graph.first);
  auto loc = NameLoc::get(b.getStringAttr(source.prefix + name));
  auto op = NodeOp::create(b, loc, types, operands, b.getStringAttr(type),
                           b.getStringAttr(domain), b.getI64IntegerAttr(since),
                           b.getStrArrayAttr(graphNames), graphs.size());
  SmallVector<NamedAttribute> named;
  for (const auto &[key, value] : attributes)
    named.emplace_back(b.getStringAttr(key), value);
  op->setDiscardableAttrs(b.getDictionaryAttr(named));
  Source nested = source;
  ++nested.depth;
  for (auto [i, graph] : llvm::enumerate(graphs))
    if (auto error =
            buildRegion(*graph.second, op.getSubgraphs()[i], scope, nested))
      return error;
  for (int i = 0, e = types.size(); i < e; ++i)
    if (!node.output(i).empty())
      scope.values[node.output(i)] = op.getOutputs()[i];
  return Error::success();
}

Error GraphBuilder::buildMain(ModuleOp module, const Opsets &opsets) {
  GraphProto &graph = *parsed.model.mutable_graph();
  MLIRContext *context = b.getContext();
  b.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(b, module.getLoc(), "main",
                                       b.getFunctionType({}, {}));
  Block *block = function.addEntryBlock();
  b.setInsertionPointToStart(block);
  Scope scope;
  for (const auto &info : graph.value_info())
    scope.declared[info.name()] = &info.type();
  for (const auto &info : graph.output())
    scope.declared[info.name()] = &info.type();
  if (auto error = readInitializers(graph, scope, /*isMain=*/true))
    return error;
  StringSet<> names;
  for (const auto &[name, value] : scope.values)
    names.insert(name);

  auto describeValue = [&](const onnx_ir::ValueInfoProto &info) {
    SmallVector<NamedAttribute> attributes{
        b.getNamedAttr("onnx.name", b.getStringAttr(info.name()))};
    if (ArrayAttr dims = declaredDims(context, info.type()))
      attributes.push_back(b.getNamedAttr("onnx.dims", dims));
    return b.getDictionaryAttr(attributes);
  };
  SmallVector<Type> inputs, results;
  SmallVector<Attribute> inputAttrs, resultAttrs;
  StringSet<> inputNames;
  for (const auto &input : graph.input()) {
    const std::string &name = input.name();
    if (auto error = checkName(name, "input name"))
      return error;
    if (name.empty() || !inputNames.insert(name).second)
      return bad("the input '" + name + "' has no name or is defined twice");
    if (!names.insert(name).second)
      continue; // an initializer that is listed as an input: a constant
    auto type = declaredType(context, input.type(), name);
    if (!type)
      return type.takeError();
    inputs.push_back(*type);
    inputAttrs.push_back(describeValue(input));
    scope.values[name] =
        block->addArgument(*type, NameLoc::get(b.getStringAttr(name)));
  }
  Source source{&opsets, nullptr, "", 0};
  if (auto error = buildNodes(graph.node(), scope, source, names))
    return error;
  if (graph.output_size() == 0)
    return bad("the graph has no outputs");
  SmallVector<Value> returned;
  StringSet<> outputNames;
  for (const auto &output : graph.output()) {
    if (auto error = checkName(output.name(), "output name"))
      return error;
    Value value = scope.lookup(output.name());
    if (!value || isa<NoneType>(value.getType()))
      return bad("the output '" + output.name() + "' is not defined");
    if (!outputNames.insert(output.name()).second)
      return bad("the output '" + output.name() + "' is listed twice");
    returned.push_back(value);
    results.push_back(value.getType());
    resultAttrs.push_back(describeValue(output));
  }
  func::ReturnOp::create(b, module.getLoc(), returned);
  function.setFunctionType(b.getFunctionType(inputs, results));
  function.setArgAttrsAttr(b.getArrayAttr(inputAttrs));
  function.setResAttrsAttr(b.getArrayAttr(resultAttrs));
  return Error::success();
}

llvm::Expected<OwningOpRef<ModuleOp>> GraphBuilder::build() {
  const auto &model = parsed.model;
  int64_t version = model.ir_version();
  if (version < 3 || version > 14)
    return makeError(ErrorCode::BadOpset,
                     "IR version " + Twine(version) + " is not supported", "",
                     "effc reads versions 3 to 14");
  auto opsets = readOpsets(model.opset_import(), "");
  if (!opsets)
    return opsets.takeError();
  OwningOpRef<ModuleOp> module = ModuleOp::create(NameLoc::get(b.getStringAttr(
      model.graph().name().empty() ||
              errorToBool(checkName(model.graph().name(), "name"))
          ? "main"
          : StringRef(model.graph().name()))));
  if (auto error = buildMain(*module, *opsets))
    return error;

  auto dictionary = [&](const llvm::StringMap<Attribute> &entries) {
    SmallVector<NamedAttribute> attributes;
    for (const auto &[key, value] : entries)
      if (!key.empty())
        attributes.emplace_back(b.getStringAttr(key), value);
    return b.getDictionaryAttr(attributes);
  };
  llvm::StringMap<Attribute> metadata, versions;
  for (const auto &entry : model.metadata_props())
    metadata[entry.key()] = b.getStringAttr(entry.value());
  for (const auto &[domain, number] : *opsets)
    versions[domain.empty() ? "ai.onnx" : domain] = b.getI64IntegerAttr(number);
  module.get()->setAttr("onnx.metadata", dictionary(metadata));
  module.get()->setAttr("onnx.opset", dictionary(versions));
  module.get()->setAttr("onnx.ir_version", b.getI64IntegerAttr(version));
  module.get()->setAttr("onnx.producer",
                        b.getStringAttr(StringRef(model.producer_name() + " " +
                                                  model.producer_version())
                                            .trim()));
  return module;
}
