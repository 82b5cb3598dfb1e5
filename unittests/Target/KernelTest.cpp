//===- KernelTest.cpp - runs kernels against their naive versions
//-----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace effc {

/// A signalling pattern that is easy to see in a debugger.
static constexpr uint32_t kPoison = 0x7fedcba9;

Buffer::Buffer(int64_t bytes) : bytes(bytes) {
  int64_t page = sysconf(_SC_PAGESIZE);
  int64_t usable = (bytes + 2 * EFF_ALIGN + page - 1) / page * page;
  mapped = usable + page;
  map = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *end = static_cast<char *>(map) + usable;
  mprotect(end, page, PROT_NONE);
  for (char *p = static_cast<char *>(map); p < end; p += 4)
    std::memcpy(p, &kPoison, 4);
  data = end - EFF_ALIGN - (bytes + 3) / 4 * 4;
}

Buffer::Buffer(const std::vector<float> &values)
    : Buffer(static_cast<int64_t>(values.size() * 4)) {
  std::copy(values.begin(), values.end(), reinterpret_cast<float *>(data));
}

Buffer::~Buffer() {
  if (map)
    munmap(map, mapped);
}

Buffer::Buffer(Buffer &&other) noexcept { *this = std::move(other); }
Buffer &Buffer::operator=(Buffer &&other) noexcept {
  std::swap(map, other.map);
  std::swap(data, other.data);
  std::swap(mapped, other.mapped);
  std::swap(bytes, other.bytes);
  return *this;
}

Buffer Buffer::clone() const {
  Buffer copy(bytes);
  std::memcpy(copy.data, data, bytes);
  return copy;
}

bool Buffer::tailIntact() const {
  const char *end = static_cast<const char *>(data) + (bytes + 3) / 4 * 4;
  for (unsigned i = 0; i < EFF_ALIGN; i += 4)
    if (std::memcmp(end + i, &kPoison, 4) != 0)
      return false;
  return true;
}

std::vector<float> randomFloats(int64_t count, uint64_t seed, float scale) {
  std::vector<float> values(count);
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (float &v : values) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    v = scale * (static_cast<float>(state >> 40) / (1 << 23) - 1);
  }
  return values;
}

int64_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

Call::Call(int32_t batch, int32_t tokens, std::vector<int32_t> past,
           std::vector<int32_t> valid, std::vector<int32_t> slot,
           bool allLogits)
    : past(std::move(past)), valid(std::move(valid)), slot(std::move(slot)) {
  this->past.resize(batch, 0);
  this->valid.resize(batch, tokens);
  for (int32_t b = this->slot.size(); b < batch; ++b)
    this->slot.push_back(b);
  call = {batch,
          tokens,
          this->past.data(),
          this->valid.data(),
          this->slot.data(),
          allLogits,
          allLogits ? batch * tokens : batch};
}

KernelSpec specOf(const Case &c) {
  KernelSpec spec;
  spec.family = c.family;
  for (const auto &[name, value] : c.constants)
    spec.set(name, value);
  spec.epilogue = c.epilogue;
  return spec;
}

std::vector<X86Machine> machines() {
  std::vector<X86Machine> all;
  for (const char *name : {"x86-64-v2", "x86-64-v3", "x86-64-v3+avxvnni",
                           "x86-64-v4", "x86-64-v4+vnni+bf16"}) {
    X86Machine machine = llvm::cantFail(X86Machine::parse(name));
    if (machine.runsHere())
      all.push_back(machine);
  }
  return all;
}

namespace {
/// The operands of one run, its outputs fresh copies.
struct Operands {
  std::vector<Buffer> fresh;
  std::vector<void *> pointers;

  explicit Operands(const Case &c) {
    fresh.resize(c.operands.size());
    for (auto [i, operand] : llvm::enumerate(c.operands)) {
      bool written = llvm::is_contained(c.outputs, static_cast<int>(i));
      if (written)
        fresh[i] = operand->clone();
      pointers.push_back(!operand  ? nullptr
                         : written ? fresh[i].as<void>()
                                   : operand->as<void>());
    }
  }
};
} // namespace

/// Compares one written operand of int8.
static void compareCodes(int operand, const Buffer &got, const Buffer &expected,
                         int steps) {
  int failures = 0;
  for (int64_t i = 0; i < got.size() && failures < 3; ++i) {
    int g = got.as<int8_t>()[i], e = expected.as<int8_t>()[i];
    if (std::abs(g - e) > steps) {
      ADD_FAILURE() << "operand " << operand << " code " << i << ": " << g
                    << " instead of " << e;
      ++failures;
    }
  }
  EXPECT_TRUE(got.tailIntact())
      << "operand " << operand << " is written beyond its end";
}

/// Compares one written operand of bytes.
static void compareNearCodes(const Case &c, int operand, const Buffer &got,
                             const Buffer &expected) {
  int64_t different = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    int g = got.as<int8_t>()[i], e = expected.as<int8_t>()[i];
    if ((c.compared && !c.compared(operand, i)) || g == e)
      continue;
    ++different;
    if (std::abs(g - e) > 1) {
      ADD_FAILURE() << "operand " << operand << " byte " << i << ": " << g
                    << " instead of " << e;
      break;
    }
  }
  EXPECT_LE(different, got.size() / 100) << "operand " << operand;
  EXPECT_TRUE(got.tailIntact())
      << "operand " << operand << " is written beyond its end";
}

