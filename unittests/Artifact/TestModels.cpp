//===- TestModels.cpp - small models, from eff to a model file ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestModels.h"

#include "effc/Conversion/EffToPlan/Passes.h"
#include "effc/Dialect/Plan/Transforms/Passes.h"
#include "effc/Target/Generic/Passes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "gtest/gtest.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace effc;

test::TempDir::TempDir() {
  std::string pattern = ::testing::TempDir() + "/effc-artifact-XXXXXX";
  path = mkdtemp(pattern.data()) ? pattern : ".";
}

test::TempDir::~TempDir() {
  std::error_code ignored;
  if (path != ".")
    std::filesystem::remove_all(path, ignored);
}

std::vector<std::string> test::TempDir::list() const {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(path))
    names.push_back(entry.path().filename());
  llvm::sort(names);
  return names;
}

std::string test::readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

std::string test::weight(const std::string &name, std::vector<int64_t> shape,
                         double scale, const std::string &format,
                         double offset) {
  uint64_t seed = 0x9e3779b97f4a7c15;
  for (char c : name)
    seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  int64_t count = 1;
  std::string dims;
  for (int64_t dim : shape) {
    count *= dim;
    dims += std::to_string(dim) + "x";
  }
  std::vector<float> values(count);
  for (float &value : values) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    // Multiples of 2^-7: exact in bf16, so that the source says the same in
    // every format.
    value = offset + scale * (double(int64_t(seed >> 56)) - 128) / 128;
  }
  llvm::StringRef bytes(reinterpret_cast<const char *>(values.data()),
                        values.size() * sizeof(float));
  return "eff.weight @" + name + " : !eff.weight<" +
         dims.substr(0, dims.size() - 1) + ", " + format + "> = dense<\"0x" +
         llvm::toHex(bytes) + "\"> : tensor<" + dims + "f32>\n";
}

/// Text with $B, $T, $R (rows), $K (kind) and $N (name) filled in for each
/// entry point.
static std::string forEachEntry(std::string body) {
  struct Entry {
    const char *name, *kind;
    int batch, tokens;
  };
  std::string text;
  for (const Entry &entry :
       {Entry{"decode_b1", "decode", 1, 1}, Entry{"decode_b2", "decode", 2, 1},
        Entry{"prefill_b1_t4", "prefill", 1, 4},
        Entry{"prefill_b1_t16", "prefill", 1, 16}}) {
    for (size_t i = 0; i < body.size(); ++i) {
      if (body[i] != '$') {
        text += body[i];
        continue;
      }
      switch (body[++i]) {
      case 'B':
        text += std::to_string(entry.batch);
        break;
      case 'T':
        text += std::to_string(entry.tokens);
        break;
      case 'R':
        text += std::to_string(entry.batch * entry.tokens);
        break;
      case 'K':
        text += entry.kind;
        break;
      case 'N':
        text += entry.name;
        break;
      }
    }
  }
  return text;
}

static std::string openModel(const char *arch, int maxLength) {
  return std::string("module attributes {eff.model = #eff.model<causal_lm, "
                     "arch = \"") +
         arch + "\", vocab = 40, max_length = " + std::to_string(maxLength) +
         ">} {\n";
}

static const char *const kSignature = R"(
func.func @$N(%ids: tensor<$Bx$Txi32> {eff.name = "input_ids"}) -> (tensor<$Rx40xf32> {eff.name = "logits"})
    attributes {eff.entry = #eff.entry<$K, batch = $B, tokens = $T>} {
  %embed = eff.use @embed : !eff.weight<40x24, f32>
  %norm = eff.use @norm : !eff.weight<24, f32>
  %x = eff.embed %ids, %embed : tensor<$Bx$Txi32>, !eff.weight<40x24, f32> -> tensor<$Bx$Tx24xf32>
  %n = eff.rms_norm %x, %norm {eps = 1.0e-5 : f32} : tensor<$Bx$Tx24xf32>, !eff.weight<24, f32>
)";

