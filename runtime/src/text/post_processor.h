//===- post_processor.h - tokens around the tokens of a text ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_POST_PROCESSOR_H
#define EFFRT_SRC_TEXT_POST_PROCESSOR_H

#include "effrt/text/tokenizer.h"
#include "json.h"

#include <vector>

namespace effrt {

struct PostProcessor {
  std::vector<TokenId> before, after;

  static Result<PostProcessor> fromJson(const JsonRef &json);

private:
  Status add(const JsonRef &json, const std::string &type);
  Status addTemplate(const JsonRef &json);
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_POST_PROCESSOR_H
