"""Small models of many families as real exporters wrote them, compiled, against what PyTorch computes: data/families, which
test/generators/families.py made. `python3 test_families.py --table [NAME ...]` prints the largest differences."""
import collections
import concurrent.futures
import functools
import json
import os
import pathlib
import re
import sys
import tarfile
import threading
import unittest

import numpy as np

from effc_tools import SCRATCH, run
from effc.runtime import Model
from test_exporters import difference, element, generated, token

DATA = pathlib.Path(os.environ.get("EFFC_FAMILIES", pathlib.Path(__file__).parent / "data/families"))
TOLERANCE = 1e-4
# The rule of the numbers in each cache.
CACHES = {f"past_key_values.{i // 2}.{'key' if i % 2 == 0 else 'value'}": i for i in range(4)}


@functools.lru_cache(maxsize=None)
def folder():
    """Where the files are: beside this test in one archive, or loose in $EFFC_FAMILIES."""
    archive = DATA / "families.tar.xz"
    if not archive.exists():
        return DATA
    path = SCRATCH / "families"
    with tarfile.open(archive) as files:
        files.extractall(path)
    return path


@functools.lru_cache(maxsize=None)
def expected():
    entries = json.loads((folder() / "expected.json").read_text())
    return {name: entry["cases"] for name, entry in entries.items() if "cases" in entry}


def kind_of(name):
    cases = {case["case"] for case in expected()[name]}
    return "cache" if "decode" in cases else "image" if "tokens" not in expected()[name][0] else "forward"


def compiled(name, *flags):
    output = SCRATCH / f"{name}_{threading.get_ident()}.eff"
    run("compile", folder() / f"{name}.onnx", "-o", output, "-q", *flags)
    return Model(output)


def inputs_of(entry, case):
    types = {"f32": np.float32, "i64": np.int64, "i32": np.int32}
    values = {}
    for info in entry["inputs"]:
        name, shape = info["name"], info["shape"]
        if name == "input_ids":
            past = case.get("past", 0)
            value = np.array([[token(row, t) for t in range(past, past + shape[1])] for row in case["rows"]])
        elif name == "attention_mask":
            lengths = case.get("lengths", [shape[1]] * shape[0])
            value = np.array([[t < length for t in range(shape[1])] for length in lengths])
        elif name == "token_type_ids":
            value = np.zeros(shape)
        else:
            value = element(CACHES.get(name, 0), int(np.prod(shape))).reshape(shape)
        values[name] = np.ascontiguousarray(value.astype(types[info["dtype"]]))
    return values


def forward(name, case, *flags):
    batch = len(case["rows"])
    sizes = [f"--dim=batch={batch},seq={case['tokens']},past={case.get('past', 0)}"] if "tokens" in case else []
    model = compiled(name, *sizes, f"--batch={batch}", *flags)
    entry = json.loads(model.manifest)["entries"][0]
    outputs = {info["name"]: np.zeros(info["shape"], np.float32) for info in entry["outputs"]}
    model.session().forward(inputs_of(entry, case), outputs)
    return max(difference(outputs[o], record) for o, record in case["outputs"].items())


def family_of(name):
    return re.match(r"(.*?)_(18|23|ts)", name)[1]


def check(name, everything=True):
    """The differences of one file by check."""
    cases = expected()[name]
    if kind_of(name) == "cache":
        return generated(compiled(name, "--prefill=5,16", "--batch=1,2"), cases)
    if re.match("(falcon_)?mamba", name):
        return generated(compiled(name, "--prefill=5,16", "--batch=1,2", "--relax-seq", "--add-states"), cases)
    # Two sequences say as much as one.
    alone = everything or len(cases) == 1
    return {case["case"]: forward(name, case) for case in cases if alone or case["case"] != "prefill"}


