"""VMamba for image classification (SS2D: four scans over the image plane). Opset 18 and `ai.effc` functions.

Activations stay channel-last. The projections to dt, B and C work on pixels, so they commute with the order in which a
direction visits them: they are computed once in the order of the image, and Gather brings them into each direction's.
"""

import math
from typing import Dict, List, Sequence

import numpy as np
from onnx import TensorProto

from ..config import Config
from ..functions import DOMAIN, selective_scan
from ..graph import GraphBuilder, scope_of
from ..weights import Init, ONES, ZEROS
from .common import matrix_init

DIRECTIONS = 4
EPSILON = 1e-5  # of every LayerNorm


def layer_count(config: Config) -> int:
    return sum(_sizes(config, "depths"))


def build(b: GraphBuilder, config: Config) -> Dict[str, str]:
    widths, depths = _sizes(config, "dims"), _sizes(config, "depths")
    if len(widths) != len(depths) or len(widths) > 2:
        raise config.mismatch(f"{len(widths)} dims, {len(depths)} depths; one or two stages can be exported")
    patch, channels = config.integer("patch"), config.integer("num_channels", 3)
    image = config.integer("image_size", 32)
    if image % (patch << (len(widths) - 1)):
        raise config.mismatch(f"image_size {image} is no multiple of the patch of the last stage, "
                              f"{patch << (len(widths) - 1)}")
    states, ratio = config.integer("d_state"), config.integer("ssm_ratio")
    classes = config.integer("num_labels")
    init = matrix_init(config)

    pixels = b.input("pixel_values", TensorProto.FLOAT, ["batch", channels, image, image])
    x = _patches(b, pixels, "patch_embed", widths[0], channels, patch, init)
    x = _norm(b, x, "patch_norm", widths[0])
    side = image // patch
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        if stage:
            x = b.node("Transpose", [x], "/down", perm=[0, 3, 1, 2])
            x = _patches(b, x, "down", width, widths[stage - 1], 2, init)
            x = _norm(b, x, "down_norm", width)
            side //= 2
        for i in range(depth):
            block = f"stage{stage}.{i}"
            h = _norm(b, x, f"{block}.norm", width)
            y = _ss2d(b, h, f"{block}.op", width, ratio * width, states, side, init)
            x = b.node("Add", [x, y], scope_of(block))
            h = _norm(b, x, f"{block}.norm2", width)
            h = b.linear(h, f"{block}.fc1", 4 * width, width, init, bias=True)
            h = _gelu(b, h, scope_of(f"{block}.fc1"))
            h = b.linear(h, f"{block}.fc2", width, 4 * width, init, bias=True)
            x = b.node("Add", [x, h], scope_of(block), suffix="_1")
    x = _norm(b, x, "norm", widths[-1])
    x = b.node("ReduceMean", [x, b.ints(1, 2)], "/head", keepdims=0)
    b.linear(x, "head", classes, widths[-1], init, bias=True, output="logits")
    b.logits(["batch", classes])
    b.functions.append(selective_scan())
    return {}


def _ss2d(b: GraphBuilder, h: str, op: str, width: int, inner: int, n: int, side: int, init: Init) -> str:
    scope, rank, pixels = scope_of(op), math.ceil(width / 16), side * side
    orders = scan_orders(side, side)

    u, z = b.split(b.linear(h, f"{op}.in_proj", 2 * inner, width, init), [inner, inner], scope)
    u = b.node("Transpose", [u], scope, perm=[0, 3, 1, 2])
    bound = 1 / 3
    kernel = b.weight_f32(f"{op}.conv2d.weight", (inner, 1, 3, 3), Init("uniform", -bound, bound))
    shift = b.weight_f32(f"{op}.conv2d.bias", (inner,), Init("uniform", -bound, bound))
    u = b.node("Conv", [u, kernel, shift], scope_of(f"{op}.conv2d"), group=inner, kernel_shape=[3, 3],
               pads=[1, 1, 1, 1])
    u = b.silu(u, scope_of(f"{op}.act"))
    u = b.node("Transpose", [u], scope, suffix="_1", perm=[0, 2, 3, 1])
    u = b.node("Reshape", [u, b.ints(0, pixels, inner)], scope)

    parts = _projections(b, u, op, inner, rank, n)
    dts: List[str] = []
    for k in range(DIRECTIONS):
        part = f"{scope}/dt_projs.{k}"
        weight = b.weight_f32(f"{op}.dt_projs_weight", (DIRECTIONS, inner, rank),
                              Init("uniform", -rank ** -0.5, rank ** -0.5))
        bias = b.weight_f32(f"{op}.dt_projs_bias", (DIRECTIONS, inner), Init("softplus_inverse", 0.001, 0.1))
        index = b.constant(k, "int64")
        matrix = b.node("Transpose", [b.node("Gather", [weight, index], part, suffix="_weight", axis=0)], part,
                        perm=[1, 0])
        dt = b.node("MatMul", [parts[3 * k], matrix], part)
        dt = b.node("Add", [dt, b.node("Gather", [bias, index], part, suffix="_bias", axis=0)], part)
        dts.append(b.node("Softplus", [dt], part))
    dt = _cross_scan(b, dts, orders, f"{scope}/dt")
    grouped = b.ints(0, pixels, DIRECTIONS, n)
    bm, cm = (b.node("Reshape", [_cross_scan(b, parts[i::3], orders, f"{scope}/{name}"), grouped], f"{scope}/{name}")
              for i, name in ((1, "B"), (2, "C")))
    us = _cross_scan(b, [u] * DIRECTIONS, orders, f"{scope}/u")

    channels = DIRECTIONS * inner
    a_log = b.weight_f32(f"{op}.A_logs", (channels, n), Init("log_range", n), recurrent=True)
    a = b.node("Neg", [b.node("Exp", [a_log], scope)], scope)
    batch = b.node("Shape", [h], scope, start=0, end=1)
    shape = b.node("Concat", [batch, b.ints(channels, n)], scope, suffix="_shape", axis=0)
    start = b.node("Expand", [b.scalar(0.0), shape], scope)
    y, _ = b.node("SelectiveScan", [us, dt, a, bm, cm, start], scope,
                  outputs=[f"{scope}/SelectiveScan_output_0", f"{scope}/SelectiveScan_output_1"], domain=DOMAIN)
    skip = b.node("Mul", [us, b.weight_f32(f"{op}.Ds", (channels,), ONES, recurrent=True)], scope)
    y = _cross_merge(b, b.node("Add", [y, skip], scope), orders, inner, f"{scope}/merge")
    y = _norm(b, y, f"{op}.out_norm", inner)
    y = b.node("Reshape", [y, b.ints(0, side, side, inner)], scope, suffix="_1")
    y = b.node("Mul", [y, b.silu(z, f"{scope}/gate")], scope, suffix="_1")
    return b.linear(y, f"{op}.out_proj", width, inner, init)


