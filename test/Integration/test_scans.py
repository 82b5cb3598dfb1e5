"""Scans in reports: what was found as a `Scan` node; refused with the reason what is not recognised and too large to
compute as it is written."""
import unittest

import numpy as np

from effc_tools import SCRATCH, exported, need_data, run

TOKENS, CHANNELS, STATE = 4096, 512, 16


def write(path):
    """A scan as cumulative sums with a division, which loses small numbers, on long sequences."""
    from onnx import TensorProto, helper, numpy_helper, save
    random = np.random.default_rng(0)
    constants, nodes = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(kind, output, *inputs, **attributes):
        nodes.append(helper.make_node(kind, list(inputs), [output], name=f"node_{output}", **attributes))
        return output

    weight = lambda name, *shape: constant(name, (random.standard_normal(shape) * 0.1).astype(np.float32))
    axes = lambda name, *values: constant(name, np.array(values, np.int64))
    u = node("Gather", "u", weight("table", 64, CHANNELS), "input_ids", axis=0)
    dt = node("Softplus", "dt", node("MatMul", "dt_in", u, weight("wdt", CHANNELS, CHANNELS)))
    b = node("Unsqueeze", "b4", node("MatMul", "b", u, weight("wb", CHANNELS, STATE)), axes("two", 2))
    c = node("Unsqueeze", "c4", node("MatMul", "c", u, weight("wc", CHANNELS, STATE)), "two")
    dt4 = node("Unsqueeze", "dt4", dt, axes("three", 3))
    a = constant("a", -np.tile(np.arange(1, STATE + 1, dtype=np.float32), (1, 1, CHANNELS, 1)))
    one = constant("one", np.array(1, np.int64))
    decay = node("Exp", "decay", node("CumSum", "sums", node("Mul", "da", a, dt4), one))
    into = node("Mul", "into", node("Mul", "db", dt4, b), node("Unsqueeze", "u4", u, "three"))
    below = node("Add", "below", decay, constant("tiny", np.array(1e-12, np.float32)))
    h = node("Mul", "h", decay, node("CumSum", "carried", node("Div", "quotient", into, below), one))
    y = node("ReduceSum", "y", node("Mul", "hc", h, c), "three", keepdims=0)
    node("MatMul", "logits", y, weight("head", CHANNELS, 64))
    graph = helper.make_graph(nodes, "main_graph", [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, TOKENS])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, TOKENS, 64])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    save(model, path)


def rename_domain(source, path):
    """The functions of ai.effc under another name, so that their bodies count."""
    import onnx
    model = onnx.load(str(source), load_external_data=False)
    for item in [*model.opset_import, *model.graph.node, *model.functions, *(n for f in model.functions for n in f.node)]:
        if item.domain == "ai.effc":
            item.domain = "other"
    path.write_bytes(model.SerializeToString())


@need_data("models/mamba2-tiny")
class LoopReports(unittest.TestCase):
    def test_scan_nodes_are_reported(self):
        for name, op in (("mamba-tiny", "ssm_scan"), ("mamba2-tiny", "ssd_scan")):
            with self.subTest(name):
                source = exported(name)
                path = source.with_name(f"{name}-loops.onnx")
                rename_domain(source, path)
                text = run("compile", path, "-o", SCRATCH / "loops.eff", "-q", "--report-raise", "--prefill=16").stdout
                lines = [line for line in text.splitlines() if "F4 Scan" in line]
                self.assertRegex(lines[0], rf"^{op} +F4 Scan +at .*layers\.0.*: dt = .+, u = .+, B = .+, C = .+, A = .+; "
                                           r"\d+ nodes, error \d\.\de-\d\d; state from the file$")
                self.assertEqual(len(lines), len(set(lines)))


class LargeScans(unittest.TestCase):
    def test_a_large_scan_that_is_not_recognised_is_refused(self):
        path = SCRATCH / "cumsum.onnx"
        write(path)
        result = run("compile", path, "-o", SCRATCH / "cumsum.eff", "-q", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("error EFF0304: a scan was not recognised and is too large to compute as written", result.stderr)
        self.assertIn("where: node_da", result.stderr)
        self.assertIn("--raise-cumsum", result.stderr)
        self.assertIn("MiB of values in each call", result.stderr)
        self.assertIn("--allow-literal-scan", result.stderr)


if __name__ == "__main__":
    unittest.main()
