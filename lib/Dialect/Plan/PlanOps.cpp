//===- PlanOps.cpp - verifiers of the plan dialect ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Plan/Families.h"
#include "effc/Dialect/Plan/Liveness.h"
#include "effc/Dialect/Plan/Plan.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace effc::plan;

#define GET_OP_CLASSES
#include "effc/Dialect/Plan/PlanOps.cpp.inc"

//===----------------------------------------------------------------------===//
// References
//===----------------------------------------------------------------------===//

LogicalResult BufferOp::verify() {
  if (int64_t bytes = getBytes(); bytes <= 0)
    return emitOpError("C1: bytes must be positive, got ") << bytes;
  if (int64_t offset = getOffset().value_or(0); offset < 0 || offset % 64 != 0)
    return emitOpError("C2: the offset must be a multiple of 64, got ")
           << offset;
  return success();
}

/// C1 of inputs and outputs.
static LogicalResult verifyArgument(Operation *op, int64_t index, Type type) {
  if (index < 0)
    return op->emitOpError("C1: the index must not be negative, got ") << index;
  if (!llvm::cast<RankedTensorType>(type).hasStaticShape())
    return op->emitOpError("C1: the type must have a static shape, got ")
           << type;
  return success();
}

LogicalResult InputOp::verify() {
  return verifyArgument(*this, getIndex(), getType());
}

LogicalResult OutputOp::verify() {
  return verifyArgument(*this, getIndex(), getType());
}

/// Bytes of what a reference names; nothing when they are not known here.
static std::optional<int64_t> getExtent(Value base) {
  if (auto buffer = base.getDefiningOp<BufferOp>())
    return buffer.getBytes();
  Type type;
  if (auto input = base.getDefiningOp<InputOp>())
    type = input.getType();
  else if (auto output = base.getDefiningOp<OutputOp>())
    type = output.getType();
  else
    return std::nullopt;
  auto tensor = llvm::cast<RankedTensorType>(type);
  if (!tensor.hasStaticShape() || !tensor.getElementType().isIntOrFloat())
    return std::nullopt;
  return tensor.getNumElements() *
         llvm::divideCeil(tensor.getElementTypeBitWidth(), 8);
}

LogicalResult ViewOp::verify() {
  if (int64_t offset = getOffset(); offset < 0)
    return emitOpError("C1: the offset must not be negative, got ") << offset;
  int64_t offset = getViewOffset(getResult());
  if (auto extent = getExtent(plan::getBase(getResult()));
      extent && offset >= *extent)
    return emitOpError("C2: the offset ")
           << offset << " lies beyond the " << *extent << " bytes of its base";
  return success();
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto weight =
      symbols.lookupNearestSymbolFrom<eff::WeightOp>(*this, getSymbolAttr());
  if (!weight)
    return emitOpError("C1: no eff.weight has the name ") << getSymbolAttr();
  return success();
}

LogicalResult StateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *state = symbols.lookupNearestSymbolFrom(*this, getSymbolAttr());
  if (!llvm::isa_and_nonnull<eff::StateOp, eff::CacheOp>(state))
    return emitOpError("C1: no eff.state or eff.cache has the name ")
           << getSymbolAttr();
  return success();
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

int64_t KernelOp::getConstant(llvm::StringRef name) {
  auto value = getConstants().getAs<IntegerAttr>(name);
  return value ? value.getInt() : 0;
}

/// C1: every constant of the family but those that are optional, and no other.
static LogicalResult verifyConstants(KernelOp kernel, const Family &family) {
  llvm::SmallVector<std::string> expected;
  for (llvm::StringRef name : family.constants)
    expected.push_back(name.str());
  if (family.linear)
    for (int64_t i = 0, e = kernel.getConstant("extras"); i < e; ++i)
      expected.push_back("extra" + std::to_string(i) + "_ld");
  for (llvm::StringRef name : expected)
    if (!kernel.getConstants().contains(name))
      return kernel.emitOpError("C1: the constant '")
             << name << "' of the family '" << family.name << "' is missing";
  for (NamedAttribute constant : kernel.getConstants()) {
    llvm::StringRef name = constant.getName().getValue();
    if (!llvm::is_contained(expected, name) &&
        !llvm::is_contained(family.optionalConstants, name))
      return kernel.emitOpError("C1: the family '")
             << family.name << "' has no constant '" << name << "'";
    auto value = llvm::dyn_cast<IntegerAttr>(constant.getValue());
    if (!value || !value.getType().isInteger(64))
      return kernel.emitOpError("C1: the constant '")
             << name << "' must be an i64";
  }
  return success();
}

