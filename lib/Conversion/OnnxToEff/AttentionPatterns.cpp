//===- AttentionPatterns.cpp - attention and its caches -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "AttentionBias.h"
#include "Mask.h"
#include "RopeTable.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

namespace {
/// Attention as every form of it reads. Views are `[batch, heads, tokens,
/// width]`.
struct Attention {
  Value out;
  View query, key, value; ///< of caches: the call's own keys and values
  State *keys = nullptr, *values = nullptr; ///< both or none
  MaskMeaning mask;
  SmallVector<BiasPart> bias; ///< where the mask does not say it all
  double scale = 1, softcap = 0;
  bool outByHeads = true; ///< the result is [batch, heads, tokens, width], else
                          ///< [batch, tokens, heads * width]
};
} // namespace

/// `[batch, heads, tokens, width]` of a 4-d value, or of `[batch, tokens, heads
/// * width]` with the number of heads.
static std::optional<View> byHeads(View v, int64_t heads) {
  SmallVector<int64_t> shape = v.dims.shape();
  if (shape.size() == 4)
    return v;
  if (shape.size() != 3 || heads <= 0 || shape[2] % heads != 0 ||
      !v.dims.reshape({shape[0], shape[1], heads, shape[2] / heads}))
    return std::nullopt;
  v.dims.transpose({0, 2, 1, 3});
  return v;
}

/// The heads left when each is repeated for a group of queries; nullopt when
/// the repetition is not innermost.
static std::optional<View> withoutGroups(View v) {
  const auto &heads = v.dims.dims[1];
  for (unsigned i = 0; i + 1 < heads.size(); ++i)
    if (heads[i].stride == 0)
      return std::nullopt;
  for (unsigned d : {0u, 2u, 3u})
    for (Factor f : v.dims.dims[d])
      if (f.stride == 0 && f.size > 1)
        return std::nullopt;
  v.dims = v.dims.withoutRepeats();
  return v;
}

/// Concat(past, fresh) along the tokens under `v` (groups left out): the state
/// and the view of what is new.
static State *splitCache(Graph &g, const View &v, StringRef part, View &fresh) {
  auto concat = v.base.getDefiningOp<onnx::NodeOp>();
  if (!concat || !concat.is("Concat") || concat->getNumOperands() != 2 ||
      Graph::rank(v.base) != 4 || Graph::axis(concat, 0, 4) != 2 ||
      !v.dims.isIdentity(numElements(Graph::shape(v.base))))
    return nullptr;
  if (!g.isState(concat.getInput(0)) && !g.isConstant(concat.getInput(0)))
    return nullptr;
  fresh = g.view(concat.getInput(1));
  return g.state(concat.getInput(0), v.base, part);
}

static Value byTokens(Emitter &e, const View &v) {
  Lowered l = e.lower(v);
  if (!l.value)
    return {};
  SmallVector<int64_t> shape = l.dims.shape();
  return e.tensor(l, {0, 2, 1, 3}, {shape[0], shape[2], shape[1] * shape[3]});
}

static LogicalResult emitAttention(Emitter &e, const Attention &a) {
  SmallVector<int64_t> q = a.query.dims.shape(), k = a.key.dims.shape();
  Value query = byTokens(e, a.query), key = byTokens(e, a.key),
        value = byTokens(e, a.value);
  if (!query || !key || !value)
    return failure();
  if (a.keys) {
    auto cache = eff::CacheType::get(e.builder.getContext(), k[1], k[3],
                                     e.cacheCapacity(), e.builder.getF32Type());
    Value keys = e.state(*a.keys, cache, {0, 1, 2}),
          values = keys ? e.state(*a.values, cache, {0, 1, 2}) : Value();
    if (!values)
      return failure();
    eff::CacheAppendOp::create(e.builder, e.loc, key, keys, Value());
    eff::CacheAppendOp::create(e.builder, e.loc, value, values, Value());
    key = keys;
    value = values;
  }
  FloatAttr softcap =
      a.softcap > 0 ? e.builder.getF32FloatAttr(static_cast<float>(a.softcap))
                    : FloatAttr();
  Value bias;
  if (!a.bias.empty() && !(bias = emitBias(e, a.bias)))
    return failure();
  Value y = eff::AttentionOp::create(e.builder, e.loc, query.getType(), query,
                                     key, value, bias, Value(), Value(), q[1],
                                     k[1], APFloat(static_cast<float>(a.scale)),
                                     a.mask.causal, a.mask.window, softcap);
  if (a.outByHeads && Graph::rank(a.out) == 4) {
    e.define(a.out, y, {q[0], q[2], q[1], q[3]}, {0, 2, 1, 3});
  } else if (a.outByHeads) { // batch and heads as one dimension
    Strided dims = Strided::identity({q[0], q[2], q[1], q[3]});
    dims.transpose({0, 2, 1, 3});
    if (!dims.reshape(Graph::shape(a.out)))
      return e.error("the result of an attention has an unexpected shape");
    e.define(a.out, Lowered{y, dims});
  } else {
    e.define(a.out, y);
  }
  return success();
}

