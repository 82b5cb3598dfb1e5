//===- Collapse.h - one scan in place of many -------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Replaces the selective scan of all channels by one scan of their mean, whose
/// output every channel gets. With K directions of E channels each (c = k E +
/// e), N states, L positions:
///
///   a_cn(l) = exp(delta_c A_cn)    b_cn(l) = delta_c B_kn u_c    delta =
///   softplus(dt + bias) h = a h + b,   y_c = sum_n C_kn h_cn + D_c u_c
///
/// Post: a, b and C are averaged over all channels. Dir: over the channels of
/// each direction. Pre: u, dt, bias, A, B, C and D are averaged first.
///
/// Mamba-1 has K = 1. Mamba-2 has K = its groups and E = the group's heads
/// times channels; its form is Dir.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_COLLAPSE_H
#define EFFC_COMPRESS_COLLAPSE_H

#include "effc/Compress/Permutation.h"

namespace effc::compress {

/// What a scan reads. T is float or double.
template <typename T> struct ScanInputs {
  int64_t length = 0, directions = 1, channels = 0, states = 0; // L K E N
  Span<const T> u;                                              ///< [L][K E]
  Span<const T> dt;   ///< [L][K E], before the bias and softplus
  Span<const T> bias; ///< [K E], or empty
  Span<const T> a;    ///< [K E][N], negative
  Span<const T> b;    ///< [L][K][N]
  Span<const T> c;    ///< [L][K][N]
  Span<const T> d;    ///< [K E]

  int64_t width() const { return directions * channels; }
  Status check() const;
};

enum class CollapseVariant { Post, Dir, Pre };

/// The scans that remain: K for Dir, else 1. All arrays are [L][scans][N].
template <typename T> struct CollapsedScan {
  CollapseVariant variant = CollapseVariant::Post;
  int64_t length = 0, scans = 0, states = 0;
  std::vector<T> decay, input, c;
};

/// The original scan: y, [L][K E].
template <typename T> Result<std::vector<T>> scan(const ScanInputs<T> &inputs);

/// `factored` uses mean(delta B u) = B mean(delta u), which is exact and needs
/// no term per channel and state.
template <typename T>
Result<CollapsedScan<T>> collapse(const ScanInputs<T> &inputs,
                                  CollapseVariant variant,
                                  bool factored = true);

/// s, [L][scans]. With block > 0 positions are scanned in blocks by the
/// associative rule (a1, b1)(a2, b2) = (a1 a2, a2 b1 + b2) and the last block
/// is padded with the identity (1, 0).
template <typename T>
std::vector<T> scanCollapsed(const CollapsedScan<T> &collapsed,
                             int64_t block = 0);

/// y, [L][K E]: each channel gets its scan's s and its own skip D u (Pre: the
/// mean skip).
template <typename T>
Result<std::vector<T>> broadcastCollapsed(const ScanInputs<T> &inputs,
                                          const CollapsedScan<T> &collapsed,
                                          Span<const T> s);

/// How far a layer is from being uniform: deviations of a, b and C from their
/// means over channels, averaged.
struct Uniformity {
  double decayAbs = 0, decayRms = 0;
  double inputAbs = 0, inputRms = 0;
  double cAbs = 0, cRms = 0;
};
template <typename T>
Result<Uniformity> measureUniformity(const ScanInputs<T> &inputs);

//===----------------------------------------------------------------------===//
// Scans of images
//===----------------------------------------------------------------------===//

/// For each direction the pixel that each position of its scan reads: rows,
/// columns, then both backwards. K is 1, 2 or 4.
Result<std::vector<Permutation>> scanOrders(int64_t directions, int64_t height,
                                            int64_t width);
/// u, [L][K E], from x, [L][E].
template <typename T>
Result<std::vector<T>> crossScan(MatrixView<const T> x,
                                 const std::vector<Permutation> &orders);
/// y, [L][E]: the sum over directions of ys, [L][K E], each pixel from where it
/// was read.
template <typename T>
Result<std::vector<T>> crossMerge(MatrixView<const T> ys,
                                  const std::vector<Permutation> &orders);

/// What a collapsed layer (Post, Dir) is in front of a LayerNorm over its
/// channels: x times the sum of the directions' D. LN(v + g 1) = LN(v), so the
/// scan's output, equal in all channels, cancels exactly.
template <typename T>
Result<std::vector<T>> scanFree(MatrixView<const T> x, Span<const T> d);

} // namespace effc::compress

#endif // EFFC_COMPRESS_COLLAPSE_H
