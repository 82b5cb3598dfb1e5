//===- pretokenizer.cpp - the words that merges stay within ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "pretokenizer.h"

#include "byte_level.h"
#include "utf8.h"

#include <algorithm>
#include <optional>

namespace effrt {

class PreTokenizer::Stage {
public:
  virtual ~Stage() = default;
  virtual Status apply(Pieces &pieces) const = 0;
};

namespace {

using Piece = Pieces::Piece;
using Span = Regex::Span;

/// GPT-2's words.
constexpr char kByteLevelRegex[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// Words and what is neither word nor space, with `\w` as in UTS 18, annex C.
constexpr char kWordsRegex[] =
    R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}]+)"
    R"(|[^\s\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}]+)";

enum class Behavior {
  Removed,
  Isolated,
  MergedWithPrevious,
  MergedWithNext,
  Contiguous
};

std::optional<Behavior> behaviorFromName(std::string_view name) {
  if (name == "Removed")
    return Behavior::Removed;
  if (name == "Isolated")
    return Behavior::Isolated;
  if (name == "MergedWithPrevious")
    return Behavior::MergedWithPrevious;
  if (name == "MergedWithNext")
    return Behavior::MergedWithNext;
  if (name == "Contiguous")
    return Behavior::Contiguous;
  return std::nullopt;
}

