"""Recipes: what they make of the example models, what they keep, what they refuse."""
import hashlib
import json
import os
import pty
import re
import shlex
import subprocess
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from effc_tools import EFFC, EXAMPLES, ROOT, SCRATCH, compiled, run
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


def changed(recipe, old, new):
    """The path of a printed recipe with a change."""
    text = run("compile", EXAMPLES / "mamba2-tiny.onnx", "--recipe", recipe, "--print-recipe").stdout
    assert old in text
    path = SCRATCH / f"{recipe}-{new.replace(' ', '-').replace('=', '-')}.recipe"
    path.write_text(text.replace(old, new))
    return str(path)


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
        """int8 activations have scales that no other token changes: chunks give what single tokens give, where states are
        rounded after each of them."""
        ids = np.random.default_rng(3).integers(1, 1024, 70, dtype=np.int32)
        for recipe, path in (("quamba", "quamba"), ("quamba2-w4a8", changed("quamba2-w4a8", "every=call", "every=token"))):
            with self.subTest(recipe):
                session = Model(compiled(RECIPES[recipe][0], "--recipe", path, *CALIB)).session(sequences=2)
                whole = session.score(0, ids)
                steps = np.stack([session.decode([1], [t])[0] for t in ids])
                self.assertLess(np.abs(whole - steps).max(), 2e-3 * np.abs(steps).max())

    def test_prompts_round_states_once(self):
        """The first call of a prompt computes what it does with states of floats; tokens behind it see one rounding."""
        ids = np.random.default_rng(3).integers(1, 1024, 40, dtype=np.int32)
        floats = changed("quamba2-w8a8", "scan=dynamic every=call", "scan=none")
        whole, exact, each = (Model(compiled("mamba2-tiny", "--prefill=16", "--recipe", path, *CALIB)).session().score(0, ids)
                              for path in ("quamba2-w8a8", floats, changed("quamba2-w8a8", "every=call", "every=token")))
        np.testing.assert_allclose(whole[:16], exact[:16], atol=2e-3 * np.abs(exact).max())
        off, more = np.abs(whole - exact)[16:], np.abs(each - exact)[16:]
        self.assertGreater(off.max(), 0)
        # A step of a state is at most 1/127 of its channel's largest magnitude.
        self.assertLess(off.max(), 0.05 * np.abs(exact).max())
        self.assertLess(off.mean(), more.mean())

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


def logits(path):
    """Of fixed tokens, exactly."""
    ids = np.random.default_rng(5).integers(1, 1024, 40, dtype=np.int32)
    return Model(path).session(sequences=1).score(0, ids)


class Causality(unittest.TestCase):
    def test_quamba_invariant_7_no_token_changes_an_earlier_one(self):
        ids = np.random.default_rng(4).integers(1, 1024, 48, dtype=np.int32)
        for recipe in ("quamba", "quamba2-w8a8", "quamba2-w4a8", "llm-w4a8"):
            model = Model(compiled(RECIPES[recipe][0], "--recipe", recipe, *CALIB))
            before = np.array(model.session(sequences=1).score(0, ids))
            for at in (1, 20, 47):
                with self.subTest(recipe=recipe, at=at):
                    changed = ids.copy()
                    changed[at] = (changed[at] + 17) % 1024
                    after = np.array(model.session(sequences=1).score(0, changed))
                    np.testing.assert_array_equal(before[:at], after[:at])
                    self.assertFalse(np.array_equal(before[at], after[at]))


# Two samples are enough where one recipe is compared with itself.
FEW = ("--calib", str(TEXT), "--calib-samples", "2")


