//===- ProgramBuilder.cpp - one entry point becomes a program -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"
#include "GenericCode.h"

#include "effc/Dialect/Plan/Families.h"
#include "effc/Support/Error.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace effc;

ProgramBuilder::ProgramBuilder(func::FuncOp func, Kernels &kernels,
                               SymbolTable &symbols)
    : func(func), kernels(kernels), symbols(symbols), refs(func.getContext()),
      steps(func.getContext()) {}

/// The name of an argument or result: as in the source file, else one that says
/// what it is.
static StringAttr getName(func::FuncOp func, bool isResult, unsigned index) {
  for (llvm::StringRef key : {"eff.name", "onnx.name"}) {
    Attribute name =
        isResult ? func.getResultAttr(index, key) : func.getArgAttr(index, key);
    if (auto text = llvm::dyn_cast_or_null<StringAttr>(name))
      return text;
  }
  std::string name = isResult ? "output" : "input";
  return StringAttr::get(func.getContext(), name + std::to_string(index));
}

/// The type that the manifest names: unsigned where the source is.
static RankedTensorType getDeclared(func::FuncOp func, bool isResult,
                                    unsigned index, Type type) {
  auto tensor = llvm::cast<RankedTensorType>(type);
  Type element = tensor.getElementType();
  bool isUnsigned = isResult ? bool(func.getResultAttr(index, "eff.unsigned"))
                             : bool(func.getArgAttr(index, "eff.unsigned"));
  if (!isUnsigned || !element.isInteger())
    return tensor;
  return tensor.clone(IntegerType::get(type.getContext(),
                                       element.getIntOrFloatBitWidth(),
                                       IntegerType::Unsigned));
}

void ProgramBuilder::openProgram() {
  OpBuilder builder(func);
  auto entry = func->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr);
  program = plan::ProgramOp::create(builder, func.getLoc(), func.getName(),
                                    entry, IntegerAttr());
  Block &body = program.getBody().emplaceBlock();
  steps.setInsertionPointToEnd(&body);
  for (BlockArgument argument : func.getArguments()) {
    auto type = llvm::cast<RankedTensorType>(argument.getType());
    auto input = plan::InputOp::create(
        atRefs(), argument.getLoc(), argument.getArgNumber(),
        getName(func, false, argument.getArgNumber()),
        getDeclared(func, false, argument.getArgNumber(), type));
    places[argument] = Place::contiguous(input, type);
  }
}

/// Whether an op only renames a contiguous tensor.
static Value getReshaped(Value value) {
  Operation *def = value.getDefiningOp();
  if (llvm::isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(
          def))
    return def->getOperand(0);
  return {};
}

/// Declares the outputs; the values that they hold are computed into them.
void ProgramBuilder::findOutputs(func::ReturnOp ret) {
  for (auto [index, value] : llvm::enumerate(ret.getOperands())) {
    auto output = plan::OutputOp::create(
        atRefs(), ret.getLoc(), index, getName(func, true, index),
        getDeclared(func, true, index, value.getType()));
    for (Value v = value; v; v = getReshaped(v))
      outputs.try_emplace(v, output);
  }
}

LogicalResult ProgramBuilder::build() {
  auto ret = llvm::cast<func::ReturnOp>(func.front().getTerminator());
  openProgram();
  findOutputs(ret);
  for (Operation &op : func.front().without_terminator()) {
    if (failed(convert(&op)))
      return failure();
    bool isSelected = llvm::isa<eff::SelectRowsOp>(op) ||
                      llvm::any_of(op.getOperands(), [&](Value operand) {
                        return selected.contains(operand);
                      });
    if (isSelected)
      selected.insert(op.result_begin(), op.result_end());
  }
  return finish(ret);
}

