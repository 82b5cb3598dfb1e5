"""Writes tiny random models of more families as real exporters write them, with what PyTorch computes from them.

    python3 families.py OUTPUT_FOLDER [NAME ...]

Needs torch (2.7 or later), transformers, onnx and onnxscript; with onnxruntime its results are compared too, and with its transformer
optimizer `bert` and `gpt2` are written once more as it leaves them. OUTPUT_FOLDER gets FAMILY_EXPORTER.onnx (weights inside, 50 to 300
kB each) and expected.json: of every case the sizes, and of every output the shape, the root of the mean square and 16 elements. The
inputs follow the rules of exporter_outputs.mjs, see `text_case` and `floats`. What does not export is named in expected.json and
FAMILY_EXPORTER.log, and stops nothing: every file is made in a process of its own under a time limit."""
import argparse
import json
import math
import multiprocessing
import os
import pathlib
import time
import traceback
import warnings

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", CUDA_VISIBLE_DEVICES="")

import torch
import transformers
from torch import nn

VOCAB, HIDDEN, LAYERS, HEADS = 128, 32, 2, 4
TEXT = dict(vocab_size=VOCAB, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, max_position_embeddings=64,
            bos_token_id=1, eos_token_id=2, pad_token_id=0)
GROUPED = dict(TEXT, num_key_value_heads=2, intermediate_size=48)
RECURRENT = dict(vocab_size=VOCAB, hidden_size=HIDDEN, state_size=8, num_hidden_layers=LAYERS, bos_token_id=1, eos_token_id=2,
                 pad_token_id=0)
HYBRID = dict(GROUPED, mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=2, mamba_d_state=8, mamba_chunk_size=8, mamba_expand=2)
SECONDS, AT_ONCE = 200, min(16, os.cpu_count() or 1)


def decoder(name, **values):
    return lambda attention: transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, name)(**values), attn_implementation=attention)


def plain(model, name, **values):
    return lambda attention: getattr(transformers, model)._from_config(
        getattr(transformers, name)(**values), attn_implementation=attention)


class CrossScan(nn.Module):
    """The block of VMamba: a norm, a gate, a depthwise 3x3 convolution and selective scans along four paths."""

    def __init__(self, width, state=8, rank=4):
        super().__init__()
        inner = 2 * width
        self.inner, self.state, self.rank = inner, state, rank
        self.norm, self.into, self.out = nn.LayerNorm(width), nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.x_proj = nn.Parameter(torch.randn(4, rank + 2 * state, inner) * inner ** -0.5)
        self.dt_proj = nn.Parameter(torch.randn(4, inner, rank) * rank ** -0.5)
        self.dt_bias = nn.Parameter(torch.rand(4, inner) - 3)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, state + 1).float()).repeat(4 * inner, 1))
        self.D = nn.Parameter(torch.ones(4 * inner))
        self.out_norm = nn.LayerNorm(inner)

    def forward(self, x):
        B, H, W, _ = x.shape
        L, E, N = H * W, self.inner, self.state
        u, gate = self.into(self.norm(x)).chunk(2, dim=-1)
        u = nn.functional.silu(self.conv(u.permute(0, 3, 1, 2)))
        rows, columns = u.flatten(2), u.transpose(2, 3).flatten(2)
        paths = torch.stack([rows, columns], 1)
        paths = torch.cat([paths, paths.flip(-1)], 1)  # [B, 4, E, L]
        dt, b, c = torch.split(torch.einsum("bkdl,kcd->bkcl", paths, self.x_proj), [self.rank, N, N], dim=2)
        dt = torch.einsum("bkrl,kdr->bkdl", dt, self.dt_proj)
        dt = nn.functional.softplus(dt + self.dt_bias[None, :, :, None])
        decay = torch.exp(dt.reshape(B, 4 * E, L, 1) * -torch.exp(self.A_log)[None, :, None, :])
        added = dt[..., None] * paths[..., None] * b.transpose(2, 3)[:, :, None]
        added = added.reshape(B, 4 * E, L, N)
        h, found = x.new_zeros(B, 4 * E, N), []
        for t in range(L):
            h = decay[:, :, t] * h + added[:, :, t]
            found.append((h.reshape(B, 4, E, N) * c[:, :, None, :, t]).sum(-1))
        y = torch.stack(found, -1) + paths * self.D.reshape(1, 4, E, 1)
        y = y[:, :2] + y[:, 2:].flip(-1)
        y = y[:, 0] + y[:, 1].reshape(B, E, W, H).transpose(2, 3).flatten(2)
        y = self.out_norm(y.transpose(1, 2)).reshape(B, H, W, E)
        return x + self.out(y * nn.functional.silu(gate))


