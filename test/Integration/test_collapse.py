"""Collapsed scans of a small VMamba: the compiled forms against each other, and what the recipe chooses."""
import json
import os
import re
import subprocess
import sys
import unittest

import numpy as np
import onnx
import onnx.numpy_helper

from effc_tools import DATA, ROOT, SCRATCH, compiled, exported, need_data, run

CONFIG = {"model_type": "vmamba", "image_size": 12, "dims": [16, 24], "depths": [1, 2], "patch": 2, "d_state": 4,
          "ssm_ratio": 2, "num_labels": 5}


def model():
    """A model of random weights."""
    path = SCRATCH / "vmamba.onnx"
    if not path.exists():
        config = SCRATCH / "vmamba.json"
        config.write_text(json.dumps(CONFIG))
        subprocess.run([sys.executable, "-m", "effc.export", "--random", str(config), "--dtype", "f32", "-o", str(path),
                        "-q"], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
        strengthen(path)
    return path


def strengthen(path):
    """Random weights are small: makes those in front of the scans large enough for the scans to matter."""
    file = onnx.load(str(path))
    for weight in file.graph.initializer:
        if "proj" in weight.name:
            values = onnx.numpy_helper.to_array(weight)
            weight.CopyFrom(onnx.numpy_helper.from_array(values * 8, weight.name))
    onnx.save(file, str(path))


def images(labels=True, count=24):
    path = SCRATCH / f"images-{labels}-{count}.npz"
    rng = np.random.default_rng(3)
    arrays = {"images": rng.integers(0, 256, (count, 12, 12, 3), np.uint8)}
    if labels:
        arrays["labels"] = rng.integers(0, 5, count).astype(np.uint8)
    np.savez(path, **arrays)
    return path


def collapsed(name, *steps):
    recipe = SCRATCH / f"{name}.recipe"
    recipe.write_text("\n".join(steps) + "\n")
    return compiled(str(model()), f"--recipe={recipe}")


def logits(path):
    """Of a few images."""
    from effc.runtime import Model
    session = Model(path).session()
    rng = np.random.default_rng(5)
    rows = []
    for _ in range(4):
        pixels = rng.standard_normal((1, 3, 12, 12)).astype(np.float32)
        rows.append(session.forward({"pixel_values": pixels}, {"logits": np.empty((1, 5), np.float32)})["logits"])
    return np.stack(rows)


class Forms(unittest.TestCase):
    def test_vmeanba_invariant_8_literal_and_eliminated_forms_agree(self):
        for layers in ("1", "0,1,2"):
            free = logits(collapsed(f"free{len(layers)}", f"collapse-channels layers={layers}"))
            for variant in ("post", "dir"):
                literal = logits(collapsed(f"{variant}{len(layers)}",
                                           f"collapse-channels layers={layers} variant={variant} literal"))
                # f32 rounding through three blocks
                np.testing.assert_allclose(literal, free, rtol=1e-3, atol=1e-3 * np.abs(free).max())
            change = np.abs(free - logits(compiled(str(model())))).max()
            self.assertGreater(change, 1e-2 * np.abs(free).max(), "the scan did nothing")

    def test_vmeanba_invariant_1_no_layer_changes_no_byte(self):
        plain, same = compiled(str(model())), collapsed("none", "collapse-channels")
        np.testing.assert_array_equal(logits(plain), logits(same))

    def test_vmeanba_invariant_9_the_file_shrinks(self):
        sizes = [collapsed(f"n{n}", "collapse-channels layers=" + ",".join("012"[:n])).stat().st_size for n in (1, 2, 3)]
        self.assertGreater(compiled(str(model())).stat().st_size, sizes[0])
        self.assertGreater(sizes[0], sizes[1])
        self.assertGreater(sizes[1], sizes[2])

    def test_pruned_weights_change_the_model(self):
        self.assertGreater(np.abs(logits(collapsed("pruned", "prune-weights ratio=0.4"))
                                  - logits(compiled(str(model())))).max(), 1e-4)


class Corrections(unittest.TestCase):
    """`collapse-channels correct filter=SIZE`: what makes up for the scans."""

    def compile(self, name, *options, calib=True, batch="1"):
        recipe, output = SCRATCH / f"{name}.recipe", SCRATCH / f"{name}.eff"
        recipe.write_text(" ".join(("collapse-channels", *options)) + "\n")
        samples = ["--calib", images(labels=False, count=96)] if calib else []
        return output, run("compile", model(), "-o", output, "-q", "-v", f"--batch={batch}", "--recipe", recipe, *samples,
                           check=False)

    def corrected(self, name, *options, **how):
        output, result = self.compile(name, *options, **how)
        self.assertEqual(result.returncode, 0, result.stderr)
        return output, result.stderr

    def test_fits_come_nearer_to_the_model(self):
        """The output of the linear behind the scan: nearer after the fit, and nearer already before it with filters."""
        number = lambda said, name: [float(v) for v in re.findall(name + r"=(\S+)", said)]
        _, linear = self.corrected("linear", "layers=0,2", "correct")
        before, after = number(linear, "ErrorBefore"), number(linear, "ErrorAfter")
        self.assertEqual((len(before), len(after)), (2, 2))
        for b, a in zip(before, after):
            self.assertLess(a, b)
        _, filtered = self.corrected("filtered", "layers=0,2", "correct", "filter=3")
        self.assertEqual(filtered.count("ScanFiltered"), 2)
        # The first layer sees the same inputs in both.
        self.assertLess(number(filtered, "ErrorBefore")[0], before[0])

    def test_literal_scans_can_be_corrected_but_not_filtered(self):
        self.corrected("literal-linear", "layers=1", "literal", "correct")
        _, result = self.compile("literal-filter", "layers=1", "literal", "filter=3")
        self.assertEqual(result.returncode, 1)
        self.assertIn("its scan is not gone", result.stderr)

    def test_filters_serve_every_batch_and_are_the_same_twice(self):
        both, _ = self.corrected("batched", "layers=2", "filter=3", batch="1,2")
        one, _ = self.corrected("single", "layers=2", "filter=3")
        np.testing.assert_allclose(logits(both), logits(one), rtol=1e-5, atol=1e-6)
        first = one.read_bytes()
        self.corrected("single", "layers=2", "filter=3")
        self.assertEqual(one.read_bytes(), first)

    def test_no_layers_change_nothing(self):
        path, _ = self.corrected("nothing", "correct", "filter=3")
        np.testing.assert_array_equal(logits(path), logits(compiled(str(model()))))

    def test_what_does_not_fit_is_refused(self):
        for options, reason in ((["layers=0", "filter=4"], "filter 1, 3, 5 or 7"),
                                (["layers=0", "correct", "samples=-3"], "samples a number of images"),
                                (["layers=9", "correct"], "there is no layer 9")):
            _, result = self.compile("refused", *options)
            self.assertEqual(result.returncode, 1, options)
            self.assertIn(reason, result.stderr)
        _, result = self.compile("without", "layers=0", "correct", calib=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("needs samples", result.stderr)


class Choice(unittest.TestCase):
    """`collapse-channels budget=LOSS`."""

    def compile(self, samples, budget, *options):
        recipe, output = SCRATCH / "choice.recipe", SCRATCH / "choice.eff"
        recipe.write_text(f"require ssm_scan\ncollapse-channels variant=post budget={budget} {' '.join(options)}\n")
        arguments = ["compile", model(), "-o", output, "-q", "--json", "--recipe", recipe]
        return run(*arguments, *(["--calib", samples] if samples else []), check=False)

    def chosen(self, samples, budget, *options):
        result = self.compile(samples, budget, *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_a_budget_of_everything_takes_all_layers(self):
        self.assertIn("stage1.1.op", self.chosen(images(), 1))

    def test_unlabelled_images_measure_the_divergence(self):
        self.assertIn("divergence", self.chosen(images(labels=False), 100))

    def test_sets_are_tried_as_they_are_made_up_for(self):
        """Of all layers together less is lost with fits than without."""
        def largest(*options):
            said = json.loads(self.chosen(images(labels=False, count=48), 1e9, *options))
            return max(float(d["values"]["Loss"]) for d in said["decisions"] if d["name"] == "LayersTried")
        self.assertLess(largest("correct"), largest())

    def test_fits_are_judged_by_other_images(self):
        """24 of 96 images are for the fits, and the loss is that of the other 72; with 24 images it is theirs."""
        def tried(count):
            said = json.loads(self.chosen(images(labels=False, count=count), 1e9, "correct", "samples=24"))
            return [(float(d["values"]["Loss"]), float(d["values"]["StandardError"])) for d in said["decisions"]
                    if d["name"] == "LayersTried"]
        many, few = tried(96), tried(24)
        self.assertEqual(len(many), len(few))
        self.assertTrue(all(error > 0 for _, error in many + few))
        self.assertNotEqual(many, few)

    def test_the_proxy_is_compared(self):
        self.assertIn("SpearmanDecay", self.chosen(images(labels=False), 1e9))

    def test_samples_are_needed(self):
        result = self.compile(None, 0.01)
        self.assertEqual(result.returncode, 1)
        self.assertIn("needs samples", result.stderr)


@need_data("models/cifar10-test.npz")
class Trained(unittest.TestCase):
    def test_accuracy_of_both_forms(self):
        """Two layers of seven: equal to within the few images that are on the edge."""
        path, accuracy = exported("vmamba-cifar"), []
        for form in ("", " literal"):
            recipe = SCRATCH / f"trained{len(form)}.recipe"
            recipe.write_text(f"collapse-channels layers=2,4{form}\n")
            file = compiled(str(path), "--batch=8", f"--recipe={recipe}")
            result = run("eval", file, "--images", DATA / "models/cifar10-test.npz", "--json")
            accuracy.append(json.loads(result.stdout)["accuracy"])
        self.assertAlmostEqual(accuracy[0], accuracy[1], delta=0.2)


if __name__ == "__main__":
    unittest.main()
