"""effc calibrate: statistics of values on samples, saved and reused; the page that describes it."""
import json
import re
import shlex
import unittest

import numpy as np

from effc_tools import EXAMPLES, ROOT, SCRATCH, compiled, exported, need_data, run

MODELS = ["llama-tiny", "mamba-tiny", "mamba2-tiny"]
TEXT = "\n\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))


def text_file(name="calibration.txt", text=TEXT):
    path = SCRATCH / name
    path.write_text(text)
    return path


def calibrate(model, *flags):
    path = model if str(model).endswith(".onnx") else EXAMPLES / f"{model}.onnx"
    return json.loads(run("calibrate", path, "--json", "-q", *flags).stdout)


class Calibrations(unittest.TestCase):
    def test_every_linear_is_there(self):
        for name in MODELS:
            with self.subTest(name):
                report = calibrate(name, "--calib", text_file(), "--calib-samples", 4, "--calib-tokens", 96)
                self.assertEqual(report["description"], "4 samples, 384 tokens of calibration.txt")
                names = {n for v in report["values"] for n in [v["name"], *v["aliases"]]}
                linears = {n.rsplit(":", 1)[0] for n in names if n.startswith("linear:")}
                for linear in linears:
                    self.assertIn(f"{linear}:in", names)
                    self.assertIn(f"{linear}:out", names)
                # Four layers, each with at least an input and an output projection, and the head.
                self.assertGreaterEqual(len(linears), 9)
                for value in report["values"]:
                    self.assertEqual((value["rows"], value["samples"]), (384, 4), value["name"])
                    self.assertGreater(value["max"], 0)
                    self.assertGreaterEqual(value["outliers"], 1)

    def test_the_same_file_twice_and_for_any_number_of_threads(self):
        flags = ["--calib", text_file(), "--calib-samples", 4, "--calib-tokens", 80, "--observe", "linear:*:in=hessian"]
        for name in MODELS:
            with self.subTest(name):
                files = []
                for index, jobs in enumerate((1, 2, 2)):
                    directory = SCRATCH / f"calib{index}"
                    directory.mkdir(exist_ok=True)
                    calibrate(name, *flags, "-j", jobs, "--calib-out", directory / "m.calib")
                    files.append((directory / "m.calib").read_bytes() + (directory / "m.calib.bin").read_bytes())
                self.assertEqual(files[0], files[1])
                self.assertEqual(files[0], files[2])

    def test_saved_and_shown_again(self):
        path = SCRATCH / "saved.calib"
        made = calibrate("mamba2-tiny", "--calib", text_file(), "--calib-samples", 2, "--calib-out", path)
        shown = calibrate("mamba2-tiny", "--calib-in", path)
        self.assertEqual(made["values"], shown["values"])
        self.assertEqual(made["model"], shown["model"])

    def test_documents_and_windows(self):
        text = text_file("documents.txt", "One river.\n \n\nTwo boats on it.\n\nThree\nlines of\ntext.\n")
        windows = calibrate("mamba2-tiny", "--calib", text)
        documents = calibrate("mamba2-tiny", "--calib", text, "--calib-cut", "documents")
        self.assertIn("1 samples", windows["description"])
        self.assertIn("3 samples", documents["description"])

    @need_data("models/vit-cifar")
    def test_images(self):
        model = exported("vit-cifar")
        images = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
        np.savez(SCRATCH / "images.npz", images=images)
        report = calibrate(model, "--calib", SCRATCH / "images.npz")
        self.assertEqual(report["description"], "5 samples of images.npz")
        for value in report["values"]:
            self.assertEqual(value["samples"], 5)
        # The same images, normalised here, as the input that the model names.
        config = json.loads(run("inspect", compiled(model), "--json").stdout)["model"]["config"]
        mean, deviation = config["mean"], config["std"]
        inputs = ((images / 255.0 - mean) / deviation).astype(np.float32).transpose(0, 3, 1, 2)
        name = "pixel_values"
        np.savez(SCRATCH / "inputs.npz", **{name: inputs})
        again = calibrate(model, "--calib", SCRATCH / "inputs.npz")
        self.assertEqual(again["values"][0]["name"], report["values"][0]["name"])
        for a, b in zip(again["values"], report["values"]):
            self.assertAlmostEqual(a["max"], b["max"], delta=1e-3 * (1 + b["max"]))


