//===- Tables.cpp - the tables of effrt.h as an object --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Tables.h"

#include "effc/Dialect/Plan/Liveness.h"
#include "effc/Support/Error.h"
#include "effc/Target/X86/TargetMachine.h"
#include "effrt/effrt.h"

#include "llvm/IR/Constants.h"
#include "llvm/IR/DerivedTypes.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"

using namespace effc;
using llvm::Constant;

// The structures below are written field by field; a change of effrt.h must be
// followed here.
static_assert(EFF_ABI_VERSION == 1, "follow the change of effrt.h");
static_assert(sizeof(eff_operand) == 16 && sizeof(eff_step) == 48 &&
                  sizeof(eff_entry) == 64 && sizeof(eff_variant) == 32 &&
                  sizeof(eff_state) == 32 && sizeof(eff_model) == 56,
              "follow the change of effrt.h");

namespace {
/// Makes the constants of one module.
class TableBuilder {
public:
  TableBuilder(llvm::Module &module, const ModelLayout &layout,
               llvm::ArrayRef<Variant> variants)
      : module(module), context(module.getContext()), layout(layout),
        variants(variants), pointer(llvm::PointerType::getUnqual(context)) {}

  /// Defines `eff_model`.
  void build();

private:
  Constant *i32(uint64_t value) {
    return llvm::ConstantInt::get(llvm::Type::getInt32Ty(context),
                                  static_cast<uint32_t>(value));
  }
  Constant *i64(uint64_t value) {
    return llvm::ConstantInt::get(llvm::Type::getInt64Ty(context), value);
  }
  Constant *structOf(llvm::ArrayRef<Constant *> fields) {
    return llvm::ConstantStruct::getAnon(context, fields);
  }
  Constant *text(llvm::StringRef value);
  /// A table of equal structures; null when it is empty.
  Constant *table(llvm::StringRef name, llvm::ArrayRef<Constant *> rows);
  Constant *operand(mlir::Value ref);
  Constant *entry(plan::ProgramOp program, size_t target);
  Constant *steps(plan::ProgramOp program, size_t target);
  Constant *bytes(llvm::StringRef name, llvm::ArrayRef<uint64_t> values);
  Constant *states();
  Constant *kernel(llvm::StringRef name, size_t target);

  llvm::Module &module;
  llvm::LLVMContext &context;
  const ModelLayout &layout;
  llvm::ArrayRef<Variant> variants;
  llvm::Type *pointer;
  llvm::StringMap<Constant *> texts;
  /// Operands do not depend on the target: step lists share them.
  llvm::DenseMap<mlir::Operation *, Constant *> operands;
};
} // namespace

Constant *TableBuilder::text(llvm::StringRef value) {
  Constant *&known = texts[value];
  if (known)
    return known;
  Constant *bytes = llvm::ConstantDataArray::getString(context, value);
  auto *global = new llvm::GlobalVariable(
      module, bytes->getType(), /*isConstant=*/true,
      llvm::GlobalValue::PrivateLinkage, bytes, "text");
  global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
  global->setAlignment(llvm::Align(1));
  return known = global;
}

Constant *TableBuilder::table(llvm::StringRef name,
                              llvm::ArrayRef<Constant *> rows) {
  if (rows.empty())
    return llvm::ConstantPointerNull::get(
        llvm::cast<llvm::PointerType>(pointer));
  auto *type = llvm::ArrayType::get(rows.front()->getType(), rows.size());
  auto *global = new llvm::GlobalVariable(
      module, type, /*isConstant=*/true, llvm::GlobalValue::InternalLinkage,
      llvm::ConstantArray::get(type, rows), name);
  global->setAlignment(llvm::Align(8));
  return global;
}

Constant *TableBuilder::bytes(llvm::StringRef name,
                              llvm::ArrayRef<uint64_t> values) {
  llvm::SmallVector<Constant *> rows;
  for (uint64_t value : values)
    rows.push_back(i64(value));
  return table(name, rows);
}

Constant *TableBuilder::operand(mlir::Value ref) {
  mlir::Operation *base = plan::getBase(ref).getDefiningOp();
  uint64_t offset = plan::getViewOffset(ref);
  uint32_t kind = EFF_OPERAND_NULL, index = 0;
  if (auto buffer = llvm::dyn_cast<plan::BufferOp>(base)) {
    kind = EFF_OPERAND_ARENA;
    offset += *buffer.getOffset();
  } else if (auto weight = llvm::dyn_cast<plan::WeightOp>(base)) {
    kind = EFF_OPERAND_WEIGHT;
    offset += layout.weightOffsets.lookup(weight.getSymbol());
  } else if (auto state = llvm::dyn_cast<plan::StateOp>(base)) {
    kind = EFF_OPERAND_STATE;
    index = layout.stateIndices.lookup(state.getSymbol());
  } else if (auto input = llvm::dyn_cast<plan::InputOp>(base)) {
    kind = EFF_OPERAND_INPUT;
    index = input.getIndex();
  } else if (auto output = llvm::dyn_cast<plan::OutputOp>(base)) {
    kind = EFF_OPERAND_OUTPUT;
    index = output.getIndex();
  }
  return structOf({i32(kind), i32(index), i64(offset)});
}

