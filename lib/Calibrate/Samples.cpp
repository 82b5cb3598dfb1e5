//===- Samples.cpp - what a calibration runs a model on -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Samples.h"

#include "effc/Support/Error.h"
#include "effrt/text/tokenizer.h"
#include "images.h"
#include "npy.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <cmath>

using namespace effc;
using effrt::TokenId;
using effrt::tools::NpyArray;

namespace {

using Sequences = std::vector<std::vector<TokenId>>;
using Arrays = std::map<std::string, NpyArray>;

/// `count` of the elements, spread evenly.
void thin(Sequences &sequences, int64_t count) {
  int64_t total = int64_t(sequences.size());
  if (total <= count)
    return;
  Sequences chosen;
  for (int64_t i = 0; i < count; ++i)
    chosen.push_back(std::move(sequences[i * total / count]));
  sequences = std::move(chosen);
}

class TokenSamples : public Samples {
public:
  explicit TokenSamples(Sequences sequences)
      : sequences(std::move(sequences)) {}

  int64_t count() const override { return int64_t(sequences.size()); }
  effrt::Status run(effrt::Engine &engine, int64_t index) override {
    if (effrt::Status status = engine.reset(0); !status)
      return status;
    // Every position counts, as in training.
    return engine.score(0, sequences[index],
                        [](size_t, const float *) { return true; });
  }

private:
  Sequences sequences;
};

/// Tensors for a forward entry: one sample is one element of the batch.
class TensorSamples : public Samples {
public:
  int64_t count() const override { return samples; }
  effrt::Status run(effrt::Engine &engine, int64_t index) override {
    std::vector<effrt::TensorView> views;
    for (size_t i = 0; i < entry->inputs.size(); ++i) {
      fill(i, index);
      views.push_back(
          {entry->inputs[i].name, buffers[i].data(), entry->inputs[i].bytes()});
    }
    return engine.forward(views, {}, entry->name);
  }

protected:
  void setEntry(const effrt::EntryInfo &info) {
    entry = &info;
    for (const effrt::TensorInfo &input : info.inputs)
      buffers.emplace_back(input.bytes());
  }
  /// Writes a sample into the first place of an input's batch.
  virtual void fill(size_t input, int64_t index) = 0;

  const effrt::EntryInfo *entry = nullptr;
  int64_t samples = 0;
  std::vector<std::vector<uint8_t>> buffers;
};

class ImageSamples : public TensorSamples {
public:
  ImageSamples(Arrays given, int64_t most) : arrays(std::move(given)) {
    samples = most;
  }
  effrt::Status open(const effrt::Manifest &manifest,
                     const std::string &where) {
    auto made = effrt::tools::Images::create(arrays, manifest, where);
    if (!made)
      return made.takeError();
    images = made.take();
    setEntry(images.entry());
    samples = std::min(samples, images.count());
    return effrt::Status::success();
  }

private:
  void fill(size_t input, int64_t index) override {
    images.fill(index * images.count() / samples, 1,
                reinterpret_cast<float *>(buffers[input].data()));
  }
  Arrays arrays;
  effrt::tools::Images images;
};

/// Arrays with the names of the model's inputs.
class ArraySamples : public TensorSamples {
public:
  ArraySamples(Arrays given, int64_t most) : arrays(std::move(given)) {
    samples = most;
  }

  llvm::Error open(const effrt::Manifest &manifest, const std::string &where) {
    for (const effrt::EntryInfo &info : manifest.entries)
      if (info.kind == EFF_ENTRY_FORWARD)
        setEntry(info);
    for (const effrt::TensorInfo &input : entry->inputs) {
      auto found = arrays.find(input.name);
      std::vector<int64_t> shape = input.shape;
      if (found == arrays.end() || shape.empty() ||
          input.dtype != effrt::DType::F32 || found->second.dtype != "f4" ||
          found->second.shape.size() != shape.size() ||
          !std::equal(shape.begin() + 1, shape.end(),
                      found->second.shape.begin() + 1))
        return makeError(ErrorCode::BadInput,
                         "the archive has nothing for the input '" +
                             input.name + "'",
                         where, "",
                         "an .npz with images [n, height, width, channels] "
                         "uint8, or with float32 arrays [n, ..] named as the "
                         "inputs");
      total = found->second.shape[0];
      samples = std::min(samples, total);
    }
    return llvm::Error::success();
  }

private:
  void fill(size_t input, int64_t index) override {
    const effrt::TensorInfo &info = entry->inputs[input];
    const NpyArray &array = arrays.at(info.name);
    size_t bytes = info.bytes() / size_t(info.shape[0]);
    std::memcpy(buffers[input].data(),
                array.bytes.data() + size_t(index * total / samples) * bytes,
                bytes);
  }
  Arrays arrays;
  int64_t total = 0;
};

/// Reads one file for one model.
class Reader {
public:
  Reader(const CalibrateOptions &options, const effrt::Manifest &manifest)
      : options(options), manifest(manifest) {
    length = options.sampleTokens;
    if (manifest.maxLength > 0)
      length = std::min(length, manifest.maxLength);
  }

