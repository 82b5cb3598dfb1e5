//===- Verify.cpp - checks a raised model by its numbers ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Conversion/OnnxToEff/Verify.h"
#include "GraphOps.h"

#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Frontend/ONNX/Eval.h"
#include "effc/Reference/Interpreter.h"
#include "effc/Support/Error.h"

#include <cmath>
#include <random>

using namespace mlir;
using namespace effc;
using onnx::HostTensor;

static llvm::Error cannot(Operation *op, const Twine &why) {
  std::string name = op->getName().getStringRef().str();
  if (auto node = dyn_cast<onnx::NodeOp>(op))
    name = node.getOpType().str();
  return makeError(ErrorCode::CannotRaise, "the graph cannot be evaluated",
                   name, why);
}

namespace {
using Values = llvm::DenseMap<Value, HostTensor>;
} // namespace

static llvm::Expected<std::vector<HostTensor>> evaluateBlock(Block &block,
                                                             Values &values);

/// Element offsets of slice `t` of a tensor along `axis`.
static std::vector<int64_t> sliceOffsets(ArrayRef<int64_t> shape, int64_t axis,
                                         int64_t t) {
  int64_t outer = 1, inner = 1;
  for (auto [d, size] : llvm::enumerate(shape))
    (static_cast<int64_t>(d) < axis ? outer : inner) *=
        static_cast<int64_t>(d) == axis ? 1 : size;
  std::vector<int64_t> out;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i)
      out.push_back((o * shape[axis] + t) * inner + i);
  return out;
}

/// Scan over f32 tensors, forwards.
static llvm::Error evaluateScan(onnx::NodeOp node, Values &values,
                                SmallVectorImpl<HostTensor> &results) {
  Block &body = node->getRegion(0).front();
  int64_t scanned = node.getInt("num_scan_inputs", 0),
          states = node->getNumOperands() - scanned;
  auto inAxes = node.getInts("scan_input_axes"),
       outAxes = node.getInts("scan_output_axes");
  auto axisOf = [](const std::optional<SmallVector<int64_t>> &axes, int64_t i,
                   int64_t rank) {
    int64_t axis =
        axes && i < static_cast<int64_t>(axes->size()) ? (*axes)[i] : 0;
    return axis < 0 ? axis + rank : axis;
  };
  std::vector<HostTensor> carried;
  for (int64_t i = 0; i < states; ++i)
    carried.push_back(values.find(node.getInput(i))->second);
  const HostTensor &first = values.find(node.getInput(states))->second;
  int64_t steps = first.shape[axisOf(inAxes, 0, first.rank())];
  for (int64_t t = 0; t < steps; ++t) {
    Values inner = values;
    for (int64_t i = 0; i < states; ++i)
      inner[body.getArgument(i)] = carried[i];
    for (int64_t i = 0; i < scanned; ++i) {
      const HostTensor &whole = values.find(node.getInput(states + i))->second;
      auto type =
          cast<RankedTensorType>(body.getArgument(states + i).getType());
      HostTensor part(type.getElementType(), type.getShape());
      for (auto [to, from] : llvm::enumerate(
               sliceOffsets(whole.shape, axisOf(inAxes, i, whole.rank()), t)))
        part.floats[to] = whole.floats[from];
      inner[body.getArgument(states + i)] = std::move(part);
    }
    auto yielded = evaluateBlock(body, inner);
    if (!yielded)
      return yielded.takeError();
    for (int64_t i = 0; i < static_cast<int64_t>(yielded->size()); ++i) {
      if (i < states) {
        carried[i] = (*yielded)[i];
        continue;
      }
      HostTensor &whole = results[i];
      for (auto [from, to] : llvm::enumerate(sliceOffsets(
               whole.shape, axisOf(outAxes, i - states, whole.rank()), t)))
        whole.floats[to] = (*yielded)[i].floats[from];
    }
  }
  for (int64_t i = 0; i < states; ++i)
    results[i] = carried[i];
  return llvm::Error::success();
}

static llvm::Expected<std::vector<HostTensor>> evaluateBlock(Block &block,
                                                             Values &values) {
  for (Operation &op : block.without_terminator()) {
    if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
      auto tensor = HostTensor::read(constant.getValue());
      if (failed(tensor))
        return cannot(&op, "a constant has no data");
      values[constant.getResult()] = std::move(*tensor);
      continue;
    }
    auto node = dyn_cast<onnx::NodeOp>(op);
    if (!node)
      continue;
    SmallVector<const HostTensor *> operands;
    for (Value v : node.getInputs())
      operands.push_back(isa<NoneType>(v.getType()) ? nullptr
                                                    : &values.find(v)->second);
    std::optional<SmallVector<HostTensor>> results;
    if (onnx::canEvaluate(node))
      results = onnx::evaluate(node, operands);
    if (!results) {
      results.emplace();
      for (Type type : node.getOutputs().getTypes()) {
        auto tensor = dyn_cast<RankedTensorType>(type);
        results->push_back(
            tensor ? HostTensor(tensor.getElementType(), tensor.getShape())
                   : HostTensor());
      }
      if (node.is("Scan")) {
        if (llvm::Error error = evaluateScan(node, values, *results))
          return std::move(error);
      } else if (!raise::evaluateComposite(node, operands, *results)) {
        return cannot(&op, "the operator has no evaluation");
      }
      for (HostTensor &r : *results)
        if (r.elementType)
          r.round();
    }
    for (auto [v, r] : llvm::zip_equal(node.getOutputs(), *results))
      values[v] = std::move(r);
  }
  std::vector<HostTensor> out;
  for (Value v : block.getTerminator()->getOperands())
    out.push_back(values[v]);
  return out;
}