class Refusals(unittest.TestCase):
    def refuse(self, code, *args, mentions=()):
        result = run("calibrate", *args, check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn(f"error EFF{code:04d}: ", result.stderr)
        self.assertIn("try: ", result.stderr)
        for word in mentions:
            self.assertIn(word, result.stderr)

    def test_another_model(self):
        path = SCRATCH / "refused.calib"
        calibrate("mamba2-tiny", "--calib", text_file(), "--calib-samples", 1, "--calib-out", path)
        self.refuse(413, EXAMPLES / "mamba-tiny.onnx", "--calib-in", path)

    def test_damaged_files(self):
        path = SCRATCH / "damaged.calib"
        calibrate("mamba2-tiny", "--calib", text_file(), "--calib-samples", 1, "--calib-out", path)
        model = EXAMPLES / "mamba2-tiny.onnx"
        arrays = SCRATCH / "damaged.calib.bin"
        whole = arrays.read_bytes()
        arrays.write_bytes(whole[:-8])
        self.refuse(414, model, "--calib-in", path)
        arrays.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        self.refuse(414, model, "--calib-in", path)
        arrays.write_bytes(whole)
        path.write_text(path.read_text().replace('"aliases": {', '"aliases": {"x/hessian": "nothing", ', 1))
        self.refuse(414, model, "--calib-in", path, mentions=["nothing"])
        path.write_text("{}")
        self.refuse(414, model, "--calib-in", path)
        arrays.unlink()
        self.refuse(101, model, "--calib-in", path)

    def test_no_samples(self):
        model = EXAMPLES / "mamba2-tiny.onnx"
        self.refuse(102, model)
        self.refuse(101, model, "--calib", SCRATCH / "none.txt")
        self.refuse(607, model, "--calib", text_file("empty.txt", ""))
        self.refuse(607, model, "--calib", text_file("text.npz", "no archive"))

    def test_nothing_matches(self):
        self.refuse(102, EXAMPLES / "mamba2-tiny.onnx", "--calib", text_file(), "--observe", "ssm:*:u=hessian",
                    mentions=["ssm:*:u"])
        self.refuse(411, EXAMPLES / "mamba2-tiny.onnx", "--calib", text_file(), "--observe", "*=median",
                    mentions=["channel-abs-max"])


class Page(unittest.TestCase):
    def test_its_commands_work(self):
        page = (ROOT / "docs/calibration.md").read_text()
        text = text_file("text.txt")
        commands = [c for block in re.findall(r"```\n(.*?)```", page, re.S)
                    for c in block.replace("\\\n", " ").splitlines() if c.startswith("build/bin/effc")]
        self.assertGreaterEqual(len(commands), 3)
        for command in commands:
            words = [str({"text.txt": text, "model.calib": SCRATCH / "model.calib"}.get(w, w)) for w in shlex.split(command)]
            result = run(*words[1:], cwd=ROOT)
            self.assertIn("outliers", result.stdout)

    def test_it_names_every_kind_and_flag(self):
        page = (ROOT / "docs/calibration.md").read_text()
        kinds = run("calibrate", EXAMPLES / "mamba2-tiny.onnx", "--calib", text_file(), "--observe", "*=median", check=False)
        known = kinds.stderr.split("known are ")[1].splitlines()[0].split(", ")
        for kind in known:
            self.assertIn(f"`{kind}`", page)
        for flag in re.findall(r"--(?:calib|observe)[\w-]*", page):
            self.assertIn(flag, run("calibrate", "--help").stdout)


if __name__ == "__main__":
    unittest.main()
