//===- codes.h - error codes of the text side of the runtime ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The table is include/effc/Support/ErrorCodes.def.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_CODES_H
#define EFFRT_SRC_TEXT_CODES_H

#include "effrt/codes.h"

namespace effrt::codes {

inline constexpr char badTokenizer[] = "EFF0701";
inline constexpr char badSampling[] = "EFF0703";
inline constexpr char textTooCostly[] = "EFF0704";
inline constexpr char badLogits[] = "EFF0705";
inline constexpr char outOfMemory[] = "EFF0608";

static_assert(static_cast<unsigned>(Code::BadTokenizer) == 701);
static_assert(static_cast<unsigned>(Code::BadSampling) == 703);
static_assert(static_cast<unsigned>(Code::TextTooCostly) == 704);
static_assert(static_cast<unsigned>(Code::BadLogits) == 705);
static_assert(static_cast<unsigned>(Code::OutOfMemory) == 608);

} // namespace effrt::codes

#endif // EFFRT_SRC_TEXT_CODES_H
