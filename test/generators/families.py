"""Writes tiny random models of more families as torch.onnx exports them, with what PyTorch computes from them.

    python3 families.py OUTPUT_FOLDER [NAME ...]

Needs torch (2.5 or later), transformers, onnx and onnxscript. For each family and exporter OUTPUT_FOLDER gets NAME_EXPORTER.onnx (weights
inside, some hundred kB), and expected.json the outputs: shape, root of the mean square and 16 elements of each, for the token and
image rules of exporter_outputs.mjs. What does not export is written there as an error and does not stop the others."""
import argparse
import json
import math
import pathlib
import traceback
import warnings

import torch
import transformers
from torch import nn

VOCAB, HIDDEN, LAYERS = 128, 64, 2
TEXT = dict(vocab_size=VOCAB, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=4, max_position_embeddings=256,
            bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager")
GROUPED = dict(TEXT, num_key_value_heads=2, intermediate_size=96)


def config(name, **values):
    return getattr(transformers, name)(**values)


def decoder(config_name, **values):
    return lambda: transformers.AutoModelForCausalLM.from_config(config(config_name, **values))


FAMILIES = {
    # name: (kind, model)
    "qwen2": ("cache", decoder("Qwen2Config", **GROUPED)),
    "qwen3": ("cache", decoder("Qwen3Config", head_dim=16, **GROUPED)),
    "mistral": ("cache", decoder("MistralConfig", sliding_window=8, head_dim=16, **GROUPED)),
    "gemma2": ("cache", decoder("Gemma2Config", head_dim=16, sliding_window=8, final_logit_softcapping=30.0,
                                attn_logit_softcapping=50.0, query_pre_attn_scalar=16, **GROUPED)),
    "phi": ("cache", decoder("PhiConfig", intermediate_size=96, partial_rotary_factor=0.5, **TEXT)),
    "gpt2": ("cache", decoder("GPT2Config", vocab_size=VOCAB, n_embd=HIDDEN, n_layer=LAYERS, n_head=4, n_positions=256,
                              attn_implementation="eager")),
    "bert": ("encoder", lambda: transformers.BertModel(config("BertConfig", intermediate_size=96, **TEXT))),
    "deit": ("image", lambda: transformers.DeiTForImageClassification(config(
        "DeiTConfig", hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=96, image_size=32,
        patch_size=8, num_labels=10))),
    "swin": ("image", lambda: transformers.SwinForImageClassification(config(
        "SwinConfig", image_size=32, patch_size=4, embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=10))),
    "whisper_encoder": ("features", lambda: transformers.WhisperModel(config(
        "WhisperConfig", vocab_size=VOCAB, d_model=HIDDEN, encoder_layers=LAYERS, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, num_mel_bins=16, max_source_positions=32,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)).encoder),
    "mamba": ("recurrent", decoder("MambaConfig", vocab_size=VOCAB, hidden_size=HIDDEN, state_size=16, num_hidden_layers=LAYERS)),
    "falcon_mamba": ("recurrent", decoder("FalconMambaConfig", vocab_size=VOCAB, hidden_size=HIDDEN, state_size=16,
                                          num_hidden_layers=LAYERS)),
    "mamba2": ("recurrent", decoder("Mamba2Config", vocab_size=VOCAB, hidden_size=HIDDEN, state_size=16, num_heads=8, head_dim=16,
                                    n_groups=2, chunk_size=16, num_hidden_layers=LAYERS)),
    # Mamba-2 and attention in one model.
    "bamba": ("recurrent", decoder("BambaConfig", mamba_n_heads=8, mamba_d_head=16, mamba_n_groups=2, mamba_d_state=16,
                                   mamba_chunk_size=16, attn_layer_indices=[1], **GROUPED)),
    "granite_hybrid": ("recurrent", decoder(
        "GraniteMoeHybridConfig", mamba_n_heads=8, mamba_d_head=16, mamba_n_groups=2, mamba_d_state=16, mamba_chunk_size=16,
        layer_types=["mamba", "attention"], num_local_experts=0, num_experts_per_tok=0, shared_intermediate_size=96, **GROUPED)),
}


def token(row, t):
    return (37 * t + 53 * row + 5) % 97


def ids_of(rows, tokens):
    return torch.tensor([[token(row, t) for t in range(tokens)] for row in rows])


def floats(k, *shape):
    count = math.prod(shape)
    return torch.tensor([math.sin(0.7 * i + 1.3 * k + 0.3) for i in range(count)], dtype=torch.float32).reshape(shape)


def record(tensor):
    flat = tensor.detach().double().reshape(-1)
    n = flat.numel()
    at = [k * (n - 1) // 15 for k in range(min(n, 16))]
    number = lambda x: float(f"{float(x):.8g}")
    return {"shape": list(tensor.shape), "rms": number(flat.square().mean().sqrt()), "values": [number(flat[i]) for i in at]}


class WithCache(nn.Module):
    """Tokens, mask, positions and the caches in, logits and the caches out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *past):
        cache = transformers.DynamicCache()
        for i in range(LAYERS):
            cache.update(past[2 * i], past[2 * i + 1], i)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache,
                         use_cache=True)
        present = []
        for layer in out.past_key_values.layers:
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


def cache_case(model, rows, tokens, past):
    c = model.model.config
    heads = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
    size = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    caches = [floats(k, len(rows), heads, past, size) for k in range(2 * LAYERS)]
    positions = torch.arange(past, past + tokens).repeat(len(rows), 1)
    return (ids_of(rows, tokens), torch.ones(len(rows), past + tokens, dtype=torch.int64), positions, *caches)


def build(kind, model):
    """The wrapped model, example inputs, names, dynamic axes and the inputs of each case."""
    if kind == "cache":
        wrapped = WithCache(model)
        cases = {"prefill": ([0], 11), "batch": ([0, 1], 11), "short": ([1], 6)}
        inputs = {name: cache_case(wrapped, rows, tokens, 0) for name, (rows, tokens) in cases.items()}
        names = ["input_ids", "attention_mask", "position_ids"]
        presents = []
        for i in range(LAYERS):
            names += [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
            presents += [f"present.{i}.key", f"present.{i}.value"]
        axes = [{0: "batch", 1: "seq"}, {0: "batch", 1: "total"}, {0: "batch", 1: "seq"}] + [{0: "batch", 2: "past"}] * (2 * LAYERS)
        return wrapped, cache_case(wrapped, [0, 1], 4, 3), names, ["logits", *presents], axes, cases, inputs
    if kind in ("recurrent", "encoder"):
        wrapped = Plain(model, use_cache=False) if kind == "recurrent" else Plain(model)
        cases = {"prefill": ([0], 11), "batch": ([0, 1], 11), "short": ([1], 6)}
        inputs = {name: (ids_of(rows, tokens),) for name, (rows, tokens) in cases.items()}
        return (wrapped, (ids_of([0, 1], 9),), ["input_ids"], ["logits" if kind == "recurrent" else "last_hidden_state"],
                [{0: "batch", 1: "seq"}], cases, inputs)
    shape, name = ((16, 64), "input_features") if kind == "features" else ((3, 32, 32), "pixel_values")
    cases = {"prefill": ([0], 1), "batch": ([0, 1], 1)}
    inputs = {case: (floats(0, len(rows), *shape),) for case, (rows, _) in cases.items()}
    output = "last_hidden_state" if kind == "features" else "logits"
    return Plain(model), (floats(0, 2, *shape),), [name], [output], [{0: "batch"}], cases, inputs


def export(wrapped, example, names, outputs, axes, path, exporter, fixed):
    keywords = dict(input_names=names, output_names=outputs)
    if exporter == "ts":
        keywords.update(dynamo=False, opset_version=17)
        if not fixed:
            keywords["dynamic_axes"] = dict(zip(names, axes))
    else:
        keywords.update(dynamo=True, opset_version=int(exporter), external_data=False)
        if not fixed:
            Dim = torch.export.Dim
            shapes = [{axis: Dim.AUTO for axis in a} for a in axes]
            keywords["dynamic_shapes"] = (*shapes[:3], tuple(shapes[3:])) if len(shapes) > 3 else tuple(shapes)
    torch.onnx.export(wrapped, example, str(path), **keywords)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("names", nargs="*", help="families; default: all")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    report = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}}
    for name in arguments.names or FAMILIES:
        kind, make = FAMILIES[name]
        for exporter in ("18", "23", "ts"):
            for fixed in ((False, True) if kind == "recurrent" else (False,)):
                key = f"{name}_{exporter}{'_fixed' if fixed else ''}"
                try:
                    torch.manual_seed(0)
                    model = make().eval().float()
                    wrapped, example, names, outputs, axes, cases, inputs = build(kind, model)
                    if fixed:
                        example = (ids_of([0], 16),)
                        cases, inputs = {"prefill": ([0], 16)}, {"prefill": example}
                    with torch.no_grad():
                        export(wrapped, example, names, outputs, axes, arguments.output / f"{key}.onnx", exporter, fixed)
                        entry = []
                        for case, (rows, tokens) in cases.items():
                            out = wrapped(*inputs[case])
                            out = out if isinstance(out, tuple) else (out,)
                            entry.append({"case": case, "batch": len(rows), "tokens": tokens, "rows": rows,
                                          "outputs": {n: record(t) for n, t in zip(outputs, out)}})
                    report[key] = entry
                    print(f"{key}: {len(entry)} cases", flush=True)
                except Exception as error:
                    report[key] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
                    (arguments.output / f"{key}.log").write_text(traceback.format_exc())
                    (arguments.output / f"{key}.onnx").unlink(missing_ok=True)
                    print(f"{key}: {report[key]['error']}", flush=True)
    (arguments.output / "expected.json").write_text(json.dumps(report, indent=0) + "\n")


if __name__ == "__main__":
    main()
