//===- CompileGeneric.cpp - generic code to machine code ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/Generic/CompileGeneric.h"
#include "LowerGeneric.h"

#include "effc/Support/Error.h"
#include "effc/Target/X86/TargetMachine.h"
#include "effrt/effrt.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Passes/PassBuilder.h"

using namespace effc;
using mlir::failed;

namespace {
/// One piece of generic code on its way down.
class GenericCompiler {
public:
  GenericCompiler() : context(mlir::MLIRContext::Threading::DISABLED) {
    mlir::DialectRegistry registry;
    registerGenericLowering(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    handler.emplace(&context, [this](mlir::Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error &&
          why.empty())
        why = diagnostic.str();
      return mlir::success();
    });
  }

  llvm::Error parse(llvm::StringRef text);
  llvm::Expected<int64_t> lowerToBuffers();
  llvm::Error build(const X86Machine &machine, llvm::StringRef symbol);
  llvm::Error emit(llvm::raw_pwrite_stream &os, llvm::CodeGenFileType type);
  /// The LLVM IR.
  std::string print() const {
    std::string text;
    llvm::raw_string_ostream os(text);
    code->print(os, nullptr);
    return text;
  }

private:
  llvm::Error fail(const llvm::Twine &what) {
    return makeError(ErrorCode::CodeGen, what, {}, why);
  }
  void addEntry(llvm::StringRef symbol);
  void optimize(const X86Machine &machine);

  mlir::MLIRContext context;
  std::optional<mlir::ScopedDiagnosticHandler> handler;
  std::string why;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::TargetMachine> target;
  std::unique_ptr<llvm::Module> code;
};
} // namespace

std::string effc::printGeneric(plan::GenericOp generic) {
  mlir::OpBuilder builder(generic->getContext());
  mlir::Block &body = generic.getBody().front();
  mlir::Operation *yield = body.getTerminator();
  auto type = builder.getFunctionType(body.getArgumentTypes(),
                                      yield->getOperandTypes());
  mlir::OwningOpRef<mlir::func::FuncOp> func = mlir::func::FuncOp::create(
      builder, generic.getLoc(), kGenericFunction, type);
  mlir::IRMapping map;
  generic.getBody().cloneInto(&func->getBody(), map);
  mlir::Operation *end = func->front().getTerminator();
  builder.setInsertionPoint(end);
  mlir::func::ReturnOp::create(builder, end->getLoc(), end->getOperands());
  end->erase();
  std::string text;
  llvm::raw_string_ostream os(text);
  func->print(os, mlir::OpPrintingFlags().useLocalScope());
  return text;
}

llvm::Error GenericCompiler::parse(llvm::StringRef text) {
  // The parser reads beyond a buffer that does not end in NUL.
  module = mlir::parseSourceString<mlir::ModuleOp>(
      text.str(), mlir::ParserConfig(&context));
  if (!module)
    return fail("generic code does not parse");
  // Inputs are other steps' results and weights: nothing may be computed in
  // their place.
  auto func = module->lookupSymbol<mlir::func::FuncOp>(kGenericFunction);
  if (!func)
    return fail("generic code has another name");
  for (unsigned i = 0; i < func.getNumArguments(); ++i)
    func.setArgAttr(
        i, mlir::bufferization::BufferizationDialect::kWritableAttrName,
        mlir::BoolAttr::get(&context, false));
  return llvm::Error::success();
}

llvm::Expected<int64_t> GenericCompiler::lowerToBuffers() {
  if (failed(effc::lowerToBuffers(*module)))
    return fail("generic code has no form on buffers");
  auto func = module->lookupSymbol<mlir::func::FuncOp>(kGenericFunction);
  auto scratch = func->getAttrOfType<mlir::IntegerAttr>(kScratchAttr);
  func->removeAttr(kScratchAttr);
  return scratch.getInt();
}

/// `void symbol(void *const *operands, const eff_call *, int32_t, int32_t)`:
/// loads the operands and calls the code.
void GenericCompiler::addEntry(llvm::StringRef symbol) {
  llvm::Function *inner = code->getFunction(kGenericFunction);
  inner->setLinkage(llvm::GlobalValue::InternalLinkage);
  inner->addFnAttr(llvm::Attribute::AlwaysInline);
  llvm::Type *pointer = llvm::PointerType::getUnqual(llvmContext);
  llvm::Type *i32 = llvm::Type::getInt32Ty(llvmContext);
  auto *type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(llvmContext),
                              {pointer, pointer, i32, i32}, /*isVarArg=*/false);
  auto *entry = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage,
                                       symbol, *code);
  llvm::IRBuilder<> builder(
      llvm::BasicBlock::Create(llvmContext, "entry", entry));
  llvm::SmallVector<llvm::Value *> arguments;
  for (unsigned i = 0; i < inner->arg_size(); ++i)
    arguments.push_back(builder.CreateLoad(
        pointer,
        builder.CreateConstInBoundsGEP1_64(pointer, entry->getArg(0), i)));
  builder.CreateCall(inner, arguments);
  builder.CreateRetVoid();
}

/// Without fused multiply-add instructions llvm.fma is a library call;
/// llvm.fmuladd is then a product and a sum.
static void unfuse(llvm::Module &code) {
  for (llvm::Function &function : llvm::make_early_inc_range(code)) {
    if (function.getIntrinsicID() != llvm::Intrinsic::fma)
      continue;
    llvm::Function *pair = llvm::Intrinsic::getOrInsertDeclaration(
        &code, llvm::Intrinsic::fmuladd, function.getReturnType());
    function.replaceAllUsesWith(pair);
    function.eraseFromParent();
  }
}

