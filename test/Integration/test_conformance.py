"""ONNX operators: own small cases, and part of the ONNX backend tests where they are at hand."""
import json
import subprocess
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from effc_tools import BUILD, DATA, SCRATCH, need_data

ARCHIVE = "onnx/backend-tests-1.22.tar.xz"
DRIVER = BUILD / "bin/effc-conformance"


def drive(folder, *flags):
    """The cases of a folder by name, as the driver saw them."""
    output = SCRATCH / "conformance.json"
    result = subprocess.run([DRIVER, folder, "--json", output, "--jobs", "2", *flags], capture_output=True, text=True)
    assert output.exists(), result.stdout + result.stderr
    return {case["name"]: case for case in json.loads(output.read_text())}


def write_case(folder, graph, inputs, outputs, opset=18):
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for i, array in enumerate(arrays):
            (data / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())


def value(name, array):
    return helper.make_tensor_value_info(name, numpy_helper.from_array(array).data_type, array.shape)


def node_case(folder, op, inputs, outputs, opset=18, **attributes):
    """A graph of one node."""
    names = [f"x{i}" for i in range(len(inputs))], [f"y{i}" for i in range(len(outputs))]
    graph = helper.make_graph([helper.make_node(op, *names, **attributes)], "case",
                              [value(n, a) for n, a in zip(names[0], inputs)],
                              [value(n, a) for n, a in zip(names[1], outputs)])
    write_case(folder, graph, inputs, outputs, opset)


def branch(name, op, *inputs):
    return helper.make_graph([helper.make_node(op, inputs, [name])], name, [],
                             [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])])


def write_loop(folder, trips, limit):
    """a, b = b, a + b, at most `trips` times, while a is below `limit`."""
    a, b = np.array([1, 2], np.float32), np.array([0.5, 0.25], np.float32)
    sums = helper.make_graph(
        [helper.make_node("Identity", ["b"], ["a1"]), helper.make_node("Add", ["a", "b"], ["b1"]),
         helper.make_node("ReduceMax", ["a1"], ["m"], keepdims=0), helper.make_node("Less", ["m", "limit"], ["go1"])],
        "body", [helper.make_tensor_value_info("i", TensorProto.INT64, []),
                 helper.make_tensor_value_info("go", TensorProto.BOOL, []), value("a", a), value("b", b)],
        [helper.make_tensor_value_info("go1", TensorProto.BOOL, []), value("a1", a), value("b1", b)])
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "", "a0", "b0"], ["x", "y"], body=sums)], "case",
        [value("trips", np.array(trips, np.int64)), value("limit", np.array(limit, np.float32)), value("a0", a), value("b0", b)],
        [value("x", a), value("y", b)])
    inputs = [np.array(trips, np.int64), np.array(limit, np.float32), a, b]
    for _ in range(trips):
        a, b = b, a + b
        if a.max() >= limit:
            break
    write_case(folder, graph, inputs, [a, b])


def convolution(x, w, stride, dilation, groups):
    """A convolution without padding, as its equation has it."""
    n, m = x.shape[0], w.shape[0]
    size = [(x.shape[i] - (w.shape[i] - 1) * dilation - 1) // stride + 1 for i in (2, 3)]
    y = np.zeros((n, m, *size))
    share = x.shape[1] // groups
    for f in range(m):
        own = x[:, f // (m // groups) * share:][:, :share].astype(np.float64)
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                window = own[:, :, i * dilation:, j * dilation:][:, :, :size[0] * stride:stride, :size[1] * stride:stride]
                y[:, f] += np.einsum("nchw,c->nhw", window[:, :, :size[0], :size[1]], w[f, :, i, j].astype(np.float64))
    return y.astype(np.float32)


def write_reductions(folder, rng):
    """Sums in blocks of registers: rows and columns that fill no block, steps between elements, groups, other types."""
    for name, shape, filters, stride, dilation, groups in (
            ("plain", (1, 3, 9, 37), (8, 3, 3, 3), 1, 1, 1), ("stride2", (2, 4, 11, 41), (6, 4, 3, 5), 2, 1, 1),
            ("stride5", (1, 2, 31, 36), (7, 2, 3, 3), 5, 1, 1), ("dilated", (1, 2, 12, 24), (4, 2, 3, 3), 1, 3, 1),
            ("groups", (1, 6, 8, 21), (9, 2, 3, 3), 1, 1, 3), ("depthwise", (1, 5, 8, 12), (5, 1, 3, 3), 2, 1, 5),
            ("pixels", (2, 5, 5, 5), (11, 5, 1, 1), 1, 1, 1), ("one_row", (1, 300, 3, 20), (1, 300, 1, 3), 1, 1, 1),
            ("large_rows", (1, 130, 3, 18), (64, 130, 3, 3), 1, 1, 1)):
        x, w = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(filters).astype(np.float32)
        node_case(folder / f"test_conv_{name}", "Conv", [x, w], [convolution(x, w, stride, dilation, groups)],
                  strides=[stride] * 2, dilations=[dilation] * 2, group=groups)
    a, b = rng.standard_normal((3, 10, 17)), rng.standard_normal((3, 17, 35))
    node_case(folder / "test_matmul_blocks_f64", "MatMul", [a, b], [a @ b])
    a, b = rng.integers(-100, 100, (13, 9)).astype(np.int32), rng.integers(-100, 100, (9, 18)).astype(np.int32)
    node_case(folder / "test_matmul_blocks_i32", "MatMul", [a, b], [a @ b])
    x = rng.standard_normal((6, 5, 19)).astype(np.float32)
    # Places that are the elements themselves, and half a step outside.
    x = rng.standard_normal((1, 2, 3, 5)).astype(np.float32)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 3)), -1)[None].astype(np.float32)
    for mode in ("linear", "nearest", "cubic"):
        node_case(folder / f"test_grid_{mode}", "GridSample", [x, grid], [x], opset=20, mode=mode, align_corners=1)
    # One column to the left, half a row up.
    left = np.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0)))[..., :-1]
    node_case(folder / "test_grid_outside", "GridSample", [x, grid - np.float32(0.5)],
              [(left[:, :, 1:] + left[:, :, :-1]) / 2], opset=20, align_corners=1)
    bits = np.array([1, -2, 0.1], np.float32)
    node_case(folder / "test_bits", "BitCast", [bits], [bits.view(np.int32)], opset=26, to=TensorProto.INT32)
    node_case(folder / "test_max_of_rows", "ReduceMax", [x, np.array([1], np.int64)], [x.max(1)], keepdims=0)


