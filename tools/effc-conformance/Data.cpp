//===- Data.cpp - inputs and expected outputs -----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Case.h"
#include "TensorReader.h"
#include "effc/Support/Error.h"

#include "llvm/Support/MemoryBuffer.h"

#include <cmath>

using namespace mlir;

namespace effc::conformance {

llvm::Expected<onnx::HostTensor> readTensor(MLIRContext &context,
                                            const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return makeError(ErrorCode::FileNotFound, "cannot read test data", path);
  onnx_ir::TensorProto proto;
  if (!proto.ParseFromArray((*buffer)->getBufferStart(),
                            int((*buffer)->getBufferSize())))
    return makeError(ErrorCode::BadTensor, "the test data is not a tensor",
                     path);
  onnx::TensorReader reader(&context, nullptr, nullptr, int64_t(1) << 31,
                            [](const llvm::Twine &) {});
  auto elements = reader.read(proto, std::nullopt, path);
  if (!elements)
    return elements.takeError();
  FailureOr<onnx::HostTensor> tensor = onnx::HostTensor::read(*elements);
  if (failed(tensor))
    return makeError(ErrorCode::UnsupportedType, "the test data is not numbers",
                     path);
  return std::move(*tensor);
}

static std::string text(double value) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.9g", value);
  return buffer;
}

std::string compare(const onnx::HostTensor &actual,
                    const onnx::HostTensor &expected, Tolerance tolerance) {
  if (actual.elementType != expected.elementType)
    return "another element type";
  if (actual.shape != expected.shape)
    return "another shape";
  for (int64_t i = 0; i < expected.size(); ++i) {
    if (!expected.isFloat()) {
      if (actual.ints[i] != expected.ints[i])
        return "element " + std::to_string(i) + " is " +
               std::to_string(actual.ints[i]) + ", not " +
               std::to_string(expected.ints[i]);
      continue;
    }
    double a = actual.floats[i], b = expected.floats[i];
    bool equal = std::isnan(b)   ? std::isnan(a)
                 : std::isinf(b) ? a == b
                                 : std::fabs(a - b) <=
                                       tolerance.absolute +
                                           tolerance.relative * std::fabs(b);
    if (!equal)
      return "element " + std::to_string(i) + " is " + text(a) + ", not " +
             text(b);
  }
  return {};
}

} // namespace effc::conformance
