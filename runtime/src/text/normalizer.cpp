//===- normalizer.cpp - what happens to text before it is split -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "normalizer.h"

#include "utf8.h"

#include <utf8proc.h>

#include <algorithm>

namespace effrt {

namespace {

using Codes = std::vector<utf8proc_int32_t>;

/// Canonical ordering: each run of non-starters is sorted by combining class,
/// and equal classes keep their order. The library's own does it by exchanges,
/// which hostile text makes quadratic.
void reorder(Codes &codes) {
  auto combining = [](utf8proc_int32_t c) -> uint64_t {
    return utf8proc_get_property(c)->combining_class;
  };
  std::vector<std::pair<uint64_t, utf8proc_int32_t>> run; // sort key, code
  for (size_t i = 0; i < codes.size();) {
    if (combining(codes[i]) == 0) {
      ++i;
      continue;
    }
    run.clear();
    size_t begin = i;
    for (; i < codes.size() && combining(codes[i]) != 0; ++i)
      run.emplace_back(combining(codes[i]) << 56 | i, codes[i]);
    std::sort(run.begin(), run.end());
    for (size_t k = 0; k < run.size(); ++k)
      codes[begin + k] = run[k].second;
  }
}

/// Canonical composition. The library takes U+11A7 for a trailing consonant of
/// Hangul, which it is not; it takes part in no composition, so the text is
/// composed between its occurrences.
void composeAll(Codes &codes) {
  constexpr utf8proc_int32_t kNoConsonant = 0x11A7;
  auto done = codes.begin();
  for (auto begin = codes.begin(); begin != codes.end();) {
    auto end = std::find(begin, codes.end(), kNoConsonant);
    utf8proc_ssize_t size = end - begin;
    if (size > 0) {
      utf8proc_ssize_t composed = utf8proc_normalize_utf32(
          &*begin, size,
          static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
      if (composed > 0)
        size = composed;
    }
    done = std::copy(begin, begin + size, done);
    if (end != codes.end())
      *done++ = *end++;
    begin = end;
  }
  codes.erase(done, codes.end());
}

/// Normalization forms of UAX 15.
std::string normalizeUnicode(std::string_view text, bool compose, bool compat) {
  int flags = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
  if (compat)
    flags |= UTF8PROC_COMPAT;
  Codes codes;
  codes.reserve(text.size());
  utf8proc_int32_t parts[64]; // the longest decomposition has 18
  for (size_t i = 0; i < text.size();) {
    utf8::Char c = utf8::readValid(text.data() + i);
    i += c.length;
    utf8proc_ssize_t count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(c.code), parts, 64,
        static_cast<utf8proc_option_t>(flags), nullptr);
    if (count >= 1 && count <= 64)
      codes.insert(codes.end(), parts, parts + count);
    else
      codes.push_back(static_cast<utf8proc_int32_t>(c.code));
  }
  reorder(codes);
  if (compose)
    composeAll(codes);
  std::string out;
  out.reserve(text.size());
  for (utf8proc_int32_t code : codes)
    utf8::append(out, static_cast<uint32_t>(code));
  return out;
}

/// Each character by itself, so a final sigma is like any other.
std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    utf8::Char c = utf8::readValid(text.data() + i);
    i += c.length;
    if (c.code == 0x130) // the one character with a longer lower case
      out += "i\xCC\x87";
    else
      utf8::append(out, static_cast<uint32_t>(utf8proc_tolower(
                            static_cast<utf8proc_int32_t>(c.code))));
  }
  return out;
}

} // namespace

Result<Normalizer> Normalizer::fromJson(const JsonRef &json) {
  Normalizer normalizer;
  if (Status s =
          eachComponent(json, "normalizers",
                        [&](const JsonRef &part, const std::string &type) {
                          return normalizer.add(part, type);
                        });
      !s)
    return s;
  return normalizer;
}

Status Normalizer::add(const JsonRef &json, const std::string &type) {
  Step step{};
  if (type == "NFC") {
    step.kind = Step::Kind::Nfc;
  } else if (type == "NFD") {
    step.kind = Step::Kind::Nfd;
  } else if (type == "NFKC") {
    step.kind = Step::Kind::Nfkc;
  } else if (type == "NFKD") {
    step.kind = Step::Kind::Nfkd;
  } else if (type == "Lowercase") {
    step.kind = Step::Kind::Lowercase;
  } else if (type == "Prepend" || type == "Replace") {
    bool prepend = type == "Prepend";
    step.kind = prepend ? Step::Kind::Prepend : Step::Kind::Replace;
    Result<std::string> content =
        json.get(prepend ? "prepend" : "content").text();
    if (!content)
      return content.takeError();
    step.content = content.take();
    if (!prepend) {
      Result<Pattern> pattern = Pattern::fromJson(json.get("pattern"));
      if (!pattern)
        return pattern.takeError();
      step.pattern = pattern.take();
    }
  } else {
    return json.unsupported("the normalizer \"" + type + '"');
  }
  steps_.push_back(std::move(step));
  return Status::success();
}

Status Normalizer::apply(std::string &text) const {
  size_t limit = Pattern::growthLimit(text.size());
  for (const Step &step : steps_) {
    if (text.size() > limit)
      return Pattern::tooLong();
    switch (step.kind) {
    case Step::Kind::Nfc:
    case Step::Kind::Nfd:
    case Step::Kind::Nfkc:
    case Step::Kind::Nfkd: {
      bool compat =
          step.kind == Step::Kind::Nfkc || step.kind == Step::Kind::Nfkd;
      bool compose =
          step.kind == Step::Kind::Nfc || step.kind == Step::Kind::Nfkc;
      if (!utf8::isAscii(text))
        text = normalizeUnicode(text, compose, compat);
      break;
    }
    case Step::Kind::Lowercase:
      text = lowercase(text);
      break;
    case Step::Kind::Prepend:
      if (!text.empty())
        text.insert(0, step.content);
      break;
    case Step::Kind::Replace:
      if (Status s = step.pattern->replaceAll(text, step.content); !s)
        return s;
      break;
    }
  }
  return Status::success();
}

} // namespace effrt
