//===- Support.cpp - views, errors and loops of compression ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Support.h"

#include "Codes.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

namespace effc::compress {

ParallelFor serial() {
  return [](int64_t count, const std::function<void(int64_t)> &body) {
    for (int64_t i = 0; i < count; ++i)
      body(i);
  };
}

ParallelFor onThreads(unsigned threads) {
  return [threads](int64_t count, const std::function<void(int64_t)> &body) {
    std::atomic<int64_t> next{0};
    auto work = [&] {
      for (int64_t i; (i = next.fetch_add(1)) < count;)
        body(i);
    };
    std::vector<std::thread> others;
    for (int64_t i = 1; i < std::min<int64_t>(threads, count); ++i)
      others.emplace_back(work);
    work();
    for (std::thread &other : others)
      other.join();
  };
}

std::string codeName(Code code) {
  std::string digits = std::to_string(unsigned(code));
  return "EFF" + std::string(4 - digits.size(), '0') + digits;
}

Error makeError(Code code, std::string what, std::string why) {
  return effrt::makeError(codeName(code), std::move(what), {}, std::move(why),
                          hintOf(code));
}

const char *hintOf(Code code) {
  switch (code) {
#define EFF_ERROR(name, number, meaning, hint)                                 \
  case Code::name:                                                             \
    return hint;
#include "effc/Support/ErrorCodes.def"
  }
  return "";
}

Error badShape(std::string what, std::string why) {
  return makeError(Code::BadCompressionShape, std::move(what), std::move(why));
}
Error badSetting(std::string what, std::string why) {
  return makeError(Code::BadCompressionSetting, std::move(what),
                   std::move(why));
}
Error badValues(std::string what, std::string why) {
  return makeError(Code::BadCompressionValues, std::move(what), std::move(why));
}

bool allFinite(MatrixView<const float> values) {
  for (int64_t i = 0; i < values.rows; ++i)
    for (int64_t j = 0; j < values.cols; ++j)
      if (!std::isfinite(values(i, j)))
        return false;
  return true;
}

} // namespace effc::compress
