"""Mamba (the selective scan of the first paper). Opset 18 and `ai.effc` functions with bodies."""

import math
from typing import Dict

from ..config import Config
from ..functions import DOMAIN, causal_conv1d, selective_scan
from ..graph import GraphBuilder, scope_of
from ..weights import Init, ONES
from .common import SILU, causal_conv, head, matrix_init, negative_decay, rms_norm, state, token_ids


def build(b: GraphBuilder, config: Config) -> Dict[str, str]:
    vocab, hidden, layers = (config.integer(k) for k in ("vocab_size", "hidden_size", "num_hidden_layers"))
    states, kernel = config.integer("state_size"), config.integer("conv_kernel", 4, minimum=2)
    inner = config.integer("intermediate_size", int(config.number("expand", 2) * hidden))
    rank = math.ceil(hidden / 16)
    if config.values.get("time_step_rank", "auto") != "auto":
        rank = config.integer("time_step_rank")
    epsilon = config.number("layer_norm_epsilon", 1e-5)
    bias, conv_bias = config.flag("use_bias", False), config.flag("use_conv_bias", True)
    config.activation("hidden_act", "silu", SILU)
    init = matrix_init(config)
    dt_weight = Init("uniform", -rank ** -0.5, rank ** -0.5)
    dt_bias = Init("softplus_inverse", config.number("time_step_min", 0.001), config.number("time_step_max", 0.1))

    ids = token_ids(b)
    embedding = next((n for n in ("backbone.embeddings", "backbone.embedding") if b.source.has(n + ".weight")),
                     "backbone.embeddings")
    x = b.embedding(ids, embedding, vocab, hidden, init)
    for i in range(layers):
        layer = f"backbone.layers.{i}"
        mixer = f"{layer}.mixer"
        scope = scope_of(mixer)

        h = rms_norm(b, x, f"{layer}.norm", hidden, epsilon)
        u, z = b.split(b.linear(h, f"{mixer}.in_proj", 2 * inner, hidden, init, bias), [inner, inner], scope)
        u = causal_conv(b, u, f"{mixer}.conv1d", i, inner, kernel, conv_bias)
        ssm = b.linear(u, f"{mixer}.x_proj", rank + 2 * states, inner, init)
        dt, bm, cm = b.split(ssm, [rank, states, states], f"{scope}/x_proj")
        dt = b.linear(dt, f"{mixer}.dt_proj", inner, rank, dt_weight, bias=True, bias_init=dt_bias)
        dt = b.node("Softplus", [dt], f"{scope}/dt_proj")
        bm = b.node("Unsqueeze", [bm, b.ints(2)], scope)  # one group
        cm = b.node("Unsqueeze", [cm, b.ints(2)], scope, suffix="_1")
        past, present = state(b, i, "ssm_state", [inner, states])
        y, _ = b.node("SelectiveScan", [u, dt, negative_decay(b, mixer, (inner, states)), bm, cm, past], scope,
                      outputs=[f"{scope}/SelectiveScan_output_0", present], domain=DOMAIN)
        skip = b.node("Mul", [u, b.weight_f32(f"{mixer}.D", (inner,), ONES, recurrent=True)], scope)
        y = b.node("Add", [y, skip], scope)
        y = b.node("Mul", [y, b.silu(z, f"{scope}/act")], scope, suffix="_1")
        y = b.linear(y, f"{mixer}.out_proj", hidden, inner, init, bias)
        x = b.node("Add", [x, y], scope_of(layer))

    b.functions += [causal_conv1d(inner), selective_scan()]
    return head(b, config, rms_norm(b, x, "backbone.norm_f", hidden, epsilon), embedding, tied_by_default=True)
