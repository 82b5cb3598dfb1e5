"""Images of several sizes in one file: an entry point each, chosen by the shapes of what is run."""
import json
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from effc_tools import SCRATCH, run

GENERATOR = np.random.default_rng(5)
KERNEL = GENERATOR.standard_normal((4, 3, 3, 3)).astype(np.float32)
WEIGHT = GENERATOR.standard_normal((4, 5)).astype(np.float32)


def write_model(path):
    """A convolution, the mean over all positions, a linear: right for any height and width."""
    nodes = [helper.make_node("Conv", ["image", "kernel"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
             helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["p"]),
             helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("MatMul", ["f", "weight"], ["scores"])]
    graph = helper.make_graph(
        nodes, "sizes", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(KERNEL, "kernel"), numpy_helper.from_array(WEIGHT, "weight")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def expected(image):
    padded = np.pad(image[0].astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    return np.maximum(np.einsum("chwij,ocij->ohw", windows, KERNEL), 0).mean((1, 2)) @ WEIGHT


class Sizes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.source, cls.model = SCRATCH / "sizes.onnx", SCRATCH / "sizes.eff"
        write_model(cls.source)
        run("compile", cls.source, "-o", cls.model, "-q", "--dim", "height=16,height=9", "--dim", "width=16,width=23")

    def scores(self, height, width, check=True):
        image = GENERATOR.standard_normal((1, 3, height, width)).astype(np.float32)
        path = SCRATCH / "image.npy"
        np.save(path, image)
        result = run("run", self.model, "--input", f"image={path}", "--output-dir", SCRATCH, "-q", check=check)
        return result, image

    def test_every_size_has_an_entry_point(self):
        entries = json.loads(run("inspect", self.model, "--json").stdout)["entries"]
        self.assertEqual([entry["name"] for entry in entries],
                         ["forward_b1_height16_width16", "forward_b1_height16_width23", "forward_b1_height9_width16",
                          "forward_b1_height9_width23"])

    def test_the_shape_chooses(self):
        for height, width in [(16, 16), (16, 23), (9, 16), (9, 23)]:
            with self.subTest(height=height, width=width):
                _, image = self.scores(height, width)
                # 27 products and a mean of f32 of values near 1.
                np.testing.assert_allclose(np.load(SCRATCH / "scores.npy")[0], expected(image), atol=1e-5)

    def test_a_size_that_was_not_compiled(self):
        result, _ = self.scores(16, 17, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("another shape", result.stderr)
        self.assertIn("effc inspect", result.stderr)

    def test_too_many_sizes(self):
        values = [f"{name}={i}" for name in ("height", "width") for i in range(8, 17)]
        result = run("compile", self.source, "-o", SCRATCH / "many.eff", "-q", "--dim", ",".join(values), check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("at most 64", result.stderr)
        self.assertFalse((SCRATCH / "many.eff").exists())


if __name__ == "__main__":
    unittest.main()
