"""Files as exporters write them, compiled, against what ONNX Runtime computes from them: data/exporter_outputs.json, which
test/generators/exporter_outputs.mjs wrote. `python3 test_exporters.py --table` prints the largest differences."""
import functools
import json
import pathlib
import subprocess
import sys
import unittest

import numpy as np

from effc_tools import DATA, SCRATCH, need_data, run
from effc.runtime import Model

ARCHIVE = "onnx/exporter-files.tar.xz"
EXPECTED = json.loads((pathlib.Path(__file__).parent / "data/exporter_outputs.json").read_text())
# f32 results of some hundred nodes; relative to the root of the mean square of the output.
TOLERANCE = 1e-4
# Fixed lengths or no states: made to generate.
FREED = ("mamba_", "mamba2_", "c_m2_1")
# Files that ONNX Runtime does not load on a CPU: their twins say what is right.
TWINS = {"effc_raw.onnx": "effc_mamba.onnx"}
# Every operator in 8 bits: a step of a value in between, of some 1/100 of its size, may fall to the other side.
QUANTISED = {"vit_qdq.onnx": 0.02, "vit_qop.onnx": 0.02, "bert_dq.onnx": 0.02}
# Sizes of the operators that stand alone.
ALONE = "Dm=6,N=4,G=2,H=4,P=3"


@functools.lru_cache(maxsize=None)
def folder():
    path = SCRATCH / "exporters"
    path.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xf", DATA / ARCHIVE, "-C", path], check=True)
    return path


def token(row, t):
    return (37 * t + 53 * row + 5) % 97


def element(k, count):
    return np.sin(0.7 * np.arange(count) + 1.3 * k + 0.3)


