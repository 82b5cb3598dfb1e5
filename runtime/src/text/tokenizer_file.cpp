//===- tokenizer_file.cpp - a parsed tokenizer.json -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "tokenizer_file.h"

#include <optional>

namespace effrt {

namespace {

constexpr size_t kMaxDepth = 64; // real files stay below 10

/// Takes the parser's events. Returning false ends the parse; `error` then says
/// why.
class Reader {
public:
  explicit Reader(TokenizerFile &file) : file_(file) {}

  std::optional<Error> error;

  bool null() { return scalar(nullptr); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(Json::number_integer_t value) { return scalar(value); }
  bool number_float(Json::number_float_t value, const std::string &) {
    return scalar(value);
  }
  bool binary(Json::binary_t &) { return false; } // JSON text has none

  bool number_unsigned(Json::number_unsigned_t value) {
    if (place_ != Place::Vocab)
      return scalar(value);
    file_.tables.vocab.push_back({key_, value});
    return true;
  }

  bool string(std::string &value) {
    if (place_ == Place::Merges)
      return mergeLine(value);
    if (place_ == Place::MergePair)
      return mergePart(value);
    return scalar(std::move(value));
  }

  bool start_object(size_t) {
    if (place_ != Place::Elsewhere)
      return wrongType();
    if (isModelMember("vocab")) {
      place_ = Place::Vocab;
      file_.tables.vocab.clear();
    }
    return open(Json::object());
  }

  bool end_object() { return close(); }

  bool start_array(size_t) {
    if (place_ == Place::Merges) {
      place_ = Place::MergePair;
      parts_ = 0;
      merge_.rank = mergeCount_;
      return true;
    }
    if (place_ != Place::Elsewhere)
      return wrongType();
    if (isModelMember("merges")) {
      place_ = Place::Merges;
      file_.tables.merges.clear();
      mergeCount_ = 0;
    }
    return open(Json::array());
  }

  bool end_array() {
    if (place_ != Place::MergePair)
      return close();
    if (parts_ != 2)
      return wrongType();
    place_ = Place::Merges;
    file_.tables.merges.push_back(merge_);
    ++mergeCount_;
    return true;
  }

  bool key(std::string &key) {
    if (place_ == Place::Vocab)
      key_ = file_.tables.add(key);
    else
      names_.back() = std::move(key);
    return true;
  }

  bool parse_error(size_t, const std::string &, const Json::exception &e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string why = e.what();
    if (size_t end = why.find("] "); end != std::string::npos)
      why.erase(0, end + 2);
    error = unreadable(std::move(why));
    return false;
  }

  static Error unreadable(std::string why) {
    return makeError(codes::badTokenizer, "the tokenizer file is not readable",
                     "tokenizer.json", std::move(why),
                     "check that the file is complete");
  }

private:
  enum class Place { Elsewhere, Vocab, Merges, MergePair };

  bool isModelMember(std::string_view name) const {
    return names_.size() == 2 && names_[0] == "model" && names_[1] == name &&
           open_.back()->is_object();
  }

  bool wrongType() {
    Json unused;
    JsonRef vocab(unused, "model.vocab"), merges(unused, "model.merges");
    error = place_ == Place::Vocab
                ? vocab.fault("the id of \"" +
                              std::string(file_.tables.view(key_)) +
                              "\" is not a whole number")
                : merges.at(mergeCount_).fault("expected two tokens");
    return false;
  }

  bool mergeLine(std::string_view line) {
    uint32_t rank = mergeCount_++;
    if (line.substr(0, 8) == "#version")
      return true;
    size_t space = line.find(' ');
    if (space == std::string_view::npos ||
        line.find(' ', space + 1) != std::string_view::npos) {
      --mergeCount_;
      return wrongType();
    }
    ModelTables &tables = file_.tables;
    tables.merges.push_back({tables.add(line.substr(0, space)),
                             tables.add(line.substr(space + 1)), rank});
    return true;
  }

  bool mergePart(std::string_view token) {
    if (++parts_ > 2)
      return wrongType();
    (parts_ == 1 ? merge_.left : merge_.right) = file_.tables.add(token);
    return true;
  }

  bool scalar(Json value) {
    if (place_ != Place::Elsewhere)
      return wrongType();
    put(std::move(value));
    return true;
  }

  /// Puts a value where it belongs in the tree, and says where that is.
  Json *put(Json value) {
    if (open_.empty()) {
      file_.json = std::move(value);
      return &file_.json;
    }
    Json &parent = *open_.back();
    if (parent.is_object())
      return &(parent[names_.back()] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }

  bool open(Json container) {
    if (open_.size() == kMaxDepth) {
      error = unreadable("it is nested more than " + std::to_string(kMaxDepth) +
                         " levels deep");
      return false;
    }
    open_.push_back(put(std::move(container)));
    names_.emplace_back();
    return true;
  }

  bool close() {
    place_ = Place::Elsewhere;
    open_.pop_back();
    names_.pop_back();
    return true;
  }

  TokenizerFile &file_;
  /// Containers that are open. A container grows only while it is the last, so
  /// the others do not move.
  std::vector<Json *> open_;
  std::vector<std::string> names_; // the member being read in each of them
  Place place_ = Place::Elsewhere;
  ModelTables::Text key_;
  ModelTables::Merge merge_;
  int parts_ = 0;
  uint32_t mergeCount_ = 0;
};

} // namespace

Result<TokenizerFile> TokenizerFile::parse(std::string_view text) {
  TokenizerFile file;
  Reader reader(file);
  bool read = Json::sax_parse(text.begin(), text.end(), &reader);
  if (reader.error)
    return std::move(*reader.error);
  if (!read)
    return Reader::unreadable("it is not JSON");
  if (!file.json.is_object())
    return Reader::unreadable("it holds no JSON object");
  return file;
}

} // namespace effrt
