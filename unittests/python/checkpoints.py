"""Small checkpoints for tests: Hugging Face names and shapes, written by hand and not by the exporter's tables."""

import json
import os
import pathlib
import struct

import numpy as np

TESTS = pathlib.Path(__file__).resolve().parent
ROOT = TESTS.parent.parent
DATA = pathlib.Path(os.environ.get("EFFC_TEST_DATA", ROOT.parent / "shared"))

CONFIGS = {
    "llama": dict(model_type="llama", vocab_size=37, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
                  num_attention_heads=6, num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-5, rope_theta=10000.0,
                  max_position_embeddings=64, hidden_act="silu", tie_word_embeddings=False, eos_token_id=[1, 2]),
    "qwen2": dict(model_type="qwen2", vocab_size=33, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                  num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=1e6,
                  max_position_embeddings=32, tie_word_embeddings=True),
    "mamba": dict(model_type="mamba", vocab_size=31, hidden_size=12, state_size=5, num_hidden_layers=2, conv_kernel=4,
                  expand=2, time_step_rank=3, layer_norm_epsilon=1e-5, tie_word_embeddings=True),
    "mamba2": dict(model_type="mamba2", vocab_size=29, hidden_size=12, state_size=6, num_hidden_layers=2, conv_kernel=4,
                   expand=2, num_heads=4, head_dim=6, n_groups=2, chunk_size=8, layer_norm_epsilon=1e-5,
                   time_step_limit=[0.0, float("inf")], tie_word_embeddings=False),
    "vit": dict(model_type="vit", image_size=8, patch_size=4, num_channels=3, hidden_size=12, num_hidden_layers=2,
                num_attention_heads=3, intermediate_size=20, num_labels=5, qkv_bias=True),
    "vmamba": dict(model_type="vmamba", image_size=12, dims=[8, 20], depths=[1, 2], patch=2, d_state=3, ssm_ratio=2,
                   num_labels=5),
}


def shapes(c: dict) -> dict:
    """Tensor name to shape for one of the configurations above (or a variation of it)."""
    return {"llama": _llama, "qwen2": _llama, "mamba": _mamba, "mamba2": _mamba2, "vit": _vit,
            "vmamba": _vmamba}[c["model_type"]](c)


def _linear(out: dict, name: str, n: int, k: int, bias: bool = False) -> None:
    out[f"{name}.weight"] = (n, k)
    if bias:
        out[f"{name}.bias"] = (n,)


