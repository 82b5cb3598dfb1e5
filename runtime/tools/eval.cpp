//===- eval.cpp - effc eval
//-------------------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "common.h"
#include "images.h"
#include "npy.h"

#include "effrt/codes.h"
#include "effrt/generate.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

using namespace effrt;
using namespace effrt::tools;
using nlohmann::json;

namespace {

struct EvalOptions {
  std::string model, text, images, answers, compare;
  int window = 0, windows = 256, threads = 0;
  bool asJson = false;
};

using Engines = std::unique_ptr<Engine>;

Result<Engines> makeEngine(std::shared_ptr<const Model> model, int threads) {
  EngineOptions options;
  options.threads = threads;
  options.interrupt = catchInterrupt();
  return Engine::create(std::move(model), options);
}

/// log(sum(exp(logits))) without overflow, summed in double.
double logSumExp(const float *logits, int count) {
  float top = *std::max_element(logits, logits + count);
  double sum = 0;
  for (int i = 0; i < count; ++i)
    sum += std::exp(static_cast<double>(logits[i]) - top);
  return top + std::log(sum);
}

int argmax(const float *logits, int count) {
  return static_cast<int>(std::max_element(logits, logits + count) - logits);
}

/// Length of a window: the flag, or what the model was trained on, or 1024, as
/// far as the model can hold it.
int windowOf(const EvalOptions &options, const Engine &engine) {
  int window = options.window;
  if (window == 0) {
    json config = json::parse(engine.model().manifest().config, nullptr, false);
    if (config.is_object() && config.contains("seq_len") &&
        config["seq_len"].is_number_integer())
      window = config["seq_len"].get<int>();
  }
  if (window == 0)
    window = 1024;
  return engine.capacity() > 0 ? std::min(window, engine.capacity()) : window;
}

/// The text's tokens cut into consecutive windows, the rest dropped. Each holds
/// `window` tokens to read and the one that follows, which is the next one's
/// first: so `window` tokens are predicted in each.
Result<std::vector<std::vector<TokenId>>>
textWindows(const EvalOptions &options, const Engine &engine, int window) {
  auto text = readText(options.text);
  if (!text)
    return text.takeError();
  if (engine.model().manifest().tokenizer.empty())
    return fail(Code::NoTokenizer, "the model has no tokenizer", options.model);
  auto tokenizer = modelTokenizer(engine.model().manifest());
  if (!tokenizer)
    return tokenizer.takeError();
  EncodeOptions plain;
  plain.addSpecialTokens = false;
  auto ids = tokenizer->encode(*text, plain);
  if (!ids)
    return ids.takeError();
  std::vector<std::vector<TokenId>> windows;
  size_t length = static_cast<size_t>(window);
  for (size_t at = 0; at + length < ids->size() &&
                      windows.size() < static_cast<size_t>(options.windows);
       at += length)
    windows.emplace_back(ids->begin() + static_cast<ptrdiff_t>(at),
                         ids->begin() +
                             static_cast<ptrdiff_t>(at + length + 1));
  if (windows.empty())
    return fail(Code::BadInput, "the text is shorter than one window",
                options.text, std::to_string(ids->size()) + " tokens",
                "--window N with a smaller N");
  return windows;
}

int evalPerplexity(Engine &engine, const EvalOptions &options) {
  int window = windowOf(options, engine);
  auto windows = textWindows(options, engine, window);
  if (!windows)
    return reportError(windows.error());
  int vocab = engine.vocab();
  double start = now(), loss = 0;
  uint64_t count = 0, right = 0;
  Progress progress("scoring");
  for (size_t w = 0; w < windows->size(); ++w) {
    const std::vector<TokenId> &ids = (*windows)[w];
    if (Status s = engine.reset(0); !s)
      return reportError(s.error());
    std::vector<TokenId> given(ids.begin(), ids.end() - 1);
    Status status = engine.score(0, given, [&](size_t i, const float *logits) {
      TokenId next = ids[i + 1];
      loss += logSumExp(logits, vocab) - logits[next];
      right += static_cast<TokenId>(argmax(logits, vocab)) == next;
      ++count;
      return true;
    });
    if (!status)
      return reportError(status.error());
    progress.update(double(w + 1) / double(windows->size()),
                    std::to_string(w + 1) + " of " +
                        std::to_string(windows->size()) + " windows");
  }
  double seconds = now() - start;
  double perplexity = std::exp(loss / static_cast<double>(count));
  json report = {{"perplexity", perplexity},
                 {"loss", loss / static_cast<double>(count)},
                 {"top1", double(right) / double(count)},
                 {"tokens", count},
                 {"windows", windows->size()},
                 {"window", window},
                 {"tokens_per_second", double(count) / seconds}};
  if (options.asJson)
    std::printf("%s\n", report.dump().c_str());
  else
    std::printf("perplexity %.4f   next token right %.2f %%   %zu windows of "
                "%d tokens, %.0f tok/s\n",
                perplexity, 100 * double(right) / double(count),
                windows->size(), window, double(count) / seconds);
  return 0;
}

/// Kullback-Leibler divergence of the model from `other` at every token of the
/// text, and how often both prefer the same one.
int evalCompare(Engine &engine, Engine &other, const EvalOptions &options) {
  if (engine.vocab() != other.vocab())
    return reportError(fail(Code::BadInput, "the models' vocabularies differ",
                            options.compare));
  int window = std::min(windowOf(options, engine), windowOf(options, other));
  auto windows = textWindows(options, engine, window);
  if (!windows)
    return reportError(windows.error());
  int vocab = engine.vocab();
  double sum = 0, worst = 0;
  uint64_t count = 0, agree = 0;
  std::vector<float> theirs;
  Progress progress("comparing");
  for (size_t w = 0; w < windows->size(); ++w) {
    std::vector<TokenId> ids = (*windows)[w];
    ids.pop_back();
    Status ready = engine.reset(0);
    if (ready)
      ready = other.reset(0);
    if (!ready)
      return reportError(ready.error());
    theirs.clear();
    Status status = other.score(0, ids, [&](size_t, const float *logits) {
      theirs.insert(theirs.end(), logits, logits + vocab);
      return true;
    });
    if (status)
      status = engine.score(0, ids, [&](size_t i, const float *mine) {
        const float *reference = theirs.data() + i * static_cast<size_t>(vocab);
        double zr = logSumExp(reference, vocab), zm = logSumExp(mine, vocab);
        double divergence = 0;
        for (int v = 0; v < vocab; ++v)
          divergence += std::exp(reference[v] - zr) *
                        ((reference[v] - zr) - (mine[v] - zm));
        sum += divergence;
        worst = std::max(worst, divergence);
        agree += argmax(reference, vocab) == argmax(mine, vocab);
        ++count;
        return true;
      });
    if (!status)
      return reportError(status.error());
    progress.update(double(w + 1) / double(windows->size()),
                    std::to_string(w + 1) + " of " +
                        std::to_string(windows->size()) + " windows");
  }
  json report = {{"kl_mean", sum / double(count)},
                 {"kl_max", worst},
                 {"top1_agreement", double(agree) / double(count)},
                 {"tokens", count}};
  if (options.asJson)
    std::printf("%s\n", report.dump().c_str());
  else
    std::printf("KL per token: mean %.3g, largest %.3g   same favourite %.3f "
                "%%   %llu tokens\n",
                sum / double(count), worst, 100 * double(agree) / double(count),
                static_cast<unsigned long long>(count));
  return 0;
}

int evalImages(Engine &engine, const EvalOptions &options) {
  auto arrays = readNpz(options.images);
  if (!arrays)
    return reportError(arrays.error());
  auto images =
      Images::create(*arrays, engine.model().manifest(), options.images);
  if (!images)
    return reportError(images.error());
  int64_t count = images->count();
  auto labels = arrays->find("labels");
  if (labels == arrays->end() ||
      labels->second.shape != std::vector<int64_t>{count})
    return reportError(fail(Code::BadInput, "the images have no labels",
                            options.images, "",
                            "an .npz with images [n, height, width, channels] "
                            "uint8 and labels [n]"));
  const EntryInfo *entry = &images->entry();
  int64_t classes =
      static_cast<int64_t>(entry->outputs[0].elements()) / entry->batch;
  std::vector<float> input(entry->inputs[0].elements());
  std::vector<float> logits(static_cast<size_t>(entry->batch * classes));
  int64_t right = 0;
  std::vector<int> predictions;
  double start = now();
  Progress progress("classifying");
  for (int64_t at = 0; at < count; at += entry->batch) {
    int64_t used = std::min<int64_t>(entry->batch, count - at);
    images->fill(at, used, input.data());
    Status status = engine.forward(
        {{entry->inputs[0].name, input.data(), input.size() * sizeof(float)}},
        {{entry->outputs[0].name, logits.data(),
          logits.size() * sizeof(float)}},
        entry->name);
    if (!status)
      return reportError(status.error());
    for (int64_t i = 0; i < used; ++i) {
      int best = argmax(logits.data() + i * classes, static_cast<int>(classes));
      predictions.push_back(best);
      right += best == static_cast<int>(labels->second.at(at + i));
    }
    progress.update(double(at + used) / double(count),
                    std::to_string(at + used) + " images");
  }
  double accuracy = 100.0 * double(right) / double(count);
  double rate = double(count) / (now() - start);
  if (options.asJson)
    std::printf("%s\n", json{{"accuracy", accuracy},
                             {"images", count},
                             {"images_per_second", rate},
                             {"predictions", predictions}}
                            .dump()
                            .c_str());
  else
    std::printf("accuracy %.2f %%   %lld images, %.0f images/s\n", accuracy,
                static_cast<long long>(count), rate);
  return 0;
}

/// Sequences with marked positions: how often the most likely token is the one
/// at the position.
int evalAnswers(Engine &engine, const EvalOptions &options) {
  auto arrays = readNpz(options.answers);
  if (!arrays)
    return reportError(arrays.error());
  auto ids = arrays->find("ids"), positions = arrays->find("answer_positions");
  if (ids == arrays->end() || positions == arrays->end() ||
      ids->second.shape.size() != 2 || positions->second.shape.size() != 2 ||
      ids->second.shape[0] != positions->second.shape[0])
    return reportError(fail(Code::BadInput, "the archive holds no answers",
                            options.answers, "",
                            "an .npz with ids [n, length] and answer_positions "
                            "[n, m], -1 for none"));
  int64_t rows = ids->second.shape[0], length = ids->second.shape[1];
  int64_t answers = positions->second.shape[1];
  int vocab = engine.vocab();
  int64_t asked = 0, right = 0;
  Progress progress("answering");
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<TokenId> tokens;
    for (int64_t t = 0; t < length; ++t)
      tokens.push_back(static_cast<TokenId>(ids->second.at(r * length + t)));
    std::vector<bool> wanted(static_cast<size_t>(length), false);
    for (int64_t a = 0; a < answers; ++a) {
      int64_t p = static_cast<int64_t>(positions->second.at(r * answers + a));
      if (p > 0 && p < length)
        wanted[static_cast<size_t>(p)] = true;
    }
    if (Status s = engine.reset(0); !s)
      return reportError(s.error());
    std::vector<TokenId> given(tokens.begin(), tokens.end() - 1);
    Status status = engine.score(0, given, [&](size_t i, const float *logits) {
      if (wanted[i + 1]) {
        ++asked;
        right += static_cast<TokenId>(argmax(logits, vocab)) == tokens[i + 1];
      }
      return true;
    });
    if (!status)
      return reportError(status.error());
    progress.update(double(r + 1) / double(rows),
                    std::to_string(r + 1) + " sequences");
  }
  double accuracy = 100.0 * double(right) / double(std::max<int64_t>(asked, 1));
  if (options.asJson)
    std::printf(
        "%s\n",
        json{{"accuracy", accuracy}, {"answers", asked}}.dump().c_str());
  else
    std::printf("answers right %.2f %%   %lld tokens\n", accuracy,
                static_cast<long long>(asked));
  return 0;
}

} // namespace

