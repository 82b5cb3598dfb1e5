"""Forward passes of the exported architectures in float64 numpy, from their equations; no ONNX involved."""

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def silu(x):
    return x / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, 0.0)


def rms(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def linear(t, name, x):
    y = x @ t[name + ".weight"].T
    return y + t[name + ".bias"] if name + ".bias" in t else y


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def forward(config: dict, tensors: dict, x: np.ndarray) -> np.ndarray:
    """Logits for token ids [batch, seq], or for pixels [batch, channels, height, width]."""
    t = {k: v.astype(np.float64) for k, v in tensors.items()}
    model = {"llama": llama, "qwen2": llama, "mamba": mamba, "mamba2": mamba, "vit": vit,
             "vmamba": vmamba}[config["model_type"]]
    return model(config, t, x)


def inverse_frequency(c: dict, width: int, pair: int) -> float:
    """The angle per position of one pair of channels, as transformers' rope utilities define it."""
    base = c["rope_theta"] ** (-2.0 * pair / width)
    s = c.get("rope_scaling")
    if not s:
        return base
    if s["rope_type"] == "linear":
        return base / s["factor"]
    wave = 2 * math.pi / base
    longest = s["original_max_position_embeddings"] / s["low_freq_factor"]
    shortest = s["original_max_position_embeddings"] / s["high_freq_factor"]
    if wave < shortest:
        return base
    if wave > longest:
        return base / s["factor"]
    smooth = (s["original_max_position_embeddings"] / wave - s["low_freq_factor"]) / (
        s["high_freq_factor"] - s["low_freq_factor"])
    return (1 - smooth) * base / s["factor"] + smooth * base


def llama(c, t, ids):
    batch, length = ids.shape
    heads, kv, eps = c["num_attention_heads"], c["num_key_value_heads"], c["rms_norm_eps"]
    width = c.get("head_dim", c["hidden_size"] // heads)
    angles = np.arange(length)[:, None] * np.array([inverse_frequency(c, width, j) for j in range(width // 2)])

    def rotate(v):  # [batch, heads, length, width]: the pair j is (v_j, v_{j + width/2}), turned by its angle
        z = (v[..., :width // 2] + 1j * v[..., width // 2:]) * np.exp(1j * angles)
        return np.concatenate([z.real, z.imag], -1)

    x = t["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = rms(x, t[p + "input_layernorm.weight"], eps)
        q, k, v = (linear(t, p + f"self_attn.{n}_proj", h).reshape(batch, length, -1, width).transpose(0, 2, 1, 3)
                   for n in "qkv")
        q, k = rotate(q), rotate(k)
        out = np.zeros_like(q)
        for head in range(heads):
            group = head // (heads // kv)
            for step in range(length):
                s = np.einsum("bd,bkd->bk", q[:, head, step], k[:, group, :step + 1]) / math.sqrt(width)
                out[:, head, step] = np.einsum("bk,bkd->bd", softmax(s), v[:, group, :step + 1])
        x = x + linear(t, p + "self_attn.o_proj", out.transpose(0, 2, 1, 3).reshape(batch, length, -1))
        h = rms(x, t[p + "post_attention_layernorm.weight"], eps)
        h = silu(linear(t, p + "mlp.gate_proj", h)) * linear(t, p + "mlp.up_proj", h)
        x = x + linear(t, p + "mlp.down_proj", h)
    return rms(x, t["model.norm.weight"], eps) @ t.get("lm_head.weight", t["model.embed_tokens.weight"]).T


def causal_conv(t, name, x):
    w, b = t[name + ".weight"][:, 0], t.get(name + ".bias", 0.0)
    taps = w.shape[-1]
    padded = np.concatenate([np.zeros((x.shape[0], taps - 1, x.shape[2])), x], 1)
    return silu(sum(padded[:, j:j + x.shape[1]] * w[:, j] for j in range(taps)) + b)


def mamba(c, t, ids):
    mixer = mamba1_mixer if c["model_type"] == "mamba" else mamba2_mixer
    x = t["backbone.embeddings.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        p = f"backbone.layers.{i}."
        x = x + mixer(c, t, p + "mixer.", rms(x, t[p + "norm.weight"], c["layer_norm_epsilon"]))
    x = rms(x, t["backbone.norm_f.weight"], c["layer_norm_epsilon"])
    return x @ t.get("lm_head.weight", t["backbone.embeddings.weight"]).T


def mamba1_mixer(c, t, p, x):
    n, r = c["state_size"], c["time_step_rank"]
    u, z = np.split(linear(t, p + "in_proj", x), 2, -1)
    u = causal_conv(t, p + "conv1d", u)
    dt, bm, cm = np.split(linear(t, p + "x_proj", u), [r, r + n], -1)
    dt = softplus(linear(t, p + "dt_proj", dt))
    a = -np.exp(t[p + "A_log"])
    h, y = np.zeros((x.shape[0], u.shape[2], n)), np.zeros_like(u)
    for s in range(x.shape[1]):
        h = np.exp(dt[:, s, :, None] * a) * h + (dt[:, s] * u[:, s])[:, :, None] * bm[:, s, None]
        y[:, s] = np.einsum("bdn,bn->bd", h, cm[:, s]) + t[p + "D"] * u[:, s]
    return linear(t, p + "out_proj", y * silu(z))


def mamba2_mixer(c, t, p, x):
    n, heads, width, groups = c["state_size"], c["num_heads"], c["head_dim"], c["n_groups"]
    e = heads * width
    z, xbc, dt = np.split(linear(t, p + "in_proj", x), [e, 2 * e + 2 * groups * n], -1)
    u, bm, cm = np.split(causal_conv(t, p + "conv1d", xbc), [e, e + groups * n], -1)
    dt = np.clip(softplus(dt + t[p + "dt_bias"]), *c.get("time_step_limit", (0.0, np.inf)))
    y = np.zeros_like(u)
    for head in range(heads):
        g = slice(head // (heads // groups) * n, (head // (heads // groups) + 1) * n)
        part = slice(head * width, (head + 1) * width)
        h = np.zeros((x.shape[0], width, n))
        for s in range(x.shape[1]):
            step = dt[:, s, head, None, None]
            h = np.exp(-step * np.exp(t[p + "A_log"][head])) * h + step * u[:, s, part, None] * bm[:, s, None, g]
            y[:, s, part] = np.einsum("bpn,bn->bp", h, cm[:, s, g]) + t[p + "D"][head] * u[:, s, part]
    y = y * silu(z)
    size = c.get("norm_group_size", e)
    grouped = y.reshape(*y.shape[:2], -1, size)
    y = rms(grouped, 1.0, c["layer_norm_epsilon"]).reshape(y.shape) * t[p + "norm.weight"]
    return linear(t, p + "out_proj", y)


def vit(c, t, pixels):
    d, heads, size = c["hidden_size"], c["num_attention_heads"], c["patch_size"]
    kernel = t["vit.embeddings.patch_embeddings.projection.weight"].reshape(d, -1)
    tokens = [np.broadcast_to(t["vit.embeddings.cls_token"][:, 0], (len(pixels), d))]
    for row in range(0, c["image_size"], size):
        for column in range(0, c["image_size"], size):
            patch = pixels[:, :, row:row + size, column:column + size].reshape(len(pixels), -1)
            tokens.append(patch @ kernel.T + t["vit.embeddings.patch_embeddings.projection.bias"])
    x = np.stack(tokens, 1) + t["vit.embeddings.position_embeddings"]

    def norm(name, v):
        v = v - v.mean(-1, keepdims=True)
        return v / np.sqrt((v * v).mean(-1, keepdims=True) + 1e-12) * t[name + ".weight"] + t[name + ".bias"]

    for i in range(c["num_hidden_layers"]):
        p = f"vit.layers.{i}."
        h = norm(p + "layernorm_before", x)
        q, k, v = (linear(t, p + f"attention.{n}_proj", h).reshape(*x.shape[:2], heads, -1) for n in "qkv")
        s = softmax(np.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(d // heads))
        x = x + linear(t, p + "attention.o_proj", np.einsum("bhqk,bkhd->bqhd", s, v).reshape(x.shape))
        h = linear(t, p + "mlp.fc1", norm(p + "layernorm_after", x))
        x = x + linear(t, p + "mlp.fc2", h * 0.5 * (1 + _erf(h / math.sqrt(2))))
    return linear(t, "classifier", norm("vit.layernorm", x)[:, 0])


def layer_norm(t, name, v):
    v = v - v.mean(-1, keepdims=True)
    return v / np.sqrt((v * v).mean(-1, keepdims=True) + 1e-5) * t[name + ".weight"] + t[name + ".bias"]


def vmamba(c, t, pixels):
    def patches(name, x, size):  # x [batch, height, width, channels]
        kernel = t[name + ".weight"]
        return sum(x[:, u::size, v::size] @ kernel[:, :, u, v].T
                   for u in range(size) for v in range(size)) + t[name + ".bias"]

    x = layer_norm(t, "patch_norm", patches("patch_embed", pixels.transpose(0, 2, 3, 1), c["patch"]))
    for stage, depth in enumerate(c["depths"]):
        if stage:
            x = layer_norm(t, "down_norm", patches("down", x, 2))
        for i in range(depth):
            p = f"stage{stage}.{i}."
            x = x + ss2d(c, t, p + "op.", layer_norm(t, p + "norm", x))
            h = linear(t, p + "fc1", layer_norm(t, p + "norm2", x))
            x = x + linear(t, p + "fc2", h * 0.5 * (1 + _erf(h / math.sqrt(2))))
    return linear(t, "head", layer_norm(t, "norm", x).mean((1, 2)))


def ss2d(c, t, p, x):
    batch, height, width, d = x.shape
    n, rank = c["d_state"], -(-d // 16)
    u, z = np.split(linear(t, p + "in_proj", x), 2, -1)
    padded = np.pad(u, ((0, 0), (1, 1), (1, 1), (0, 0)))
    u = silu(sum(padded[:, i:i + height, j:j + width] * t[p + "conv2d.weight"][:, 0, i, j]
                 for i in range(3) for j in range(3)) + t[p + "conv2d.bias"])
    e, total = u.shape[-1], np.zeros_like(u)
    for k in range(4):
        # A direction is an order of the pixels: rows or columns, forwards or backwards.
        order = [(i, j) for i in range(height) for j in range(width)]
        if k % 2:
            order = [(i, j) for j in range(width) for i in range(height)]
        if k >= 2:
            order.reverse()
        part = slice(k * e, (k + 1) * e)
        h = np.zeros((batch, e, n))
        for i, j in order:
            v = u[:, i, j]
            dt, bm, cm = np.split(v @ t[p + "x_proj_weight"][k].T, [rank, rank + n], -1)
            dt = softplus(dt @ t[p + "dt_projs_weight"][k].T + t[p + "dt_projs_bias"][k])
            h = (np.exp(-dt[:, :, None] * np.exp(t[p + "A_logs"][part])) * h
                 + (dt * v)[:, :, None] * bm[:, None])
            total[:, i, j] += np.einsum("ben,bn->be", h, cm) + t[p + "Ds"][part] * v
    return linear(t, p + "out_proj", layer_norm(t, p + "out_norm", total) * silu(z))
