//===- decoder.cpp - from the spelling of tokens to text ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "decoder.h"

#include "byte_level.h"

#include <algorithm>

namespace effrt {

namespace {

void replaceAll(std::string &text, std::string_view from, std::string_view to) {
  if (from.empty() || text.find(from) == std::string::npos)
    return;
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  out.append(text, done, std::string::npos);
  text = std::move(out);
}

int hexDigit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

/// The byte of "<0xE2>".
std::optional<char> byteOf(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>')
    return std::nullopt;
  int high = hexDigit(token[3]), low = hexDigit(token[4]);
  if (high < 0 || low < 0)
    return std::nullopt;
  return static_cast<char>(high << 4 | low);
}

size_t countAtBegin(std::string_view text, std::string_view c, size_t limit) {
  size_t count = 0;
  while (count < limit && text.substr(count * c.size(), c.size()) == c)
    ++count;
  return count;
}

} // namespace

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

Result<Decoder> Decoder::fromJson(const JsonRef &json) {
  Decoder decoder;
  if (!json.isNull()) {
    decoder.join_ = Join::Plain;
    if (Status s =
            eachComponent(json, "decoders",
                          [&](const JsonRef &part, const std::string &type) {
                            return decoder.add(part, type);
                          });
        !s)
      return s;
  }
  return decoder;
}

Status Decoder::add(const JsonRef &json, const std::string &type) {
  if (type == "ByteLevel" || type == "ByteFallback") {
    if (join_ != Join::Plain || joined_)
      return json.unsupported("the decoder \"" + type +
                              "\" after one that joins tokens");
    join_ = type == "ByteLevel" ? Join::ByteLevel : Join::ByteFallback;
    joined_ = join_ == Join::ByteLevel;
    return Status::success();
  }
  if (type == "Fuse") {
    joined_ = true;
    return Status::success();
  }

  Stage stage{};
  if (type == "Replace") {
    stage.kind = Stage::Kind::Replace;
    JsonRef pattern = json.get("pattern");
    if (!pattern.get("Regex").isNull())
      return pattern.unsupported("a regular expression in a decoder");
    Result<std::string> from = pattern.value().is_string()
                                   ? pattern.text()
                                   : pattern.get("String").text();
    if (!from)
      return from.takeError();
    Result<std::string> to = json.get("content").text();
    if (!to)
      return to.takeError();
    stage.from = from.take();
    stage.to = to.take();
  } else if (type == "Strip") {
    stage.kind = Stage::Kind::Strip;
    JsonRef content = json.get("content");
    Result<std::string> from = content.text();
    if (!from)
      return from.takeError();
    uint32_t code;
    if (!utf8::isOneChar(*from, code))
      return content.fault("expected one character");
    Result<uint32_t> begin = json.get("start").number();
    if (!begin)
      return begin.takeError();
    Result<uint32_t> end = json.get("stop").number();
    if (!end)
      return end.takeError();
    stage.from = from.take();
    stage.stripBegin = *begin;
    stage.stripEnd = *end;
  } else if (type == "Metaspace") {
    stage.kind = Stage::Kind::Metaspace;
    JsonRef replacement = json.get("replacement");
    Result<std::string> from = replacement.text();
    if (!from)
      return from.takeError();
    uint32_t code;
    if (!utf8::isOneChar(*from, code))
      return replacement.fault("expected one character");
    stage.from = from.take();
    stage.to = " ";
    if (JsonRef scheme = json.get("prepend_scheme"); !scheme.isNull()) {
      Result<std::string> name = scheme.text();
      if (!name)
        return name.takeError();
      stage.dropAtStart = *name != "never";
    } else {
      Result<bool> flag = json.get("add_prefix_space").flagOr(true);
      if (!flag)
        return flag.takeError();
      stage.dropAtStart = *flag;
    }
  } else {
    return json.unsupported("the decoder \"" + type + '"');
  }
  return addStage(json, std::move(stage));
}

Status Decoder::addStage(const JsonRef &json, Stage stage) {
  if (!joined_ && join_ == Join::Plain) {
    tokenStages_.push_back(std::move(stage));
    return Status::success();
  }
  // On the text: only what can be done before the rest of the text is known.
  uint32_t code;
  bool streams =
      joined_ && ((stage.kind == Stage::Kind::Strip && stage.stripEnd == 0) ||
                  (stage.kind == Stage::Kind::Replace &&
                   utf8::isOneChar(stage.from, code)));
  if (!streams)
    return json.unsupported("this decoder after one that joins tokens");
  textStages_.push_back(std::move(stage));
  return Status::success();
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

void Decoder::Stage::apply(std::string &text, bool first) const {
  switch (kind) {
  case Kind::Replace:
    replaceAll(text, from, to);
    break;
  case Kind::Metaspace:
    replaceAll(text, from, first && dropAtStart ? std::string_view() : to);
    break;
  case Kind::Strip: {
    text.erase(0, countAtBegin(text, from, stripBegin) * from.size());
    for (size_t i = 0;
         i < stripEnd && text.size() >= from.size() &&
         text.compare(text.size() - from.size(), std::string::npos, from) == 0;
         ++i)
      text.resize(text.size() - from.size());
    break;
  }
  }
}

Decoder::Stream::Stream(const Decoder &decoder, bool whole)
    : decoder_(&decoder), whole_(whole),
      bytes_(decoder.join_ == Join::ByteFallback
                 ? utf8::Assembler::Policy::Byte
                 : utf8::Assembler::Policy::Part) {
  for (const Stage &stage : decoder.textStages_)
    strips_.push_back(stage.stripBegin);
}

void Decoder::Stream::push(std::string_view token, std::string &out) {
  std::string text(token);
  for (const Stage &stage : decoder_->tokenStages_)
    stage.apply(text, first_);
  if (decoder_->join_ == Join::Spaces && !first_)
    text.insert(0, 1, ' ');
  first_ = false;
  std::string joined;
  joinBytes(text, joined);
  finishText(joined, out);
}

void Decoder::Stream::joinBytes(std::string_view token, std::string &out) {
  switch (decoder_->join_) {
  case Join::Spaces:
  case Join::Plain:
    out += token;
    return;
  case Join::ByteLevel: {
    std::string bytes;
    byte_level::decode(token, bytes);
    bytes_.push(bytes, out);
    return;
  }
  case Join::ByteFallback:
    if (std::optional<char> byte = byteOf(token)) {
      if (whole_)
        run_ += *byte;
      else
        bytes_.push({&*byte, 1}, out);
      return;
    }
    endByteRun(out);
    out += token;
    return;
  }
}

void Decoder::Stream::endByteRun(std::string &out) {
  bytes_.flush(out);
  if (utf8::isValid(run_))
    out += run_;
  else
    for (size_t i = 0; i < run_.size(); ++i)
      out += utf8::kReplacement;
  run_.clear();
}

void Decoder::Stream::finishText(std::string &text, std::string &out) {
  for (size_t i = 0; i < strips_.size(); ++i) {
    const Stage &stage = decoder_->textStages_[i];
    if (stage.kind == Stage::Kind::Replace) {
      stage.apply(text, false);
      continue;
    }
    size_t count = countAtBegin(text, stage.from, strips_[i]);
    text.erase(0, count * stage.from.size());
    strips_[i] -= count;
    if (!text.empty()) // the text has begun
      strips_[i] = 0;
  }
  out += text;
}

void Decoder::Stream::finish(std::string &out) {
  std::string text;
  if (decoder_->join_ == Join::ByteFallback)
    endByteRun(text);
  else
    bytes_.flush(text);
  finishText(text, out);
  *this = Stream(*decoder_, whole_);
}

} // namespace effrt
