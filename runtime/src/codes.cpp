//===- codes.cpp - the stable codes of errors that users see --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/codes.h"

#include <cstdio>
#include <system_error>

namespace effrt {

std::string codeName(Code code) {
  char text[16];
  std::snprintf(text, sizeof text, "EFF%04u", static_cast<unsigned>(code));
  return text;
}

static const char *defaultHint(Code code) {
  switch (code) {
#define EFF_ERROR(name, number, meaning, hint)                                 \
  case Code::name:                                                             \
    return hint;
#include "effc/Support/ErrorCodes.def"
  }
  return "";
}

Error fail(Code code, std::string what, std::string where, std::string why,
           std::string tryThis) {
  if (tryThis.empty())
    tryThis = defaultHint(code);
  return makeError(codeName(code), std::move(what), std::move(where),
                   std::move(why), std::move(tryThis));
}

std::string systemError(int number) {
  return std::generic_category().message(number);
}

} // namespace effrt
