"""The domain `ai.effc`, version 1: function bodies in plain ONNX, so that any runtime runs the files.

Arithmetic is float32. Splitting a sequence and carrying the state gives the same result; a step with dt = 0
leaves the state as it is.
"""

from typing import Sequence

import onnx
from onnx import TensorProto, helper

DOMAIN = "ai.effc"
_FLOAT = TensorProto.FLOAT


def _ints(name: str, *values: int) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value_ints=list(values))


def _attribute(name: str, attribute: str, kind: str) -> onnx.NodeProto:
    """A Constant whose value is the function's attribute."""
    node = helper.make_node("Constant", [], [name])
    reference = node.attribute.add()
    reference.name = f"value_{kind}"
    reference.ref_attr_name = attribute
    reference.type = onnx.AttributeProto.FLOAT if kind == "float" else onnx.AttributeProto.INT
    return node


def _function(name: str, inputs: Sequence[str], outputs: Sequence[str], nodes: Sequence[onnx.NodeProto],
              attributes: Sequence[str] = ()) -> onnx.FunctionProto:
    return helper.make_function(DOMAIN, name, list(inputs), list(outputs), list(nodes),
                                [helper.make_opsetid("", 18)], list(attributes))


def _repeat_groups(heads: str) -> list:
    """Bm and Cm [B, L, G, N] to one row for each of `heads` (a shape value): bh and ch [B, L, H, N]."""
    node = helper.make_node
    return [
        _ints("ax3", 3),
        node("Shape", ["dt"], ["d0"], start=0, end=1),
        node("Shape", ["dt"], ["d1"], start=1, end=2),
        node("Shape", ["dt"], [heads], start=2, end=3),
        node("Shape", ["Bm"], ["dG"], start=2, end=3),
        node("Shape", ["Bm"], ["dN"], start=3, end=4),
        node("Div", [heads, "dG"], ["rep"]),
        node("Concat", ["d0", "d1", "dG", "rep", "dN"], ["e5"], axis=0),
        node("Concat", ["d0", "d1", heads, "dN"], ["s4"], axis=0),
        node("Unsqueeze", ["Bm", "ax3"], ["b5"]),
        node("Unsqueeze", ["Cm", "ax3"], ["c5"]),
        node("Expand", ["b5", "e5"], ["b5e"]),
        node("Expand", ["c5", "e5"], ["c5e"]),
        node("Reshape", ["b5e", "s4"], ["bh"]),
        node("Reshape", ["c5e", "s4"], ["ch"]),
    ]


def _scan(body: Sequence[onnx.NodeProto], names: Sequence[str], inputs: Sequence[str]) -> onnx.NodeProto:
    """Scan over time-first inputs with the single state s_in -> s_out and the output y_t."""
    untyped = [helper.make_tensor_value_info(n, _FLOAT, None) for n in names]
    graph = helper.make_graph(list(body), "step", [helper.make_tensor_value_info("s_in", _FLOAT, None), *untyped],
                              [helper.make_tensor_value_info("s_out", _FLOAT, None),
                               helper.make_tensor_value_info("y_t", _FLOAT, None)])
    return helper.make_node("Scan", ["st0", *inputs], ["stN", "yT"], num_scan_inputs=len(inputs), body=graph)


def selective_scan() -> onnx.FunctionProto:
    """SelectiveScan(u [B,L,D], dt [B,L,D], A [D,N], Bm, Cm [B,L,G,N], past [B,D,N]) -> (y [B,L,D], present).

    h_t[d,n] = exp(dt_t[d] A[d,n]) h_{t-1}[d,n] + dt_t[d] u_t[d] Bm_t[g(d),n];  y_t[d] = sum_n h_t[d,n] Cm_t[g(d),n].
    """
    node = helper.make_node
    step = [
        node("Unsqueeze", ["dt_t", "m1"], ["dtc"]),
        node("Mul", ["dtc", "Af"], ["g"]),
        node("Exp", ["g"], ["dA"]),
        node("Mul", ["dt_t", "u_t"], ["w"]),
        node("Unsqueeze", ["w", "m1"], ["wc"]),
        node("Mul", ["wc", "b_t"], ["wb"]),
        node("Mul", ["dA", "s_in"], ["keep"]),
        node("Add", ["keep", "wb"], ["s_out"]),
        node("Mul", ["s_out", "c_t"], ["sc"]),
        node("ReduceSum", ["sc", "m1"], ["y_t"], keepdims=0),
    ]
    return _function("SelectiveScan", ["u", "dt", "A", "Bm", "Cm", "past"], ["y", "present"], [
        _ints("m1", -1),
        *_repeat_groups("dD"),
        *_time_first([("u", "uT", 3), ("dt", "dtT", 3), ("bh", "bT", 4), ("ch", "cT", 4)]),
        node("Cast", ["past"], ["st0"], to=_FLOAT),
        node("Cast", ["A"], ["Af"], to=_FLOAT),
        _scan(step, ["u_t", "dt_t", "b_t", "c_t"], ["uT", "dtT", "bT", "cT"]),
        node("Transpose", ["yT"], ["yB"], perm=[1, 0, 2]),
        node("CastLike", ["yB", "u"], ["y"]),
        node("CastLike", ["stN", "past"], ["present"]),
    ])