/// Checks shapes that all forms share, finds caches, reads the mask; the match,
/// or nullopt with a reason noted. `a.bias` is what is added to the scores.
static std::optional<Match> finish(Graph &g, onnx::NodeOp root, Attention a,
                                   bool causal,
                                   std::optional<int64_t> causalOffset,
                                   SmallVector<Operation *> covers) {
  auto refuse = [&](const Twine &why) -> std::optional<Match> {
    g.note(root, why);
    return std::nullopt;
  };
  int64_t total = a.key.dims.size(2), past = 0;
  if (!a.keys) {
    auto key = withoutGroups(a.key), value = withoutGroups(a.value);
    if (!key || !value)
      return refuse("heads of keys or values are repeated in an order that no "
                    "attention has");
    a.key = *key;
    a.value = *value;
    View freshKey, freshValue;
    if (State *keys = splitCache(g, a.key, "key", freshKey)) {
      State *values = splitCache(g, a.value, "value", freshValue);
      if (!values)
        return refuse("keys come from a cache, values do not");
      a.keys = keys;
      a.values = values;
      past = total - freshKey.dims.size(2);
      a.key = freshKey;
      a.value = freshValue;
    }
  } else {
    past = g.options.past;
    total += past;
  }
  SmallVector<int64_t> q = a.query.dims.shape(), k = a.key.dims.shape(),
                       v = a.value.dims.shape();
  if (q.size() != 4 || k != v || q[0] != k[0] || q[2] != k[2] || q[3] != k[3] ||
      q[1] % k[1] != 0)
    return refuse(
        "queries, keys and values do not have the shapes of self-attention");
  for (const View *view : {&a.query, &a.key, &a.value})
    for (const auto &dim : view->dims.dims)
      for (Factor f : dim)
        if (f.stride == 0)
          return refuse("queries, keys or values are repeated in an order that "
                        "no attention has");
  std::string reason;
  int64_t window = 0;
  if (a.keys)
    if (auto it = g.options.windows.find(a.keys->pastName);
        it != g.options.windows.end())
      window = it->second;
  std::optional<MaskMeaning> meaning;
  auto numbers = sumOfConstants(g, a.bias);
  if (!numbers)
    reason = "what is added to the scores is not constant";
  else
    meaning = readMask(
        ArrayRef(*numbers).drop_back(a.bias.empty()), shapeOfParts(a.bias),
        causal, causalOffset.value_or(past), q[2], total, past, window, reason);
  if (meaning) {
    a.bias.clear();
  } else {
    // Without a cache, any bias will do.
    if (a.keys || causalOffset.value_or(0) != 0)
      return refuse(reason);
    meaning = MaskMeaning{causal, 0};
  }
  // One token sees all of its cache; say it as the entry points of more tokens
  // do.
  if (a.keys && q[2] == 1)
    meaning->causal = true;
  a.mask = *meaning;
  g.windowed |= meaning->window > 0;
  Match m;
  m.needs = {a.query.base, a.key.base, a.value.base};
  for (const BiasPart &part : a.bias)
    m.needs.push_back(part.view.base);
  m.covers = std::move(covers);
  if (a.keys)
    m.states = {a.keys, a.values};
  m.emit = [a](Emitter &e) { return emitAttention(e, a); };
  return m;
}

//===----------------------------------------------------------------------===//
// MatMul(Softmax(MatMul(q, kT) * scale + mask), v)
//===----------------------------------------------------------------------===//

