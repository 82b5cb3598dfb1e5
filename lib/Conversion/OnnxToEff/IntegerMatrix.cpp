//===- IntegerMatrix.cpp - matrices that a file holds as integers ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "IntegerMatrix.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

//===----------------------------------------------------------------------===//
// DequantizedConstant
//===----------------------------------------------------------------------===//

static FailureOr<onnx::HostTensor> readTensor(Value v) {
  auto constant = v ? v.getDefiningOp<onnx::ConstantOp>() : onnx::ConstantOp();
  if (!constant)
    return failure();
  return onnx::HostTensor::read(constant.getValue());
}

FailureOr<DequantizedConstant> DequantizedConstant::create(onnx::NodeOp node) {
  DequantizedConstant c;
  auto constant = node.getInput(0).getDefiningOp<onnx::ConstantOp>();
  if (!constant)
    return failure();
  c.values = constant.getValue();
  auto bytes = onnx::ElementBytes::of(c.values);
  auto scale = readTensor(node.getInput(1));
  if (failed(bytes) || failed(scale) || !scale->isFloat() || scale->size() == 0)
    return failure();
  c.bytes = std::move(*bytes);
  c.scale = std::move(*scale);
  if (node.getInput(2)) {
    auto zero = readTensor(node.getInput(2));
    if (failed(zero) || zero->size() != c.scale.size())
      return failure();
    c.zero = std::move(*zero);
  }
  if (!llvm::all_of(c.scale.floats, [](double s) { return std::isfinite(s); }))
    return failure();
  c.type = cast<RankedTensorType>(c.values.getShapedType());
  if (c.scale.size() == 1)
    return c;
  c.block = node.getInt("block_size", 0);
  c.axis = Graph::axis(node, 1, c.type.getRank());
  if (c.axis < 0 || c.axis >= c.type.getRank() || c.block < 0)
    return failure();
  for (int64_t d = c.axis + 1; d < c.type.getRank(); ++d)
    c.inner *= c.type.getDimSize(d);
  int64_t size = c.type.getDimSize(c.axis);
  SmallVector<int64_t> expected{size};
  if (c.block) {
    expected.assign(c.type.getShape().begin(), c.type.getShape().end());
    expected[c.axis] = llvm::divideCeil(size, c.block);
  }
  if (c.scale.shape != expected)
    return failure();
  return c;
}

int64_t DequantizedConstant::scaleIndex(int64_t i) const {
  if (scale.size() == 1)
    return 0;
  int64_t size = type.getDimSize(axis), at = i / inner % size;
  if (block == 0)
    return at;
  int64_t blocks = scale.shape[axis];
  return (i / inner / size * blocks + at / block) * inner + i % inner;
}

int64_t DequantizedConstant::integer(int64_t i) const {
  unsigned step = onnx::storedBytes(type.getElementType()),
           width = type.getElementTypeBitWidth();
  uint64_t value = 0;
  std::memcpy(&value, bytes.get().data() + i * step, step);
  if (width == 64)
    return int64_t(value);
  value &= (uint64_t(1) << width) - 1;
  return type.getElementType().isUnsignedInteger()
             ? int64_t(value)
             : llvm::SignExtend64(value, width);
}

std::vector<double> DequantizedConstant::numbers() const {
  std::vector<double> stored(type.getNumElements());
  if (isa<FloatType>(type.getElementType())) {
    auto elements = onnx::HostTensor::read(values);
    if (succeeded(elements))
      stored = std::move(elements->floats);
  } else {
    for (size_t i = 0; i < stored.size(); ++i)
      stored[i] = double(integer(int64_t(i)));
  }
  for (size_t i = 0; i < stored.size(); ++i) {
    int64_t s = scaleIndex(int64_t(i));
    stored[i] = double(float(stored[i] - zeroOf(s)) * float(scale.floats[s]));
  }
  return stored;
}

//===----------------------------------------------------------------------===//
// IntegerMatrix
//===----------------------------------------------------------------------===//

