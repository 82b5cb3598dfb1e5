//===- CalibrateTest.cpp - observers see what the model computes ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ObservedModel.h"
#include "TestModels.h"

#include "effc/Reference/Interpreter.h"
#include "effc/Support/Error.h"
#include "npy.h"
#include "gtest/gtest.h"

#include <cmath>
#include <fstream>

using namespace effc;
using namespace effc::test;
using compress::ObserverKind;
using reference::Tensor;

namespace {

/// The code of an error, "" for success.
std::string codeOf(llvm::Error error) {
  std::string code;
  llvm::handleAllErrors(std::move(error),
                        [&](const UserError &e) { code = codeName(e.code); });
  return code;
}

class CalibrateTest : public ::testing::Test {
protected:
  /// Token ids in a file, [rows][columns].
  std::string writeIds(int64_t rows, int64_t columns, int64_t most = kVocab) {
    effrt::tools::NpyArray array;
    array.dtype = "i4";
    array.shape = {rows, columns};
    ids.clear();
    for (int64_t i = 0; i < rows * columns; ++i)
      ids.push_back(int32_t((i * i * 7 + i * 13 + 5) % most));
    array.bytes.resize(ids.size() * 4);
    std::memcpy(array.bytes.data(), ids.data(), array.bytes.size());
    std::string path = dir.file("ids.npy");
    EXPECT_TRUE(effrt::tools::writeNpy(path, array).ok());
    return path;
  }

  std::string writeText(const std::string &text) {
    std::string path = dir.file("text.txt");
    std::ofstream(path) << text;
    return path;
  }

  CalibrateOptions optionsFor(const std::string &samples, int64_t tokens) {
    CalibrateOptions options;
    options.samples = samples;
    options.sampleTokens = tokens;
    options.threads = 2;
    return options;
  }

  static ObserveRequest request(const std::string &text) {
    auto parsed = parseObserveRequest(text);
    if (!parsed) {
      ADD_FAILURE() << llvm::toString(parsed.takeError());
      return {};
    }
    return *parsed;
  }

  TempDir dir;
  std::vector<int32_t> ids;
};

struct Model {
  const char *name;
  std::string (*text)();
  /// Values that must have names.
  std::vector<std::string> values;
};

class EachModel : public CalibrateTest,
                  public ::testing::WithParamInterface<Model> {};

/// The largest magnitude of each channel over the first `valid` rows.
void addMaxima(std::vector<double> &maxima, const std::vector<float> &data,
               int64_t valid) {
  for (int64_t i = 0; i < valid * int64_t(maxima.size()); ++i) {
    double &max = maxima[i % maxima.size()];
    max = std::max<double>(max, std::fabs(data[i]));
  }
}

} // namespace