LogicalResult ProgramBuilder::convert(Operation *op) {
  if (llvm::isa<eff::UseOp>(op) || isCloned(op))
    return success();
  if (auto read = llvm::dyn_cast<eff::ReadOp>(op)) {
    places[read.getResult()] = Place::contiguous(getResource(read.getWeight()),
                                                 read.getResult().getType());
    return success();
  }
  bool isView = llvm::isa<eff::SplitOp, tensor::ExpandShapeOp,
                          tensor::CollapseShapeOp, tensor::ExtractSliceOp>(op);
  // Kernels move words of four bytes: parts of smaller elements are copied by
  // code.
  if (llvm::isa<tensor::ExtractSliceOp>(op) &&
      getElementBytes(getElementTypeOrSelf(op->getResult(0).getType())) < 4)
    isView = false;
  if (isView) {
    Operation *def = op->getOperand(0).getDefiningOp();
    bool isPlaced = !def || (!groupOf.lookup(def) && !isCloned(def));
    if (isPlaced || llvm::isa<eff::SplitOp>(op))
      return convertView(op);
  }
  if (llvm::isa<eff::EffDialect>(op->getDialect())) {
    if (isDone(op))
      return success();
    if (failed(closeGroups(op->getOperands())))
      return failure();
    for (OpOperand &use : op->getOpOperands()) {
      Value operand = getSource(use);
      if (llvm::isa<RankedTensorType>(operand.getType()) &&
          !places.count(operand) && failed(placeConstant(operand)))
        return failure();
    }
    return convertKernel(op);
  }
  return addGeneric(op);
}

LogicalResult ProgramBuilder::convertKernel(Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<eff::AttentionOp, eff::CacheAppendOp, eff::CausalConv1DOp,
            eff::CollapseChannelsOp, eff::CollapsedScanOp, eff::Conv2DOp,
            eff::CrossMergeOp, eff::CrossScanOp, eff::DepthwiseConv2DOp,
            eff::DequantizeOp, eff::EmbedOp, eff::ExpandChannelsOp,
            eff::GatedNormOp, eff::HadamardOp, eff::LayerNormOp, eff::LinearOp,
            eff::PositionEmbedOp, eff::QuantizeOp, eff::QuantizeStaticOp,
            eff::RmsNormOp, eff::RopeOp, eff::SampleOp, eff::SelectRowsOp,
            eff::SsdScanOp, eff::SsmScanOp, eff::TensorScaleOp>(
          [&](auto typed) { return convert(typed); })
      .Default([&](Operation *other) {
        auto diagnostic = emitUserError(other->getLoc(), ErrorCode::CodeGen,
                                        "no kernel computes " +
                                            other->getName().getStringRef());
        return failure();
      });
}

