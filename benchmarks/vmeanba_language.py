#!/usr/bin/env python3
"""Perplexity of language models whose scans run on the mean of their channels (collapse-channels language=true).

  vmeanba_language.py TEXT MODEL.onnx... [--effc EFFC] [--layers SET...] [--windows N] [--out FILE.jsonl]

A set is layers with commas between them. One line of JSON for each model and set, the model itself first."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time


def perplexity(args, model, layers, directory):
    output = directory / "m.eff"
    command = [args.effc, "compile", model, "-o", str(output), "-q", "-j", "1", "--prefill", "512"]
    if layers:
        recipe = directory / "m.recipe"
        recipe.write_text(f"collapse-channels layers={layers} language=true variant=dir\n")
        command += ["--recipe", str(recipe)]
    subprocess.run(command, check=True)
    text = subprocess.run([args.effc, "eval", str(output), "--ppl", args.text, "--windows", str(args.windows), "-t", "1",
                           "--json"], check=True, capture_output=True, text=True).stdout
    return json.loads(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--effc", default="effc")
    parser.add_argument("--layers", nargs="+", default=["0", "5", "11", "0,1,2,3,4,5,6,7,8,9,10,11"])
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--out", help="append JSON lines here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for model in args.models:
            for layers in ["", *args.layers]:
                found = perplexity(args, model, layers, pathlib.Path(directory))
                row = json.dumps({"model": pathlib.Path(model).stem, "form": "language", "layers": layers,
                                  "perplexity": round(found["perplexity"], 4), "windows": found["windows"],
                                  "window": found["window"], "date": time.strftime("%Y-%m-%d")})
                print(row, flush=True)
                if args.out:
                    with open(args.out, "a", encoding="utf-8") as file:
                        file.write(row + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
