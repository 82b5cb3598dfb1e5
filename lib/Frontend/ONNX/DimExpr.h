//===- DimExpr.h - dimensions that are expressions --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_DIMEXPR_H
#define EFFC_LIB_FRONTEND_ONNX_DIMEXPR_H

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>

namespace effc::onnx {

using Symbols = llvm::StringMap<int64_t>;

/// The value of a `dim_param` such as "past + seq" or "2*(((L - 1)//2)) + 2"
/// where all its symbols are known; a symbol is looked up first by the whole
/// text. `unknown` gets the first symbol without a value, or the text where it
/// is no expression.
std::optional<int64_t> evaluateDim(llvm::StringRef text, const Symbols &symbols,
                                   std::string *unknown = nullptr);

/// Whether the text is one name and not an expression.
bool isSymbol(llvm::StringRef text);

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_DIMEXPR_H
