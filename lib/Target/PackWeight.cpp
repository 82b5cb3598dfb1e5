//===- PackWeight.cpp - weights to the kernels' layouts
//---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/PackWeight.h"

#include "effc/Dialect/Eff/Rounding.h"
#include "effc/Support/Error.h"

#include "llvm/ADT/Twine.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

using namespace llvm;

namespace effc {

namespace {

/// One weight while it is packed; a thread has one of its own.
class Packer {
public:
  Packer(eff::WeightType type, const RowSource &source, uint8_t *out)
      : type(type), source(source), out(out),
        layout(eff::getPackedLayout(type)) {
    bool matrix = type.getShape().size() == 2;
    n = matrix ? type.getShape()[0] : 1;
    k = matrix ? type.getShape()[1] : type.getNumElements();
    rowMajor = type.getLayout() == eff::Layout::RowMajor;
  }

  void pack(int64_t panel);

private:
  bool copyVerbatim(int64_t panel);
  void packFloats(int64_t panel);
  void packHalves(int64_t panel);
  /// Row `n`'s integers of a group, to `quantized`, and their scale: rounded,
  /// or as a pass has chosen them.
  float round(int64_t n, int64_t group);
  /// Where the scale of a row of the panel goes, counted in floats; its zero
  /// point is as far from the first of them.
  int64_t indexOf(int64_t panel, int64_t r, int64_t group) const {
    return rowMajor ? panel * layout.groups + group
                    : (panel * layout.groups + group) * 16 + r;
  }
  /// Rounds all groups of a row and stores their scales and zero points.
  void roundRow(int64_t panel, int64_t r);
  void packInt8(int64_t panel);
  void packInt4(int64_t panel);
  void rowToHalves(const float *row, uint16_t *to, int64_t count);
  template <class T> T *part(int64_t offset) {
    return reinterpret_cast<T *>(out + offset);
  }
  ArrayRef<float> row(int64_t r) const {
    return ArrayRef(rows).slice(r * k, k);
  }

