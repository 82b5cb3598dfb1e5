//===- KernelBench.cpp - speed of kernels against the roofline
//--------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Times kernel families at the shapes of Llama-3.2-1B and Mamba2-1.3B and
/// prints JSON lines: median and best time of a run, and of the best one bytes
/// and operations per second with their shares of what the same process
/// measured this machine to do. Operands that a model reads from memory take
/// turns in a buffer larger than the caches.
///
//===----------------------------------------------------------------------===//

#include "Roofline.h"

#include "effc/Target/X86/LoadKernel.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <sys/mman.h>

using namespace effc;
using namespace effc::bench;
using llvm::cl::desc;
using llvm::cl::init;

static llvm::cl::opt<std::string>
    filter("filter", desc("Regular expression over names of benchmarks"),
           init("."));
static llvm::cl::opt<std::string>
    target("target", desc("Target of the kernels"), init("native"));
static llvm::cl::opt<int>
    workers("workers", desc("Threads; 0: one for each processor"), init(0));
static llvm::cl::opt<double> budget("seconds", desc("Time for each benchmark"),
                                    init(0.25));
static llvm::cl::opt<bool>
    assembly("assembly", desc("Print the kernels' code instead of timing it"));
static llvm::cl::opt<int>
    memory("memory-mb", desc("Size of the buffer that is read in turns"),
           init(1536));

namespace {

/// An operand: `bytes` long; `streamed` ones move through the big buffer from
/// run to run.
struct Operand {
  int64_t bytes;
  bool streamed;
};

struct Benchmark {
  std::string name, family;
  std::vector<std::pair<const char *, int64_t>> constants;
  std::vector<Operand> operands;
  int32_t batch, tokens, past;
  /// Traffic beyond the activations, arithmetic of one run.
  double bytes, operations;
  bool integer = false;
};

int64_t bitsOf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

std::vector<Benchmark> all;

/// Bytes of a packed weight for a linear family.
int64_t weightBytes(llvm::StringRef family, int64_t n, int64_t k) {
  if (family == "linear_f32")
    return n * k * 4;
  if (family.contains("i4"))
    return n * k / 2 + n * ((k + 127) / 128) * 4;
  return family.contains("8") ? n * k + n * 8 : n * k * 2;
}

void addLinear(const std::string &family, int64_t rows, int64_t n, int64_t k) {
  Benchmark b;
  b.name = family + "_" + std::to_string(rows) + "x" + std::to_string(n) + "x" +
           std::to_string(k);
  b.family = family;
  b.constants = {{"rows", rows}, {"n", n}, {"k", k}, {"ldy", n}};
  b.integer = llvm::StringRef(family).ends_with("a8");
  b.constants.push_back({b.integer ? "ldq" : "ldx", k});
  if (llvm::StringRef(family).contains("i4"))
    b.constants.push_back({"group", 128});
  Operand w = {weightBytes(family, n, k), true};
  b.operands = {{rows * k * 4, false}, w, {rows * n * 4, false}};
  if (b.integer)
    b.operands = {{rows * k, false},
                  {rows * 4, false},
                  w,
                  {rows * n * 4, false},
                  {0, false}};
  b.batch = 1;
  b.tokens = rows;
  b.past = 0;
  b.bytes = w.bytes;
  b.operations = 2.0 * rows * n * k;
  all.push_back(b);
}

/// What a file that is quantised already has beside the plain forms: weights
/// with a scale for each `group` columns (0: for each row), zero points, of
/// activations too.
void addImported(const std::string &family, int64_t rows, int64_t n, int64_t k,
                 int64_t group, bool zeros, bool asymmetric = false) {
  addLinear(family, rows, n, k);
  Benchmark &b = all.back();
  b.name = "imported_" + b.name + (group ? "_g" + std::to_string(group) : "") +
           (zeros ? "_zeros" : "") + (asymmetric ? "_asymmetric" : "");
  llvm::erase_if(b.constants, [](const auto &constant) {
    return llvm::StringRef(constant.first) == "group";
  });
  if (group)
    b.constants.push_back({"group", group});
  if (zeros)
    b.constants.push_back({"zeros", 1});
  if (asymmetric) {
    b.constants.push_back({"asymmetric", 1});
    b.constants.push_back({"static_scale", 1});
  }
  int64_t scales = n * (group ? (k + group - 1) / group : 1) * 4;
  int64_t bytes = (llvm::StringRef(family).contains("i4") ? n * k / 2 : n * k) +
                  scales * (zeros ? 2 : 1) + n * 4;
  b.operands[b.integer ? 2 : 1].bytes = bytes;
  b.bytes = static_cast<double>(bytes);
}

/// The format of a cache: f32, integers with a scale for each row, or of `bits`
/// bits by scales of the model.
struct CacheFormat {
  const char *name;
  int64_t rowScales, bits;
};
constexpr CacheFormat kCaches[] = {
    {"", 0, 0}, {"i8_", 1, 0}, {"scaled8_", 0, 8}, {"scaled4_", 0, 4}};

void addAttention(int64_t tokens, int32_t past, const CacheFormat &f) {
  int64_t heads = 32, kv = 8, d = 64, capacity = past < 8192 ? 8192 : 32768;
  double seen = past + (tokens + 1) / 2.0;
  int64_t rowBytes = f.rowScales ? d + 4 : f.bits ? d * f.bits / 8 : d * 4;
  Operand cache = {kv * capacity * rowBytes, true};
  Operand scales = {kv * d * 4, false};
  all.push_back({std::string("attention_cache_") + f.name +
                     std::to_string(tokens) + "_past" + std::to_string(past),
                 "attention_cache",
                 {{"batch", 1},
                  {"tokens", tokens},
                  {"heads", heads},
                  {"kv_heads", kv},
                  {"head_dim", d},
                  {"capacity", capacity},
                  {"ldq", heads * d},
                  {"ldy", heads * d},
                  {"causal", 1},
                  {"scale_bits", bitsOf(0.125f)},
                  {"cache_i8", f.rowScales},
                  {"cache_bits", f.bits}},
                 {{tokens * heads * d * 4, false},
                  cache,
                  cache,
                  {tokens * heads * d * 4, false},
                  scales,
                  scales},
                 1,
                 static_cast<int32_t>(tokens),
                 past,
                 2.0 * kv * (past + tokens) * rowBytes,
                 4.0 * tokens * heads * seen * d});
}

/// A format of a recurrent state: f32, or int8 with static or dynamic scales.
struct StateFormat {
  const char *name;
  int64_t format, stochastic, residual;

