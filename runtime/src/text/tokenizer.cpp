//===- tokenizer.cpp - byte-pair tokenizer from tokenizer.json ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// text -> added tokens that are not normalized | rest
///      -> normalizer -> added tokens that are   | rest
///      -> pre-tokenizer -> words -> BPE -> post-processor
///
//===----------------------------------------------------------------------===//

#include "tokenizer_impl.h"

#include "utf8.h"

#include <new>
#include <stdexcept>

namespace effrt {

namespace {

/// Words up to this length are looked up before they are merged again.
constexpr size_t kCachedWord = 32;
constexpr size_t kCachedWords = 1 << 16;

Error outOfMemory() {
  return makeError(codes::outOfMemory,
                   "there is not enough memory for this text or tokenizer");
}

/// Runs `body`; the containers' exceptions become an Error.
template <typename Body> auto guarded(Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return outOfMemory();
  } catch (const std::length_error &) {
    return outOfMemory();
  }
}

Result<std::shared_ptr<const Tokenizer::Impl>> read(std::string_view text) {
  Result<TokenizerFile> file = TokenizerFile::parse(text);
  if (!file)
    return file.takeError();
  JsonRef root(file->json, "");

  auto impl = std::make_shared<Tokenizer::Impl>();
  auto take = [](auto result, auto &into) -> Status {
    if (!result)
      return result.takeError();
    into = result.take();
    return Status::success();
  };
  if (Status s =
          take(Bpe::fromJson(root.get("model"), file->tables), impl->model);
      !s)
    return s;
  if (Status s =
          take(Normalizer::fromJson(root.get("normalizer")), impl->normalizer);
      !s)
    return s;
  if (Status s = take(PreTokenizer::fromJson(root.get("pre_tokenizer")),
                      impl->preTokenizer);
      !s)
    return s;
  if (Status s = take(AddedTokens::fromJson(root.get("added_tokens"),
                                            impl->model, impl->normalizer),
                      impl->added);
      !s)
    return s;
  if (Status s = take(PostProcessor::fromJson(root.get("post_processor")),
                      impl->postProcessor);
      !s)
    return s;
  if (Status s = take(Decoder::fromJson(root.get("decoder")), impl->decoder);
      !s)
    return s;
  for (const auto *ids :
       {&impl->postProcessor.before, &impl->postProcessor.after})
    for (TokenId id : *ids)
      if (!impl->spelling(id))
        return root.get("post_processor")
            .fault("it adds the id " + std::to_string(id) +
                   ", which no token has");
  return std::shared_ptr<const Tokenizer::Impl>(std::move(impl));
}

} // namespace

std::optional<std::string_view> Tokenizer::Impl::spelling(TokenId id) const {
  if (const std::string *content = added.content(id))
    return *content;
  std::string_view token = model.token(id);
  if (token.empty())
    return std::nullopt;
  return token;
}

Status Tokenizer::Impl::encodeWords(std::string text, bool atStart,
                                    std::vector<TokenId> &out) const {
  Pieces pieces;
  pieces.pieces.push_back({0, text.size()});
  pieces.text = std::move(text);
  pieces.atStart = atStart;
  if (Status s = preTokenizer.apply(pieces); !s)
    return s;

  struct Range {
    size_t begin, length; // in `out`
  };
  std::unordered_map<std::string_view, Range> seen;
  Bpe::Scratch scratch;
  for (const Pieces::Piece &piece : pieces.pieces) {
    std::string_view word = pieces.view(piece);
    bool cached = word.size() <= kCachedWord;
    if (cached) {
      if (auto it = seen.find(word); it != seen.end()) {
        for (size_t i = 0; i < it->second.length; ++i)
          out.push_back(out[it->second.begin + i]);
        continue;
      }
    }
    size_t begin = out.size();
    model.encode(word, scratch, out);
    if (cached && seen.size() < kCachedWords)
      seen.emplace(word, Range{begin, out.size() - begin});
  }
  return Status::success();
}

Status Tokenizer::Impl::encodePart(std::string text, bool atStart,
                                   bool specialsAsText,
                                   std::vector<TokenId> &out) const {
  if (Status s = normalizer.apply(text); !s)
    return s;
  std::vector<AddedTokens::Part> parts;
  added.split(text, /*normalized=*/true, specialsAsText, parts);
  for (const AddedTokens::Part &part : parts) {
    if (part.token) {
      out.push_back(*part.token);
      continue;
    }
    if (part.begin == 0 && part.end == text.size())
      return encodeWords(std::move(text), atStart, out);
    if (Status s = encodeWords(text.substr(part.begin, part.end - part.begin),
                               atStart && part.begin == 0, out);
        !s)
      return s;
  }
  return Status::success();
}

Result<Tokenizer> Tokenizer::fromJson(std::string_view json) {
  return guarded([&]() -> Result<Tokenizer> {
    auto impl = read(json);
    if (!impl)
      return impl.takeError();
    return Tokenizer(impl.take());
  });
}

Result<std::vector<TokenId>>
Tokenizer::encode(std::string_view text, const EncodeOptions &options) const {
  return guarded([&]() -> Result<std::vector<TokenId>> {
    std::string repaired;
    if (!utf8::isValid(text)) {
      repaired = utf8::toValid(text);
      text = repaired;
    }
    std::vector<TokenId> ids;
    if (options.addSpecialTokens)
      ids = impl_->postProcessor.before;
    std::vector<AddedTokens::Part> parts;
    impl_->added.split(text, /*normalized=*/false, options.specialsAsText,
                       parts);
    for (const AddedTokens::Part &part : parts) {
      if (part.token) {
        ids.push_back(*part.token);
        continue;
      }
      std::string_view piece = text.substr(part.begin, part.end - part.begin);
      if (Status s = impl_->encodePart(std::string(piece), part.begin == 0,
                                       options.specialsAsText, ids);
          !s)
        return s;
    }
    const auto &after = impl_->postProcessor.after;
    if (options.addSpecialTokens)
      ids.insert(ids.end(), after.begin(), after.end());
    return ids;
  });
}

std::string Tokenizer::decode(const std::vector<TokenId> &ids,
                              bool skipSpecialTokens) const {
  Decoder::Stream stream(impl_->decoder, /*whole=*/true);
  std::string text;
  for (TokenId id : ids) {
    if (skipSpecialTokens && impl_->added.isSpecial(id))
      continue;
    if (auto token = impl_->spelling(id))
      stream.push(*token, text);
  }
  stream.finish(text);
  return text;
}

std::optional<TokenId> Tokenizer::tokenToId(std::string_view token) const {
  if (auto id = impl_->added.find(token))
    return id;
  return impl_->model.find(token);
}

std::optional<std::string_view> Tokenizer::idToToken(TokenId id) const {
  return impl_->spelling(id);
}

bool Tokenizer::isSpecial(TokenId id) const {
  return impl_->added.isSpecial(id);
}

size_t Tokenizer::vocabSize() const {
  return std::max(impl_->model.size(), impl_->added.size());
}

} // namespace effrt
