#!/usr/bin/env python3
"""Which ONNX operators effc compiles, as the ONNX backend tests show it.

  onnx-support.py collect [--note TEXT] RUN.json...   from the reports of effc-conformance: benchmarks/results/conformance.jsonl,
                                        then the page; of cases in two reports of one level and way the later counts
  onnx-support.py                       writes docs/onnx-support.md from benchmarks/results/conformance.jsonl
  onnx-support.py --check               says whether the page is up to date

A report of each way at level compiled makes the table (effc-conformance DIR --level compiled --way WAY --json RUN.json);
others add rows to the summary."""
import collections
import datetime
import json
import pathlib
import platform
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/conformance.jsonl"
PAGE = ROOT / "docs/onnx-support.md"
STATUSES = ["passed", "folded", "wrong", "crashed", "timed-out", "unsupported"]
WAYS = ["static", "dynamic", "constants"]
LEVELS = ["literal", "raised", "compiled"]
# Figures that others publish or that were measured with their releases: the project's specification of the front end.
PEERS = [
    {"who": "ONNX Runtime 1.30, CPU", "source": "measured through its npm package",
     "figure": "1466 of 1538 node cases that can be fed, converted 59/82, operator 24/35, simple 15/17"},
    {"who": "onnx-mlir, July 2026", "source": "docs/SupportedONNXOps-cpu.md, test/backend",
     "figure": "151 of 210 operator rows on CPU, up to opset 22; 614 of the 1694 cases of onnx 1.21 enabled"},
]
TYPES = {"f32": "float", "f64": "double", "f16": "float16", "bf16": "bfloat16", "i1": "bool", "f8E4M3FN": "float8e4m3fn",
         "f8E5M2": "float8e5m2", "f8E4M3FNUZ": "float8e4m3fnuz", "f8E5M2FNUZ": "float8e5m2fnuz",
         "f4E2M1FN": "float4e2m1", "f8E8M0FNU": "float8e8m0"}


def type_name(name):
    if name in TYPES:
        return TYPES[name]
    match = re.fullmatch(r"(u?)i(\d+)", name)
    return f"{match[1]}int{match[2]}" if match else name


def counts(cases):
    found = collections.Counter(case["status"] for case in cases)
    return {"total": len(cases), **{status: found[status] for status in STATUSES}}


def processor():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        return re.search(r"model name\s*: (.*)", text)[1]
    except (OSError, TypeError):
        return platform.processor()


def summarise(cases):
    groups = {"categories": {}, "tiers": {}}
    for category in sorted({case["category"] for case in cases}):
        groups["categories"][category] = counts([c for c in cases if c["category"] == category])
    groups["categories"]["all"] = counts(cases)
    for tier in range(4):
        inside = [c for c in cases if c["tier"] <= tier]
        groups["tiers"][f"T{tier}-F"] = counts([c for c in inside if c["core_types"]])
        groups["tiers"][f"T{tier}-A"] = counts(inside)
    return groups


def short(reason):
    """The part of a reason that does not name this case."""
    first = reason.split("\n")[0].split(": try:")[0].split(": why:")[0]
    text = re.sub(r"(error )?EFF\d{4}: ", "", first)
    return "not supported" if text.startswith("no lowering") else text


def operators(runs, versions):
    """One record for each operator: cases that use it, by way."""
    records = {}
    for way, cases in runs.items():
        for case in cases:
            for op in case["ops"]:
                record = records.setdefault(op, {"kind": "operator", "op": op, "cases": {}, "types": set(),
                                                 "versions": set(), "known": set(), "why": set()})
                record["cases"].setdefault(way, []).append(case)
                alone = len(case["ops"]) == 1
                if case["status"] in ("passed", "folded"):
                    record["versions"].update(int(v) for v in versions.get(case["name"], []))
                    if alone:
                        record["types"].update(type_name(t) for t in case["types"])
                    if alone and way == "static" and case["status"] == "passed":
                        record["known"].update(case["compile_time_inputs"])
                elif alone and way == "static":
                    record["why"].add(short(case["reason"]))
    for op in sorted(records, key=lambda name: ("." in name, name)):
        record = records[op]
        record["cases"] = {way: counts(cases) for way, cases in record["cases"].items()}
        found = sorted(record["versions"])
        record["versions"] = [found[0], found[-1]] if found else []
        for key in ("types", "known", "why"):
            record[key] = sorted(record[key])
        yield record


