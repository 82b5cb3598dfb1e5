//===- token_regex.cpp - the regular expressions of tokenizer files -------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "token_regex.h"

#include "codes.h"
#include "utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

namespace effrt {

namespace {

constexpr size_t kMaxPattern = 16384;
constexpr uint32_t kHeapLimitKiB = 256 * 1024;

// Inside a class. PCRE2's own \s has U+180E, its \w no combining marks.
constexpr char kSpace[] =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr char kNotSpace[] =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr char kWord[] = R"(\p{L}\p{M}\p{N}\p{Pc})";
constexpr char kHex[] = "0-9A-Fa-f";

// Oniguruma's \p{Han} is the Script property, PCRE2's the script extensions.
constexpr std::string_view kScripts[] = {
    "Arabic", "Bengali",  "Cyrillic", "Devanagari", "Greek", "Hangul", "Han",
    "Hebrew", "Hiragana", "Katakana", "Latin",      "Tamil", "Thai"};

bool startsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

class Translator {
public:
  Translator(std::string_view pattern, const std::string &where)
      : in_(pattern), where_(where) {}

  Result<std::string> run() {
    while (pos_ < in_.size()) {
      char c = in_[pos_];
      if (c == '\\') {
        if (Status s = escape(); !s)
          return s;
      } else if (inClass_) {
        if (Status s = classChar(c); !s)
          return s;
      } else if (c == '[') {
        openClass();
      } else if (startsWith(in_.substr(pos_), "(*")) {
        return refuse("the verb (*...)");
      } else if (c == '}' && closesInterval() &&
                 startsWith(in_.substr(pos_ + 1), "+")) {
        // Ruby: repeat the interval; PCRE2: possessive.
        return refuse("an interval followed by '+'");
      } else {
        copy(1);
      }
    }
    return std::move(out_);
  }

private:
  Error refuse(std::string what) const {
    return makeError(
        codes::badTokenizer, "a pattern of the tokenizer is not supported",
        where_, "it uses " + std::move(what), "pass token ids instead of text");
  }

  void copy(size_t count) {
    out_ += in_.substr(pos_, count);
    pos_ += count;
  }

  void openClass() {
    inClass_ = true;
    copy(1);
    if (pos_ < in_.size() && in_[pos_] == '^')
      copy(1);
    if (pos_ < in_.size() && in_[pos_] == ']') { // a literal, in both
      out_ += "\\]";
      ++pos_;
    }
  }

  Status classChar(char c) {
    if (c == ']') {
      inClass_ = false;
    } else if (c == '[') {
      if (!startsWith(in_.substr(pos_), "[:"))
        return refuse("a class inside a class");
      size_t end = in_.find(":]", pos_);
      if (end == std::string_view::npos)
        return refuse("an unfinished [:class:]");
      copy(end + 2 - pos_);
      return Status::success();
    } else if (startsWith(in_.substr(pos_), "&&")) {
      return refuse("an intersection of classes (&&)");
    }
    copy(1);
    return Status::success();
  }

  /// Whether the '}' at the read position ends {n}, {n,} or {n,m}.
  bool closesInterval() const {
    size_t i = pos_;
    while (i > 0 &&
           (in_[i - 1] == ',' || (in_[i - 1] >= '0' && in_[i - 1] <= '9')))
      --i;
    return i < pos_ && i > 0 && in_[i - 1] == '{';
  }

  void put(const char *set, bool negated) {
    if (inClass_)
      out_ += set;
    else
      out_ += (negated ? "[^" : "[") + std::string(set) + ']';
    pos_ += 2;
  }

  Status escape() {
    if (pos_ + 1 == in_.size())
      return refuse("a backslash at its end");
    switch (in_[pos_ + 1]) {
    case 's':
      put(kSpace, false);
      break;
    case 'S':
      if (inClass_)
        put(kNotSpace, false);
      else
        put(kSpace, true);
      break;
    case 'w':
      put(kWord, false);
      break;
    case 'W':
      if (inClass_)
        return refuse("\\W inside a class");
      put(kWord, true);
      break;
    case 'h':
      put(kHex, false);
      break;
    case 'H':
      if (inClass_)
        return refuse("\\H inside a class");
      put(kHex, true);
      break;
    case 'p':
    case 'P':
      return property();
    case 'u':
      return unicode();
    case 'b':
    case 'B':
    case 'X':
    case 'R':
    case 'K':
    case 'N':
    case 'O':
    case 'Q':
    case 'E':
    case 'C':
    case 'y':
    case 'Y':
    case 'G':
    case 'k':
    case 'g':
      if (!inClass_ || in_[pos_ + 1] != 'b')
        return refuse(std::string("\\") + in_[pos_ + 1]);
      copy(2);
      break;
    default: {
      copy(1);
      utf8::Char c = utf8::read(in_.substr(pos_));
      copy(c.length);
    }
    }
    return Status::success();
  }