Constant *TableBuilder::kernel(llvm::StringRef name, size_t target) {
  std::string symbol = getSymbol(layout.kernelsByName.lookup(name), target);
  if (llvm::Function *known = module.getFunction(symbol))
    return known;
  llvm::Type *i32Type = llvm::Type::getInt32Ty(context);
  auto *type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(context),
                              {pointer, pointer, i32Type, i32Type}, false);
  auto *function = llvm::Function::Create(
      type, llvm::GlobalValue::ExternalLinkage, symbol, module);
  // Resolved inside the file: no table of addresses, no name for others.
  function->setVisibility(llvm::GlobalValue::HiddenVisibility);
  function->setDSOLocal(true);
  return function;
}

Constant *TableBuilder::steps(plan::ProgramOp program, size_t target) {
  llvm::SmallVector<Constant *> rows;
  for (plan::StepOp step : program.getBody().getOps<plan::StepOp>()) {
    Constant *&list = operands[step];
    if (!list) {
      llvm::SmallVector<Constant *> refs;
      for (mlir::Value ref : step.getOperands())
        refs.push_back(operand(ref));
      list = table("operands", refs);
    }
    mlir::Operation *described = layout.kernelsByName.lookup(step.getKernel());
    bool serial = llvm::isa<plan::GenericOp>(described);
    auto flags =
        static_cast<uint32_t>((serial ? EFF_STEP_SERIAL : 0) |
                              (isInteger(described) ? EFF_STEP_INTEGER : 0));
    rows.push_back(structOf({kernel(step.getKernel(), target), list,
                             i32(step.getOperands().size()), i32(flags),
                             text(step.getKernel()), i64(step.getFlops()),
                             i64(step.getBytes())}));
  }
  return table((program.getSymName() + ".steps").str(), rows);
}

Constant *TableBuilder::entry(plan::ProgramOp program, size_t target) {
  llvm::SmallVector<uint64_t> inputs, outputs;
  for (auto input : program.getBody().getOps<plan::InputOp>())
    inputs.push_back(
        getTensorBytes(llvm::cast<mlir::RankedTensorType>(input.getType())));
  for (auto output : program.getBody().getOps<plan::OutputOp>())
    outputs.push_back(
        getTensorBytes(llvm::cast<mlir::RankedTensorType>(output.getType())));
  auto ops = program.getBody().getOps<plan::StepOp>();
  eff::EntryAttr kind = program.getEntry();
  std::string name = program.getSymName().str();
  return structOf(
      {text(name), i32(static_cast<uint32_t>(kind.getKind())),
       i32(kind.getBatch()), i32(kind.getTokens()),
       i32(std::distance(ops.begin(), ops.end())), steps(program, target),
       i64(*program.getArena()), i32(inputs.size()), i32(outputs.size()),
       bytes(name + ".inputs", inputs), bytes(name + ".outputs", outputs)});
}

Constant *TableBuilder::states() {
  llvm::SmallVector<Constant *> rows;
  for (const PlacedState &state : layout.states)
    rows.push_back(structOf(
        {text(state.name),
         i32(state.isCache ? EFF_STATE_CACHE : EFF_STATE_RECURRENT),
         i32(state.heads), i64(state.slotBytes), i64(state.tokenBytes)}));
  return table("states", rows);
}

void TableBuilder::build() {
  llvm::SmallVector<Constant *> rows;
  for (size_t target = 0; target < variants.size(); ++target) {
    llvm::SmallVector<Constant *> entries;
    for (plan::ProgramOp program : layout.programs)
      entries.push_back(entry(program, target));
    rows.push_back(structOf(
        {text(variants[target].machine.name()), i64(variants[target].features),
         table("entries", entries), i32(entries.size()), i32(0)}));
  }
  Constant *model = structOf(
      {i64(EFF_MAGIC), i32(EFF_ABI_VERSION), i32(sizeof(eff_model)),
       table("variants", rows), i32(rows.size()), i32(layout.states.size()),
       states(), i64(layout.weightBytes), i32(layout.model.getVocab()),
       i32(layout.model.getMaxLength())});
  auto *global = new llvm::GlobalVariable(
      module, model->getType(), /*isConstant=*/true,
      llvm::GlobalValue::ExternalLinkage, model, kModelSymbol);
  global->setVisibility(llvm::GlobalValue::HiddenVisibility);
  global->setDSOLocal(true);
  global->setAlignment(llvm::Align(8));
}

llvm::Expected<llvm::SmallVector<char, 0>>
effc::emitTables(const ModelLayout &layout, llvm::ArrayRef<Variant> variants) {
  // Tables have no code: the least machine serves.
  auto machine = createTargetMachine("x86-64", "");
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext context;
  llvm::Module module("tables", context);
  module.setTargetTriple((*machine)->getTargetTriple());
  module.setDataLayout((*machine)->createDataLayout());
  TableBuilder(module, layout, variants).build();
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream os(object);
  llvm::legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, os, nullptr,
                                      llvm::CodeGenFileType::ObjectFile))
    return makeError(ErrorCode::CodeGen, "LLVM cannot emit an object");
  passes.run(module);
  return object;
}
