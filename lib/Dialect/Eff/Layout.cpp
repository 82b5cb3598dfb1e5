//===- Layout.cpp - where a packed weight's parts lie ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Layout.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace effc::eff {

namespace {
/// Panel width (rows side by side) and depth (columns of one step) of a layout.
struct Tile {
  int64_t panel, depth;
};
} // namespace

static Tile getTile(Layout layout) {
  switch (layout) {
  case Layout::RowMajor:
    return {1, 1};
  case Layout::Panel16:
    return {16, 1};
  case Layout::Panel32Pair:
    return {32, 1};
  case Layout::Quad16:
    return {16, 4};
  case Layout::Nibble16:
    return {16, 8};
  }
  llvm_unreachable("all layouts are handled");
}

static int64_t roundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

PackedLayout getPackedLayout(WeightType type) {
  ArrayRef<int64_t> shape = type.getShape();
  bool matrix = shape.size() == 2;
  int64_t n = matrix ? shape[0] : 1;
  int64_t k = matrix ? shape[1] : type.getNumElements();
  Tile tile = getTile(type.getLayout());

  PackedLayout out;
  out.panel = tile.panel;
  out.rows = roundUp(n, tile.panel);
  out.columns = roundUp(k, tile.depth);
  // An int4 row starts at a whole byte.
  int64_t rowBits = roundUp(out.columns * type.getElementBits(), 8);
  out.valueBytes = out.rows * rowBits / 8;
  int64_t end = out.valueBytes;
  if (!type.getFloatFormat()) {
    out.groups = type.getGroupCount();
    out.scaleOffset = roundUp(end, kPackedAlignment);
    out.scaleBytes = out.rows * out.groups * 4;
    end = out.scaleOffset + out.scaleBytes;
    if (type.hasZeros()) {
      out.zeroOffset = roundUp(end, kPackedAlignment);
      out.zeroBytes = out.scaleBytes;
      end = out.zeroOffset + out.zeroBytes;
    }
  }
  if (type.getLayout() == Layout::Quad16) {
    out.sumOffset = roundUp(end, kPackedAlignment);
    out.sumBytes = out.rows * 4;
    end = out.sumOffset + out.sumBytes;
  }
  out.totalBytes = end;
  return out;
}

int64_t getValueOffset(WeightType type, int64_t n, int64_t k) {
  PackedLayout packed = getPackedLayout(type);
  int64_t columns = packed.columns;
  int64_t panel = n / packed.panel, lane = n % packed.panel;
  switch (type.getLayout()) {
  case Layout::RowMajor:
    return n * roundUp(columns * type.getElementBits(), 8) / 8 +
           k * type.getElementBits() / 8;
  case Layout::Panel16:
    return ((panel * columns + k) * 16 + lane) * 4;
  case Layout::Panel32Pair:
    // Column c of the panel is the low half of dword c, column c + 16 its high
    // half.
    return ((panel * columns + k) * 16 + lane % 16) * 4 + lane / 16 * 2;
  case Layout::Quad16:
    return ((panel * (columns / 4) + k / 4) * 16 + lane) * 4 + k % 4;
  case Layout::Nibble16:
    return ((panel * (columns / 8) + k / 8) * 16 + lane) * 4 + k % 4;
  }
  llvm_unreachable("all layouts are handled");
}

int64_t getValueShift(WeightType type, int64_t k) {
  if (type.getLayout() == Layout::Nibble16)
    return k % 8 / 4 * 4;
  return type.getElementBits() == 4 ? k % 2 * 4 : 0;
}

/// The number of the scale, and of the zero point, of value (n, k).
static int64_t getScaleIndex(WeightType type, int64_t n, int64_t k) {
  int64_t groups = type.getGroupCount();
  int64_t group = type.getGroup() ? k / type.getGroup() : 0;
  if (type.getLayout() == Layout::RowMajor)
    return n * groups + group;
  return (n / 16 * groups + group) * 16 + n % 16;
}

int64_t getScaleOffset(WeightType type, int64_t n, int64_t k) {
  return getPackedLayout(type).scaleOffset + getScaleIndex(type, n, k) * 4;
}

int64_t getZeroOffset(WeightType type, int64_t n, int64_t k) {
  return getPackedLayout(type).zeroOffset + getScaleIndex(type, n, k) * 4;
}

int64_t getSumOffset(WeightType type, int64_t n) {
  return getPackedLayout(type).sumOffset + n * 4;
}

Layout getKernelLayout(Attribute format) {
  if (isa<Int8Attr, Float8Attr>(format))
    return Layout::Quad16;
  if (isa<Int4Attr>(format))
    return Layout::Nibble16;
  auto type = dyn_cast<TypeAttr>(format);
  if (type && type.getValue().isF32())
    return Layout::Panel16;
  return Layout::Panel32Pair;
}

} // namespace effc::eff
