"""Llama and Qwen2: GQA with rotary embedding, SwiGLU. Opset 23 standard operators only.

Every layer is RMSNormalization, four linears, RotaryEmbedding, Attention with past and present, and three linears
with SiLU. Activations stay [batch, seq, width]; Attention and RotaryEmbedding get their head counts as attributes.
"""

import math
from typing import Dict

import numpy as np
from onnx import TensorProto

from ..config import Config
from ..graph import GraphBuilder, scope_of
from ..weights import ONES
from .common import SILU, head, matrix_init, token_ids


def build_llama(b: GraphBuilder, config: Config) -> Dict[str, str]:
    attention_bias = config.flag("attention_bias", False)
    return _build(b, config, qkv_bias=attention_bias, out_bias=attention_bias, mlp_bias=config.flag("mlp_bias", False))


def build_qwen2(b: GraphBuilder, config: Config) -> Dict[str, str]:
    if config.flag("use_sliding_window", False) and (
            config.integer("max_window_layers", 0, minimum=0) < config.integer("num_hidden_layers")):
        raise config.refuse("use_sliding_window", "sliding-window attention is not exported")
    return _build(b, config, qkv_bias=True, out_bias=False, mlp_bias=False)


def _build(b: GraphBuilder, config: Config, qkv_bias: bool, out_bias: bool, mlp_bias: bool) -> Dict[str, str]:
    vocab, hidden = config.integer("vocab_size"), config.integer("hidden_size")
    inner, layers = config.integer("intermediate_size"), config.integer("num_hidden_layers")
    heads = config.integer("num_attention_heads")
    kv_heads = config.integer("num_key_value_heads", heads)
    epsilon = config.number("rms_norm_eps")
    config.activation("hidden_act", "silu", SILU)
    if hidden % heads and config.integer("head_dim", None) is None:
        raise config.mismatch(f"hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    width = config.integer("head_dim", hidden // heads)
    if heads % kv_heads:
        raise config.mismatch(f"num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}")
    if width % 2:
        raise config.mismatch(f"the head size {width} is odd; rotary embedding needs pairs")
    init = matrix_init(config)

    ids = token_ids(b)
    positions = b.input("position_ids", TensorProto.INT64, ["batch", "seq"])
    cos, sin = _rotation(b, positions, inverse_frequencies(config, width))
    x = b.embedding(ids, "model.embed_tokens", vocab, hidden, init)

    def norm(value: str, tensor: str) -> str:
        scale = b.weight_f32(f"{tensor}.weight", (hidden,), ONES)
        return b.node("RMSNormalization", [value, scale], scope_of(tensor), axis=-1, epsilon=epsilon, stash_type=1)

    for i in range(layers):
        layer = f"model.layers.{i}"
        attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
        scope = scope_of(attention)

        h = norm(x, f"{layer}.input_layernorm")
        q = b.linear(h, f"{attention}.q_proj", heads * width, hidden, init, qkv_bias)
        k = b.linear(h, f"{attention}.k_proj", kv_heads * width, hidden, init, qkv_bias)
        v = b.linear(h, f"{attention}.v_proj", kv_heads * width, hidden, init, qkv_bias)
        q = b.node("RotaryEmbedding", [q, cos, sin], scope, num_heads=heads, interleaved=0)
        k = b.node("RotaryEmbedding", [k, cos, sin], scope, suffix="_1", num_heads=kv_heads, interleaved=0)
        past, present = f"past_key_values.{i}", f"present.{i}"
        for part in ("key", "value"):
            b.input(f"{past}.{part}", TensorProto.FLOAT, ["batch", kv_heads, "past", width])
            b.output(f"{present}.{part}", TensorProto.FLOAT, ["batch", kv_heads, "past + seq", width])
        y, _, _ = b.node("Attention", [q, k, v, "", f"{past}.key", f"{past}.value"], scope,
                         outputs=[f"{scope}/Attention_output_0", f"{present}.key", f"{present}.value"],
                         is_causal=1, q_num_heads=heads, kv_num_heads=kv_heads, scale=1.0 / math.sqrt(width))
        y = b.linear(y, f"{attention}.o_proj", hidden, heads * width, init, out_bias)
        x = b.node("Add", [x, y], scope_of(layer))

        h = norm(x, f"{layer}.post_attention_layernorm")
        gate = b.linear(h, f"{mlp}.gate_proj", inner, hidden, init, mlp_bias)
        up = b.linear(h, f"{mlp}.up_proj", inner, hidden, init, mlp_bias)
        h = b.node("Mul", [b.silu(gate, scope_of(mlp) + "/act_fn"), up], scope_of(mlp))
        h = b.linear(h, f"{mlp}.down_proj", hidden, inner, init, mlp_bias)
        x = b.node("Add", [x, h], scope_of(layer), suffix="_1")

    return head(b, config, norm(x, "model.norm"), "model.embed_tokens", tied_by_default=False)


def _rotation(b: GraphBuilder, positions: str, frequencies: np.ndarray):
    """cos and sin [batch, seq, width/2] of position times frequency."""
    scope = "/model/rotary_emb"
    table = b.table("model.rotary_emb.inv_freq", frequencies)
    index = b.node("Cast", [positions], scope, to=TensorProto.FLOAT)
    angle = b.node("Mul", [b.node("Unsqueeze", [index, b.ints(-1)], scope), table], scope)
    return b.node("Cos", [angle], scope), b.node("Sin", [angle], scope)


def inverse_frequencies(config: Config, width: int) -> np.ndarray:
    """The rotation per position of each pair of channels, float32 [width/2], with Hugging Face's scaling rules."""
    rope = config.sub("rope_parameters") or config.sub("rope_scaling") or Config({}, config.where)
    theta = rope.number("rope_theta", config.number("rope_theta", 10000.0))
    if config.number("partial_rotary_factor", 1.0) != 1.0 or rope.number("partial_rotary_factor", 1.0) != 1.0:
        raise config.refuse("partial_rotary_factor", "rotary embedding over a part of the head is not exported")
    frequencies = theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    kind = rope.string("rope_type", rope.string("type", "default"))
    if kind == "linear":
        frequencies /= rope.number("factor")
    elif kind == "llama3":
        frequencies = _llama3(rope, frequencies)
    elif kind != "default":
        raise rope.refuse("rope_type" if "rope_type" in rope.values else "type",
                          "this scaling of the rotary embedding is not exported; default, linear and llama3 are")
    return frequencies.astype(np.float32)


def _llama3(rope: Config, frequencies: np.ndarray) -> np.ndarray:
    """Long waves are slowed by `factor`, short ones kept, those between interpolated by wave length."""
    factor, context = rope.number("factor"), rope.number("original_max_position_embeddings")
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    if not low < high:
        raise rope.mismatch(f"low_freq_factor {low} is not below high_freq_factor {high}")
    turns = context * frequencies / (2 * math.pi)
    keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return frequencies * (keep + (1.0 - keep) / factor)
