"""Writes models of many layers whose scans are spelled out, to time importing and raising.

    python3 long_scans.py unrolled OUTPUT.onnx --layers 64 --tokens 1730    # about a million nodes
    python3 long_scans.py chunks OUTPUT.onnx --layers 64

Needs numpy and onnx. Weights are random, tiny by default; the nodes are those of Hugging Face's Mamba (unrolled loop) and
Mamba-2 (products of chunks) as torch.onnx writes them."""
import argparse

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    def __init__(self, seed=0):
        self.nodes, self.constants, self.random, self.next = [], [], np.random.default_rng(seed), 0

    def name(self, hint):
        self.next += 1
        return f"{hint}_{self.next}"

    def constant(self, value, hint="c"):
        name = self.name(hint)
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64), "shape")

    def weight(self, *shape, scale=None):
        scale = scale or shape[0] ** -0.5
        return self.constant((self.random.standard_normal(shape) * scale).astype(np.float32), "w")

    def node(self, kind, *inputs, outputs=1, **attributes):
        names = [self.name(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"node_{names[0]}", **attributes))
        return names[0] if outputs == 1 else names

    def norm(self, x, width):
        mean = self.node("ReduceMean", self.node("Pow", x, self.two), self.last, keepdims=1)
        root = self.node("Reciprocal", self.node("Sqrt", self.node("Add", mean, self.eps)))
        return self.node("Mul", self.constant(np.ones(width, np.float32), "w"), self.node("Mul", x, root))

    def start(self):
        f = lambda v: self.constant(np.array(v, np.float32))
        self.two, self.eps, self.zero, self.minus_inf = f(2), f(1e-5), f(0), f(-np.inf)
        self.last = self.ints(-1)

    def save(self, path, inputs, outputs, opset=18):
        graph = helper.make_graph(self.nodes, "main_graph", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="long_scans")
        model.ir_version = 9
        onnx.save(model, path)
        print(f"{path}: {len(self.nodes)} nodes")


def silu(g, x):
    return g.node("Mul", x, g.node("Sigmoid", x))


def unrolled(args):
    """Mamba, its loop over the tokens written out: nine nodes for each token and layer."""
    g, length, width, n = Graph(), args.tokens, args.width, args.state
    inner, rank = 2 * width, max(width // 16, 1)
    g.start()
    vocab = 128
    table = g.weight(vocab, width, scale=1)
    x = g.node("Gather", table, "input_ids", axis=0)
    steps = [g.constant(np.array(t, np.int64)) for t in range(length)]
    state = g.constant(np.zeros((1, inner, n), np.float32))
    first, two, three, one, end = g.ints(0), g.ints(2), g.ints(3), g.ints(1), g.ints(length)
    for _ in range(args.layers):
        residual = x
        wide = g.node("Transpose", g.node("MatMul", g.norm(x, width), g.weight(width, 2 * inner)), perm=[0, 2, 1])
        u, z = g.node("Split", wide, outputs=2, axis=1, num_outputs=2)
        conv = g.node("Conv", u, g.weight(inner, 1, 4, scale=0.5), g.weight(inner, scale=0.1), group=inner, pads=[3, 3])
        u = silu(g, g.node("Slice", conv, first, end, two, one))
        projected = g.node("MatMul", g.node("Transpose", u, perm=[0, 2, 1]), g.weight(inner, rank + 2 * n))
        dt, b, c = g.node("Split", projected, g.ints(rank, n, n), outputs=3, axis=2)
        dt = g.node("Softplus", g.node("Add", g.node("MatMul", dt, g.weight(rank, inner)), g.weight(inner, scale=1)))
        dt = g.node("Unsqueeze", g.node("Transpose", dt, perm=[0, 2, 1]), three)
        a = -np.tile(np.arange(1, n + 1, dtype=np.float32), (1, inner, 1, 1)) * (1 + 0.01 * g.random.random())
        decay = g.node("Exp", g.node("Mul", g.constant(a.astype(np.float32), "a"), dt))
        into = g.node("Mul", g.node("Mul", dt, g.node("Unsqueeze", b, one)), g.node("Unsqueeze", u, three))
        h, ys = state, []
        for t in range(length):
            h = g.node("Add", g.node("Mul", g.node("Gather", decay, steps[t], axis=2), h),
                       g.node("Gather", into, steps[t], axis=2))
            column = g.node("Unsqueeze", g.node("Gather", c, steps[t], axis=1), g.last)
            ys.append(g.node("Unsqueeze", g.node("Gather", g.node("MatMul", h, column), steps[0], axis=2), g.last))
        y = g.node("Add", g.node("Concat", *ys, axis=2), g.node("Mul", u, g.weight(1, inner, 1)))
        y = g.node("Transpose", g.node("Mul", y, silu(g, z)), perm=[0, 2, 1])
        x = g.node("Add", residual, g.node("MatMul", y, g.weight(inner, width)))
    logits = g.node("MatMul", g.norm(x, width), g.weight(width, vocab))
    g.nodes[-1].output[0] = "logits"
    g.save(args.output, [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, length])],
           [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, length, vocab])])