class Mixed(unittest.TestCase):
    """Formats of layers: given, or chosen within a budget."""

    def file(self, formats):
        path = SCRATCH / "formats.json"
        path.write_text(formats if isinstance(formats, str) else json.dumps(formats))
        return str(path)

    def decisions(self, path, name):
        return [d["values"] for d in json.loads(run("explain", path, "--json").stdout)["decisions"]
                if d["pass"] == "choose-precision" and d["name"] == name]

    def test_quamba2_invariant_10_all_layers_w4a8_are_the_recipe_w4a8(self):
        plain = compiled("mamba2-tiny", "--recipe", "quamba2-w4a8", *FEW)
        mixed = SCRATCH / "all-w4a8.eff"
        run("compile", EXAMPLES / "mamba2-tiny.onnx", "-o", mixed, "-q", "--recipe", "quamba2-mixed", *FEW,
            "--precision", self.file({"layers.": "w4a8", "embeddings": "w4a16"}))
        np.testing.assert_array_equal(logits(mixed), logits(plain))
        weights = [json.loads(run("inspect", path, "--json").stdout)["weights"] for path in (plain, mixed)]
        self.assertEqual(*([(w["name"], w["format"], w["bytes"]) for w in each] for each in weights))

    def test_every_linear_may_have_any_format(self):
        names = ("w4a8", "w4a16", "w8a8", "w8a16", "w16a16")
        whole = compiled("mamba2-tiny")
        for i in range(2):
            formats = {f"layers.{layer}.mixer.{part}": names[(i + 2 * layer + (part == "out_proj")) % 5]
                       for layer in range(4) for part in ("in_proj", "out_proj")}
            with self.subTest(formats):
                path = SCRATCH / "any.eff"
                run("compile", EXAMPLES / "mamba2-tiny.onnx", "-o", path, "-q", "--recipe", "quamba2-w4a8", *FEW,
                    "--precision", self.file(formats))
                self.assertLess(divergence(path, whole), 0.25)

    def test_the_search_is_kept_explained_and_can_be_given_back(self):
        path = compiled("mamba2-tiny", "--recipe", "quamba2-mixed", *FEW)
        formats = json.loads(run("explain", path, "--precision").stdout)
        # in_proj and out_proj of each layer, and the table.
        layers = sum("in_proj" in name for name in formats)
        self.assertEqual(len(formats), 2 * layers + 1)
        self.assertEqual(formats, {c["Remark"]: c["Format"] for c in self.decisions(path, "FormatChosen")})
        tried = {}
        for trial in self.decisions(path, "FormatTried"):
            tried.setdefault(trial["Remark"], {})[trial["Format"]] = float(trial["Divergence"])
        self.assertEqual({name: len(each) for name, each in tried.items()},
                         {name: 2 if "embeddings" in name else 3 for name in formats})
        total = self.decisions(path, "FormatsChosen")[0]
        self.assertAlmostEqual(sum(tried[name][formats[name]] for name in formats), float(total["Estimated"]), 6)
        # Divergences of independent errors add up; twice is not far off for errors this large.
        self.assertLess(float(total["Measured"]), 2 * float(total["Estimated"]) + 1e-3)
        self.assertLess(divergence(path, compiled("mamba2-tiny")), 0.25)
        for layer in json.loads(run("explain", path, "--json").stdout)["layers"]:
            if layer["name"] in formats:
                self.assertIn("divergence", layer["reason"])
        again = SCRATCH / "again.eff"
        run("compile", EXAMPLES / "mamba2-tiny.onnx", "-o", again, "-q", "--recipe", "quamba2-mixed", *FEW,
            "--precision", self.file(formats))
        np.testing.assert_array_equal(logits(again), logits(path))
        self.assertEqual(json.loads(run("explain", again, "--precision").stdout), formats)

    def test_the_same_bytes_twice_and_the_budget_holds(self):
        paths = [SCRATCH / f"budget{i}.eff" for i in range(2)]
        for jobs, path in zip(("1", "2"), paths):
            run("compile", EXAMPLES / "llama-tiny.onnx", "-o", path, "-q", "-j", jobs, "--recipe", "llm-w4a8",
                *FEW, "--precision", "bits=6")
        self.assertEqual(digest(paths[0]), digest(paths[1]))
        total = self.decisions(paths[0], "FormatsChosen")[0]
        self.assertEqual(total["Budget"], "bits=6")
        self.assertLessEqual(float(total["Spent"].removeprefix("bits=")), 6)
        self.assertGreater(len(set(json.loads(run("explain", paths[0], "--precision").stdout).values())), 1)


