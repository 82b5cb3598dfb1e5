//===- Precision.cpp - formats layer by layer -----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Transforms/Precision.h"
#include "WeightUses.h"
#include "effc/Support/Error.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace effc::eff;

std::optional<LayerFormat> LayerFormat::parse(llvm::StringRef word) {
  return llvm::StringSwitch<std::optional<LayerFormat>>(word)
      .Case("w8a8", LayerFormat{8, 8})
      .Case("w8a16", LayerFormat{8, 16})
      .Case("w4a8", LayerFormat{4, 8})
      .Case("w4a16", LayerFormat{4, 16})
      .Cases({"a16", "w16a16"}, LayerFormat{16, 16})
      .Default(std::nullopt);
}

std::string LayerFormat::str() const {
  return "w" + std::to_string(weightBits) + "a" +
         std::to_string(activationBits);
}

llvm::Expected<Precision> Precision::load(llvm::StringRef path) {
  Precision precision;
  if (path.empty())
    return precision;
  auto bad = [&](const llvm::Twine &why) {
    return makeError(ErrorCode::BadOption, "a precision file cannot be used",
                     path, why,
                     "write {\"layers.0.\": \"w4a16\"}: a part of the weights' "
                     "names, and one of w8a8, w8a16, w4a8, w4a16, w16a16");
  };
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return bad(buffer.getError().message());
  llvm::Expected<llvm::json::Value> json =
      llvm::json::parse((*buffer)->getBuffer());
  if (!json)
    return bad(llvm::toString(json.takeError()));
  const llvm::json::Object *object = json->getAsObject();
  if (!object)
    return bad("it holds no JSON object");
  for (const auto &[key, value] : *object) {
    auto word = value.getAsString();
    auto format = word ? LayerFormat::parse(*word) : std::nullopt;
    if (!format || key.str().empty())
      return bad("the value of '" + key.str() + "' is no format");
    precision.layers.emplace_back(key.str(), *format);
  }
  // Longest first; the order of an object's keys means nothing.
  llvm::sort(precision.layers, [](const auto &a, const auto &b) {
    return std::pair(b.first.size(), a.first) <
           std::pair(a.first.size(), b.first);
  });
  return precision;
}

std::optional<LayerFormat> Precision::find(llvm::StringRef weight) const {
  for (const auto &[part, format] : layers)
    if (weight.contains(part))
      return format;
  return std::nullopt;
}

LayerFormat Precision::get(llvm::StringRef weight,
                           LayerFormat otherwise) const {
  return find(weight).value_or(otherwise);
}

std::vector<LayerWeight> effc::eff::listLayerWeights(mlir::ModuleOp module) {
  std::vector<LayerWeight> weights;
  for (auto &[weight, use] : findWeightUses(module))
    if ((use.linear || use.table) && !use.conv && !use.other)
      weights.push_back({weight, use.table || use.head, use.linear, use.head});
  return weights;
}
