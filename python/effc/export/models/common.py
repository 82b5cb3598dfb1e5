"""What the language models share: ids in, embedding, head, recurrent states."""

from dataclasses import dataclass
from typing import Callable, Dict, Sequence, Tuple

import numpy as np
from onnx import TensorProto

from ..config import Config
from ..graph import GraphBuilder, scope_of
from ..weights import Init, ONES

SILU = {"silu": "silu", "swish": "silu"}


@dataclass(frozen=True)
class Family:
    # Builds the graph; returns why tensors with some prefixes may stay unused.
    build: Callable[[GraphBuilder, Config], Dict[str, str]]
    opset: int
    layers: Callable[[Config], int] = lambda config: config.integer("num_hidden_layers")


def matrix_init(config: Config) -> Init:
    return Init("normal", config.number("initializer_range", 0.02))


def token_ids(b: GraphBuilder) -> str:
    return b.input("input_ids", TensorProto.INT64, ["batch", "seq"])


def head(b: GraphBuilder, config: Config, x: str, embedding: str, tied_by_default: bool) -> Dict[str, str]:
    """Logits from the last hidden state, by `lm_head` or by the embedding's own initializer."""
    vocab, hidden = config.integer("vocab_size"), config.integer("hidden_size")
    tied = config.flag("tie_word_embeddings", None)
    if tied is None:
        tied = tied_by_default if b.source.random else not b.source.has("lm_head.weight")
    b.linear(x, embedding if tied else "lm_head", vocab, hidden, matrix_init(config), output="logits",
             scope="/lm_head")
    b.logits(["batch", "seq", vocab])
    return {"lm_head.weight": "the head is tied to the embedding"} if tied else {}


def state(b: GraphBuilder, layer: int, kind: str, shape: Sequence[int]) -> Tuple[str, str]:
    """Declares one recurrent state; returns its names at the entry and at the exit of the graph."""
    past, present = f"past_states.{layer}.{kind}", f"present_states.{layer}.{kind}"
    b.input(past, TensorProto.FLOAT, ["batch", *shape])
    b.output(present, TensorProto.FLOAT, ["batch", *shape])
    return past, present


def rms_norm(b: GraphBuilder, x: str, tensor: str, width: int, epsilon: float) -> str:
    """RMSNorm written out in opset 18: x / sqrt(mean(x²) + epsilon) w."""
    scope = scope_of(tensor)
    square = b.node("Pow", [x, b.scalar(2.0)], scope)
    mean = b.node("ReduceMean", [square, b.ints(-1)], scope, keepdims=1)
    root = b.node("Sqrt", [b.node("Add", [mean, b.scalar(epsilon)], scope)], scope)
    normal = b.node("Mul", [x, b.node("Reciprocal", [root], scope)], scope)
    return b.node("Mul", [normal, b.weight_f32(f"{tensor}.weight", (width,), ONES)], scope, suffix="_1")


def negative_decay(b: GraphBuilder, tensor: str, shape: Sequence[int]) -> str:
    """A = -exp(A_log)."""
    a_log = b.weight_f32(f"{tensor}.A_log", shape, Init("log_range", shape[-1]), recurrent=True)
    scope = scope_of(f"{tensor}.A_log")
    return b.node("Neg", [b.node("Exp", [a_log], scope)], scope)


def causal_conv(b: GraphBuilder, x: str, tensor: str, layer: int, channels: int, kernel: int, bias: bool) -> str:
    """silu(conv1d(x)) over time for x [batch, seq, channels], with the last kernel - 1 inputs as state."""
    scope = scope_of(tensor)
    past, present = state(b, layer, "conv_state", [channels, kernel - 1])
    bound = kernel ** -0.5
    init = Init("uniform", -bound, bound)
    weight = b.weight_f32(f"{tensor}.weight", (channels, 1, kernel), init)
    addend = (b.weight_f32(f"{tensor}.bias", (channels,), init) if bias
              else b.table("const/conv_bias", np.zeros(channels, np.float32)))
    rows = b.node("Transpose", [x], scope, perm=[0, 2, 1])
    y, _ = b.node("CausalConv1d", [rows, weight, addend, past], scope,
                  outputs=[f"{scope}/CausalConv1d_output_0", present], domain="ai.effc", activation="silu")
    return b.node("Transpose", [y], scope, suffix="_1", perm=[0, 2, 1])
