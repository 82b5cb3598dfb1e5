//===- KernelSpec.cpp - what a kernel is specialised for
//--------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/KernelSpec.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace effc {

/// Where a constant is, or where it belongs.
template <class Constants>
static auto *find(Constants &constants, StringRef name) {
  return lower_bound(constants, name, [](const auto &entry, StringRef name) {
    return StringRef(entry.first) < name;
  });
}

int64_t KernelSpec::get(StringRef name) const {
  auto *it = find(constants, name);
  return it != constants.end() && it->first == name ? it->second : 0;
}

void KernelSpec::set(StringRef name, int64_t value) {
  auto *it = find(constants, name);
  if (it != constants.end() && it->first == name)
    it->second = value;
  else
    constants.insert(it, {name.str(), value});
}

std::string KernelSpec::str() const {
  std::string text;
  raw_string_ostream os(text);
  os << family << '(';
  interleaveComma(constants, os, [&](const auto &entry) {
    os << entry.first << " = " << entry.second;
  });
  os << ')';
  if (!epilogue.empty()) {
    os << " epilogue ";
    // One line: line breaks and the indentation behind them become one space.
    bool space = false;
    for (char c : epilogue) {
      if (c == '\n' || c == ' ' || c == '\t') {
        space = true;
        continue;
      }
      if (space)
        os << ' ';
      space = false;
      os << c;
    }
  }
  return text;
}

std::string KernelSpec::name() const {
  uint64_t hash = 0xcbf29ce484222325; // FNV-1a
  for (unsigned char c : str())
    hash = (hash ^ c) * 0x100000001b3;
  std::string text;
  raw_string_ostream(text) << family << '_' << format_hex_no_prefix(hash, 16);
  return text;
}

bool KernelSpec::operator==(const KernelSpec &other) const {
  return family == other.family && constants == other.constants &&
         epilogue == other.epilogue;
}

} // namespace effc