  Status property() {
    std::string_view rest = in_.substr(pos_ + 2);
    size_t end = rest.find('}');
    if (rest.empty() || rest[0] != '{' || end == std::string_view::npos)
      return refuse("a property without braces");
    std::string_view name = rest.substr(1, end - 1);
    bool caret = startsWith(name, "^");
    if (caret)
      name.remove_prefix(1);
    bool negated = caret != (in_[pos_ + 1] == 'P');
    bool script = std::find(std::begin(kScripts), std::end(kScripts), name) !=
                  std::end(kScripts);
    out_ += negated ? "\\P{" : "\\p{";
    if (script)
      out_ += "sc:";
    out_ += name;
    out_ += '}';
    pos_ += end + 3;
    return Status::success();
  }

  Status unicode() {
    std::string_view digits = in_.substr(pos_ + 2, 4);
    if (digits.size() < 4 ||
        !std::all_of(digits.begin(), digits.end(), [](unsigned char c) {
          return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
                 (c >= 'A' && c <= 'F');
        }))
      return refuse("\\u without four hexadecimal digits");
    out_ += "\\x{" + std::string(digits) + '}';
    pos_ += 6;
    return Status::success();
  }

  std::string_view in_;
  const std::string &where_;
  size_t pos_ = 0;
  bool inClass_ = false;
  std::string out_;
};

std::string message(int error) {
  PCRE2_UCHAR text[256];
  if (pcre2_get_error_message(error, text, sizeof(text)) < 0)
    return "PCRE2 error " + std::to_string(error);
  return reinterpret_cast<const char *>(text);
}

template <typename T, void (*Free)(T *)> struct Freer {
  void operator()(T *p) const { Free(p); }
};
template <typename T, void (*Free)(T *)>
using Owned = std::unique_ptr<T, Freer<T, Free>>;

} // namespace

Result<std::string> Regex::translate(std::string_view pattern,
                                     const std::string &where) {
  return Translator(pattern, where).run();
}

Result<Regex> Regex::compile(std::string_view pattern,
                             const std::string &where) {
  auto bad = [&](std::string why) {
    return makeError(codes::badTokenizer,
                     "a pattern of the tokenizer is not usable", where,
                     std::move(why), "pass token ids instead of text");
  };
  if (pattern.size() > kMaxPattern)
    return bad("it is longer than " + std::to_string(kMaxPattern) + " bytes");
  Result<std::string> translated = translate(pattern, where);
  if (!translated)
    return translated.takeError();

  Owned<pcre2_compile_context, pcre2_compile_context_free> context(
      pcre2_compile_context_create(nullptr));
  if (!context)
    return bad("there is no memory for it");
  // Newlines are '\n' alone, '^' and '$' match at each, as in Ruby.
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code *code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
      &offset, context.get());
  if (!code)
    return bad(message(error) + ", at byte " + std::to_string(offset) + " of " +
               *translated);
  // Where there is no JIT, or the system forbids it, matching interprets.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return Regex(std::shared_ptr<pcre2_code>(code, pcre2_code_free), where);
}

Status Regex::findAll(std::string_view text, std::vector<Span> &out) const {
  auto failed = [&](std::string why) {
    return makeError(codes::textTooCostly,
                     "a pattern of the tokenizer cannot be matched", where_,
                     std::move(why), "split the text into smaller parts");
  };
  Owned<pcre2_match_data, pcre2_match_data_free> match(
      pcre2_match_data_create(1, nullptr));
  Owned<pcre2_match_context, pcre2_match_context_free> context(
      pcre2_match_context_create(nullptr));
  if (!match || !context)
    return failed("there is no memory for it");
  // Enough steps for any pattern that reads each character a few times, and
  // not enough for exponential backtracking.
  uint64_t steps = 10'000'000 + 64 * static_cast<uint64_t>(text.size());
  pcre2_set_match_limit(context.get(), static_cast<uint32_t>(std::min<uint64_t>(
                                           steps, UINT32_MAX)));
  pcre2_set_heap_limit(context.get(), kHeapLimitKiB);

  // PCRE2 takes no null subject.
  auto subject = reinterpret_cast<PCRE2_SPTR>(text.empty() ? "" : text.data());
  const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match.get());
  size_t from = 0;
  size_t lastEnd = SIZE_MAX;
  while (from <= text.size()) {
    int rc = pcre2_match(code_.get(), subject, text.size(), from,
                         PCRE2_NO_UTF_CHECK, match.get(), context.get());
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
      rc = pcre2_match(code_.get(), subject, text.size(), from,
                       PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match.get(),
                       context.get());
    if (rc == PCRE2_ERROR_NOMATCH)
      break;
    if (rc < 0)
      return failed(message(rc));
    size_t begin = span[0], end = span[1];
    if (begin > end) // \K in a lookaround, which translation refuses
      return failed("a match ends before it begins");
    if (begin == end && end == lastEnd) {
      if (from == text.size())
        break;
      from += utf8::readValid(text.data() + from).length;
      continue;
    }
    out.push_back({begin, end});
    from = lastEnd = end;
  }
  return Status::success();
}

} // namespace effrt
