#!/usr/bin/env python3
"""Accuracy and time of VMamba against the number of layers without a scan.

  vmeanba.py MODEL.onnx --calib CALIB.npz --test TEST.npz [--effc EFFC] [--out FILE.jsonl]

Sets of layers grow in two orders, both found on calibration images: by the accuracy lost alone for scans that are only
taken away, by the search of the recipe (divergence from the model's own outputs) for those that are made up for.
`--plain` and `--fitted` give orders that are known. One line of JSON for each compiled model:

  base        the model
  eliminated  scans gone
  literal     the scan of the mean is computed although the norm behind cancels it
  linear      scans gone, the linears behind them fitted again
  filtered    the same with a fitted 7 x 7 filter in each scan's place
  pruned, pruned-filtered   the same with 40 % of each linear's weights zero

Accuracy is that of the test images. Time is processor time per image of one thread: models take turns, and the speed-up
is the median over turns of the ratio to the base in the same turn. benchmarks/plot_vmeanba.py draws the result."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

PRUNE = "prune-weights ratio=0.4 skip=x_proj,dt_projs"


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


class Bench:
    def __init__(self, args, directory):
        self.args, self.directory = args, pathlib.Path(directory)

    def compile(self, name, *steps, report=False):
        """The model file after the steps of a recipe; with `report` what the compiler said."""
        output = self.directory / f"{name}.eff"
        if output.exists() and not report:
            return output
        command = [self.args.effc, "compile", self.args.model, "-o", f"{output}.new", "-q", "-j", "1"]
        if steps:
            recipe = self.directory / f"{name}.recipe"
            recipe.write_text("\n".join(steps) + "\n")
            command += ["--recipe", str(recipe), "--calib", str(self.args.calib)]
        done = subprocess.run(command + ["-v"] * report, check=True, capture_output=report, text=True)
        os.replace(f"{output}.new", output)
        return done.stderr + done.stdout if report else output

    def each(self, function, items):
        """The results for all items; several are worked on at once."""
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            return list(pool.map(function, items))

    def accuracy(self, model, images):
        command = [self.args.effc, "eval", str(model), "--images", str(images), "-t", "1", "--json"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(text.splitlines()[-1])["accuracy"]

    def seconds(self, model, images):
        """Processor time of one thread over a file of images."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([self.args.effc, "eval", str(model), "--images", str(images), "-t", "1", "--json"], check=True,
                       capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def times(self, models, few, many, images):
        """Milliseconds per image (what `images` more of them take, median of the turns) and speed-up over the first."""
        turns = []
        for _ in range(self.args.repeats):
            turns.append([(self.seconds(model, many) - self.seconds(model, few)) / images for model in models])
        return [(1e3 * statistics.median(turn[i] for turn in turns),
                 statistics.median(turn[0] / turn[i] for turn in turns)) for i in range(len(models))]


def collapse(layers, *options):
    return f"collapse-channels layers={','.join(layers)} {' '.join(options)}".strip()


def subset(path, count, directory, labels=True):
    """`count` images spread over a file."""
    import numpy as np
    archive, output = np.load(path), os.path.join(directory, f"{count}-{labels}.npz")
    chosen = np.arange(count) * len(archive["images"]) // count
    arrays = {"images": archive["images"][chosen]}
    if labels:
        arrays["labels"] = archive["labels"][chosen]
    np.savez(output, **arrays)
    return output


def plain_order(bench, base, layers, calib):
    """Layers by what each costs alone, and those costs in points."""
    whole, *accuracies = bench.each(lambda model: bench.accuracy(model, calib),
                                    [base] + [bench.compile(f"alone{layer}", collapse([layer])) for layer in layers])
    alone = {layer: round(whole - accuracy, 3) for layer, accuracy in zip(layers, accuracies)}
    return sorted(layers, key=lambda layer: (alone[layer], int(layer))), alone