class VMamba(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, stride=8)
        self.blocks = nn.Sequential(CrossScan(16), CrossScan(16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, pixel_values, **_):
        x = self.blocks(self.patch(pixel_values).permute(0, 2, 3, 1))
        return {"logits": self.head(self.norm(x).mean((1, 2)))}


# name: (kind, model, the attention of dynamo exports)
FAMILIES = {
    "qwen2": ("cache", decoder("Qwen2Config", **GROUPED), "sdpa"),
    "qwen3": ("cache", decoder("Qwen3Config", head_dim=16, **GROUPED), "sdpa"),
    "mistral": ("cache", decoder("MistralConfig", sliding_window=6, head_dim=8, **GROUPED), "sdpa"),
    # Soft caps exist in eager attention alone.
    "gemma2": ("cache", decoder("Gemma2Config", head_dim=16, sliding_window=6, final_logit_softcapping=2.0,
                                attn_logit_softcapping=1.5, query_pre_attn_scalar=16, **GROUPED), "eager"),
    "gemma3": ("cache", decoder("Gemma3TextConfig", head_dim=16, sliding_window=6, query_pre_attn_scalar=16,
                                layer_types=["sliding_attention", "full_attention"], **GROUPED), "sdpa"),
    # Half of the head is turned.
    "phi": ("cache", decoder("PhiConfig", intermediate_size=48, **TEXT), "sdpa"),
    "gpt2": ("cache", decoder("GPT2Config", vocab_size=VOCAB, n_embd=HIDDEN, n_layer=LAYERS, n_head=HEADS, n_positions=64,
                              bos_token_id=1, eos_token_id=2), "sdpa"),
    "bert": ("encoder", plain("BertModel", "BertConfig", intermediate_size=48, **TEXT), "sdpa"),
    "deit": ("image", plain("DeiTForImageClassification", "DeiTConfig", hidden_size=HIDDEN, num_hidden_layers=LAYERS,
                            num_attention_heads=HEADS, intermediate_size=48, image_size=32, patch_size=8, num_labels=10), "sdpa"),
    "swin": ("image", plain("SwinForImageClassification", "SwinConfig", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2],
                            num_heads=[2, 4], window_size=4, num_labels=10), "eager"),
    "whisper": ("features", plain("WhisperModel", "WhisperConfig", vocab_size=VOCAB, d_model=HIDDEN, encoder_layers=LAYERS,
                                  decoder_layers=1, encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=48,
                                  decoder_ffn_dim=48, num_mel_bins=16, max_source_positions=32, max_target_positions=32, pad_token_id=0,
                                  bos_token_id=1, eos_token_id=2, decoder_start_token_id=1), "sdpa"),
    "mamba": ("recurrent", decoder("MambaConfig", **RECURRENT), "eager"),
    "falcon_mamba": ("recurrent", decoder("FalconMambaConfig", **RECURRENT), "eager"),
    "mamba2": ("recurrent", decoder("Mamba2Config", num_heads=4, head_dim=16, n_groups=2, chunk_size=8, **RECURRENT), "eager"),
    # Scans and attention in one model.
    "bamba": ("recurrent", decoder("BambaConfig", attn_layer_indices=[1], **HYBRID), "eager"),
    "granite_hybrid": ("recurrent", decoder("GraniteMoeHybridConfig", layer_types=["mamba", "attention"], num_local_experts=0,
                                            num_experts_per_tok=0, shared_intermediate_size=48, **HYBRID), "eager"),
    "jamba": ("recurrent", decoder("JambaConfig", num_experts=1, num_experts_per_tok=1, attn_layer_period=2, attn_layer_offset=1,
                                   expert_layer_period=2, expert_layer_offset=1, use_mamba_kernels=False, mamba_d_state=8, mamba_dt_rank=4,
                                   **GROUPED), "eager"),
    "vmamba": ("image", lambda attention: VMamba(), "eager"),
}
# The forms of the scan are those of the exporter's settings: a free length, or 16 fixed tokens.
FIXED = {"recurrent"}


def token(row, t):
    return (37 * t + 53 * row + 5) % 97


def floats(k, *shape):
    values = [math.sin(0.7 * i + 1.3 * k + 0.3) for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float32).reshape(shape)


def text_case(case, kind, cache_shape=None):
    """Tokens past .. past + tokens of each row; rows of the `lengths` given are padded at the right."""
    rows, tokens, past = case["rows"], case["tokens"], case.get("past", 0)
    ids = torch.tensor([[token(row, t) for t in range(past, past + tokens)] for row in rows])
    if kind == "recurrent":
        return (ids,)
    mask = torch.ones(len(rows), past + tokens, dtype=torch.int64)
    for row, length in enumerate(case.get("lengths", [])):
        mask[row, length:] = 0
    if kind == "encoder":
        return ids, mask, torch.zeros_like(ids)
    heads, size = cache_shape
    caches = [floats(k, len(rows), heads, past, size) for k in range(2 * LAYERS)]
    return (ids, mask, torch.arange(past, past + tokens).repeat(len(rows), 1), *caches)