  /// Bytes of `elements`, `n` to a channel.
  int64_t bytes(int64_t elements, int64_t n) const {
    return !format ? elements * 4
                   : elements + elements * residual / 8 +
                         (format == 2 ? elements / n * 4 : 0);
  }
};
constexpr StateFormat kStates[] = {{"f32", 0, 0, 0},
                                   {"i8", 2, 0, 0},
                                   {"i8_residual4", 2, 0, 4},
                                   {"i8_stochastic", 2, 1, 0},
                                   {"i8_static", 1, 0, 0}};

/// One token of each of 32 sequences at the shapes of Mamba2-2.7B and
/// Mamba-2.8B.
void addStates(const StateFormat &f) {
  int64_t batch = 32;
  auto local = [&](int64_t floats) { return Operand{floats * 4, false}; };
  Operand none = {0, false};
  int64_t heads = 80, p = 64, n = 128, d = heads * p, size = d * n;
  std::vector<std::pair<const char *, int64_t>> format = {
      {"state_format", f.format},
      {"state_rounding", f.stochastic},
      {"state_residual", f.residual}};
  Benchmark ssd = {std::string("ssd_scan_b32_") + f.name,
                   "ssd_scan",
                   {{"batch", batch},
                    {"tokens", 1},
                    {"heads", heads},
                    {"head_dim", p},
                    {"n", n},
                    {"groups", 1},
                    {"chunk", 64},
                    {"ldx", d},
                    {"lddt", heads},
                    {"ldb", n},
                    {"ldc", n},
                    {"ldy", d},
                    {"dt_softplus", 1}},
                   {local(batch * d), local(batch * heads), local(heads),
                    local(batch * n), local(batch * n), local(heads),
                    Operand{batch * f.bytes(size, n), true}, local(batch * d),
                    local(heads), none, none, none, none,
                    Operand{f.format == 1 ? size * 4 : 0, true}},
                   static_cast<int32_t>(batch),
                   1,
                   100,
                   2.0 * batch * f.bytes(size, n),
                   5.0 * batch * size};
  ssd.constants.insert(ssd.constants.end(), format.begin(), format.end());
  all.push_back(ssd);
  n = 16;
  size = d * n;
  Benchmark ssm = {std::string("ssm_scan_b32_") + f.name,
                   "ssm_scan",
                   {{"batch", batch},
                    {"tokens", 1},
                    {"channels", d},
                    {"n", n},
                    {"groups", 1},
                    {"ldu", d},
                    {"lddt", d},
                    {"ldb", n},
                    {"ldc", n},
                    {"ldz", d},
                    {"ldy", d},
                    {"dt_softplus", 1}},
                   {local(batch * d), local(batch * d), local(size),
                    local(batch * n), local(batch * n), local(d),
                    local(batch * d), Operand{batch * f.bytes(size, n), true},
                    local(batch * d), local(d), none, none, none, none, none,
                    Operand{f.format == 1 ? size * 4 : 0, true}},
                   static_cast<int32_t>(batch),
                   1,
                   100,
                   2.0 * batch * f.bytes(size, n) + 4.0 * size,
                   6.0 * batch * size};
  ssm.constants.insert(ssm.constants.end(), format.begin(), format.end());
  all.push_back(ssm);
}

void addScans(int64_t tokens) {
  std::string suffix = "_" + std::to_string(tokens);
  auto t = static_cast<int32_t>(tokens);
  auto local = [&](int64_t floats) { return Operand{floats * 4, false}; };
  auto streamed = [&](int64_t floats) { return Operand{floats * 4, true}; };
  int64_t heads = 64, p = 64, n = 128, d = heads * p;
  all.push_back({"ssd_scan" + suffix,
                 "ssd_scan",
                 {{"batch", 1},
                  {"tokens", tokens},
                  {"heads", heads},
                  {"head_dim", p},
                  {"n", n},
                  {"groups", 1},
                  {"chunk", 64},
                  {"ldx", d},
                  {"lddt", heads},
                  {"ldb", n},
                  {"ldc", n},
                  {"ldy", d}},
                 {local(tokens * d),
                  local(tokens * heads),
                  local(heads),
                  local(tokens * n),
                  local(tokens * n),
                  local(heads),
                  streamed(heads * n * p),
                  local(tokens * d),
                  {0, false},
                  {0, false},
                  {0, false},
                  {0, false},
                  {0, false},
                  {0, false}},
                 1,
                 t,
                 0,
                 2.0 * heads * n * p * 4,
                 5.0 * tokens * heads * n * p});
  int64_t channels = 4096, states = 16;
  all.push_back({"ssm_scan" + suffix,
                 "ssm_scan",
                 {{"batch", 1},
                  {"tokens", tokens},
                  {"channels", channels},
                  {"n", states},
                  {"groups", 1},
                  {"ldu", channels},
                  {"lddt", channels},
                  {"ldb", states},
                  {"ldc", states},
                  {"ldz", channels},
                  {"ldy", channels}},
                 {local(tokens * channels),
                  local(tokens * channels),
                  streamed(channels * states),
                  local(tokens * states),
                  local(tokens * states),
                  local(channels),
                  local(tokens * channels),
                  streamed(channels * states),
                  local(tokens * channels),
                  {0, false},
                  {0, false},
                  {0, false},
                  {0, false},
                  {0, false},
                  {0, false},
                  {0, false}},
                 1,
                 t,
                 0,
                 3.0 * channels * states * 4,
                 6.0 * tokens * channels * states});
  channels = 4352;
  all.push_back({"causal_conv1d" + suffix,
                 "causal_conv1d",
                 {{"batch", 1},
                  {"tokens", tokens},
                  {"channels", channels},
                  {"kernel", 4},
                  {"ldx", channels},
                  {"ldy", channels},
                  {"silu", 1}},
                 {local(tokens * channels),
                  streamed(channels * 4),
                  local(channels),
                  streamed(channels * 3),
                  local(tokens * channels),
                  {0, false},
                  {0, false}},
                 1,
                 t,
                 0,
                 10.0 * channels * 4,
                 8.0 * tokens * channels});
  all.push_back({"causal_conv1d_i8" + suffix,
                 "causal_conv1d",
                 {{"batch", 1},
                  {"tokens", tokens},
                  {"channels", channels},
                  {"kernel", 4},
                  {"ldx", channels},
                  {"ldy", channels},
                  {"silu", 1},
                  {"x_i8", 1},
                  {"quant", 1},
                  {"oscale_each", 1}},
                 {local(tokens * channels / 4), streamed(channels * 4),
                  local(channels), streamed(channels),
                  local(tokens * channels / 4), local(1), local(channels)},
                 1,
                 t,
                 0,
                 channels * (16.0 + 6.0),
                 8.0 * tokens * channels});
  all.push_back(
      {"gated_norm" + suffix,
       "gated_norm",
       {{"rows", tokens},
        {"d", d},
        {"ldx", d},
        {"ldz", d},
        {"ldy", d},
        {"group", d},
        {"eps_bits", bitsOf(1e-5f)}},
       {local(tokens * d), local(tokens * d), streamed(d), local(tokens * d)},
       1,
       t,
       0,
       d * 4.0,
       10.0 * tokens * d});
}

void addRows(int64_t rows) {
  std::string suffix = "_" + std::to_string(rows);
  auto t = static_cast<int32_t>(rows);
  int64_t d = 2048, vocab = 128256;
  auto local = [&](int64_t floats) { return Operand{floats * 4, false}; };
  all.push_back({"rms_norm" + suffix,
                 "rms_norm",
                 {{"rows", rows},
                  {"d", d},
                  {"ldx", d},
                  {"ldy", d},
                  {"group", d},
                  {"eps_bits", bitsOf(1e-5f)}},
                 {local(rows * d), {d * 4, true}, local(rows * d)},
                 1,
                 t,
                 0,
                 d * 4.0,
                 4.0 * rows * d});
  all.push_back({"rope" + suffix,
                 "rope",
                 {{"batch", 1},
                  {"tokens", rows},
                  {"heads", 32},
                  {"head_dim", 64},
                  {"half", 32},
                  {"ldx", d},
                  {"ldy", d},
                  {"scale_bits", bitsOf(1.0f)}},
                 {local(rows * d), local(32), local(rows * d)},
                 1,
                 t,
                 1000,
                 128.0,
                 3.0 * rows * d});
  all.push_back({"quantize_rows" + suffix,
                 "quantize_rows",
                 {{"rows", rows}, {"k", d}, {"ldx", d}, {"ldq", d}},
                 {local(rows * d), {rows * d, false}, local(rows)},
                 1,
                 t,
                 0,
                 1.0,
                 3.0 * rows * d});
  all.push_back({"embed_bf16_panel" + suffix,
                 "embed",
                 {{"rows", rows},
                  {"d", d},
                  {"vocab", vocab},
                  {"ldy", d},
                  {"format", 4},
                  {"group", 0}},
                 {local(rows), {vocab * d * 2, true}, local(rows * d)},
                 1,
                 t,
                 0,
                 64.0 * rows * d,
                 1.0 * rows * d});
}

/// Kernels that round rows to int8, at the width of Mamba-2.8B and Mamba2-2.7B
/// (5120 = 20 * 2^8). Their traffic is the activations themselves, in the
/// caches.
void addCodes(int64_t rows) {
  std::string suffix = "_" + std::to_string(rows);
  int64_t d = 5120, model = 2560;
  Operand none = {0, false}, scale = {rows * 4, false};
  auto floats = [&](int64_t columns) {
    return Operand{rows * columns * 4, false};
  };
  auto codes = [&](int64_t columns) { return Operand{rows * columns, false}; };
  using Constants = std::vector<std::pair<const char *, int64_t>>;
  auto add = [&](const char *name, const char *family, Constants constants,
                 const std::vector<Operand> &operands, double operations) {
    double bytes = 0;
    for (const Operand &operand : operands)
      bytes += operand.bytes;
    if (llvm::StringRef(family) != "cache_append")
      constants.push_back({"rows", rows});
    all.push_back({name + suffix, family, constants, operands, 1,
                   static_cast<int32_t>(rows), 0, bytes, operations * rows});
  };
  int64_t eps = bitsOf(1e-5f);
  add("quantize_static", "quantize_static", {{"k", d}, {"ldx", d}, {"ldq", d}},
      {floats(d), scale, codes(d)}, 3.0 * d);
  add("quantize_static_asymmetric", "quantize_static",
      {{"k", d}, {"ldx", d}, {"ldq", d}, {"asymmetric", 1}},
      {floats(d), {8, false}, codes(d)}, 4.0 * d);
  add("tensor_scale", "tensor_scale", {{"k", d}, {"ldx", d}},
      {floats(d), {8, false}}, 2.0 * d);
  for (int64_t bits : {8, 4}) {
    int64_t heads = 8, width = 64, row = heads * width;
    add(bits == 8 ? "cache_append_scaled8" : "cache_append_scaled4",
        "cache_append",
        {{"batch", 1},
         {"tokens", rows},
         {"heads", heads},
         {"head_dim", width},
         {"capacity", 256},
         {"ldx", row},
         {"cache_bits", bits}},
        {floats(row), {256 * row * bits / 8, false}, {row * 4, false}},
        4.0 * row);
  }
  add("dequantize_rows", "dequantize_rows", {{"k", d}, {"ldq", d}, {"ldy", d}},
      {codes(d), scale, floats(d)}, 1.0 * d);
  for (int64_t quant : {1, 2})
    add(quant == 1 ? "rms_norm_static" : "rms_norm_dynamic", "rms_norm",
        {{"d", model},
         {"ldx", model},
         {"ldy", model},
         {"group", model},
         {"eps_bits", eps},
         {"quant", quant}},
        {floats(model), {model * 4, false}, codes(model), scale}, 7.0 * model);
  for (auto [base, log2] : {std::pair<int64_t, int64_t>{20, 8}, {1, 12}}) {
    int64_t n = base << log2;
    // log2 stages, and the base matrix.
    double additions = static_cast<double>(n * (log2 + base - 1));
    add(base == 20 ? "hadamard_5120_static" : "hadamard_4096_static",
        "hadamard",
        {{"d", n},
         {"ldx", n},
         {"ldy", n},
         {"base", base},
         {"log2", log2},
         {"blocks", 1},
         {"quant", 1}},
        {floats(n), codes(n), scale}, additions + 4.0 * n);
  }
  add("gated_norm_hadamard_dynamic", "gated_norm",
      {{"d", d},
       {"ldx", d},
       {"ldz", d},
       {"ldy", d},
       {"group", d},
       {"eps_bits", eps},
       {"hadamard", 1},
       {"base", 20},
       {"log2", 8},
       {"blocks", 1},
       {"quant", 2}},
      {floats(d), floats(d), {d * 4, false}, codes(d), scale, none}, 41.0 * d);
}

void addAll() {
  for (const char *family :
       {"linear_bf16", "linear_i8", "linear_i8a8", "linear_i4", "linear_i4a8",
        "linear_f16", "linear_f32", "linear_f8"}) {
    // Llama-3.2-1B, then Mamba-2.8B and Mamba2-2.7B.
    for (auto [n, k] : {std::pair<int64_t, int64_t>{2048, 2048},
                        {8192, 2048},
                        {2048, 8192},
                        {128256, 2048},
                        {10240, 2560},
                        {10576, 2560},
                        {2560, 5120},
                        {192, 5120},
                        {5120, 160}})
      addLinear(family, 1, n, k);
    addLinear(family, 4, 8192, 2048);
    addLinear(family, 24, 2048, 2048);
    addLinear(family, 128, 256, 2048);
    addLinear(family, 128, 2048, 2048);
    addLinear(family, 128, 8192, 2048);
    addLinear(family, 128, 2048, 8192);
  }
  // Blocks of 32 are what MatMulNBits has by default.
  for (bool zeros : {false, true})
    for (auto [rows, n, k] :
         {std::tuple<int64_t, int64_t, int64_t>{1, 2048, 2048},
          {1, 8192, 2048},
          {1, 2048, 8192},
          {128, 2048, 2048},
          {128, 8192, 2048}}) {
      for (int64_t group : {32, 128}) {
        addImported("linear_i4", rows, n, k, group, zeros);
        addImported("linear_i8", rows, n, k, group, zeros);
      }
      addImported("linear_i4a8", rows, n, k, 32, zeros);
      addImported("linear_i8", rows, n, k, 0, zeros);
      addImported("linear_i8a8", rows, n, k, 0, zeros);
      addImported("linear_i8a8", rows, n, k, 0, zeros, /*asymmetric=*/true);
    }
  for (const CacheFormat &format : kCaches) {
    for (int32_t past : {127, 1023, 4095, 16383})
      addAttention(1, past, format);
    addAttention(128, 0, format);
    addAttention(128, 1024, format);
  }
  for (const StateFormat &format : kStates)
    addStates(format);
  for (int64_t tokens : {1, 128}) {
    addScans(tokens);
    addRows(tokens);
    addCodes(tokens);
  }
  all.push_back({"sample_1",
                 "sample",
                 {{"rows", 1}, {"vocab", 128256}, {"ld", 128256}},
                 {{int64_t(128256) * 4, false}, {4, false}},
                 1,
                 1,
                 0,
                 128256 * 4.0,
                 128256});
}

/// Memory of the benchmarks: one buffer for what is streamed, one for what
/// stays in the caches.
struct Buffers {
  char *big, *small;
  int64_t bigBytes, smallBytes = 64 << 20;