/// Products with a scalar, and a softcap between them.
static Value peelScores(Graph &g, Value v, double &scale, double &softcap,
                        SmallVectorImpl<Operation *> &covers) {
  while (auto node = g.anyNode(v)) {
    bool divide = node.is("Div");
    if (!divide && !node.is("Mul"))
      break;
    auto factor = g.scalar(node.getInput(1));
    Value rest = node.getInput(0);
    if (!factor && !divide && (factor = g.scalar(node.getInput(0))))
      rest = node.getInput(1);
    if (!factor || *factor == 0)
      break;
    covers.push_back(node);
    // cap * tanh(s / cap)
    if (auto tanh = g.node(rest, "Tanh");
        tanh && !divide && softcap == 0 && scale == 1) {
      softcap = *factor;
      double inner = 1, none = 0;
      covers.push_back(tanh);
      Value s = peelScores(g, tanh.getInput(0), inner, none, covers);
      scale = inner * softcap;
      return none == 0 && softcap > 0 ? s : Value();
    }
    scale = divide ? scale / *factor : scale * *factor;
    v = rest;
  }
  return g.strip(v);
}

static std::optional<Match> decomposed(Graph &g, onnx::NodeOp root) {
  if (!root.is("MatMul") || (Graph::rank(root->getResult(0)) != 4 &&
                             Graph::rank(root->getResult(0)) != 3))
    return std::nullopt;
  SmallVector<Operation *> covers{root};
  Value p = g.strip(root.getInput(0));
  // Where(IsNaN(p), 0, p): rows that see nothing
  if (auto where = g.node(p, "Where")) {
    auto nan = g.node(where.getInput(0), "IsNaN");
    if (!nan || g.strip(nan.getInput(0)) != g.strip(where.getInput(2)) ||
        !g.isScalar(where.getInput(1), 0))
      return std::nullopt;
    covers.append({where, nan});
    p = g.strip(where.getInput(2));
  }
  auto softmax = g.node(p, "Softmax");
  if (!softmax)
    return std::nullopt;
  int64_t rank = Graph::rank(p);
  bool old = softmax.getSince() < 13;
  if (Graph::axis(softmax, old ? 1 : -1, rank) != rank - 1)
    return std::nullopt;
  covers.push_back(softmax);
  Value s = g.strip(softmax.getInput(0));
  SmallVector<int64_t> scores(Graph::shape(s));
  if (rank == 3) // batch and heads as one dimension
    scores = {g.options.batch, scores[0] / g.options.batch, scores[1],
              scores[2]};
  if (numElements(scores) != numElements(Graph::shape(s)))
    return std::nullopt;
  BareScores bare = takeBiases(g, s, scores);
  covers.append(bare.covers);
  s = g.strip(bare.scores);
  // Windows of an image add to scores in five dimensions.
  while (auto reshape =
             bare.parts.empty() ? onnx::NodeOp() : g.node(s, "Reshape")) {
    covers.push_back(reshape);
    s = g.strip(reshape.getInput(0));
  }
  Attention a;
  a.bias = bare.parts;
  a.out = root->getResult(0);
  s = peelScores(g, s, a.scale, a.softcap, covers);
  auto product = s ? g.node(s, "MatMul") : onnx::NodeOp();
  if (!product)
    return std::nullopt;
  covers.push_back(product);
  double inner = 1;
  a.query = g.view(product.getInput(0), &inner);
  a.key = g.view(product.getInput(1), &inner);
  a.value = g.view(root.getInput(1));
  a.scale *= inner;
  if (rank == 3) { // batch and heads as one dimension
    int64_t batch = g.options.batch, rows = Graph::shape(p)[0];
    if (rows % batch != 0)
      return std::nullopt;
    for (View *v : {&a.query, &a.key, &a.value}) {
      SmallVector<int64_t> shape = v->dims.shape();
      if (shape.size() != 3 ||
          !v->dims.reshape({batch, rows / batch, shape[1], shape[2]}))
        return std::nullopt;
    }
  }
  if (a.query.dims.rank() != 4 || a.key.dims.rank() != 4 ||
      a.value.dims.rank() != 4)
    return std::nullopt;
  a.key.dims.transpose({0, 1, 3, 2});
  return finish(g, root, a, false, std::nullopt, std::move(covers));
}

//===----------------------------------------------------------------------===//
// Attention of ai.onnx 23
//===----------------------------------------------------------------------===//

