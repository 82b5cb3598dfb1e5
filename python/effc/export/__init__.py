"""Exports Hugging Face checkpoints to ONNX for effc. `python3 -m effc.export --help` teaches the command."""

import json
import os
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from .checkpoint import Checkpoint, load_config, open_checkpoint, read_json
from .config import Config
from .errors import ExportError, nearest
from .graph import GraphBuilder
from .models import FAMILIES
from .weights import CheckpointSource, RandomSource, check_unused
from .writer import Progress, check_output, write_model

__all__ = ["ExportError", "Exported", "export", "export_random", "known_shapes"]

_SHAPES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shapes")


@dataclass(frozen=True)
class Exported:
    files: List[str]
    model_type: str
    layers: int
    parameters: int
    weight_bytes: Dict[str, int]  # by element type
    notes: List[str]


def known_shapes() -> List[str]:
    """Names of configurations that come with the exporter."""
    return sorted(name[:-len(".json")] for name in os.listdir(_SHAPES))


def export(checkpoint: str, output: str, dtype: str = "keep", inline: bool = False, tokenizer: Optional[str] = None,
           ignore_extra: bool = False, progress: Optional[Progress] = None) -> Exported:
    """Exports a checkpoint directory to `output`, its weights to `output`.data unless `inline`."""
    model = open_checkpoint(checkpoint)
    check_output(output)
    source = CheckpointSource(model, dtype)
    builder, ignorable = _build(model.name, model.config, source)
    if not ignore_extra:
        check_unused(source, model.config.string("model_type"), model.path, ignorable)
    return _write(builder, model.config, _metadata(model), output, inline, tokenizer or model.tokenizer, progress)


def export_random(config_file: str, output: str, seed: int = 0, dtype: str = "bf16", inline: bool = False,
                  tokenizer: Optional[str] = None, progress: Optional[Progress] = None) -> Exported:
    """Writes a model of the shapes in `config_file`, a path or one of `known_shapes()`, with random weights."""
    if config_file in known_shapes():
        config_file = os.path.join(_SHAPES, config_file + ".json")
    config, _ = load_config(config_file)
    check_output(output)
    name = os.path.splitext(os.path.basename(config_file))[0]
    builder, _ = _build(name, config, RandomSource(seed, dtype))
    metadata = {"effc.config": config.to_json(), "effc.random_seed": str(seed)}
    positions = config.integer("max_position_embeddings", None)
    if positions:
        metadata["effc.seq_len"] = str(positions)
    return _write(builder, config, metadata, output, inline, tokenizer, progress)


def _build(name: str, config: Config, source) -> Tuple[GraphBuilder, Dict[str, str]]:
    model_type = config.string("model_type")
    family = FAMILIES.get(model_type)
    if family is None:
        close = nearest(model_type, FAMILIES)
        raise ExportError("EFF0803", f"model type '{model_type}' is not supported", config.where,
                          "the exporter writes " + ", ".join(FAMILIES),
                          f"is '{close}' meant?" if close else
                          "export with torch.onnx.export(..., dynamo=True); effc compile reads such files too")
    builder = GraphBuilder(name, source, family.opset)
    return builder, family.build(builder, config)


def _metadata(model: Checkpoint) -> Dict[str, str]:
    metadata = {"effc.config": model.config.to_json()}
    if model.seq_len:
        metadata["effc.seq_len"] = str(model.seq_len)
    if model.config.values.get("model_type") in ("vit", "vmamba"):
        for key, value in (("effc.image_mean", model.mean), ("effc.image_std", model.std)):
            if value is not None:
                metadata[key] = json.dumps(value)
    metadata.update(model.metadata)
    return metadata


def _write(builder: GraphBuilder, config: Config, metadata: Dict[str, str], output: str, inline: bool,
           tokenizer: Optional[str], progress: Optional[Progress]) -> Exported:
    copied = _load_tokenizer(tokenizer, config) if tokenizer else None
    files = write_model(output, builder, metadata, inline, copied, progress)
    weight_bytes: Dict[str, int] = {}
    parameters = 0
    for weight in builder.weights.values():
        weight_bytes[weight.dtype] = weight_bytes.get(weight.dtype, 0) + weight.nbytes
        count = 1
        for extent in weight.shape:
            count *= extent
        parameters += count
    return Exported(files, config.string("model_type"), FAMILIES[config.string("model_type")].layers(config), parameters,
                    weight_bytes, _notes(config, tokenizer))


def _load_tokenizer(path: str, config: Config) -> bytes:
    """The file, which must be Hugging Face's `tokenizer.json` and must not know more ids than the model."""
    value = read_json(path, "EFF0701")
    model = value.get("model") if isinstance(value, dict) else None
    if not isinstance(model, dict):
        raise ExportError("EFF0701", "the tokenizer is not a tokenizer.json", path, "it has no 'model'")
    vocab, added = model.get("vocab"), value.get("added_tokens") or []
    if not isinstance(vocab, (dict, list)) or not isinstance(added, list):
        raise ExportError("EFF0701", "the tokenizer is not a tokenizer.json", path, "its vocabulary is not readable")
    ids = list(vocab.values()) if isinstance(vocab, dict) else [len(vocab) - 1]
    ids += [t.get("id") for t in added if isinstance(t, dict)]
    largest = max((i for i in ids if isinstance(i, int)), default=-1)
    size = config.integer("vocab_size", None)
    if size is not None and largest >= size:
        raise ExportError("EFF0701", f"the tokenizer has ids up to {largest}, the model knows {size} tokens", path,
                          "it belongs to another model", "give the model's own file with --tokenizer FILE")
    with open(path, "rb") as file:
        return file.read()


def _notes(config: Config, tokenizer: Optional[str]) -> List[str]:
    notes = []
    if config.values.get("vocab_size") and not tokenizer:
        notes.append("no tokenizer.json found: the model will take and give token ids (--tokenizer FILE adds one)")
    groups = config.values.get("n_groups", 1)
    if config.values.get("model_type") == "mamba2" and groups > 1 and "norm_group_size" not in config.values:
        notes.append(f"{groups} groups: the gated norm spans the whole width, as in transformers; for a checkpoint "
                     "trained with a norm per group (mamba_ssm) set 'norm_group_size' in the configuration")
    return notes