def own_cases(folder):
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, 3)).astype(np.float32)
    wide = np.array([1e300, -2.5, 3], np.float64)
    write_reductions(folder, rng)
    # Wider than f32: silent rounding gives infinity.
    node_case(folder / "test_add_f64", "Add", [wide, wide], [wide + wide])
    node_case(folder / "test_mul_f64", "Mul", [wide, np.array([0.5], np.float64)], [wide * 0.5])
    # Integers of 64 bits that no double holds; bytes that are no multiple of a word.
    big = np.array([2**53 + 1, -(2**62) - 1, 7], np.int64)
    node_case(folder / "test_sub_i64", "Sub", [big, np.array([1], np.int64)], [big - 1])
    node_case(folder / "test_identity_u8", "Identity", [np.array([1, 200, 255], np.uint8)],
              [np.array([1, 200, 255], np.uint8)])
    node_case(folder / "test_not_bool", "Not", [np.array([True, False, True])], [np.array([False, True, False])])
    # The smallest floats are not zero; NaN is true.
    tiny = np.array([1e-40, 0, -0.0, np.nan, 0.3], np.float32)
    node_case(folder / "test_cast_bool", "Cast", [tiny], [np.array([True, False, False, True, True])],
              to=TensorProto.BOOL)
    # Remainders with the sign of the dividend, exact for large quotients.
    a, b = np.array([5.3, -5.3, 1e30, 4, np.inf], np.float32), np.array([2, 2, 3, np.inf, 1], np.float32)
    with np.errstate(invalid="ignore"):
        node_case(folder / "test_fmod", "Mod", [a, b], [np.fmod(a, b)], fmod=1)
    # Nothing to add up.
    empty = np.zeros((2, 0, 3), np.float32)
    node_case(folder / "test_sum_of_nothing", "ReduceSum", [empty, np.array([1], np.int64)],
              [np.zeros((2, 3), np.float32)], keepdims=0)
    node_case(folder / "test_concat_empty", "Concat", [np.zeros((0, 3), np.float32), x], [x], axis=0)
    # An If whose condition comes at run time.
    y = rng.standard_normal((2, 3)).astype(np.float32)
    for choice in (True, False):
        condition = np.array(choice)
        graph = helper.make_graph(
            [helper.make_node("If", ["c"], ["z"], then_branch=branch("sum", "Add", "x", "y"),
                              else_branch=branch("difference", "Sub", "x", "y"))], "case",
            [value("c", condition), value("x", x), value("y", y)], [value("z", x)])
        write_case(folder / f"test_if_{choice}".lower(), graph, [condition, x, y], [x + y if choice else x - y])
    # Loops whose trip count comes at run time: states that change places, an end before the last step, no step at all.
    for name, trips, limit in (("all", 5, 1e9), ("early", 5, 3.5), ("none", 0, 1e9)):
        write_loop(folder / f"test_loop_{name}", trips, limit)
    # A step's input is read again after code that could write its result there.
    rows, updates = rng.random((4, 3)).astype(np.float32), rng.random((2, 3)).astype(np.float32)
    indices = np.array([[2], [0]], np.int64)
    w = np.eye(3, dtype=np.float32)
    product = np.sqrt(rows)
    scattered = product.copy()
    scattered[[2, 0]] = updates
    e = np.exp(product)
    softmax = e / e.sum(-1, keepdims=True)
    graph = helper.make_graph(
        [helper.make_node("Sqrt", ["d"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["t"]),
         helper.make_node("ScatterND", ["t", "i", "u"], ["o"]), helper.make_node("Softmax", ["t"], ["p"])], "case",
        [value("d", rows), value("i", indices), value("u", updates)], [value("o", rows), value("p", rows)],
        [numpy_helper.from_array(w, "w")])
    write_case(folder / "test_input_read_again", graph, [rows, indices, updates], [scattered, softmax])
    # A GRU of two steps, both directions, against its equations.
    t, n, i, h = 2, 2, 3, 2
    steps = rng.standard_normal((t, n, i)).astype(np.float32)
    w = rng.standard_normal((2, 3 * h, i)).astype(np.float32)
    r = rng.standard_normal((2, 3 * h, h)).astype(np.float32)
    bias = rng.standard_normal((2, 6 * h)).astype(np.float32)
    outputs = np.zeros((t, 2, n, h), np.float32)
    last = np.zeros((2, n, h), np.float32)
    for d in range(2):
        wz, wr, wh = np.split(w[d].astype(np.float64), 3)
        rz, rr, rh = np.split(r[d].astype(np.float64), 3)
        bz, br, bh, cz, cr, ch = np.split(bias[d].astype(np.float64), 6)
        state = np.zeros((n, h))
        for step in (range(t) if d == 0 else reversed(range(t))):
            z = 1 / (1 + np.exp(-(steps[step] @ wz.T + state @ rz.T + bz + cz)))
            g = 1 / (1 + np.exp(-(steps[step] @ wr.T + state @ rr.T + br + cr)))
            fresh = np.tanh(steps[step] @ wh.T + g * (state @ rh.T + ch) + bh)
            state = (1 - z) * fresh + z * state
            outputs[step, d] = state
        last[d] = state
    node_case(folder / "test_gru", "GRU", [steps, w, r, bias], [outputs, last], hidden_size=h,
              direction="bidirectional", linear_before_reset=1)


@unittest.skipUnless(DRIVER.exists(), "effc-conformance is not built")
class OwnCases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = SCRATCH / "own" / "node"
        own_cases(cls.folder)

    def check(self, level, way):
        cases = drive(self.folder, "--level", level, "--way", way)
        self.assertEqual(len(cases), len(list(self.folder.iterdir())))
        for name, case in cases.items():
            with self.subTest(name, level=level, way=way):
                self.assertEqual(case["status"], "passed", case["reason"])

    def test_interpreted(self):
        self.check("literal", "static")

    def test_raised(self):
        self.check("raised", "static")

    def test_compiled(self):
        self.check("compiled", "static")

    def test_compiled_without_shapes(self):
        self.check("compiled", "dynamic")

    def test_compiled_with_constants(self):
        self.check("compiled", "constants")

    def test_a_wrong_result_is_seen(self):
        folder = SCRATCH / "wrong" / "node"
        x = np.array([1, 2], np.float32)
        node_case(folder / "test_wrong", "Add", [x, x], [x + x + 1])
        self.assertEqual(drive(folder, "--level", "compiled")["test_wrong"]["status"], "wrong")


@need_data(ARCHIVE)
@unittest.skipUnless(DRIVER.exists(), "effc-conformance is not built")
class BackendTests(unittest.TestCase):
    """Never wrong, never a crash; the operators of tier 2 pass."""

    @classmethod
    def setUpClass(cls):
        cls.folder = SCRATCH / "backend"
        cls.folder.mkdir()
        subprocess.run(["tar", "-xf", DATA / ARCHIVE, "-C", cls.folder], check=True)

    def check(self, *flags):
        cases = drive(self.folder, "--filter", "test_", *flags)
        self.assertGreater(len(cases), 100)
        for name, case in cases.items():
            with self.subTest(name, flags=flags):
                self.assertIn(case["status"], ("passed", "folded", "unsupported"), case["reason"])
                if case["tier"] <= 2:
                    self.assertNotEqual(case["status"], "unsupported", case["reason"])

    def test_raised(self):
        self.check("--level", "raised", "--every", "3")

    def test_compiled(self):
        self.check("--level", "compiled", "--every", "16")

    def test_compiled_without_shapes(self):
        self.check("--level", "compiled", "--way", "dynamic", "--every", "18")

    def test_compiled_with_constants(self):
        self.check("--level", "compiled", "--way", "constants", "--every", "17")


if __name__ == "__main__":
    unittest.main()