void IntegerMatrix::settle(unsigned storedBits) {
  bits = storedBits <= 4 ? 4 : 8;
  int64_t count = groups();
  if (llvm::all_of(zeros, [](float z) { return z == 0; }))
    zeros.clear();
  if (zeros.empty() || llvm::any_of(zeros, [](float z) {
        return std::nearbyint(z) != z || std::abs(z) > 512;
      }))
    return;
  int64_t low = bits == 4 ? -8 : -128, high = -low - 1;
  auto shifted = [&](int64_t i) {
    int64_t g = group ? i % k / group : 0;
    return int64_t(q[i]) - int64_t(zeros[i / k * count + g]);
  };
  for (int64_t i = 0; i < n * k; ++i)
    if (shifted(i) < low || shifted(i) > high)
      return;
  for (int64_t i = 0; i < n * k; ++i)
    q[i] = int8_t(shifted(i));
  zeros.clear();
}

std::optional<IntegerMatrix> IntegerMatrix::read(const View &view, int64_t n,
                                                 int64_t k, std::string &why) {
  auto node = view.base.getDefiningOp<onnx::NodeOp>();
  auto source = DequantizedConstant::create(node);
  if (failed(source)) {
    why = "scales or zero points do not fit the constant";
    return std::nullopt;
  }
  auto element = dyn_cast<IntegerType>(source->type.getElementType());
  if (!element || element.getWidth() > 8 || element.getWidth() < 2) {
    why = "its elements are not integers of 2, 4 or 8 bits";
    return std::nullopt;
  }
  IntegerMatrix m;
  m.n = n;
  m.k = k;
  m.q.resize(n * k);
  std::vector<int32_t> indices(n * k);
  // Unsigned numbers lose half their range, and so do their zero points.
  int64_t half =
      element.isUnsigned() ? int64_t(1) << (element.getWidth() - 1) : 0;
  size_t next = 0;
  view.dims.visit([&](int64_t at) {
    m.q[next] = int8_t(source->integer(at) - half);
    indices[next++] = int32_t(source->scaleIndex(at));
  });
  auto sameIn = [&](int64_t length) {
    for (int64_t i = 0; i < n * k; ++i)
      if (indices[i] != indices[i - i % k % length])
        return false;
    return true;
  };
  if (!sameIn(k)) {
    int64_t run = 1;
    while (run < k && indices[run] == indices[0])
      ++run;
    if (run % 8 != 0 || !sameIn(run)) {
      why = "runs of " + std::to_string(run) +
            " inputs share a scale, and kernels know multiples of 8";
      return std::nullopt;
    }
    m.group = run;
  }
  for (int64_t row = 0; row < n; ++row)
    for (int64_t g = 0; g < m.groups(); ++g) {
      int64_t s = indices[row * k + g * m.group];
      m.scales.push_back(float(source->scale.floats[s]));
      m.zeros.push_back(float(source->zeroOf(s) - double(half)));
    }
  m.settle(element.getWidth());
  return m;
}

bool effc::raise::hasScalePerRow(const View &view, bool floats) {
  auto source =
      DequantizedConstant::create(view.base.getDefiningOp<onnx::NodeOp>());
  if (failed(source) ||
      isa<FloatType>(source->type.getElementType()) != floats ||
      source->type.getElementTypeBitWidth() > 8)
    return false;
  if (source->scale.size() == 1)
    return true;
  if (source->block || view.dims.rank() != 2 || view.dims.dims[0].size() != 1)
    return false;
  int64_t stride = 1;
  for (int64_t d = source->axis + 1; d < source->type.getRank(); ++d)
    stride *= source->type.getDimSize(d);
  Factor rows = view.dims.dims[0][0];
  return rows.stride == stride &&
         rows.size == source->type.getDimSize(source->axis);
}

//===----------------------------------------------------------------------===//
// Packed weights
//===----------------------------------------------------------------------===//

namespace {
/// Unsigned integers of 2, 4 or 8 bits in bytes, low bits first; each row
/// starts at a whole byte.
struct Packed {
  ArrayRef<char> bytes;
  unsigned bits;
  int64_t rowBytes;