static std::optional<Match> standard(Graph &g, onnx::NodeOp root) {
  if (!root.is("Attention"))
    return std::nullopt;
  Value q = root.getInput(0), k = root.getInput(1), v = root.getInput(2),
        mask = root.getInput(3);
  Value pastKey = root.getInput(4), pastValue = root.getInput(5);
  auto refuse = [&](const Twine &why) -> std::optional<Match> {
    g.note(root, why);
    return std::nullopt;
  };
  if (root.getInput(6))
    return refuse("it has lengths of an external cache (nonpad_kv_seqlen)");
  if (root.getOutput(3) && !root.getOutput(3).use_empty())
    return refuse("its matrix of scores is read (qk_matmul_output)");
  double inner = 1; // Whisper scales its queries itself
  auto query = byHeads(g.view(q, &inner), root.getInt("q_num_heads", 0));
  auto key = byHeads(g.view(k, pastKey ? nullptr : &inner),
                     root.getInt("kv_num_heads", 0)),
       value = byHeads(g.view(v), root.getInt("kv_num_heads", 0));
  if (!query || !key || !value)
    return refuse("its heads cannot be told apart");
  Attention a;
  a.out = root->getResult(0);
  a.query = *query;
  a.key = *key;
  a.value = *value;
  a.scale = root.getFloat("scale", 0);
  if (a.scale == 0)
    a.scale = 1 / std::sqrt(static_cast<double>(query->dims.size(3)));
  a.scale *= inner;
  a.softcap = root.getFloat("softcap", 0);
  a.outByHeads = Graph::rank(q) == 4;
  bool causal = root.getInt("is_causal", 0) != 0;
  std::optional<int64_t> offset =
      0; // without a past of its own, query 0 is position 0
  if (pastKey || pastValue) {
    if (!pastKey || !pastValue)
      return refuse("it has a past of keys or of values alone");
    a.keys = g.state(pastKey, root.getOutput(1), "key");
    a.values =
        a.keys ? g.state(pastValue, root.getOutput(2), "value") : nullptr;
    if (!a.values)
      return refuse("its past is not a state of the model");
    offset = g.options.past;
  }
  if (mask) {
    SmallVector<int64_t> shape = query->dims.shape();
    shape[3] = key->dims.size(2) + (a.keys ? g.options.past : 0);
    auto part = makeBiasPart(g, mask, shape, shape);
    if (!part)
      return refuse("its mask does not have the shape of the scores");
    part->low = -std::numeric_limits<double>::infinity();
    a.bias.push_back(*part);
  }
  return finish(g, root, a, causal, offset, {root});
}

//===----------------------------------------------------------------------===//
// com.microsoft.GroupQueryAttention
//===----------------------------------------------------------------------===//

namespace {
/// What a GroupQueryAttention says of integers in its caches.
struct CacheIntegers {
  int64_t bits = 0;                           ///< 0: floats
  std::vector<double> keyScales, valueScales; ///< `[kv_heads * head_dim]`
  std::string keyName, valueName;
};
} // namespace

/// The name of a constant, or `other`.
static std::string nameOf(Value v, StringRef other) {
  auto constant = v.getDefiningOp<onnx::ConstantOp>();
  return constant && !constant.getName().empty() ? constant.getName().str()
                                                 : other.str();
}

