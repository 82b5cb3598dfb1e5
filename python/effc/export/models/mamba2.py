"""Mamba-2 (state-space duality). Opset 18 and `ai.effc` functions with bodies."""

from typing import Dict

from ..config import Config
from ..functions import DOMAIN, causal_conv1d, gated_rms_norm, ssd_scan
from ..graph import GraphBuilder, scope_of
from ..weights import Init, ONES
from .common import SILU, causal_conv, head, matrix_init, negative_decay, rms_norm, state, token_ids


def build(b: GraphBuilder, config: Config) -> Dict[str, str]:
    vocab, hidden, layers = (config.integer(k) for k in ("vocab_size", "hidden_size", "num_hidden_layers"))
    states, kernel = config.integer("state_size"), config.integer("conv_kernel", 4, minimum=2)
    heads, width, groups = config.integer("num_heads"), config.integer("head_dim"), config.integer("n_groups", 1)
    inner = int(config.number("expand", 2) * hidden)
    if heads * width != inner:
        raise config.mismatch(f"num_heads {heads} x head_dim {width} is not expand x hidden_size = {inner}")
    if heads % groups:
        raise config.mismatch(f"num_heads {heads} is no multiple of n_groups {groups}")
    # Hugging Face normalises over the whole width whatever n_groups is; `norm_group_size` overrides it for
    # checkpoints that were trained with one norm for each group.
    norm_group = config.integer("norm_group_size", inner)
    if inner % norm_group:
        raise config.mismatch(f"the inner width {inner} is no multiple of norm_group_size {norm_group}")
    epsilon = config.number("layer_norm_epsilon", 1e-5)
    bias, conv_bias = config.flag("use_bias", False), config.flag("use_conv_bias", True)
    chunk = config.integer("chunk_size", 256)
    config.activation("hidden_act", "silu", SILU)
    limits = _time_step_limits(config)
    init = matrix_init(config)
    dt_bias = Init("softplus_inverse", config.number("time_step_min", 0.001), config.number("time_step_max", 0.1))
    mixed = inner + 2 * groups * states

    ids = token_ids(b)
    embedding = next((n for n in ("backbone.embeddings", "backbone.embedding") if b.source.has(n + ".weight")),
                     "backbone.embeddings")
    x = b.embedding(ids, embedding, vocab, hidden, init)
    for i in range(layers):
        layer = f"backbone.layers.{i}"
        mixer = f"{layer}.mixer"
        scope = scope_of(mixer)

        h = rms_norm(b, x, f"{layer}.norm", hidden, epsilon)
        h = b.linear(h, f"{mixer}.in_proj", inner + mixed + heads, hidden, init, bias)
        z, xbc, dt = b.split(h, [inner, mixed, heads], scope)
        xbc = causal_conv(b, xbc, f"{mixer}.conv1d", i, mixed, kernel, conv_bias)
        u, bm, cm = b.split(xbc, [inner, groups * states, groups * states], f"{scope}/conv1d")
        u = b.node("Reshape", [u, b.ints(0, 0, heads, width)], scope)
        bm = b.node("Reshape", [bm, b.ints(0, 0, groups, states)], scope, suffix="_1")
        cm = b.node("Reshape", [cm, b.ints(0, 0, groups, states)], scope, suffix="_2")
        dt = b.node("Add", [dt, b.weight_f32(f"{mixer}.dt_bias", (heads,), dt_bias, recurrent=True)], scope)
        dt = b.node("Softplus", [dt], scope)
        if limits:
            dt = b.node("Clip", [dt, *map(b.scalar, limits)], scope)
        past, present = state(b, i, "ssm_state", [heads, width, states])
        y, _ = b.node("SSDScan", [u, dt, negative_decay(b, mixer, (heads,)), bm, cm, past], scope,
                      outputs=[f"{scope}/SSDScan_output_0", present], domain=DOMAIN, chunk_size=chunk)
        d = b.node("Unsqueeze", [b.weight_f32(f"{mixer}.D", (heads,), ONES, recurrent=True), b.ints(-1)], scope)
        y = b.node("Add", [y, b.node("Mul", [u, d], scope)], scope, suffix="_1")
        y = b.node("Reshape", [y, b.ints(0, 0, inner)], scope, suffix="_3")
        y = b.node("GatedRMSNorm", [y, z, b.weight_f32(f"{mixer}.norm.weight", (inner,), ONES)],
                   scope_of(f"{mixer}.norm"), domain=DOMAIN, epsilon=epsilon, group_size=norm_group,
                   norm_before_gate=0)
        y = b.linear(y, f"{mixer}.out_proj", hidden, inner, init, bias)
        x = b.node("Add", [x, y], scope_of(layer))

    b.functions += [causal_conv1d(mixed), ssd_scan(), gated_rms_norm()]
    return head(b, config, rms_norm(b, x, "backbone.norm_f", hidden, epsilon), embedding, tied_by_default=False)


def _time_step_limits(config: Config):
    """Bounds on dt after softplus, or None where they cannot bind: softplus is positive, and no dt reaches 1e9."""
    limits = config.values.get("time_step_limit")
    if limits is None:
        return None
    if not isinstance(limits, list) or len(limits) != 2 or not all(
            isinstance(v, (int, float)) and not isinstance(v, bool) for v in limits) or not limits[0] <= limits[1]:
        raise config.refuse("time_step_limit", "it must be a lower and an upper bound")
    if limits[0] <= 0 and limits[1] >= 1e9:
        return None
    return [max(limits[0], 0.0), min(limits[1], 3.4028234663852886e38)]