def difference(got, record):
    """The largest difference of the elements that were kept and of the root of the mean square."""
    got = np.asarray(got, np.float64)
    if list(got.shape) != record["shape"]:
        return float("inf")
    flat, n = got.reshape(-1), got.size
    at = [k * (n - 1) // 15 for k in range(min(n, 16))]
    scale = max(record["rms"], 1e-30)
    return max(np.abs(flat[at] - np.array(record["values"], float)).max() / scale,
               abs(np.sqrt((flat ** 2).mean()) - record["rms"]) / scale)


def compiled(name, *flags):
    output = SCRATCH / "exporter.eff"
    run("compile", folder() / name, "-o", output, "-q", *flags)
    return Model(output)


def input_names(name):
    import onnx
    graph = onnx.load(folder() / name, load_external_data=False).graph
    constants = {c.name for c in graph.initializer}
    return [v.name for v in graph.input if v.name not in constants]


def inputs_of(entry, rows, names):
    types = {"f32": np.float32, "i64": np.int64, "i32": np.int32}
    values = {}
    for info in entry["inputs"]:
        name, shape = info["name"], info["shape"]
        count = int(np.prod(shape))
        if name in ("input_ids", "ids"):
            value = np.array([[token(row, t) for t in range(shape[1])] for row in rows])
        elif name == "token_type_ids" or name.startswith("past"):
            value = np.zeros(shape)
        elif name == "attention_mask":
            value = np.ones(shape)
        else:
            value = element(names.index(name), count).reshape(shape)
            value = -np.abs(value) if name in ("g", "A") else np.abs(value) if name == "dt" else value
        values[name] = np.ascontiguousarray(value.astype(types[info["dtype"]]))
    return values


def forward(name, case, *flags):
    sizes = f"--dim=batch={case['batch']},seq={case['tokens']},L={case['tokens']}"
    if name.startswith("fn_"):
        sizes += f",Bt={case['batch']},{ALONE}"
    if flags:
        sizes += ",past=0"
    model = compiled(name, sizes, f"--batch={case['batch']}", *flags)
    entry = json.loads(model.manifest)["entries"][0]
    outputs = {info["name"]: np.zeros(info["shape"], np.float32) for info in entry["outputs"]}
    model.session().forward(inputs_of(entry, case["rows"], input_names(name)), outputs)
    return max(difference(outputs[o], record) for o, record in case["outputs"].items())


def generated(model, cases):
    """Differences of: a prompt, a prompt and single steps, two sequences together, two of different lengths."""
    found = {}
    by_name = {case["case"]: case for case in cases if "outputs" in case}
    first = lambda case: next(iter(case["outputs"].values()))
    whole = by_name["prefill"]
    steps = whole["tokens"]
    ids = [[token(row, t) for t in range(steps)] for row in (0, 1)]
    rows = slice(-1, None) if first(whole)["shape"][1] == 1 else slice(None)
    session = model.session(sequences=2)
    found["prefill"] = difference(session.score(0, ids[0])[None][:, rows], first(whole))
    session.reset(0)
    cut = max(steps - 4, 1)
    logits = [session.score(0, ids[0][:cut])] + [session.decode([0], [i]) for i in ids[0][cut:]]
    found["split"] = difference(np.concatenate(logits)[None][:, rows], first(whole))
    if "batch" in by_name:
        session.reset(0)
        logits = np.stack([session.decode([0, 1], [ids[0][t], ids[1][t]]) for t in range(steps)], 1)
        found["batch"] = difference(logits, first(by_name["batch"]))
    if "short" in by_name:
        length = by_name["short"]["tokens"]
        for sequence in (0, 1):
            session.reset(sequence)
        logits = [[], []]
        for t in range(steps):
            live = [0, 1] if t < length else [0]
            for row, values in zip(live, session.decode(live, [ids[row][t] for row in live])):
                logits[row].append(values)
        found["padded"] = max(difference(np.stack(logits[0])[None][:, rows], first(whole)),
                              difference(np.stack(logits[1])[None][:, rows], first(by_name["short"])))
    return found


def check(name):
    """The differences of one file by check."""
    cases = EXPECTED[TWINS.get(name, name)]
    flags = ["--relax-seq", "--add-states"] if name.startswith(FREED) else []
    if name.startswith(("llama", "gb_llama", "effc_")) or flags:
        return generated(compiled(name, "--prefill=5,16", "--batch=1,2", *flags), cases)
    return {case["case"]: forward(name, case) for case in cases if "outputs" in case}


def names():
    return [name for name, cases in EXPECTED.items() if isinstance(cases, list) or name in TWINS]


@need_data(ARCHIVE)
class ExporterFiles(unittest.TestCase):
    def test_every_file_computes_what_onnx_runtime_computes(self):
        for name in names():
            with self.subTest(name):
                for what, error in check(name).items():
                    self.assertLess(error, QUANTISED.get(name, TOLERANCE), f"{name}, {what}")

    def test_states_are_what_onnx_runtime_gives_out(self):
        for name in ("llama_sdpa_18.onnx", "llama_eager_23.onnx", "llama_eager_ts.onnx"):
            for case in EXPECTED[name][:2]:
                with self.subTest(name, case=case["case"]):
                    self.assertTrue(any(o.startswith("present") for o in case["outputs"]))
                    self.assertLess(forward(name, case, "--states-as-tensors"), TOLERANCE)

    def test_raised_models_keep_the_states_of_the_graph(self):
        """Results and states of every entry point against the file's own graph, computed in double."""
        for name in ("llama_sdpa_18.onnx", "effc_mamba.onnx", "mamba2_dec.onnx", "mamba_dec.onnx"):
            with self.subTest(name):
                run("compile", folder() / name, "-o", SCRATCH / "verified.eff", "-q", "--prefill=5", "--verify-raise")

    def test_hostile_nesting_is_refused(self):
        for path in sorted(folder().glob("nest*.onnx")):
            with self.subTest(path.name):
                result = run("compile", path, "-o", SCRATCH / "nest.eff", "-q", check=False)
                self.assertEqual(result.returncode, 1)
                self.assertRegex(result.stderr, "error EFF020[67]")

    def test_a_batch_that_was_fixed_is_named(self):
        result = run("compile", folder() / "mamba2_40_1.onnx", "-o", SCRATCH / "batch.eff", "-q", "--batch=2", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("error EFF0215: the file declares the dimension 'batch' as free, but its graph is right for 1 alone",
                      result.stderr)
        self.assertIn("where: node__unsafe_view", result.stderr)

    def test_a_length_that_was_fixed_is_named(self):
        result = run("compile", folder() / "mamba_dyn_dyn.onnx", "-o", SCRATCH / "length.eff", "-q")
        self.assertIn("the file declares the dimension 'seq' as free, but 'node_stack_1' fixes it at 8", result.stderr)

    def test_a_frozen_export_generates_at_any_length(self):
        """16 tokens in the file, 40 asked for: as one prompt, and one by one."""
        model = compiled("mamba_l16.onnx", "--relax-seq", "--add-states", "--prefill=40")
        ids = [token(0, t) for t in range(40)]
        whole = model.session().score(0, ids)
        session = model.session()
        single = np.concatenate([session.decode([0], [i]) for i in ids])
        np.testing.assert_allclose(whole, single, rtol=0, atol=TOLERANCE * np.abs(single).max())
        case = EXPECTED["mamba_l16.onnx"][0]
        self.assertLess(difference(whole[None, :16], case["outputs"]["linear_4"]), TOLERANCE)


def table():
    for name in names():
        try:
            text = "  ".join(f"{what} {error:.1e}" for what, error in check(name).items())
        except AssertionError as error:
            text = str(error).split("error ")[-1].splitlines()[0]
        print(f"{name:44} {text}", flush=True)


if __name__ == "__main__":
    table() if "--table" in sys.argv else unittest.main()