  int64_t get(int64_t row, int64_t i) const {
    int64_t per = 8 / bits;
    auto byte = uint8_t(bytes[row * rowBytes + i / per]);
    return byte >> (i % per * bits) & ((1u << bits) - 1);
  }
};
} // namespace

static std::optional<onnx::ElementBytes> bytesOf(Value v) {
  auto constant = v ? v.getDefiningOp<onnx::ConstantOp>() : onnx::ConstantOp();
  if (!constant)
    return std::nullopt;
  return onnx::ElementBytes::of(constant.getValue());
}

/// `n * groups` scales as f32.
static std::optional<std::vector<float>>
readScales(Graph &graph, Value v, int64_t count, std::string &why) {
  auto numbers = graph.numbers(v);
  if (!Graph::isFloat(v) || !numbers || int64_t(numbers->size()) != count) {
    why = "the scales must be " + std::to_string(count) + " constants";
    return std::nullopt;
  }
  if (!llvm::all_of(*numbers, [](double s) { return std::isfinite(s); })) {
    why = "a scale is not finite";
    return std::nullopt;
  }
  return std::vector<float>(numbers->begin(), numbers->end());
}

std::optional<IntegerMatrix>
IntegerMatrix::readNBits(Graph &graph, onnx::NodeOp node, std::string &why,
                         SmallVectorImpl<int64_t> &order) {
  auto refuse = [&](const Twine &reason) {
    why = reason.str();
    return std::nullopt;
  };
  IntegerMatrix m;
  m.n = node.getInt("N", 0);
  m.k = node.getInt("K", 0);
  int64_t stored = node.getInt("bits", 4), block = node.getInt("block_size", 0);
  if (m.n < 1 || m.k < 1)
    return refuse("N and K must be positive");
  if (stored != 2 && stored != 4 && stored != 8)
    return refuse("weights of " + Twine(stored) +
                  " bits; 2, 4 and 8 are known");
  if (block < 16 || !llvm::isPowerOf2_64(uint64_t(block)))
    return refuse("a block_size of " + Twine(block) +
                  "; it must be a power of two from 16 on");
  if (node.getInt("weight_prepacked", 0))
    return refuse("weight_prepacked: the order of the bytes is that of one "
                  "device");
  m.group = block;
  int64_t blocks = m.groups(), half = int64_t(1) << (stored - 1);
  auto bytes = bytesOf(node.getInput(1));
  int64_t rowBytes = blocks * block * stored / 8;
  if (!bytes ||
      Graph::elementType(node.getInput(1)).getIntOrFloatBitWidth() != 8 ||
      int64_t(bytes->get().size()) != m.n * rowBytes)
    return refuse("the weight must be a constant of " + Twine(m.n * rowBytes) +
                  " bytes: N rows of ceil(K / block_size) whole blocks");
  auto scales = readScales(graph, node.getInput(2), m.n * blocks, why);
  if (!scales)
    return std::nullopt;
  m.scales = std::move(*scales);
  if (Value zeros = node.getInput(3)) {
    int64_t zeroBytes = llvm::divideCeil(blocks * stored, 8);
    auto packed = bytesOf(zeros);
    bool isFloat = Graph::isFloat(zeros);
    int64_t count = isFloat ? m.n * blocks : m.n * zeroBytes;
    if (!packed || numElements(Graph::shape(zeros)) != count)
      return refuse("the zero points must be " + Twine(count) + " constants");
    if (isFloat) {
      auto numbers = graph.numbers(zeros);
      for (double z : *numbers)
        m.zeros.push_back(float(z - double(half)));
    } else {
      Packed p{packed->get(), unsigned(stored), zeroBytes};
      for (int64_t row = 0; row < m.n; ++row)
        for (int64_t g = 0; g < blocks; ++g)
          m.zeros.push_back(float(p.get(row, g) - half));
    }
  }
  // With a group index, columns of one group come together.
  SmallVector<int64_t> columns(m.k);
  std::iota(columns.begin(), columns.end(), 0);
  if (Value index = node.getInput(4)) {
    auto groups = graph.ints(index);
    if (!groups || int64_t(groups->size()) < m.k)
      return refuse("g_idx must be K constants");
    groups->resize(m.k);
    std::vector<int64_t> sizes(blocks, 0);
    for (int64_t g : *groups) {
      if (g < 0 || g >= blocks)
        return refuse("g_idx names group " + Twine(g) + " of " + Twine(blocks));
      ++sizes[g];
    }
    for (int64_t g = 0; g < blocks; ++g)
      if (sizes[g] != std::min(block, m.k - g * block))
        return std::nullopt;
    llvm::sort(columns, [&](int64_t a, int64_t b) {
      return std::pair((*groups)[a], a) < std::pair((*groups)[b], b);
    });
    if (!llvm::is_sorted(columns))
      order.assign(columns.begin(), columns.end());
  }
  Packed p{bytes->get(), unsigned(stored), rowBytes};
  m.q.resize(m.n * m.k);
  for (int64_t row = 0; row < m.n; ++row)
    for (int64_t i = 0; i < m.k; ++i)
      m.q[row * m.k + i] = int8_t(p.get(row, columns[i]) - half);
  m.settle(unsigned(stored));
  return m;
}

