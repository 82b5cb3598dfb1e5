//===- KernelFamilies.cpp - constants of each kernel family
//-----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelFamilies.h"

#include "effc/Support/Error.h"
#include "effc/Target/X86/CompileKernel.h"
#include "runtime/kernels/x86/isa.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

namespace effc {

namespace {
/// A family and the constants that it reads, those that must be positive first,
/// then (after '|') the others.
struct Family {
  StringLiteral name, constants;
};
} // namespace

// Sorted by name. "rows" may be 0 where it stands behind the bar.
static constexpr Family kFamilies[] = {
    {"attention", "batch tokens heads kv_heads head_dim ldq ldk ldv ldy|causal "
                  "window scale_bits softcap_bits bias_batch bias_heads "
                  "bias_tokens"},
    {"attention_cache", "batch tokens heads kv_heads head_dim capacity ldq "
                        "ldy|causal window scale_bits softcap_bits cache_i8 "
                        "cache_bits"},
    {"cache_append",
     "batch tokens heads head_dim capacity ldx|cache_i8 cache_bits"},
    {"causal_conv1d", "batch tokens channels kernel ldx ldy|silu x_i8 "
                      "xscale_each quant oscale_each"},
    {"collapse_channels",
     "rows channels n groups scans ldu lddt ldb ldc|heads"},
    {"collapsed_scan", "batch tokens n scans|"},
    {"copy_rows", "d ldx ldy|rows"},
    {"cross_merge", "batch directions height width d ldx ldy|"},
    {"cross_scan", "batch directions height width d ldx ldy|"},
    {"depthwise_conv2d", "batch channels height width kh kw ldx ldy|silu"},
    {"dequantize_rows", "k ldq ldy|rows static_scale scale_each"},
    {"embed", "rows d vocab ldy|format group zeros tokens first"},
    {"expand_channels", "rows channels scans ldy|ldu ldz"},
    {"gated_norm",
     "d ldx ldz ldy group|rows norm_before_gate eps_bits quant oscale_each "
     "hadamard base log2 blocks z_i8 zscale_each"},
    {"hadamard",
     "d ldx ldy base blocks|rows log2 transposed quant oscale_each"},
    {"layer_norm", "d ldx ldy|rows eps_bits quant oscale_each"},
    {"linear_bf16", "n k ldx ldy|rows extras"},
    {"linear_f16", "n k ldx ldy|rows extras"},
    {"linear_f32", "n k ldx ldy|rows extras"},
    {"linear_f8", "n k ldx ldy|rows extras format"},
    {"linear_i4", "n k ldx ldy group|rows extras zeros"},
    {"linear_i4a8", "n k ldq ldy group|rows extras static_scale zeros quant "
                    "oscale_each"},
    {"linear_i8", "n k ldx ldy|rows extras group zeros"},
    {"linear_i8a8", "n k ldq ldy|rows extras static_scale asymmetric zeros "
                    "quant oscale_each"},
    {"patchify", "batch channels height width ph pw|"},
    {"quantize_rows", "k ldq ldx|rows"},
    {"quantize_static", "k ldq ldx|rows scale_each asymmetric"},
    {"rms_norm", "d ldx ldy group|rows eps_bits quant oscale_each"},
    {"rope", "batch tokens heads head_dim half ldx ldy|interleaved scale_bits"},
    {"sample", "vocab ld|rows"},
    {"select_rows", "batch tokens d ldx ldy|"},
    {"ssd_scan",
     "batch tokens heads head_dim n groups ldx lddt ldb ldc ldy|chunk "
     "dt_softplus x_i8 dt_i8 b_i8 c_i8 xscale_each dtscale_each bscale_each "
     "cscale_each state_format state_rounding state_residual "
     "state_once"},
    {"ssm_scan",
     "batch tokens channels n groups ldu lddt ldb ldc ldy|ldz dt_softplus u_i8 "
     "dt_i8 b_i8 c_i8 z_i8 uscale_each dtscale_each bscale_each "
     "cscale_each zscale_each state_format state_rounding state_residual "
     "state_once"},
    {"tensor_scale", "k ldx|rows"},
};

ArrayRef<StringRef> kernelFamilies() {
  static const auto names = map_to_vector(
      kFamilies, [](const Family &f) { return StringRef(f.name); });
  return names;
}

ArrayRef<StringRef> kernelConstants() {
#define EFF_NAME(name) #name,
  static constexpr StringRef kNames[] = {EFF_SPEC_CONSTANTS(EFF_NAME)};
#undef EFF_NAME
  return kNames;
}

static Error failure(const KernelSpec &spec, const Twine &why) {
  return makeError(ErrorCode::CodeGen, "no x86 kernel for " + spec.str(), {},
                   why);
}

/// Bounds of arrays on the stack, and sizes that must divide each other.
static Error checkSizes(const KernelSpec &spec) {
  auto get = [&](StringRef name) { return spec.get(name); };
  if (spec.family.find("attention") == 0) {
    if (get("head_dim") > 512)
      return failure(spec, "head_dim is more than 512");
    if (get("heads") % get("kv_heads"))
      return failure(spec, "kv_heads does not divide heads");
    if (get("window") && !get("causal"))
      return failure(spec, "a window needs causal");
    int64_t biases = get("bias_batch");
    if (biases < 0 ||
        (biases &&
         (get("batch") % biases ||
          (get("bias_heads") != 1 && get("bias_heads") != get("heads")) ||
          (get("bias_tokens") != 1 && get("bias_tokens") != get("tokens")))))
      return failure(spec, "the bias does not have the shape of the scores");
  }
  if (int64_t bits = get("cache_bits")) {
    if ((bits != 8 && bits != 4) || get("cache_i8"))
      return failure(spec, "there is no such format of a cache");
    if (bits == 4 && get("head_dim") % 2)
      return failure(spec, "head_dim is odd with integers of 4 bits");
  }
  if (spec.family == "causal_conv1d") {
    if (get("kernel") > 16)
      return failure(spec, "kernel is more than 16");
    if (get("quant") > 1)
      return failure(spec, "results have no scales of rows");
  }
  if (spec.family == "rope" &&
      (get("half") > 256 || 2 * get("half") > get("head_dim")))
    return failure(spec, "half is more than 256 or than half of head_dim");
  if (spec.family == "ssm_scan" &&
      (get("n") > 256 || get("channels") % get("groups")))
    return failure(spec,
                   "n is more than 256, or groups does not divide channels");
  if ((spec.family == "collapse_channels" || spec.family == "collapsed_scan") &&
      get("n") > 256)
    return failure(spec, "n is more than 256");
  if (spec.family == "collapse_channels" &&
      (get("channels") % get("groups") || get("groups") % get("scans") ||
       (get("heads") &&
        (get("channels") % get("heads") || get("heads") % get("groups")))))
    return failure(spec, "scans, groups, heads and channels do not divide each "
                         "other in this order");
  if (spec.family == "expand_channels" && get("channels") % get("scans"))
    return failure(spec, "scans does not divide channels");
  if (spec.family.find("cross_") == 0 && get("directions") != 1 &&
      get("directions") != 2 && get("directions") != 4)
    return failure(spec, "directions is not 1, 2 or 4");
  if (spec.family == "depthwise_conv2d" &&
      (get("kh") % 2 == 0 || get("kw") % 2 == 0 || get("kh") * get("kw") > 49))
    return failure(spec, "the kernel is not odd, or has more than 49 elements");
  if (get("state_format") > 2 || get("state_rounding") > 1 ||
      (get("state_residual") != 0 && get("state_residual") != 4 &&
       get("state_residual") != 8))
    return failure(spec, "no such format of a state");
  if (spec.family == "ssd_scan") {
    if (get("heads") % get("groups"))
      return failure(spec, "groups does not divide heads");
    if (get("n") > 256 && (get("b_i8") || get("c_i8") || get("state_format")))
      return failure(spec, "n is more than 256 with integers");
  }
  if ((spec.family == "rms_norm" || spec.family == "gated_norm") &&
      get("d") % get("group"))
    return failure(spec, "group does not divide d");
  if (get("quant") > 2 ||
      (StringRef(spec.family).starts_with("linear_") && get("quant") > 1))
    return failure(spec, "there is no such quant");
  if (get("ldq") && get("k") && get("ldq") < get("k"))
    return failure(spec, "ldq is less than k");
  if (spec.family == "hadamard" || get("hadamard")) {
    int64_t base = get("base"), log2 = get("log2");
    if (!is_contained({1, 12, 20, 28, 40}, base) || log2 > 20 ||
        get("blocks") * (base << log2) != get("d"))
      return failure(spec, "there is no such rotation of d elements");
  }
  // A row lies on the stack while it is rotated or its largest value sought.
  if ((get("hadamard") || (get("quant") && get("d")) ||
       spec.family == "hadamard") &&
      get("d") > 65536)
    return failure(spec, "d is more than 65536");
  if (StringRef(spec.family).starts_with("linear_i4")) {
    if (get("group") % 8)
      return failure(spec, "group is no multiple of 8");
    // Activations of a tile lie on the stack, with sums for each group.
    if (get("k") > 65536)
      return failure(spec, "k is more than 65536");
  }
  if (spec.family == "linear_f8" && get("format") > 1)
    return failure(spec, "format is not 0 (e4m3fn) or 1 (e5m2)");
  if (spec.family == "linear_i8" && get("group") % 8)
    return failure(spec, "group is no multiple of 8");
  // Sums of the groups of twelve rows lie on the stack.
  if (spec.family == "linear_i8" && get("group") && get("zeros") &&
      get("k") / get("group") > 16384)
    return failure(spec, "more than 16384 groups have zero points");
  if (spec.family == "linear_i8a8" && (get("zeros") || get("asymmetric")) &&
      get("k") > 33000)
    return failure(spec, "k is more than 33000 with zero points");
  if (get("asymmetric") && get("scale_each"))
    return failure(spec, "a zero point is that of one scale");
  if (spec.family == "embed" && get("group") % 8)
    return failure(spec, "group is no multiple of 8");
  if (spec.family == "embed" && get("tokens") &&
      (get("tokens") < 0 || get("first") < 0 ||
       get("rows") % get("tokens") != 0))
    return failure(spec, "the rows are not those of whole sequences");
  if (spec.family == "embed" && (get("format") < 0 || get("format") > 7 ||
                                 (get("format") == 7 && get("group") <= 0)))
    return failure(spec, "format is not one of 0 .. 7, or a group is missing");
  if (spec.family == "patchify" &&
      (get("height") % get("ph") || get("width") % get("pw")))
    return failure(spec, "the patch does not divide the image");
  return Error::success();
}

Error checkSpec(const KernelSpec &spec) {
  const Family *family = find_if(
      kFamilies, [&](const Family &f) { return f.name == spec.family; });
  if (family == std::end(kFamilies))
    return makeError(ErrorCode::CodeGen,
                     "no x86 kernel family '" + Twine(spec.family) + "'", {},
                     {}, "families are " + join(kernelFamilies(), ", "));
  auto [positiveText, otherText] = StringRef(family->constants).split('|');
  SmallVector<StringRef> positive, other;
  positiveText.split(positive, ' ', -1, /*KeepEmpty=*/false);
  otherText.split(other, ' ', -1, /*KeepEmpty=*/false);
  bool fused = is_contained(other, "extras");
  int64_t extraStrides = 0;
  for (const auto &[name, value] : spec.constants) {
    if (fused && StringRef(name).starts_with("extra") &&
        StringRef(name).ends_with("_ld")) {
      ++extraStrides;
      if (value < 0)
        return failure(spec, name + " is negative");
      continue;
    }
    if (!is_contained(positive, name) && !is_contained(other, name))
      return failure(spec, "the family has no constant '" + name + "'");
    if (value < 0)
      return failure(spec, name + " is negative");
  }
  for (StringRef name : positive)
    if (spec.get(name) <= 0)
      return failure(spec,
                     "constant '" + name + "' is missing or not positive");
  if (!fused && !spec.epilogue.empty())
    return failure(spec, "the family has no epilogue");
  if (extraStrides > spec.get("extras"))
    return failure(spec, "there are more strides of extras than extras");
  return checkSizes(spec);
}

} // namespace effc
