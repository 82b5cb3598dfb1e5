"""Files as exporters write them, compiled, against what ONNX Runtime computes from them: data/exporter_outputs.json, which
test/generators/exporter_outputs.mjs wrote. `python3 test_exporters.py --table [RESULTS.jsonl]` prints the largest
differences; utils/exporter-table.py makes a page of them."""
import datetime
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
# Graphs of one token, and operators that stand alone with a state.
SINGLE = ("mamba_dec.onnx", "mamba2_dec.onnx")
OPERATORS = ("fn_ss.onnx", "fn_sd.onnx", "fn_cc.onnx", "hop_scan.onnx", "ts_loop.onnx")
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


def sizes_of(name, batch, tokens, past=0):
    names = {"batch": batch, "batch_size": batch, "seq": tokens, "sequence_length": tokens, "L": tokens, "past": past,
             "past_sequence_length": past}
    if name.startswith("fn_"):
        names = {"batch": batch, "seq": tokens, "L": tokens, "Bt": batch}
    text = ",".join(f"{key}={value}" for key, value in names.items())
    return f"--dim={text},{ALONE}" if name.startswith("fn_") else f"--dim={text}"


def call(name, rows, tokens, change, *flags, past=0):
    """The outputs of a call whose inputs are those of the rules but for what `change` says."""
    model = compiled(name, sizes_of(name, len(rows), tokens, past), f"--batch={len(rows)}", *flags)
    entry = json.loads(model.manifest)["entries"][0]
    outputs = {info["name"]: np.zeros(info["shape"], np.float32) for info in entry["outputs"]}
    inputs = inputs_of(entry, rows, input_names(name))
    for key, value in change(inputs).items():
        assert inputs[key].shape == value.shape, f"{key}: {inputs[key].shape}, not {value.shape}"
        inputs[key] = np.ascontiguousarray(value.astype(inputs[key].dtype))
    model.session().forward(inputs, outputs)
    return outputs


def forward(name, case, *flags):
    outputs = call(name, case["rows"], case["tokens"], lambda inputs: {}, *flags)
    return max(difference(outputs[o], record) for o, record in case["outputs"].items())


def continued(outputs, names):
    """The pasts of the next call."""
    suffix = lambda name: name.split(".", 1)[-1]
    present = {suffix(o): value for o, value in outputs.items() if o.startswith("present")}
    return {n: present[suffix(n)] for n in names if n.startswith("past")}


def split_states(name, case):
    """A prompt and the rest of it, with the states between them as tensors."""
    cut, rows = case["tokens"] - 4, case["rows"]
    first = call(name, rows, cut, lambda inputs: {}, "--states-as-tensors")
    rest = lambda inputs: {"input_ids": np.array([[token(row, cut + t) for t in range(4)] for row in rows]),
                           **continued(first, inputs)}
    second = call(name, rows, 4, rest, "--states-as-tensors", past=cut)
    errors = []
    for o, record in case["outputs"].items():
        whole = second[o] if o.startswith("present") else np.concatenate([first[o], second[o]], 1)
        errors.append(difference(whole, record))
    return max(errors)


def single_steps(name, case):
    """The states of a graph of single tokens: of all layers in two outputs, a convolution's one with a column more."""
    pasts, columns = {}, None
    for t in range(case["tokens"]):
        outputs = call(name, case["rows"], 1, lambda inputs: {"input_ids": np.array([[token(0, t)]]), **pasts},
                       "--states-as-tensors")
        columns = pasts.get("past_states.0.conv_state")
        pasts = continued(outputs, ["past_states.0.ssm_state", "past_states.0.conv_state"])
    window = np.concatenate([columns, outputs["present_states.0.conv_state"][..., -1:]], -1)
    return max(difference(outputs["logits"], case["outputs"]["logits"]),
               difference(outputs["present_states.0.ssm_state"][None], case["outputs"]["ssm_out"]),
               difference(window[None], case["outputs"]["conv_out"]))


def split_operator(name, case):
    """An operator alone: the first steps, then the others behind the state that came out."""
    import onnx
    graph = onnx.load(folder() / name, load_external_data=False).graph
    axis = lambda v: next((i for i, d in enumerate(v.type.tensor_type.shape.dim) if d.dim_param == "L"), None)
    axes = {v.name: axis(v) for v in [*graph.input, *graph.output]}
    state, tokens = next(n for n in axes if n in ("past", "st")), case["tokens"]
    whole = {}

    def part(begin, end, carried):
        def change(inputs):
            result = {}
            for key, value in inputs.items():
                if axes[key] is not None:
                    shape = list(value.shape)
                    shape[axes[key]] = tokens
                    full = element(input_names(name).index(key), int(np.prod(shape))).reshape(shape)
                    full = np.abs(full) if key == "dt" else full
                    result[key] = np.take(full, range(begin, end), axes[key])
            return {**result, **({state: carried} if carried is not None else {})}
        return call(name, case["rows"], end - begin, change)

    cut, record = tokens - 4, case["outputs"]
    first = part(0, cut, None)
    after = next(o for o in record if len(record[o]["shape"]) == first[o].ndim and
                 list(first[o].shape) == record[o]["shape"])
    second = part(cut, tokens, first[after])
    for o in record:
        along = next((i for i, (a, b) in enumerate(zip(first[o].shape, second[o].shape)) if a != b), None)
        whole[o] = second[o] if along is None else np.concatenate([first[o], second[o]], along)
    return max(difference(whole[o], record[o]) for o in record)


def states(name):
    """The differences of states, and of results behind them, by check."""
    cases = [case for case in EXPECTED[TWINS.get(name, name)] if "outputs" in case]
    if name in SINGLE:
        return {"states, steps": single_steps(name, cases[0])}
    if name in OPERATORS:
        return {"states, split": split_operator(name, cases[0])}
    found = {f"states, {case['case']}": forward(name, case, "--states-as-tensors") for case in cases}
    return {**found, "states, split": split_states(name, cases[0])}


def has_states(name):
    return name.startswith(("llama", "gb_llama", "effc_")) or name in SINGLE or name in OPERATORS


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
        """Caches and states as tensors: of a prompt, of two together, of a prompt in two parts."""
        for name in ("llama_sdpa_18.onnx", "effc_raw.onnx", *SINGLE, *OPERATORS):
            with self.subTest(name):
                for what, error in states(name).items():
                    self.assertLess(error, TOLERANCE, f"{name}, {what}")

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


def table(results):
    lines = []
    for name in names():
        try:
            found = check(name)
            if has_states(name):
                found |= states(name)
            line = {"checks": {what: float(f"{error:.2g}") for what, error in found.items()}}
        except AssertionError as error:
            line = {"error": str(error).split("error ")[-1].splitlines()[0]}
        line = {"file": name, "tolerance": QUANTISED.get(name, TOLERANCE), "date": datetime.date.today().isoformat(), **line}
        lines.append(json.dumps(line))
        print(lines[-1], flush=True)
    if results:
        pathlib.Path(results).write_text("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    table(sys.argv[2] if len(sys.argv) > 2 else None) if "--table" in sys.argv else unittest.main()
