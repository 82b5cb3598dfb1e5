//===- GraphAttributes.cpp - attributes of nodes --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "GraphBuilder.h"
#include "Types.h"
#include "effc/Support/Error.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;
using llvm::Error;
using onnx_ir::AttributeProto;
using onnx_ir::GraphProto;
using onnx_ir::NodeProto;

/// The kind of an attribute; from its contents where the file does not say (IR
/// versions before 2 did not).
static AttributeProto::AttributeType kindOf(const AttributeProto &a) {
  if (a.type() != AttributeProto::UNDEFINED)
    return a.type();
  if (a.has_f())
    return AttributeProto::FLOAT;
  if (a.has_i())
    return AttributeProto::INT;
  if (a.has_s())
    return AttributeProto::STRING;
  if (a.has_t())
    return AttributeProto::TENSOR;
  if (a.has_g())
    return AttributeProto::GRAPH;
  if (a.floats_size())
    return AttributeProto::FLOATS;
  if (a.ints_size())
    return AttributeProto::INTS;
  if (a.strings_size())
    return AttributeProto::STRINGS;
  if (a.tensors_size())
    return AttributeProto::TENSORS;
  if (a.graphs_size())
    return AttributeProto::GRAPHS;
  return AttributeProto::UNDEFINED;
}

llvm::Expected<Attribute> GraphBuilder::readAttribute(const AttributeProto &a,
                                                      StringRef where) {
  auto tensor =
      [&](const onnx_ir::TensorProto &t) -> llvm::Expected<Attribute> {
    ElementsAttr &value = seen[&t];
    if (!value) {
      // The parsed model is this importer's own; raw data is moved out of it.
      auto read = tensors.read(const_cast<onnx_ir::TensorProto &>(t),
                               std::nullopt, where);
      if (!read)
        return read.takeError();
      value = *read;
    }
    return Attribute(value);
  };
  switch (kindOf(a)) {
  case AttributeProto::FLOAT:
    return FloatAttr::get(b.getF32Type(), a.f());
  case AttributeProto::INT:
    return b.getI64IntegerAttr(a.i());
  case AttributeProto::STRING:
    return b.getStringAttr(a.s());
  case AttributeProto::TENSOR:
    return tensor(a.t());
  case AttributeProto::FLOATS:
    return b.getDenseF32ArrayAttr(
        ArrayRef<float>(a.floats().data(), a.floats_size()));
  case AttributeProto::INTS:
    return b.getDenseI64ArrayAttr(
        SmallVector<int64_t>(a.ints().begin(), a.ints().end()));
  case AttributeProto::STRINGS: {
    SmallVector<StringRef> texts(a.strings().begin(), a.strings().end());
    return b.getStrArrayAttr(texts);
  }
  case AttributeProto::TENSORS: {
    SmallVector<Attribute> values;
    for (const auto &t : a.tensors()) {
      auto value = tensor(t);
      if (!value)
        return value;
      values.push_back(*value);
    }
    return b.getArrayAttr(values);
  }
  case AttributeProto::TYPE_PROTO: {
    auto type = declaredType(b.getContext(), a.tp(), where);
    if (!type)
      return type.takeError();
    return TypeAttr::get(*type);
  }
  case AttributeProto::SPARSE_TENSOR:
  case AttributeProto::SPARSE_TENSORS:
    return makeError(ErrorCode::UnsupportedType, "a sparse tensor", where,
                     "effc does not read sparse tensors",
                     "export the constant dense");
  default:
    return makeError(ErrorCode::BadGraph,
                     "the attribute '" + a.name() + "' has no known kind",
                     where);
  }
}

Error GraphBuilder::readAttributes(
    const NodeProto &node, const Source &source, Bindings &result,
    SmallVectorImpl<std::pair<std::string, const GraphProto *>> &graphs) {
  std::string where = describe(node);
  llvm::StringSet<> names;
  auto bad = [&](const Twine &what) {
    return makeError(ErrorCode::BadGraph, what, where);
  };
  for (const AttributeProto &a : node.attribute()) {
    const std::string &name = a.name();
    if (auto error = checkName(name, "attribute name"))
      return error;
    if (name.empty() || !names.insert(name).second)
      return bad("the attribute '" + name + "' has no name or is given twice");
    if (name == "op_type" || name == "domain" || name == "since" ||
        name == "graphs")
      return bad("an attribute has the reserved name '" + name + "'");
    if (!a.ref_attr_name().empty()) {
      if (!source.bindings)
        return bad("the attribute '" + name +
                   "' refers to a function's attribute, outside functions");
      auto it = source.bindings->find(a.ref_attr_name());
      if (it != source.bindings->end())
        result[name] = it->second;
      continue; // absent where the call has none and the function no default
    }
    AttributeProto::AttributeType kind = kindOf(a);
    if (kind == AttributeProto::GRAPH) {
      graphs.emplace_back(name, &a.g());
      continue;
    }
    if (kind == AttributeProto::GRAPHS) {
      for (int i = 0; i < a.graphs_size(); ++i)
        graphs.emplace_back(name + "[" + std::to_string(i) + "]", &a.graphs(i));
      continue;
    }
    auto value = readAttribute(a, where);
    if (!value)
      return value.takeError();
    result[name] = *value;
  }
  return Error::success();
}