/// nullopt with a reason when the file's caches are none that eff has.
static std::optional<CacheIntegers>
readCacheIntegers(Graph &g, onnx::NodeOp node, int64_t kvHeads, int64_t width,
                  std::string &why) {
  int64_t channels = kvHeads * width;
  auto refuse = [&](const Twine &text) -> std::optional<CacheIntegers> {
    why = text.str();
    return std::nullopt;
  };
  StringRef keys = node.getString("k_quant_type", "NONE"),
            values = node.getString("v_quant_type", "NONE");
  // An empty name is the default.
  for (StringRef *type : {&keys, &values})
    if (type->empty())
      *type = "NONE";
  for (auto [name, type] :
       {std::pair("k_quant_type", keys), std::pair("v_quant_type", values)})
    if (type != "NONE" && type != "PER_TENSOR" && type != "PER_CHANNEL")
      return refuse(name + Twine(" is ") + type +
                    "; NONE, PER_TENSOR and PER_CHANNEL are known");
  CacheIntegers result;
  if (keys == "NONE" && values == "NONE")
    return result;
  if (keys == "NONE" || values == "NONE")
    return refuse("k_quant_type is " + keys + ", v_quant_type is " + values +
                  ": keys and values are quantised together or not at all");
  result.bits = node.getInt("kv_cache_bit_width", 0);
  if (result.bits != 8 && result.bits != 4)
    return refuse("kv_cache_bit_width is " + Twine(result.bits) +
                  "; quantised caches have 8 or 4 bits");
  for (unsigned i : {3u, 4u}) {
    auto type =
        node.getInput(i)
            ? dyn_cast<IntegerType>(Graph::elementType(node.getInput(i)))
            : IntegerType();
    if (!type || type.getWidth() != 8 ||
        type.isUnsigned() != (result.bits == 4)) {
      std::string is = "absent";
      if (node.getInput(i)) {
        is.clear();
        llvm::raw_string_ostream(is) << Graph::elementType(node.getInput(i));
      }
      return refuse("its caches of " + Twine(result.bits) + " bits must be " +
                    (result.bits == 4 ? "uint8" : "int8") + ", operand " +
                    Twine(i) + " is " + is);
    }
    ArrayRef<int64_t> shape = Graph::shape(node.getInput(i));
    if (shape.size() != 4 || shape[3] * 8 != width * result.bits)
      return refuse("operand " + Twine(i) + " does not have rows of " +
                    Twine(width * result.bits / 8) + " bytes");
  }
  for (auto [i, name, type, scales] :
       {std::tuple(12u, "k_scale", keys, &result.keyScales),
        std::tuple(13u, "v_scale", values, &result.valueScales)}) {
    auto numbers = node.getInput(i) ? g.numbers(node.getInput(i))
                                    : std::optional<std::vector<double>>();
    int64_t wanted = type == "PER_TENSOR" ? 1 : channels;
    if (!numbers || static_cast<int64_t>(numbers->size()) != wanted)
      return refuse(name + Twine(" must be ") + Twine(wanted) + " constants" +
                    (numbers ? ", got " + Twine(numbers->size()) : Twine("")));
    for (double x : *numbers)
      if (!std::isfinite(x) || x <= 0)
        return refuse("a scale of " + Twine(name) +
                      " is not finite and positive");
    scales->resize(channels, numbers->front());
    if (wanted > 1)
      *scales = std::move(*numbers);
  }
  result.keyName = nameOf(node.getInput(12), "k_scale");
  result.valueName = nameOf(node.getInput(13), "v_scale");
  return result;
}

