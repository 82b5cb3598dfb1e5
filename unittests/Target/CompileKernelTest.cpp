//===- CompileKernelTest.cpp - objects that kernels become
//------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include "llvm/Object/ELFObjectFile.h"

#include <thread>

using namespace effc;

namespace {

KernelSpec linear() {
  KernelSpec spec;
  spec.family = "linear_bf16";
  for (const char *name : {"n", "k", "ldx", "ldy"})
    spec.set(name, 96);
  spec.set("rows", 1);
  return spec;
}

std::string errorOf(const KernelSpec &spec) {
  llvm::Expected<CompiledKernel> kernel =
      compileKernel(spec, llvm::cantFail(X86Machine::parse("x86-64-v3")), "k");
  return kernel ? "" : llvm::toString(kernel.takeError());
}

TEST(KernelSpecTest, NamesFollowFromContents) {
  KernelSpec a = linear(), b;
  b.family = a.family;
  // The order in which constants are set does not matter.
  for (const char *name : {"rows", "ldy", "k", "n", "ldx"})
    b.set(name, a.get(name));
  EXPECT_TRUE(a == b);
  EXPECT_EQ(a.name(), b.name());
  EXPECT_EQ(a.str(),
            "linear_bf16(k = 96, ldx = 96, ldy = 96, n = 96, rows = 1)");
  EXPECT_EQ(a.get("absent"), 0);
  b.set("rows", 2);
  EXPECT_NE(a.name(), b.name());
  a.epilogue =
      "func.func @eff_epilogue(%acc: f32) -> f32 {\n  return %acc : f32\n}";
  EXPECT_NE(a.name(), linear().name());
  EXPECT_EQ(a.str().find('\n'), std::string::npos);
}

TEST(CompileKernelTest, DefinesOneSymbolAndNeedsNone) {
  for (const X86Machine &machine : machines()) {
    CompiledKernel kernel =
        llvm::cantFail(compileKernel(linear(), machine, "my_kernel"));
    EXPECT_EQ(kernel.symbol, "my_kernel");
    EXPECT_EQ(kernel.features, machine.features());
    auto object = llvm::cantFail(
        llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(
            llvm::StringRef(kernel.object.data(), kernel.object.size()),
            "kernel")));
    std::vector<std::string> defined;
    for (llvm::object::SymbolRef s : object->symbols()) {
      uint32_t flags = llvm::cantFail(s.getFlags());
      if (flags & llvm::object::SymbolRef::SF_Global) {
        EXPECT_FALSE(flags & llvm::object::SymbolRef::SF_Undefined);
        defined.push_back(llvm::cantFail(s.getName()).str());
      }
    }
    EXPECT_EQ(defined, std::vector<std::string>{"my_kernel"});
  }
}

TEST(CompileKernelTest, EqualSpecsGiveEqualBytesOnAnyThread) {
  X86Machine machine = llvm::cantFail(X86Machine::parse("x86-64-v4+vnni"));
  KernelSpec spec = linear();
  spec.set("extras", 0);
  spec.epilogue = "func.func @eff_epilogue(%acc: f32) -> f32 {\n %0 = "
                  "math.tanh %acc : f32\n return %0 : f32\n}";
  std::vector<CompiledKernel> kernels(6);
  std::vector<std::thread> threads;
  for (CompiledKernel &kernel : kernels)
    threads.emplace_back(
        [&] { kernel = llvm::cantFail(compileKernel(spec, machine, "k")); });
  for (std::thread &thread : threads)
    thread.join();
  for (const CompiledKernel &kernel : kernels)
    EXPECT_TRUE(kernel.object == kernels[0].object);
}