static const char *const kHead = R"(
  %r = arith.addf %x, %o : tensor<$Bx$Tx24xf32>
  %s = eff.select_rows %r : tensor<$Bx$Tx24xf32> -> tensor<$Rx24xf32>
  %fn = eff.rms_norm %s, %norm {eps = 1.0e-5 : f32} : tensor<$Rx24xf32>, !eff.weight<24, f32>
  %l = eff.linear %fn, %embed : tensor<$Rx24xf32>, !eff.weight<40x24, f32> -> tensor<$Rx40xf32>
  return %l : tensor<$Rx40xf32>
}
)";

/// `log(1 + exp(x + bias))` as a front end writes it.
static const char *const kSoftplus = R"(
  %dtbias_t = eff.read %dtbias : !eff.weight<$C, f32> -> tensor<$Cxf32>
  %dtempty = tensor.empty() : tensor<$Bx$Tx$Cxf32>
  %dtb = linalg.broadcast ins(%dtbias_t : tensor<$Cxf32>) outs(%dtempty : tensor<$Bx$Tx$Cxf32>) dimensions = [0, 1]
  %dt0 = arith.addf %dtraw, %dtb : tensor<$Bx$Tx$Cxf32>
  %dtzero = arith.constant dense<0.0> : tensor<$Bx$Tx$Cxf32>
  %dt1 = math.absf %dt0 : tensor<$Bx$Tx$Cxf32>
  %dt2 = arith.negf %dt1 : tensor<$Bx$Tx$Cxf32>
  %dt3 = math.exp %dt2 : tensor<$Bx$Tx$Cxf32>
  %dt4 = math.log1p %dt3 : tensor<$Bx$Tx$Cxf32>
  %dt5 = arith.maximumf %dt0, %dtzero : tensor<$Bx$Tx$Cxf32>
  %dt = arith.addf %dt5, %dt4 : tensor<$Bx$Tx$Cxf32>
)";

static std::string softplus(const std::string &channels) {
  std::string text = kSoftplus;
  for (size_t at; (at = text.find("$C")) != std::string::npos;)
    text.replace(at, 2, channels);
  return text;
}

