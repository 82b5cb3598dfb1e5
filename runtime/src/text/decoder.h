//===- decoder.h - from the spelling of tokens to text ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A chain has up to three parts: stages on single tokens; one that makes bytes
/// or joins the tokens; stages on the text. Each can run token by token. Chains
/// that cannot be cut so are refused when the file is loaded.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_DECODER_H
#define EFFRT_SRC_TEXT_DECODER_H

#include "json.h"
#include "utf8.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace effrt {

class Decoder {
public:
  static Result<Decoder> fromJson(const JsonRef &json);

  /// What runs between two tokens of one text. Tokens must be valid UTF-8.
  class Stream {
  public:
    /// `whole`: every token is there before any text is needed, so a run of
    /// byte tokens is judged as one, as the reference does.
    Stream(const Decoder &decoder, bool whole);
    void push(std::string_view token, std::string &out);
    void finish(std::string &out);

  private:
    void joinBytes(std::string_view token, std::string &out);
    void endByteRun(std::string &out);
    void finishText(std::string &text, std::string &out);

    const Decoder *decoder_;
    bool whole_;
    bool first_ = true;
    utf8::Assembler bytes_;
    std::string run_; // of byte tokens, if `whole`
    /// How many more characters each Strip on the text may take.
    std::vector<size_t> strips_;
  };

private:
  struct Stage {
    enum class Kind { Replace, Strip, Metaspace } kind;
    std::string from, to;                // Replace, Metaspace
    size_t stripBegin = 0, stripEnd = 0; // characters equal to `from`
    bool dropAtStart = false;            // Metaspace
    /// Runs on one token, or on the text once.
    void apply(std::string &text, bool first) const;
  };
  enum class Join {
    Spaces, ///< no decoder: tokens with spaces between
    Plain,
    ByteLevel,
    ByteFallback
  };

  Status add(const JsonRef &json, const std::string &type);
  Status addStage(const JsonRef &json, Stage stage);

  std::vector<Stage> tokenStages_;
  Join join_ = Join::Spaces;
  std::vector<Stage> textStages_;
  bool joined_ = false; // while reading: later stages see the text
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_DECODER_H