static std::optional<Match> groupQuery(Graph &g, onnx::NodeOp root) {
  if (!root.is("GroupQueryAttention", "com.microsoft"))
    return std::nullopt;
  auto refuse = [&](const Twine &why) -> std::optional<Match> {
    g.note(root, why);
    return std::nullopt;
  };
  Value packed = root.getInput(0), k = root.getInput(1), v = root.getInput(2);
  int64_t heads = root.getInt("num_heads", 0),
          kvHeads = root.getInt("kv_num_heads", 0);
  int64_t batch = g.options.batch, tokens = g.options.tokens,
          past = g.options.past;
  if (heads <= 0 || kvHeads <= 0 || Graph::rank(packed) != 3 ||
      heads % kvHeads != 0)
    return refuse("its heads cannot be told apart");
  if (static_cast<bool>(k) != static_cast<bool>(v))
    return refuse("it has keys or values alone");
  int64_t width = Graph::shape(packed)[2] / (k ? heads : heads + 2 * kvHeads);
  std::string why;
  auto integers = readCacheIntegers(g, root, kvHeads, width, why);
  if (!integers)
    return refuse(why);
  for (unsigned i = 9; i < root->getNumOperands(); ++i)
    if (root.getInput(i) && !(integers->bits && (i == 12 || i == 13)))
      return refuse("operand " + Twine(i) +
                    " (position ids, attention bias, sinks, scales of caches "
                    "or head norms) is not supported");
  if (root.getInt("sliding_window_cache", 0) != 0)
    return refuse("sliding_window_cache is not supported");
  if (root.getInt("smooth_softmax", 0) != 0)
    return refuse("smooth_softmax is not supported");
  // Lengths that are inputs of the model are what the runtime counts itself.
  auto isInput = [&](Value v) {
    return v && isa<BlockArgument>(g.strip(v)) && !g.isState(v) &&
           g.options.kind != eff::EntryKind::Forward;
  };
  bool given = isInput(root.getInput(5)) && isInput(root.getInput(6));
  auto lengths = g.ints(root.getInput(5)), total = g.ints(root.getInput(6));
  auto wrong = [&](int64_t n) { return n != past + tokens - 1; };
  if (!given && (!lengths || !total || total->size() != 1 ||
                 (*total)[0] != past + tokens || llvm::any_of(*lengths, wrong)))
    return refuse("its lengths are not those that the graph is bound to");
  State *keys = root.getInput(3)
                    ? g.state(root.getInput(3), root.getOutput(1), "key")
                    : nullptr;
  State *values = root.getInput(4)
                      ? g.state(root.getInput(4), root.getOutput(2), "value")
                      : nullptr;
  if (!keys || !values)
    return refuse("its past is not a state of the model");
  double scale = root.getFloat("scale", 0),
         softcap = root.getFloat("softcap", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(static_cast<double>(width));
  // The attribute counts the query too, as eff.attention does.
  int64_t window = root.getInt("local_window_size", -1);
  g.windowed |= window > 0;
  std::shared_ptr<const Rope> rope;
  if (root.getInt("do_rotary", 0) != 0) {
    Value cos = root.getInput(7), sin = root.getInput(8);
    if (!cos || !sin || Graph::rank(cos) != 2)
      return refuse("it rotates without tables");
    std::vector<int64_t> positions;
    for (int64_t i = 0; i < Graph::shape(cos)[0]; ++i)
      positions.push_back(i);
    std::string reason;
    rope = findRope(g, cos, sin, 0, positions, reason);
    if (!rope)
      return refuse(reason);
  }
  bool interleaved = root.getInt("rotary_interleaved", 0) != 0;
  Value out = root->getResult(0);
  Match m;
  m.needs = {packed};
  if (k)
    m.needs.append({k, v});
  m.covers = {root};
  m.states = {keys, values};
  m.emit = [=](Emitter &e) {
    Value query = e.tensor(packed), key, value;
    if (!query)
      return failure();
    if (k) {
      key = e.tensor(k);
      value = e.tensor(v);
      if (!key || !value)
        return failure();
    } else {
      Type q = e.f32({batch, tokens, heads * width}),
           kv = e.f32({batch, tokens, kvHeads * width});
      auto split =
          eff::SplitOp::create(e.builder, e.loc, TypeRange{q, kv, kv}, query);
      query = split.getResult(0);
      key = split.getResult(1);
      value = split.getResult(2);
    }
    if (rope) {
      query = emitRope(e, query, heads, interleaved, *rope);
      key = query ? emitRope(e, key, kvHeads, interleaved, *rope) : Value();
      if (!key)
        return failure();
    }
    MLIRContext *context = e.builder.getContext();
    Attribute format = TypeAttr::get(e.builder.getF32Type());
    if (integers->bits)
      format = eff::IntCacheAttr::get(context, integers->bits);
    auto cache =
        eff::CacheType::get(context, kvHeads, width, e.cacheCapacity(), format);
    Value keyCache = e.state(*keys, cache, {0, 1, 2}),
          valueCache = keyCache ? e.state(*values, cache, {0, 1, 2}) : Value();
    if (!valueCache)
      return failure();
    Value keyScale, valueScale;
    if (integers->bits) {
      keyScale = e.vector(integers->keyName, integers->keyScales);
      valueScale = e.vector(integers->valueName, integers->valueScales);
    }
    eff::CacheAppendOp::create(e.builder, e.loc, key, keyCache, keyScale);
    eff::CacheAppendOp::create(e.builder, e.loc, value, valueCache, valueScale);
    FloatAttr cap = softcap > 0
                        ? e.builder.getF32FloatAttr(static_cast<float>(softcap))
                        : FloatAttr();
    Value y = eff::AttentionOp::create(e.builder, e.loc, query.getType(), query,
                                       keyCache, valueCache, Value(), keyScale,
                                       valueScale, heads, kvHeads,
                                       APFloat(static_cast<float>(scale)), true,
                                       std::max<int64_t>(window, 0), cap);
    e.define(out, y);
    return success();
  };
  return m;
}

void effc::raise::addAttentionPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {decomposed, standard, groupQuery});
}
