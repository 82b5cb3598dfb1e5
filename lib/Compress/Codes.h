//===- Codes.h - the error codes, without MLIR ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_COMPRESS_CODES_H
#define EFFC_LIB_COMPRESS_CODES_H

#include "effc/Compress/Support.h"

namespace effc::compress {

enum class Code : unsigned {
#define EFF_ERROR(name, number, meaning, hint) name = number,
#include "effc/Support/ErrorCodes.def"
};

/// "EFF0410".
std::string codeName(Code code);
/// What to try by default.
const char *hintOf(Code code);
/// An error with the code's default hint.
Error makeError(Code code, std::string what, std::string why = {});

} // namespace effc::compress

#endif // EFFC_LIB_COMPRESS_CODES_H
