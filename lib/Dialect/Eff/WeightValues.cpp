//===- WeightValues.cpp - changes the values of a weight ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Dialect/Eff/WeightSource.h"
#include "effc/Support/Error.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;
using namespace effc::eff;

/// So few elements are written out in the attribute.
static constexpr int64_t kInline = 64;

//===----------------------------------------------------------------------===//
// ValueBuffer
//===----------------------------------------------------------------------===//

static llvm::Error cannotMap(llvm::StringRef folder, int code) {
  return effc::makeError(
      effc::ErrorCode::CannotWrite,
      "no temporary file for the values of a weight", folder,
      std::error_code(code, std::generic_category()).message(),
      "set TMPDIR to a directory on a disk with room for the model's weights");
}

/// A file without a name, of that size and with its blocks reserved: a full
/// disk is an error here and not a fault when the pages are written.
static llvm::Expected<int> openTemporary(size_t bytes) {
  llvm::SmallString<128> path;
  const char *chosen = std::getenv("TMPDIR");
  llvm::sys::path::system_temp_directory(/*erasedOnReboot=*/chosen && *chosen,
                                         path);
  std::string folder = path.str().str();
  llvm::sys::path::append(path, "effc-values-XXXXXX");
  std::string name = path.str().str();
  int file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file < 0)
    return cannotMap(folder, errno);
  ::unlink(name.c_str());
  if (int code = ::posix_fallocate(file, 0, off_t(bytes))) {
    ::close(file);
    return cannotMap(folder, code);
  }
  return file;
}

llvm::Expected<ValueBuffer> ValueBuffer::create(size_t bytes, size_t limit) {
  ValueBuffer buffer;
  if (bytes < limit || bytes == 0) {
    buffer.blob = HeapAsmResourceBlob::allocate(bytes, /*align=*/64,
                                                /*dataIsMutable=*/true);
    if (bytes)
      std::memset(buffer.blob.getMutableData().data(), 0, bytes);
    return buffer;
  }
  auto file = openTemporary(bytes);
  if (!file)
    return file.takeError();
  void *data =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
  int code = errno;
  ::close(*file);
  if (data == MAP_FAILED)
    return cannotMap("", code);
  buffer.blob = AsmResourceBlob(
      llvm::ArrayRef<char>(static_cast<char *>(data), bytes), /*align=*/64,
      [](void *data, size_t bytes, size_t) { ::munmap(data, bytes); },
      /*dataIsMutable=*/true);
  buffer.mapped = true;
  return buffer;
}

ElementsAttr ValueBuffer::toAttr(ValueBuffer buffer, RankedTensorType type,
                                 StringRef name, bool all) {
  llvm::ArrayRef<char> bytes = buffer.blob.getData();
  size_t width = type.getElementTypeBitWidth() / 8;
  bool isSplat =
      bytes.size() > width && std::memcmp(bytes.data(), bytes.data() + width,
                                          bytes.size() - width) == 0;
  if (type.getNumElements() <= kInline && !(all && isSplat))
    return DenseElementsAttr::getFromRawBuffer(type, buffer.blob.getData());
  llvm::MutableArrayRef<char> data = buffer.blob.getMutableData();
  // The pages of a file need not stay in memory until the next reader.
  if (buffer.mapped)
    ::madvise(data.data(), data.size(), MADV_DONTNEED);
  return DenseResourceElementsAttr::get(type, name, std::move(buffer.blob));
}

//===----------------------------------------------------------------------===//
// WeightValues
//===----------------------------------------------------------------------===//

llvm::Expected<WeightValues> WeightValues::read(WeightOp op) {
  WeightType type = op.getType();
  bool matrix = type.getShape().size() == 2;
  WeightValues values;
  values.rows = matrix ? type.getShape()[0] : 1;
  values.columns = matrix ? type.getShape()[1] : type.getNumElements();
  auto buffer = ValueBuffer::create(type.getNumElements() * sizeof(float));
  if (!buffer)
    return buffer.takeError();
  values.buffer = std::move(*buffer);

  if (op.getQuantized()) {
    auto chosen = getQuantizedValues(op);
    if (!chosen)
      return chosen.takeError();
    int64_t group = type.getGroup() ? type.getGroup() : values.columns;
    int64_t groups = (values.columns + group - 1) / group;
    for (int64_t n = 0; n < values.rows; ++n) {
      llvm::MutableArrayRef<float> row = values.getRow(n);
      for (int64_t k = 0; k < values.columns; ++k)
        row[k] = chosen->get(n * values.columns + k, n * groups + k / group);
    }
    return values;
  }
  auto source = WeightSource::create(op);
  if (!source)
    return source.takeError();
  source->readRows(0, values.rows, values.getValues());
  return values;
}