  eff::WeightType type;
  const RowSource &source;
  uint8_t *out;
  eff::PackedLayout layout;
  int64_t n, k;
  bool rowMajor;
  /// The panel's rows, [panel][k], zero beyond the last one.
  std::vector<float> rows;
  std::vector<int8_t> quantized;
};

} // namespace

/// A tile of 16-bit values [32][columns] to dwords: column c in the low half, c
/// + 16 in the high one.
static void interleaveHalves(const uint16_t *rows, int64_t ld, int64_t columns,
                             uint32_t *to) {
  for (int64_t k = 0; k < columns; ++k)
    for (int64_t c = 0; c < 16; ++c)
      to[k * 16 + c] = rows[c * ld + k] |
                       static_cast<uint32_t>(rows[(c + 16) * ld + k]) << 16;
}

/// Copies a panel whose values have the weight's format already, bit for bit.
bool Packer::copyVerbatim(int64_t panel) {
  if (source.verbatim.empty() || (panel + 1) * layout.panel > n)
    return false;
  const char *from = source.verbatim.data() +
                     panel * layout.panel * k * type.getElementBits() / 8;
  if (rowMajor) {
    int64_t bytes = k * type.getElementBits() / 8;
    std::memcpy(out + panel * bytes, from, bytes);
    return true;
  }
  if (type.getLayout() != eff::Layout::Panel32Pair)
    return false;
  constexpr int64_t kTile = 64;
  uint16_t tile[32 * kTile];
  for (int64_t kk = 0; kk < k; kk += kTile) {
    int64_t count = std::min(kTile, k - kk);
    for (int64_t r = 0; r < 32; ++r)
      std::memcpy(tile + r * kTile, from + (r * k + kk) * 2, count * 2);
    interleaveHalves(tile, kTile, count, part<uint32_t>((panel * k + kk) * 64));
  }
  return true;
}

void Packer::packFloats(int64_t panel) {
  float *to = part<float>(panel * layout.panel * k * 4);
  if (rowMajor) {
    std::copy(rows.begin(), rows.end(), to);
    return;
  }
  for (int64_t kk = 0; kk < k; ++kk)
    for (int64_t c = 0; c < 16; ++c)
      to[kk * 16 + c] = rows[c * k + kk];
}

void Packer::rowToHalves(const float *row, uint16_t *to, int64_t count) {
  bool bf16 = type.getFloatFormat().isBF16();
  for (int64_t i = 0; i < count; ++i)
    to[i] = bf16 ? eff::toBF16(row[i]) : eff::toF16(row[i]);
}

void Packer::packHalves(int64_t panel) {
  if (rowMajor)
    return rowToHalves(rows.data(), part<uint16_t>(panel * k * 2), k);
  constexpr int64_t kTile = 64;
  uint16_t tile[32 * kTile];
  for (int64_t kk = 0; kk < k; kk += kTile) {
    int64_t count = std::min(kTile, k - kk);
    for (int64_t r = 0; r < 32; ++r)
      rowToHalves(rows.data() + r * k + kk, tile + r * kTile, count);
    interleaveHalves(tile, kTile, count, part<uint32_t>((panel * k + kk) * 64));
  }
}

float Packer::round(int64_t n, int64_t group) {
  int64_t width = type.getGroup() ? type.getGroup() : k;
  int64_t begin = group * width, count = std::min(width, k - begin);
  int8_t *q = quantized.data() + begin;
  if (!source.quantized.q.empty()) {
    if (n >= this->n) {
      std::fill_n(q, count, 0);
      return 0;
    }
    std::copy_n(source.quantized.q.data() + n * k + begin, count, q);
    return source.quantized.scales[n * layout.groups + group];
  }
  ArrayRef<float> values = row(n % layout.panel).slice(begin, count);
  return type.isInt4() ? eff::roundInt4(values, q) : eff::roundInt8(values, q);
}

void Packer::roundRow(int64_t panel, int64_t r) {
  int64_t index = panel * layout.panel + r;
  for (int64_t g = 0; g < layout.groups; ++g) {
    int64_t at = indexOf(panel, r, g);
    part<float>(layout.scaleOffset)[at] = round(index, g);
    if (type.hasZeros())
      part<float>(layout.zeroOffset)[at] =
          source.quantized.zeros.empty() || index >= n
              ? 0
              : source.quantized.zeros[index * layout.groups + g];
  }
}

void Packer::packInt8(int64_t panel) {
  for (int64_t r = 0; r < layout.panel; ++r) {
    int64_t index = panel * layout.panel + r;
    roundRow(panel, r);
    if (rowMajor) {
      std::memcpy(out + index * k, quantized.data(), k);
      continue;
    }
    int32_t sum = 0;
    uint8_t *to = out + panel * layout.columns * 16 + r * 4;
    for (int64_t kk = 0; kk < layout.columns; ++kk) {
      int8_t q = kk < k ? quantized[kk] : 0;
      sum += q;
      to[kk / 4 * 64 + kk % 4] = static_cast<uint8_t>(q);
    }
    part<int32_t>(layout.sumOffset)[index] = sum;
  }
}

void Packer::packInt4(int64_t panel) {
  int64_t rowBytes = (layout.columns + 1) / 2;
  std::memset(out + panel * layout.panel * rowBytes, 0,
              layout.panel * rowBytes);
  for (int64_t r = 0; r < layout.panel; ++r) {
    roundRow(panel, r);
    uint8_t *to = rowMajor ? out + panel * rowBytes
                           : out + panel * layout.columns * 8 + r * 4;
    for (int64_t kk = 0; kk < k; ++kk) {
      int64_t at = rowMajor ? kk / 2 : kk / 8 * 64 + kk % 4;
      int64_t half = rowMajor ? kk % 2 : kk % 8 / 4;
      to[at] |= (quantized[kk] & 15) << half * 4;
    }
  }
}

void Packer::pack(int64_t panel) {
  if (copyVerbatim(panel))
    return;
  int64_t first = panel * layout.panel,
          count = std::min(layout.panel, n - first);
  rows.resize(layout.panel * k);
  quantized.resize(k);
  if (source.quantized.q.empty())
    source.read(first, count, MutableArrayRef(rows).take_front(count * k));
  std::fill(rows.begin() + count * k, rows.end(), 0.0f);
  mlir::FloatType format = type.getFloatFormat();
  if (format && format.isF32())
    packFloats(panel);
  else if (format)
    packHalves(panel);
  else if (type.isInt4())
    packInt4(panel);
  else
    packInt8(panel);
}

int64_t getPanelCount(eff::WeightType type) {
  eff::PackedLayout layout = eff::getPackedLayout(type);
  return layout.rows / layout.panel;
}

void packPanels(eff::WeightType type, const RowSource &source, int64_t begin,
                int64_t end, MutableArrayRef<uint8_t> out) {
  Packer packer(type, source, out.data());
  for (int64_t panel = begin; panel < end; ++panel)
    packer.pack(panel);
}

Error packWeight(eff::WeightType type, const RowSource &source,
                 MutableArrayRef<uint8_t> out, unsigned threads) {
  eff::PackedLayout layout = eff::getPackedLayout(type);
  if (static_cast<int64_t>(out.size()) != layout.totalBytes)
    return makeError(ErrorCode::CodeGen,
                     "a packed weight takes " + Twine(layout.totalBytes) +
                         " bytes, not " + Twine(out.size()));
  // What lies between the parts is zero.
  auto clear = [&](int64_t begin, int64_t end) {
    if (begin < end)
      std::memset(out.data() + begin, 0, end - begin);
  };
  clear(layout.valueBytes, layout.scaleOffset);
  int64_t end = layout.scaleOffset + layout.scaleBytes;
  if (layout.zeroBytes) {
    clear(end, layout.zeroOffset);
    end = layout.zeroOffset + layout.zeroBytes;
  }
  clear(end, layout.sumOffset);
  int64_t panels = getPanelCount(type);
  // A thread that has less than a megabyte to do costs more than it saves.
  int64_t parts =
      std::clamp<int64_t>(layout.totalBytes >> 20, 1, std::max(1u, threads));
  std::vector<std::thread> workers;
  for (int64_t i = 1; i < parts; ++i)
    workers.emplace_back([=, &source] {
      packPanels(type, source, panels * i / parts, panels * (i + 1) / parts,
                 out);
    });
  packPanels(type, source, 0, panels / parts, out);
  for (std::thread &worker : workers)
    worker.join();
  return Error::success();
}

Error packWeight(eff::WeightType type, const eff::WeightSource &source,
                 MutableArrayRef<uint8_t> out, unsigned threads) {
  auto read = [&](int64_t n, int64_t count, MutableArrayRef<float> rows) {
    source.readRows(n, count, rows);
  };
  return packWeight(type, RowSource{read, source.getVerbatim()}, out, threads);
}

} // namespace effc
