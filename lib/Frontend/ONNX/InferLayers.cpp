//===- InferLayers.cpp - types of layers ----------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Infer.h"
#include "Types.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

static Type integer(Inference &in, unsigned width) {
  return IntegerType::get(in.op.getContext(), width);
}

/// Numpy's matrix product; nullopt (with an error) where the shapes do not fit.
static FailureOr<Shape> product(Inference &in, ArrayRef<int64_t> a,
                                ArrayRef<int64_t> b) {
  if (a.empty() || b.empty())
    return in.mismatch("a matrix product of a scalar");
  Shape left(a), right(b);
  if (a.size() == 1)
    left.insert(left.begin(), 1);
  if (b.size() == 1)
    right.push_back(1);
  if (left.back() != right[right.size() - 2])
    return in.mismatch("the inner sizes are " + Twine(left.back()) + " and " +
                       Twine(right[right.size() - 2]));
  auto batch = broadcast(ArrayRef<int64_t>(left).drop_back(2),
                         ArrayRef<int64_t>(right).drop_back(2));
  if (!batch)
    return in.mismatch("the leading sizes do not broadcast");
  if (a.size() > 1)
    batch->push_back(left[left.size() - 2]);
  if (b.size() > 1)
    batch->push_back(right.back());
  return *batch;
}

static LogicalResult matMulOf(Inference &in, unsigned a, unsigned b,
                              Type element) {
  auto left = in.type(a), right = in.type(b);
  if (!left || !right)
    return success();
  auto shape = product(in, left.getShape(), right.getShape());
  if (failed(shape))
    return failure();
  in.set(0, *shape, element ? element : left.getElementType());
  return success();
}

static LogicalResult matMul(Inference &in) {
  auto left = in.type(0), right = in.type(1);
  if (left && right && left.getElementType() != right.getElementType())
    return in.mismatch("the element types differ");
  return matMulOf(in, 0, 1, {});
}

static LogicalResult matMulInteger(Inference &in) {
  return matMulOf(in, 0, 1, integer(in, 32));
}

static LogicalResult qLinearMatMul(Inference &in) {
  auto zero = in.type(7);
  return zero ? matMulOf(in, 0, 3, zero.getElementType()) : success();
}

static LogicalResult gemm(Inference &in) {
  auto left = in.type(0), right = in.type(1);
  if (!left || !right)
    return success();
  if (left.getRank() != 2 || right.getRank() != 2)
    return in.mismatch("it wants two matrices");
  bool ta = in.op.getInt("transA", 0), tb = in.op.getInt("transB", 0);
  if (left.getDimSize(ta ? 0 : 1) != right.getDimSize(tb ? 1 : 0))
    return in.mismatch("the inner sizes differ");
  Shape result{left.getDimSize(ta ? 1 : 0), right.getDimSize(tb ? 0 : 1)};
  in.set(0, result, left.getElementType());
  if (auto bias = in.type(2))
    if (broadcast(bias.getShape(), result) != result)
      return in.mismatch("the bias does not broadcast to the result");
  return success();
}

/// Sizes of a window along the spatial axes; shared by convolutions and pools.
static FailureOr<Shape> windows(Inference &in, ArrayRef<int64_t> spatial,
                                ArrayRef<int64_t> kernel) {
  size_t n = spatial.size();
  Shape strides = in.op.getInts("strides").value_or(Shape(n, 1));
  Shape dilations = in.op.getInts("dilations").value_or(Shape(n, 1));
  Shape pads = in.op.getInts("pads").value_or(Shape(2 * n, 0));
  StringRef mode = in.op.getString("auto_pad", "NOTSET");
  if (kernel.size() != n || strides.size() != n || dilations.size() != n ||
      pads.size() != 2 * n)
    return in.mismatch(
        "kernel_shape, strides, dilations or pads have the wrong length");
  bool ceil = in.op.getInt("ceil_mode", 0);
  Shape result;
  for (size_t i = 0; i < n; ++i) {
    constexpr int64_t limit = int64_t(1) << 31;
    if (strides[i] < 1 || dilations[i] < 1 || kernel[i] < 1 || pads[i] < 0 ||
        pads[i + n] < 0 || strides[i] > limit || dilations[i] > limit ||
        kernel[i] > limit || pads[i] > limit || pads[i + n] > limit)
      return in.wrong("its window sizes must be positive");
    int64_t window = (kernel[i] - 1) * dilations[i] + 1;
    if (mode.starts_with("SAME")) {
      result.push_back((spatial[i] + strides[i] - 1) / strides[i]);
      continue;
    }
    int64_t pad = mode == "VALID" ? 0 : pads[i] + pads[i + n];
    int64_t span = spatial[i] + pad - window;
    if (span < 0)
      return in.mismatch("the window is larger than the padded input");
    int64_t size = (ceil ? span + strides[i] - 1 : span) / strides[i] + 1;
    // A window must not begin in the padding behind the end.
    if (ceil && (size - 1) * strides[i] >= spatial[i] + pads[i])
      --size;
    result.push_back(size);
  }
  return result;
}

