//===- Config.cpp - what a model's files say about it ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Config.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace effc::raise;

static int64_t positive(const llvm::json::Object *object, StringRef key) {
  std::optional<int64_t> value =
      object ? object->getInteger(key) : std::nullopt;
  return value && *value > 0 ? *value : 0;
}

static void readHuggingFace(const llvm::json::Object &json, Config &config) {
  if (auto type = json.getString("model_type"))
    config.modelType = type->str();
  config.maxLength = positive(&json, "max_position_embeddings");
  const llvm::json::Object *rope = json.getObject("rope_parameters");
  std::optional<double> theta =
      rope ? rope->getNumber("rope_theta") : std::nullopt;
  if (!theta)
    theta = json.getNumber("rope_theta");
  config.ropeTheta = theta.value_or(0);
  // Qwen2 names a window that it does not use.
  if (json.getBoolean("use_sliding_window").value_or(true))
    config.window = positive(&json, "sliding_window");
}

Config effc::raise::readConfig(ModuleOp module, StringRef genaiConfig) {
  Config config;
  StringRef text;
  if (auto metadata = module->getAttrOfType<DictionaryAttr>("onnx.metadata")) {
    if (auto value = metadata.getAs<StringAttr>("effc.config"))
      text = value.getValue();
  }
  auto parse = [](StringRef json) -> std::optional<llvm::json::Value> {
    auto value = llvm::json::parse(json);
    if (!value) {
      llvm::consumeError(value.takeError());
      return std::nullopt;
    }
    return std::move(*value);
  };
  if (!text.empty())
    if (auto value = parse(text))
      if (const llvm::json::Object *object = value->getAsObject()) {
        config.text = text.str();
        readHuggingFace(*object, config);
      }
  if (genaiConfig.empty())
    return config;
  auto value = parse(genaiConfig);
  const llvm::json::Object *object = value ? value->getAsObject() : nullptr;
  const llvm::json::Object *model =
      object ? object->getObject("model") : nullptr;
  if (!model)
    return config;
  if (config.text.empty())
    config.text = genaiConfig.str();
  if (config.modelType.empty())
    config.modelType = model->getString("type").value_or("").str();
  if (config.maxLength == 0)
    config.maxLength = positive(model, "context_length");
  if (const llvm::json::Object *decoder = model->getObject("decoder"))
    if (const llvm::json::Object *window = decoder->getObject("sliding_window"))
      config.window = positive(window, "window_size");
  return config;
}