def histogram(name):
    """How often each op stands in the last entry point after raising; reshapes and parts name the same numbers otherwise."""
    text = run("compile", folder() / f"{name}.onnx", "-q", "--stop-after=eff", "--batch=1",
               *flags_of(name)).stdout
    entry = text[text.rindex("func.func @"):]
    ops = collections.Counter(re.findall(r"^\s+(?:%[^=]*= )?\"?([a-z_]+\.[a-z_0-9]+)", entry, re.M))
    for op in ("eff.use", "arith.constant", "tensor.expand_shape", "tensor.collapse_shape", "tensor.extract_slice", "eff.split"):
        del ops[op]
    ops["arith.mulf"] += ops.pop("arith.divf", 0)  # a mean is a quotient or a product
    return dict(ops)


def flags_of(name):
    if kind_of(name) == "cache":
        return ["--prefill=5"]
    if re.match("(falcon_)?mamba", name):
        return ["--prefill=5", "--relax-seq", "--add-states"]
    case = expected()[name][0]
    return [f"--dim=batch=1,seq={case['tokens']}"] if "tokens" in case else []


def in_parallel(function, names):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(function, names)))


class Families(unittest.TestCase):
    maxDiff = None

    def test_a_model_of_each_family_computes_what_pytorch_computes(self):
        first = {family_of(name): name for name in reversed(list(expected()))}
        for name, errors in in_parallel(lambda name: check(name, everything=False), first.values()).items():
            with self.subTest(name):
                for what, error in errors.items():
                    self.assertLess(error, TOLERANCE, f"{name}, {what}")

    def test_caches_that_come_in_and_go_out(self):
        """Tokens behind a past of any numbers: the logits, and the keys and values behind them."""
        for name in ("qwen3_18", "gemma2_23", "gpt2_ts", "mistral_18"):
            for case in expected()[name]:
                if "past" in case:
                    with self.subTest(name, case=case["case"]):
                        self.assertLess(forward(name, case, "--states-as-tensors"), TOLERANCE)

    def test_every_export_of_a_model_is_raised_to_the_same_ops(self):
        found = in_parallel(histogram, list(expected()))
        for name, ops in found.items():
            first = next(other for other in found if family_of(other) == family_of(name))
            with self.subTest(name):
                self.assertEqual(ops, found[first])

    def test_raised_parts(self):
        """What each family is known for is an op, and nothing of it is left as it was written."""
        parts = {"gemma2": "eff.rope eff.attention", "gpt2": "eff.position_embed eff.attention", "phi": "eff.rope eff.attention",
                 "swin": "eff.attention eff.layer_norm", "whisper": "eff.attention", "bamba": "eff.ssd_scan eff.rope eff.attention",
                 "granite_hybrid": "eff.ssd_scan eff.attention", "jamba": "eff.ssm_scan eff.attention", "vmamba": "eff.ssm_scan",
                 "falcon_mamba": "eff.ssm_scan eff.causal_conv1d", "bert": "eff.attention"}
        names = {family_of(name): name for name in expected()}
        for family, ops in in_parallel(lambda family: histogram(names[family]), list(parts)).items():
            with self.subTest(family):
                for part in parts[family].split():
                    self.assertIn(part, ops)
                self.assertNotIn("linalg.batch_matmul", ops)
                self.assertNotIn("linalg.softmax", ops)

    def test_windows_and_soft_caps_are_attributes(self):
        text = run("compile", folder() / "gemma2_18.onnx", "-q", "--stop-after=eff").stdout
        layers = [line for line in text.splitlines() if "eff.attention" in line]
        self.assertTrue(all("softcap = 1.5" in line for line in layers))
        # One layer of two has a window, in the entry point for single tokens too.
        self.assertEqual(sum("window = 6" in line for line in layers), len(layers) // 2)


def table(names):
    for name in names or expected():
        try:
            text = "  ".join(f"{what} {error:.1e}" for what, error in check(name).items())
        except Exception as error:
            text = " | ".join(str(error).split("error ")[-1].splitlines()[:3])
        print(f"{name:24} {text[:300]}", flush=True)


if __name__ == "__main__":
    table(sys.argv[2:]) if "--table" in sys.argv else unittest.main()