TEST_P(EachModel, ObservesWhatTheReferenceComputes) {
  // 21 tokens run as 16 and 5 with 11 of padding.
  constexpr int64_t kRows = 3, kLength = 21;
  TestModule module(GetParam().text());
  CalibrateOptions options = optionsFor(writeIds(kRows, kLength), kLength);
  if (llvm::StringRef(GetParam().name) != "attention")
    options.observe.push_back(request("state:*=channel-abs-max"));
  auto calibration = calibrate(module.get(), options);
  ASSERT_TRUE(bool(calibration)) << llvm::toString(calibration.takeError());

  // The same function, giving out its values, in the interpreter.
  auto entry = module.get().lookupSymbol<mlir::func::FuncOp>("prefill_b1_t16");
  mlir::OwningOpRef<mlir::ModuleOp> copy = cloneEntry(module.get(), entry);
  ASSERT_TRUE(bool(copy));
  auto func = *copy->getOps<mlir::func::FuncOp>().begin();
  std::vector<NamedValue> values = nameValues(func);
  auto ret = llvm::cast<mlir::func::ReturnOp>(func.front().getTerminator());
  std::vector<std::vector<double>> maxima;
  for (const NamedValue &value : values) {
    auto type = llvm::cast<mlir::RankedTensorType>(value.value.getType());
    ASSERT_TRUE(
        mlir::succeeded(func.insertResult(func.getNumResults(), type, {})));
    ret->insertOperands(ret.getNumOperands(), value.value);
    maxima.emplace_back(size_t(type.getShape().back()));
  }
  reference::Interpreter<float> interpreter(*copy);
  std::map<std::string, std::vector<double>> states;
  for (int64_t row = 0; row < kRows; ++row) {
    reference::Sequence<float> sequence = interpreter.createSequence();
    for (int64_t at = 0; at < kLength; at += 16) {
      int64_t valid = std::min<int64_t>(16, kLength - at);
      std::vector<int64_t> chunk(16, 0);
      for (int64_t t = 0; t < valid; ++t)
        chunk[t] = ids[row * kLength + at + t];
      auto results = interpreter.run(
          func, {Tensor<float>::fromIntegers({1, 16}, chunk)},
          {reference::Row<float>{&sequence, valid}}, /*allLogits=*/true);
      ASSERT_TRUE(bool(results)) << llvm::toString(results.takeError());
      for (size_t i = 0; i < values.size(); ++i)
        addMaxima(maxima[i], (*results)[i + 1].floats, valid);
      // States amid a sample count, too.
      for (auto &[name, data] : sequence.buffers) {
        states[name].resize(data.size());
        addMaxima(states[name], data, 1);
      }
    }
  }

  // f32 sums of at most 40 terms in another order.
  auto expectNear = [](const std::vector<float> &got,
                       const std::vector<double> &wanted,
                       const std::string &name) {
    ASSERT_EQ(got.size(), wanted.size()) << name;
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], wanted[i], 1e-4 * (1 + wanted[i]))
          << name << " channel " << i;
  };
  std::set<std::string> names;
  for (size_t i = 0; i < values.size(); ++i)
    for (const std::string &name : values[i].names) {
      names.insert(name);
      const compress::Observer *observer =
          findObserver(*calibration, name, ObserverKind::ChannelAbsMax);
      ASSERT_TRUE(observer) << name;
      EXPECT_EQ(observer->getRows(), kRows * kLength) << name;
      EXPECT_EQ(observer->getSamples(), kRows) << name;
      expectNear(*observer->getValues(), maxima[i], name);
    }
  for (const std::string &name : GetParam().values)
    EXPECT_TRUE(names.count(name)) << name;
  for (auto state : module.get().getOps<eff::StateOp>()) {
    std::string name = state.getSymName().str();
    const compress::Observer *observer = findObserver(
        *calibration, "state:@" + name, ObserverKind::ChannelAbsMax);
    ASSERT_TRUE(observer) << name;
    EXPECT_EQ(observer->getRows(), kRows * 2);
    expectNear(*observer->getValues(), states[name], name);
  }
}

TEST_P(EachModel, TheSameBitsForAnyNumberOfThreads) {
  TestModule module(GetParam().text());
  std::string arrays;
  for (unsigned threads : {1u, 2u, 3u}) {
    CalibrateOptions options = optionsFor(writeIds(4, 19), 19);
    options.threads = threads;
    options.observe.push_back(request("linear:*:in=hessian"));
    options.observe.push_back(
        request("*:in=running-percentile:alpha=0.9:sigma=0.25"));
    auto calibration = calibrate(module.get(), options);
    ASSERT_TRUE(bool(calibration)) << llvm::toString(calibration.takeError());
    auto files = calibration->serialize("arrays");
    ASSERT_TRUE(bool(files));
    if (threads == 1)
      arrays = files->arrays;
    EXPECT_TRUE(files->arrays == arrays) << threads << " threads";
  }
}

