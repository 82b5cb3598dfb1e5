"""Vision transformer for image classification. Opset 23 standard operators only."""

import math
from typing import Dict, Tuple

from onnx import TensorProto

from ..config import Config
from ..graph import GraphBuilder, scope_of
from ..weights import ONES, ZEROS
from .common import matrix_init

GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}

# Module names under one layer, as transformers 5 saves them and as earlier releases did.
_NAMES = {
    "vit.layers": {"q": "attention.q_proj", "k": "attention.k_proj", "v": "attention.v_proj", "o": "attention.o_proj",
                   "up": "mlp.fc1", "down": "mlp.fc2"},
    "vit.encoder.layer": {"q": "attention.attention.query", "k": "attention.attention.key",
                          "v": "attention.attention.value", "o": "attention.output.dense",
                          "up": "intermediate.dense", "down": "output.dense"},
}


def build(b: GraphBuilder, config: Config) -> Dict[str, str]:
    hidden, layers = config.integer("hidden_size"), config.integer("num_hidden_layers")
    heads, inner = config.integer("num_attention_heads"), config.integer("intermediate_size")
    channels = config.integer("num_channels", 3)
    (height, width), (patch_h, patch_w) = _pair(config, "image_size"), _pair(config, "patch_size")
    if height % patch_h or width % patch_w:
        raise config.mismatch(f"image_size {height} x {width} is no multiple of patch_size {patch_h} x {patch_w}")
    if hidden % heads:
        raise config.mismatch(f"hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    epsilon = config.number("layer_norm_eps", 1e-12)
    qkv_bias = config.flag("qkv_bias", True)
    gelu = config.activation("hidden_act", "gelu", GELU)
    classes = config.integer("num_labels", len(config.values.get("id2label") or {}) or 2)
    init = matrix_init(config)
    tokens = (height // patch_h) * (width // patch_w) + 1

    pixels = b.input("pixel_values", TensorProto.FLOAT, ["batch", channels, height, width])
    x = _embed(b, pixels, channels, (patch_h, patch_w), tokens, hidden, init)

    stem = next((s for s in _NAMES if b.source.has(f"{s}.0.layernorm_before.weight")), "vit.layers")
    names = _NAMES[stem]

    def norm(value: str, tensor: str) -> str:
        scale = b.weight_f32(f"{tensor}.weight", (hidden,), ONES)
        shift = b.weight_f32(f"{tensor}.bias", (hidden,), ZEROS)
        return b.node("LayerNormalization", [value, scale, shift], scope_of(tensor), axis=-1, epsilon=epsilon,
                      stash_type=1)

    for i in range(layers):
        layer = f"{stem}.{i}"
        scope = scope_of(f"{layer}.attention")
        h = norm(x, f"{layer}.layernorm_before")
        q, k, v = (b.linear(h, f"{layer}.{names[part]}", hidden, hidden, init, qkv_bias) for part in "qkv")
        y = b.node("Attention", [q, k, v], scope, is_causal=0, q_num_heads=heads, kv_num_heads=heads,
                   scale=1.0 / math.sqrt(hidden // heads))
        y = b.linear(y, f"{layer}.{names['o']}", hidden, hidden, init, bias=True)
        x = b.node("Add", [x, y], scope_of(layer))
        h = norm(x, f"{layer}.layernorm_after")
        h = b.linear(h, f"{layer}.{names['up']}", inner, hidden, init, bias=True)
        h = b.node("Gelu", [h], scope_of(layer), approximate=gelu)
        h = b.linear(h, f"{layer}.{names['down']}", hidden, inner, init, bias=True)
        x = b.node("Add", [x, h], scope_of(layer), suffix="_1")

    x = norm(x, "vit.layernorm")
    x = b.node("Gather", [x, b.constant(0, "int64")], "/classifier", axis=1)
    b.linear(x, "classifier", classes, hidden, init, bias=True, output="logits")
    b.logits(["batch", classes])
    return {"vit.pooler.": "classification takes the class token, not the pooler"}


def _embed(b: GraphBuilder, pixels: str, channels: int, patch: Tuple[int, int], tokens: int, hidden: int, init) -> str:
    """The class token, then one token for each patch in row order, plus position embeddings."""
    module = "vit.embeddings"
    scope, projection = scope_of(module), f"{module}.patch_embeddings.projection"
    kernel = b.weight_f32(f"{projection}.weight", (hidden, channels, *patch), init)
    shift = b.weight_f32(f"{projection}.bias", (hidden,), ZEROS)
    x = b.node("Conv", [pixels, kernel, shift], scope_of(projection), kernel_shape=list(patch), strides=list(patch))
    x = b.node("Reshape", [x, b.ints(0, hidden, -1)], scope_of(projection))
    x = b.node("Transpose", [x], scope_of(projection), perm=[0, 2, 1])
    batch = b.node("Shape", [pixels], scope, start=0, end=1)
    shape = b.node("Concat", [batch, b.ints(1), b.ints(hidden)], scope, suffix="_shape", axis=0)
    token = b.node("Expand", [b.weight_f32(f"{module}.cls_token", (1, 1, hidden), init), shape], scope)
    x = b.node("Concat", [token, x], scope, axis=1)
    positions = b.weight_f32(f"{module}.position_embeddings", (1, tokens, hidden), init)
    return b.node("Add", [x, positions], scope)


def _pair(config: Config, key: str) -> Tuple[int, int]:
    value = config.values.get(key)
    if isinstance(value, list) and len(value) == 2:
        both = [Config({key: v}, config.where).integer(key) for v in value]
        return both[0], both[1]
    size = config.integer(key)
    return size, size
