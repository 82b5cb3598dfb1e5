//===- codes.h - the stable codes of errors that users see ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//

#ifndef EFFRT_CODES_H
#define EFFRT_CODES_H

#include "effrt/support.h"

#include <string>

namespace effrt {

/// The compiler and the runtime share one table of codes.
enum class Code : unsigned {
#define EFF_ERROR(name, number, meaning, hint) name = number,
#include "effc/Support/ErrorCodes.def"
};

/// "EFF0602".
std::string codeName(Code code);

/// An Error with that code; without `tryThis`, what the table says to try.
Error fail(Code code, std::string what, std::string where = {},
           std::string why = {}, std::string tryThis = {});

/// The system's words for `errno`-like numbers.
std::string systemError(int number);

} // namespace effrt

#endif // EFFRT_CODES_H
