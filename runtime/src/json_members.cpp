//===- json_members.cpp - the members of a JSON object, unparsed ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "json_members.h"

namespace effrt {
namespace {

constexpr size_t deepest = 256;

class Scanner {
public:
  explicit Scanner(std::string_view text) : text_(text) {}

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' ||
                                  text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c)
      return false;
    ++at_;
    return true;
  }
  bool string(std::string_view &inside) {
    if (!take('"'))
      return false;
    size_t begin = at_;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        inside = text_.substr(begin, at_++ - begin);
        return true;
      }
    }
    return false;
  }
  bool value(std::string_view &whole) {
    char first = peek();
    size_t begin = at_;
    std::string open; // closing brackets that are due
    std::string_view skipped;
    if (first == '"') {
      if (!string(skipped))
        return false;
    } else if (first == '{' || first == '[') {
      do {
        if (at_ >= text_.size())
          return false;
        char c = text_[at_];
        if (c == '"') {
          if (!string(skipped))
            return false;
          continue;
        }
        ++at_;
        if (c == '{' || c == '[') {
          if (open.size() == deepest)
            return false;
          open.push_back(c == '{' ? '}' : ']');
        } else if (c == '}' || c == ']') {
          if (open.back() != c)
            return false;
          open.pop_back();
        }
      } while (!open.empty());
    } else {
      at_ = text_.find_first_of(",}] \n\t\r", at_);
      if (at_ == std::string_view::npos || at_ == begin)
        return false;
    }
    whole = text_.substr(begin, at_ - begin);
    return true;
  }
  bool atEnd() { return peek() == '\0' && at_ >= text_.size(); }

private:
  std::string_view text_;
  size_t at_ = 0;
};

} // namespace

bool splitMembers(std::string_view text, std::vector<JsonMember> &members) {
  Scanner scanner(text);
  if (!scanner.take('{'))
    return false;
  if (scanner.take('}'))
    return scanner.atEnd();
  do {
    std::string_view key, value;
    if (!scanner.string(key) || !scanner.take(':') || !scanner.value(value))
      return false;
    members.push_back({std::string(key), value});
  } while (scanner.take(','));
  return scanner.take('}') && scanner.atEnd();
}

} // namespace effrt
