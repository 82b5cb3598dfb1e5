"""Every quantised form that effc reads, against what ONNX Runtime computes: the models of test/generators/quantised.py and
data/quantised_outputs.json, which test/generators/exporter_outputs.mjs wrote. `python3 test_quantised.py --table` prints
the largest differences."""
import json
import pathlib
import re
import sys
import unittest

import numpy as np

from effc_tools import ROOT, SCRATCH, run
from effc.runtime import Model

sys.path.insert(0, str(ROOT / "test/generators"))
import quantised  # noqa: E402

EXPECTED = json.loads((pathlib.Path(__file__).parent / "data/quantised_outputs.json").read_text())
# Results that are rounded to integers may be one step beside: of the last rounding, or of one in between.
STEPS = {"qlinear_matmul": 0.9, "qgemm": 0.4, "qlinear_add": 0.0231, "qlinear_mul": 0.0231, "qlinear_sigmoid": 1 / 256,
         "qlinear_leaky_relu": 0.01, "qlinear_softmax": 1 / 256, "qlinear_softmax_old": 1 / 256, "qlinear_concat": 0.015,
         "qlinear_average": 0.005, "qlinear_conv_patches": 0.3, "qlinear_conv": 0.3, "qdq_bias": 0.05, "qdq_gemm": 0.05}
# Sums of f32 and exact sums of integers that are scaled: of the root of the mean square of the output.
TOLERANCE = 1e-5
# ONNX Runtime 1.30 leaves zero points out when there is a group index: compared with the definition instead.
OWN = {"nbits4_order_zeros": lambda: by_definition("nbits4_order_zeros")}
# What the linears and tables of each model read.
FORMATS = {"nbits4": "int4<group = 32>", "nbits4_flat_zeros": "int4<group = 32, zeros = true>",
           "nbits4_odd_zeros": "int4<group = 16, zeros = true>", "nbits4_float_zeros": "int4<group = 32, zeros = true>",
           "nbits4_order": "int4<group = 16>", "nbits4_order_zeros": "int4<group = 32, zeros = true>", "nbits4_bias": "int4<group = 32>",
           "nbits8": "int8<group = 32>", "nbits8_zeros": "int8<group = 32, zeros = true>", "nbits2": "int4<group = 32>",
           "nbits2_zeros": "int4<group = 32>", "table_packed4": "int4<group = 16>", "table_packed4_zeros": "int4<group = 16, zeros = true>",
           "table_packed8": "int8<group = 16>", "table_int4": "int4<group = 16>", "table_uint4_zeros": "int4<group = 16, zeros = true>",
           "table_dequantised": "int8<zeros = true>", "weight_int8_tensor": "int8", "weight_uint8_axis": "int8<zeros = true>",
           "weight_int8_axis": "int8", "weight_int8_block": "int8<group = 8>", "weight_int4_block": "int4<group = 24>",
           "weight_uint4_block": "int4<group = 24, zeros = true>", "qdq_conv_patches": "int8",
           "weight_fp8": "float8<e4m3fn>", "weight_fp8_axis": "float8<e5m2>"}
# Linears on the file's int8 activations.
INTEGERS = ("qdq_u8_int8_tensor", "qdq_u8_uint8_axis", "qdq_u8_int8_axis", "qdq_i8", "qdq_i8_zero", "qdq_bias", "qdq_gemm", "dynamic",
            "dynamic_u8_axis_bias", "dynamic_to_float", "dynamic_fused", "qlinear_matmul", "qgemm", "qgemm_float")


def write(name, edit=None):
    import onnx
    path = SCRATCH / f"{name}.onnx"
    model = quantised.MODELS[name]()
    if edit:
        edit(model.graph)
    onnx.save(model, path)
    return path


def by_definition(name):
    """x W for W = scale (q - zero), the group of each input from the index."""
    from onnx import numpy_helper
    graph = quantised.MODELS[name]().graph
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    b, scale, zero, groups = [constants[i] for i in graph.node[0].input[1:5]]
    halves = lambda bytes, count: np.stack([bytes & 15, bytes >> 4], -1).reshape(len(bytes), -1)[:, :count].astype(np.float64)
    q, zero = halves(b.reshape(len(b), -1), quantised.K), halves(zero, scale.shape[1])
    x = np.sin(0.7 * np.arange(quantised.ROWS * quantised.K) + 0.3).astype(np.float32).reshape(quantised.ROWS, quantised.K)
    return (x @ ((q - zero[:, groups]) * scale[:, groups]).T).reshape(-1)


