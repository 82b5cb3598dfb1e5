#!/usr/bin/env python3
"""Measures effc and appends JSON lines to benchmarks/results/.

    ./x bench                 what runs on the models of the repository: speed and compile time
    ./x bench quality         perplexity, prompts, accuracy of every checkpoint in EFFC_TEST_DATA, in every format
    ./x bench shapes          decode and prefill at true shapes (random weights; needs 12 GB of disk under build/)
    ./x bench imports         time to read and raise models of up to a million nodes
    ./x bench kernels         every kernel family beside the roofline
    ./x bench peers LLAMA_BENCH MODEL.gguf ...
                              llama.cpp's own benchmark on models of the same shape; LLAMA_BENCH may hold options

Every line says machine, command and date; speeds come with the roofline measured in the same run."""
import argparse
import datetime
import json
import os
import pathlib
import resource
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("EFFC_BUILD", ROOT / "build"))
DATA = pathlib.Path(os.environ.get("EFFC_TEST_DATA", ROOT / "../shared")).resolve()
EFFC = BUILD / "bin/effc"
WORK = BUILD / "bench"
FORMATS = ["f32", "bf16", "w4a16", "w8a16", "w8a8-dynamic"]
LANGUAGE = ["llama-16m", "mamba-16m", "mamba2-16m", "llama-tiny", "mamba-tiny", "mamba2-tiny"]


def effc(*args):
    result = subprocess.run([EFFC, *map(str, args)], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"effc {' '.join(map(str, args))}\n{result.stderr}")
    return result.stdout


class Results:
    """Appends to benchmarks/results/NAME.jsonl and prints."""

    def __init__(self, name):
        self.file = open(ROOT / "benchmarks/results" / f"{name}.jsonl", "a")
        machine = json.loads(effc("doctor", "--json"))
        self.machine = {key: machine[key] for key in ("cpu", "target", "threads")}

    def add(self, command, **values):
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = {"date": date, **self.machine, "load": os.getloadavg()[0], "command": command, **values}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        print(json.dumps(values), flush=True)


def export(source, output, *flags):
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["/usr/bin/python3", "-m", "effc.export", *source, "-o", output, "-q", *flags], check=True,
                       env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
    return output


def checkpoint(name):
    tokenizer = DATA / "models" / ("tokenizer-1024.json" if name.endswith("-tiny") else "tokenizer-8192.json")
    flags = [] if name.startswith("v") else ["--tokenizer", tokenizer]
    return export([DATA / "models" / name], WORK / f"{name}.onnx", *flags)


def compile_model(source, output, *flags):
    """Compiles and gives seconds, and peak memory beyond the files that are mapped (private memory is not told apart
    by the kernel's maximum, so the file sizes are reported beside it)."""
    start = time.time()
    effc("compile", source, "-o", output, "-q", *flags)
    seconds = time.time() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return seconds, peak


def quality(options):
    results = Results("quality")
    golden = json.loads((DATA / "models/golden.json").read_text())
    # Formats outermost: what must agree with the golden figures comes first.
    formats = options.formats or FORMATS
    for format in formats:
        for name in options.models or LANGUAGE:
            output, expected = WORK / f"{name}.{format}.eff", golden[name]["whole"]["perplexity"]
            compile_model(checkpoint(name), output, "--quant", format)
            values = json.loads(effc("eval", output, "--ppl", DATA / "models/wiki_test.txt", "--window",
                                     golden[name]["seq_len"], "--json"))
            extra = {}
            if name == "llama-16m" and format == "f32":
                extra["retrieval"] = json.loads(effc("eval", output, "--answers", DATA / "models/retrieval-8192.npz",
                                                     "--json"))["accuracy"]
            results.add("run.py quality", model=name, format=format, perplexity=values["perplexity"], golden=expected,
                        relative=values["perplexity"] / expected - 1, windows=values["windows"],
                        tokens_per_second=values["tokens_per_second"], bytes=output.stat().st_size, **extra)
    if options.models:
        return
    for format in formats:
        output = WORK / f"vit-cifar.{format}.eff"
        compile_model(checkpoint("vit-cifar"), output, "--quant", format, "--batch", "16")
        values = json.loads(effc("eval", output, "--images", DATA / "models/cifar10-test.npz", "--json"))
        results.add("run.py quality", model="vit-cifar", format=format, accuracy=values["accuracy"],
                    golden=100 * golden["vit-cifar"]["accuracy"])


def bench_lines(results, command, model, output, *flags):
    for line in effc("bench", output, "--json", *flags).splitlines():
        values = json.loads(line)
        keep = {k: values[k] for k in ("test", "n_batch", "n_threads", "median_ts", "stddev_ts", "bytes_per_second",
                                       "roof_bytes_per_second", "share_of_bandwidth", "flops_per_second",
                                       "integer_ops_per_second", "roof_flops_per_second",
                                       "roof_integer_ops_per_second", "share_of_flops")}
        results.add(command, model=model, **keep)