std::string test::mamba2Model() {
  std::string text = openModel("mamba2", 0);
  text += weight("embed", {40, 24}, 1);
  text += weight("norm", {24}, 0.25, "f32", 1);
  // z 32, x 32 + B 8 + C 8, dt 4
  text += weight("in", {84, 24}, 0.5, "bf16");
  text += weight("convw", {48, 4}, 0.5);
  text += weight("convb", {48}, 0.25);
  text += weight("dtbias", {4}, 0.5);
  text += weight("a", {4}, 0.25, "f32", -1);
  text += weight("d", {4}, 0.5, "f32", 1);
  text += weight("gate", {32}, 0.25, "f32", 1);
  text += weight("out", {24, 32}, 0.5, "bf16");
  text += "eff.state @conv : !eff.state<conv, 3x48, f32>\n"
          "eff.state @ssm : !eff.state<ssd, 4x8x8, f32>\n";
  text += forEachEntry(kSignature + std::string(R"(
  %in = eff.use @in : !eff.weight<84x24, bf16>
  %convw = eff.use @convw : !eff.weight<48x4, f32>
  %convb = eff.use @convb : !eff.weight<48, f32>
  %dtbias = eff.use @dtbias : !eff.weight<4, f32>
  %a = eff.use @a : !eff.weight<4, f32>
  %d = eff.use @d : !eff.weight<4, f32>
  %gate = eff.use @gate : !eff.weight<32, f32>
  %out = eff.use @out : !eff.weight<24x32, bf16>
  %conv = eff.use @conv : !eff.state<conv, 3x48, f32>
  %ssm = eff.use @ssm : !eff.state<ssd, 4x8x8, f32>
  %p = eff.linear %n, %in : tensor<$Bx$Tx24xf32>, !eff.weight<84x24, bf16> -> tensor<$Bx$Tx84xf32>
  %z, %xbc, %dtraw = eff.split %p : tensor<$Bx$Tx84xf32> -> tensor<$Bx$Tx32xf32>, tensor<$Bx$Tx48xf32>, tensor<$Bx$Tx4xf32>
  %c = eff.causal_conv1d %xbc, %convw, %conv bias %convb {activation = #eff.activation<silu>}
    : tensor<$Bx$Tx48xf32>, !eff.weight<48x4, f32>, !eff.state<conv, 3x48, f32>, !eff.weight<48, f32>
  %xs, %bs, %cs = eff.split %c : tensor<$Bx$Tx48xf32> -> tensor<$Bx$Tx32xf32>, tensor<$Bx$Tx8xf32>, tensor<$Bx$Tx8xf32>
)") + softplus("4") +
                       R"(
  %y = eff.ssd_scan %xs, %dt, %a, %bs, %cs, %ssm skip %d {heads = 4, groups = 1}
    : tensor<$Bx$Tx32xf32>, tensor<$Bx$Tx4xf32>, !eff.weight<4, f32>, tensor<$Bx$Tx8xf32>, !eff.state<ssd, 4x8x8, f32>,
      !eff.weight<4, f32>
  %g = eff.gated_norm %y, %z, %gate {eps = 1.0e-5 : f32} : tensor<$Bx$Tx32xf32>, !eff.weight<32, f32>
  %o = eff.linear %g, %out : tensor<$Bx$Tx32xf32>, !eff.weight<24x32, bf16> -> tensor<$Bx$Tx24xf32>
)" + kHead);
  return text + "}\n";
}

std::string test::mamba1Model() {
  std::string text = openModel("mamba", 0);
  text += weight("embed", {40, 24}, 1);
  text += weight("norm", {24}, 0.25, "f32", 1);
  text += weight("in", {64, 24}, 0.5);
  text += weight("convw", {32, 4}, 0.5);
  text += weight("convb", {32}, 0.25);
  // dt 2, B 8, C 8
  text += weight("xproj", {18, 32}, 0.25);
  text += weight("dtproj", {32, 2}, 0.5);
  text += weight("dtbias", {32}, 0.5);
  text += weight("a", {32, 8}, 0.5, "f32", -1);
  text += weight("d", {32}, 0.5, "f32", 1);
  text += weight("out", {24, 32}, 0.5);
  text += "eff.state @conv : !eff.state<conv, 3x32, f32>\n"
          "eff.state @ssm : !eff.state<ssm, 8x32, f32>\n";
  text += forEachEntry(kSignature + std::string(R"(
  %in = eff.use @in : !eff.weight<64x24, f32>
  %convw = eff.use @convw : !eff.weight<32x4, f32>
  %convb = eff.use @convb : !eff.weight<32, f32>
  %xproj = eff.use @xproj : !eff.weight<18x32, f32>
  %dtproj = eff.use @dtproj : !eff.weight<32x2, f32>
  %dtbias = eff.use @dtbias : !eff.weight<32, f32>
  %a = eff.use @a : !eff.weight<32x8, f32>
  %d = eff.use @d : !eff.weight<32, f32>
  %out = eff.use @out : !eff.weight<24x32, f32>
  %conv = eff.use @conv : !eff.state<conv, 3x32, f32>
  %ssm = eff.use @ssm : !eff.state<ssm, 8x32, f32>
  %p = eff.linear %n, %in : tensor<$Bx$Tx24xf32>, !eff.weight<64x24, f32> -> tensor<$Bx$Tx64xf32>
  %u0, %z = eff.split %p : tensor<$Bx$Tx64xf32> -> tensor<$Bx$Tx32xf32>, tensor<$Bx$Tx32xf32>
  %u = eff.causal_conv1d %u0, %convw, %conv bias %convb {activation = #eff.activation<silu>}
    : tensor<$Bx$Tx32xf32>, !eff.weight<32x4, f32>, !eff.state<conv, 3x32, f32>, !eff.weight<32, f32>
  %xp = eff.linear %u, %xproj : tensor<$Bx$Tx32xf32>, !eff.weight<18x32, f32> -> tensor<$Bx$Tx18xf32>
  %dtlow, %bs, %cs = eff.split %xp : tensor<$Bx$Tx18xf32> -> tensor<$Bx$Tx2xf32>, tensor<$Bx$Tx8xf32>, tensor<$Bx$Tx8xf32>
  %dtraw = eff.linear %dtlow, %dtproj : tensor<$Bx$Tx2xf32>, !eff.weight<32x2, f32> -> tensor<$Bx$Tx32xf32>
)") + softplus("32") +
                       R"(
  %y = eff.ssm_scan %u, %dt, %a, %bs, %cs, %ssm skip %d gate %z {groups = 1}
    : tensor<$Bx$Tx32xf32>, !eff.weight<32x8, f32>, tensor<$Bx$Tx8xf32>, !eff.state<ssm, 8x32, f32>
      skip !eff.weight<32, f32> gate tensor<$Bx$Tx32xf32>
  %o = eff.linear %y, %out : tensor<$Bx$Tx32xf32>, !eff.weight<24x32, f32> -> tensor<$Bx$Tx24xf32>
)" + kHead);
  return text + "}\n";
}

std::string test::attentionModel() {
  std::string text = openModel("llama", 48);
  text += weight("embed", {40, 24}, 1);
  text += weight("norm", {24}, 0.25, "f32", 1);
  text += weight("qkv", {64, 24}, 0.5);
  text += weight("freq", {4}, 0.5, "f32", 0.75);
  text += weight("proj", {24, 32}, 0.5);
  text += weight("up", {40, 24}, 0.5);
  text += weight("act", {40, 24}, 0.5);
  text += weight("down", {24, 40}, 0.5);
  text += "eff.cache @key : !eff.cache<2x8, capacity = 48, f32>\n"
          "eff.cache @value : !eff.cache<2x8, capacity = 48, f32>\n";
  text += forEachEntry(kSignature + std::string(R"(
  %qkvw = eff.use @qkv : !eff.weight<64x24, f32>
  %freq = eff.use @freq : !eff.weight<4, f32>
  %proj = eff.use @proj : !eff.weight<24x32, f32>
  %upw = eff.use @up : !eff.weight<40x24, f32>
  %actw = eff.use @act : !eff.weight<40x24, f32>
  %downw = eff.use @down : !eff.weight<24x40, f32>
  %key = eff.use @key : !eff.cache<2x8, capacity = 48, f32>
  %value = eff.use @value : !eff.cache<2x8, capacity = 48, f32>
  %qkv = eff.linear %n, %qkvw : tensor<$Bx$Tx24xf32>, !eff.weight<64x24, f32> -> tensor<$Bx$Tx64xf32>
  %q0, %k0, %v = eff.split %qkv : tensor<$Bx$Tx64xf32> -> tensor<$Bx$Tx32xf32>, tensor<$Bx$Tx16xf32>, tensor<$Bx$Tx16xf32>
  %q = eff.rope %q0, %freq {heads = 4} : tensor<$Bx$Tx32xf32>, !eff.weight<4, f32>
  %k = eff.rope %k0, %freq {heads = 2} : tensor<$Bx$Tx16xf32>, !eff.weight<4, f32>
  eff.cache_append %k, %key : tensor<$Bx$Tx16xf32>, !eff.cache<2x8, capacity = 48, f32>
  eff.cache_append %v, %value : tensor<$Bx$Tx16xf32>, !eff.cache<2x8, capacity = 48, f32>
  %y = eff.attention %q, %key, %value {heads = 4, kv_heads = 2, scale = 0.35355339 : f32, causal}
    : tensor<$Bx$Tx32xf32>, !eff.cache<2x8, capacity = 48, f32>, !eff.cache<2x8, capacity = 48, f32>
  %o0 = eff.linear %y, %proj : tensor<$Bx$Tx32xf32>, !eff.weight<24x32, f32> -> tensor<$Bx$Tx24xf32>
  %h = arith.addf %x, %o0 : tensor<$Bx$Tx24xf32>
  %hn = eff.rms_norm %h, %norm {eps = 1.0e-5 : f32} : tensor<$Bx$Tx24xf32>, !eff.weight<24, f32>
  %up = eff.linear %hn, %upw : tensor<$Bx$Tx24xf32>, !eff.weight<40x24, f32> -> tensor<$Bx$Tx40xf32>
  %act = eff.linear %hn, %actw : tensor<$Bx$Tx24xf32>, !eff.weight<40x24, f32> -> tensor<$Bx$Tx40xf32>
  %one = arith.constant dense<1.0> : tensor<$Bx$Tx40xf32>
  %neg = arith.negf %act : tensor<$Bx$Tx40xf32>
  %exp = math.exp %neg : tensor<$Bx$Tx40xf32>
  %den = arith.addf %exp, %one : tensor<$Bx$Tx40xf32>
  %silu = arith.divf %act, %den : tensor<$Bx$Tx40xf32>
  %glu = arith.mulf %silu, %up : tensor<$Bx$Tx40xf32>
  %o1 = eff.linear %glu, %downw : tensor<$Bx$Tx40xf32>, !eff.weight<24x40, f32> -> tensor<$Bx$Tx24xf32>
  %o = arith.addf %o0, %o1 : tensor<$Bx$Tx24xf32>
)") + kHead);
  return text + "}\n";
}

std::string test::imageModel() {
  std::string text = "module attributes {eff.model = "
                     "#eff.model<image_classifier, arch = \"vit\", vocab = 0, "
                     "max_length = 0>} {\n";
  text += weight("patch", {24, 48}, 0.25);
  text += weight("patchb", {24}, 0.25);
  text += weight("cls", {1, 1, 24}, 0.5);
  text += weight("pos", {1, 5, 24}, 0.5);
  text += weight("norm", {24}, 0.25, "f32", 1);
  text += weight("normb", {24}, 0.25);
  text += weight("q", {24, 24}, 0.5);
  text += weight("k", {24, 24}, 0.5);
  text += weight("v", {24, 24}, 0.5);
  text += weight("fc", {24, 24}, 0.5);
  text += weight("head", {10, 24}, 0.5);
  text += weight("headb", {10}, 0.5);
  text += R"(
func.func @forward_b2(%image: tensor<2x3x8x8xf32> {eff.name = "pixel_values"})
    -> (tensor<2x10xf32> {eff.name = "logits"}) attributes {eff.entry = #eff.entry<forward, batch = 2, tokens = 1>} {
  %patch = eff.use @patch : !eff.weight<24x48, f32>
  %patchb = eff.use @patchb : !eff.weight<24, f32>
  %clsw = eff.use @cls : !eff.weight<1x1x24, f32>
  %posw = eff.use @pos : !eff.weight<1x5x24, f32>
  %norm = eff.use @norm : !eff.weight<24, f32>
  %normb = eff.use @normb : !eff.weight<24, f32>
  %qw = eff.use @q : !eff.weight<24x24, f32>
  %kw = eff.use @k : !eff.weight<24x24, f32>
  %vw = eff.use @v : !eff.weight<24x24, f32>
  %fcw = eff.use @fc : !eff.weight<24x24, f32>
  %headw = eff.use @head : !eff.weight<10x24, f32>
  %headb = eff.use @headb : !eff.weight<10, f32>
  %p = eff.conv2d %image, %patch bias %patchb {patch = array<i64: 4, 4>}
    : tensor<2x3x8x8xf32>, !eff.weight<24x48, f32>, !eff.weight<24, f32> -> tensor<2x4x24xf32>
  %cls = eff.read %clsw : !eff.weight<1x1x24, f32> -> tensor<1x1x24xf32>
  %pos = eff.read %posw : !eff.weight<1x5x24, f32> -> tensor<1x5x24xf32>
  %cls2 = tensor.concat dim(0) %cls, %cls : (tensor<1x1x24xf32>, tensor<1x1x24xf32>) -> tensor<2x1x24xf32>
  %seq = tensor.concat dim(1) %cls2, %p : (tensor<2x1x24xf32>, tensor<2x4x24xf32>) -> tensor<2x5x24xf32>
  %pos2 = tensor.concat dim(0) %pos, %pos : (tensor<1x5x24xf32>, tensor<1x5x24xf32>) -> tensor<2x5x24xf32>
  %x = arith.addf %seq, %pos2 : tensor<2x5x24xf32>
  %n = eff.layer_norm %x, %norm bias %normb {eps = 1.0e-6 : f32} : tensor<2x5x24xf32>, !eff.weight<24, f32>, !eff.weight<24, f32>
  %q = eff.linear %n, %qw : tensor<2x5x24xf32>, !eff.weight<24x24, f32> -> tensor<2x5x24xf32>
  %k = eff.linear %n, %kw : tensor<2x5x24xf32>, !eff.weight<24x24, f32> -> tensor<2x5x24xf32>
  %v = eff.linear %n, %vw : tensor<2x5x24xf32>, !eff.weight<24x24, f32> -> tensor<2x5x24xf32>
  %a = eff.attention %q, %k, %v {heads = 3, kv_heads = 3, scale = 0.35355339 : f32}
    : tensor<2x5x24xf32>, tensor<2x5x24xf32>, tensor<2x5x24xf32>
  %f = eff.linear %a, %fcw : tensor<2x5x24xf32>, !eff.weight<24x24, f32> -> tensor<2x5x24xf32>
  %half = arith.constant dense<0.5> : tensor<2x5x24xf32>
  %root = arith.constant dense<0.70710678> : tensor<2x5x24xf32>
  %one = arith.constant dense<1.0> : tensor<2x5x24xf32>
  %g0 = arith.mulf %f, %root : tensor<2x5x24xf32>
  %g1 = math.erf %g0 : tensor<2x5x24xf32>
  %g2 = arith.addf %g1, %one : tensor<2x5x24xf32>
  %g3 = arith.mulf %f, %g2 : tensor<2x5x24xf32>
  %g4 = arith.mulf %g3, %half : tensor<2x5x24xf32>
  %r = arith.addf %x, %g4 : tensor<2x5x24xf32>
  %first = tensor.extract_slice %r[0, 0, 0] [2, 1, 24] [1, 1, 1] : tensor<2x5x24xf32> to tensor<2x24xf32>
  %l = eff.linear %first, %headw extras(%headb : !eff.weight<10, f32>) epilogue {
  ^bb0(%acc: f32, %b: f32):
    %sum = arith.addf %acc, %b : f32
    eff.yield %sum : f32
  } : tensor<2x24xf32>, !eff.weight<10x24, f32> -> tensor<2x10xf32>
  return %l : tensor<2x10xf32>
}
}
)";
  return text;
}

test::TestModule::TestModule(const std::string &text) {
  mlir::DialectRegistry registry;
  registry.insert<eff::EffDialect, plan::PlanDialect, mlir::arith::ArithDialect,
                  mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                  mlir::math::MathDialect, mlir::tensor::TensorDialect>();
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  module = mlir::parseSourceString<mlir::ModuleOp>(
      text, mlir::ParserConfig(&context));
  EXPECT_TRUE(module) << "the model does not parse";
}

bool test::TestModule::plan(eff::QuantFormat format, bool inPlace) {
  if (!module)
    return false;
  mlir::PassManager passes(&context);
  passes.addNestedPass<mlir::func::FuncOp>(eff::createEffFuseDtPass());
  passes.addNestedPass<mlir::func::FuncOp>(eff::createEffFuseEpiloguePass());
  eff::EffQuantizePassOptions quantize;
  quantize.format = format;
  quantize.group = 8;
  passes.addPass(eff::createEffQuantizePass(quantize));
  passes.addPass(mlir::createCanonicalizerPass());
  passes.addPass(mlir::createCSEPass());
  passes.addPass(eff::createEffAssignLayoutPass());
  passes.addPass(createConvertEffToPlanPass());
  passes.addPass(createPlanSizeGenericsPass());
  plan::PlanMemoryPassOptions memory;
  memory.inPlace = inPlace;
  passes.addNestedPass<plan::ProgramOp>(plan::createPlanMemoryPass(memory));
  return mlir::succeeded(passes.run(*module));
}

llvm::Expected<ModelReport>
test::TestModule::write(const WriteOptions &options) {
  return writeModel(*module, options);
}

std::string test::TestModule::write(const std::string &path,
                                    eff::QuantFormat format) {
  if (!plan(format))
    return "the passes failed";
  WriteOptions options;
  options.targets = {X86Machine::host()};
  options.output = path;
  options.jobs = 2;
  llvm::Expected<ModelReport> report = write(options);
  return report ? "" : llvm::toString(report.takeError());
}