std::optional<IntegerMatrix>
IntegerMatrix::readTable(Graph &graph, onnx::NodeOp node, std::string &why) {
  auto refuse = [&](const Twine &reason) {
    why = reason.str();
    return std::nullopt;
  };
  Value data = node.getInput(0), zeros = node.getInput(3);
  auto bytes = bytesOf(data);
  auto element = dyn_cast<IntegerType>(Graph::elementType(data));
  if (!bytes || !element || Graph::rank(data) != 2)
    return refuse("the table must be a constant matrix of integers");
  int64_t block = node.getInt("block_size", 128),
          axis = node.getInt("quantize_axis", 1);
  if (node.getInt("gather_axis", 0) != 0 || (axis != 1 && axis != -1))
    return refuse("rows must be gathered and blocks lie along them");
  if (block < 8 || block % 8)
    return refuse("a block_size of " + Twine(block) +
                  "; it must be a multiple of 8");
  bool isPacked = element.getWidth() == 8;
  auto stored =
      isPacked ? unsigned(node.getInt("bits", 4)) : element.getWidth();
  if (stored != 2 && stored != 4 && stored != 8)
    return refuse("a table of " + Twine(stored) +
                  " bits; 2, 4 and 8 are known");
  IntegerMatrix m;
  m.n = Graph::shape(data)[0];
  m.k = Graph::shape(data)[1] * (isPacked ? 8 / stored : 1);
  m.group = block;
  int64_t blocks = m.groups();
  bool isUnsigned = isPacked || element.isUnsigned();
  int64_t half = isUnsigned ? int64_t(1) << (stored - 1) : 0;
  auto scales = readScales(graph, node.getInput(2), m.n * blocks, why);
  if (!scales)
    return std::nullopt;
  m.scales = std::move(*scales);
  auto signExtended = [&](int64_t x) {
    return isUnsigned ? x - half : llvm::SignExtend64(uint64_t(x), stored);
  };
  if (zeros) {
    auto zeroBytes = bytesOf(zeros);
    int64_t perRow = isPacked ? llvm::divideCeil(blocks * stored, 8) : blocks;
    if (!zeroBytes || int64_t(zeroBytes->get().size()) != m.n * perRow)
      return refuse("the zero points must be " + Twine(m.n * perRow) +
                    " constants");
    Packed p{zeroBytes->get(), isPacked ? stored : 8, perRow};
    for (int64_t row = 0; row < m.n; ++row)
      for (int64_t g = 0; g < blocks; ++g)
        m.zeros.push_back(float(signExtended(p.get(row, g))));
  } else if (isUnsigned && !isPacked) {
    m.zeros.assign(m.n * blocks, float(-half)); // the zero point is 0
  }
  Packed p{bytes->get(), isPacked ? stored : 8, Graph::shape(data)[1]};
  m.q.resize(m.n * m.k);
  for (int64_t row = 0; row < m.n; ++row)
    for (int64_t i = 0; i < m.k; ++i)
      m.q[row * m.k + i] = int8_t(signExtended(p.get(row, i)));
  m.settle(stored);
  return m;
}