def save_graph(name, nodes, weights={}):
    """A file whose input x and output y are [1, 4, 64]."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 64]) for n in "xy"]
    graph = helper.make_graph(nodes, name, values[:1], values[1:],
                              [numpy_helper.from_array(np.asarray(w), n) for n, w in weights.items()])
    path = SCRATCH / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


class Refusals(unittest.TestCase):
    def refuse(self, code, *words, model="llama-tiny", flags=()):
        output = SCRATCH / "refused.eff"
        source = model if str(model).endswith(".onnx") else EXAMPLES / f"{model}.onnx"
        result = run("compile", source, "-o", output, "-q", *flags, check=False)
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

    def test_budgets_for_formats(self):
        flags = ("--recipe", "quamba2-w4a8", "--precision")
        self.refuse("EFF0405", "bits=4.", model="mamba2-tiny", flags=(*flags, "bits=3", *CALIB))
        self.refuse("EFF0404", "--calib", model="mamba2-tiny", flags=(*flags, "bits=5"))
        self.refuse("EFF0404", "--calib", model="mamba2-tiny", flags=("--recipe", "quamba2-mixed"))
        self.refuse("EFF0402", "quantize", model="mamba2-tiny",
                    flags=("--recipe", self.file("calibrate\nrotate online\n"), "--precision", "bits=5", *CALIB))
        for step in ("choose-precision", "choose-precision bits=5 time=2", "choose-precision bits=5 formats=w3a3",
                     "choose-precision bits=5 samples=0"):
            with self.subTest(step):
                text = f"calibrate\n{step}\nquantize format=w4a8\nquantize-activations\n"
                self.refuse("EFF0402", model="mamba2-tiny", flags=("--recipe", self.file(text), *CALIB))
        self.refuse("EFF0402", "follows", model="mamba2-tiny",
                    flags=("--recipe", self.file("choose-precision bits=5\n"), *CALIB))

    def test_a_model_that_is_quantised_already(self):
        weight = np.random.default_rng(6).integers(-127, 128, (64, 64)).astype(np.int8)
        path = save_graph("quantised", [helper.make_node("DequantizeLinear", ["w", "s"], ["f"]),
                                        helper.make_node("MatMul", ["x", "f"], ["y"])],
                          {"w": weight, "s": np.float32(0.01)})
        self.refuse("EFF0403", "quantised already", model=path, flags=("--recipe", self.file("quantize format=w8a16\n")))

    def test_a_model_without_linears(self):
        self.refuse("EFF0403", "linear", model=save_graph("relu", [helper.make_node("Relu", ["x"], ["y"])]),
                    flags=("--recipe", self.file("quantize format=w8a16\n")))

    def test_more_clusters_than_heads(self):
        self.refuse("EFF0421", "clusters", model="mamba2-tiny",
                    flags=("--recipe", self.file("calibrate\nreorder head-clusters=64\n"), *CALIB))

    def test_no_state_to_quantise(self):
        self.refuse("EFF0102", "state", model="llama-tiny",
                    flags=("--recipe", self.file("quantize-states scan=dynamic\n")))

    def test_statistics_that_were_not_taken(self):
        self.refuse("EFF0402", "hessian, states", model="mamba2-tiny",
                    flags=("--recipe", self.file("calibrate colours\nquantize format=w4a8\n"), *FEW))
        self.refuse("EFF0102", "gptq needs the Hessians", model="mamba2-tiny",
                    flags=("--recipe", self.file("calibrate\nquantize format=w4a8 gptq\n"), *FEW))
        self.refuse("EFF0102", "static scales need calibration", model="mamba2-tiny",
                    flags=("--recipe", self.file("quantize-states scan=static\n")))
        self.refuse("EFF0102", "state:@", model="mamba2-tiny",
                    flags=("--recipe", self.file("calibrate\nquantize-states scan=static\n"), *FEW))

    def test_precision_files(self):
        path = SCRATCH / "bad.json"
        for text, word in (('{"layers.0.": "w3a5"}', "w4a16"), ("[]", "no JSON object"), ('{"layers.0.": 4}', "no format")):
            with self.subTest(text):
                path.write_text(text)
                self.refuse("EFF", word, model="mamba2-tiny",
                            flags=("--recipe", "quamba2-w4a8", "--precision", str(path), *FEW))


class Pages(unittest.TestCase):
    """What the pages say to type, on models and a text of the repository."""

    def test_their_commands_work(self):
        folder = SCRATCH / "pages"
        folder.mkdir()
        for name, model in (("mamba", "mamba-tiny"), ("mamba2", "mamba2-tiny"), ("model", "mamba2-tiny"),
                            ("examples/models/mamba2-16m", "mamba2-tiny")):
            source = folder / f"{name}.onnx"
            source.parent.mkdir(parents=True, exist_ok=True)
            for end in (".onnx", ".tokenizer.json"):
                source.with_suffix(end).symlink_to(EXAMPLES / f"{model}{end}")
        (folder / "text.txt").symlink_to(TEXT)
        for page in ("recipes.md", "systems/quamba.md", "systems/quamba2.md"):
            blocks = re.findall(r"```\w*\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
            commands = [c for block in blocks for c in block.splitlines() if c.startswith("build/bin/effc ")]
            self.assertGreater(len(commands), 0)
            for command in commands:
                with self.subTest(page=page, command=command):
                    # Few samples: these run, other tests look at what they compute.
                    few = " --calib-samples 2 -q" if "--calib " in command else ""
                    line = shlex.quote(str(EFFC)) + command.removeprefix("build/bin/effc") + few
                    subprocess.run(line, shell=True, cwd=folder, check=True, capture_output=True)

    def test_they_name_every_recipe(self):
        page = (ROOT / "docs/recipes.md").read_text()
        known = run("compile", EXAMPLES / "llama-tiny.onnx", "--recipe", "unknown", check=False).stderr
        names = re.findall(r"[a-z]\w*-[\w-]+|quamba\b|vmeanba\b", known.split("known")[-1].split("\n")[0])
        self.assertGreaterEqual(len(names), 9)
        for name in names:
            self.assertIn(f"| `{name}` |", page)


class ProgressOfCalibration(unittest.TestCase):
    def test_a_terminal_sees_the_time_left(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([EFFC, "compile", EXAMPLES / "mamba2-tiny.onnx", "-o", SCRATCH / "progress.eff", "--recipe",
                                    "quamba2-w4a16", *CALIB], stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        seen = b""
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            seen += piece
        os.close(master)
        self.assertEqual(process.wait(), 0)
        text = seen.decode(errors="replace")
        self.assertRegex(text, r"calibrating .*s left")
        self.assertRegex(text, r"rounding weights .*s left")


if __name__ == "__main__":
    unittest.main()
