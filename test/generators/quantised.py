#!/usr/bin/env python3
"""Small models in every quantised form that effc reads.

  quantised.py FOLDER      writes them to FOLDER
  node exporter_outputs.mjs FOLDER ../Integration/data/quantised_outputs.json

The second command records what ONNX Runtime computes from them; test/Integration/test_quantised.py makes the same models
and compares. Each is one operator or a short chain with an input `x` of f32 or `ids`, and weights of its own numbers."""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

UINT4, INT4, FLOAT8E4M3FN, FLOAT8E5M2 = 21, 22, 17, 19
ROWS, K, N = 5, 72, 40
CODES = {np.dtype("uint8"): TensorProto.UINT8, np.dtype("int8"): TensorProto.INT8}


class Graph:
    def __init__(self, seed):
        self.random = np.random.RandomState(seed)
        self.nodes, self.constants = [], []

    def constant(self, values, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def raw(self, data_type, shape, data):
        """A constant of a type that numpy does not have; halves of a byte come as one number each."""
        name = f"c{len(self.constants)}"
        if data_type in (UINT4, INT4):
            flat = np.asarray(data).reshape(-1) & 15
            flat = np.append(flat, np.zeros(len(flat) % 2, flat.dtype))
            data = flat[0::2] | flat[1::2] << 4
        tensor = TensorProto(name=name, data_type=data_type, dims=shape, raw_data=np.asarray(data, np.uint8).tobytes())
        self.constants.append(tensor)
        return name

    def node(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def microsoft(self, op, *inputs, **attributes):
        return self.node(op, *inputs, domain="com.microsoft", **attributes)

    def scales(self, *shape):
        return self.constant(self.random.uniform(0.01, 0.05, shape).astype(np.float32))

    def codes(self, low, high, *shape, dtype=np.uint8):
        return self.random.randint(low, high, shape).astype(dtype)

    def model(self, output, shape, data_type=TensorProto.FLOAT, inputs=None):
        inputs = inputs or {"x": (TensorProto.FLOAT, [1, ROWS, K])}
        graph = helper.make_graph(self.nodes, "quantised",
                                  [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
                                  [helper.make_tensor_value_info(output, data_type, shape)], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 10
        return model


MODELS = {}


def model(function):
    MODELS[function.__name__] = function
    return function


#
# com.microsoft.MatMulNBits and GatherBlockQuantized
#

def n_bits(seed, bits, block=32, zeros=None, flat=False, order=False, bias=False, n=N, k=K, **attributes):
    g = Graph(seed)
    blocks, size = -(-k // block), block * bits // 8
    b = g.constant(g.codes(0, 256, n, blocks, size))
    s = g.scales(n * blocks) if flat else g.scales(n, blocks)
    inputs = ["x", b, s]
    packed = -(-blocks * bits // 8)
    if zeros == "packed":
        inputs.append(g.constant(g.codes(0, 256, *([n * packed] if flat else [n, packed]))))
    elif zeros == "float":
        inputs.append(g.constant(g.random.uniform(0, 2 ** bits, (n, blocks)).astype(np.float32)))
    else:
        inputs.append("")
    inputs.append(g.constant((g.random.permutation(k) // block).astype(np.int32)) if order else "")
    if bias:
        inputs.append(g.constant(g.random.randn(n).astype(np.float32)))
    while not inputs[-1]:
        inputs.pop()
    y = g.microsoft("MatMulNBits", *inputs, K=k, N=n, bits=bits, block_size=block, accuracy_level=1, **attributes)
    return g.model(y, [1, ROWS, n])


for name, settings in {"nbits4": dict(bits=4), "nbits4_flat_zeros": dict(bits=4, zeros="packed", flat=True),
                       "nbits4_odd_zeros": dict(bits=4, zeros="packed", block=16), "nbits4_float_zeros": dict(bits=4, zeros="float"),
                       "nbits4_order": dict(bits=4, order=True, block=16), "nbits4_order_zeros": dict(bits=4, order=True, zeros="packed"),
                       "nbits4_bias": dict(bits=4, bias=True), "nbits8": dict(bits=8), "nbits8_zeros": dict(bits=8, zeros="packed"),
                       "nbits2": dict(bits=2), "nbits2_zeros": dict(bits=2, zeros="packed", flat=True)}.items():
    MODELS[name] = lambda name=name, settings=settings: n_bits(len(name), **settings)


def table(seed, bits, zeros=False, data_type=None, block=16):
    """128 rows of 48 numbers."""
    g = Graph(seed)
    rows, width, blocks = 128, 48, 3
    if data_type:
        data = g.raw(data_type, [rows, width], g.codes(0, 16, rows, width))
        zero = g.raw(data_type, [rows, blocks], g.codes(0, 16, rows, blocks)) if zeros else None
    else:
        data = g.constant(g.codes(0, 256, rows, width * bits // 8))
        zero = g.constant(g.codes(0, 256, rows, -(-blocks * bits // 8))) if zeros else None
    inputs = [data, "ids", g.scales(rows, blocks)] + ([zero] if zeros else [])
    more = {} if data_type else {"bits": bits}
    y = g.microsoft("GatherBlockQuantized", *inputs, gather_axis=0, quantize_axis=1, block_size=block, **more)
    return g.model(y, [1, ROWS, width], inputs={"ids": (TensorProto.INT64, [1, ROWS])})


for name, settings in {"table_packed4": dict(bits=4), "table_packed4_zeros": dict(bits=4, zeros=True),
                       "table_packed8": dict(bits=8), "table_int4": dict(bits=4, data_type=INT4),
                       "table_uint4_zeros": dict(bits=4, data_type=UINT4, zeros=True)}.items():
    MODELS[name] = lambda name=name, settings=settings: table(len(name), **settings)


#
# DequantizeLinear of weights, QuantizeLinear of activations
#

def dequantised(g, form):
    """A weight [K, N] under DequantizeLinear."""
    if form == "int8_tensor":
        return g.node("DequantizeLinear", g.constant(g.codes(-128, 128, K, N, dtype=np.int8)), g.constant(np.float32(0.02)),
                      g.constant(np.int8(0)))
    if form == "uint8_axis":
        return g.node("DequantizeLinear", g.constant(g.codes(0, 256, K, N)), g.scales(N), g.constant(g.codes(90, 170, N)), axis=1)
    if form == "int8_axis":
        return g.node("DequantizeLinear", g.constant(g.codes(-127, 128, K, N, dtype=np.int8)), g.scales(N), axis=1)
    if form == "int8_block":
        return g.node("DequantizeLinear", g.constant(g.codes(-128, 128, K, N, dtype=np.int8)), g.scales(K // 8, N), axis=0, block_size=8)
    data_type = INT4 if form == "int4_block" else UINT4
    inputs = [g.raw(data_type, [K, N], g.codes(0, 16, K, N)), g.scales(3, N)]
    if form == "uint4_block":
        inputs.append(g.raw(data_type, [3, N], g.codes(0, 16, 3, N)))
    return g.node("DequantizeLinear", *inputs, axis=0, block_size=24)


def weight_only(form):
    g = Graph(len(form))
    return g.model(g.node("MatMul", "x", dequantised(g, form)), [1, ROWS, N])


def rounded(g, x, scale, zero):
    s, z = g.constant(np.float32(scale)), g.constant(zero)
    return g.node("DequantizeLinear", g.node("QuantizeLinear", x, s, z), s, z)


def both(form, zero, bias=False, gemm=False):
    g = Graph(len(form) + 7)
    x = rounded(g, "x", 0.01, zero)
    if gemm:
        x = g.node("Reshape", x, g.constant(np.array([ROWS, K])))
        x = rounded(g, x, 0.01, zero)
    w = dequantised(g, form)
    b = g.node("DequantizeLinear", g.constant(g.random.randint(-500, 500, N).astype(np.int32)), g.constant(np.float32(0.002))) if bias else None
    if gemm:
        return g.model(g.node("Gemm", x, w, b), [ROWS, N])
    y = g.node("MatMul", x, w)
    y = rounded(g, g.node("Add", y, b), 0.05, zero) if bias else y
    return g.model(y, [1, ROWS, N])


for form in ("int8_tensor", "uint8_axis", "int8_axis", "int8_block", "int4_block", "uint4_block"):
    MODELS["weight_" + form] = lambda form=form: weight_only(form)
    MODELS["qdq_u8_" + form] = lambda form=form: both(form, np.uint8(117))
MODELS["qdq_i8"] = lambda: both("int8_axis", np.int8(0))
MODELS["qdq_i8_zero"] = lambda: both("uint8_axis", np.int8(-9))
MODELS["qdq_bias"] = lambda: both("int8_axis", np.uint8(128), bias=True)
MODELS["qdq_gemm"] = lambda: both("int8_axis", np.uint8(120), bias=True, gemm=True)


def weight_fp8(data_type, axis):
    g = Graph(3)
    bits = g.codes(0, 256, K, N)
    bits[bits & 127 >= (127 if data_type == FLOAT8E4M3FN else 124)] = 0  # finite numbers
    w = g.raw(data_type, [K, N], bits)
    w = g.node("DequantizeLinear", w, g.scales(N), axis=1) if axis else g.node("DequantizeLinear", w, g.constant(np.float32(0.01)))
    return g.model(g.node("Add", g.node("MatMul", "x", w), g.constant(g.random.randn(N).astype(np.float32))), [1, ROWS, N])


MODELS["weight_fp8"] = lambda: weight_fp8(FLOAT8E4M3FN, False)
MODELS["weight_fp8_axis"] = lambda: weight_fp8(FLOAT8E5M2, True)


@model
def table_dequantised():
    g = Graph(4)
    y = g.node("Gather", g.constant(g.codes(0, 256, 128, 48)), "ids")
    y = g.node("DequantizeLinear", y, g.constant(np.float32(0.02)), g.constant(np.uint8(121)))
    return g.model(y, [1, ROWS, 48], inputs={"ids": (TensorProto.INT64, [1, ROWS])})


#
# Dynamic quantisation
#

def dynamic(kind, unsigned=False, axis=False, bias=False):
    g = Graph(len(kind) + 2 * unsigned + axis)
    dtype = np.uint8 if unsigned else np.int8
    w = g.constant(g.codes(*((0, 256) if unsigned else (-127, 128)), K, N, dtype=dtype))
    shape = (N,) if axis else ()
    ws = g.constant(g.random.uniform(0.01, 0.02, shape).astype(np.float32))
    wz = g.constant(np.full(shape, 120 if unsigned else 0, dtype))
    b = g.constant(g.random.randn(N).astype(np.float32))
    if kind == "DynamicQuantizeMatMul":
        return g.model(g.microsoft(kind, "x", w, ws, wz, *([b] if bias else [])), [1, ROWS, N])
    q, s, z = g.node("DynamicQuantizeLinear", "x", outputs=3)
    if kind == "MatMulIntegerToFloat":
        return g.model(g.microsoft(kind, q, w, s, ws, z, wz, *([b] if bias else [])), [1, ROWS, N])
    y = g.node("Cast", g.node("MatMulInteger", q, w, z, wz), to=TensorProto.FLOAT)
    y = g.node("Mul", y, g.node("Mul", s, ws))
    return g.model(g.node("Add", y, b) if bias else y, [1, ROWS, N])


MODELS["dynamic"] = lambda: dynamic("MatMulInteger")
MODELS["dynamic_u8_axis_bias"] = lambda: dynamic("MatMulInteger", unsigned=True, axis=True, bias=True)
MODELS["dynamic_to_float"] = lambda: dynamic("MatMulIntegerToFloat", axis=True, bias=True)
MODELS["dynamic_fused"] = lambda: dynamic("DynamicQuantizeMatMul", unsigned=True, bias=True)


#
# Operators on integers
#

def start(g, x="x", scale=0.01, zero=np.uint8(117)):
    """The codes of x, their scale and zero point."""
    s, z = g.constant(np.float32(scale)), g.constant(zero)
    return [g.node("QuantizeLinear", x, s, z), s, z]


def finish(g, q, scale, zero, shape):
    return g.model(g.node("DequantizeLinear", q, scale, zero), shape)


def point(g, scale, zero=np.uint8(131)):
    return [g.constant(np.float32(scale)), g.constant(zero)]


@model
def qlinear_matmul():
    g = Graph(1)
    middle, last = point(g, 0.3), point(g, 0.9, np.uint8(99))
    w = [g.constant(g.codes(-127, 128, K, N, dtype=np.int8)), g.scales(N), g.constant(np.zeros(N, np.int8))]
    u = [g.constant(g.codes(0, 256, N, 24)), g.constant(np.float32(0.03)), g.constant(np.uint8(140))]
    y = g.node("QLinearMatMul", *start(g), *w, *middle)
    y = g.node("QLinearMatMul", y, *middle, *u, *last)
    return finish(g, y, *last, [1, ROWS, 24])


def q_gemm(rounds):
    g = Graph(2)
    x = g.node("Reshape", "x", g.constant(np.array([ROWS, K])))
    w = [g.constant(g.codes(-127, 128, N, K, dtype=np.int8)), g.scales(N), g.constant(np.zeros(N, np.int8))]
    bias = g.constant(g.random.randint(-3000, 3000, N).astype(np.int32))
    out = point(g, 0.4)
    y = g.microsoft("QGemm", *start(g, x), *w, bias, *(out if rounds else []), alpha=1.0, transB=1)
    return finish(g, y, *out, [ROWS, N]) if rounds else g.model(y, [ROWS, N])


MODELS["qgemm"] = lambda: q_gemm(True)
MODELS["qgemm_float"] = lambda: q_gemm(False)


def elementwise(op):
    g = Graph(5)
    a, b, out = start(g), start(g, g.node("Neg", "x"), 0.017, np.uint8(100)), point(g, 0.0231)
    return finish(g, g.microsoft(op, *a, *b, *out), *out, [1, ROWS, K])


def single(op, scale, zero, **attributes):
    g = Graph(6)
    out = point(g, scale, zero)
    return finish(g, g.microsoft(op, *start(g), *out, **attributes), *out, [1, ROWS, K])


MODELS["qlinear_add"] = lambda: elementwise("QLinearAdd")
MODELS["qlinear_mul"] = lambda: elementwise("QLinearMul")
MODELS["qlinear_sigmoid"] = lambda: single("QLinearSigmoid", 1 / 256, np.uint8(0))
MODELS["qlinear_leaky_relu"] = lambda: single("QLinearLeakyRelu", 0.01, np.uint8(20), alpha=0.1)
MODELS["qlinear_softmax"] = lambda: single("QLinearSoftmax", 1 / 256, np.uint8(0), axis=-1, opset=21)
MODELS["qlinear_softmax_old"] = lambda: single("QLinearSoftmax", 1 / 256, np.uint8(0), axis=2, opset=11)


@model
def qlinear_concat():
    g = Graph(7)
    out = point(g, 0.015)
    y = g.microsoft("QLinearConcat", *out, *start(g), *start(g, g.node("Neg", "x"), 0.02, np.uint8(90)), axis=1)
    return finish(g, y, *out, [1, 2 * ROWS, K])


IMAGE = {"x": (TensorProto.FLOAT, [1, 3, 8, 8])}


@model
def qlinear_average():
    g = Graph(8)
    out = point(g, 0.005)
    y = g.microsoft("QLinearGlobalAveragePool", *start(g), *out)
    return g.model(g.node("DequantizeLinear", y, *out), [1, 3, 1, 1], inputs=IMAGE)


def convolution(kernel, stride, pads):
    g = Graph(9)
    out = point(g, 0.3)
    w = [g.constant(g.codes(-127, 128, 16, 3, kernel, kernel, dtype=np.int8)), g.scales(16), g.constant(np.zeros(16, np.int8))]
    bias = g.constant(g.random.randint(-2000, 2000, 16).astype(np.int32))
    y = g.node("QLinearConv", *start(g), *w, *out, bias, strides=[stride, stride], pads=[pads] * 4)
    y = g.node("DequantizeLinear", y, *out)
    size = (8 + 2 * pads - kernel) // stride + 1
    return g.model(y, [1, 16, size, size], inputs=IMAGE)


MODELS["qlinear_conv_patches"] = lambda: convolution(4, 4, 0)
MODELS["qlinear_conv"] = lambda: convolution(3, 1, 1)


@model
def qdq_conv_patches():
    g = Graph(10)
    x = rounded(g, "x", 0.01, np.uint8(117))
    w = g.node("DequantizeLinear", g.constant(g.codes(-127, 128, 16, 3, 4, 4, dtype=np.int8)), g.scales(16), axis=0)
    y = g.node("Conv", x, w, strides=[4, 4])
    return g.model(y, [1, 16, 2, 2], inputs=IMAGE)


@model
def conv_integer():
    g = Graph(11)
    q, s, z = start(g)
    y = g.node("ConvInteger", q, g.constant(g.codes(0, 256, 8, 3, 3, 3)), z, g.constant(np.uint8(130)), pads=[1] * 4)
    y = g.node("Mul", g.node("Cast", y, to=TensorProto.FLOAT), g.constant(np.float32(0.0001)))
    return g.model(y, [1, 8, 8, 8], inputs=IMAGE)


@model
def qattention():
    g = Graph(12)
    q, s, z = start(g)
    w = [g.constant(g.codes(-127, 128, K, 3 * 24, dtype=np.int8)), g.constant(g.random.randn(72).astype(np.float32)), s,
         g.constant(np.float32(0.01))]
    mask = g.constant(np.array([[1] * (ROWS - 1) + [0]], np.int32))
    y = g.microsoft("QAttention", q, *w, mask, z, g.constant(np.int8(0)), num_heads=3)
    return g.model(y, [1, ROWS, 24])


#
# Caches of integers
#

VOCAB, WIDTH, HEADS, KV_HEADS, HEAD = 97, 32, 4, 2, 16
CACHES = {}


def cache_settings(bits, kind, values=None, alone=False):
    return dict(bits=bits, kinds=(kind, values or kind), alone=alone)


CACHE_FORMS = {"cache_i8_tensor": cache_settings(8, "PER_TENSOR"), "cache_i8_channel": cache_settings(8, "PER_CHANNEL"),
               "cache_i4_tensor": cache_settings(4, "PER_TENSOR"), "cache_i4_channel": cache_settings(4, "PER_CHANNEL"),
               "cache_i8_mixed": cache_settings(8, "PER_TENSOR", "PER_CHANNEL"),
               "cache_alone_i8": cache_settings(8, "PER_CHANNEL", alone=True), "cache_alone_i4": cache_settings(4, "PER_TENSOR", alone=True)}


def cached_attention(name, bits, kinds, alone):
    """A language model of one GroupQueryAttention over a quantised cache, or that operator alone with a past of 3 tokens."""
    g = Graph(len(name) + bits)
    cache = TensorProto.UINT8 if bits == 4 else TensorProto.INT8
    row = HEAD * bits // 8
    matrix = lambda *shape, name: g.constant((g.random.randn(*shape) / np.sqrt(shape[0])).astype(np.float32), name)
    table = np.arange(4096)[:, None] * 10000.0 ** (-np.arange(HEAD // 2) / (HEAD // 2))
    cos, sin = g.constant(np.cos(table).astype(np.float32), "cos"), g.constant(np.sin(table).astype(np.float32), "sin")
    scales = []
    for part, kind in zip("kv", kinds):
        shape = [1] if kind == "PER_TENSOR" else [1, KV_HEADS, 1, HEAD]
        values = g.random.uniform(0.6, 1.4, shape) * (2.0 / 127 if bits == 8 else 2.0 / 7)
        scales.append(g.constant(values.astype(np.float32), part + "_scale"))
    form = dict(num_heads=HEADS, kv_num_heads=KV_HEADS, do_rotary=1, k_quant_type=kinds[0], v_quant_type=kinds[1],
                kv_cache_bit_width=bits)
    if alone:
        lengths = [g.constant(np.array([3 + ROWS - 1], np.int32), "seqlens_k"), g.constant(np.array(3 + ROWS, np.int32), "total")]
        sizes = [("q", HEADS * HEAD), ("k", KV_HEADS * HEAD), ("v", KV_HEADS * HEAD)]
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, ROWS, s]) for n, s in sizes]
        inputs += [helper.make_tensor_value_info(n, cache, [1, KV_HEADS, 3, row]) for n in ("cache_key", "cache_value")]
        node = helper.make_node("GroupQueryAttention", ["q", "k", "v", "cache_key", "cache_value", *lengths, cos, sin, "", "", "", *scales],
                                ["y", "out_key", "out_value"], domain="com.microsoft", **form)
        g.nodes.append(node)
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, ROWS, HEADS * HEAD])]
        outputs += [helper.make_tensor_value_info(n, cache, [1, KV_HEADS, 3 + ROWS, row]) for n in ("out_key", "out_value")]
    else:
        x = g.node("Gather", g.constant(g.random.randn(VOCAB, WIDTH).astype(np.float32), "embedding"), "input_ids")
        q, k, v = (g.node("MatMul", x, matrix(WIDTH, n * HEAD, name=w)) for n, w in ((HEADS, "wq"), (KV_HEADS, "wk"), (KV_HEADS, "wv")))
        size = lambda of, axis: g.node("Shape", of, start=axis, end=axis + 1)
        total = g.node("Add", size("past_key_values.0.key", 2), size("input_ids", 1))
        last = g.node("Expand", g.node("Sub", total, g.constant(np.array([1]))), size("input_ids", 0))
        lengths = [g.node("Cast", last, to=TensorProto.INT32), g.node("Cast", total, to=TensorProto.INT32)]
        g.nodes.append(helper.make_node(
            "GroupQueryAttention", [q, k, v, "past_key_values.0.key", "past_key_values.0.value", *lengths, cos, sin, "", "", "", *scales],
            ["y", "present.0.key", "present.0.value"], domain="com.microsoft", **form))
        y = g.node("Add", x, g.node("MatMul", "y", matrix(HEADS * HEAD, WIDTH, name="wo")))
        g.nodes.append(helper.make_node("MatMul", [y, matrix(WIDTH, VOCAB, name="head")], ["logits"]))
        inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"])]
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "seq", VOCAB])]
        for part in ("key", "value"):
            shape = lambda length: ["batch", KV_HEADS, length, row]
            inputs.append(helper.make_tensor_value_info(f"past_key_values.0.{part}", cache, shape("past")))
            outputs.append(helper.make_tensor_value_info(f"present.0.{part}", cache, shape("total")))
    graph = helper.make_graph(g.nodes, name, inputs, outputs, g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 10
    return model


for name, settings in CACHE_FORMS.items():
    CACHES[name] = lambda name=name, settings=settings: cached_attention(name, **settings)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in {**MODELS, **CACHES}.items():
        onnx.save(make(), folder / f"{name}.onnx")
