"""The command line of the exporter."""

import argparse
import os
import sys
import time
from typing import List, Optional

from . import Exported, export, export_random, known_shapes
from .checkpoint import is_checkpoint, load_config
from .errors import ExportError, nearest
from .models import FAMILIES
from .weights import DTYPE_CHOICES

DESCRIPTION = """\
Turns a Hugging Face checkpoint directory into an ONNX file that `effc compile` reads.

The directory holds config.json and *.safetensors (one file, or shards with or without an index). Weights are
copied as they are stored, one tensor at a time, to MODEL.onnx.data; a tokenizer.json is copied to
MODEL.tokenizer.json. Model types: """ + ", ".join(FAMILIES) + "."

EXAMPLES = """\
examples:
  python3 -m effc.export Llama-3.2-1B -o llama.onnx          llama.onnx, llama.onnx.data, llama.tokenizer.json
  python3 -m effc.export mamba2-16m --inline -o m.onnx       one self-contained file, for small models
  python3 -m effc.export ckpt --dtype f32 -o m.onnx          widen bf16 weights to float32
  python3 -m effc.export --random config.json -o big.onnx    random bf16 weights of true shapes, for benchmarks
  python3 -m effc.export --random llama-3.2-1b -o 1b.onnx    the same for a shape that the exporter knows
  python3 -m effc.export --all checkpoints -o build/models   every checkpoint below a directory

exit status: 0 done, 1 wrong input or use (nothing is written), 130 interrupted (nothing is written)
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        advice = "python3 -m effc.export --help"
        if message.startswith("unrecognized arguments: "):
            word = message.split(": ", 1)[1].split()[0]
            close = nearest(word.split("=")[0], self._option_string_actions)
            message = f"unknown option or extra argument '{word}'"
            advice = f"{close} (see --help)" if close else advice
        raise ExportError("EFF0102", message, try_=advice)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python3 -m effc.export", description=DESCRIPTION, epilog=EXAMPLES, allow_abbrev=False,
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="the checkpoint directory")
    parser.add_argument("-o", "--output", metavar="FILE", help="the ONNX file to write (with --all: a directory)")
    parser.add_argument("--dtype", choices=DTYPE_CHOICES, metavar="TYPE",
                        help="element type of the weights: keep (default), bf16 or f32; bf16 leaves the parameters of "
                             "recurrences (A_log, D, dt_bias) in f32")
    parser.add_argument("--inline", action="store_true",
                        help="put the weights into the ONNX file itself (up to 1 GiB)")
    parser.add_argument("--tokenizer", metavar="FILE", help="the tokenizer.json to copy (default: the checkpoint's)")
    parser.add_argument("--random", metavar="CONFIG",
                        help="no checkpoint: random weights for this config.json, or for one of the shapes "
                             + ", ".join(known_shapes()))
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of --random (default 0)")
    parser.add_argument("--all", metavar="DIR", dest="all_in",
                        help="export every checkpoint directly below DIR to OUTPUT/NAME.onnx; DIR/tokenizer-VOCAB.json "
                             "serves those of VOCAB tokens without a tokenizer.json; unsupported types are skipped")
    parser.add_argument("--ignore-extra", action="store_true",
                        help="export although the checkpoint has tensors that the model does not use")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    return parser


class _Display:
    """Progress and summary on stderr: one moving line on a terminal, plain lines elsewhere."""

    def __init__(self, quiet: bool):
        self.quiet, self.moving = quiet, sys.stderr.isatty() and not quiet
        self.last = 0.0

    def progress(self, tensors: int, done: int, total: int) -> None:
        now = time.monotonic()
        if self.moving and (now - self.last > 0.1 or done == total):
            self.last = now
            print(f"\r  writing  {tensors} tensors, {_size(done)} of {_size(total)}\033[K", end="", file=sys.stderr)

    def clear(self) -> None:
        if self.moving:
            print("\r\033[K", end="", file=sys.stderr)

    def line(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr)

    def result(self, exported: Exported, seconds: float) -> None:
        types = ", ".join(f"{_size(n)} {t.lower()}" for t, n in sorted(exported.weight_bytes.items()))
        self.line(f"  model    {exported.layers} layers of {exported.model_type}, {_count(exported.parameters)} "
                  f"parameters: {types}")
        for note in exported.notes:
            self.line(f"  note     {note}")
        for path in exported.files:
            self.line(f"  wrote    {path}  {_size(os.path.getsize(path))}")
        self.line(f"  took     {seconds:.1f} s")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def _count(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M"


def _check_use(args: argparse.Namespace) -> None:
    given = [n for n, v in (("CHECKPOINT", args.checkpoint), ("--random", args.random), ("--all", args.all_in)) if v]
    if len(given) != 1:
        what = " and ".join(given) + " exclude each other" if given else "no checkpoint given"
        raise ExportError("EFF0102", what, try_="python3 -m effc.export --help")
    if not args.output:
        raise ExportError("EFF0102", "no output given", try_="add -o model.onnx")
    if not args.all_in and not args.output.endswith(".onnx"):
        raise ExportError("EFF0102", f"the output '{args.output}' does not end in .onnx", try_="-o model.onnx")
    if args.all_in and args.tokenizer:
        raise ExportError("EFF0102", "--tokenizer and --all exclude each other",
                          try_="put a tokenizer.json into each checkpoint")
    if args.seed < 0:
        raise ExportError("EFF0102", f"--seed is {args.seed}", why="it must not be negative")


def _export_all(args: argparse.Namespace, display: _Display) -> None:
    if not os.path.isdir(args.all_in):
        raise ExportError("EFF0101", f"'{args.all_in}' is not a directory")
    names = [n for n in sorted(os.listdir(args.all_in)) if is_checkpoint(os.path.join(args.all_in, n))]
    if not names:
        raise ExportError("EFF0801", "no checkpoint found", args.all_in,
                          "none of its directories holds a .safetensors file")
    try:
        os.makedirs(args.output, exist_ok=True)
    except OSError as error:
        raise ExportError("EFF0103", "the output directory cannot be made", args.output, error.strerror or "") from None
    skipped = 0
    for name in names:
        directory = os.path.join(args.all_in, name)
        display.line(name)
        try:
            started = time.monotonic()
            exported = export(directory, os.path.join(args.output, name + ".onnx"), args.dtype or "keep", args.inline,
                              _shared_tokenizer(directory), args.ignore_extra, display.progress)
        except ExportError as error:
            display.clear()
            if error.code != "EFF0803":
                raise
            skipped += 1
            display.line(f"  skipped  {error.what}")
            continue
        display.clear()
        display.result(exported, time.monotonic() - started)
    display.line(f"{len(names) - skipped} exported, {skipped} skipped")


def _shared_tokenizer(directory: str) -> Optional[str]:
    """The checkpoint's own tokenizer, or `tokenizer-VOCAB.json` beside the checkpoint."""
    if os.path.exists(os.path.join(directory, "tokenizer.json")):
        return None
    for name in sorted(os.listdir(directory)):
        if name.endswith(".json") and not name.endswith(".index.json"):
            config, _ = load_config(os.path.join(directory, name))
            shared = os.path.join(os.path.dirname(os.path.abspath(directory)),
                                  f"tokenizer-{config.values.get('vocab_size')}.json")
            if os.path.exists(shared):
                return shared
    return None


def _run(arguments: Optional[List[str]]) -> None:
    parser = _parser()
    args = parser.parse_args(arguments)
    _check_use(args)
    display = _Display(args.quiet)
    if args.all_in:
        _export_all(args, display)
        return
    started = time.monotonic()
    try:
        if args.random:
            exported = export_random(args.random, args.output, args.seed, args.dtype or "bf16", args.inline,
                                     args.tokenizer, display.progress)
        else:
            exported = export(args.checkpoint, args.output, args.dtype or "keep", args.inline, args.tokenizer,
                              args.ignore_extra, display.progress)
    finally:
        display.clear()
    display.result(exported, time.monotonic() - started)
    display.line(f"  try:  effc compile {args.output}")


def main(arguments: Optional[List[str]] = None) -> int:
    try:
        _run(arguments)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    return 0
