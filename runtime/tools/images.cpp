//===- images.cpp - images in .npz files as a model's input ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "images.h"

#include "effrt/codes.h"

#include <nlohmann/json.hpp>

using namespace effrt;
using namespace effrt::tools;
using nlohmann::json;

Result<Images> Images::create(const std::map<std::string, NpyArray> &arrays,
                              const Manifest &manifest,
                              const std::string &where) {
  auto found = arrays.find("images");
  if (found == arrays.end() || found->second.shape.size() != 4 ||
      found->second.dtype != "u1")
    return fail(Code::BadInput, "the archive holds no images", where, "",
                "an .npz with images [n, height, width, channels] uint8");
  Images images;
  images.array_ = &found->second;
  const std::vector<int64_t> &shape = found->second.shape;
  for (const EntryInfo &e : manifest.entries)
    if (e.kind == EFF_ENTRY_FORWARD &&
        (!images.entry_ || e.batch > images.entry_->batch))
      images.entry_ = &e;
  const EntryInfo *entry = images.entry_;
  if (!entry || entry->inputs.size() != 1 || entry->outputs.empty() ||
      entry->inputs[0].dtype != DType::F32 ||
      entry->inputs[0].shape !=
          std::vector<int64_t>{entry->batch, shape[3], shape[1], shape[2]})
    return fail(Code::BadInput, "the model does not take these images", where);
  images.count_ = shape[0];
  images.pixels_ = shape[1] * shape[2];
  images.channels_ = shape[3];
  images.mean_.assign(static_cast<size_t>(shape[3]), 0.5);
  images.deviation_ = images.mean_;
  json config = json::parse(manifest.config, nullptr, false);
  for (auto [name, values] :
       {std::pair{"mean", &images.mean_}, {"std", &images.deviation_}})
    if (config.is_object() && config.contains(name) &&
        config[name].is_array() && config[name].size() == values->size())
      for (size_t c = 0; c < values->size(); ++c)
        if (config[name][c].is_number())
          (*values)[c] = config[name][c].get<double>();
  return images;
}

void Images::fill(int64_t first, int64_t count, float *input) const {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t p = 0; p < pixels_; ++p)
      for (int64_t c = 0; c < channels_; ++c) {
        double value = array_->bytes[static_cast<size_t>(
                           ((first + i) * pixels_ + p) * channels_ + c)] /
                       255.0;
        auto ch = static_cast<size_t>(c);
        input[(i * channels_ + c) * pixels_ + p] =
            static_cast<float>((value - mean_[ch]) / deviation_[ch]);
      }
}