def difference(name):
    """The largest difference from ONNX Runtime, in steps of the output's scale or relative to its size."""
    path, output = write(name), SCRATCH / "quantised.eff"
    run("compile", path, "-o", output, "-q")
    model = Model(output)
    entry = json.loads(model.manifest)["entries"][0]
    [info] = entry["inputs"]
    if info["name"] == "ids":
        value = np.array([[(37 * t + 5) % 97 for t in range(info["shape"][1])]]).astype({"i32": np.int32, "i64": np.int64}[info["dtype"]])
    else:
        value = np.sin(0.7 * np.arange(int(np.prod(info["shape"]))) + 0.3).reshape(info["shape"]).astype(np.float32)
    [result] = entry["outputs"]
    outputs = {result["name"]: np.zeros(result["shape"], np.float32)}
    model.session().forward({info["name"]: value}, outputs)
    [record] = EXPECTED[f"{name}.onnx"][0]["outputs"].values()
    got = outputs[result["name"]].reshape(-1).astype(np.float64)
    at = [k * (got.size - 1) // 15 for k in range(min(got.size, 16))]
    assert record["shape"] == result["shape"], (record["shape"], result["shape"])
    rms = np.sqrt((got ** 2).mean())
    if name in OWN:
        right = OWN[name]()
        size = np.sqrt((right ** 2).mean())
        return np.abs(got - right).max() / size, abs(rms - size) / size
    scale = STEPS.get(name, record["rms"])
    return np.abs(got[at] - np.array(record["values"])).max() / scale, abs(rms - record["rms"]) / scale


def printed(name, edit=None):
    return run("compile", write(name, edit), "--stop-after=eff").stdout


class QuantisedForms(unittest.TestCase):
    def test_every_form_computes_what_onnx_runtime_computes(self):
        for name in quantised.MODELS:
            with self.subTest(name):
                largest, mean = difference(name)
                self.assertLess(largest, 1.001 if name in STEPS else TOLERANCE)
                self.assertLess(mean, 0.5 if name in STEPS else TOLERANCE)

    def test_weights_stay_the_integers_of_the_file(self):
        for name, wanted in FORMATS.items():
            with self.subTest(name):
                text = printed(name)
                self.assertIn("#eff." + wanted, text)
                self.assertIn("pinned", text)

    def test_linears_read_integers(self):
        for name in INTEGERS:
            with self.subTest(name):
                self.assertRegex(printed(name), r"xi8>, <\d+x\d+, #eff\.int8")

    def test_quant_leaves_them_alone(self):
        """--quant chooses formats of float weights; the file's integers are pinned, and --requantize frees them."""
        for name, own in (("nbits4", "#eff.int4<group = 32>"), ("weight_fp8", "#eff.float8<e4m3fn>")):
            path = write(name)
            kept = run("compile", path, "--quant=w8a16", "--stop-after=plan").stdout
            self.assertIn(own, kept)
            freed = run("compile", path, "--quant=w8a16", "--requantize", "--stop-after=plan").stdout
            self.assertIn("#eff.int8", freed)
            self.assertNotIn("pinned", freed)

    def test_floats_of_8_bits_take_a_byte(self):
        output = SCRATCH / "bytes.eff"
        run("compile", write("weight_fp8_axis"), "-o", output, "-q")
        [weight] = [w for w in json.loads(Model(output).manifest)["weights"] if "float8" in w["format"]]
        self.assertEqual(weight["format"], "float8 e5m2")
        self.assertLess(weight["bytes"], 1.5 * quantised.K * quantised.N)

    def test_blocks_that_no_kernel_reads_become_floats(self):
        """Blocks of 12 inputs: said, and computed."""
        def edit(graph):
            graph.node[0].attribute.pop()
            graph.node[0].attribute.add(name="block_size", type=2, i=12)
            import onnx
            scale = next(c for c in graph.initializer if c.name == graph.node[0].input[1])
            scale.CopyFrom(onnx.numpy_helper.from_array(np.full((6, quantised.N), 0.02, np.float32), scale.name))
        result = run("compile", write("weight_int8_block", edit), "-o", SCRATCH / "floats.eff")
        self.assertIn("is kept as floats", result.stderr)
        self.assertIn("runs of 12 inputs share a scale", result.stderr)


TYPES = {"f32": np.float32, "i8": np.int8, "u8": np.uint8}


def save_cache(name, edit=None):
    import onnx
    path, model = SCRATCH / f"{name}.onnx", quantised.CACHES[name]()
    if edit:
        edit(model.graph)
    onnx.save(model, path)
    return path


def cached_logits(name, rows):
    """The logits of a model of caches, [batch, tokens, vocabulary], from the definition: f64 but for what is rounded."""
    from onnx import numpy_helper
    c = {i.name: numpy_helper.to_array(i) for i in quantised.CACHES[name]().graph.initializer}
    half = 128 if quantised.CACHE_FORMS[name]["bits"] == 8 else 8
    heads, size = quantised.KV_HEADS, quantised.HEAD
    x = c["embedding"][np.array(rows)].astype(np.float64)
    split = lambda y: y.reshape(*y.shape[:2], -1, size)
    tokens = x.shape[1]
    cos, sin = (c[n][None, :tokens, None].astype(np.float64) for n in ("cos", "sin"))

    def turned(y):
        a, b = np.split(y, 2, -1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def stored(y, scale):
        scale = scale.reshape(-1, size) if scale.size > 1 else scale
        codes = np.rint(y.astype(np.float32) * (np.float32(1) / scale)).clip(-half, half - 1)
        return codes * scale.astype(np.float64)

    q = turned(split(x @ c["wq"])).reshape(*x.shape[:2], heads, -1, size)
    k, v = stored(turned(split(x @ c["wk"])), c["k_scale"]), stored(split(x @ c["wv"]), c["v_scale"])
    scores = np.einsum("bthgd,bshd->bhgts", q, k) / np.sqrt(size)
    scores = np.where(np.tril(np.ones((tokens, tokens), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = np.einsum("bhgts,bshd->bthgd", weights / weights.sum(-1, keepdims=True), v)
    return (x + y.reshape(*x.shape[:2], -1) @ c["wo"]) @ c["head"]


class Caches(unittest.TestCase):
    """GroupQueryAttention over caches of integers by scales of the file."""

    def agrees(self, got, record, tolerance):
        flat = np.asarray(got, np.float64).reshape(-1)
        at = [i * (flat.size - 1) // 15 for i in range(16)]
        self.assertEqual(list(np.shape(got)), record["shape"])
        self.assertLessEqual(np.abs(flat[at] - np.array(record["values"])).max(), tolerance * record["rms"])
        self.assertLess(abs(np.sqrt((flat ** 2).mean()) - record["rms"]), max(tolerance, 1e-7) * record["rms"])

    def test_models_generate_what_onnx_runtime_computes(self):
        for name, form in quantised.CACHE_FORMS.items():
            if form["alone"]:
                continue
            with self.subTest(name):
                output = SCRATCH / "caches.eff"
                run("compile", save_cache(name), "-o", output, "-q", "--batch=1,2", "--prefill=4,16")
                rows = [[(37 * t + 53 * r + 5) % 97 for t in range(11)] for r in (0, 1)]
                right = cached_logits(name, rows)
                session = Model(output).session(sequences=2)
                prompt = session.score(0, rows[0])
                session.reset(0)
                pieces = np.concatenate([session.score(0, rows[0][:5])] + [session.decode([0], [t]) for t in rows[0][5:]])
                session.reset(0)
                both = np.stack([session.decode([0, 1], [rows[0][t], rows[1][t]]) for t in range(11)], 1)
                size = np.sqrt((right ** 2).mean())
                for got, wanted in ((prompt, right[0]), (pieces, right[0]), (both, right)):
                    self.assertLess(np.abs(got - wanted).max(), TOLERANCE * size)
                if f"{name}.onnx" in EXPECTED:  # ONNX Runtime has no caches of two kinds on CPUs
                    cases = {c["case"]: c["outputs"]["logits"] for c in EXPECTED[f"{name}.onnx"]}
                    self.agrees(prompt[None], cases["prefill"], TOLERANCE)
                    self.agrees(both, cases["batch"], TOLERANCE)

    def test_the_cache_holds_the_integers(self):
        for name, bits in (("cache_i8_channel", 8), ("cache_i4_tensor", 4)):
            text = run("compile", save_cache(name), "--stop-after=eff").stdout
            self.assertIn(f"!eff.cache<2x16, capacity = 2048, #eff.int_cache<{bits}>>", text)
            self.assertRegex(text, r"eff.attention .* key_scale %\w+ value_scale")
            output = SCRATCH / "held.eff"
            run("compile", SCRATCH / f"{name}.onnx", "-o", output, "-q", "--max-length=64")
            states = json.loads(Model(output).manifest)["states"]
            self.assertEqual([s["bytes"] for s in states], [2 * 64 * 16 * bits // 8] * 2)

    def test_raising_is_verified(self):
        for name in ("cache_i8_mixed", "cache_i4_channel"):
            report = run("compile", save_cache(name), "-o", SCRATCH / "verified.eff", "--verify-raise")
            self.assertEqual(report.returncode, 0)

    def test_the_operator_alone(self):
        """Pasts come in and presents go out as tensors: the integers are ONNX Runtime's, to the last one."""
        for name in ("cache_alone_i8", "cache_alone_i4"):
            with self.subTest(name):
                output = SCRATCH / "alone.eff"
                run("compile", save_cache(name), "-o", output, "-q")
                model = Model(output)
                entry = json.loads(model.manifest)["entries"][0]
                inputs = {}
                for k, info in enumerate(entry["inputs"]):
                    value = np.sin(0.7 * np.arange(int(np.prod(info["shape"]))) + 1.3 * k + 0.3).reshape(info["shape"])
                    if info["dtype"] != "f32":
                        value = np.rint(100 * value + (128 if info["dtype"] == "u8" else 0))
                    inputs[info["name"]] = np.ascontiguousarray(value.astype(TYPES[info["dtype"]]))
                outputs = {o["name"]: np.zeros(o["shape"], TYPES[o["dtype"]]) for o in entry["outputs"]}
                model.session().forward(inputs, outputs)
                [case] = EXPECTED[f"{name}.onnx"]
                for key, record in case["outputs"].items():
                    self.agrees(outputs[key], record, TOLERANCE if key == "y" else 0)


class Refusals(unittest.TestCase):
    def refused(self, name, why, **attributes):
        def edit(graph):
            node = next(n for n in graph.node if n.op_type in ("MatMulNBits", "GatherBlockQuantized", "GroupQueryAttention"))
            for key, value in attributes.items():
                for attribute in node.attribute:
                    if attribute.name == key:
                        attribute.i = value
                        break
                else:
                    node.attribute.add(name=key, type=2, i=value)
        result = run("compile", write(name, edit), "-o", SCRATCH / "refused.eff", "-q", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, re.escape(why))

    def test_sizes(self):
        self.refused("nbits4", "N rows of ceil(K / block_size) whole blocks", N=41)
        self.refused("nbits4", "weights of 5 bits; 2, 4 and 8 are known", bits=5)
        self.refused("nbits4", "a block_size of 24; it must be a power of two from 16 on", block_size=24)
        self.refused("nbits4", "K is 73, N is 40", K=73)
        self.refused("nbits4", "weight_prepacked", weight_prepacked=1)
        self.refused("table_packed4", "it must be a multiple of 8", block_size=12)
        self.refused("table_packed4", "a table of 3 bits", bits=3)

    def replaced(self, name, operand, array, why):
        import onnx

        def edit(graph):
            node = next(n for n in graph.node if len(n.input) > operand)
            constant = next(c for c in graph.initializer if c.name == node.input[operand])
            constant.CopyFrom(onnx.numpy_helper.from_array(array, constant.name))
        result = run("compile", write(name, edit), "-o", SCRATCH / "refused.eff", "-q", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(why, result.stderr)

    def test_zero_points_and_scales(self):
        self.replaced("nbits4_flat_zeros", 3, np.zeros((40, 3), np.uint8), "the zero points must be 80 constants")
        self.replaced("nbits4_float_zeros", 3, np.zeros((40, 2), np.float32), "the zero points must be 120 constants")
        self.replaced("nbits4", 2, np.ones((40, 4), np.float32), "the scales must be 120 constants")
        self.replaced("nbits4", 2, np.full((40, 3), np.nan, np.float32), "a scale is not finite")
        self.replaced("nbits4_order", 4, np.full(72, 9, np.int32), "g_idx names group 9 of 5")
        self.replaced("table_packed4_zeros", 3, np.zeros((128, 3), np.uint8), "the zero points must be 256 constants")


def changed(name, op, operand=None, array=None, **attributes):
    """A model with another constant, or other attributes, of its first node of this kind."""
    import onnx
    model = {**quantised.MODELS, **quantised.CACHES}[name]()
    node = next(n for n in model.graph.node if n.op_type == op)
    for key, value in attributes.items():
        for attribute in [a for a in node.attribute if a.name == key]:
            node.attribute.remove(attribute)
        node.attribute.append(onnx.helper.make_attribute(key, value))
    if operand is not None:
        constant = next(c for c in model.graph.initializer if c.name == node.input[operand])
        constant.CopyFrom(onnx.numpy_helper.from_array(array, constant.name))
    return model


def alone(op, *constants, **attributes):
    """A model of one operator of com.microsoft on x."""
    g = quantised.Graph(1)
    y = g.microsoft(op, "x", *(c if isinstance(c, str) else g.constant(c) for c in constants), **attributes)
    return g.model(y, [1, quantised.ROWS, quantised.N])


def refused_forms():
    """What 'Quantised input' of docs/importing.md says is refused: a model, the code, words of the reason."""
    n, k, nan, inf = quantised.N, quantised.K, np.nan, np.inf
    full = lambda value, *shape: np.full(shape, value, np.float32)
    bytes = lambda *shape: np.zeros(shape, np.uint8)
    nodes, code = "EFF0210", "EFF0214"
    yield changed("nbits4", "MatMulNBits", weight_prepacked=1), nodes, ("MatMulNBits", "weight_prepacked")
    # Scales that are not finite.
    for bad in (nan, inf, -inf):
        yield changed("nbits4", "MatMulNBits", 2, full(bad, n, 3)), nodes, ("MatMulNBits", "a scale is not finite")
    yield changed("table_packed4", "GatherBlockQuantized", 2, full(nan, 128, 3)), nodes, ("GatherBlockQuantized", "a scale is not finite")
    for name, op, operand, shape in [
            ("weight_int8_axis", "DequantizeLinear", 1, [n]), ("weight_int8_block", "DequantizeLinear", 1, [k // 8, n]),
            ("weight_int4_block", "DequantizeLinear", 1, [3, n]), ("weight_fp8_axis", "DequantizeLinear", 1, [n]),
            ("qdq_i8", "QuantizeLinear", 1, []), ("dynamic_to_float", "MatMulIntegerToFloat", 3, [n]),
            ("dynamic_fused", "DynamicQuantizeMatMul", 2, []), ("qlinear_matmul", "QLinearMatMul", 4, [n]), ("qgemm", "QGemm", 4, [n]),
            ("qlinear_add", "QLinearAdd", 6, []), ("qlinear_sigmoid", "QLinearSigmoid", 3, []), ("qlinear_conv", "QLinearConv", 4, [16])]:
        for bad in (nan, inf):
            yield changed(name, op, operand, full(bad, *shape)), code, (op, "a scale is not finite")
    # Scales and zero points of another number.
    yield changed("nbits4", "MatMulNBits", 2, full(1, n, 4)), nodes, ("the scales must be 120 constants",)
    yield changed("nbits4_flat_zeros", "MatMulNBits", 3, bytes(n, 3)), nodes, ("the zero points must be 80 constants",)
    yield changed("table_packed4_zeros", "GatherBlockQuantized", 3, bytes(128, 3)), nodes, ("the zero points must be 256 constants",)
    yield changed("weight_int8_axis", "DequantizeLinear", 1, full(1, n - 1)), code, ("there must be 1 or 40 scales, got 39",)
    yield changed("weight_int8_block", "DequantizeLinear", 1, full(1, 8, n)), code, ("there must be 1 or 360 scales, got 320",)
    yield changed("weight_uint8_axis", "DequantizeLinear", 2, bytes(n - 1)), code, ("there must be 40 zero points", "got 39")
    yield changed("qlinear_matmul", "QLinearMatMul", 4, full(1, n - 1)), code, ("QLinearMatMul", "there must be 1 or 40 scales, got 39")
    yield changed("qlinear_matmul", "QLinearMatMul", 5, np.zeros(n - 1, np.int8)), code, ("there must be 40 zero points", "got 39")
    yield changed("qgemm", "QGemm", 4, full(1, n + 1)), code, ("QGemm", "there must be 1 or 40 scales, got 41")
    yield changed("qlinear_conv", "QLinearConv", 4, full(1, 15)), code, ("QLinearConv", "there must be 1 or 16 scales, got 15")
    yield changed("dynamic_to_float", "MatMulIntegerToFloat", 3, full(1, n - 1)), code, ("there must be 1 or 40 scales, got 39",)
    # Caches.
    gqa = lambda *args, **attributes: changed("cache_i8_channel", "GroupQueryAttention", *args, **attributes)
    for model, words in [
            (gqa(k_quant_type="PER_TOKEN"), "k_quant_type is PER_TOKEN; NONE, PER_TENSOR and PER_CHANNEL are known"),
            (gqa(v_quant_type="NONE"), "keys and values are quantised together or not at all"),
            (gqa(kv_cache_bit_width=2), "kv_cache_bit_width is 2; quantised caches have 8 or 4 bits"),
            (gqa(kv_cache_bit_width=4), "its caches of 4 bits must be uint8"),
            (float8_cache(), "its caches of 8 bits must be int8, operand 3 is f8E4M3FN"),
            (gqa(k_quant_type="PER_TENSOR"), "k_scale must be 1 constants, got 32"),
            (gqa(13, full(1, 8)), "v_scale must be 32 constants, got 8")]:
        yield model, nodes, ("GroupQueryAttention", words)
    for operand, bad, words in [(12, nan, "a scale is not finite"), (13, inf, "a scale is not finite"), (12, 0, "a scale is not positive"),
                                (13, -1, "a scale is not positive")]:
        yield gqa(operand, full(bad, 1, 2, 1, 16)), code, ("GroupQueryAttention", words)
    # Operators.
    yield alone("MoE", full(1, 5, 4), full(1, 4, k, 32), "", full(1, 4, 32, n), k=2), nodes, ("com.microsoft::MoE",)
    yield alone("QMoE", full(1, 5, 4), bytes(4, 32, 36), full(1, 4, 32), "", bytes(4, n, 16), full(1, 4, n), k=2), nodes, ("com.microsoft::QMoE",)
    yield (alone("MatMulBlockQuantizedFp8Weight", bytes(n, k), full(1, n, 1), K=k, N=n, block_size=128), nodes,
           ("com.microsoft::MatMulBlockQuantizedFp8Weight",))
    yield (alone("MatMulBlockQuantizedFp4Weight", bytes(n, k // 2), bytes(n, 5), full(1, 1), K=k, N=n, block_size=16), nodes,
           ("com.microsoft::MatMulBlockQuantizedFp4Weight",))


def float8_cache():
    model = quantised.CACHES["cache_i8_channel"]()
    for value in list(model.graph.input) + list(model.graph.output):
        if value.name.startswith(("past", "present")):
            value.type.tensor_type.elem_type = quantised.FLOAT8E4M3FN
    return model


class WhatTheDocumentationRefuses(unittest.TestCase):
    def test_every_form_with_its_code_and_reason(self):
        import onnx
        path = SCRATCH / "form.onnx"
        for model, code, words in refused_forms():
            with self.subTest(words=words):
                onnx.save(model, path)
                result = run("compile", path, "-o", SCRATCH / "refused.eff", "-q", check=False)
                self.assertEqual(result.returncode, 1)
                self.assertIn(f"error {code}", result.stderr)
                for word in words:
                    self.assertIn(word, result.stderr)


def table():
    for name in quantised.MODELS:
        try:
            largest, mean = difference(name)
            text = f"{largest:.1e} {mean:.1e}" + (" steps" if name in STEPS else "")
        except AssertionError as error:
            text = str(error)[-900:]
        print(f"{name:24} {text}", flush=True)


if __name__ == "__main__":
    table() if "--table" in sys.argv else unittest.main()