llvm::Expected<std::vector<HostTensor>>
effc::evaluateGraph(func::FuncOp main, ArrayRef<HostTensor> inputs) {
  Values values;
  for (auto [arg, tensor] : llvm::zip_equal(main.getArguments(), inputs))
    values[arg] = tensor;
  return evaluateBlock(main.getBody().front(), values);
}

namespace {
using Tensor = reference::Tensor<double>;

/// One state: its declaration, and where the onnx graph takes and gives it.
struct Slot {
  Operation *op;
  int past = -1, present = -1;
  std::vector<float> scales = {}; ///< of a cache of integers
};

/// The scales by which the entry point appends to a cache.
std::vector<float> scalesOf(func::FuncOp entry, Operation *cache) {
  std::vector<float> scales;
  entry.walk([&](eff::CacheAppendOp append) {
    auto to = append.getCache().getDefiningOp<eff::UseOp>();
    auto scale = append.getScale()
                     ? append.getScale().getDefiningOp<eff::UseOp>()
                     : eff::UseOp();
    if (!to || !scale || to.getSymbol() != SymbolTable::getSymbolName(cache))
      return;
    auto weight =
        entry->getParentOfType<ModuleOp>().lookupSymbol<eff::WeightOp>(
            scale.getSymbol());
    auto values = eff::WeightValues::read(weight);
    if (!values)
      return llvm::consumeError(values.takeError());
    scales.assign(values->getValues().begin(), values->getValues().end());
  });
  return scales;
}

/// The numbers that a cache of integers stands for.
HostTensor decoded(const Slot &slot, const HostTensor &codes) {
  auto cache = dyn_cast<eff::CacheOp>(slot.op);
  int64_t bits = cache ? cache.getType().getIntBits() : 0;
  if (!bits || slot.scales.empty())
    return codes;
  int64_t width = cache.getType().getHeadDim();
  SmallVector<int64_t> shape(codes.shape);
  shape.back() = width;
  HostTensor out(Float32Type::get(slot.op->getContext()), shape);
  for (int64_t at = 0; at < out.size(); ++at) {
    int64_t i = at % width, h = at / width / shape[2] % shape[1];
    int64_t code = bits == 8 ? codes.ints[at]
                             : (codes.ints[at / 2] >> at % 2 * 4 & 15) - 8;
    out.floats[at] = code * static_cast<double>(slot.scales[h * width + i]);
  }
  return out;
}

/// Elements of batch row `row` of an onnx state in the order of the
/// interpreter's buffer.
std::vector<double> toBuffer(Operation *op, const HostTensor &state,
                             int64_t row) {
  int64_t count = state.size() / state.shape[0];
  ArrayRef<int64_t> shape = ArrayRef(state.shape).drop_front();
  // Caches are [tokens][heads][width] there, [heads, tokens, width] here.
  SmallVector<int64_t> perm{1, 0, 2};
  if (!isa<eff::CacheOp>(op))
    perm = SmallVector<int64_t>(
        op->getAttrOfType<DenseI64ArrayAttr>("eff.perm").asArrayRef());
  SmallVector<int64_t> strides(shape.size(), 1), sizes;
  for (int64_t d = static_cast<int64_t>(shape.size()) - 2; d >= 0; --d)
    strides[d] = strides[d + 1] * shape[d + 1];
  for (int64_t p : perm)
    sizes.push_back(shape[p]);
  std::vector<double> out;
  SmallVector<int64_t> at(perm.size(), 0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t from = 0;
    for (auto [a, p] : llvm::zip(at, perm))
      from += a * strides[p];
    out.push_back(state.floats[row * count + from]);
    for (int64_t d = static_cast<int64_t>(at.size()) - 1;
         d >= 0 && ++at[d] == sizes[d]; --d)
      at[d] = 0;
  }
  return out;
}

double difference(ArrayRef<double> a, ArrayRef<double> b) {
  double largest = 1e-30, worst = 0;
  if (a.size() != b.size())
    return HUGE_VAL;
  for (auto [x, y] : llvm::zip(a, b)) {
    largest = std::max(largest, std::abs(y));
    worst = std::isfinite(x) && std::isfinite(y)
                ? std::max(worst, std::abs(x - y))
                : HUGE_VAL;
  }
  return worst / largest;
}

int findName(func::FuncOp f, StringRef name, bool results) {
  unsigned count = results ? f.getNumResults() : f.getNumArguments();
  for (unsigned i = 0; i < count; ++i) {
    auto attr = results ? f.getResultAttrOfType<StringAttr>(i, "onnx.name")
                        : f.getArgAttrOfType<StringAttr>(i, "onnx.name");
    if (attr && attr.getValue() == name)
      return i;
  }
  return -1;
}
} // namespace