int tools::evalVerb(const Invocation &call) {
  EvalOptions options;
  cli::Command command(
      "eval", "Measures a model's quality.",
      "MODEL.eff --ppl FILE | --images FILE.npz | --answers FILE.npz",
      {call.program + " eval model.eff --ppl wiki_test.txt",
       call.program + " eval int4.eff --ppl wiki_test.txt --compare f32.eff",
       call.program + " eval vit.eff --images cifar10-test.npz"});
  if (!call.embedded)
    command.positional("MODEL", options.model);
  command.option("ppl", 0, options.text, "FILE",
                 "perplexity of a text in consecutive windows: every token is "
                 "predicted from those before it in its window");
  command.option("window", 0, options.window, "N",
                 "tokens in a window; 0: the length the model was trained with",
                 0, 1 << 24);
  command.option("windows", 0, options.windows, "N", "at most so many windows",
                 1, 1 << 30);
  command.option(
      "compare", 0, options.compare, "OTHER.eff",
      "with --ppl: KL divergence from another model and how often both agree");
  command.option("images", 0, options.images, "FILE.npz",
                 "accuracy on images [n, h, w, c] uint8 with labels [n]");
  command.option("answers", 0, options.answers, "FILE.npz",
                 "accuracy at marked positions of ids [n, length]");
  command.option("threads", 't', options.threads, "N",
                 "threads; 0: one for each core that may be used", 0, 1024);
  command.flag("json", 0, options.asJson, "print one JSON object");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  int asked = !options.text.empty() + !options.images.empty() +
              !options.answers.empty();
  if (asked != 1)
    return reportError(fail(Code::BadOption, "one thing to measure is needed",
                            "", "", "one of --ppl, --images, --answers"));
  auto model = openModel(call, options.model);
  if (!model)
    return reportError(model.error());
  auto engine = makeEngine(*model, options.threads);
  if (!engine)
    return reportError(engine.error());
  bool language = (*model)->manifest().kind == ModelKind::CausalLM;
  if (language == !options.images.empty())
    return reportError(fail(Code::BadInput,
                            language ? "the model takes tokens, not images"
                                     : "the model takes no tokens",
                            options.model));
  if (!options.images.empty())
    return evalImages(**engine, options);
  if (!options.answers.empty())
    return evalAnswers(**engine, options);
  if (options.compare.empty())
    return evalPerplexity(**engine, options);
  auto other = Model::open(options.compare);
  if (!other)
    return reportError(other.error());
  auto otherEngine = makeEngine(*other, options.threads);
  if (!otherEngine)
    return reportError(otherEngine.error());
  return evalCompare(**engine, **otherEngine, options);
}