def shapes(options):
    """Formats by --quant, and for Mamba-2 the formats of its recipes: int4 tables, Hadamard transforms and int8 states,
    rounded to nearest: random weights have nothing to tune."""
    results = Results("shapes")
    formats = {format: ["--quant", format] for format in ["bf16", "w8a16", "w8a8-dynamic", "w4a16", "w4a8-dynamic"]}
    samples = ["--calib", DATA / "models/wiki_valid.txt", "--tokenizer", DATA / "models/tokenizer-8192.json",
               "--calib-samples", "1", "--calib-tokens", "64"]
    recipes = {name: ["--recipe", ROOT / f"benchmarks/recipes/{name}.recipe", *samples]
               for name in ["shape-w4a16", "shape-w4a8"]}
    for name in options.models or ["llama-3.2-1b", "mamba2-1.3b", "mamba2-2.7b", "mamba-2.8b"]:
        source = export(["--random", name], WORK / f"{name}.onnx")
        flags = {**formats, **recipes} if name.startswith("mamba2") else formats
        for format in options.formats or flags:
            output = WORK / f"{name}.{format}.eff"
            seconds, peak = compile_model(source, output, *flags[format], "--max-length", "4096")
            data = source.with_name(source.name + ".data").stat().st_size
            results.add("run.py shapes", model=name, format=format, compile_seconds=seconds, peak_rss=peak,
                        source_bytes=data, file_bytes=output.stat().st_size)
            bench_lines(results, "run.py shapes", f"{name} {format}", output, "-p", "512", "-n", "32", "-r", "3")
            output.unlink()


def repository(options):
    results = Results("repository")
    for name in options.models or ["mamba2-16m", "llama-tiny", "mamba-tiny", "mamba2-tiny"]:
        output = WORK / f"{name}.eff"
        output.parent.mkdir(parents=True, exist_ok=True)
        times = [compile_model(ROOT / f"examples/models/{name}.onnx", output)[0] for _ in range(3)]
        began = time.time()
        effc("run", output, "-p", "The river", "-n", "1", "-q")
        first = time.time() - began
        results.add("run.py", model=name, compile_seconds=sorted(times)[1], process_to_first_token_seconds=first,
                    file_bytes=output.stat().st_size)
        bench_lines(results, "run.py", name, output, "-p", "128", "-n", "64", "-r", "5")


def imports(options):
    """Time to read and raise what exporters write at length: linear in the nodes."""
    results = Results("repository")
    # The form, layers and tokens.
    for case in options.models or ["unrolled-8-1730", "unrolled-16-1730", "unrolled-64-1730", "chunks-64-48"]:
        form, layers, tokens = case.split("-")
        source = WORK / f"{case}.onnx"
        made = subprocess.run(["/usr/bin/python3", ROOT / "test/generators/long_scans.py", form, source, "--layers", layers,
                               "--tokens", tokens], check=True, capture_output=True, text=True).stdout
        start = time.time()
        process = subprocess.Popen([EFFC, "compile", source, "--stop-after=eff"], stdout=subprocess.PIPE, text=True,
                                   stderr=subprocess.DEVNULL)
        raised = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"effc compile {source} failed")
        results.add("run.py imports", model=source.stem, nodes=int(made.split()[-2]), scans=raised.count("eff.ssm_scan") +
                    raised.count("eff.ssd_scan"), seconds=time.time() - start, user_seconds=usage.ru_utime,
                    system_seconds=usage.ru_stime, peak_bytes=usage.ru_maxrss * 1024)


def kernels(options):
    results = Results("kernels")
    program = BUILD / "bin/effc-kernel-bench"
    for line in subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines():
        results.add("effc-kernel-bench", **json.loads(line))


def peers(options):
    results = Results("peers")
    program, *models = options.models
    for model in models:
        output = subprocess.run([*shlex.split(program), "-m", model, "-t", str(results.machine["threads"]), "-p", "512", "-n", "32", "-r", "3",
                                 "-o", "json"], capture_output=True, text=True, check=True).stdout
        for line in json.loads(output):
            test = f"pp{line['n_prompt']}" if line["n_prompt"] else f"tg{line['n_gen']}"
            results.add(f"{os.path.basename(program)} (run.py peers)", peer="llama.cpp", build=line["build_number"], model=line["model_type"],
                        model_bytes=line["model_size"], test=test, n_threads=line["n_threads"],
                        median_ts=sorted(line["samples_ts"])[len(line["samples_ts"]) // 2], stddev_ts=line["stddev_ts"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="repository", choices=["repository", "quality", "shapes", "imports", "kernels", "peers"])
    parser.add_argument("models", nargs="*", help="only these models; peers: a program and its models")
    parser.add_argument("--formats", type=lambda text: text.split(","), help="quality and shapes: only these, comma-separated")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    globals()[options.what](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
