//===- Manifest.cpp - what a model file says of itself --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Manifest.h"

#include "effc/Support/Error.h"
#include "effrt/cpu.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"

using namespace effc;
using llvm::json::Array;
using llvm::json::Object;

static llvm::StringRef getTypeName(mlir::Type type) {
  if (type.isF32())
    return "f32";
  if (type.isF16())
    return "f16";
  if (type.isBF16())
    return "bf16";
  if (type.isF64())
    return "f64";
  bool isUnsigned = type.isUnsignedInteger();
  switch (type.getIntOrFloatBitWidth()) {
  case 1:
    return "bool";
  case 8:
    return isUnsigned ? "u8" : "i8";
  case 16:
    return isUnsigned ? "u16" : "i16";
  case 32:
    return isUnsigned ? "u32" : "i32";
  default:
    return isUnsigned ? "u64" : "i64";
  }
}

template <typename OpTy> static Array describeTensors(plan::ProgramOp program) {
  Array tensors;
  for (OpTy op : program.getBody().getOps<OpTy>()) {
    auto type = llvm::cast<mlir::RankedTensorType>(op.getType());
    tensors.push_back(Object{{"name", op.getName()},
                             {"dtype", getTypeName(type.getElementType())},
                             {"shape", Array(type.getShape())}});
  }
  return tensors;
}

static Array describeEntries(const ModelLayout &layout,
                             const ModelReport &report) {
  Array entries;
  for (auto [program, entry] : llvm::zip(layout.programs, report.entries)) {
    plan::ProgramOp op = program;
    entries.push_back(
        Object{{"name", entry.name},
               {"kind", eff::stringifyEntryKind(op.getEntry().getKind())},
               {"batch", entry.batch},
               {"tokens", entry.tokens},
               {"steps", entry.steps},
               {"arena_bytes", entry.arenaBytes},
               {"flops", entry.flops},
               {"integer_ops", entry.integerOps},
               {"bytes", entry.bytes},
               {"inputs", describeTensors<plan::InputOp>(op)},
               {"outputs", describeTensors<plan::OutputOp>(op)}});
  }
  return entries;
}

static Array describeStates(const ModelLayout &layout) {
  Array states;
  for (const PlacedState &state : layout.states) {
    Object object{{"name", state.name},
                  {"kind", state.isCache ? "cache" : "recurrent"},
                  {"shape", Array(state.shape)},
                  {"bytes", state.slotBytes}};
    // Names of the pair in the source file, where there is one.
    for (auto [key, attribute] :
         {std::pair{"input", "eff.past"}, std::pair{"output", "eff.present"}})
      if (auto name = state.op->getAttrOfType<mlir::StringAttr>(attribute))
        object[key] = name.getValue();
    states.push_back(std::move(object));
  }
  return states;
}

static Array describeKernels(const ModelReport &report) {
  Array kernels;
  for (const KernelReport &kernel : report.kernels)
    kernels.push_back(Object{{"name", kernel.name},
                             {"family", kernel.family},
                             {"spec", kernel.spec},
                             {"target", kernel.target}});
  return kernels;
}

static Array describeWeights(const ModelLayout &layout) {
  Array weights;
  for (const PlacedWeight &weight : layout.weights) {
    eff::WeightOp op = weight.op;
    eff::WeightType type = op.getType();
    weights.push_back(
        Object{{"name", op.getSymName()},
               {"offset", weight.offset},
               {"bytes", weight.bytes},
               {"shape", Array(type.getShape())},
               {"format", getFormatName(type)},
               {"layout", eff::stringifyLayout(type.getLayout())}});
  }
  return weights;
}

static Array describeTargets(llvm::ArrayRef<Variant> variants) {
  Array targets;
  for (const Variant &variant : variants) {
    std::string names = effrt::featureNames(variant.features);
    llvm::SmallVector<llvm::StringRef> words;
    if (variant.features)
      llvm::StringRef(names).split(words, ", ");
    Array features;
    for (llvm::StringRef word : words)
      features.push_back(word.str());
    targets.push_back(Object{{"name", variant.machine.name()},
                             {"features", std::move(features)}});
  }
  return targets;
}

/// Names, sizes and hashes (XXH3, 64 bit) of the files that the model was made
/// from.
static llvm::Expected<Array>
describeSources(llvm::ArrayRef<std::string> sources) {
  Array files;
  for (const std::string &path : sources) {
    auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                              /*RequiresNullTerminator=*/false);
    if (!buffer)
      return makeError(ErrorCode::FileNotFound, "a source cannot be read", path,
                       buffer.getError().message());
    llvm::ArrayRef<uint8_t> bytes(
        reinterpret_cast<const uint8_t *>((*buffer)->getBufferStart()),
        (*buffer)->getBufferSize());
    files.push_back(
        Object{{"name", llvm::sys::path::filename(path)},
               {"bytes", bytes.size()},
               {"xxh3", llvm::utohexstr(llvm::xxh3_64bits(bytes), true, 16)}});
  }
  return files;
}

llvm::Expected<std::string>
effc::createManifest(const ModelLayout &layout,
                     llvm::ArrayRef<Variant> variants,
                     const WriteOptions &options, const ModelReport &report) {
  llvm::Expected<Array> sources = describeSources(options.sources);
  if (!sources)
    return sources.takeError();
  Object model = options.model;
  model["kind"] = eff::stringifyModelKind(layout.model.getKind());
  model["arch"] = layout.model.getArch();
  model["vocab"] = layout.model.getVocab();
  model["max_length"] = layout.model.getMaxLength();
  model["parameters"] = report.parameters;
  Object manifest = options.manifest;
  manifest["format"] = 1;
  manifest["effc"] = EFFC_VERSION;
  manifest["model"] = std::move(model);
  manifest["entries"] = describeEntries(layout, report);
  manifest["states"] = describeStates(layout);
  manifest["kernels"] = describeKernels(report);
  manifest["weights"] = describeWeights(layout);
  manifest["targets"] = describeTargets(variants);
  if (manifest.find("source") == manifest.end())
    manifest["source"] = Object{{"files", std::move(*sources)}};

  std::string text;
  llvm::raw_string_ostream os(text);
  // The tokenizer goes in as it is: parsing it again would cost time and could
  // change it.
  os << "{\"tokenizer\":"
     << (options.tokenizer.empty() ? "null" : options.tokenizer);
  std::string rest;
  llvm::raw_string_ostream(rest) << llvm::json::Value(std::move(manifest));
  os << ',' << llvm::StringRef(rest).drop_front();
  return text;
}