class SplitStage final : public PreTokenizer::Stage {
public:
  SplitStage(Pattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  Status apply(Pieces &in) const override {
    std::vector<Piece> out;
    out.reserve(in.pieces.size());
    std::vector<Span> matches;
    std::vector<Part> parts;
    bool atStart = in.atStart;
    for (const Piece &piece : in.pieces) {
      matches.clear();
      if (Status s = pattern_.findAll(in.view(piece), matches); !s)
        return s;
      cover(piece, matches, parts);
      size_t before = out.size();
      join(parts, out);
      if (&piece == in.pieces.data() &&
          (out.size() == before || out[before].begin != piece.begin))
        atStart = false;
    }
    in.pieces = std::move(out);
    in.atStart = atStart;
    return Status::success();
  }

private:
  struct Part {
    Piece span;
    bool isMatch;
  };

  /// Matches and what lies between them: together the whole piece.
  void cover(const Piece &piece, const std::vector<Span> &matches,
             std::vector<Part> &parts) const {
    parts.clear();
    size_t done = piece.begin;
    for (Span match : matches) {
      size_t begin = piece.begin + match.begin, end = piece.begin + match.end;
      if (done != begin)
        parts.push_back({{done, begin}, invert_});
      parts.push_back({{begin, end}, !invert_});
      done = end;
    }
    if (done != piece.end)
      parts.push_back({{done, piece.end}, invert_});
  }

  void join(std::vector<Part> &parts, std::vector<Piece> &out) const {
    size_t first = out.size();
    bool previous = false;
    switch (behavior_) {
    case Behavior::Removed:
    case Behavior::Isolated:
      for (const Part &part : parts)
        if (!part.isMatch || behavior_ == Behavior::Isolated)
          out.push_back(part.span);
      break;
    case Behavior::Contiguous:
    case Behavior::MergedWithPrevious:
      for (const Part &part : parts) {
        bool extend = behavior_ == Behavior::Contiguous
                          ? part.isMatch == previous
                          : part.isMatch && !previous;
        if (extend && out.size() > first)
          out.back().end = part.span.end;
        else
          out.push_back(part.span);
        previous = part.isMatch;
      }
      break;
    case Behavior::MergedWithNext:
      for (size_t i = parts.size(); i-- > 0;) {
        const Part &part = parts[i];
        if (part.isMatch && !previous && out.size() > first)
          out.back().begin = part.span.begin;
        else
          out.push_back(part.span);
        previous = part.isMatch;
      }
      std::reverse(out.begin() + first, out.end());
      break;
    }
    out.erase(std::remove_if(out.begin() + first, out.end(),
                             [](Piece p) { return p.begin == p.end; }),
              out.end());
  }

  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Rewrites the text of each piece; the pieces stay the same in number.
class RewriteStage : public PreTokenizer::Stage {
public:
  Status apply(Pieces &in) const override {
    std::string text;
    text.reserve(in.text.size() + in.text.size() / 4);
    bool first = in.atStart;
    for (Piece &piece : in.pieces) {
      size_t begin = text.size();
      rewrite(in.view(piece), first, text);
      piece = {begin, text.size()};
      first = false;
    }
    in.text = std::move(text);
    return Status::success();
  }

protected:
  virtual void rewrite(std::string_view piece, bool atStart,
                       std::string &out) const = 0;
};

class PrefixSpaceStage final : public RewriteStage {
  void rewrite(std::string_view piece, bool, std::string &out) const override {
    if (!piece.empty() && piece.front() != ' ')
      out += ' ';
    out += piece;
  }
};

class BytesStage final : public RewriteStage {
  void rewrite(std::string_view piece, bool, std::string &out) const override {
    byte_level::encode(piece, out);
  }
};

/// Spaces become a visible character, and one is put in front.
class MetaspaceStage final : public RewriteStage {
public:
  enum class Prepend { Always, First, Never };
  MetaspaceStage(std::string replacement, Prepend prepend)
      : replacement_(std::move(replacement)), prepend_(prepend) {}

private:
  void rewrite(std::string_view piece, bool atStart,
               std::string &out) const override {
    bool marked = piece.substr(0, replacement_.size()) == replacement_ ||
                  (!piece.empty() && piece.front() == ' ');
    if (!piece.empty() && !marked &&
        (prepend_ == Prepend::Always ||
         (prepend_ == Prepend::First && atStart)))
      out += replacement_;
    for (char c : piece) {
      if (c == ' ')
        out += replacement_;
      else
        out += c;
    }
  }

  std::string replacement_;
  Prepend prepend_;
};

} // namespace

Result<PreTokenizer> PreTokenizer::fromJson(const JsonRef &json) {
  PreTokenizer preTokenizer;
  if (Status s =
          eachComponent(json, "pretokenizers",
                        [&](const JsonRef &part, const std::string &type) {
                          return preTokenizer.add(part, type);
                        });
      !s)
    return s;
  return preTokenizer;
}

Status PreTokenizer::add(const JsonRef &json, const std::string &type) {
  if (type == "ByteLevel")
    return addByteLevel(json);
  if (type == "Split")
    return addSplit(json);
  if (type == "Metaspace")
    return addMetaspace(json);
  if (type == "Digits") {
    Result<bool> individual = json.get("individual_digits").flagOr(false);
    if (!individual)
      return individual.takeError();
    return addSplitRegex(R"(\p{N})", *individual ? "Isolated" : "Contiguous",
                         false, json);
  }
  if (type == "Whitespace")
    return addSplitRegex(kWordsRegex, "Removed", true, json);
  if (type == "WhitespaceSplit")
    return addSplitRegex(R"(\s)", "Removed", false, json);
  return json.unsupported("the pre-tokenizer \"" + type + '"');
}

Status PreTokenizer::addByteLevel(const JsonRef &json) {
  Result<bool> prefix = json.get("add_prefix_space").flagOr(true);
  if (!prefix)
    return prefix.takeError();
  Result<bool> useRegex = json.get("use_regex").flagOr(true);
  if (!useRegex)
    return useRegex.takeError();
  if (*prefix)
    stages_.push_back(std::make_shared<PrefixSpaceStage>());
  if (*useRegex)
    if (Status s = addSplitRegex(kByteLevelRegex, "Isolated", false, json); !s)
      return s;
  stages_.push_back(std::make_shared<BytesStage>());
  return Status::success();
}

Status PreTokenizer::addSplit(const JsonRef &json) {
  Result<Pattern> pattern = Pattern::fromJson(json.get("pattern"));
  if (!pattern)
    return pattern.takeError();
  Result<bool> invert = json.get("invert").flagOr(false);
  if (!invert)
    return invert.takeError();
  JsonRef name = json.get("behavior");
  Result<std::string> text = name.text();
  if (!text)
    return text.takeError();
  std::optional<Behavior> behavior = behaviorFromName(*text);
  if (!behavior)
    return name.unsupported("the split behavior \"" + *text + '"');
  stages_.push_back(
      std::make_shared<SplitStage>(pattern.take(), *behavior, *invert));
  return Status::success();
}

Status PreTokenizer::addSplitRegex(const char *regex, const char *behavior,
                                   bool invert, const JsonRef &json) {
  Result<Pattern> pattern =
      Pattern::fromRegex(regex, "tokenizer.json: " + json.path());
  if (!pattern)
    return pattern.takeError();
  stages_.push_back(std::make_shared<SplitStage>(
      pattern.take(), *behaviorFromName(behavior), invert));
  return Status::success();
}

Status PreTokenizer::addMetaspace(const JsonRef &json) {
  Result<std::string> replacement = json.get("replacement").text();
  if (!replacement)
    return replacement.takeError();
  uint32_t code;
  if (!utf8::isOneChar(*replacement, code))
    return json.get("replacement").fault("expected one character");

  auto prepend = MetaspaceStage::Prepend::Always;
  if (JsonRef scheme = json.get("prepend_scheme"); !scheme.isNull()) {
    Result<std::string> name = scheme.text();
    if (!name)
      return name.takeError();
    if (*name == "first")
      prepend = MetaspaceStage::Prepend::First;
    else if (*name == "never")
      prepend = MetaspaceStage::Prepend::Never;
    else if (*name != "always")
      return scheme.unsupported("the prepend scheme \"" + *name + '"');
  } else { // files before the schemes
    Result<bool> flag = json.get("add_prefix_space").flagOr(true);
    if (!flag)
      return flag.takeError();
    if (!*flag)
      prepend = MetaspaceStage::Prepend::Never;
  }
  Result<bool> split = json.get("split").flagOr(true);
  if (!split)
    return split.takeError();

  stages_.push_back(std::make_shared<MetaspaceStage>(*replacement, prepend));
  if (*split)
    stages_.push_back(
        std::make_shared<SplitStage>(Pattern::fromString(replacement.take()),
                                     Behavior::MergedWithNext, false));
  return Status::success();
}

Status PreTokenizer::apply(Pieces &pieces) const {
  size_t limit = Pattern::growthLimit(pieces.text.size());
  for (const auto &stage : stages_) {
    if (pieces.text.size() > limit)
      return Pattern::tooLong();
    if (Status s = stage->apply(pieces); !s)
      return s;
  }
  return Status::success();
}

} // namespace effrt