  llvm::Expected<std::unique_ptr<Samples>> read() {
    llvm::StringRef extension = llvm::sys::path::extension(options.samples);
    bool isArchive = extension == ".npz", isArray = extension == ".npy";
    bool takesTokens =
        llvm::any_of(manifest.entries, [](const effrt::EntryInfo &info) {
          return info.kind != EFF_ENTRY_FORWARD;
        });
    if (!takesTokens) {
      if (!isArchive)
        return makeError(ErrorCode::BadInput, "the model takes no text",
                         options.samples, "its inputs are tensors",
                         "an .npz with images [n, height, width, channels] "
                         "uint8, or with arrays named as the inputs");
      return readTensors();
    }
    llvm::Expected<Sequences> sequences =
        isArchive || isArray ? readIds(isArchive) : readText();
    if (!sequences)
      return sequences.takeError();
    thin(*sequences, options.sampleCount);
    if (sequences->empty())
      return makeError(ErrorCode::BadInput, "there is nothing to calibrate on",
                       options.samples, "the file holds no token",
                       "a text of some thousand words in the model's language");
    uint64_t tokens = 0;
    for (const std::vector<TokenId> &sequence : *sequences)
      tokens += sequence.size();
    std::string description = std::to_string(sequences->size()) + " samples, " +
                              std::to_string(tokens) + " tokens of " +
                              getName();
    auto samples = std::make_unique<TokenSamples>(std::move(*sequences));
    samples->description = std::move(description);
    return samples;
  }

private:
  std::string getName() const {
    return llvm::sys::path::filename(options.samples).str();
  }

  llvm::Expected<Arrays> readArrays() {
    auto arrays = effrt::tools::readNpz(options.samples);
    if (!arrays)
      return toError(arrays.error());
    return arrays.take();
  }

  llvm::Expected<std::unique_ptr<Samples>> readTensors() {
    llvm::Expected<Arrays> arrays = readArrays();
    if (!arrays)
      return arrays.takeError();
    std::unique_ptr<Samples> result;
    if (arrays->count("images")) {
      auto images = std::make_unique<ImageSamples>(std::move(*arrays),
                                                   options.sampleCount);
      if (effrt::Status status = images->open(manifest, options.samples);
          !status)
        return toError(status.error());
      result = std::move(images);
    } else {
      auto tensors = std::make_unique<ArraySamples>(std::move(*arrays),
                                                    options.sampleCount);
      if (llvm::Error error = tensors->open(manifest, options.samples))
        return std::move(error);
      result = std::move(tensors);
    }
    if (result->count() == 0)
      return makeError(ErrorCode::BadInput, "there is nothing to calibrate on",
                       options.samples, "the arrays are empty");
    result->description =
        std::to_string(result->count()) + " samples of " + getName();
    return result;
  }

  /// Appends consecutive windows.
  void addWindows(llvm::ArrayRef<TokenId> ids, Sequences &sequences) {
    // What is left over is used only when it is all there is.
    if (int64_t(ids.size()) < length && !ids.empty())
      sequences.emplace_back(ids.begin(), ids.end());
    for (; int64_t(ids.size()) >= length; ids = ids.drop_front(length))
      sequences.emplace_back(ids.begin(), ids.begin() + length);
  }

