//===- Families.cpp - operands and constants of kernel families -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Plan/Families.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace effc;
using namespace effc::plan;

namespace {
/// Operands as "x w y!": '!' marks one that is written, '+' one that is
/// updated, '?' (behind those) one that may be absent, '=' a scale of results,
/// which may be absent too. Constants that may be absent, as 0, have a '?' too.
struct Row {
  const char *name;
  const char *operands;
  const char *constants;
};

constexpr const char *kLinearConstants = "extras k ldx ldy n rows";
constexpr Row kRows[] = {
    {"linear_f32", "x w y!", kLinearConstants},
    {"linear_bf16", "x w y!", kLinearConstants},
    {"linear_f16", "x w y!", kLinearConstants},
    {"linear_f8", "x w y!", "extras format k ldx ldy n rows"},
    {"linear_i8", "x w y!", "extras k ldx ldy n rows group? zeros?"},
    {"linear_i8a8", "q scale w y! oscale=",
     "extras k ldq ldy n rows static_scale? asymmetric? zeros? quant? "
     "oscale_each?"},
    {"linear_i4a8", "q scale w y! oscale=",
     "extras group k ldq ldy n rows static_scale? zeros? quant? oscale_each?"},
    {"linear_i4", "x w y!", "extras group k ldx ldy n rows zeros?"},
    {"quantize_rows", "x q! scale!", "k ldq ldx rows"},
    {"quantize_static", "x scale q!", "k ldq ldx rows scale_each? asymmetric?"},
    {"tensor_scale", "x y!", "k ldx rows"},
    {"dequantize_rows", "q scale y!",
     "k ldq ldy rows static_scale? scale_each?"},
    {"embed", "ids? w y!",
     "d format group ldy rows vocab zeros? tokens? first?"},
    {"patchify", "x y!", "batch channels height ph pw width"},
    {"rms_norm",
     "x w y! oscale=", "d eps_bits group ldx ldy rows quant? oscale_each?"},
    {"layer_norm",
     "x w bias? y! oscale=", "d eps_bits ldx ldy rows quant? oscale_each?"},
    {"gated_norm", "x z w y! oscale= zscale?",
     "d eps_bits group ldx ldy ldz norm_before_gate rows quant? oscale_each? "
     "hadamard? base? log2? blocks? z_i8? zscale_each?"},
    {"hadamard", "x y! oscale=",
     "base blocks d ldx ldy log2 rows transposed? quant? oscale_each?"},
    {"rope", "x inv_freq y!",
     "batch half head_dim heads interleaved ldx ldy scale_bits tokens"},
    {"cache_append", "x cache+ scale?",
     "batch capacity head_dim heads ldx tokens cache_i8? cache_bits?"},
    {"attention_cache", "q kcache vcache y! kscale? vscale?",
     "batch capacity causal head_dim heads kv_heads ldq ldy scale_bits "
     "softcap_bits tokens window cache_i8? cache_bits?"},
    {"attention", "q k v y! bias?",
     "batch causal head_dim heads kv_heads ldk ldq ldv ldy scale_bits "
     "softcap_bits tokens window bias_batch? bias_heads? bias_tokens?"},
    {"causal_conv1d", "x w bias? state+ y! xscale? oscale?",
     "batch channels kernel ldx ldy silu tokens x_i8? xscale_each? quant? "
     "oscale_each?"},
    {"depthwise_conv2d", "x w bias? y!",
     "batch channels height kh kw ldx ldy silu width"},
    {"cross_scan", "x0 x1? x2? x3? y!",
     "batch d directions height ldx ldy width"},
    {"cross_merge", "x y!", "batch d directions height ldx ldy width"},
    {"collapse_channels", "x dt a b c decay! increment! output!",
     "channels groups heads ldb ldc lddt ldu n rows scans"},
    {"collapsed_scan", "decay increment output state+? y!",
     "batch n scans tokens"},
    {"expand_channels", "x u? d? gate? y!", "channels ldu ldy ldz rows scans"},
    {"ssm_scan",
     "u dt a b c skip? gate? state+? y! dt_bias? uscale? dtscale? bscale? "
     "cscale? zscale? sscale?",
     "batch channels groups ldb ldc lddt ldu ldy ldz n tokens dt_softplus? "
     "u_i8? dt_i8? b_i8? c_i8? z_i8? uscale_each? dtscale_each? bscale_each? "
     "cscale_each? zscale_each? state_format? state_rounding? state_residual? "
     "state_once?"},
    {"ssd_scan",
     "x dt a b c skip? state+ y! dt_bias? xscale? dtscale? bscale? cscale? "
     "sscale?",
     "batch chunk groups head_dim heads ldb ldc lddt ldx ldy n tokens "
     "dt_softplus? x_i8? dt_i8? b_i8? c_i8? xscale_each? dtscale_each? "
     "bscale_each? cscale_each? state_format? state_rounding? state_residual? "
     "state_once?"},
    {"select_rows", "x y!", "batch d ldx ldy tokens"},
    {"sample", "logits ids!", "ld rows vocab"},
    {"copy_rows", "x y!", "d ldx ldy rows"},
};

Family parse(const Row &row) {
  Family family;
  family.name = row.name;
  family.linear = family.name.starts_with("linear_");
  family.integer = family.linear && family.name.ends_with("a8");
  llvm::SmallVector<llvm::StringRef> words;
  llvm::StringRef(row.operands).split(words, ' ');
  for (llvm::StringRef word : words) {
    FamilyOperand operand{word.rtrim("!+?="), Use::Read,
                          word.ends_with("?") || word.ends_with("=")};
    word = word.rtrim("?");
    if (word.ends_with("!"))
      operand.use = Use::Write;
    if (word.ends_with("+"))
      operand.use = Use::Update;
    if (word.ends_with("="))
      operand.use = Use::ScaleOfResult;
    family.operands.push_back(operand);
  }
  words.clear();
  llvm::StringRef(row.constants).split(words, ' ');
  for (llvm::StringRef word : words)
    (word.ends_with("?") ? family.optionalConstants : family.constants)
        .push_back(word.rtrim('?'));
  return family;
}
} // namespace