def number(x):
    return float(f"{float(x):.8g}")


def record(tensor):
    flat = tensor.detach().double().reshape(-1)
    n = flat.numel()
    at = [k * (n - 1) // 15 for k in range(min(n, 16))]
    return {"shape": list(tensor.shape), "rms": number(flat.square().mean().sqrt()), "values": [number(flat[i]) for i in at]}


class WithCache(nn.Module):
    """Tokens, mask, positions and the caches in, logits and the caches out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, key0, value0, key1, value1):
        cache = transformers.DynamicCache()
        cache.update(key0, value0, 0)
        cache.update(key1, value1, 1)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache,
                         use_cache=True)
        present = []
        for i, layer in enumerate(out.past_key_values.layers):
            present += [layer.keys, layer.values]
        return (out.logits, *present)


class Plain(nn.Module):
    """One tensor in, the first output alone out."""

    def __init__(self, model, **keywords):
        super().__init__()
        self.model, self.keywords = model, keywords

    def forward(self, first):
        out = self.model(first, return_dict=True, **self.keywords)
        return out["logits"] if "logits" in out else out["last_hidden_state"]


class Encoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, return_dict=True)
        return out["last_hidden_state"]


def build(kind, model, fixed):
    """The wrapped model, the names, an example, the names of its free axes, and the cases with their inputs."""
    cases = [{"case": "prefill", "rows": [0], "tokens": 11}, {"case": "batch", "rows": [0, 1], "tokens": 11},
             {"case": "short", "rows": [1], "tokens": 6}]
    padded = {"case": "padded", "rows": [0, 1], "tokens": 11, "lengths": [11, 6]}
    pair = {"rows": [0, 1], "tokens": 9}
    if kind == "cache":
        c = model.config
        shape = (getattr(c, "num_key_value_heads", None) or c.num_attention_heads,
                 getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads)
        cases += [padded, {"case": "decode", "rows": [0, 1], "tokens": 1, "past": 10},
                  {"case": "continued", "rows": [0], "tokens": 4, "past": 7}]
        names, outputs = ["input_ids", "attention_mask", "position_ids"], ["logits"]
        for i in range(LAYERS):
            names += [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
            outputs += [f"present.{i}.key", f"present.{i}.value"]
        axes = [{0: "batch", 1: "seq"}, {0: "batch", 1: "total"}, {0: "batch", 1: "seq"}] + [{0: "batch", 2: "past"}] * (2 * LAYERS)
        example = text_case(dict(pair, tokens=4, past=3), kind, shape)
        return WithCache(model), names, outputs, example, axes, [(case, text_case(case, kind, shape)) for case in cases]
    if kind == "encoder":
        names = ["input_ids", "attention_mask", "token_type_ids"]
        return (Encoder(model), names, ["last_hidden_state"], text_case(pair, kind), [{0: "batch", 1: "seq"}] * 3,
                [(case, text_case(case, kind)) for case in cases + [padded]])
    if kind == "recurrent":
        if fixed:
            cases, pair = [{"case": "prefill", "rows": [0], "tokens": 16}], {"rows": [0], "tokens": 16}
        return (Plain(model, use_cache=False), ["input_ids"], ["logits"], text_case(pair, kind), [{0: "batch", 1: "seq"}],
                [(case, text_case(case, kind)) for case in cases])
    shape, name = ((16, 64), "input_features") if kind == "features" else ((3, 32, 32), "pixel_values")
    output = "last_hidden_state" if kind == "features" else "logits"
    model = model.get_encoder() if kind == "features" else model
    cases = [{"case": "prefill", "rows": [0]}, {"case": "batch", "rows": [0, 1]}]
    return (Plain(model), [name], [output], (floats(0, 2, *shape),), [{0: "batch"}],
            [(case, (floats(0, len(case["rows"]), *shape),)) for case in cases])


def export(wrapped, example, names, outputs, axes, path, exporter, fixed):
    keywords = dict(input_names=names, output_names=outputs)
    if exporter == "ts":
        keywords.update(dynamo=False, opset_version=17)
        if not fixed:
            keywords["dynamic_axes"] = dict(zip(names, axes))
        torch.onnx.export(wrapped, example, str(path), **keywords)
        return
    keywords.update(dynamo=True, opset_version=int(exporter), external_data=False)
    if fixed:
        torch.onnx.export(wrapped, example, str(path), **keywords)
        return
    try:
        torch.onnx.export(wrapped, example, str(path), dynamic_shapes=tuple(axes), **keywords)
    except Exception:
        auto = torch.export.Dim.AUTO
        torch.onnx.export(wrapped, example, str(path), dynamic_shapes=tuple({axis: auto for axis in a} for a in axes), **keywords)


def shorten(path):
    """Drops what names the exporting machine: stack traces, a third of the file."""
    import onnx
    model = onnx.load(str(path))
    for node in model.graph.node:
        for i in reversed(range(len(node.metadata_props))):
            if not node.metadata_props[i].key.endswith("name_scopes"):
                del node.metadata_props[i]
    for value in list(model.graph.value_info) + list(model.graph.input) + list(model.graph.output) + list(model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.save(model, str(path))


def runtime_difference(path, names, outputs, cases, expected):
    """The largest difference of ONNX Runtime from PyTorch by case, relative to the root of the mean square; or its message."""
    try:
        import onnxruntime
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    wanted, found = {i.name for i in session.get_inputs()}, {}
    for (case, inputs), tensors in zip(cases, expected):
        try:
            got = session.run(None, {n: t.numpy() for n, t in zip(names, inputs) if n in wanted})
            found[case["case"]] = max(
                float((torch.from_numpy(g).double() - t.double()).abs().max() / t.double().square().mean().sqrt().clamp(min=1e-30))
                if list(g.shape) == list(t.shape) else math.inf for g, t in zip(got, tensors) if t.numel())
        except Exception as error:
            found[case["case"]] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return found


def make(name, exporter, fixed, attention, key, folder):
    kind, constructor, _ = FAMILIES[name]
    path = folder / f"{key}.onnx"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = constructor(attention).eval().float()
    wrapped, names, outputs, example, axes, cases = build(kind, model, fixed)
    with torch.no_grad():
        expected = []
        for case, inputs in cases:
            out = wrapped(*inputs)
            expected.append(out if isinstance(out, tuple) else (out,))
        export(wrapped, example, names, outputs, axes, path, exporter, fixed)
    shorten(path)
    entry = {"cases": [dict(case, outputs={n: record(t) for n, t in zip(outputs, tensors)})
                       for (case, _), tensors in zip(cases, expected)],
             "onnxruntime": runtime_difference(path, names, outputs, cases, expected)}
    (folder / f"{key}.json").write_text(json.dumps(entry))
    if name in ("bert", "gpt2") and exporter == "ts":
        from onnxruntime.transformers import optimizer
        optimizer.optimize_model(str(path), model_type=name, num_heads=HEADS, hidden_size=HIDDEN, opt_level=0).save_model_to_file(
            str(folder / f"{key}_opt.onnx"))
        entry["onnxruntime"] = runtime_difference(folder / f"{key}_opt.onnx", names, outputs, cases, expected)
        (folder / f"{key}_opt.json").write_text(json.dumps(entry))


def guarded(*job):
    key, folder = job[-2:]
    warnings.filterwarnings("ignore")
    try:
        make(*job)
    except BaseException:
        (folder / f"{key}.log").write_text(traceback.format_exc()[-20000:])
        if not (folder / f"{key}.json").exists():
            (folder / f"{key}.onnx").unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("names", nargs="*", help="families; default: all")
    arguments = parser.parse_args()
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for name in arguments.names or FAMILIES:
        kind, _, attention = FAMILIES[name]
        for exporter, how in (("18", attention), ("23", attention), ("ts", "eager")) + ((("18", "eager"),) if attention == "sdpa" else ()):
            for fixed in ((False, True) if kind in FIXED else (False,)):
                key = f"{name}_{exporter}{'_eager' if attention == 'sdpa' and how == 'eager' and exporter == '18' else ''}"
                jobs.append((name, exporter, fixed, how, key + ("_fixed" if fixed else ""), folder))
    context, running, waiting = multiprocessing.get_context("fork"), [], list(jobs)
    while running or waiting:
        while waiting and len(running) < AT_ONCE:
            job = waiting.pop(0)
            process = context.Process(target=guarded, args=job)
            process.start()
            running.append((process, job, time.monotonic() + SECONDS))
        for item in list(running):
            process, job, deadline = item
            if process.is_alive() and time.monotonic() > deadline:
                (folder / f"{job[-2]}.log").write_text(f"more than {SECONDS} s\n")
                process.kill()
            if not process.is_alive():
                process.join()
                running.remove(item)
                print(f"{job[-2]}: {'written' if (folder / f'{job[-2]}.json').exists() else 'failed'}", flush=True)
        time.sleep(0.05)
    report = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}}
    for job in jobs:
        for key in (job[-2], job[-2] + "_opt"):
            result, log = folder / f"{key}.json", folder / f"{key}.log"
            if result.exists():
                report[key] = json.loads(result.read_text())
                result.unlink()
            elif log.exists():
                (folder / f"{key}.onnx").unlink(missing_ok=True)
                report[key] = {"error": log.read_text().strip().splitlines()[-1][:300]}
    lines = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in report.items()]
    (folder / "expected.json").write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