static LogicalResult convOf(Inference &in, unsigned w, Type element) {
  auto x = in.type(0), weight = in.type(w);
  if (!x || !weight)
    return success();
  if (x.getRank() < 3 || weight.getRank() != x.getRank())
    return in.mismatch("it wants input and weight of one rank, 3 or more");
  int64_t group = in.op.getInt("group", 1);
  if (group < 1 || weight.getDimSize(0) % group ||
      weight.getDimSize(1) > (int64_t(1) << 40) / group ||
      x.getDimSize(1) != weight.getDimSize(1) * group)
    return in.mismatch("the channels do not fit " + Twine(group) + " groups");
  auto sizes =
      windows(in, x.getShape().drop_front(2), weight.getShape().drop_front(2));
  if (failed(sizes))
    return failure();
  Shape shape{x.getDimSize(0), weight.getDimSize(0)};
  llvm::append_range(shape, *sizes);
  in.set(0, shape, element ? element : x.getElementType());
  return success();
}

static LogicalResult conv(Inference &in) { return convOf(in, 1, {}); }
static LogicalResult convInteger(Inference &in) {
  return convOf(in, 1, integer(in, 32));
}
static LogicalResult qLinearConv(Inference &in) {
  auto zero = in.type(7);
  return zero ? convOf(in, 3, zero.getElementType()) : success();
}

static LogicalResult convTranspose(Inference &in) {
  auto x = in.type(0), weight = in.type(1);
  if (!x || !weight || in.op->hasAttr("output_shape") ||
      in.op.getString("auto_pad", "NOTSET") != "NOTSET")
    return success();
  if (x.getRank() < 3 || weight.getRank() != x.getRank() ||
      x.getDimSize(1) != weight.getDimSize(0))
    return in.mismatch("the channels do not fit");
  size_t n = x.getRank() - 2;
  Shape strides = in.op.getInts("strides").value_or(Shape(n, 1));
  Shape dilations = in.op.getInts("dilations").value_or(Shape(n, 1));
  Shape pads = in.op.getInts("pads").value_or(Shape(2 * n, 0));
  Shape extra = in.op.getInts("output_padding").value_or(Shape(n, 0));
  if (strides.size() != n || dilations.size() != n || pads.size() != 2 * n ||
      extra.size() != n)
    return in.mismatch("strides, dilations or pads have the wrong length");
  Shape shape{x.getDimSize(0), weight.getDimSize(1) * in.op.getInt("group", 1)};
  for (size_t i = 0; i < n; ++i)
    shape.push_back(strides[i] * (x.getDimSize(i + 2) - 1) + extra[i] +
                    (weight.getDimSize(i + 2) - 1) * dilations[i] + 1 -
                    pads[i] - pads[i + n]);
  in.set(0, shape, x.getElementType());
  return success();
}

static LogicalResult pool(Inference &in) {
  auto x = in.type(0);
  auto kernel = in.op.getInts("kernel_shape");
  if (!x || !kernel)
    return success();
  if (x.getRank() < 3)
    return in.mismatch("it wants three dimensions or more");
  auto sizes = windows(in, x.getShape().drop_front(2), *kernel);
  if (failed(sizes))
    return failure();
  Shape shape{x.getDimSize(0), x.getDimSize(1)};
  llvm::append_range(shape, *sizes);
  in.set(0, shape, x.getElementType());
  in.set(1, shape, integer(in, 64));
  return success();
}

