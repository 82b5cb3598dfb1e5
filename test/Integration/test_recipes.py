"""Recipes: what they make of the example models, what they keep, what they refuse."""
import hashlib
import json
import unittest

import numpy as np

from effc_tools import EXAMPLES, ROOT, SCRATCH, compiled, run
from effc.runtime import Model

# English text of the repository; 16 samples of 512 tokens are enough for models this small.
TEXT = ROOT / "LICENSE"
CALIB = ("--calib", str(TEXT), "--calib-samples", "16")
# The largest mean Kullback-Leibler divergence from the float model: measured 0.004 .. 0.13, and room for the order of
# sums on other machines. Groups of 128 are a whole row of these models, so 4 bits cost them more than larger ones.
RECIPES = {
    "quamba": ("mamba-tiny", 0.03),
    "quamba2-w8a8": ("mamba2-tiny", 0.03),
    "quamba2-w4a8": ("mamba2-tiny", 0.25),
    "quamba2-w4a16": ("mamba2-tiny", 0.25),
    "llm-w8a8": ("llama-tiny", 0.03),
    "llm-w4a8": ("llama-tiny", 0.25),
    "llm-w4a16": ("llama-tiny", 0.25),
}


def divergence(model, other):
    return json.loads(run("eval", model, "--ppl", TEXT, "--compare", other, "--json").stdout)["kl_mean"]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Recipes(unittest.TestCase):
    def test_each_stays_close_to_the_float_model(self):
        for recipe, (model, limit) in RECIPES.items():
            with self.subTest(recipe):
                value = divergence(compiled(model, "--recipe", recipe, *CALIB), compiled(model))
                self.assertGreater(value, 0)
                self.assertLess(value, limit)

    def test_files_shrink(self):
        whole = compiled("mamba2-tiny").stat().st_size
        eight = compiled("mamba2-tiny", "--recipe", "quamba2-w8a8", *CALIB).stat().st_size
        four = compiled("mamba2-tiny", "--recipe", "quamba2-w4a8", *CALIB).stat().st_size
        # Code, manifest and tokenizer are a large part of files this small.
        self.assertLess(eight, 0.75 * whole)
        self.assertLess(four, 0.9 * eight)

    def test_prompts_token_by_token(self):
        """int8 activations have scales that no other token changes: chunks give what single tokens give."""
        ids = np.random.default_rng(3).integers(1, 1024, 70, dtype=np.int32)
        for recipe in ("quamba", "quamba2-w4a8"):
            with self.subTest(recipe):
                session = Model(compiled(RECIPES[recipe][0], "--recipe", recipe, *CALIB)).session(sequences=2)
                whole = session.score(0, ids)
                steps = np.stack([session.decode([1], [t])[0] for t in ids])
                self.assertLess(np.abs(whole - steps).max(), 2e-3 * np.abs(steps).max())

    def test_the_same_bytes_twice_and_from_a_kept_calibration(self):
        source = EXAMPLES / "mamba2-tiny.onnx"
        first, second, third = (SCRATCH / f"recipe{i}.eff" for i in range(3))
        kept = SCRATCH / "kept here.calib"
        flags = ("--recipe", "quamba2-w4a8", "-q")
        run("compile", source, "-o", first, *flags, *CALIB, "--calib-out", kept)
        run("compile", source, "-o", second, *flags, *CALIB, "-j", "1")
        run("compile", source, "-o", third, *flags, "--calib-in", kept)
        self.assertEqual(digest(first), digest(second))
        self.assertEqual(digest(first), digest(third))

    def test_a_printed_recipe_can_be_changed_and_given_back(self):
        text = run("compile", EXAMPLES / "llama-tiny.onnx", "--recipe", "llm-w4a16", "--print-recipe").stdout
        self.assertIn("group=128", text)
        path = SCRATCH / "mine.recipe"
        path.write_text(text.replace("group=128", "group=32"))
        value = divergence(compiled("llama-tiny", "--recipe", str(path), *CALIB), compiled("llama-tiny"))
        # Smaller groups round better.
        self.assertLess(value, divergence(compiled("llama-tiny", "--recipe", "llm-w4a16", *CALIB),
                                          compiled("llama-tiny")))

    def test_layers_with_a_format_of_their_own(self):
        path = SCRATCH / "precision.json"
        path.write_text('{"layers.0.": "w8a8", "layers.1.": "w4a16"}')
        mixed = compiled("mamba2-tiny", "--recipe", "quamba2-w4a8", "--precision", str(path), *CALIB)
        plain = compiled("mamba2-tiny", "--recipe", "quamba2-w4a8", *CALIB)
        self.assertGreater(mixed.stat().st_size, plain.stat().st_size)
        self.assertLess(divergence(mixed, compiled("mamba2-tiny")), divergence(plain, compiled("mamba2-tiny")))


class Refusals(unittest.TestCase):
    def refuse(self, code, *words, model="llama-tiny", flags=()):
        output = SCRATCH / "refused.eff"
        result = run("compile", EXAMPLES / f"{model}.onnx", "-o", output, "-q", *flags, check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        for word in (code, *words):
            self.assertIn(word, result.stderr)
        self.assertFalse(output.exists())

    def file(self, text):
        path = SCRATCH / "bad.recipe"
        path.write_text(text)
        return str(path)

    def test_unknown_names_list_the_known_ones(self):
        self.refuse("EFF0402", "quamba2-w4a8", "llm-w4a16", flags=("--recipe", "quamba3"))

    def test_models_that_a_recipe_does_not_fit(self):
        self.refuse("EFF0403", "eff.ssm_scan", flags=("--recipe", "quamba", *CALIB))
        self.refuse("EFF0403", "eff.attention", model="mamba-tiny", flags=("--recipe", "llm-w8a8"))

    def test_without_samples(self):
        self.refuse("EFF0404", "--calib", model="mamba2-tiny", flags=("--recipe", "quamba2-w8a8"))

    def test_steps_and_options_that_do_not_exist(self):
        self.refuse("EFF0402", "fold-paper", flags=("--recipe", self.file("fold-paper\n")))
        self.refuse("EFF0402", "sides", flags=("--recipe", self.file("rotate sides=4\n")))
        self.refuse("EFF0402", flags=("--recipe", self.file("# nothing\n")))

    def test_activations_before_weights(self):
        self.refuse("EFF0102", "format=w8a8", model="mamba-tiny",
                    flags=("--recipe", self.file("calibrate\nquantize-activations\n"), *CALIB))

    def test_reordering_behind_a_rotation(self):
        self.refuse("EFF", "rotat", model="mamba2-tiny",
                    flags=("--recipe", self.file("calibrate\nrotate online\nreorder\n"), *CALIB))

    def test_a_calibration_of_another_model(self):
        kept = SCRATCH / "other.calib"
        run("calibrate", EXAMPLES / "mamba-tiny.onnx", "-q", *CALIB, "--calib-out", kept)
        self.refuse("EFF0413", model="mamba2-tiny", flags=("--recipe", "quamba2-w8a8", "--calib-in", str(kept)))

    def test_precision_files(self):
        path = SCRATCH / "bad.json"
        path.write_text('{"layers.0.": "w3a5"}')
        self.refuse("EFF", "w4a16", model="mamba2-tiny",
                    flags=("--recipe", "quamba2-w4a8", "--precision", str(path), *CALIB))


if __name__ == "__main__":
    unittest.main()
