//===- CompileKernel.cpp - kernels to machine code
//--------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/X86/CompileKernel.h"

#include "Epilogue.h"
#include "KernelFamilies.h"

#include "effc/Support/Error.h"
#include "effc/Target/X86/TargetMachine.h"

#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Transforms/IPO/Internalize.h"
#include "llvm/Transforms/Scalar/SCCP.h"
#include "llvm/Transforms/Scalar/SROA.h"
#include "llvm/Transforms/Scalar/SimplifyCFG.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace llvm;

/// The kernels' bitcode, from KernelBitcode.cpp.
extern "C" const char effc_x86_kernels_begin[], effc_x86_kernels_end[];

namespace effc {

namespace {

/// One spec on its way to code.
class KernelCompiler {
public:
  KernelCompiler(const KernelSpec &spec, const X86Machine &machine,
                 StringRef symbol)
      : spec(spec), machine(machine), symbol(symbol.str()) {}

  /// Everything but emission.
  Error build();
  Error emit(raw_pwrite_stream &os, CodeGenFileType type);
  const Module &get() const { return *module; }

private:
  void defineConstants(Module &library);
  Error foldChoices(Function &entry);
  Error link();
  void setAttributes();
  void optimize();

  const KernelSpec &spec;
  const X86Machine &machine;
  std::string symbol;
  LLVMContext context;
  std::unique_ptr<TargetMachine> target;
  std::unique_ptr<Module> module;
};

/// The analysis managers that LLVM's pass managers want, wired up.
struct Analyses {
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager sccs;
  ModuleAnalysisManager modules;

  explicit Analyses(PassBuilder &builder) {
    builder.registerModuleAnalyses(modules);
    builder.registerCGSCCAnalyses(sccs);
    builder.registerFunctionAnalyses(functions);
    builder.registerLoopAnalyses(loops);
    builder.crossRegisterProxies(loops, functions, sccs, modules);
  }
};

} // namespace

static Error failure(const Twine &what, const Twine &why) {
  return makeError(ErrorCode::CodeGen, what, {}, why);
}

/// Gives the library's constants the spec's values.
void KernelCompiler::defineConstants(Module &library) {
  for (StringRef name : kernelConstants())
    if (GlobalVariable *constant =
            library.getGlobalVariable(("eff_spec_" + name).str())) {
      int64_t value = name == "isa" ? machine.isa() : spec.get(name);
      constant->setInitializer(
          ConstantInt::getSigned(constant->getValueType(), value));
      constant->setConstant(true);
      constant->setLinkage(GlobalValue::InternalLinkage);
    }
}

/// Inlines all that must be inlined into one function, and what appears by
/// that.
static Error inlineInto(Function &f) {
  SmallVector<CallBase *> calls;
  do {
    calls.clear();
    for (Instruction &i : instructions(f))
      if (auto *call = dyn_cast<CallBase>(&i))
        if (Function *callee = call->getCalledFunction())
          if (!callee->isDeclaration() &&
              callee->hasFnAttribute(Attribute::AlwaysInline))
            calls.push_back(call);
    for (CallBase *call : calls) {
      if (Error error = call->getCalledFunction()->materialize())
        return error;
      InlineFunctionInfo info;
      InlineFunction(*call, info);
    }
  } while (!calls.empty());
  return Error::success();
}

Error KernelCompiler::foldChoices(Function &entry) {
  if (Error error = entry.materialize())
    return error;
  if (Error error = inlineInto(entry))
    return error;
  PassBuilder builder(target.get());
  Analyses analyses(builder);
  FunctionPassManager passes;
  passes.addPass(SROAPass(SROAOptions::ModifyCFG));
  passes.addPass(SCCPPass());
  passes.addPass(SimplifyCFGPass());
  passes.run(entry, analyses.functions);
  return Error::success();
}

Error KernelCompiler::link() {
  StringRef bytes(effc_x86_kernels_begin,
                  effc_x86_kernels_end - effc_x86_kernels_begin);
  Expected<std::unique_ptr<Module>> library =
      getLazyBitcodeModule(MemoryBufferRef(bytes, "kernels"), context);
  if (!library)
    return library.takeError();
  Function *entry = (*library)->getFunction("eff_kernel_" + spec.family);
  if (!entry)
    return failure("the kernel library has no '" + spec.family + "'", {});
  defineConstants(**library);
  // The choices that constants make are folded first: variants that are not
  // taken are not even read.
  if (Error error = foldChoices(*entry))
    return error;
  // Only what a declaration in the destination asks for is linked.
  Function::Create(entry->getFunctionType(), GlobalValue::ExternalLinkage,
                   entry->getName(), *module);
  if (Linker::linkModules(*module, std::move(*library),
                          Linker::Flags::LinkOnlyNeeded))
    return failure("cannot link the kernel library", spec.family);
  module->getFunction("eff_kernel_" + spec.family)->setName(symbol);
  internalizeModule(*module, [&](const GlobalValue &value) {
    return value.getName() == symbol;
  });
  return Error::success();
}

void KernelCompiler::setAttributes() {
  for (Function &f : *module) {
    if (f.isDeclaration())
      continue;
    for (StringRef name : {"tune-cpu", "min-legal-vector-width"})
      f.removeFnAttr(name);
    f.addFnAttr("target-cpu", machine.cpu());
    f.addFnAttr("target-features", machine.llvmFeatures());
    f.addFnAttr("prefer-vector-width", utostr(machine.vectorBits()));
    f.addFnAttr("no-builtins");
    StringRef name = f.getName();
    if (name.starts_with("eff_epilogue") || name.starts_with("eff_math_"))
      f.addFnAttr(Attribute::AlwaysInline);
  }
}

void KernelCompiler::optimize() {
  PipelineTuningOptions tuning;
  // Kernels are vectors already; what is scalar in them is meant to be.
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  tuning.LoopInterleaving = false;
  PassBuilder builder(target.get(), tuning);
  Analyses analyses(builder);

  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O3)
      .run(*module, analyses.modules);
}

