//===- FileStates.cpp - past and present of a graph -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Conversion/OnnxToEff/FileStates.h"
#include "Graph.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// Nodes that only pass a state on.
static bool isMove(onnx::NodeOp node) {
  static constexpr StringLiteral names[] = {"Transpose", "Reshape",  "Squeeze",
                                            "Unsqueeze", "Identity", "Cast"};
  return node && node.getDomain().empty() &&
         llvm::is_contained(names, node.getOpType());
}

static std::string kindOf(Value present) {
  auto node = present.getDefiningOp<onnx::NodeOp>();
  while (isMove(node))
    node = node.getInput(0).getDefiningOp<onnx::NodeOp>();
  if (!node)
    return "recurrent";
  StringRef type = node.getOpType();
  if (type == "Concat")
    return "append";
  if (type == "Attention" || type == "GroupQueryAttention")
    return "append";
  if (type == "CausalConvWithState" || type == "CausalConv1d" ||
      type == "Slice")
    return "shift";
  if (type.contains("Scatter")) {
    // A window of columns that moves by one holds a Concat of its parts.
    Value from = node.getInput(0);
    auto inner = from ? from.getDefiningOp<onnx::NodeOp>() : onnx::NodeOp();
    while (isMove(inner))
      inner = inner.getInput(0).getDefiningOp<onnx::NodeOp>();
    return inner && inner.is("Concat") ? "shift" : "write";
  }
  return "recurrent";
}

/// Whether `v` depends on `input`; `known` remembers.
static bool dependsOn(Value v, BlockArgument input,
                      llvm::DenseMap<Operation *, bool> &known) {
  // Operands come before their users: one walk in the order of the block.
  if (known.empty())
    for (Operation &op : *input.getOwner())
      known[&op] = llvm::any_of(op.getOperands(), [&](Value x) {
        return x == input ||
               (x.getDefiningOp() && known.lookup(x.getDefiningOp()));
      });
  return v == input || (v.getDefiningOp() && known.lookup(v.getDefiningOp()));
}

std::vector<StatePair> effc::findStates(func::FuncOp main) {
  RaiseOptions options;
  options.kind = eff::EntryKind::Decode;
  Graph graph(main, options);
  std::vector<StatePair> out;
  auto ret = cast<func::ReturnOp>(main.getBody().front().getTerminator());
  llvm::DenseSet<unsigned> inputs, outputs;
  {
    // What cannot be paired is not an error here.
    ScopedDiagnosticHandler quiet(main.getContext(),
                                  [](Diagnostic &) { return success(); });
    if (failed(graph.pairStates()))
      graph.states.clear();
  }
  auto nameAt = [&](unsigned i) {
    auto name = main.getResultAttrOfType<StringAttr>(i, "onnx.name");
    return name ? name.getValue() : StringRef();
  };
  for (const auto &state : graph.states) {
    for (unsigned i = 0; i < ret.getNumOperands(); ++i)
      if (state->past && nameAt(i) == state->presentName) {
        out.push_back({state->past.getArgNumber(), i, kindOf(ret.getOperand(i)),
                       state->layer});
        inputs.insert(state->past.getArgNumber());
        outputs.insert(i);
      }
  }
  for (BlockArgument arg : main.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(arg.getType());
    if (inputs.contains(arg.getArgNumber()) || !type ||
        !isa<FloatType>(type.getElementType()))
      continue;
    llvm::DenseMap<Operation *, bool> known;
    SmallVector<unsigned> candidates;
    for (unsigned i = 0; i < ret.getNumOperands(); ++i) {
      bool same = main.getArgAttr(arg.getArgNumber(), "onnx.dims") &&
                  main.getArgAttr(arg.getArgNumber(), "onnx.dims") ==
                      main.getResultAttr(i, "onnx.dims");
      if (!outputs.contains(i) && same &&
          dependsOn(ret.getOperand(i), arg, known))
        candidates.push_back(i);
    }
    if (candidates.size() != 1)
      continue;
    out.push_back({arg.getArgNumber(), candidates[0],
                   kindOf(ret.getOperand(candidates[0])), -1});
    outputs.insert(candidates[0]);
  }
  llvm::sort(out, [](const StatePair &a, const StatePair &b) {
    return a.input < b.input;
  });
  return out;
}