static LogicalResult globalPool(Inference &in) {
  auto x = in.type(0);
  if (!x || x.getRank() < 2)
    return success();
  Shape shape(x.getRank(), 1);
  shape[0] = x.getDimSize(0);
  shape[1] = x.getDimSize(1);
  in.set(0, shape, x.getElementType());
  return success();
}

static LogicalResult normalization(Inference &in) {
  auto x = in.type(0), scale = in.type(1);
  if (!x)
    return success();
  auto axis = in.axis(in.op.getInt("axis", -1), x.getRank());
  if (failed(axis))
    return failure();
  for (auto type : {scale, in.type(2)})
    if (type && broadcast(type.getShape(), x.getShape()) != Shape(x.getShape()))
      return in.mismatch("the scale or bias does not broadcast to the input");
  bool own = in.op.getOpType() != "LayerNormalization";
  in.set(0, x.getShape(),
         own && scale ? scale.getElementType() : x.getElementType());
  Shape stats(x.getShape());
  for (int64_t i = *axis; i < x.getRank(); ++i)
    stats[i] = 1;
  in.set(1, stats, Float32Type::get(in.op.getContext()));
  in.set(2, stats, Float32Type::get(in.op.getContext()));
  return success();
}

static LogicalResult batchNormalization(Inference &in) {
  auto x = in.type(0), mean = in.type(3);
  if (x)
    in.set(0, x.getShape(), x.getElementType());
  if (mean && in.op.getInt("training_mode", 0)) {
    in.set(1, mean.getShape(), mean.getElementType());
    in.set(2, mean.getShape(), mean.getElementType());
  }
  return success();
}

/// Subscripts without an ellipsis: one letter for each axis.
static LogicalResult einsum(Inference &in) {
  std::string equation;
  for (char c : in.op.getString("equation", ""))
    if (c != ' ')
      equation.push_back(c);
  if (StringRef(equation).contains('.'))
    return success();
  auto [left, right] = StringRef(equation).split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != in.op.getInputs().size())
    return in.wrong("the equation names " + Twine(terms.size()) + " operands");
  std::map<char, int64_t> sizes;
  std::map<char, int> uses;
  Type element;
  for (auto [i, term] : llvm::enumerate(terms)) {
    auto type = in.type(i);
    if (!type)
      return success();
    element = type.getElementType();
    if (int64_t(term.size()) != type.getRank())
      return in.mismatch("the term '" + term + "' has the wrong rank");
    for (auto [d, letter] : llvm::enumerate(term)) {
      ++uses[letter];
      int64_t &size =
          sizes.try_emplace(letter, type.getDimSize(d)).first->second;
      if (size == 1)
        size = type.getDimSize(d);
      if (size != type.getDimSize(d) && type.getDimSize(d) != 1)
        return in.mismatch("the sizes of '" + Twine(letter) + "' differ");
    }
  }
  std::string implicit;
  if (!StringRef(equation).contains("->")) {
    for (auto [letter, count] : uses)
      if (count == 1)
        implicit.push_back(letter);
    right = implicit;
  }
  Shape shape;
  for (char letter : right) {
    if (!sizes.count(letter))
      return in.wrong("the result's subscript '" + Twine(letter) +
                      "' is in no operand");
    shape.push_back(sizes[letter]);
  }
  in.set(0, shape, element);
  return success();
}

static LogicalResult gridSample(Inference &in) {
  auto x = in.type(0), grid = in.type(1);
  if (!x || !grid)
    return success();
  if (x.getRank() < 3 || grid.getRank() != x.getRank() ||
      grid.getShape().back() != x.getRank() - 2)
    return in.mismatch("the grid does not name a place in each dimension");
  Shape shape(grid.getShape().drop_back());
  shape.insert(shape.begin() + 1, x.getDimSize(1));
  in.set(0, shape, x.getElementType());
  return success();
}

static LogicalResult quantize(Inference &in) {
  auto x = in.type(0);
  if (!x)
    return success();
  Type element = IntegerType::get(in.op.getContext(), 8, IntegerType::Unsigned);
  if (auto zero = in.type(2))
    element = zero.getElementType();
  else if (in.has(2))
    return success();
  else if (int64_t code = in.op.getInt("output_dtype", 0))
    element = elementType(in.op.getContext(), code);
  if (element)
    in.set(0, x.getShape(), element);
  return success();
}