LogicalResult KernelOp::verifyRegions() {
  const Family *family = findFamily(getFamily());
  if (!family)
    return emitOpError("C1: unknown kernel family '") << getFamily() << "'";
  if (failed(verifyConstants(*this, *family)))
    return failure();
  if (getEpilogue().empty()) {
    if (getConstant("extras") > 0)
      return emitOpError("C3: extras need an epilogue that reads them");
    return success();
  }
  if (!family->linear)
    return emitOpError("C2: the family '")
           << getFamily() << "' takes no epilogue";
  Block &body = getEpilogue().front();
  int64_t arguments = 1 + getConstant("extras");
  if (body.getNumArguments() != arguments)
    return emitOpError("C2: the epilogue must have ")
           << arguments << " arguments, got " << body.getNumArguments();
  for (Type type : body.getArgumentTypes())
    if (!type.isF32())
      return emitOpError("C2: the epilogue's arguments must be f32, got ")
             << type;
  for (Operation &op : body.without_terminator())
    if (!llvm::isa<arith::ArithDialect, math::MathDialect>(op.getDialect()))
      return op.emitOpError("C2: an epilogue holds arith and math ops alone");
  auto yield = llvm::dyn_cast<YieldOp>(body.back());
  if (!yield || yield.getValues().size() != 1 ||
      !yield.getValues()[0].getType().isF32())
    return emitOpError("C2: the epilogue must yield one f32");
  return success();
}

unsigned GenericOp::getOperandCount() {
  Block &body = getBody().front();
  return body.getNumArguments() + body.getTerminator()->getNumOperands() +
         (getScratch() > 0 ? 1 : 0);
}

LogicalResult GenericOp::verifyRegions() {
  Block &body = getBody().front();
  auto isStatic = [](Type type) {
    auto tensor = llvm::dyn_cast<RankedTensorType>(type);
    return tensor && tensor.hasStaticShape();
  };
  auto yield = llvm::dyn_cast<YieldOp>(body.back());
  if (!yield || yield.getValues().empty())
    return emitOpError("C2: the body must yield at least one tensor");
  for (Type type :
       llvm::concat<const Type>(llvm::to_vector(body.getArgumentTypes()),
                                llvm::to_vector(yield.getOperandTypes())))
    if (!isStatic(type))
      return emitOpError("C1: arguments and results must be tensors of static "
                         "shape, got ")
             << type;
  if (int64_t scratch = getScratch(); scratch < 0)
    return emitOpError("C3: scratch must not be negative, got ") << scratch;
  return success();
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

bool StepOp::isWritten(unsigned operand) {
  return llvm::is_contained(getWrites(), static_cast<int64_t>(operand));
}

/// C2 and C3 against what the kernel expects.
static LogicalResult verifyOperands(StepOp step, size_t count,
                                    llvm::ArrayRef<int64_t> writes) {
  if (step.getOperands().size() != count)
    return step.emitOpError("C2: ")
           << step.getKernelAttr() << " takes " << count << " operands, got "
           << step.getOperands().size();
  if (step.getWrites() != writes) {
    InFlightDiagnostic diagnostic = step.emitOpError("C3: ")
                                    << step.getKernelAttr()
                                    << " writes operands [";
    llvm::interleaveComma(writes, diagnostic);
    return diagnostic << "]";
  }
  return success();
}

LogicalResult StepOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *callee = symbols.lookupNearestSymbolFrom(*this, getKernelAttr());
  if (auto generic = llvm::dyn_cast_or_null<GenericOp>(callee)) {
    llvm::SmallVector<int64_t> writes;
    for (int64_t i = generic.getBody().getNumArguments(),
                 e = generic.getOperandCount();
         i < e; ++i)
      writes.push_back(i);
    return verifyOperands(*this, generic.getOperandCount(), writes);
  }
  auto kernel = llvm::dyn_cast_or_null<KernelOp>(callee);
  if (!kernel)
    return emitOpError("C1: no plan.kernel or plan.generic has the name ")
           << getKernelAttr();
  const Family *family = findFamily(kernel.getFamily());
  if (!family)
    return success(); // The kernel's own verifier reports it.
  size_t fixed = family->operands.size();
  if (failed(verifyOperands(*this, fixed + kernel.getConstant("extras"),
                            effc::plan::getWrites(*family, kernel))))
    return failure();
  for (auto [index, operand] : llvm::enumerate(getOperands())) {
    bool optional = index < fixed && family->operands[index].optional &&
                    !(family->operands[index].use == Use::ScaleOfResult &&
                      kernel.getConstant("quant") != 0);
    if (operand.getDefiningOp<NullOp>() && !optional)
      return emitOpError("C4: operand ")
             << index << " of the family '" << family->name
             << "' must not be absent";
  }
  return success();
}