/// Compares one written operand of floats; other types must be equal to the
/// byte.
static void compare(const Case &c, int operand, const Buffer &got,
                    const Buffer &expected, bool exact) {
  int failures = 0;
  for (int64_t i = 0; i < got.size() / 4 && failures < 3; ++i) {
    float g = got.as()[i], e = expected.as()[i];
    bool counted = !c.compared || c.compared(operand, i);
    if (!counted || std::memcmp(&g, &e, 4) == 0)
      continue;
    double difference = std::fabs(static_cast<double>(g) - e);
    if (exact || !(difference <= c.absolute + c.relative * std::fabs(e))) {
      ADD_FAILURE() << "operand " << operand << " element " << i << ": " << g
                    << " instead of " << e;
      ++failures;
    }
  }
  EXPECT_TRUE(got.tailIntact())
      << "operand " << operand << " is written beyond its end";
}

/// Kernels stay for as long as the tests run: several calls often share one.
static const LoadedKernel *loadOnce(const KernelSpec &spec,
                                    const X86Machine &machine) {
  static std::map<std::string, LoadedKernel> loaded;
  std::string key = spec.name() + machine.name();
  auto it = loaded.find(key);
  if (it != loaded.end())
    return &it->second;
  llvm::Expected<LoadedKernel> kernel = LoadedKernel::load(spec, machine);
  if (!kernel) {
    ADD_FAILURE() << llvm::toString(kernel.takeError());
    return nullptr;
  }
  return &loaded.emplace(key, std::move(*kernel)).first->second;
}

void check(const Case &c, const Call &call) {
  KernelSpec spec = specOf(c);
  SCOPED_TRACE(spec.str());
  Operands expected(c);
  ASSERT_TRUE(kernels::naive::run(c.family, c.constants,
                                  expected.pointers.data(), call.call,
                                  c.naiveEpilogue));
  for (const X86Machine &machine : machines()) {
    SCOPED_TRACE(machine.name());
    const LoadedKernel *kernel = loadOnce(spec, machine);
    if (!kernel)
      return;
    Operands whole(c), parts(c);
    (*kernel)(whole.pointers.data(), call.call);
    // Parts run in any order.
    for (int part : {2, 0, 1})
      (*kernel)(parts.pointers.data(), call.call, part, 3);
    for (int i : c.outputs) {
      auto comparison = c.comparisons.find(i);
      if (comparison != c.comparisons.end())
        comparison->second(whole.fresh[i], expected.fresh[i]);
      else if (llvm::is_contained(c.codes, i))
        compareCodes(i, whole.fresh[i], expected.fresh[i],
                     machine.has(EFF_FEATURE_X86_64_V3) ? 0 : c.steps);
      else if (llvm::is_contained(c.nearCodes, i))
        compareNearCodes(c, i, whole.fresh[i], expected.fresh[i]);
      else
        compare(c, i, whole.fresh[i], expected.fresh[i],
                c.exact && machine.has(EFF_FEATURE_X86_64_V3));
      EXPECT_EQ(std::memcmp(whole.fresh[i].as<char>(),
                            parts.fresh[i].as<char>(), whole.fresh[i].size()),
                0)
          << "operand " << i << " depends on the number of threads";
    }
    if (testing::Test::HasFailure())
      return;
  }
}

/// Compares rows of real tokens alone, in operand `operand`.
std::function<bool(int, int64_t)> realTokens(const Call &call, int operand,
                                             int64_t ld, int64_t columns) {
  return [=, &call](int i, int64_t index) {
    if (i != operand)
      return true;
    int64_t row = index / ld, b = row / call.call.tokens,
            t = row % call.call.tokens;
    return t < call.valid[b] || index % ld >= columns;
  };
}

int64_t rowBytes(int64_t rows, int64_t ld, int64_t d) {
  return ((rows - 1) * ld + d) * 4;
}
Buffer rowsOf(int64_t rows, int64_t ld, int64_t d, uint64_t seed, float scale) {
  return Buffer(randomFloats((rows - 1) * ld + d, seed, scale));
}

/// Runs a family on `tokens` tokens at once and one after the other; y and the
/// state must have equal bits.
void expectChunkEqualsSteps(Case c, const std::map<int, int64_t> &rowBytes,
                            int64_t tokens, bool advancePast) {
  for (const X86Machine &machine : machines()) {
    SCOPED_TRACE(c.family + " " + machine.name());
    auto run = [&](bool together) {
      std::vector<Buffer> copies;
      std::vector<void *> pointers;
      for (const Buffer *operand : c.operands)
        copies.push_back(operand ? operand->clone() : Buffer());
      c.constants["tokens"] = together ? tokens : 1;
      LoadedKernel kernel =
          llvm::cantFail(LoadedKernel::load(specOf(c), machine));
      for (int64_t t = 0; t < (together ? 1 : tokens); ++t) {
        pointers.clear();
        for (size_t i = 0; i < copies.size(); ++i)
          pointers.push_back(c.operands[i] ? copies[i].as<void>() : nullptr);
        for (auto [operand, bytes] : rowBytes)
          if (pointers[operand])
            pointers[operand] = copies[operand].as<char>() + t * bytes;
        kernel(pointers.data(),
               Call(1, together ? tokens : 1,
                    {advancePast ? static_cast<int32_t>(t) : 0})
                   .call);
      }
      std::vector<std::vector<uint32_t>> results;
      for (int i : c.outputs)
        results.push_back(copies[i].get<uint32_t>());
      return results;
    };
    EXPECT_EQ(run(true), run(false));
  }
}

} // namespace effc