def chunks(args):
    """Mamba-2 in chunks of 16 tokens, with a length that is a multiple of it."""
    g, length, width, n = Graph(), args.tokens // 16 * 16, args.width, args.state
    heads, p, q = 8, 2 * width // 8, 16
    inner, count = heads * p, length // q
    g.start()
    vocab = 128
    x = g.node("Gather", g.weight(vocab, width, scale=1), "input_ids", axis=0)
    shape5, shape_bc = g.ints(1, count, q, heads, p), g.ints(1, count, q, heads, n)
    lower = lambda size, k: g.constant(~np.tril(np.ones((size, size), bool), k))
    unsqueeze = lambda v, *axes: g.node("Unsqueeze", v, g.ints(*axes))
    total = lambda v, axis: g.node("ReduceSum", v, g.ints(axis), keepdims=0)

    def segments(v, size, shape):
        """exp of the sums of v between two places."""
        v = g.node("Expand", unsqueeze(v, len(shape) - 1), g.ints(*shape))
        v = g.node("CumSum", g.node("Where", lower(size, -1), g.zero, v), minus_two)
        return g.node("Exp", g.node("Where", lower(size, 0), g.minus_inf, v))

    minus_one, minus_two = g.constant(np.array(-1, np.int64)), g.constant(np.array(-2, np.int64))
    first, end, big, one, two, three = g.ints(0), g.ints(length), g.ints(2**62), g.ints(1), g.ints(2), g.ints(3)
    for _ in range(args.layers):
        residual = x
        parts = g.node("MatMul", g.norm(x, width), g.weight(width, 2 * inner + 2 * n + heads))
        z, xbc, dt = g.node("Split", parts, g.ints(inner, inner + 2 * n, heads), outputs=3, axis=2)
        conv = g.node("Conv", g.node("Transpose", xbc, perm=[0, 2, 1]), g.weight(inner + 2 * n, 1, 4, scale=0.5),
                      group=inner + 2 * n, pads=[3, 3])
        xbc = silu(g, g.node("Transpose", g.node("Slice", conv, first, end, two, one), perm=[0, 2, 1]))
        u, b, c = g.node("Split", xbc, g.ints(inner, n, n), outputs=3, axis=2)
        dt = g.node("Softplus", g.node("Add", dt, g.weight(heads, scale=1)))
        u = g.node("Reshape", u, g.ints(1, length, heads, p))
        repeat = lambda v: g.node("Reshape", g.node("Expand", unsqueeze(v, 2), g.ints(1, length, heads, n)), shape_bc)
        skip = g.node("Mul", g.weight(heads, 1), u)
        a = g.node("Mul", g.constant(-np.arange(1, heads + 1, dtype=np.float32) * (1 + 0.01 * g.random.random()), "a"), dt)
        xs = g.node("Reshape", g.node("Mul", u, unsqueeze(dt, 3)), shape5)
        bs, cs = repeat(b), repeat(c)
        a = g.node("Transpose", g.node("Reshape", a, g.ints(1, count, q, heads)), perm=[0, 3, 1, 2])
        sums = g.node("CumSum", a, minus_one)
        within = g.node("Transpose", segments(a, q, (1, heads, count, q, q)), perm=[0, 2, 3, 4, 1])
        pairs = total(g.node("Mul", unsqueeze(cs, 3), unsqueeze(bs, 2)), -1)
        weights = total(g.node("Mul", unsqueeze(pairs, 5), unsqueeze(within, 5)), -1)
        near = total(g.node("Mul", unsqueeze(weights, 5), unsqueeze(xs, 2)), 3)
        last = g.node("Slice", sums, g.last, big, three, one)
        left = unsqueeze(g.node("Transpose", g.node("Exp", g.node("Sub", last, sums)), perm=[0, 2, 3, 1]), 4)
        states = total(g.node("Mul", unsqueeze(g.node("Mul", bs, left), 4), unsqueeze(xs, 5)), 2)
        states = g.node("Concat", g.constant(np.zeros((1, 1, heads, p, n), np.float32)), states, axis=1)
        ends = g.node("Pad", g.node("Gather", sums, minus_one, axis=3), g.ints(0, 0, 1, 0, 0, 0))
        between = segments(ends, count + 1, (1, heads, count + 1, count + 1))
        between = unsqueeze(g.node("Transpose", between, perm=[0, 3, 2, 1]), 4, 5)
        states = total(g.node("Mul", between, unsqueeze(states, 2)), 1)
        states = g.node("Slice", states, first, g.last, one, one)
        far = total(g.node("Mul", unsqueeze(cs, 4), unsqueeze(states, 2)), -1)
        far = g.node("Mul", far, unsqueeze(g.node("Transpose", g.node("Exp", sums), perm=[0, 2, 3, 1]), 4))
        y = g.node("Reshape", g.node("Add", near, far), g.ints(1, length, heads, p))
        y = g.node("Mul", g.node("Reshape", g.node("Add", y, skip), g.ints(1, length, inner)), silu(g, z))
        x = g.node("Add", residual, g.node("MatMul", g.norm(y, inner), g.weight(inner, width)))
    g.node("MatMul", g.norm(x, width), g.weight(width, vocab))
    g.nodes[-1].output[0] = "logits"
    g.save(args.output, [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, length])],
           [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, length, vocab])])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=("unrolled", "chunks"))
    parser.add_argument("output")
    parser.add_argument("--layers", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--state", type=int, default=4)
    arguments = parser.parse_args()
    {"unrolled": unrolled, "chunks": chunks}[arguments.form](arguments)