LogicalResult StepOp::verify() {
  for (int64_t write : getWrites()) {
    if (write < 0 || write >= static_cast<int64_t>(getOperands().size()))
      return emitOpError("C3: writes names operand ")
             << write << " of " << getOperands().size();
    Operation *base = plan::getBase(getOperands()[write]).getDefiningOp();
    if (llvm::isa_and_nonnull<WeightOp, InputOp>(base))
      return emitOpError("C4: operand ")
             << write << " is written, but weights and inputs are read only";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

/// C1: the indices of inputs or outputs are 0, 1, 2, ...
template <typename OpTy>
static LogicalResult verifyNumbers(ProgramOp program, llvm::StringRef what) {
  llvm::SmallVector<int64_t> seen;
  for (OpTy op : program.getBody().getOps<OpTy>())
    seen.push_back(op.getIndex());
  llvm::sort(seen);
  for (auto [expected, index] : llvm::enumerate(seen))
    if (index != static_cast<int64_t>(expected))
      return program.emitOpError("C1: ")
             << what << "s must be numbered from 0 without gaps";
  return success();
}

/// C3: everything inside the arena, nothing on top of what is in use.
static LogicalResult verifyPlacement(ProgramOp program,
                                     const Liveness &liveness) {
  struct Placed {
    int64_t begin, end;
    LiveRange range;
    BufferOp buffer;
  };
  llvm::SmallVector<Placed> placed;
  for (BufferOp buffer : program.getBody().getOps<BufferOp>()) {
    if (!buffer.getOffset())
      return buffer.emitOpError(
          "C3: a program with an arena needs the offset of each buffer");
    int64_t begin = *buffer.getOffset();
    int64_t end = begin + getFootprint(buffer.getBytes());
    if (end > static_cast<int64_t>(*program.getArena()))
      return buffer.emitOpError("C3: the buffer reaches beyond the arena of ")
             << *program.getArena() << " bytes";
    auto range = liveness.getRanges().find(buffer.getResult());
    if (range != liveness.getRanges().end())
      placed.push_back({begin, end, range->second, buffer});
  }
  // Buffers that share bytes are neighbours in the order of offsets.
  llvm::sort(placed, [](const Placed &a, const Placed &b) {
    return std::tie(a.begin, a.range.first, a.end) <
           std::tie(b.begin, b.range.first, b.end);
  });
  for (size_t i = 0; i < placed.size(); ++i)
    for (size_t j = i + 1; j < placed.size() && placed[j].begin < placed[i].end;
         ++j) {
      if (!placed[i].range.overlaps(placed[j].range))
        continue;
      InFlightDiagnostic diagnostic = placed[j].buffer.emitOpError(
          "C3: the buffer overlaps one that is in use at the same time");
      diagnostic.attachNote(placed[i].buffer.getLoc()) << "the other buffer";
      return diagnostic;
    }
  return success();
}

LogicalResult ProgramOp::verifyRegions() {
  for (Operation &op : getBody().front())
    if (!llvm::isa<BufferOp, InputOp, NullOp, OutputOp, StateOp, StepOp, ViewOp,
                   WeightOp>(op))
      return op.emitOpError("C4: a program holds references and steps alone");
  if (failed(verifyNumbers<InputOp>(*this, "input")) ||
      failed(verifyNumbers<OutputOp>(*this, "output")))
    return failure();
  Liveness liveness(*this);
  for (auto [ref, range] : liveness.getRanges())
    if (!range.defined) {
      InFlightDiagnostic diagnostic =
          liveness.getSteps()[range.first]->emitOpError(
              "C2: the step reads what no step has written");
      diagnostic.attachNote(ref.getLoc()) << "the reference";
      return diagnostic;
    }
  return getArena() ? verifyPlacement(*this, liveness) : success();
}
