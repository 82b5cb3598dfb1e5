"""What the integration tests share: the built tools, a place for compiled models, the data outside the repository."""
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("EFFC_BUILD", ROOT / "build"))
DATA = pathlib.Path(os.environ.get("EFFC_TEST_DATA", ROOT / "../shared")).resolve()
EXAMPLES = ROOT / "examples/models"
EFFC = BUILD / "bin/effc"
os.environ.setdefault("EFFRT_LIBRARY", str(BUILD / "lib/libeffrt.so"))
sys.path.insert(0, str(ROOT / "python"))

_scratch = tempfile.TemporaryDirectory(prefix="effc-test-")
SCRATCH = pathlib.Path(_scratch.name)


def run(*args, check=True, **kwargs):
    """Runs effc; raises with its output when `check` and it fails."""
    result = subprocess.run([str(EFFC), *map(str, args)], capture_output=True, text=True, errors="replace", **kwargs)
    if check and result.returncode:
        raise AssertionError(f"effc {' '.join(map(str, args))}: {result.stderr}{result.stdout}")
    return result


@functools.lru_cache(maxsize=None)
def compiled(model, *flags):
    """The path of a compiled model: an example's name, or the path of an ONNX file."""
    source = pathlib.Path(model) if str(model).endswith(".onnx") else EXAMPLES / f"{model}.onnx"
    words = [pathlib.Path(f).name.strip("-").replace("=", "_").replace(",", "_") for f in flags]
    name = "_".join([source.stem, *words])
    output = SCRATCH / f"{name}.eff"
    run("compile", source, "-o", output, "-q", *flags)
    return output


@functools.lru_cache(maxsize=None)
def exported(name):
    """The ONNX file of a checkpoint of the data outside the repository."""
    checkpoint = DATA / "models" / name
    tokenizer = DATA / "models" / ("tokenizer-1024.json" if name.endswith("-tiny") else "tokenizer-8192.json")
    output = SCRATCH / "onnx" / f"{name}.onnx"
    output.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "effc.export", checkpoint, "-o", output, "-q"]
    if not name.startswith("v"):
        command += ["--tokenizer", tokenizer]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
    return output


def need_data(name):
    """Skips a test, with the reason, when a file outside the repository is missing."""
    return unittest.skipUnless((DATA / name).exists(), f"{name} is not in EFFC_TEST_DATA ({DATA})")


def golden():
    """Independent figures: of the data outside the repository, else of the example models."""
    path = DATA / "models/golden.json"
    return json.loads((path if path.exists() else EXAMPLES / "golden.json").read_text())