static void removeQuantizedValues(WeightOp op) {
  op.removeQuantizedAttr();
  op.removeScalesAttr();
  op.removeZerosAttr();
  op.setPinned(false);
}

void WeightValues::replace(WeightOp op, WeightValues values) {
  auto type = RankedTensorType::get(op.getType().getShape(),
                                    Float32Type::get(op.getContext()));
  op.setSourceAttr(ValueBuffer::toAttr(std::move(values.buffer), type,
                                       (op.getSymName() + ".f32").str()));
  op.setTransposed(false);
  removeQuantizedValues(op);
}

void effc::eff::fillWeight(WeightOp op, float value) {
  op.setSourceAttr(DenseElementsAttr::get(
      RankedTensorType::get(op.getType().getShape(),
                            Float32Type::get(op.getContext())),
      value));
  op.setTransposed(false);
  removeQuantizedValues(op);
}

/// Copies values into an attribute of that type.
template <typename T>
static llvm::Expected<ElementsAttr>
copyToAttr(llvm::ArrayRef<T> values, RankedTensorType type,
           const llvm::Twine &name, bool all = false) {
  auto buffer = ValueBuffer::create(values.size() * sizeof(T));
  if (!buffer)
    return buffer.takeError();
  llvm::copy(values, buffer->template as<T>().begin());
  return ValueBuffer::toAttr(std::move(*buffer), type, name.str(), all);
}

llvm::Error effc::eff::setQuantizedValues(WeightOp op,
                                          llvm::ArrayRef<int8_t> quantized,
                                          llvm::ArrayRef<float> scales,
                                          llvm::ArrayRef<float> zeros) {
  WeightType type = op.getType();
  int64_t group = type.getGroup(), groups = type.getGroupCount();
  if (type.getFloatFormat() ||
      int64_t(quantized.size()) != type.getNumElements() ||
      int64_t(scales.size()) != type.getShape().front() * groups ||
      zeros.size() != (type.hasZeros() ? scales.size() : 0))
    return effc::makeError(
        effc::ErrorCode::BadTensor,
        "integers and scales do not fit weight '" + op.getSymName() + "'", {},
        llvm::Twine(quantized.size()) + " integers and " +
            llvm::Twine(scales.size()) + " scales");
  Builder builder(op.getContext());
  llvm::SmallVector<int64_t> scaleShape{type.getShape().front()};
  if (group)
    scaleShape.push_back(groups);
  auto q = copyToAttr(
      quantized, RankedTensorType::get(type.getShape(), builder.getI8Type()),
      op.getSymName() + ".q", /*all=*/true);
  if (!q)
    return q.takeError();
  auto s = copyToAttr(scales,
                      RankedTensorType::get(scaleShape, builder.getF32Type()),
                      op.getSymName() + ".scales", /*all=*/true);
  if (!s)
    return s.takeError();
  if (!zeros.empty()) {
    auto z = copyToAttr(zeros,
                        RankedTensorType::get(scaleShape, builder.getF32Type()),
                        op.getSymName() + ".zeros", /*all=*/true);
    if (!z)
      return z.takeError();
    op.setZerosAttr(*z);
  }
  op.setQuantizedAttr(*q);
  op.setScalesAttr(*s);
  return llvm::Error::success();
}

llvm::Expected<WeightOp>
effc::eff::createWeightVector(SymbolTable &symbols, Operation *after,
                              llvm::StringRef name,
                              llvm::ArrayRef<float> values) {
  OpBuilder builder(after->getContext());
  auto f32 = builder.getF32Type();
  int64_t size = values.size();
  auto source = copyToAttr(values, RankedTensorType::get(size, f32), name);
  if (!source)
    return source.takeError();
  auto op = WeightOp::create(
      builder, after->getLoc(), name,
      WeightType::get(builder.getContext(), size, TypeAttr::get(f32)), *source);
  symbols.insert(op, std::next(after->getIterator()));
  return op;
}