TEST(CompileKernelTest, EveryFamilyCompilesForEveryLevel) {
  const char *const linears = "rows=2 n=24 k=24 ldx=24 ldy=24 ";
  std::map<std::string, std::string> specs = {
      {"attention", "batch=1 tokens=3 heads=4 kv_heads=2 head_dim=24 ldq=96 "
                    "ldk=48 ldv=48 ldy=96"},
      {"attention_cache", "batch=1 tokens=1 heads=4 kv_heads=2 head_dim=24 "
                          "capacity=8 ldq=96 ldy=96 causal=1 cache_bits=4"},
      {"cache_append",
       "batch=1 tokens=1 heads=2 head_dim=24 capacity=8 ldx=48 cache_bits=8"},
      {"causal_conv1d",
       "batch=1 tokens=2 channels=24 kernel=4 ldx=24 ldy=24 silu=1"},
      {"collapse_channels", "rows=3 channels=24 heads=24 n=8 groups=2 scans=1 "
                            "ldu=24 lddt=24 ldb=16 ldc=16"},
      {"collapsed_scan", "batch=1 tokens=3 n=8 scans=2"},
      {"copy_rows", "rows=2 d=24 ldx=24 ldy=24"},
      {"cross_merge",
       "batch=1 d=24 directions=2 height=3 width=4 ldx=48 ldy=24"},
      {"cross_scan", "batch=1 d=24 directions=2 height=3 width=4 ldx=24 "
                     "ldy=48"},
      {"depthwise_conv2d", "batch=1 channels=24 height=4 width=4 kh=3 kw=3 "
                           "ldx=24 ldy=24 silu=1"},
      {"dequantize_rows", "rows=2 k=24 ldq=24 ldy=24"},
      {"embed", "rows=2 d=24 vocab=40 ldy=24 format=5"},
      {"expand_channels", "rows=3 channels=24 scans=2 ldu=24 ldz=24 ldy=24"},
      {"gated_norm", "rows=2 d=24 ldx=24 ldz=24 ldy=24 group=24 hadamard=1 "
                     "base=12 log2=1 blocks=1 quant=2"},
      {"hadamard", "rows=2 d=24 ldx=24 ldy=24 base=12 log2=1 blocks=1 quant=2"},
      {"layer_norm", "rows=2 d=24 ldx=24 ldy=24 quant=2"},
      {"linear_bf16", linears},
      {"linear_f16", linears},
      {"linear_f32", linears},
      {"linear_f8", std::string(linears) + "format=1"},
      {"linear_i4", std::string(linears) + "group=8"},
      {"linear_i8", linears},
      {"linear_i4a8", "rows=2 n=24 k=24 ldq=24 ldy=24 group=8 zeros=1"},
      {"linear_i8a8", "rows=2 n=24 k=24 ldq=24 ldy=24 quant=1 "
                      "static_scale=1 asymmetric=1 zeros=1"},
      {"patchify", "batch=1 channels=3 height=8 width=8 ph=4 pw=4"},
      {"quantize_rows", "rows=2 k=24 ldx=24 ldq=24"},
      {"quantize_static", "rows=2 k=24 ldx=24 ldq=24"},
      {"rms_norm", "rows=2 d=24 ldx=24 ldy=24 group=24"},
      {"rope", "batch=1 tokens=1 heads=2 head_dim=24 half=12 ldx=48 ldy=48"},
      {"sample", "rows=1 vocab=40 ld=40"},
      {"select_rows", "batch=1 tokens=2 d=24 ldx=24 ldy=24"},
      {"ssd_scan", "batch=1 tokens=1 heads=2 head_dim=24 n=8 groups=1 ldx=48 "
                   "lddt=2 ldb=8 ldc=8 ldy=48"},
      {"ssm_scan", "batch=1 tokens=1 channels=24 n=8 groups=1 ldu=24 lddt=24 "
                   "ldb=8 ldc=8 ldy=24"},
      {"tensor_scale", "rows=2 k=24 ldx=24"},
  };
  for (llvm::StringRef family : kernelFamilies()) {
    ASSERT_TRUE(specs.count(family.str())) << family.str() << " is not tested";
    KernelSpec spec;
    spec.family = family.str();
    llvm::SmallVector<llvm::StringRef> words;
    llvm::StringRef(specs[spec.family])
        .split(words, ' ', -1, /*KeepEmpty=*/false);
    for (llvm::StringRef word : words) {
      auto [name, value] = word.split('=');
      spec.set(name, std::stoll(value.str()));
    }
    for (const char *name :
         {"x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4+vnni+bf16"}) {
      llvm::Expected<CompiledKernel> kernel =
          compileKernel(spec, llvm::cantFail(X86Machine::parse(name)), "k");
      EXPECT_TRUE(bool(kernel)) << family.str() << ' ' << name << ": "
                                << llvm::toString(kernel.takeError());
    }
  }
}