def _projections(b: GraphBuilder, u: str, op: str, inner: int, rank: int, n: int) -> List[str]:
    """dt, B and C of each direction in turn, from one product over pixels."""
    scope, outputs = scope_of(f"{op}.x_proj"), DIRECTIONS * (rank + 2 * n)
    bound = inner ** -0.5
    weight = b.weight_f32(f"{op}.x_proj_weight", (DIRECTIONS, rank + 2 * n, inner), Init("normal", bound))
    rows = b.node("Reshape", [weight, b.ints(outputs, inner)], scope)
    product = b.node("MatMul", [u, b.node("Transpose", [rows], scope, perm=[1, 0])], scope)
    return list(b.split(product, [rank, n, n] * DIRECTIONS, scope))


def scan_orders(height: int, width: int) -> List[np.ndarray]:
    """The pixel that each position of a direction's scan reads: rows, columns, then both backwards."""
    rows = np.arange(height * width, dtype=np.int64)
    columns = rows.reshape(height, width).T.reshape(-1)
    return [rows, columns, rows[::-1].copy(), columns[::-1].copy()]


def _cross_scan(b: GraphBuilder, parts: Sequence[str], orders: Sequence[np.ndarray], scope: str) -> str:
    """[batch, pixels, directions * width]: each direction's part in its own order."""
    moved = [parts[0]]
    for k in range(1, DIRECTIONS):
        moved.append(b.node("Gather", [parts[k], _order(b, orders, k)], scope, suffix=f"_{k}", axis=1))
    return b.node("Concat", moved, scope, axis=2)


def _cross_merge(b: GraphBuilder, ys: str, orders: Sequence[np.ndarray], width: int, scope: str) -> str:
    """[batch, pixels, width]: the sum of the directions, each brought back into the order of the image."""
    parts = b.split(ys, [width] * DIRECTIONS, scope)
    total = parts[0]
    for k in range(1, DIRECTIONS):
        back = b.node("Gather", [parts[k], _order(b, orders, k, inverse=True)], scope, suffix=f"_{k}", axis=1)
        total = b.node("Add", [total, back], scope, suffix=f"_{k}")
    return total


def _order(b: GraphBuilder, orders: Sequence[np.ndarray], k: int, inverse: bool = False) -> str:
    order = np.argsort(orders[k]) if inverse else orders[k]
    return b.table(f"const/order.{len(order)}.{k}{'.inverse' if inverse else ''}", order.astype(np.int64))


def _patches(b: GraphBuilder, x: str, module: str, outputs: int, inputs: int, size: int, init: Init) -> str:
    """A convolution whose patches do not overlap, of [batch, channels, height, width]; channel-last result."""
    scope = scope_of(module)
    kernel = b.weight_f32(f"{module}.weight", (outputs, inputs, size, size), init)
    shift = b.weight_f32(f"{module}.bias", (outputs,), ZEROS)
    y = b.node("Conv", [x, kernel, shift], scope, kernel_shape=[size, size], strides=[size, size])
    return b.node("Transpose", [y], scope, suffix="_1", perm=[0, 2, 3, 1])


def _norm(b: GraphBuilder, x: str, module: str, width: int) -> str:
    scale = b.weight_f32(f"{module}.weight", (width,), ONES)
    shift = b.weight_f32(f"{module}.bias", (width,), ZEROS)
    return b.node("LayerNormalization", [x, scale, shift], scope_of(module), axis=-1, epsilon=EPSILON, stash_type=1)


def _gelu(b: GraphBuilder, x: str, scope: str) -> str:
    """x (1 + erf(x / sqrt(2))) / 2"""
    erf = b.node("Erf", [b.node("Mul", [x, b.scalar(math.sqrt(0.5))], scope)], scope)
    grown = b.node("Mul", [x, b.node("Add", [erf, b.scalar(1.0)], scope, suffix="_gelu")], scope, suffix="_1")
    return b.node("Mul", [grown, b.scalar(0.5)], scope, suffix="_2")


def _sizes(config: Config, key: str) -> List[int]:
    value = config.values.get(key)
    if not isinstance(value, list) or not value:
        raise config.refuse(key, "it must be a list of sizes, one for each stage")
    return [Config({key: v}, config.where).integer(key) for v in value]
