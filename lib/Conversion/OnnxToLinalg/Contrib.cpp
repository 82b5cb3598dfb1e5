//===- Contrib.cpp - contributed operators of language models -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Products.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

//===----------------------------------------------------------------------===//
// MatMulNBits
//===----------------------------------------------------------------------===//

namespace {
/// A weight [n, k] of packed unsigned integers: rows of `blocks` blocks, each
/// padded to whole bytes, low bits first.
struct PackedWeight {
  int64_t n, k, bits, block;

  int64_t blocks() const { return llvm::divideCeil(k, block); }
  /// Zero points of a row are packed in the same way and padded to a byte.
  int64_t zeroBytes() const { return llvm::divideCeil(blocks() * bits, 8); }
  int64_t perByte() const { return 8 / bits; }
};
} // namespace

/// Number `index` of packed bytes that start at `first`.
static Value unpack(const Expr &e, Value bytes, Value first, Value index,
                    const PackedWeight &w) {
  Value per = e.index(w.perByte());
  Value at = e.add(first, e.op<arith::DivUIOp>(index, per));
  Type i32 = e.b.getI32Type();
  Value byte = e.cast(e.extract(bytes, at), i32, /*fromUnsigned=*/true);
  Value shift = e.mul(e.op<arith::RemUIOp>(index, per), e.index(w.bits));
  Value low = e.op<arith::ShRUIOp>(byte, e.op<arith::IndexCastOp>(i32, shift));
  return e.both(low, e.integer(i32, (1 << w.bits) - 1));
}