TEST(CompileKernelTest, PrintsItselfForPeople) {
  X86Machine machine = llvm::cantFail(X86Machine::parse("x86-64-v4"));
  std::string text =
      llvm::cantFail(printKernel(linear(), machine, "k", KernelText::Assembly));
  EXPECT_NE(text.find("vfmadd"), std::string::npos);
  EXPECT_NE(text.find("zmm"), std::string::npos);
  text = llvm::cantFail(
      printKernel(linear(), llvm::cantFail(X86Machine::parse("x86-64-v3")), "k",
                  KernelText::Assembly));
  EXPECT_EQ(text.find("zmm"), std::string::npos)
      << "a level gets no registers of a higher one";
  text =
      llvm::cantFail(printKernel(linear(), machine, "k", KernelText::LLVMIR));
  EXPECT_NE(text.find("define"), std::string::npos);
}

TEST(CompileKernelTest, BadSpecsAreErrors) {
  KernelSpec spec = linear();
  spec.family = "linear_i2";
  EXPECT_NE(errorOf(spec).find("EFF0501"), std::string::npos);
  EXPECT_NE(errorOf(spec).find("linear_i4"), std::string::npos)
      << "the families are listed";
  spec = linear();
  spec.set("heads", 3);
  EXPECT_NE(errorOf(spec).find("no constant 'heads'"), std::string::npos);
  spec = linear();
  spec.set("k", 0);
  EXPECT_NE(errorOf(spec).find("'k' is missing"), std::string::npos);
  spec = linear();
  spec.family = "linear_i4";
  spec.set("group", 12);
  EXPECT_NE(errorOf(spec).find("multiple of 8"), std::string::npos);
  spec = {};
  spec.family = "linear_i8a8";
  for (const char *name : {"rows", "n", "k", "ldq", "ldy"})
    spec.set(name, 24);
  spec.set("quant", 2);
  EXPECT_NE(errorOf(spec).find("no such quant"), std::string::npos);
  spec.set("quant", 1);
  spec.set("ldq", 20);
  EXPECT_NE(errorOf(spec).find("ldq is less than k"), std::string::npos);
  spec = {};
  spec.family = "hadamard";
  for (const char *name : {"d", "ldx", "ldy"})
    spec.set(name, 48);
  spec.set("base", 12);
  spec.set("log2", 3);
  spec.set("blocks", 1);
  EXPECT_NE(errorOf(spec).find("no such rotation"), std::string::npos);
  spec = linear();
  spec.family = "linear_f8";
  spec.set("format", 2);
  EXPECT_NE(errorOf(spec).find("format is not 0 (e4m3fn) or 1 (e5m2)"),
            std::string::npos);

  KernelSpec cache;
  cache.family = "cache_append";
  for (const char *name : {"batch", "tokens", "heads", "capacity"})
    cache.set(name, 1);
  cache.set("head_dim", 7);
  cache.set("ldx", 7);
  cache.set("cache_bits", 5);
  EXPECT_NE(errorOf(cache).find("no such format of a cache"),
            std::string::npos);
  cache.set("cache_bits", 4);
  EXPECT_NE(errorOf(cache).find("head_dim is odd"), std::string::npos);
  cache.set("cache_bits", 8);
  EXPECT_EQ(errorOf(cache), "");
  cache.set("cache_i8", 1);
  EXPECT_NE(errorOf(cache).find("no such format of a cache"),
            std::string::npos);
}

TEST(CompileKernelTest, BadEpiloguesAreErrors) {
  KernelSpec spec = linear();
  spec.epilogue =
      "func.func @eff_epilogue(%acc: f32) -> f32 { return %b : f32 }";
  EXPECT_NE(errorOf(spec).find("does not parse"), std::string::npos);
  spec.epilogue = "func.func @other(%acc: f32) -> f32 { return %acc : f32 }";
  EXPECT_NE(errorOf(spec).find("@eff_epilogue"), std::string::npos);
  spec.epilogue =
      "func.func @eff_epilogue(%acc: f32, %b: f32) -> f32 { return %b : f32 }";
  EXPECT_NE(errorOf(spec).find("1 extras"), std::string::npos);
  spec.epilogue = "func.func @eff_epilogue(%acc: f32) -> f32 {\n %0 = "
                  "math.cbrt %acc : f32\n return %0 : f32\n}";
  EXPECT_NE(errorOf(spec).find("'math.cbrt'"), std::string::npos);
  EXPECT_NE(llvm::toString(checkEpilogue(spec.epilogue)).find("'math.cbrt'"),
            std::string::npos);
  spec.epilogue =
      "func.func @eff_epilogue(%acc: f64) -> f64 { return %acc : f64 }";
  EXPECT_NE(errorOf(spec).find("f32"), std::string::npos);
}

} // namespace