  explicit Buffers(int64_t bytes) : bigBytes(bytes) {
    auto map = [](int64_t size) {
      void *p = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (p == MAP_FAILED) {
        llvm::errs() << "no memory; give a smaller --memory-mb\n";
        exit(1);
      }
      madvise(p, size, MADV_HUGEPAGE);
      return static_cast<char *>(p);
    };
    big = map(bigBytes);
    small = map(smallBytes);
    // Numbers from 1 to 2 whichever float format reads them; token ids stay
    // small.
    uint32_t state = 1;
    for (int64_t i = 0; i < bigBytes; i += 4) {
      state = state * 1664525 + 1013904223;
      uint32_t value = 0x3f803f80u | (state & 0x007f007fu);
      memcpy(big + i, &value, 4);
    }
  }
};

/// What the machine can do.
struct Roof {
  double bandwidth, multiplyAdds, dotBytes;
};

KernelSpec specOf(const Benchmark &b) {
  KernelSpec spec;
  spec.family = b.family;
  for (auto [name, value] : b.constants)
    spec.set(name, value);
  return spec;
}

void run(const Benchmark &b, const X86Machine &machine, Team &team,
         Buffers &buffers, const Roof &roof) {
  KernelSpec spec = specOf(b);
  auto compileStart = std::chrono::steady_clock::now();
  llvm::Expected<LoadedKernel> kernel = LoadedKernel::load(spec, machine);
  if (!kernel) {
    llvm::errs() << b.name << ": " << llvm::toString(kernel.takeError())
                 << '\n';
    exit(1);
  }
  double compile = std::chrono::duration<double>(
                       std::chrono::steady_clock::now() - compileStart)
                       .count();

  std::vector<int32_t> past(b.batch, b.past), valid(b.batch, b.tokens),
      slot(b.batch);
  std::iota(slot.begin(), slot.end(), 0);
  eff_call call = {b.batch,     b.tokens, past.data(),       valid.data(),
                   slot.data(), 1,        b.batch * b.tokens};
  // What is not said is absent.
  std::vector<void *> operands(b.operands.size() + 16);
  int64_t smallAt = 0, bigAt = 0;
  for (size_t i = 0; i < b.operands.size(); ++i)
    if (b.operands[i].bytes && !b.operands[i].streamed) {
      operands[i] = buffers.small + smallAt;
      smallAt += (b.operands[i].bytes + 4095) / 4096 * 4096 + 4096;
    }
  if (smallAt > buffers.smallBytes) {
    llvm::errs() << b.name << ": the activations do not fit\n";
    exit(1);
  }
  memset(buffers.small, 0, smallAt);
  std::vector<double> times;
  std::function<void(int)> body = [&](int part) {
    (*kernel)(operands.data(), call, part, team.size());
  };
  double spent = 0;
  for (int i = 0; spent < budget || i < 4; ++i) {
    for (size_t o = 0; o < b.operands.size(); ++o)
      if (b.operands[o].bytes && b.operands[o].streamed) {
        int64_t bytes = (b.operands[o].bytes + 4095) / 4096 * 4096 + 4096;
        if (bigAt + bytes > buffers.bigBytes)
          bigAt = 0;
        operands[o] = buffers.big + bigAt;
        bigAt += bytes;
      }
    auto start = std::chrono::steady_clock::now();
    team.run(body);
    double time =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    spent += time;
    if (i > 0)
      times.push_back(time);
  }
  std::sort(times.begin(), times.end());
  double best = times.front(), median = times[times.size() / 2];
  double peak =
      b.integer && roof.dotBytes > 0 ? roof.dotBytes : roof.multiplyAdds;
  auto rounded = [](double x) { return std::round(x * 1000) / 1000; };
  llvm::outs() << llvm::json::Value(llvm::json::Object{
                      {"kernel", b.name},
                      {"target", machine.name()},
                      {"threads", team.size()},
                      {"runs", int64_t(times.size())},
                      {"us_best", rounded(best * 1e6)},
                      {"us_median", rounded(median * 1e6)},
                      {"gb_per_s", rounded(b.bytes / best / 1e9)},
                      {"bandwidth_share",
                       rounded(b.bytes / best / roof.bandwidth)},
                      {"bandwidth_share_median",
                       rounded(b.bytes / median / roof.bandwidth)},
                      {"gflop_per_s", rounded(b.operations / best / 1e9)},
                      {"peak_share", rounded(b.operations / best / peak)},
                      {"compile_ms", rounded(compile * 1e3)}})
               << '\n';
  llvm::outs().flush();
}

} // namespace

