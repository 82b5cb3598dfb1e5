#!/usr/bin/env python3
"""How near compiled exporter files are to ONNX Runtime: docs/exporter-files.md from benchmarks/results/exporters.jsonl.

  test/Integration/test_exporters.py --table benchmarks/results/exporters.jsonl    measures every file
  exporter-table.py           writes the page
  exporter-table.py --check   says whether the page is up to date"""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/exporters.jsonl"
PAGE = ROOT / "docs/exporter-files.md"
COLUMNS = ["prefill", "split", "batch", "short", "padded", "states, prefill", "states, split", "states, batch",
           "states, short", "states, steps"]


def page(records):
    lines = ["# Exporter files", "", "```", "python3 test/Integration/test_exporters.py --table   # needs the files in EFFC_TEST_DATA",
             "```", "", "Files as torch (dynamo, TorchScript), the onnxruntime-genai builder and quantisers write them, compiled, against",
             "what ONNX Runtime 1.30 computes from the same file. Numbers are the largest difference of any output, over the root of",
             "the mean square of that output. Written by `utils/exporter-table.py` from `benchmarks/results/exporters.jsonl`.", "",
             "- *prefill*: one prompt. *split*: most of it, then token by token. *batch*: two sequences. *short*: a shorter one of",
             "  these. *padded*: sequences of two lengths in one batch.",
             "- *states*: caches and states as outputs (`--states-as-tensors`), of a prompt, of a prompt in two calls, of two",
             "  sequences, of a shorter prompt, of single steps. Operators that stand alone have theirs among all outputs.",
             "- Files with a fixed length were compiled with `--relax-seq --add-states`.", ""]
    used = [c for c in COLUMNS if any(c in r.get("checks", {}) for r in records)]
    lines += ["| file | " + " | ".join(used) + " | limit |", "|" + "---|" * (len(used) + 2)]
    for r in records:
        cells = [f"{r['checks'][c]:.1e}" if c in r.get("checks", {}) else "" for c in used]
        if "error" in r:
            cells[0] = r["error"].replace("|", "\\|")
        lines.append(f"| `{r['file']}` | " + " | ".join(cells) + f" | {r['tolerance']:g} |")
    right = sum("error" not in r and max(r["checks"].values()) < r["tolerance"] for r in records)
    checks = sum(len(r.get("checks", {})) for r in records)
    lines += ["", f"{right} of {len(records)} files are within their limit in each of {checks} checks, measured on {records[0]['date']}. Files of",
              "8-bit operators have a wider one: a step of a value in between may fall to the other side. The files that nest graphs",
              "to exhaust a reader (`nest*.onnx`) are refused with EFF0206 or EFF0207."]
    return "\n".join(lines) + "\n"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    text = page([json.loads(line) for line in RESULTS.read_text().splitlines()])
    if sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text() == text
        if not current:
            print("docs/exporter-files.md is out of date: run utils/exporter-table.py")
        return 0 if current else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