def _llama(c: dict) -> dict:
    d, f, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    w = c.get("head_dim", d // c["num_attention_heads"])
    q, kv = c["num_attention_heads"] * w, c["num_key_value_heads"] * w
    qwen = c["model_type"] == "qwen2"
    bias = qwen or c.get("attention_bias", False)
    out = {"model.embed_tokens.weight": (v, d), "model.norm.weight": (d,)}
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        out[f"{layer}.input_layernorm.weight"] = out[f"{layer}.post_attention_layernorm.weight"] = (d,)
        for name, n in (("q_proj", q), ("k_proj", kv), ("v_proj", kv)):
            _linear(out, f"{layer}.self_attn.{name}", n, d, bias)
        _linear(out, f"{layer}.self_attn.o_proj", d, q, bias and not qwen)
        _linear(out, f"{layer}.mlp.gate_proj", f, d)
        _linear(out, f"{layer}.mlp.up_proj", f, d)
        _linear(out, f"{layer}.mlp.down_proj", d, f)
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (v, d)
    return out


def _backbone(c: dict, mixer) -> dict:
    d, v = c["hidden_size"], c["vocab_size"]
    out = {"backbone.embeddings.weight": (v, d), "backbone.norm_f.weight": (d,)}
    for i in range(c["num_hidden_layers"]):
        out[f"backbone.layers.{i}.norm.weight"] = (d,)
        out.update({f"backbone.layers.{i}.mixer.{k}": s for k, s in mixer.items()})
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (v, d)
    return out


def _mamba(c: dict) -> dict:
    d, n, r, k = c["hidden_size"], c["state_size"], c["time_step_rank"], c["conv_kernel"]
    e = c["expand"] * d
    return _backbone(c, {"in_proj.weight": (2 * e, d), "conv1d.weight": (e, 1, k), "conv1d.bias": (e,),
                         "x_proj.weight": (r + 2 * n, e), "dt_proj.weight": (e, r), "dt_proj.bias": (e,),
                         "A_log": (e, n), "D": (e,), "out_proj.weight": (d, e)})


def _mamba2(c: dict) -> dict:
    d, n, h, g, k = c["hidden_size"], c["state_size"], c["num_heads"], c["n_groups"], c["conv_kernel"]
    e = c["expand"] * d
    m = e + 2 * g * n
    return _backbone(c, {"in_proj.weight": (e + m + h, d), "conv1d.weight": (m, 1, k), "conv1d.bias": (m,),
                         "dt_bias": (h,), "A_log": (h,), "D": (h,), "norm.weight": (e,), "out_proj.weight": (d, e)})


def _vit(c: dict) -> dict:
    d, f, p = c["hidden_size"], c["intermediate_size"], c["patch_size"]
    out = {"vit.embeddings.cls_token": (1, 1, d),
           "vit.embeddings.position_embeddings": (1, (c["image_size"] // p) ** 2 + 1, d),
           "vit.embeddings.patch_embeddings.projection.weight": (d, c["num_channels"], p, p),
           "vit.embeddings.patch_embeddings.projection.bias": (d,)}
    for i in range(c["num_hidden_layers"]):
        layer = f"vit.layers.{i}"
        for name in ("layernorm_before", "layernorm_after"):
            out[f"{layer}.{name}.weight"] = out[f"{layer}.{name}.bias"] = (d,)
        for name in "qkvo":
            _linear(out, f"{layer}.attention.{name}_proj", d, d, True)
        _linear(out, f"{layer}.mlp.fc1", f, d, True)
        _linear(out, f"{layer}.mlp.fc2", d, f, True)
    out["vit.layernorm.weight"] = out["vit.layernorm.bias"] = (d,)
    _linear(out, "classifier", c["num_labels"], d, True)
    return out


def _vmamba(c: dict) -> dict:
    widths, n = c["dims"], c["d_state"]
    out = {"patch_embed.weight": (widths[0], 3, c["patch"], c["patch"]), "patch_embed.bias": (widths[0],),
           "patch_norm.weight": (widths[0],), "patch_norm.bias": (widths[0],),
           "down.weight": (widths[1], widths[0], 2, 2), "down.bias": (widths[1],),
           "down_norm.weight": (widths[1],), "down_norm.bias": (widths[1],)}
    for stage, (d, depth) in enumerate(zip(widths, c["depths"])):
        e, r = c["ssm_ratio"] * d, -(-d // 16)
        for i in range(depth):
            block = f"stage{stage}.{i}"
            for name, width in (("norm", d), ("norm2", d), ("op.out_norm", e)):
                out[f"{block}.{name}.weight"] = out[f"{block}.{name}.bias"] = (width,)
            _linear(out, f"{block}.op.in_proj", 2 * e, d)
            _linear(out, f"{block}.op.out_proj", d, e)
            _linear(out, f"{block}.fc1", 4 * d, d, True)
            _linear(out, f"{block}.fc2", d, 4 * d, True)
            out.update({f"{block}.op.conv2d.weight": (e, 1, 3, 3), f"{block}.op.conv2d.bias": (e,),
                        f"{block}.op.x_proj_weight": (4, r + 2 * n, e), f"{block}.op.dt_projs_weight": (4, e, r),
                        f"{block}.op.dt_projs_bias": (4, e), f"{block}.op.A_logs": (4 * e, n),
                        f"{block}.op.Ds": (4 * e,)})
    out["norm.weight"] = out["norm.bias"] = (widths[-1],)
    _linear(out, "head", c["num_labels"], widths[-1], True)
    return out


# How earlier releases of transformers name the parts of a ViT layer.
OLD_VIT = {"vit.layers.": "vit.encoder.layer.", "attention.q_proj": "attention.attention.query",
           "attention.k_proj": "attention.attention.key", "attention.v_proj": "attention.attention.value",
           "attention.o_proj": "attention.output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}


def old_vit_name(name: str) -> str:
    for new, old in OLD_VIT.items():
        name = name.replace(new, old)
    return name


def bf16_bits(values: np.ndarray) -> np.ndarray:
    """Round to nearest even, by comparison with both neighbours and not by the exporter's bit trick."""
    bits = values.astype(np.float32).view(np.uint32)
    low, high = (bits & 0xFFFF0000).view(np.float32), ((bits & 0xFFFF0000) + 0x10000).view(np.float32)
    exact = values.astype(np.float64)
    below, above = np.abs(exact - low), np.abs(high.astype(np.float64) - exact)
    even = (bits >> 16) & 1 == 0
    return ((bits >> 16) + ((above < below) | ((above == below) & ~even))).astype(np.uint16)


def widen(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def random_tensors(config: dict, dtype: str = "BF16", seed: int = 3) -> dict:
    """name -> (dtype, shape, bytes); A_log, D and dt_bias are F32, as the models store them."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in shapes(config).items():
        x = rng.standard_normal(shape).astype(np.float32) * 0.4
        leaf = name.rsplit(".", 1)[-1]
        if "norm" in name and leaf == "weight" or leaf in ("D", "Ds"):
            x += 1
        kind = "F32" if leaf in ("A_log", "D", "dt_bias", "A_logs", "Ds") else dtype
        data = {"F32": x, "F16": x.astype(np.float16), "BF16": bf16_bits(x)}[kind]
        out[name] = (kind, shape, data.tobytes())
    return out


def as_float(tensor: tuple) -> np.ndarray:
    kind, shape, data = tensor
    if kind == "BF16":
        return widen(np.frombuffer(data, np.uint16)).reshape(shape)
    return np.frombuffer(data, {"F32": np.float32, "F16": np.float16}[kind]).reshape(shape).astype(np.float32)


def write_safetensors(path, tensors: dict) -> None:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def parts(tensors: dict, count: int) -> list:
    names = list(tensors)
    step = -(-len(names) // count)
    return [{n: tensors[n] for n in names[i * step:(i + 1) * step]} for i in range(count)]


def write_checkpoint(path: pathlib.Path, config: dict, tensors: dict, layout: str = "single") -> pathlib.Path:
    """Layouts: single | index | of (shards without index) | dotted (NAME.json and NAME.K.safetensors)."""
    path.mkdir(parents=True)
    if layout == "dotted":
        (path / f"{path.name}.json").write_text(json.dumps({"config": config, "seq_len": 48}))
        for i, part in enumerate(parts(tensors, 3)):
            write_safetensors(path / f"{path.name}.{i}.safetensors", part)
        return path
    (path / "config.json").write_text(json.dumps(config))
    if layout == "single":
        write_safetensors(path / "model.safetensors", tensors)
        return path
    places = {}
    for i, part in enumerate(parts(tensors, 3), 1):
        file = f"model-{i:05d}-of-00003.safetensors"
        write_safetensors(path / file, part)
        places.update(dict.fromkeys(part, file))
    if layout == "index":
        (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path


TOKENIZER = {"version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "special": True}],
             "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1, "b": 2}, "merges": []}}