static LogicalResult dequantize(Inference &in) {
  auto x = in.type(0), scale = in.type(1);
  if (!x || !scale)
    return success();
  Type element = scale.getElementType();
  if (int64_t code = in.op.getInt("output_dtype", 0))
    element = elementType(in.op.getContext(), code);
  if (element)
    in.set(0, x.getShape(), element);
  return success();
}

static LogicalResult dynamicQuantize(Inference &in) {
  auto x = in.type(0);
  if (!x)
    return success();
  Type byte = IntegerType::get(in.op.getContext(), 8, IntegerType::Unsigned);
  in.set(0, x.getShape(), byte);
  in.set(1, {}, Float32Type::get(in.op.getContext()));
  in.set(2, {}, byte);
  return success();
}

/// Attention of ai.onnx 23 and later: q, k, v, mask, past key, past value.
static LogicalResult attention(Inference &in) {
  auto q = in.type(0), k = in.type(1), v = in.type(2);
  if (!q || !k || !v)
    return success();
  int64_t qHeads = in.op.getInt("q_num_heads", 0),
          kvHeads = in.op.getInt("kv_num_heads", 0);
  bool packed = q.getRank() == 3;
  if (q.getRank() != k.getRank() || k.getRank() != v.getRank() ||
      (!packed && q.getRank() != 4))
    return in.mismatch(
        "query, key and value must all have three or four dimensions");
  if (packed && (qHeads < 1 || kvHeads < 1 || q.getDimSize(2) % qHeads ||
                 k.getDimSize(2) % kvHeads || v.getDimSize(2) % kvHeads))
    return in.mismatch("the widths are no multiples of the numbers of heads");
  if (!packed) {
    qHeads = q.getDimSize(1);
    kvHeads = k.getDimSize(1);
  }
  int64_t seq = q.getDimSize(packed ? 1 : 2),
          keys = k.getDimSize(packed ? 1 : 2);
  int64_t width = packed ? k.getDimSize(2) / kvHeads : k.getDimSize(3);
  int64_t valueWidth = packed ? v.getDimSize(2) / kvHeads : v.getDimSize(3);
  auto past = in.type(4);
  if (in.has(4) && !past)
    return success();
  int64_t total = keys + (past && past.getRank() == 4 ? past.getDimSize(2) : 0);
  int64_t batch = q.getDimSize(0);
  Type element = q.getElementType();
  if (packed)
    in.set(0, {batch, seq, qHeads * valueWidth}, element);
  else
    in.set(0, {batch, qHeads, seq, valueWidth}, element);
  in.set(1, {batch, kvHeads, total, width}, k.getElementType());
  in.set(2, {batch, kvHeads, total, valueWidth}, v.getElementType());
  in.set(3, {batch, qHeads, seq, total}, element);
  return success();
}

static LogicalResult firstOperand(Inference &in) {
  if (auto x = in.type(0))
    in.set(0, x.getShape(), x.getElementType());
  return success();
}

InferFn onnx::findLayerRule(NodeOp node) {
  if (!node.getDomain().empty())
    return nullptr;
  return llvm::StringSwitch<InferFn>(node.getOpType())
      .Case("MatMul", matMul)
      .Case("MatMulInteger", matMulInteger)
      .Case("QLinearMatMul", qLinearMatMul)
      .Case("Gemm", gemm)
      .Case("Conv", conv)
      .Case("ConvInteger", convInteger)
      .Case("ConvTranspose", convTranspose)
      .Case("QLinearConv", qLinearConv)
      .Cases({"MaxPool", "AveragePool", "LpPool"}, pool)
      .Cases({"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}, globalPool)
      .Cases({"LayerNormalization", "RMSNormalization"}, normalization)
      .Case("BatchNormalization", batchNormalization)
      .Case("Einsum", einsum)
      .Case("GridSample", gridSample)
      .Case("QuantizeLinear", quantize)
      .Case("DequantizeLinear", dequantize)
      .Case("DynamicQuantizeLinear", dynamicQuantize)
      .Case("Attention", attention)
      .Case("RotaryEmbedding", firstOperand)
      .Default(nullptr);
}