/// `y = a dequantize(b)^T + bias`.
static Results matMulNBits(Lowering &l) {
  PackedWeight w{l.node.getInt("N", 0), l.node.getInt("K", 0),
                 l.node.getInt("bits", 4), l.node.getInt("block_size", 0)};
  bool isKnown = w.bits == 2 || w.bits == 4 || w.bits == 8;
  if (w.n < 1 || w.k < 1 || !isKnown || w.block < 1 || (w.block * w.bits) % 8 ||
      l.node.getInt("weight_prepacked", 0))
    return failure();
  Value a = l.in(0), packed = l.in(1), scales = l.in(2), zeros = l.in(3),
        order = l.in(4), bias = l.in(5);
  int64_t blockBytes = w.block * w.bits / 8, blocks = w.blocks();
  auto count = [](Value x) { return product(Lowering::shape(x)); };
  if (!packed || !scales || Lowering::isFloat(packed) ||
      count(packed) != w.n * blocks * blockBytes ||
      count(scales) != w.n * blocks || Lowering::shape(a).back() != w.k ||
      (order && count(order) != w.k) || (bias && count(bias) != w.n))
    return failure();
  bool packedZeros = zeros && !Lowering::isFloat(zeros);
  if (zeros && count(zeros) != w.n * (packedZeros ? w.zeroBytes() : blocks))
    return failure();
  auto line = [&](Value x) { return x ? l.reshape(x, {count(x)}) : x; };
  packed = line(packed);
  scales = line(scales);
  zeros = line(zeros);
  order = line(order);
  Type real = l.b.getF32Type();
  Value weight = l.generate({w.n, w.k}, real, [&](const Expr &e, ValueRange i) {
    Value block = e.op<arith::DivUIOp>(i[1], e.index(w.block));
    Value first =
        e.mul(e.add(e.mul(i[0], e.index(blocks)), block), e.index(blockBytes));
    Value within = e.op<arith::RemUIOp>(i[1], e.index(w.block));
    Value number = e.cast(unpack(e, packed, first, within, w), real);
    // With an order, a column's scale and zero point are those of its group.
    Value group = order ? e.toIndex(e.extract(order, i[1])) : block;
    Value row = e.add(e.mul(i[0], e.index(blocks)), group);
    Value zero = e.constant(real, double(1 << (w.bits - 1)));
    if (packedZeros)
      zero = e.cast(
          unpack(e, zeros, e.mul(i[0], e.index(w.zeroBytes())), group, w),
          real);
    else if (zeros)
      zero = e.cast(e.extract(zeros, row), real);
    Value scale = e.cast(e.extract(scales, row), real);
    return e.mul(e.sub(number, zero), scale);
  });
  Value y = matmul(l, l.cast(a, real), l.transpose(weight, {1, 0}), real);
  if (y && bias)
    y = l.map(y, l.cast(line(bias), real),
              [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
  return y ? one(l.cast(y, l.out().getElementType())) : Results(failure());
}

//===----------------------------------------------------------------------===//
// GroupQueryAttention
//===----------------------------------------------------------------------===//

namespace {
/// Queries [B, H, S, D] over keys and values [B, H', L, D]: the past, then what
/// this call brings from position `base` of each batch row on.
struct GroupQuery {
  Lowering &l;
  int64_t batch, heads, kvHeads, tokens, size, length;
  Value base; // [B], index as i64

  Value split(Value x, int64_t count) const {
    return l.transpose(l.reshape(x, {batch, tokens, count, size}),
                       {0, 2, 1, 3});
  }

  Value baseOf(const Expr &e, Value row) const {
    return e.toIndex(e.extract(base, row));
  }

  /// How many tokens each sequence has before this call.
  void findBase(Value lengths, Value total) {
    Type i64 = l.b.getI64Type();
    lengths = l.cast(l.reshape(lengths, {batch}), i64);
    total = l.cast(l.reshape(total, {}), i64);
    base = l.map(ArrayRef<int64_t>{batch}, i64, {lengths, total},
                 [&](const Expr &e, ValueRange v) {
                   Type type = v[0].getType();
                   Value before = e.sub(v[0], e.integer(type, tokens - 1));
                   Value zero = e.integer(type, 0);
                   Value isPrompt = e.compare(
                       Compare::EQ, v[1], e.integer(v[1].getType(), tokens));
                   return e.select(isPrompt, zero, e.max(before, zero));
                 });
  }

  /// Rotates pairs of each head by its token's position.
  Value rotate(Value x, Value cosine, Value sine, Value places) const {
    ArrayRef<int64_t> table = Lowering::shape(cosine);
    if (table.size() != 2 || Lowering::shape(sine) != table || table[0] == 0 ||
        2 * table[1] > size)
      return {};
    int64_t half = table[1];
    bool interleaved = l.node.getInt("rotary_interleaved", 0);
    Type element = Lowering::elementOf(x);
    return l.generate(
        Lowering::shape(x), element, [&](const Expr &e, ValueRange i) {
          Value d = i[3], halfValue = e.index(half);
          Value inside = e.compare(Compare::LT, d, e.index(2 * half));
          Value pair = interleaved ? e.op<arith::DivUIOp>(d, e.index(2))
                                   : e.op<arith::RemUIOp>(d, halfValue);
          pair = e.min(pair, e.index(half - 1));
          Value isSecond =
              interleaved
                  ? e.compare(Compare::EQ, e.op<arith::RemUIOp>(d, e.index(2)),
                              e.index(1))
                  : e.compare(Compare::GE, d, halfValue);
          Value other = interleaved ? e.select(isSecond, e.sub(d, e.index(1)),
                                               e.add(d, e.index(1)))
                                    : e.select(isSecond, e.sub(d, halfValue),
                                               e.add(d, halfValue));
          other = e.min(e.max(other, e.index(0)), e.index(size - 1));
          Value place = places ? e.toIndex(e.extract(places, {i[0], i[2]}))
                               : e.add(baseOf(e, i[0]), i[2]);
          place = e.min(e.max(place, e.index(0)), e.index(table[0] - 1));
          Value c = e.cast(e.extract(cosine, {place, pair}), element);
          Value s = e.cast(e.extract(sine, {place, pair}), element);
          Value own = e.extract(x, {i[0], i[1], i[2], d});
          Value partner = e.extract(x, {i[0], i[1], i[2], other});
          s = e.select(isSecond, s, e.neg(s));
          return e.select(inside, e.add(e.mul(own, c), e.mul(partner, s)), own);
        });
  }

  /// The past, with what is new in its place.
  Value present(Value past, Value fresh) const {
    Type element = Lowering::elementOf(fresh);
    int64_t held = past ? Lowering::shape(past)[2] : 0;
    return l.generate(
        {batch, kvHeads, length, Lowering::shape(fresh)[3]}, element,
        [&](const Expr &e, ValueRange i) {
          Value at = e.sub(i[2], baseOf(e, i[0]));
          Value isNew = e.both(e.compare(Compare::GE, at, e.index(0)),
                               e.compare(Compare::LT, at, e.index(tokens)));
          Value row = e.min(e.max(at, e.index(0)), e.index(tokens - 1));
          Value value = e.extract(fresh, {i[0], i[1], row, i[3]});
          Value old = e.constant(element, 0);
          if (held > 0) {
            Value inPast = e.compare(Compare::LT, i[2], e.index(held));
            Value place = e.min(i[2], e.index(held - 1));
            Value kept =
                e.cast(e.extract(past, {i[0], i[1], place, i[3]}), element);
            old = e.select(inPast, kept, old);
          }
          return e.select(isNew, value, old);
        });
  }

  /// Keys or values [B, H', S, D] as a quantised cache holds them:
  /// clamp(round(x * (1 / scale))), of 4 bits plus 8 and two to a byte.
  Value quantise(Value x, Value scale, int64_t bits) const {
    Type real = l.b.getF32Type(), byte = l.b.getI8Type();
    double half = bits == 4 ? 8 : 128;
    x = l.map(Lowering::shape(x), byte, {l.cast(x, real), scale},
              [&](const Expr &e, ValueRange v) {
                Type type = v[0].getType();
                Value q = e.mul(v[0], e.div(e.constant(type, 1), v[1]));
                q = e.op<math::RoundEvenOp>(q);
                q = e.max(e.min(q, e.constant(type, half - 1)),
                          e.constant(type, -half));
                return e.cast(q, byte);
              });
    if (bits == 8)
      return x;
    return l.generate({batch, kvHeads, tokens, size / 2}, byte,
                      [&](const Expr &e, ValueRange i) {
                        Value at = e.mul(i[3], e.index(2));
                        auto nibble = [&](Value d) {
                          return e.add(e.extract(x, {i[0], i[1], i[2], d}),
                                       e.integer(byte, 8));
                        };
                        Value high = e.op<arith::ShLIOp>(
                            nibble(e.add(at, e.index(1))), e.integer(byte, 4));
                        return e.op<arith::OrIOp>(nibble(at), high);
                      });
  }

  /// What the integers of a quantised cache stand for.
  Value dequantise(Value codes, Value scale, int64_t bits, Type real) const {
    Type i32 = l.b.getI32Type();
    return l.generate(
        {batch, kvHeads, length, size}, real, [&](const Expr &e, ValueRange i) {
          Value code;
          if (bits == 8) {
            code = e.cast(e.extract(codes, i), i32);
          } else {
            Value two = e.index(2);
            Value byte = e.extract(
                codes, {i[0], i[1], i[2], e.op<arith::DivUIOp>(i[3], two)});
            Value shift = e.op<arith::IndexCastOp>(
                i32, e.mul(e.op<arith::RemUIOp>(i[3], two), e.index(4)));
            code = e.op<arith::ShRUIOp>(
                e.cast(byte, i32, /*fromUnsigned=*/true), shift);
            code = e.sub(e.both(code, e.integer(i32, 15)), e.integer(i32, 8));
          }
          Value zero = e.index(0);
          Value factor =
              e.cast(e.extract(scale, {zero, i[1], zero, i[3]}), real);
          return e.mul(e.cast(code, real), factor);
        });
  }

  /// A scale for each head and feature, [1, H', 1, D], of `k_scale` or
  /// `v_scale`; null when there are not as many as `type` says.
  Value scales(Value scale, StringRef type) const {
    int64_t channels = kvHeads * size;
    bool each = type == "PER_CHANNEL";
    if (!scale || !Lowering::isFloat(scale) ||
        (!each && type != "PER_TENSOR") ||
        product(Lowering::shape(scale)) != (each ? channels : 1))
      return {};
    scale = l.cast(scale, l.b.getF32Type());
    return each ? l.reshape(scale, {1, kvHeads, 1, size})
                : l.broadcast(l.reshape(scale, {1, 1, 1, 1}),
                              {1, kvHeads, 1, size});
  }

  /// What a query may see: itself, what is before it, no further back than the
  /// window.
  Value mask(Value scores) const {
    int64_t window = l.node.getInt("local_window_size", -1);
    Value sees = l.generate(
        {batch, 1, tokens, length}, l.b.getI1Type(),
        [&](const Expr &e, ValueRange i) {
          Value place = e.add(baseOf(e, i[0]), i[2]);
          Value visible = e.compare(Compare::LE, i[3], place);
          if (window > 0)
            visible = e.both(visible, e.compare(Compare::GT, i[3],
                                                e.sub(place, e.index(window))));
          return visible;
        });
    return l.map(Lowering::shape(scores), Lowering::elementOf(scores),
                 {sees, scores}, [](const Expr &e, ValueRange v) {
                   return e.select(v[0], v[1],
                                   e.constant(v[1].getType(), -HUGE_VAL));
                 });
  }

  Value attend(Value q, Value k, Value v, Value bias) const {
    int64_t group = heads / kvHeads;
    double scale = l.node.getFloat("scale", 0);
    if (scale == 0)
      scale = 1 / std::sqrt(double(size));
    Type sum = Lowering::elementOf(q);
    // Loops b, h, g, s, t, d.
    AffineExpr b = l.dim(0), h = l.dim(1), g = l.dim(2), s = l.dim(3),
               t = l.dim(4), d = l.dim(5);
    q = l.reshape(q, {batch, kvHeads, group, tokens, size});
    Value scores = l.contract({batch, kvHeads, group, tokens, length}, {size},
                              {{q, {b, h, g, s, d}}, {k, {b, h, t, d}}}, sum);
    scores = l.reshape(scores, {batch, heads, tokens, length});
    double cap = l.node.getFloat("softcap", 0);
    scores = l.map(scores, [&](const Expr &e, ValueRange x) {
      Value y = e.scale(x[0], scale);
      return cap == 0 ? y
                      : e.scale(e.op<math::TanhOp>(e.scale(y, 1 / cap)), cap);
    });
    if (bias)
      scores =
          l.map(Lowering::shape(scores), sum, {scores, l.cast(bias, sum)},
                [](const Expr &e, ValueRange x) { return e.add(x[0], x[1]); });
    if (!scores)
      return {};
    Value weights = softmax(l, mask(scores), 3, /*zeroRows=*/true);
    weights = l.reshape(weights, {batch, kvHeads, group, tokens, length});
    // Loops b, h, g, s, e, t.
    AffineExpr e = l.dim(4), key = l.dim(5);
    Value y =
        l.contract({batch, kvHeads, group, tokens, size}, {length},
                   {{weights, {b, h, g, s, key}}, {v, {b, h, key, e}}}, sum);
    y = l.transpose(l.reshape(y, {batch, heads, tokens, size}), {0, 2, 1, 3});
    return l.reshape(y, {batch, tokens, heads * size});
  }
};
} // namespace

static Results groupQueryAttention(Lowering &l) {
  Value q = l.in(0), k = l.in(1), v = l.in(2);
  int64_t heads = l.node.getInt("num_heads", 0),
          kvHeads = l.node.getInt("kv_num_heads", 0);
  StringRef keyType = l.node.getString("k_quant_type", "NONE"),
            valueType = l.node.getString("v_quant_type", "NONE");
  for (StringRef *type : {&keyType, &valueType})
    if (type->empty())
      *type = "NONE";
  int64_t bits = keyType == "NONE" ? 0 : l.node.getInt("kv_cache_bit_width", 0);
  bool quantised = keyType != "NONE" || valueType != "NONE";
  if (quantised &&
      (keyType == "NONE" || valueType == "NONE" || (bits != 8 && bits != 4)))
    return failure();
  if (!q || Lowering::rank(q) != 3 || heads < 1 || kvHeads < 1 ||
      heads % kvHeads || !l.in(5) || !l.in(6) || bool(k) != bool(v) ||
      bool(l.in(3)) != bool(l.in(4)) ||
      l.node.getInt("smooth_softmax", 0) > 0 ||
      l.node.getInt("sliding_window_cache", 0) || l.in(11) || l.in(14) ||
      l.in(15) || l.node->getNumResults() > 3)
    return failure();
  ArrayRef<int64_t> sq = Lowering::shape(q);
  int64_t all = k ? heads : heads + 2 * kvHeads;
  if (sq[2] % all || sq[1] == 0 || !l.out(1) || l.out(1).getRank() != 4)
    return failure();
  GroupQuery op{
      l, sq[0], heads, kvHeads, sq[1], sq[2] / all, l.out(1).getShape()[2], {}};
  if (!k) {
    v = l.sliceAxis(q, 2, (heads + kvHeads) * op.size, kvHeads * op.size);
    k = l.sliceAxis(q, 2, heads * op.size, kvHeads * op.size);
    q = l.sliceAxis(q, 2, 0, heads * op.size);
  }
  SmallVector<int64_t> kv{op.batch, op.tokens, kvHeads * op.size};
  auto fits = [&](Value past) {
    return !past ||
           (Lowering::rank(past) == 4 && Lowering::shape(past)[0] == op.batch &&
            Lowering::shape(past)[1] == kvHeads &&
            Lowering::shape(past)[3] * (bits == 4 ? 2 : 1) == op.size &&
            (bits == 0) == Lowering::isFloat(past));
  };
  if (Lowering::shape(k) != ArrayRef<int64_t>(kv) ||
      Lowering::shape(v) != ArrayRef<int64_t>(kv) || !fits(l.in(3)) ||
      !fits(l.in(4)) || product(Lowering::shape(l.in(5))) != op.batch ||
      product(Lowering::shape(l.in(6))) != 1)
    return failure();
  op.findBase(l.in(5), l.in(6));
  q = op.split(l.widened(q), heads);
  k = op.split(l.widened(k), kvHeads);
  v = op.split(l.widened(v), kvHeads);
  if (l.node.getInt("do_rotary", 0)) {
    if (!l.in(7) || !l.in(8))
      return failure();
    q = op.rotate(q, l.in(7), l.in(8), l.in(9));
    k = op.rotate(k, l.in(7), l.in(8), l.in(9));
    if (!q || !k)
      return failure();
  }
  Value keys, values;
  if (bits) {
    Value keyScale = op.scales(l.in(12), keyType),
          valueScale = op.scales(l.in(13), valueType);
    if (!keyScale || !valueScale || (bits == 4 && op.size % 2))
      return failure();
    keys = op.present(l.in(3), op.quantise(k, keyScale, bits));
    values = op.present(l.in(4), op.quantise(v, valueScale, bits));
    k = op.dequantise(keys, keyScale, bits, Lowering::elementOf(q));
    v = op.dequantise(values, valueScale, bits, Lowering::elementOf(q));
  } else {
    keys = k = op.present(l.in(3), k);
    values = v = op.present(l.in(4), v);
  }
  Value y = op.attend(q, k, v, l.in(10));
  if (!y)
    return failure();
  return SmallVector<Value>{l.cast(y, l.out().getElementType()),
                            l.cast(keys, l.out(1).getElementType()),
                            l.out(2) ? l.cast(values, l.out(2).getElementType())
                                     : Value()};
}

void addContrib(Table &t) {
  t["com.microsoft.MatMulNBits"] = matMulNBits;
  t["com.microsoft.GroupQueryAttention"] = groupQueryAttention;
}

} // namespace effc::lower
