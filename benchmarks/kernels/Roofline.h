//===- Roofline.h - what this machine can do --------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_BENCHMARKS_KERNELS_ROOFLINE_H
#define EFFC_BENCHMARKS_KERNELS_ROOFLINE_H

#include "Team.h"

#include <cstdint>

namespace effc::bench {

/// Bytes per second that so many threads read from main memory, as the runtime
/// measures it. Before there is a team: its threads never sleep.
double measureReadBandwidth(int threads);
/// int8 operations per second, likewise.
double measureDotBytes(int threads);
/// f32 operations per second of multiply-adds on registers, two for each;
/// `bits` is the width of vectors.
double measureMultiplyAdd(Team &team, int bits);

} // namespace effc::bench

#endif // EFFC_BENCHMARKS_KERNELS_ROOFLINE_H
