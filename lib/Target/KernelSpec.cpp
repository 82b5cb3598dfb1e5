//===- KernelSpec.cpp - what a kernel is specialised for ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/KernelSpec.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace effc;

using Constant = std::pair<std::string, int64_t>;

static const Constant *findConstant(llvm::ArrayRef<Constant> constants,
                                    llvm::StringRef name) {
  return llvm::lower_bound(constants, name,
                           [](const Constant &constant, llvm::StringRef name) {
                             return llvm::StringRef(constant.first) < name;
                           });
}

int64_t KernelSpec::get(llvm::StringRef name) const {
  const Constant *at = findConstant(constants, name);
  return at != constants.end() && at->first == name ? at->second : 0;
}

void KernelSpec::set(llvm::StringRef name, int64_t value) {
  size_t index = findConstant(constants, name) - constants.begin();
  if (index < constants.size() && constants[index].first == name)
    constants[index].second = value;
  else
    constants.insert(constants.begin() + index, {name.str(), value});
}

std::string KernelSpec::str() const {
  std::string text = family;
  llvm::raw_string_ostream os(text);
  for (const Constant &constant : constants)
    os << ' ' << constant.first << '=' << constant.second;
  if (epilogue.empty())
    return text;
  // One line: runs of white space become one blank.
  os << ' ';
  bool blank = false;
  for (char c : epilogue) {
    if (llvm::isSpace(c)) {
      blank = true;
      continue;
    }
    if (blank)
      os << ' ';
    blank = false;
    os << c;
  }
  return text;
}

std::string KernelSpec::name() const {
  // FNV-1a, 64 bit: the same on every machine.
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : str())
    hash = (hash ^ c) * 0x100000001b3;
  return family + "_" + llvm::utohexstr(hash, /*LowerCase=*/true, 16);
}

bool KernelSpec::operator==(const KernelSpec &other) const {
  return family == other.family && constants == other.constants &&
         epilogue == other.epilogue;
}
