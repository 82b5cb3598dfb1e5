"""Rotated and reordered models compute what the model does; a recipe that does not fit is refused."""
import unittest

import numpy as np

from effc_tools import EXAMPLES, SCRATCH, compiled, run
from effc.runtime import Model

ROTATE = "rotate residual online\n"
REORDER = "calibrate\nreorder head-clusters=2 channel-clusters=4\n"


PREFILL = "--prefill=16"


def compress(model, name, recipe, *flags):
    """Compiles by a recipe that is given as its text; returns what effc said and the file."""
    path, output = SCRATCH / "rotate.recipe", SCRATCH / f"{model}-{name}.eff"
    path.write_text(recipe)
    result = run("compile", EXAMPLES / f"{model}.onnx", "--recipe", path, "-o", output, "-q", PREFILL, *flags,
                 check=False)
    return result, output


def logits(path):
    ids = np.random.default_rng(5).integers(1, 1024, 75, dtype=np.int32)
    session = Model(path).session()
    prompt = session.score(0, ids)
    return np.vstack([prompt, *[session.decode([0], [t]) for t in (7, 300, 511)]])


class Rotate(unittest.TestCase):
    def expect_same(self, model, name, recipe, *flags):
        """Rotations and other orders of sums in f32: 2e-4 of the largest logit, as for any other order of sums."""
        result, path = compress(model, name, recipe, *flags)
        self.assertEqual(result.returncode, 0, result.stderr)
        expected = logits(compiled(model, "--quant=f32", PREFILL))
        self.assertLess(np.abs(logits(path) - expected).max(), 2e-4 * np.abs(expected).max())
        return path

    def test_rotated_models_compute_the_same(self):
        for model in ("llama-tiny", "mamba-tiny", "mamba2-tiny"):
            with self.subTest(model):
                self.expect_same(model, "rotated", ROTATE)

    def test_reordered_and_rotated_model_computes_the_same_and_has_the_same_bytes_again(self):
        flags = ("--calib", EXAMPLES / "README.md", "--calib-samples=2", "--calib-tokens=64")
        files = [self.expect_same("mamba2-tiny", name, REORDER + ROTATE, *flags).read_bytes() for name in ("a", "b")]
        self.assertEqual(*files)

    def test_what_does_not_fit_is_refused(self):
        flags = ("--calib", EXAMPLES / "README.md", "--calib-samples=1", "--calib-tokens=16")
        for model, recipe, text in (("llama-tiny", REORDER, "the model has no 'eff.ssd_scan'"),
                                    ("mamba2-tiny", ROTATE + ROTATE, "rotate a model once"),
                                    ("mamba2-tiny", "calibrate\nrotate online\nreorder\n", "reorder before rotating")):
            with self.subTest(recipe):
                result, _ = compress(model, "refused", recipe, *flags)
                self.assertEqual(result.returncode, 1)
                self.assertIn(text, result.stderr)


if __name__ == "__main__":
    unittest.main()
