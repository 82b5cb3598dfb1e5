"""Prints, for each exporter's file that is named, how often each op stands in its last entry point after raising.

histograms.py ARCHIVE [--FLAG ...] NAME...   NAME is a file of the archive without .onnx"""
import collections
import re
import subprocess
import sys
import tempfile

archive, *rest = sys.argv[1:]
flags = [word for word in rest if word.startswith("--")]
with tempfile.TemporaryDirectory() as folder:
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    for name in (word for word in rest if not word.startswith("--")):
        text = subprocess.run(["effc", "compile", f"{folder}/{name}.onnx", "-q", "--stop-after=eff", *flags],
                              capture_output=True, text=True, check=True).stdout
        entry = text[text.rindex("func.func @"):]
        ops = collections.Counter(re.findall(r"^\s+(?:%[^=]*= )?\"?([a-z_]+\.[a-z_0-9]+)", entry, re.M))
        # Files share weights or not; what is computed with them is the same.
        del ops["eff.use"]
        print(f"{name}:", *(f"{op}={count}" for op, count in sorted(ops.items())))