void GenericCompiler::optimize(const X86Machine &machine) {
  if (!machine.has(EFF_FEATURE_X86_64_V3))
    unfuse(*code);
  for (llvm::Function &function : *code) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", machine.cpu());
    function.addFnAttr("target-features", machine.llvmFeatures());
    function.addFnAttr("prefer-vector-width",
                       std::to_string(machine.vectorBits()));
    function.addFnAttr("no-builtins");
    // As the runtime sets the processor.
    function.addFnAttr("denormal-fp-math", "preserve-sign,preserve-sign");
    function.addFnAttr(llvm::Attribute::NoUnwind);
    if (function.getName() == kGenericFunction)
      for (llvm::Argument &argument : function.args())
        argument.addAttr(llvm::Attribute::NoAlias);
  }
  llvm::PassBuilder builder(target.get());
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3)
      .run(*code, modules);
}

llvm::Error GenericCompiler::build(const X86Machine &machine,
                                   llvm::StringRef symbol) {
  auto made = createTargetMachine(machine.cpu(), machine.llvmFeatures());
  if (!made)
    return made.takeError();
  target = std::move(*made);
  if (failed(effc::lowerToLLVM(*module)))
    return fail("generic code cannot be lowered to LLVM");
  code = mlir::translateModuleToLLVMIR(*module, llvmContext, symbol);
  if (!code)
    return fail("generic code cannot be translated to LLVM");
  code->setTargetTriple(target->getTargetTriple());
  code->setDataLayout(target->createDataLayout());
  addEntry(symbol);
  llvm::raw_string_ostream os(why);
  if (llvm::verifyModule(*code, &os))
    return fail("generic code is not well formed");
  optimize(machine);
  return llvm::Error::success();
}

llvm::Error GenericCompiler::emit(llvm::raw_pwrite_stream &os,
                                  llvm::CodeGenFileType type) {
  llvm::legacy::PassManager passes;
  if (target->addPassesToEmitFile(passes, os, /*DwoOut=*/nullptr, type))
    return fail("LLVM cannot emit this kind of file");
  passes.run(*code);
  return llvm::Error::success();
}

/// An undefined symbol would be a call of a library that a model file does not
/// have.
static llvm::Error checkSymbols(llvm::ArrayRef<char> bytes) {
  auto object =
      llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(
          llvm::StringRef(bytes.data(), bytes.size()), "generic"));
  if (!object)
    return object.takeError();
  for (llvm::object::SymbolRef symbol : (*object)->symbols()) {
    llvm::Expected<uint32_t> flags = symbol.getFlags();
    llvm::Expected<llvm::StringRef> name = symbol.getName();
    if (!flags || !name)
      return llvm::joinErrors(flags.takeError(), name.takeError());
    if ((*flags & llvm::object::SymbolRef::SF_Undefined) && !name->empty())
      return makeError(ErrorCode::UnsupportedOps,
                       "an op has no code without a library", {},
                       "it would call '" + *name + "'");
  }
  return llvm::Error::success();
}

llvm::Expected<int64_t> effc::measureScratch(llvm::StringRef text) {
  GenericCompiler compiler;
  if (llvm::Error error = compiler.parse(text))
    return error;
  return compiler.lowerToBuffers();
}

/// Everything but emission; the bytes of temporaries.
static llvm::Expected<int64_t> build(GenericCompiler &compiler,
                                     llvm::StringRef text,
                                     const X86Machine &machine,
                                     llvm::StringRef symbol) {
  if (llvm::Error error = compiler.parse(text))
    return error;
  llvm::Expected<int64_t> scratch = compiler.lowerToBuffers();
  if (!scratch)
    return scratch.takeError();
  if (llvm::Error error = compiler.build(machine, symbol))
    return error;
  return scratch;
}

llvm::Expected<CompiledKernel> effc::compileGeneric(llvm::StringRef text,
                                                    int64_t scratch,
                                                    const X86Machine &machine,
                                                    llvm::StringRef symbol) {
  GenericCompiler compiler;
  llvm::Expected<int64_t> needed = build(compiler, text, machine, symbol);
  if (!needed)
    return needed.takeError();
  if (*needed != scratch)
    return makeError(ErrorCode::CodeGen,
                     "generic code has no room for its temporaries", symbol,
                     "it needs " + llvm::Twine(*needed) +
                         " bytes, the plan has " + llvm::Twine(scratch),
                     "run plan-size-generics before plan-memory");
  CompiledKernel kernel;
  kernel.symbol = symbol.str();
  kernel.features = machine.features();
  llvm::raw_svector_ostream os(kernel.object);
  if (llvm::Error error = compiler.emit(os, llvm::CodeGenFileType::ObjectFile))
    return error;
  if (llvm::Error error = checkSymbols(kernel.object))
    return error;
  return kernel;
}

llvm::Expected<std::string> effc::printGenericCode(llvm::StringRef text,
                                                   const X86Machine &machine,
                                                   llvm::StringRef symbol,
                                                   bool asLLVM) {
  GenericCompiler compiler;
  llvm::Expected<int64_t> scratch = build(compiler, text, machine, symbol);
  if (!scratch)
    return scratch.takeError();
  if (asLLVM)
    return compiler.print();
  llvm::SmallString<0> assembly;
  llvm::raw_svector_ostream os(assembly);
  if (llvm::Error error =
          compiler.emit(os, llvm::CodeGenFileType::AssemblyFile))
    return error;
  return assembly.str().str();
}