Error KernelCompiler::build() {
  if (Error error = checkSpec(spec))
    return error;
  auto made = createTargetMachine(machine.cpu(), machine.llvmFeatures());
  if (!made)
    return made.takeError();
  target = std::move(*made);
  module = std::make_unique<Module>(symbol, context);
  module->setTargetTriple(target->getTargetTriple());
  module->setDataLayout(target->createDataLayout());
  if (Error error = emitEpilogue(spec, *module))
    return error;
  if (Error error = link())
    return error;
  setAttributes();
  std::string why;
  raw_string_ostream os(why);
  if (verifyModule(*module, &os))
    return failure("a kernel is not well formed", why);
  optimize();
  return Error::success();
}

Error KernelCompiler::emit(raw_pwrite_stream &os, CodeGenFileType type) {
  legacy::PassManager passes;
  if (target->addPassesToEmitFile(passes, os, /*DwoOut=*/nullptr, type))
    return failure("LLVM cannot emit this kind of file", {});
  passes.run(*module);
  return Error::success();
}

/// A kernel stands alone: an undefined symbol would be a call of a library that
/// is not there.
static Error checkSymbols(ArrayRef<char> bytes, const KernelSpec &spec) {
  auto object = object::ObjectFile::createELFObjectFile(
      MemoryBufferRef(StringRef(bytes.data(), bytes.size()), "kernel"));
  if (!object)
    return object.takeError();
  for (object::SymbolRef s : (*object)->symbols()) {
    Expected<uint32_t> flags = s.getFlags();
    Expected<StringRef> name = s.getName();
    if (!flags || !name)
      return joinErrors(flags.takeError(), name.takeError());
    if ((*flags & object::SymbolRef::SF_Undefined) && !name->empty())
      return failure("a kernel calls '" + *name + "', which nothing defines",
                     spec.str());
  }
  return Error::success();
}

Expected<CompiledKernel> compileKernel(const KernelSpec &spec,
                                       const X86Machine &machine,
                                       StringRef symbol) {
  KernelCompiler compiler(spec, machine, symbol);
  if (Error error = compiler.build())
    return error;
  CompiledKernel kernel;
  kernel.symbol = symbol.str();
  kernel.features = machine.features();
  raw_svector_ostream os(kernel.object);
  if (Error error = compiler.emit(os, CodeGenFileType::ObjectFile))
    return error;
  if (Error error = checkSymbols(kernel.object, spec))
    return error;
  return kernel;
}

Expected<std::string> printKernel(const KernelSpec &spec,
                                  const X86Machine &machine, StringRef symbol,
                                  KernelText kind) {
  KernelCompiler compiler(spec, machine, symbol);
  if (Error error = compiler.build())
    return error;
  if (kind == KernelText::LLVMIR) {
    std::string text;
    raw_string_ostream os(text);
    compiler.get().print(os, nullptr);
    return text;
  }
  SmallString<0> text;
  raw_svector_ostream os(text);
  if (Error error = compiler.emit(os, CodeGenFileType::AssemblyFile))
    return error;
  return text.str().str();
}

} // namespace effc
