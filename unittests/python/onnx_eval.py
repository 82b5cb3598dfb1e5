"""A small ONNX evaluator in numpy: the operators that exported models use, by their definition and nothing else.

Model-local functions and Scan are executed from their bodies, so a model that evaluates right here carries all
that a foreign runtime needs.
"""

import math
import os

import numpy as np
import onnx
from onnx import TensorProto, helper

from checkpoints import widen

_erf = np.vectorize(math.erf, otypes=[np.float64])


def load(path) -> "Evaluator":
    return Evaluator(onnx.load(str(path), load_external_data=False), os.path.dirname(str(path)))


def tensor_bytes(tensor: onnx.TensorProto, directory: str) -> bytes:
    if tensor.data_location != TensorProto.EXTERNAL:
        return tensor.raw_data
    entry = {e.key: e.value for e in tensor.external_data}
    with open(os.path.join(directory, entry["location"]), "rb") as file:
        file.seek(int(entry["offset"]))
        return file.read(int(entry["length"]))


def tensor_array(tensor: onnx.TensorProto, directory: str) -> np.ndarray:
    """bfloat16 becomes a uint16 array of bits: only Gather, Transpose and Cast may touch it."""
    types = {TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64, TensorProto.FLOAT16: np.float16,
             TensorProto.BFLOAT16: np.uint16}
    return np.frombuffer(tensor_bytes(tensor, directory), types[tensor.data_type]).reshape(tuple(tensor.dims))


class Evaluator:
    def __init__(self, model: onnx.ModelProto, directory: str):
        self.model = model
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.initializers = {t.name: tensor_array(t, directory) for t in model.graph.initializer}
        self.opset = {o.domain: o.version for o in model.opset_import}[""]

    def run(self, **feeds) -> dict:
        names = {v.name for v in self.model.graph.input}
        assert names == set(feeds), names ^ set(feeds)
        values = {"": None, **self.initializers, **feeds}
        self._nodes(self.model.graph.node, values, {})
        return {v.name: values[v.name] for v in self.model.graph.output}

    def _nodes(self, nodes, values: dict, attributes: dict) -> None:
        for node in nodes:
            inputs = [values[n] for n in node.input]
            given = {}
            for a in node.attribute:
                if a.ref_attr_name:
                    if a.ref_attr_name in attributes:
                        given[a.name] = attributes[a.ref_attr_name]
                elif a.type == onnx.AttributeProto.GRAPH:
                    given[a.name] = a.g
                else:
                    given[a.name] = helper.get_attribute_value(a)
            function = self.functions.get((node.domain, node.op_type))
            if function is not None:
                assert set(given) <= set(function.attribute), (node.name, given)
                inner = {"": None, **dict(zip(function.input, inputs))}
                self._nodes(function.node, inner, given)
                outputs = [inner[n] for n in function.output]
            elif node.op_type == "Scan":
                outputs = self._scan(inputs, given, values)
            else:
                assert node.domain == "", node.op_type
                result = OPERATORS[node.op_type](*inputs, **given)
                outputs = list(result) if isinstance(result, tuple) else [result]
            for name, value in zip(node.output, outputs):
                assert name not in values, f"{name} is defined twice"
                values[name] = value

    def _scan(self, inputs, given, outer) -> list:
        body, count = given["body"], given["num_scan_inputs"]
        states, sequences = inputs[:-count], inputs[-count:]
        names = [v.name for v in body.input]
        results = []
        for t in range(len(sequences[0])):
            values = {**outer, **dict(zip(names, [*states, *(s[t] for s in sequences)]))}
            self._nodes(body.node, values, {})
            outputs = [values[v.name] for v in body.output]
            states = outputs[:len(states)]
            results.append(outputs[len(states):])
        return [*states, *(np.stack(column) for column in zip(*results))]


def _cast(x, to):
    if x.dtype == np.uint16:
        x = widen(x)
    return x.astype({TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64}[to])


def _conv(x, w, b=None, group=1, kernel_shape=None, strides=None, pads=None):
    spatial = x.ndim - 2
    if pads:
        x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:spatial], pads[spatial:])])
    strides = strides or [1] * spatial
    assert kernel_shape is None or list(kernel_shape) == list(w.shape[2:])
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=tuple(range(2, x.ndim)))
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
    out = []
    per_in, per_out = x.shape[1] // group, w.shape[0] // group
    axes = list(range(2 + spatial, 2 + 2 * spatial))
    for g in range(group):
        part = np.tensordot(windows[:, g * per_in:(g + 1) * per_in], w[g * per_out:(g + 1) * per_out],
                            axes=([1, *axes], [1, *range(2, 2 + spatial)]))
        out.append(np.moveaxis(part, -1, 1))
    y = np.concatenate(out, 1)
    return y if b is None else y + b.reshape(1, -1, *[1] * spatial)