  llvm::Expected<Sequences> readIds(bool isArchive) {
    NpyArray array;
    if (isArchive) {
      llvm::Expected<Arrays> arrays = readArrays();
      if (!arrays)
        return arrays.takeError();
      for (const char *name : {"ids", "input_ids", "tokens"})
        if (arrays->count(name) && array.shape.empty())
          array = std::move(arrays->at(name));
      if (array.shape.empty())
        return makeError(ErrorCode::BadInput, "the archive holds no token ids",
                         options.samples, "", "an .npz with ids [n, length]");
    } else {
      auto read = effrt::tools::readNpy(options.samples);
      if (!read)
        return toError(read.error());
      array = read.take();
    }
    bool isInteger = array.dtype[0] == 'i' || array.dtype[0] == 'u';
    if (!isInteger || array.shape.empty() || array.shape.size() > 2)
      return makeError(
          ErrorCode::BadInput, "the array holds no token ids", options.samples,
          "they are integers of the shape [n, length] or [length]");
    Sequences sequences;
    int64_t rows = array.shape.size() == 2 ? array.shape[0] : 1;
    int64_t columns = array.shape.back();
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<TokenId> ids;
      for (int64_t c = 0; c < columns; ++c) {
        double id = array.at(r * columns + c);
        if (id < 0 || id >= manifest.vocab)
          return makeError(ErrorCode::BadTokens,
                           "token id " + std::to_string(int64_t(id)) +
                               " is outside the vocabulary",
                           options.samples,
                           "ids are from 0 to " +
                               std::to_string(manifest.vocab - 1));
        ids.push_back(TokenId(id));
      }
      addWindows(ids, sequences);
    }
    return sequences;
  }

  llvm::Expected<Sequences> readText() {
    auto buffer = llvm::MemoryBuffer::getFile(options.samples);
    if (!buffer)
      return makeError(ErrorCode::FileNotFound, "cannot read the samples",
                       options.samples, buffer.getError().message());
    llvm::StringRef text = (*buffer)->getBuffer();
    if (options.tokenizer.empty())
      return makeError(
          ErrorCode::NoTokenizer, "the model has no tokenizer for the text",
          options.samples, "", "--tokenizer FILE, or an .npy of token ids");
    auto tokenizer = effrt::Tokenizer::fromJson(options.tokenizer);
    if (!tokenizer)
      return toError(tokenizer.error());
    effrt::EncodeOptions plain;
    plain.addSpecialTokens = false;
    Sequences sequences;
    if (options.cut == SampleCut::Windows) {
      auto ids = tokenizer->encode(text, plain);
      if (!ids)
        return toError(ids.error(), options.samples);
      addWindows(*ids, sequences);
      return sequences;
    }
    for (llvm::StringRef part : splitDocuments(text)) {
      auto ids = tokenizer->encode(part, plain);
      if (!ids)
        return toError(ids.error(), options.samples);
      if (ids->empty())
        continue;
      if (int64_t(ids->size()) > length)
        ids->resize(size_t(length));
      sequences.push_back(std::move(*ids));
    }
    return sequences;
  }

  /// The parts between lines that hold nothing but blanks, those chosen that
  /// will be samples.
  llvm::SmallVector<llvm::StringRef> splitDocuments(llvm::StringRef text) {
    llvm::SmallVector<llvm::StringRef> parts;
    const char *begin = nullptr;
    for (llvm::StringRef rest = text; !rest.empty();) {
      auto [line, next] = rest.split('\n');
      bool isBlank = line.trim().empty();
      if (!isBlank && !begin)
        begin = line.begin();
      if (begin && (isBlank || next.empty())) {
        const char *end = isBlank ? line.begin() : line.end();
        parts.push_back(llvm::StringRef(begin, size_t(end - begin)).rtrim());
        begin = nullptr;
      }
      rest = next;
    }
    int64_t total = int64_t(parts.size());
    if (total <= options.sampleCount)
      return parts;
    llvm::SmallVector<llvm::StringRef> chosen;
    for (int64_t i = 0; i < options.sampleCount; ++i)
      chosen.push_back(parts[i * total / options.sampleCount]);
    return chosen;
  }

  const CalibrateOptions &options;
  const effrt::Manifest &manifest;
  int64_t length;
};

} // namespace

llvm::Expected<std::unique_ptr<Samples>>
Samples::read(const CalibrateOptions &options,
              const effrt::Manifest &manifest) {
  return Reader(options, manifest).read();
}
