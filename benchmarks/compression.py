#!/usr/bin/env python3
"""Measures recipes: perplexity, accuracy and size beside the float model. Appends JSON lines to
benchmarks/results/compression.jsonl.

    benchmarks/compression.py [--windows N] [--recipes A,B] [PART ...]

Parts: mamba, mamba2, llama, vit; mamba-variants and mamba2-variants (64 windows), mamba-outliers and mamba2-outliers
(32 windows), states (8 sequences of 4,000 tokens). Calibrates on wiki_valid.txt and
cifar10-calib.npz, reports on wiki_test.txt and cifar10-test.npz of EFFC_TEST_DATA."""
import argparse
import json
import subprocess
import sys

import run
from run import DATA, ROOT, WORK, checkpoint, compile_model, effc

RECIPES = ROOT / "benchmarks/recipes"
TEXT = ["--calib", DATA / "models/wiki_valid.txt"]
FLOAT = ("f32", ["--quant", "f32"])


def known(*names):
    return [(name, ["--recipe", name, *TEXT]) for name in names]


def variants(*names):
    return [(name, ["--recipe", RECIPES / f"{name}.recipe", *TEXT]) for name in names]


def outliers(name):
    output = WORK / f"outliers/{name}.onnx"
    if not output.exists():
        subprocess.run(["/usr/bin/python3", ROOT / "benchmarks/outliers.py", checkpoint(name), output], check=True)
    return output


MAMBA = [FLOAT, *known("quamba")]
MAMBA_VARIANTS = [*MAMBA, *variants("quamba-percentile", "naive-w8a8", "naive-w8a8-percentile",
                                             "naive-w8a8-hadamard")]
MAMBA2 = [FLOAT, *known("quamba2-w8a8", "quamba2-w4a8", "quamba2-w4a16", "quamba2-mixed")]
MAMBA2_VARIANTS = [*MAMBA2, *variants("quamba2-w8a8-rtn", "quamba2-w8a8-ungrouped", "quamba2-w4a8-rtn",
                                      "quamba2-w4a16-rtn")]
STATES = [FLOAT, *variants("states-dynamic", "states-static", "states-stochastic", "states-feedback")]
LLAMA = [FLOAT, *known("llm-w8a8", "llm-w4a16", "llm-w4a8"), *variants("cache-int8")]
TOKENIZER = ["--tokenizer", DATA / "models/tokenizer-8192.json"]


def perplexities(results, part, source, model, configurations, windows, window=None, retrieval=False):
    base = None
    for name, flags in configurations:
        output = WORK / "compression.eff"
        seconds, _ = compile_model(source, output, *flags, *TOKENIZER)
        command = ["eval", output, "--ppl", DATA / "models/wiki_test.txt", "--json"]
        if windows:
            command += ["--windows", windows]
        if window:
            command += ["--window", window]
        values = json.loads(effc(*command))
        base = base or values["perplexity"]
        extra = {}
        if retrieval:
            extra["retrieval"] = json.loads(effc("eval", output, "--answers", DATA / "models/retrieval-8192.npz",
                                                 "--json"))["accuracy"]
        results.add("compression.py", part=part, model=model, recipe=name, perplexity=values["perplexity"],
                    relative=values["perplexity"] / base - 1, windows=values["windows"], window=values["window"],
                    bytes=output.stat().st_size, compile_seconds=round(seconds, 1), **extra)


def vision(results):
    calib = ["--calib", DATA / "models/cifar10-calib.npz"]
    for name, flags in [FLOAT, ("vit-w8a8", ["--recipe", "vit-w8a8", *calib])]:
        output = WORK / "compression.eff"
        compile_model(checkpoint("vit-cifar"), output, "--batch", "16", *flags)
        values = json.loads(effc("eval", output, "--images", DATA / "models/cifar10-test.npz", "--json"))
        results.add("compression.py", part="vit", model="vit-cifar", recipe=name, accuracy=values["accuracy"],
                    bytes=output.stat().st_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--windows", type=int, help="windows of the text; all by default")
    parser.add_argument("--recipes", type=lambda text: {"f32", *text.split(",")},
                        help="only these beside f32, comma-separated")
    options = parser.parse_args()
    (WORK / "outliers").mkdir(parents=True, exist_ok=True)
    results = run.Results("compression")
    if options.recipes:
        for configurations in (MAMBA, MAMBA_VARIANTS, MAMBA2, MAMBA2_VARIANTS, STATES, LLAMA):
            configurations[:] = [c for c in configurations if c[0] in options.recipes]
    parts = {
        "mamba": lambda: perplexities(results, "mamba", checkpoint("mamba-16m"), "mamba-16m", MAMBA, options.windows),
        "mamba2": lambda: perplexities(results, "mamba2", checkpoint("mamba2-16m"), "mamba2-16m", MAMBA2,
                                       options.windows),
        "mamba-variants": lambda: perplexities(results, "mamba-variants", checkpoint("mamba-16m"), "mamba-16m",
                                               MAMBA_VARIANTS, options.windows or 64),
        "mamba2-variants": lambda: perplexities(results, "mamba2-variants", checkpoint("mamba2-16m"), "mamba2-16m",
                                                MAMBA2_VARIANTS, options.windows or 64),
        "llama": lambda: perplexities(results, "llama", checkpoint("llama-16m"), "llama-16m", LLAMA, options.windows,
                                      retrieval=True),
        "vit": lambda: vision(results),
        "mamba-outliers": lambda: perplexities(results, "mamba-outliers", outliers("mamba-16m"), "mamba-16m",
                                               MAMBA_VARIANTS, options.windows or 32),
        "mamba2-outliers": lambda: perplexities(results, "mamba2-outliers", outliers("mamba2-16m"), "mamba2-16m",
                                                [FLOAT, *known("quamba2-w8a8"), *variants("quamba2-w8a8-ungrouped")],
                                                options.windows or 32),
        # Sequences of 4,000 tokens; a state is rounded after every token, in prompts too.
        "states": lambda: [perplexities(results, "states", checkpoint(name), name, STATES, options.windows or 8, 4000)
                           for name in ("mamba-16m", "mamba2-16m")],
    }
    for part in options.parts or parts:
        if part not in parts:
            raise SystemExit(f"there is no part '{part}': {', '.join(parts)}")
        parts[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
