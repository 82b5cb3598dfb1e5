//===- pattern.cpp - {"String": ...} or {"Regex": ...} --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "pattern.h"

namespace effrt {

Result<Pattern> Pattern::fromJson(const JsonRef &json) {
  // Old files hold the literal alone.
  if (json.value().is_string())
    return fromString(*json.text());
  if (Status s = json.isObject(); !s)
    return s;
  if (JsonRef regex = json.get("Regex"); !regex.isNull()) {
    Result<std::string> text = regex.text();
    if (!text)
      return text.takeError();
    return fromRegex(*text, "tokenizer.json: " + regex.path());
  }
  JsonRef literal = json.get("String");
  if (literal.isNull())
    return json.fault("a pattern is {\"String\": ...} or {\"Regex\": ...}");
  Result<std::string> text = literal.text();
  if (!text)
    return text.takeError();
  return fromString(text.take());
}

Result<Pattern> Pattern::fromRegex(std::string_view regex,
                                   const std::string &where) {
  Result<Regex> compiled = Regex::compile(regex, where);
  if (!compiled)
    return compiled.takeError();
  Pattern pattern;
  pattern.regex_ = compiled.take();
  return pattern;
}

Pattern Pattern::fromString(std::string literal) {
  Pattern pattern;
  pattern.literal_ = std::move(literal);
  return pattern;
}

Error Pattern::tooLong() {
  return makeError(codes::textTooCostly,
                   "the tokenizer makes the text too long", "tokenizer.json",
                   "replacing and prepending made it more than 64 times as "
                   "long as it was",
                   "check the normalizer and the pre-tokenizer in the file");
}

Status Pattern::findAll(std::string_view text,
                        std::vector<Regex::Span> &out) const {
  if (regex_)
    return regex_->findAll(text, out);
  if (literal_.empty())
    return Status::success();
  size_t size = literal_.size();
  for (size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + size))
    out.push_back({at, at + size});
  return Status::success();
}

Status Pattern::replaceAll(std::string &text, std::string_view content) const {
  std::vector<Regex::Span> matches;
  if (Status s = findAll(text, matches); !s)
    return s;
  if (matches.empty())
    return Status::success();
  size_t limit = growthLimit(text.size());
  if (!content.empty() && matches.size() > limit / content.size())
    return tooLong();
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (Regex::Span match : matches) {
    out.append(text, done, match.begin - done);
    out += content;
    done = match.end;
  }
  out.append(text, done, std::string::npos);
  text = std::move(out);
  return Status::success();
}

} // namespace effrt
