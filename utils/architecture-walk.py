#!/usr/bin/env python3
"""Writes the IR in docs/architecture.md: one linear layer on its way from ONNX to machine code, as effc prints it.
With --check says whether the page is up to date. Needs build/bin/effc and Debian's python3-onnx."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/architecture.md"
EFFC = pathlib.Path(os.environ.get("EFFC_BUILD", ROOT / "build")) / "bin/effc"


def layer(path):
    """y = x + silu(x W^T + b): a linear with a bias, an activation and a residual."""
    k = 32
    weight = (np.arange(k * k, dtype=np.float32).reshape(k, k) % 7 - 3) / 8
    nodes = [helper.make_node("Transpose", ["proj.weight"], ["wt"], name="/proj/Transpose", perm=[1, 0]),
             helper.make_node("MatMul", ["x", "wt"], ["xw"], name="/proj/MatMul"),
             helper.make_node("Add", ["xw", "proj.bias"], ["h"], name="/proj/Add"),
             helper.make_node("Sigmoid", ["h"], ["s"], name="/act/Sigmoid"),
             helper.make_node("Mul", ["h", "s"], ["a"], name="/act/Mul"),
             helper.make_node("Add", ["x", "a"], ["y"], name="/residual/Add")]
    shape = ["batch", 4, k]
    graph = helper.make_graph(
        nodes, "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("proj.weight", TensorProto.FLOAT, [k, k], weight.flatten()),
         helper.make_tensor("proj.bias", TensorProto.FLOAT, [k], np.linspace(-1, 1, k, dtype=np.float32))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())


def print_stage(path, stage, *flags):
    run = subprocess.run([EFFC, "compile", path, f"--stop-after={stage}", "-q", *flags], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    return run.stdout


def tidy(text):
    """Long constants and attributes that say nothing here are cut."""
    text = re.sub(r"dense<\[[^>]{80,}\]>", "dense<[...]>", text)
    text = re.sub(r"dense<\"0x[0-9A-F]+\">", 'dense<"0x...">', text)
    text = re.sub(r" attributes \{eff\.(config|metadata)[^\n]*\} \{", " {", text)
    text = re.sub(r"module attributes \{[^\n]*\} \{", "module {", text)
    return text.rstrip() + "\n"


def loop_of(llvm):
    """The first vector products of the kernel and what surrounds them: enough to see that all constants are folded."""
    lines = llvm.splitlines()
    start = next(i for i, line in enumerate(lines) if "fmul contract <16 x float>" in line)
    return "\n".join(lines[max(0, start - 10):start + 8]) + "\n"


def sections():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "layer.onnx"
        layer(path)
        dumps = pathlib.Path(folder) / "dumps"
        subprocess.run([EFFC, "compile", path, "-o", pathlib.Path(folder) / "layer.eff", "-q", "--target=x86-64-v3",
                        f"--dump-dir={dumps}"], check=True, capture_output=True)
        return {"onnx": tidy(print_stage(path, "onnx")),
                "simplified": tidy((dumps / "onnx.forward_b1.mlir").read_text()),
                "eff": tidy((dumps / "eff.mlir").read_text()),
                "compressed": tidy((dumps / "eff-compressed.mlir").read_text()),
                "plan": tidy((dumps / "plan.mlir").read_text()),
                "llvm": loop_of(print_stage(path, "llvm", "--target=x86-64-v3"))}


def filled(page, parts):
    for name, text in parts.items():
        language = "llvm" if name == "llvm" else "mlir"
        page, count = re.subn(rf"(<!-- {name} -->\n)```.*?```\n", lambda m: f"{m.group(1)}```{language}\n{text}```\n",
                              page, flags=re.S)
        if count != 1:
            raise SystemExit(f"docs/architecture.md has no place for '{name}'")
    return page


def main():
    page = PAGE.read_text()
    wanted = filled(page, sections())
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted)
        return 0
    if page != wanted:
        print("docs/architecture.md is out of date: run utils/architecture-walk.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
