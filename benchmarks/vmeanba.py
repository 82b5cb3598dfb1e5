#!/usr/bin/env python3
"""Accuracy and time of VMamba against the number of layers without a scan.

  vmeanba.py MODEL.onnx --calib CALIB.npz --test TEST.npz [--effc EFFC] [--out FILE.jsonl] [--svg FILE.svg]

Layers are ordered by what they cost alone on the calibration images; sets of the first n are then measured on both
files. One line of JSON for each compiled model. Time is processor time per image of one thread, the least of a few runs,
so that other work on the machine counts little."""
import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time


class Bench:
    def __init__(self, args, directory):
        self.args, self.directory = args, pathlib.Path(directory)

    def compile(self, name, *steps):
        """The model file after the steps of a recipe."""
        output = self.directory / f"{name}.eff"
        command = [self.args.effc, "compile", self.args.model, "-o", str(output), "-q"]
        if steps:
            recipe = self.directory / f"{name}.recipe"
            recipe.write_text("\n".join(steps) + "\n")
            command += ["--recipe", str(recipe)]
        subprocess.run(command, check=True)
        return output

    def accuracy(self, model, images):
        command = [self.args.effc, "eval", str(model), "--images", str(images), "--json"]
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
        """Milliseconds per image: what `images` more of them take, least of the runs, models in turn."""
        best = [float("inf")] * len(models)
        for _ in range(self.args.repeats):
            for i, model in enumerate(models):
                best[i] = min(best[i], (self.seconds(model, many) - self.seconds(model, few)) / images)
        return [1e3 * t for t in best]


def collapse(layers, *options):
    return f"collapse-channels layers={','.join(layers)} {' '.join(options)}".strip()


def head_of(path, count, directory):
    import numpy as np
    archive, output = np.load(path), os.path.join(directory, f"{count}.npz")
    np.savez(output, images=archive["images"][:count], labels=archive["labels"][:count])
    return output


def measure(args, directory):
    bench = Bench(args, directory)
    few, many = head_of(args.calib, 10, directory), head_of(args.calib, 110, directory)
    base = bench.compile("base")
    layers = [str(i) for i in range(args.layers)]
    on_calib = bench.accuracy(base, args.calib)
    alone = {layer: on_calib - bench.accuracy(bench.compile(f"alone{layer}", collapse([layer])), args.calib)
             for layer in layers}
    order = sorted(layers, key=lambda layer: (alone[layer], int(layer)))
    prune = "prune-weights ratio=0.4 skip=x_proj,dt_projs"
    sets = [("eliminated", order[:n], (collapse(order[:n]),)) for n in range(1, len(order) + 1)]
    sets += [("literal", order[:n], (collapse(order[:n], "literal"),)) for n in (1, len(order))]
    sets += [("pruned", order[:n], (prune, *((collapse(order[:n]),) if n else ()))) for n in (0, args.pruned)]
    models = [("base", [], base)]
    models += [(form, chosen, bench.compile(f"{form}{len(chosen)}", *steps)) for form, chosen, steps in sets]
    times = bench.times([path for _, _, path in models], few, many, 100)
    for (form, chosen, path), milliseconds in zip(models, times):
        yield {"form": form, "collapsed": len(chosen), "layers": chosen, "loss_alone": [alone[i] for i in chosen],
               "calib": bench.accuracy(path, args.calib), "test": bench.accuracy(path, args.test),
               "ms_per_image": round(milliseconds, 3), "speedup": round(times[0] / milliseconds, 3),
               "bytes": os.path.getsize(path), "machine": platform.processor() or platform.machine(),
               "date": time.strftime("%Y-%m-%d")}


def plot(rows, path):
    """Test accuracy against speed-up; one polyline for each form."""
    width, height, margin = 480, 320, 48
    xs, ys = [r["speedup"] for r in rows], [r["test"] for r in rows]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)

    def place(row):
        x = margin + (row["speedup"] - x0) / max(x1 - x0, 1e-9) * (width - 2 * margin)
        y = height - margin - (row["test"] - y0) / max(y1 - y0, 1e-9) * (height - 2 * margin)
        return f"{x:.1f},{y:.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
             f'font-size="11">', f'<text x="{margin}" y="20">accuracy, % ({y0:.2f} to {y1:.2f})</text>',
             f'<text x="{width / 2}" y="{height - 12}">speed-up ({x0:.2f} to {x1:.2f})</text>']
    for form, colour in (("eliminated", "#06c"), ("literal", "#c60"), ("pruned", "#393")):
        points = [r for r in rows if r["form"] in ("base", form)]
        parts.append(f'<polyline fill="none" stroke="{colour}" points="{" ".join(map(place, points))}"/>')
        for row in points:
            x, y = place(row).split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"><title>{form} {row["collapsed"]}</title></circle>')
    pathlib.Path(path).write_text("\n".join(parts) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--calib", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--effc", default="effc")
    parser.add_argument("--out", help="append JSON lines here too")
    parser.add_argument("--svg", help="draw accuracy against speed-up")
    parser.add_argument("--layers", type=int, default=7, help="layers with a scan (default 7)")
    parser.add_argument("--pruned", type=int, default=3, help="collapsed layers of the pruned model (default 3)")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for row in measure(args, directory):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if args.out:
                with open(args.out, "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    if args.svg:
        plot(rows, args.svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