int main(int argc, char **argv) {
  llvm::cl::ParseCommandLineOptions(
      argc, argv,
      "effc-kernel-bench: kernels against the roofline, as JSON lines\n");
  llvm::Expected<X86Machine> machine = X86Machine::parse(target);
  if (!machine) {
    llvm::errs() << llvm::toString(machine.takeError()) << '\n';
    return 1;
  }
  addAll();
  llvm::Regex matcher(filter);
  if (assembly) {
    for (const Benchmark &b : all)
      if (matcher.match(b.name)) {
        llvm::Expected<std::string> text =
            printKernel(specOf(b), *machine, b.name, KernelText::Assembly);
        llvm::outs() << (text ? *text : llvm::toString(text.takeError()))
                     << '\n';
      }
    return 0;
  }
  int threads = workers > 0 ? static_cast<int>(workers)
                            : std::max(1u, std::thread::hardware_concurrency());
  double bandwidth = measureReadBandwidth(threads);
  double dotBytes =
      machine->has(EFF_FEATURE_AVX512_VNNI) ? measureDotBytes(threads) : 0;
  Team team(threads);
  Buffers buffers(static_cast<int64_t>(memory) << 20);
  double load[1] = {0};
  getloadavg(load, 1);
  Roof roof = {bandwidth, measureMultiplyAdd(team, machine->vectorBits()),
               dotBytes};
  std::string host;
  X86Machine::host(&host);
  llvm::outs() << llvm::json::Value(llvm::json::Object{
                      {"machine", host},
                      {"threads", team.size()},
                      {"load_average", load[0]},
                      {"read_gb_per_s", roof.bandwidth / 1e9},
                      {"fma_gflop_per_s", roof.multiplyAdds / 1e9},
                      {"int8_gop_per_s", roof.dotBytes / 1e9}})
               << '\n';
  for (const Benchmark &b : all)
    if (matcher.match(b.name))
      run(b, *machine, team, buffers, roof);
  return 0;
}
