//===- Toy.h - hand-made model files for tests ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_RUNTIME_TOY_FILES_H
#define EFFC_UNITTESTS_RUNTIME_TOY_FILES_H

#include "effrt/engine.h"
#include "effrt/loader.h"
#include "toy.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace effrt::test {

/// What a model has; must agree with the macros that its code is built with.
struct ToyKind {
  std::string code; ///< name of the code file, "both"
  bool cache = true, recurrent = true, forward = false;
  size_t weightBytes = 0; ///< 0: what is used
};
inline ToyKind both() { return {"both", true, true, false, 0}; }
inline ToyKind cacheOnly() { return {"cache", true, false, false, 0}; }
inline ToyKind recurrentOnly() { return {"recurrent", false, true, false, 0}; }
inline ToyKind tensors() { return {"forward", false, false, true, 0}; }

/// A directory that is gone at the end of the test.
class TempDir {
public:
  TempDir();
  ~TempDir();
  std::string operator/(const std::string &name) const {
    return path_ + "/" + name;
  }
  const std::string &path() const { return path_; }

private:
  std::string path_;
};

std::string readFile(const std::string &path);
void writeFile(const std::string &path, const std::string &bytes);

std::string toyManifest(const ToyKind &kind);
std::string toyWeights();
/// Writes a model file and gives its path.
std::string makeToy(const TempDir &dir, const ToyKind &kind,
                    const std::string &name = "toy.eff");
/// The same, opened.
std::shared_ptr<const Model> openToy(const TempDir &dir, const ToyKind &kind);
std::unique_ptr<Engine> makeEngine(std::shared_ptr<const Model> model,
                                   int threads = 1, int sequences = 1);

/// What the model's logits after the last of `tokens` must be.
std::vector<float> expectedLogits(const ToyKind &kind,
                                  const std::vector<TokenId> &tokens);
std::vector<float> logitsOf(const Engine &engine, const float *logits,
                            size_t row = 0);
/// `count` token ids that look random.
std::vector<TokenId> someTokens(size_t count, unsigned seed = 1);

#define ASSERT_OK(expression)                                                  \
  do {                                                                         \
    auto &&result_ = (expression);                                             \
    ASSERT_TRUE(result_.ok()) << result_.error().format();                     \
  } while (false)
#define EXPECT_OK(expression)                                                  \
  do {                                                                         \
    auto &&result_ = (expression);                                             \
    EXPECT_TRUE(result_.ok()) << result_.error().format();                     \
  } while (false)
#define EXPECT_ERROR(expression, expectedCode)                                 \
  do {                                                                         \
    auto &&result_ = (expression);                                             \
    if (result_.ok())                                                          \
      ADD_FAILURE() << "should fail with " << (expectedCode);                  \
    else                                                                       \
      EXPECT_EQ(result_.error().code, (expectedCode))                          \
          << result_.error().format();                                         \
  } while (false)

} // namespace effrt::test

#endif // EFFC_UNITTESTS_RUNTIME_TOY_FILES_H
