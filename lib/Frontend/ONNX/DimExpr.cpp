//===- DimExpr.cpp - dimensions that are expressions ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "DimExpr.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace effc::onnx;

namespace {

bool nameChar(char c) {
  return isAlnum(c) || c == '_' || c == '.' || c == ':' || (c & 0x80);
}

/// sum := product (('+' | '-') product)*; product := factor (('*' | '/' | '//'
/// | '%') factor)*; factor := number | name | '-' factor | '(' sum ')'.
/// Division rounds down.
class Parser {
public:
  Parser(StringRef text, const Symbols &symbols)
      : rest(text), symbols(symbols) {}

  std::optional<int64_t> whole() {
    auto value = sum();
    rest = rest.ltrim();
    return value && rest.empty() ? value : std::nullopt;
  }
  std::string unknown;

private:
  using Value = std::optional<int64_t>;

  bool take(StringRef token) {
    rest = rest.ltrim();
    return rest.consume_front(token);
  }

  Value sum() {
    Value left = product();
    while (left) {
      bool plus = take("+");
      if (!plus && !take("-"))
        return left;
      Value right = product();
      if (!right)
        return right;
      left = plus ? checkedAdd(*left, *right) : checkedSub(*left, *right);
    }
    return left;
  }

  Value product() {
    Value left = factor();
    while (left) {
      char op = take("*")                 ? '*'
                : take("//") || take("/") ? '/'
                : take("%")               ? '%'
                                          : 0;
      if (!op)
        return left;
      Value right = factor();
      if (!right)
        return right;
      if (op == '*') {
        left = checkedMul(*left, *right);
        continue;
      }
      if (*right <= 0)
        return std::nullopt;
      int64_t quotient = llvm::divideFloorSigned(*left, *right);
      left = op == '/' ? quotient : *left - quotient * *right;
    }
    return left;
  }

  Value factor() {
    if (++depth > 64)
      return std::nullopt;
    Value value = primary();
    --depth;
    return value;
  }

  Value primary() {
    if (take("-")) {
      Value value = factor();
      return value ? checkedSub(int64_t(0), *value) : value;
    }
    if (take("(")) {
      Value value = sum();
      return value && take(")") ? value : std::nullopt;
    }
    rest = rest.ltrim();
    StringRef word = rest.take_while(nameChar);
    rest = rest.drop_front(word.size());
    int64_t number;
    if (!word.empty() && isDigit(word.front()))
      return word.getAsInteger(10, number) ? Value() : Value(number);
    auto it = symbols.find(word);
    if (it != symbols.end())
      return it->second;
    if (unknown.empty())
      unknown = word.str();
    return std::nullopt;
  }

  StringRef rest;
  const Symbols &symbols;
  unsigned depth = 0;
};

} // namespace

std::optional<int64_t> effc::onnx::evaluateDim(StringRef text,
                                               const Symbols &symbols,
                                               std::string *unknown) {
  auto it = symbols.find(text);
  if (it != symbols.end())
    return it->second;
  Parser parser(text, symbols);
  auto value = parser.whole();
  if (!value && unknown)
    *unknown = parser.unknown.empty() ? text.str() : parser.unknown;
  return value;
}

bool effc::onnx::isSymbol(StringRef text) {
  return !text.empty() && !isDigit(text.front()) &&
         llvm::all_of(text, nameChar);
}
