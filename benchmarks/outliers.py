#!/usr/bin/env python3
"""Writes a copy of a Mamba or Mamba-2 model (as python -m effc.export writes them) whose activations have outliers and
whose function is the same: some channels are multiplied and what reads them is divided, by a power of two.

    benchmarks/outliers.py model.onnx out.onnx [--gain 32]

Mamba: two channels of the gated output, and three of the scan's input (the scan is linear in it), are multiplied; the
columns of out_proj and x_proj are divided. Mamba-2: three channels of some heads are multiplied in front of the scan and
divided behind it."""
import argparse
import pathlib
import shutil

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Rewriter:
    def __init__(self, model):
        self.graph = model.graph
        self.count = 0
        self.producer = {name: node for node in self.graph.node for name in node.output}

    def scale(self, value, vector, readers):
        """Makes `readers` read value * vector."""
        self.count += 1
        name = f"outliers/{self.count}"
        self.graph.initializer.append(numpy_helper.from_array(vector, name + "/gain"))
        index = list(self.graph.node).index(self.producer[value]) + 1
        node = helper.make_node("Mul", [value, name + "/gain"], [name])
        self.graph.node.insert(index, node)
        for reader in readers:
            for i, used in enumerate(reader.input):
                if used == value:
                    reader.input[i] = name

    def readers(self, value):
        return [node for node in self.graph.node if value in node.input]

    def divide_columns(self, matmul, gains):
        """Divides the columns that a linear reads: its weight is the transpose of [outputs, inputs]."""
        transpose = self.producer[matmul.input[1]]
        self.scale(transpose.input[0], (1 / gains).astype(np.float32), [transpose])


def gains(width, channels, gain):
    vector = np.ones(width, np.float32)
    vector[[c for c in channels if c < width]] = gain
    return vector


def rewrite(model, gain):
    rewriter = Rewriter(model)
    shapes = {i.name: list(i.dims) for i in model.graph.initializer}
    for scan in [n for n in model.graph.node if n.domain == "ai.effc" and "Scan" in n.op_type]:
        x, y = scan.input[0], scan.output[0]
        prefix = y[:y.index("/mixer/") + len("/mixer/")]
        out_proj = next(n for n in model.graph.node if n.op_type == "MatMul" and n.output[0].startswith(prefix + "out_proj"))
        width = shapes[prefix[1:].replace("/", ".") + "out_proj.weight"][1]
        if "x_proj" in " ".join(o for n in rewriter.readers(x) for o in n.output):
            inner = gains(width, [3, 97, 401], gain)
            x_proj = next(n for n in rewriter.readers(x) if n.op_type == "MatMul")
            rewriter.scale(x, inner, rewriter.readers(x))
            rewriter.divide_columns(x_proj, inner)
            outer = gains(width, [11, 300], gain)
            rewriter.scale(out_proj.input[0], outer, [out_proj])
            rewriter.divide_columns(out_proj, outer * inner)
        else:
            split = rewriter.producer[x].input[0] if rewriter.producer[x].op_type == "Reshape" else x
            inner = gains(width, [h * 64 + c for h in range(0, width // 64, 3) for c in (5, 20, 41)], gain)
            rewriter.scale(split, inner, rewriter.readers(split))
            norm = next(n for n in model.graph.node if n.op_type == "GatedRMSNorm" and n.output[0].startswith(prefix))
            rewriter.scale(norm.input[0], (1 / inner).astype(np.float32), [norm])
    if not rewriter.count:
        raise SystemExit("the model has no scan of the domain ai.effc")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--gain", type=float, default=32)
    options = parser.parse_args()
    model = onnx.load(options.source, load_external_data=False)
    rewrite(model, options.gain)
    # The data file keeps its name beside the new model; so does the tokenizer.
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".onnx.data", ".tokenizer.json"):
        beside = options.source.with_name(options.source.stem + suffix)
        if beside.exists():
            shutil.copy(beside, options.output.with_name(beside.name))
    onnx.save(model, options.output)


if __name__ == "__main__":
    main()