def fitted_order(bench, layers, directory):
    """Layers in the order in which the recipe's search takes them."""
    bench.args.calib, calib = subset(bench.args.calib, 200, directory, labels=False), bench.args.calib
    text = bench.compile("search", "collapse-channels budget=1e9 correct filter=7", report=True)
    bench.args.calib = calib
    names = bench.compile("names", collapse(layers, "literal"), report=True)
    known = re.findall(r"ChannelsCollapsed.*?Remark=(\S+)", names)
    sets = re.findall(r"LayersTried.*?Remark=(\S+)", text)
    return [str(known.index(name)) for name in max(sets, key=len).split(",")]


def plan(args, plain, fitted):
    """Form, layers and recipe of each model."""
    samples = f"samples={args.samples}"
    counts = range(1, args.layers + 1)
    for n in counts:
        yield "eliminated", plain[:n], [collapse(plain[:n])]
    for n in (1, 3, args.layers):
        yield "literal", plain[:n], [collapse(plain[:n], "literal")]
    for n in counts:
        yield "linear", fitted[:n], [collapse(fitted[:n], "correct", samples)]
    for n in counts:
        yield "filtered", fitted[:n], [collapse(fitted[:n], "correct", "filter=7", samples)]
    yield "pruned", [], [PRUNE]
    yield "pruned", plain[:3], [PRUNE, collapse(plain[:3])]
    yield "pruned-filtered", fitted[:3], [PRUNE, collapse(fitted[:3], "correct", "filter=7", samples)]


def measure(args, directory):
    bench = Bench(args, directory)
    few, many = subset(args.calib, 10, directory), subset(args.calib, 110, directory)
    base = bench.compile("base")
    layers, alone = [str(i) for i in range(args.layers)], {}
    plain = args.plain.split(",") if args.plain else None
    if plain is None:
        plain, alone = plain_order(bench, base, layers, subset(args.calib, 500, directory))
    fitted = args.fitted.split(",") if args.fitted else fitted_order(bench, layers, directory)
    print(f"orders: {','.join(plain)} and {','.join(fitted)}; points lost alone: {alone}", file=sys.stderr)
    models = [("base", [], base)]
    planned = list(plan(args, plain, fitted))
    paths = bench.each(lambda p: bench.compile(f"{p[0]}{len(p[1])}", *p[2]), planned)
    models += [(form, chosen, path) for (form, chosen, _), path in zip(planned, paths)]
    accuracies = bench.each(lambda model: bench.accuracy(model[2], args.test), models)
    times = bench.times([path for _, _, path in models], few, many, 100)
    for (form, chosen, path), accuracy, (milliseconds, speedup) in zip(models, accuracies, times):
        yield {"model": pathlib.Path(args.model).stem, "form": form, "collapsed": len(chosen),
               "layers": [int(layer) for layer in chosen], "test": accuracy,
               "loss": round(accuracies[0] - accuracy, 3), "ms_per_image": round(milliseconds, 3),
               "speedup": round(speedup, 3), "time": f"processor time of one thread, median of {args.repeats}",
               "load": os.getloadavg()[0], "bytes": os.path.getsize(path), "cpu": cpu_name(),
               "date": time.strftime("%Y-%m-%d"),
               **({"loss_alone": alone[chosen[0]]} if len(chosen) == 1 and chosen[0] in alone else {})}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--calib", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--effc", default="effc")
    parser.add_argument("--out", help="write the JSON lines here too")
    parser.add_argument("--layers", type=int, default=7, help="layers with a scan (default 7)")
    parser.add_argument("--plain", help="order of layers whose scans are only taken away: 4,2,...")
    parser.add_argument("--fitted", help="order of layers that are made up for")
    parser.add_argument("--samples", type=int, default=400, help="images that fits see (default 400)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of timing (default 5)")
    parser.add_argument("--jobs", type=int, default=2, help="models that are compiled or scored at once (default 2)")
    parser.add_argument("--work", help="directory for the models; those that are there are not compiled again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = []
        for row in measure(args, args.work or temporary):
            print(json.dumps(row), flush=True)
            rows.append(row)
    if args.out:
        pathlib.Path(args.out).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