def collect(files, note):
    runs = {}
    versions = {}
    for name in files:
        cases = json.loads(pathlib.Path(name).read_text())
        key = cases[0]["level"], cases[0]["way"]
        known = {(case["category"], case["name"]): case for case in runs.get(key, [])}
        runs[key] = list((known | {(case["category"], case["name"]): case for case in cases}).values())
        versions.update({case["name"]: case["versions"] for case in cases if case.get("versions")})
    today = datetime.date.today().isoformat()
    lines = []
    for (level, way), cases in sorted(runs.items(), key=lambda run: (LEVELS.index(run[0][0]), WAYS.index(run[0][1]))):
        lines.append({"kind": "run", "date": today, "cpu": processor(), "suite": "onnx 1.22.0",
                      "command": f"effc-conformance DIR --level {level} --way {way}", "level": level, "way": way,
                      **summarise(cases)})
    if note:
        lines.append({"kind": "note", "text": note})
    lines += [{"kind": "peer", **peer} for peer in PEERS]
    compiled = {way: cases for (level, way), cases in runs.items() if level == "compiled"}
    lines += operators(compiled, versions)
    RESULTS.write_text("".join(json.dumps(line) + "\n" for line in lines))


def table(lines, head, rows):
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.append("")


def right(count):
    """Passed cases, and those of them that need all of their inputs at compile time."""
    text = f"{count['passed'] + count['folded']}/{count['total']}"
    return text + (f" ({count['folded']})" if count["folded"] else "")


def page(records):
    runs = [r for r in records if r["kind"] == "run"]
    lines = ["# ONNX operators", "", "```", "effc compile model.onnx --stop-after=onnx   # the operators of a model", "```",
             "", "What the ONNX backend tests of release 1.22.0 show. Written by `utils/onnx-support.py` from",
             "`benchmarks/results/conformance.jsonl`, which holds the reports of `effc-conformance`.", "",
             "A case is *right* when every output has the expected type, shape and numbers (rtol 1e-3, atol 1e-7; integers",
             "exactly). effc compiles static shapes: operands that shapes depend on (axes, pads, repeats, limits, ...) must be",
             "known when a model is compiled, and cases that have them as inputs are compiled for the values of their data. In",
             "parentheses: how many of the right ones had nothing but such inputs, so that the compiled model holds the",
             "result. *Unsupported* cases are refused with a reason; they never count as right.", "",
             "Levels: *literal* interprets each node's lowering, *raised* interprets the model in the eff dialect, *compiled*",
             "runs the machine code of a model file. Ways: *static* with the shapes of the file, *dynamic* without any shape",
             "of the file (the data's are bound when it is compiled), *constants* with the inputs as part of the model.", "",
             "## Summary", ""]
    head = ["level", "way", "right", "wrong", "crashed", "timed out", "unsupported"]
    table(lines, head, [[r["level"], r["way"], right(c), c["wrong"], c["crashed"], c["timed-out"], c["unsupported"]]
                        for r in runs for c in [r["categories"]["all"]]])
    compiled = [r for r in runs if r["level"] == "compiled"]
    if compiled:
        lines += ["Compiled, by tier (F: float, float16, bfloat16, the common integers, bool, 8-bit floats and below; A: all",
                  "numbers). T0 is what the model families need, T1 adds control flow and attention, T2 state-space and",
                  "quantised operators, T3 all other computing on tensors of numbers; each holds the ones before.", ""]
        table(lines, ["tier", *[r["way"] for r in compiled]],
              [[tier, *[right(r["tiers"][tier]) for r in compiled]] for tier in compiled[0]["tiers"]])
        lines += ["By category.", ""]
        table(lines, ["category", *[r["way"] for r in compiled]],
              [[name, *[right(r["categories"][name]) for r in compiled]] for name in compiled[0]["categories"]])
        lines += [f"Measured on {compiled[0]['date']}, {compiled[0]['cpu']}, with `{compiled[0]['command']}`.", ""]
    lines += [line for r in records if r["kind"] == "note" for line in (r["text"], "")]
    lines += ["Others, for comparison.", ""]
    table(lines, ["who", "figure", "source"],
          [[r["who"], r["figure"], r["source"]] for r in records if r["kind"] == "peer"])
    lines += ["## Operators", "",
              "Right cases of those that use the operator, alone or with others. Types are of the inputs and outputs of cases",
              "with this operator alone; versions those of the operator set in the files.", ""]
    rows = []
    for r in records:
        if r["kind"] != "operator":
            continue
        remarks = []
        if r["known"]:
            remarks.append("at compile time: " + ", ".join(f"`{name}`" for name in r["known"]))
        remarks += r["why"][:2]
        versions = "-".join(str(v) for v in sorted(set(r["versions"])))
        rows.append([f"`{r['op']}`", versions, *[right(r["cases"][way]) if way in r["cases"] else "" for way in WAYS],
                     ", ".join(r["types"]), "; ".join(remarks)])
    table(lines, ["operator", "opset", *WAYS, "types", "remarks"], rows)
    return "\n".join(lines)


def main():
    words = sys.argv[1:]
    if words and words[0] == "collect" and len(words) > 1:
        words = words[1:]
        note = words[1] if words[0] == "--note" else ""
        collect(words[2 if note else 0:], note)
    elif words not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    text = page([json.loads(line) for line in RESULTS.read_text().splitlines()])
    if words == ["--check"]:
        current = PAGE.exists() and PAGE.read_text() == text
        if not current:
            print("docs/onnx-support.md is out of date: run utils/onnx-support.py")
        return 0 if current else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