TEST_P(EachModel, NamesAndFingerprintDoNotDependOnTheEntryPoint) {
  TestModule module(GetParam().text());
  std::vector<std::vector<std::string>> first;
  std::string print = fingerprintModel(module.get());
  for (auto func : llvm::to_vector(module.get().getOps<mlir::func::FuncOp>())) {
    mlir::OwningOpRef<mlir::ModuleOp> copy = cloneEntry(module.get(), func);
    ASSERT_TRUE(bool(copy));
    std::vector<std::vector<std::string>> names;
    for (const NamedValue &value :
         nameValues(*copy->getOps<mlir::func::FuncOp>().begin()))
      names.push_back(value.names);
    if (first.empty())
      first = names;
    EXPECT_EQ(names, first);
    mlir::OwningOpRef<mlir::ModuleOp> only = module.get().clone();
    for (auto other :
         llvm::make_early_inc_range(only->getOps<mlir::func::FuncOp>()))
      if (other.getSymName() != func.getSymName())
        other.erase();
    EXPECT_EQ(fingerprintModel(*only), print) << func.getSymName().str();
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, EachModel,
    ::testing::Values(
        Model{"mamba1",
              mamba1Model,
              {"embed:@embed:out", "norm:@norm:out", "linear:@in:in",
               "linear:@in:out", "conv:@conv:in", "conv:@conv:out",
               "linear:@xproj:in", "ssm:@ssm:u", "ssm:@ssm:dt", "ssm:@ssm:b",
               "ssm:@ssm:c", "ssm:@ssm:z", "ssm:@ssm:out", "linear:@embed:in",
               "norm:@norm+1:in"}},
        Model{"mamba2",
              mamba2Model,
              {"ssd:@ssm:x", "ssd:@ssm:dt", "ssd:@ssm:b", "ssd:@ssm:c",
               "ssd:@ssm:out", "norm:@gate:gate", "norm:@gate:out",
               "linear:@out:in"}},
        Model{"attention",
              attentionModel,
              {"attention:@key:q", "attention:@key:out", "cache:@key:in",
               "cache:@value:in", "linear:@down:in", "linear:@up:in"}}),
    [](const auto &info) { return info.param.name; });

TEST_F(CalibrateTest, ValuesWithSeveralNamesAreObservedOnce) {
  TestModule module(attentionModel());
  CalibrateOptions options = optionsFor(writeIds(2, 16), 16);
  options.defaults = false;
  options.observe = {request("linear:*:in=hessian")};
  auto calibration = calibrate(module.get(), options);
  ASSERT_TRUE(bool(calibration)) << llvm::toString(calibration.takeError());
  auto find = [&](const char *name) {
    return findObserver(*calibration, name, ObserverKind::Hessian);
  };
  ASSERT_TRUE(find("linear:@up:in"));
  EXPECT_EQ(find("linear:@up:in"), find("linear:@act:in"));
  EXPECT_EQ(find("linear:@up:in"), find("norm:@norm+1:out"));
  EXPECT_NE(find("linear:@up:in"), find("linear:@down:in"));
  // Saved and loaded, both names are still there.
  std::string path = dir.file("model.calib");
  ASSERT_FALSE(bool(saveCalibration(*calibration, path)));
  auto loaded = loadCalibration(path, module.get());
  ASSERT_TRUE(bool(loaded)) << llvm::toString(loaded.takeError());
  auto *up = findObserver(*loaded, "linear:@up:in", ObserverKind::Hessian);
  ASSERT_TRUE(up);
  EXPECT_EQ(up, findObserver(*loaded, "linear:@act:in", ObserverKind::Hessian));
  EXPECT_EQ(*up->getValues(), *find("linear:@up:in")->getValues());
}

TEST_F(CalibrateTest, TheLastRequestOfAKindWins) {
  TestModule module(mamba2Model());
  CalibrateOptions options = optionsFor(writeIds(2, 16), 16);
  options.observe = {request("*:x=running-percentile:alpha=0.5"),
                     request("ssd:@ssm:x=running-percentile:alpha=1")};
  auto calibration = calibrate(module.get(), options);
  ASSERT_TRUE(bool(calibration)) << llvm::toString(calibration.takeError());
  auto *percentile =
      findObserver(*calibration, "ssd:@ssm:x", ObserverKind::RunningPercentile);
  ASSERT_TRUE(percentile);
  EXPECT_EQ(percentile->getSettings().alpha, 1);
}

TEST_F(CalibrateTest, ModelsWithoutTokensRefuseThem) {
  TestModule module(imageModel());
  EXPECT_EQ(
      codeOf(
          calibrate(module.get(), optionsFor(writeIds(1, 16), 16)).takeError()),
      "EFF0607");
}

//===-- What is refused ---------------------------------------------------===//

TEST_F(CalibrateTest, OtherModelsAreRefused) {
  TestModule module(mamba2Model()), other(mamba1Model());
  CalibrateOptions options = optionsFor(writeIds(1, 16), 16);
  auto calibration = calibrate(module.get(), options);
  ASSERT_TRUE(bool(calibration));
  std::string path = dir.file("model.calib");
  ASSERT_FALSE(bool(saveCalibration(*calibration, path)));
  EXPECT_EQ(codeOf(loadCalibration(path, other.get()).takeError()), "EFF0413");
  // One changed number of one weight.
  std::string text = mamba2Model();
  size_t at = text.find("@out :");
  at = text.find("\"0x", at) + 20;
  text[at] = text[at] == '0' ? '1' : '0';
  TestModule changed(text);
  EXPECT_EQ(codeOf(loadCalibration(path, changed.get()).takeError()),
            "EFF0413");
  // A setting of an op.
  text = mamba2Model();
  for (size_t i; (i = text.find("eps = 1.0e-5")) != std::string::npos;)
    text.replace(i, 12, "eps = 2.0e-5");
  TestModule settings(text);
  EXPECT_EQ(codeOf(loadCalibration(path, settings.get()).takeError()),
            "EFF0413");
}

TEST_F(CalibrateTest, BadSamplesAreRefused) {
  TestModule module(mamba2Model());
  auto codeFor = [&](const CalibrateOptions &options) {
    return codeOf(calibrate(module.get(), options).takeError());
  };
  EXPECT_EQ(codeFor(optionsFor(dir.file("none.txt"), 16)), "EFF0101");
  EXPECT_EQ(codeFor(optionsFor(dir.file("none.npy"), 16)), "EFF0101");
  // Text without a tokenizer, a damaged tokenizer, no text.
  CalibrateOptions text = optionsFor(writeText("The river"), 16);
  EXPECT_EQ(codeFor(text), "EFF0702");
  text.tokenizer = "{";
  EXPECT_EQ(codeFor(text), "EFF0701");
  std::ifstream file(std::string(EFFC_SOURCE_DIR) +
                     "/examples/models/mamba2-tiny.tokenizer.json");
  text.tokenizer.assign(std::istreambuf_iterator<char>(file), {});
  text.samples = writeText("");
  EXPECT_EQ(codeFor(text), "EFF0607");
  text.samples = writeText("\n  \n\n");
  text.cut = SampleCut::Documents;
  EXPECT_EQ(codeFor(text), "EFF0607");
  // Ids that the model does not know.
  EXPECT_EQ(codeFor(optionsFor(writeIds(1, 16, 1000), 16)), "EFF0606");
  // Nothing of nothing.
  CalibrateOptions none = optionsFor(writeIds(1, 16), 16);
  none.sampleCount = 0;
  EXPECT_EQ(codeFor(none), "EFF0102");
}

TEST_F(CalibrateTest, BadRequestsAreRefused) {
  for (const char *text :
       {"linear", "=hessian", "linear:*=", "linear:*=median",
        "x=running-percentile:alpha=2", "x=running-percentile:beta=1",
        "x=running-percentile:sigma=0", "x=group-abs-max:group=0"}) {
    auto parsed = parseObserveRequest(text);
    EXPECT_FALSE(bool(parsed)) << text;
    if (!parsed)
      llvm::consumeError(parsed.takeError());
  }
  TestModule module(mamba2Model());
  CalibrateOptions options = optionsFor(writeIds(1, 16), 16);
  options.observe = {request("linear:@nothing:in=hessian")};
  EXPECT_EQ(codeOf(calibrate(module.get(), options).takeError()), "EFF0102");
}

TEST_F(CalibrateTest, ValuesThatAreNotFiniteAreNamed) {
  // An infinite norm weight.
  std::string text = mamba2Model();
  size_t at = text.find("eff.weight @gate");
  at = text.find("\"0x", at) + 3;
  text.replace(at, 8, "0000807F");
  TestModule module(text);
  CalibrateOptions options = optionsFor(writeIds(2, 16), 16);
  auto result = calibrate(module.get(), options);
  ASSERT_FALSE(bool(result));
  std::string where, code;
  llvm::handleAllErrors(result.takeError(), [&](const UserError &e) {
    code = codeName(e.code);
    where = e.where;
  });
  EXPECT_EQ(code, "EFF0412");
  EXPECT_EQ(where, "norm:@gate:out");
}

TEST_F(CalibrateTest, AModelWithoutEntryPointsIsRefused) {
  TestModule module("module {}");
  EXPECT_EQ(
      codeOf(
          calibrate(module.get(), optionsFor(writeIds(1, 4), 4)).takeError()),
      "EFF0416");
}