/// Writes what no step has computed into its output.
LogicalResult ProgramBuilder::finish(func::ReturnOp ret) {
  if (failed(closeGroups(ret.getOperands())))
    return failure();
  for (auto [index, value] : llvm::enumerate(ret.getOperands())) {
    if (llvm::cast<RankedTensorType>(value.getType()).getNumElements() == 0)
      continue;
    if (!places.count(value) && failed(placeConstant(value)))
      return failure();
    plan::OutputOp output;
    for (auto candidate : program.getBody().getOps<plan::OutputOp>())
      if (candidate.getIndex() == index)
        output = candidate;
    Place place = getPlace(value);
    if (place.base == output.getResult())
      continue;
    copy(place, Place::contiguous(
                    output, llvm::cast<RankedTensorType>(value.getType())));
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

std::optional<Place> ProgramBuilder::getView(Operation *op,
                                             const Place &source) {
  return llvm::TypeSwitch<Operation *, std::optional<Place>>(op)
      .Case([&](tensor::ExpandShapeOp e) { return expand(source, e); })
      .Case([&](tensor::CollapseShapeOp c) { return collapse(source, c); })
      .Case([&](tensor::ExtractSliceOp s) { return slice(source, s); })
      .Default([](Operation *) { return std::nullopt; });
}

LogicalResult ProgramBuilder::convertView(Operation *op) {
  Value source = op->getOperand(0);
  if (failed(closeGroups(source)) ||
      (!places.count(source) && failed(placeConstant(source))))
    return failure();
  Place place = getPlace(source);
  if (auto split = llvm::dyn_cast<eff::SplitOp>(op)) {
    for (Value part : split.getResults()) {
      auto type = llvm::cast<RankedTensorType>(part.getType());
      place.shape.back() = type.getShape().back();
      places[part] = place;
      place.offset += type.getShape().back() * place.elementBytes;
    }
    return success();
  }
  std::optional<Place> view = getView(op, place);
  if (!view && !place.isContiguous())
    view = getView(op, makeContiguous(place));
  if (!view)
    return addGeneric(op);
  places[op->getResult(0)] = *view;
  return success();
}

//===----------------------------------------------------------------------===//
// Places and references
//===----------------------------------------------------------------------===//

OpBuilder &ProgramBuilder::atRefs() {
  Block &body = program.getBody().front();
  Block::iterator at =
      lastRef ? std::next(lastRef->getIterator()) : body.begin();
  for (; at != body.end() &&
         llvm::isa<plan::InputOp, plan::OutputOp, plan::WeightOp, plan::StateOp,
                   plan::NullOp>(*at);
       ++at)
    lastRef = &*at;
  refs.setInsertionPoint(&body, at);
  return refs;
}

Place ProgramBuilder::getPlace(Value value) { return places.at(value); }

Value ProgramBuilder::createBuffer(int64_t bytes) {
  return plan::BufferOp::create(steps, func.getLoc(), bytes, IntegerAttr());
}

Place ProgramBuilder::allocate(Value value) {
  auto type = llvm::cast<RankedTensorType>(value.getType());
  auto output = outputs.find(value);
  // The first value of a chain of reshapes takes the output.
  if (output != outputs.end() && output->second->use_empty())
    return places[value] = Place::contiguous(output->second, type);
  int64_t bytes =
      type.getNumElements() * getElementBytes(type.getElementType());
  return places[value] = Place::contiguous(createBuffer(bytes), type);
}

void ProgramBuilder::copyBytes(const Place &from, const Place &to) {
  // As one line of whatever integers the elements are long.
  int64_t elements = llvm::product_of(from.shape);
  auto type = RankedTensorType::get(
      {elements},
      IntegerType::get(func.getContext(), unsigned(8 * from.elementBytes)));
  Region body;
  Block &block = body.emplaceBlock();
  block.addArgument(type, func.getLoc());
  OpBuilder builder(func.getContext());
  builder.setInsertionPointToEnd(&block);
  plan::YieldOp::create(builder, func.getLoc(), block.getArguments());
  plan::GenericOp generic = kernels.getGeneric(body, func.getLoc());
  llvm::SmallVector<Value> operands = {getRef(from), getRef(to)};
  plan::StepOp::create(steps, func.getLoc(), generic.getSymName(), operands,
                       llvm::ArrayRef<int64_t>{1}, 0, 0);
  ++summary.steps;
  ++summary.generics;
}

void ProgramBuilder::copy(const Place &from, const Place &to) {
  int64_t bytes = llvm::product_of(from.shape) * from.elementBytes;
  if (bytes == 0)
    return;
  if (bytes % 4 != 0 && from.isContiguous() && to.isContiguous())
    return copyBytes(from, to);
  auto x = getRowLayout(from), y = getRowLayout(to);
  if (!x || !y) {
    // No common distance between all rows: one dimension at a time.
    for (int64_t i = 0; i < from.shape.front(); ++i)
      copy(from.at(i), to.at(i));
    return;
  }
  // The kernel moves words of four bytes.
  auto words = [&](int64_t elements) {
    return llvm::divideCeil(elements * from.elementBytes, 4);
  };
  ++summary.copies;
  addStep(func, "copy_rows",
          {{"rows", x->rows},
           {"d", words(x->columns)},
           {"ldx", words(x->ld)},
           {"ldy", words(y->ld)}},
          {getRef(from), getRef(to)}, {});
}

Place ProgramBuilder::makeContiguous(const Place &place) {
  if (place.isContiguous())
    return place;
  Place packed = place;
  packed.offset = 0;
  int64_t elements = 1;
  for (size_t i = place.shape.size(); i-- > 0;) {
    packed.strides[i] = elements;
    elements *= place.shape[i];
  }
  packed.base = createBuffer(elements * place.elementBytes);
  copy(place, packed);
  return packed;
}

Value ProgramBuilder::getRef(const Place &place) {
  if (place.offset == 0)
    return place.base;
  return plan::ViewOp::create(steps, func.getLoc(), place.base, place.offset);
}

Matrix ProgramBuilder::getMatrix(Value value) {
  Place place = getPlace(value);
  std::optional<RowLayout> layout = getRowLayout(place);
  if (!layout) {
    place = places[value] = makeContiguous(place);
    layout = getRowLayout(place);
  }
  return {getRef(place), layout->rows, layout->columns, layout->ld};
}

Matrix ProgramBuilder::allocateMatrix(Value value) {
  Place place = allocate(value);
  RowLayout layout = *getRowLayout(place);
  return {getRef(place), layout.rows, layout.columns, layout.ld};
}

Value ProgramBuilder::getNull() {
  if (!null)
    null = plan::NullOp::create(atRefs(), func.getLoc());
  return null;
}

Value ProgramBuilder::getResource(Value value) {
  if (!value)
    return getNull();
  auto use = value.getDefiningOp<eff::UseOp>();
  Value &ref = resources[use.getSymbolAttr()];
  if (ref)
    return ref;
  if (llvm::isa<eff::WeightType>(value.getType()))
    ref = plan::WeightOp::create(atRefs(), use.getLoc(), use.getSymbolAttr());
  else
    ref = plan::StateOp::create(atRefs(), use.getLoc(), use.getSymbolAttr());
  return ref;
}

int64_t ProgramBuilder::getRows(Value value, int64_t rows) {
  return selected.contains(value) ? 0 : rows;
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

/// What an op reads of its weights when it does not say so itself, and a few
/// operations for each element.
static Cost estimateCost(Operation *op) {
  constexpr int64_t kFlopsPerElement = 4;
  Cost cost;
  for (Value operand : op->getOperands())
    if (auto weight = llvm::dyn_cast<eff::WeightType>(operand.getType()))
      cost.bytes += weight.getPackedBytes();
  if (op->getNumResults() > 0)
    if (auto type =
            llvm::dyn_cast<RankedTensorType>(op->getResult(0).getType()))
      cost.flops = kFlopsPerElement * type.getNumElements();
  return cost;
}

Cost ProgramBuilder::getCost(Operation *op) {
  auto costed = llvm::dyn_cast<eff::Costed>(op);
  Cost cost =
      costed ? Cost{costed.getFlops(), costed.getTraffic()} : estimateCost(op);
  // Of the rows of eff.select_rows a call asks for one of each sequence, as a
  // rule.
  if (llvm::any_of(op->getOperands(),
                   [&](Value value) { return selected.contains(value); }))
    cost.flops /= program.getEntry().getTokens();
  return cost;
}

void ProgramBuilder::addStep(Operation *op, llvm::StringRef family,
                             Constants constants,
                             llvm::ArrayRef<Value> operands, Cost cost) {
  Region none;
  addStep(op, family, constants, none, operands, cost);
}

void ProgramBuilder::addStep(Operation *op, llvm::StringRef family,
                             Constants constants, Region &epilogue,
                             llvm::ArrayRef<Value> operands, Cost cost) {
  plan::KernelOp kernel =
      kernels.get(family, constants, epilogue, op->getLoc());
  const plan::Family &described = *plan::findFamily(family);
  // What is absent at the end need not be said by those who add steps.
  llvm::SmallVector<Value> all(operands);
  while (all.size() < described.operands.size())
    all.push_back(getNull());
  plan::StepOp::create(steps, op->getLoc(), kernel.getSymName(), all,
                       plan::getWrites(described, kernel), cost.flops,
                       cost.bytes);
  ++summary.steps;
}
