//===- Values.cpp - names of the values inside a model --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ObservedModel.h"
#include "effc/Dialect/Eff/Eff.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace effc;

namespace {

/// Gives names to the values of one function.
class Namer {
public:
  void visit(Operation *op) {
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](eff::EmbedOp e) {
          add(begin("embed", e.getTable()), {{"out", e.getResult()}});
        })
        .Case([&](eff::LinearOp l) { visitLinear(l); })
        .Case([&](eff::Conv2DOp c) {
          add(begin("conv2d", c.getWeight()), {{"out", c.getResult()}});
        })
        .Case([&](eff::CausalConv1DOp c) {
          add(begin("conv", c.getState()),
              {{"in", c.getInput()}, {"out", c.getResult()}});
        })
        .Case([&](eff::SsmScanOp s) {
          // A scan of an image has no state.
          add(begin("ssm",
                    s.getState() ? Value(s.getState()) : Value(s.getA())),
              {{"u", s.getInput()},
               {"dt", s.getDt()},
               {"b", s.getB()},
               {"c", s.getC()},
               {"z", s.getGate()},
               {"out", s.getResult()}});
        })
        .Case([&](eff::SsdScanOp s) {
          add(begin("ssd", s.getState()), {{"x", s.getInput()},
                                           {"dt", s.getDt()},
                                           {"b", s.getB()},
                                           {"c", s.getC()},
                                           {"out", s.getResult()}});
        })
        .Case([&](eff::GatedNormOp n) {
          add(begin("norm", n.getWeight()), {{"in", n.getInput()},
                                             {"gate", n.getGate()},
                                             {"out", n.getResult()}});
        })
        .Case<eff::RmsNormOp, eff::LayerNormOp>([&](auto n) {
          add(begin("norm", n.getWeight()),
              {{"in", n.getInput()}, {"out", n.getResult()}});
        })
        .Case([&](eff::AttentionOp a) {
          // Without a cache there is no symbol to name it by.
          if (!llvm::isa<eff::CacheType>(a.getKey().getType()))
            return;
          add(begin("attention", a.getKey()),
              {{"q", a.getQuery()}, {"out", a.getResult()}});
        })
        .Case([&](eff::CacheAppendOp a) {
          add(begin("cache", a.getCache()), {{"in", a.getInput()}});
        });
  }

  std::vector<NamedValue> take() {
    std::vector<NamedValue> result;
    for (auto &[value, valueNames] : names)
      result.push_back({value, std::move(valueNames)});
    return result;
  }

private:
  void visitLinear(eff::LinearOp linear) {
    std::string name = begin("linear", linear.getWeight());
    Value input = linear.getInput();
    // The numbers that quantisation stands for.
    if (Operation *def = input.getDefiningOp();
        def && llvm::isa<eff::QuantizeOp, eff::QuantizeStaticOp>(def))
      input = def->getOperand(0);
    if (auto hadamard = input.getDefiningOp<eff::HadamardOp>())
      add("hadamard" + name.substr(name.find(':')),
          {{"in", hadamard.getInput()}});
    add(name, {{"in", input}, {"out", linear.getResult()}});
  }

  /// "KIND:@SYMBOL", with a number from the second use on.
  std::string begin(StringRef kind, Value resource) {
    auto use = resource.getDefiningOp<eff::UseOp>();
    std::string name = (kind + ":@" + (use ? use.getSymbol() : "?")).str();
    unsigned count = uses[name]++;
    return count ? name + "+" + std::to_string(count) : name;
  }

  void add(const std::string &name,
           llvm::ArrayRef<std::pair<StringRef, Value>> parts) {
    for (auto [part, value] : parts) {
      auto type = value ? llvm::dyn_cast<RankedTensorType>(value.getType())
                        : RankedTensorType();
      if (type && type.getElementType().isF32() && type.hasStaticShape() &&
          type.getRank() >= 2 && type.getNumElements() > 0)
        names[value].push_back(name + ":" + part.str());
    }
  }

  llvm::MapVector<Value, std::vector<std::string>> names;
  llvm::StringMap<unsigned> uses;
};

/// Adds the values of an attribute and all else that it says.
void addAttribute(compress::Fingerprint &print, Attribute attribute) {
  if (auto dense = llvm::dyn_cast<DenseElementsAttr>(attribute)) {
    llvm::ArrayRef<char> bytes = dense.getRawData();
    print.update(bytes.data(), bytes.size());
    return;
  }
  if (auto resource = llvm::dyn_cast<DenseResourceElementsAttr>(attribute)) {
    // Not its name, which differs from context to context.
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      print.update(blob->getData().data(), blob->getData().size());
    return;
  }
  std::string text;
  llvm::raw_string_ostream(text) << attribute;
  print.updateText(text);
}

void addAttributes(compress::Fingerprint &print, Operation *op) {
  for (NamedAttribute attribute : op->getAttrs()) {
    print.updateText(attribute.getName().str());
    if (auto elements = llvm::dyn_cast<ElementsAttr>(attribute.getValue())) {
      std::string type;
      llvm::raw_string_ostream(type) << elements.getShapedType();
      print.updateText(type);
    }
    addAttribute(print, attribute.getValue());
  }
}

} // namespace

std::vector<NamedValue> effc::nameValues(func::FuncOp func) {
  Namer namer;
  for (Operation &op : func.getBody().getOps())
    namer.visit(&op);
  return namer.take();
}

std::string effc::fingerprintModel(ModuleOp model) {
  compress::Fingerprint print;
  for (Operation &op : model.getOps())
    if (llvm::isa<eff::WeightOp, eff::StateOp>(op)) {
      print.updateText(op.getName().getStringRef().str());
      addAttributes(print, &op);
    }
  // One entry point stands for all: they differ in batch and tokens alone.
  auto funcs = model.getOps<func::FuncOp>();
  OwningOpRef<ModuleOp> copy =
      funcs.empty() ? nullptr : cloneEntry(model, *funcs.begin());
  if (!copy)
    return print.hex();
  auto func = *copy->getOps<func::FuncOp>().begin();
  for (Operation &op : func.getBody().getOps()) {
    if (!llvm::isa<eff::EffDialect>(op.getDialect()) ||
        llvm::isa<eff::UseOp, eff::SelectRowsOp>(op))
      continue;
    print.updateText(op.getName().getStringRef().str());
    for (Value operand : op.getOperands())
      if (auto use = operand.getDefiningOp<eff::UseOp>())
        print.updateText(use.getSymbol().str());
    for (NamedAttribute attribute : op.getAttrs()) {
      print.updateText(attribute.getName().str());
      addAttribute(print, attribute.getValue());
    }
  }
  return print.hex();
}
