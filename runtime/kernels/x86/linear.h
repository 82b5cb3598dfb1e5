//===- linear.h - loops of the linear kernels -------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// y[r][c] = epilogue(sum_k x[r][k] * w[c][k]) for packed weights. A format
/// says how 64 bytes of a panel become vectors of 16 weights; the loops below
/// are the same for all formats.
///
/// One tile is R rows by P panels whose sums stay in registers over all of k; a
/// format has kChains of them for each row and panel.
/// Every sum runs over k in order, in one chain of multiply-adds, so a result
/// is the same bit for bit whatever the number of rows, tiles and threads.
/// Threads split the panels; a group of panels that fits the second-level cache
/// is finished for all rows before the next one is read, so weights come from
/// memory once.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_LINEAR_H
#define EFF_KERNELS_X86_LINEAR_H

#include "runtime/kernels/x86/quantize.h"

namespace kernels {

/// Shape of the register tile and the caches that an instruction set comes
/// with.
template <int Vectors, int Rows, int PairRows, int64_t PanelBytes>
struct Machine {
  static constexpr int kVectors = Vectors; ///< accumulators of 16 lanes
  static constexpr int64_t kPanelBytes = PanelBytes;
  /// Most rows of a tile that has `chains` accumulators for a row and panel.
  static constexpr int rows(int chains) {
    return chains == 1   ? Rows
           : chains == 2 ? PairRows
                         : (Vectors >= chains ? Vectors / chains : 1);
  }
};
using MachineV4 = Machine<24, 12, 12, 768 << 10>;
using MachineV3 = Machine<6, 6, 2, 160 << 10>;
using MachineV2 = Machine<2, 2, 1, 128 << 10>;

/// Largest power of two that is at most x.
constexpr int floorPow2(int x) { return x >= 4 ? 4 : x >= 2 ? 2 : 1; }

/// Panels of a tile of `rows` rows.
template <class F, class M> constexpr int panelsOf(int rows) {
  int chains = rows * F::kChains;
  int panels = chains > M::kVectors ? 1 : floorPow2(M::kVectors / chains);
  int limit = F::kVectors == 1 ? 4 : 2;
  return panels < limit ? panels : limit;
}

/// body(kk) for kk = 0 .. Count - 1; a loop where the body is long.
template <int R, int Count, class Body> EFF_INLINE void eachK(Body body) {
  if constexpr (R <= 4) {
#pragma clang loop unroll(full)
    for (int kk = 0; kk < Count; ++kk)
      body(kk);
  } else {
#pragma clang loop unroll(disable)
    for (int kk = 0; kk < Count; ++kk)
      body(kk);
  }
}

/// How far ahead of their use weights are asked for, in bytes. Tall tiles read
/// one or two panels at a time, and slowly.
constexpr int64_t ahead(int rows) { return rows <= 4 ? 2048 : 4096; }

template <class F> EFF_INLINE int64_t panelCount() {
  return ceilDiv(EFF_SPEC(n), 16 * F::kVectors);
}
/// Rows of the tallest tile of a format.
template <class F, class M> constexpr int tallest() {
  int rows = M::rows(F::kChains);
  return rows < F::kMostRows ? rows : F::kMostRows;
}
/// Panels that threads do not divide: those of a tall tile, so that chunks need
/// no code for rests; one for few rows.
template <class F, class M> EFF_INLINE int64_t panelUnit() {
  return EFF_SPEC(rows) > 4 ? panelsOf<F, M>(tallest<F, M>()) : 1;
}

/// How far ahead of step s of a panel weights are asked for: behind the panel's
/// end those of the panel that the next tile of P panels reads.
template <int P>
EFF_INLINE int64_t aheadInTiles(int rows, int64_t offset, int64_t panelBytes) {
  bool inside = offset + ahead(rows) < panelBytes;
  return inside ? ahead(rows) : ahead(rows) + (P - 1) * panelBytes;
}

/// Operands of one linear; the bytes of a panel are contiguous.
template <class F> struct LinearArgs {
  typename F::Activations x;
  const uint8_t *w;
  void *y;             ///< f32, or int8 where the constant `quant` is 1
  const float *oscale; ///< scales of int8 results
  void *const *extras;
  char *scratch = nullptr; ///< of F::scratchBytes() for the rows of a tile
};

/// Ends a tile: scales, epilogue, store of `rows` rows of `columns` columns
/// that lie in `sums`.
template <class F>
EFF_INLINE void finish(const LinearArgs<F> &a, const f32x16 *sums, int64_t row,
                       int rows, int64_t col, int64_t columns) {
#pragma clang loop unroll(disable)
  for (int r = 0; r < rows; ++r) {
    float *y = static_cast<float *>(a.y) + (row + r) * EFF_SPEC(ldy);
    int8_t *codes = static_cast<int8_t *>(a.y) + (row + r) * EFF_SPEC(ldy);
#pragma clang loop unroll(disable)
    for (int64_t c = 0; c < columns; c += 16) {
      int64_t left = EFF_SPEC(n) - col - c;
      if (left <= 0)
        break;
      f32x16 v = F::scaled(a, *sums, row + r, col + c);
      v = eff_epilogue(v, row + r, col + c, a.extras);
      if (EFF_SPEC(quant))
        storeCodes(codes + col + c, quantize(v, resultScale(a.oscale, col + c)),
                   left);
      else if (EFF_SPEC(n) % 16 == 0)
        store(y + col + c, v);
      else
        storeFirst(y + col + c, v, left);
      ++sums;
    }
    // Panels beyond the last column.
    int64_t stored = ceilDiv(least(columns, EFF_SPEC(n) - col), 16);
    sums += columns / 16 - stored;
  }
}

template <class F, int R, int P>
void tile(const LinearArgs<F> &a, int64_t row, int64_t panel) {
  constexpr int V = F::kVectors;
  alignas(64) f32x16 sums[R * P * V];
  F::template accumulate<R, P>(a, row, a.w + panel * F::panelBytes(), sums);
  finish<F>(a, sums, row, R, panel * 16 * V, P * 16 * V);
}

/// Panels [begin, end) for R rows.
template <class F, class M, int R>
EFF_INLINE void rowTile(const LinearArgs<F> &a, int64_t row, int64_t begin,
                        int64_t end) {
  constexpr int P = panelsOf<F, M>(R);
  F::template prepare<R>(a, row);
  int64_t panel = begin;
  for (; panel + P <= end; panel += P)
    tile<F, R, P>(a, row, panel);
  // Where threads share out panels in twos and fours, a rest is left at the
  // last column alone.
  bool whole = panelUnit<F, M>() % P == 0 && panelCount<F>() % P == 0;
  if (P > 1 && !whole)
    for (; panel < end; ++panel)
      tile<F, R, 1>(a, row, panel);
}

/// All rows: tiles of R rows, then lower ones for the rest. Heights are 12, 8,
/// 6, 4, 3, 2, 1. `left` is what is left of a constant number of rows: where it
/// folds to less than R there is no code for such a tile.
template <class F, class M, int R>
EFF_INLINE void allRows(const LinearArgs<F> &a, int64_t row, int64_t rows,
                        int64_t left, int64_t begin, int64_t end) {
  constexpr int kNext = R > 8 ? 8 : R > 6 ? 6 : R > 4 ? 4 : R - 1;
  if constexpr (R <= tallest<F, M>()) {
    // An unknown number of rows takes fewer heights.
    if (EFF_SPEC(rows) ? left >= R : R != 3 && R != 6)
#pragma clang loop unroll(disable)
      for (; row + R <= rows; row += R)
        rowTile<F, M, R>(a, row, begin, end);
    left %= R;
  }
  if constexpr (R > 1)
    allRows<F, M, kNext>(a, row, rows, left, begin, end);
}

/// What formats have that need nothing more than their operands.
struct NoScratch {
  static EFF_INLINE int64_t scratchBytes(int) { return 0; }
  /// Called before the panels of a tile's R rows are read.
  template <int R, class A>
  static EFF_INLINE void prepare(const A &, int64_t) {}
};

template <class F, class M>
EFF_INLINE void linear(LinearArgs<F> a, const eff_call *call, int32_t thread,
                       int32_t threads) {
  if (int64_t bytes = F::scratchBytes(tallest<F, M>()))
    a.scratch = static_cast<char *>(__builtin_alloca_with_align(bytes, 64 * 8));
  int64_t unit = panelUnit<F, M>();
  Range panels = split(ceilDiv(panelCount<F>(), unit), thread, threads);
  panels = {panels.begin * unit, least(panels.end * unit, panelCount<F>())};
  int64_t group = most(M::kPanelBytes / F::panelBytes() & ~int64_t(3), 4);
#pragma clang loop unroll(disable)
  for (int64_t begin = panels.begin; begin < panels.end; begin += group)
    allRows<F, M, 12>(a, 0, rowCount(call), EFF_SPEC(rows), begin,
                      least(begin + group, panels.end));
}

/// Chooses the register tile of the target.
template <class F>
EFF_INLINE void linearForTarget(const LinearArgs<F> &a, const eff_call *call,
                                int32_t thread, int32_t threads) {
  if (EFF_SPEC(isa) >= kIsaV4)
    linear<F, MachineV4>(a, call, thread, threads);
  else if (EFF_SPEC(isa) >= kIsaV3)
    linear<F, MachineV3>(a, call, thread, threads);
  else
    linear<F, MachineV2>(a, call, thread, threads);
}

} // namespace kernels

#endif // EFF_KERNELS_X86_LINEAR_H