llvm::Expected<RaiseError> effc::compareWithGraph(ModuleOp onnxModule,
                                                  func::FuncOp entry,
                                                  int64_t past, unsigned seed) {
  auto main = onnxModule.lookupSymbol<func::FuncOp>("main");
  auto effModule = entry->getParentOfType<ModuleOp>();
  auto info = entry->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr);
  auto model =
      effModule->getAttrOfType<eff::ModelAttr>(eff::EffDialect::kModelAttr);
  if (!main || !info || !model)
    return makeError(ErrorCode::CannotRaise, "there is nothing to compare");
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<HostTensor> inputs;
  for (BlockArgument arg : main.getArguments()) {
    auto type = cast<RankedTensorType>(arg.getType());
    HostTensor t(type.getElementType(), type.getShape());
    for (double &x : t.floats)
      x = normal(random);
    for (int64_t &x : t.ints)
      x = random() % std::max<int64_t>(
                         1, std::min<int64_t>(
                                model.getVocab() ? model.getVocab() : 2, 1000));
    // A log decay is not positive.
    if (auto name =
            main.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "onnx.name");
        name && name.getValue() == "g")
      for (double &x : t.floats)
        x = -std::abs(x);
    t.round();
    inputs.push_back(std::move(t));
  }
  auto expected = evaluateGraph(main, inputs);
  if (!expected)
    return expected.takeError();

  std::vector<Slot> slots;
  for (Operation &op : *effModule.getBody())
    if (isa<eff::StateOp, eff::CacheOp>(op)) {
      Slot slot{&op};
      if (auto name = op.getAttrOfType<StringAttr>("eff.past"))
        slot.past = findName(main, name.getValue(), false);
      if (auto name = op.getAttrOfType<StringAttr>("eff.present"))
        slot.present = findName(main, name.getValue(), true);
      slot.scales = scalesOf(entry, &op);
      slots.push_back(slot);
    }
  reference::Interpreter<double> interpreter(effModule);
  int64_t batch = info.getBatch();
  std::vector<reference::Sequence<double>> sequences(batch);
  std::vector<reference::Row<double>> rows(batch);
  for (int64_t b = 0; b < batch; ++b) {
    sequences[b] = interpreter.createSequence();
    sequences[b].length = past;
    for (Slot &slot : slots)
      if (slot.past >= 0)
        sequences[b].buffers[SymbolTable::getSymbolName(slot.op).str()] =
            toBuffer(slot.op, decoded(slot, inputs[slot.past]), b);
    rows[b].sequence = &sequences[b];
  }
  std::vector<Tensor> arguments;
  for (unsigned i = 0; i < entry.getNumArguments(); ++i) {
    auto name = entry.getArgAttrOfType<StringAttr>(i, "eff.name");
    int from = name ? findName(main, name.getValue(), false) : -1;
    if (from < 0)
      return makeError(
          ErrorCode::CannotRaise,
          "an argument of the entry point is no input of the graph");
    const HostTensor &t = inputs[from];
    arguments.push_back(t.isFloat() ? Tensor::fromFloats(t.shape, t.floats)
                                    : Tensor::fromIntegers(t.shape, t.ints));
  }
  auto results = interpreter.run(entry, arguments, rows, /*allLogits=*/true);
  if (!results)
    return results.takeError();
  RaiseError error;
  for (unsigned i = 0; i < entry.getNumResults(); ++i) {
    auto name = entry.getResultAttrOfType<StringAttr>(i, "eff.name");
    int from = name ? findName(main, name.getValue(), true) : -1;
    if (from < 0)
      return makeError(ErrorCode::CannotRaise,
                       "a result of the entry point is no output of the graph");
    const HostTensor &t = (*expected)[from];
    const Tensor &r = (*results)[i];
    std::vector<double> want = t.floats, have = r.floats;
    want.insert(want.end(), t.ints.begin(), t.ints.end());
    have.insert(have.end(), r.integers.begin(), r.integers.end());
    error.results = std::max(error.results, difference(have, want));
  }
  for (Slot &slot : slots)
    if (slot.present >= 0)
      for (int64_t b = 0; b < batch; ++b) {
        HostTensor t = decoded(slot, (*expected)[slot.present]);
        std::vector<double> want = toBuffer(slot.op, t, b);
        error.states = std::max(
            error.states,
            difference(
                sequences[b].buffers[SymbolTable::getSymbolName(slot.op).str()],
                want));
      }
  return error;
}