def _heads(x, count):
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(0, 2, 1, 3)


def _attention(q, k, v, mask=None, past_key=None, past_value=None, is_causal=0, q_num_heads=None, kv_num_heads=None,
               scale=None):
    assert mask is None
    q, k, v = _heads(q, q_num_heads), _heads(k, kv_num_heads), _heads(v, kv_num_heads)
    if past_key is not None:
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    present = (k, v)
    k, v = (np.repeat(x, q_num_heads // kv_num_heads, axis=1) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) * np.float32(scale)
    if is_causal:
        visible = np.tril(np.ones(scores.shape[-2:], bool), scores.shape[-1] - scores.shape[-2])
        scores = np.where(visible, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = (weights / weights.sum(-1, keepdims=True)) @ v
    y = y.transpose(0, 2, 1, 3).reshape(q.shape[0], q.shape[2], -1).astype(np.float32)
    return (y, *present) if past_key is not None else y


def _rotary(x, cos, sin, interleaved=0, num_heads=0):
    assert not interleaved
    h = x.reshape(x.shape[0], x.shape[1], num_heads, -1)
    a, b = np.split(h, 2, -1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1).reshape(x.shape)


def _rms_norm(x, scale, axis=-1, epsilon=1e-5, stash_type=1):
    return x / np.sqrt((x * x).mean(axis, keepdims=True) + np.float32(epsilon)) * scale


def _layer_norm(x, scale, shift, axis=-1, epsilon=1e-5, stash_type=1):
    centred = x - x.mean(axis, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis, keepdims=True) + np.float32(epsilon)) * scale + shift


def _gelu(x, approximate="none"):
    if approximate == b"tanh":
        return 0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x ** 3)))
    assert approximate == b"none"
    return (x * 0.5 * (1 + _erf(x / math.sqrt(2)))).astype(np.float32)


def _constant(**given):
    (name, value), = given.items()
    return np.asarray(value, {"value_ints": np.int64, "value_int": np.int64, "value_float": np.float32}[name])


def _reshape(x, shape):
    return x.reshape([x.shape[i] if s == 0 else s for i, s in enumerate(shape.tolist())])


def _slice(x, begin, end, axes):
    window = [slice(None)] * x.ndim
    for b, e, a in zip(begin.tolist(), end.tolist(), axes.tolist()):
        window[a] = slice(b, e)
    return x[tuple(window)]


def _unsqueeze(x, axes):
    return np.expand_dims(x, tuple(axes.tolist()))


OPERATORS = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a // b if a.dtype == np.int64 else a / b,
    "Pow": lambda a, b: a ** b, "Neg": lambda a: -a, "Exp": np.exp, "Erf": lambda a: _erf(a).astype(np.float32),
    "Sqrt": np.sqrt, "Cos": np.cos, "Sin": np.sin,
    "Reciprocal": lambda a: 1 / a, "Sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "Softplus": lambda a: np.logaddexp(a, np.float32(0)), "Clip": lambda x, low, high: np.clip(x, low, high),
    "MatMul": lambda a, b: a @ b, "Transpose": lambda a, perm: a.transpose(perm),
    "Concat": lambda *parts, axis: np.concatenate(parts, axis), "Expand": lambda x, shape: np.broadcast_to(x, shape),
    "Gather": lambda x, index, axis=0: np.take(x, index, axis), "Reshape": _reshape, "Slice": _slice,
    "Split": lambda x, sizes, axis=0: tuple(np.split(x, np.cumsum(sizes)[:-1], axis)),
    "Shape": lambda x, start=0, end=None: np.asarray(x.shape[start:end], np.int64),
    "Unsqueeze": _unsqueeze, "Squeeze": lambda x, axes: np.squeeze(x, tuple(axes.tolist())),
    "ReduceMean": lambda x, axes, keepdims=1: x.mean(tuple(axes.tolist()), keepdims=bool(keepdims)),
    "ReduceSum": lambda x, axes, keepdims=1: x.sum(tuple(axes.tolist()), keepdims=bool(keepdims)),
    "Cast": _cast, "CastLike": lambda x, like: x.astype(like.dtype), "Constant": _constant, "Conv": _conv,
    "Attention": _attention, "RotaryEmbedding": _rotary, "RMSNormalization": _rms_norm,
    "LayerNormalization": _layer_norm, "Gelu": _gelu,
}