def ssd_scan() -> onnx.FunctionProto:
    """SSDScan<chunk_size>(x [B,L,H,P], dt [B,L,H], A [H], Bm, Cm [B,L,G,N], past [B,H,P,N]) -> (y [B,L,H,P], present).

    h_t[h] = exp(dt_t[h] A[h]) h_{t-1}[h] + dt_t[h] x_t[h] ⊗ Bm_t[g(h)];  y_t[h] = h_t[h] Cm_t[g(h)].
    chunk_size is a hint for kernels; the result does not depend on it.
    """
    node = helper.make_node
    step = [
        node("Mul", ["dt_t", "Af"], ["g"]),
        node("Exp", ["g"], ["dA"]),
        node("Unsqueeze", ["dA", "m12"], ["dA4"]),
        node("Unsqueeze", ["dt_t", "m1"], ["dtc"]),
        node("Mul", ["dtc", "x_t"], ["dx"]),
        node("Unsqueeze", ["dx", "m1"], ["dxc"]),
        node("Unsqueeze", ["b_t", "m2"], ["br"]),
        node("Mul", ["dxc", "br"], ["outer"]),
        node("Mul", ["dA4", "s_in"], ["keep"]),
        node("Add", ["keep", "outer"], ["s_out"]),
        node("Unsqueeze", ["c_t", "m1"], ["cc"]),
        node("MatMul", ["s_out", "cc"], ["y4"]),
        node("Squeeze", ["y4", "m1"], ["y_t"]),
    ]
    return _function("SSDScan", ["x", "dt", "A", "Bm", "Cm", "past"], ["y", "present"], [
        _ints("m1", -1), _ints("m2", -2), _ints("m12", -2, -1),
        *_repeat_groups("dH"),
        *_time_first([("x", "xT", 4), ("dt", "dtT", 3), ("bh", "bT", 4), ("ch", "cT", 4)]),
        node("Cast", ["past"], ["st0"], to=_FLOAT),
        node("Cast", ["A"], ["Af"], to=_FLOAT),
        _scan(step, ["x_t", "dt_t", "b_t", "c_t"], ["xT", "dtT", "bT", "cT"]),
        node("Transpose", ["yT"], ["yB"], perm=[1, 0, 2, 3]),
        node("CastLike", ["yB", "x"], ["y"]),
        node("CastLike", ["stN", "past"], ["present"]),
    ], ["chunk_size"])


def _time_first(values: Sequence) -> list:
    """(value, name, rank) with batch and time swapped, in float32."""
    nodes = []
    for value, name, rank in values:
        nodes.append(helper.make_node("Transpose", [value], [name + "0"], perm=[1, 0, *range(2, rank)]))
        nodes.append(helper.make_node("Cast", [name + "0"], [name], to=_FLOAT))
    return nodes


def causal_conv1d(channels: int) -> onnx.FunctionProto:
    """CausalConv1d<activation = "silu">(x [B,C,L], w [C,1,K], b [C], past [B,C,K-1]) -> (y [B,C,L], present).

    The state is the last K-1 columns of the input. `Conv.group` is an integer in the body: one body for each C.
    """
    node = helper.make_node
    return _function("CausalConv1d", ["x", "w", "b", "past"], ["y", "present"], [
        _ints("one", 1), _ints("two", 2),
        node("Concat", ["past", "x"], ["xp"], axis=2),
        node("Shape", ["w"], ["k"], start=2, end=3),
        node("Sub", ["k", "one"], ["km1"]),
        node("Shape", ["xp"], ["end"], start=2, end=3),
        node("Sub", ["end", "km1"], ["begin"]),
        node("Slice", ["xp", "begin", "end", "two"], ["present"]),
        node("Conv", ["xp", "w", "b"], ["c"], group=channels),
        node("Sigmoid", ["c"], ["s"]),
        node("Mul", ["c", "s"], ["y"]),
    ], ["activation"])


def gated_rms_norm() -> onnx.FunctionProto:
    """GatedRMSNorm<epsilon, group_size, norm_before_gate = 0>(x, z, w) -> y.

    h = x silu(z);  y = h / sqrt(mean over each group of (h²) + epsilon) w.
    """
    node = helper.make_node
    return _function("GatedRMSNorm", ["x", "z", "w"], ["y"], [
        _attribute("eps", "epsilon", "float"),
        _attribute("gs", "group_size", "int"),
        _ints("m1", -1), _ints("zero2", 0, 0),
        node("Reshape", ["gs", "m1"], ["gs1"]),
        node("Cast", ["x"], ["xf"], to=_FLOAT),
        node("Cast", ["z"], ["zf"], to=_FLOAT),
        node("Cast", ["w"], ["wf"], to=_FLOAT),
        node("Sigmoid", ["zf"], ["sg"]),
        node("Mul", ["zf", "sg"], ["si"]),
        node("Mul", ["xf", "si"], ["h"]),
        node("Shape", ["x"], ["full"]),
        node("Concat", ["zero2", "m1", "gs1"], ["s4"], axis=0),
        node("Reshape", ["h", "s4"], ["h4"]),
        node("Mul", ["h4", "h4"], ["h2"]),
        node("ReduceMean", ["h2", "m1"], ["ms"], keepdims=1),
        node("Add", ["ms", "eps"], ["me"]),
        node("Sqrt", ["me"], ["rt"]),
        node("Div", ["h4", "rt"], ["hn"]),
        node("Reshape", ["hn", "full"], ["hb"]),
        node("Mul", ["hb", "wf"], ["o"]),
        node("CastLike", ["o", "x"], ["y"]),
    ], ["epsilon", "group_size", "norm_before_gate"])