const Family *effc::plan::findFamily(llvm::StringRef name) {
  static const std::vector<Family> families = [] {
    std::vector<Family> all;
    for (const Row &row : kRows)
      all.push_back(parse(row));
    return all;
  }();
  for (const Family &family : families)
    if (family.name == name)
      return &family;
  return nullptr;
}

llvm::SmallVector<int64_t> effc::plan::getWrites(const Family &family,
                                                 KernelOp kernel) {
  llvm::SmallVector<int64_t> writes;
  for (auto [index, operand] : llvm::enumerate(family.operands)) {
    bool written = operand.use == Use::ScaleOfResult
                       ? kernel.getConstant("quant") == 2
                       : operand.use != Use::Read;
    if (written)
      writes.push_back(index);
  }
  return writes;
}

std::string effc::plan::printEpilogue(Region &epilogue) {
  if (epilogue.empty())
    return {};
  Block &body = epilogue.front();
  // The region need not belong to an op yet.
  MLIRContext *context = body.getArgument(0).getContext();
  OpBuilder builder(context);
  Location loc = UnknownLoc::get(context);
  Type f32 = builder.getF32Type();
  auto type = builder.getFunctionType(
      llvm::SmallVector<Type>(body.getNumArguments(), f32), f32);
  OwningOpRef<func::FuncOp> func =
      func::FuncOp::create(builder, loc, "eff_epilogue", type);
  Block *entry = func->addEntryBlock();
  IRMapping map;
  map.map(body.getArguments(), entry->getArguments());
  builder.setInsertionPointToEnd(entry);
  for (Operation &op : body.without_terminator())
    builder.clone(op, map)->setLoc(loc);
  func::ReturnOp::create(builder, loc,
                         map.lookup(body.getTerminator()->getOperand(0)));
  std::string text;
  llvm::raw_string_ostream os(text);
  func->print(os, OpPrintingFlags().useLocalScope().enableDebugInfo(false));
  return text;
}

KernelSpec effc::plan::getSpec(KernelOp kernel) {
  KernelSpec spec;
  spec.family = kernel.getFamily().str();
  for (NamedAttribute constant : kernel.getConstants())
    spec.set(constant.getName().getValue(),
             llvm::cast<IntegerAttr>(constant.getValue()).getInt());
  spec.epilogue = printEpilogue(kernel.getEpilogue());
  return spec;
}
