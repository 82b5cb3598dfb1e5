//===- Reference.cpp - effc run --reference
//---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Verbs.h"

#include "effc/Pipelines/Compile.h"
#include "effc/Pipelines/Registration.h"
#include "effc/Reference/Interpreter.h"
#include "effc/Support/Error.h"
#include "effrt/text/tokenizer.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cstdio>
#include <optional>

using namespace effc;
using namespace effrt::tools;
using reference::Interpreter;
using reference::Row;
using reference::Sequence;
using reference::Tensor;

namespace {

int reportLLVM(llvm::Error error) {
  llvm::errs() << llvm::toString(std::move(error));
  return 1;
}

/// Appends one token and gives the most likely next one.
llvm::Expected<int64_t> step(Interpreter<float> &interpreter,
                             Sequence<float> &sequence, int64_t token) {
  Row<float> row;
  row.sequence = &sequence;
  auto outputs = interpreter.run(
      "decode_b1", {Tensor<float>::fromIntegers({1, 1}, {token})}, {row});
  if (!outputs)
    return outputs.takeError();
  if (outputs->empty() || outputs->front().floats.empty())
    return makeError(ErrorCode::BadInput, "the model gives no logits");
  const Tensor<float> &logits = outputs->front();
  auto first = logits.floats.begin();
  return std::max_element(first, first + logits.getColumns()) - first;
}

} // namespace

int effc::driver::runReference(const ReferenceRequest &request) {
  CompileOptions options;
  options.input = request.model;
  options.tokenizer = request.tokenizer;
  options.prefill.clear();
  mlir::DialectRegistry registry;
  registerDialects(registry);
  mlir::MLIRContext context(registry);
  auto module = raiseModel(context, options);
  if (!module)
    return reportLLVM(module.takeError());

  std::optional<effrt::Tokenizer> tokenizer;
  auto json = findTokenizer(options);
  if (!json)
    return reportLLVM(json.takeError());
  if (!json->empty()) {
    auto parsed = effrt::Tokenizer::fromJson(*json);
    if (!parsed)
      return reportError(parsed.error());
    tokenizer = parsed.take();
  }
  std::vector<int64_t> prompt(request.ids.begin(), request.ids.end());
  if (prompt.empty()) {
    if (!tokenizer)
      return reportLLVM(makeError(ErrorCode::NoTokenizer,
                                  "the model has no tokenizer", request.model,
                                  "", "--tokenizer FILE or --ids ID,..."));
    auto ids = tokenizer->encode(request.prompt);
    if (!ids)
      return reportError(ids.error());
    prompt.assign(ids->begin(), ids->end());
  }
  if (prompt.empty())
    return reportLLVM(makeError(ErrorCode::BadOption, "there is no prompt", "",
                                "", "-p TEXT or --ids ID,..."));

  Interpreter<float> interpreter(**module);
  Sequence<float> sequence = interpreter.createSequence();
  std::vector<effrt::TokenId> generated;
  int64_t next = 0;
  for (int64_t id : prompt) {
    auto best = step(interpreter, sequence, id);
    if (!best)
      return reportLLVM(best.takeError());
    next = *best;
  }
  for (int i = 0; i < request.tokens; ++i) {
    generated.push_back(static_cast<effrt::TokenId>(next));
    if (i + 1 == request.tokens)
      break;
    auto best = step(interpreter, sequence, next);
    if (!best)
      return reportLLVM(best.takeError());
    next = *best;
  }
  std::string text = tokenizer ? tokenizer->decode(generated) : std::string();
  if (request.json) {
    llvm::json::Array ids;
    for (effrt::TokenId id : generated)
      ids.push_back(int64_t(id));
    llvm::outs() << llvm::json::Value(
                        llvm::json::Object{{"text", llvm::json::fixUTF8(text)},
                                           {"ids", std::move(ids)}})
                 << "\n";
  } else if (tokenizer) {
    std::printf("%s%s\n", request.ids.empty() ? request.prompt.c_str() : "",
                text.c_str());
  } else {
    for (effrt::TokenId id : generated)
      std::printf("%u ", id);
    std::printf("\n");
  }
  return 0;
}
