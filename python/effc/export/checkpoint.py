"""Finds the parts of a checkpoint directory: configuration, weights, tokenizer, chat template.

Configuration: `config.json`, or one `NAME.json` whose key "config" holds it (beside "seq_len", "mean", "std").
Weights, first that applies: the files of a `*.safetensors.index.json`; `model.safetensors`;
`model-00001-of-0000N.safetensors`; `NAME.safetensors`; `NAME.0.safetensors`, `NAME.1.safetensors`, ...
"""

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from .config import Config
from .errors import ExportError, listing
from .safetensors import StoredTensor, read_header

_OF = re.compile(r"(.+)-(\d+)-of-(\d+)\.safetensors")
_NUMBERED = re.compile(r"(.+)\.(\d+)\.safetensors")


@dataclass
class Checkpoint:
    path: str
    name: str
    config: Config
    tensors: Dict[str, StoredTensor]
    seq_len: Optional[int] = None
    mean: Optional[List[float]] = None
    std: Optional[List[float]] = None
    tokenizer: Optional[str] = None
    metadata: Dict[str, str] = field(default_factory=dict)


def read_json(path: str, code: str = "EFF0802") -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise ExportError("EFF0101", "a file cannot be read", path, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise ExportError(code, "a file is not JSON", path, "it is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise ExportError(code, "a file is not JSON", path, str(error)) from None


def load_config(path: str) -> Tuple[Config, dict]:
    """The configuration in a JSON file, bare or under "config", and the object around it."""
    outer = read_json(path)
    inner = outer.get("config", outer) if isinstance(outer, dict) else outer
    if not isinstance(inner, dict):
        raise ExportError("EFF0802", "the configuration is not a JSON object", path)
    return Config(inner, path), outer if inner is not outer else {}


def is_checkpoint(path: str) -> bool:
    return os.path.isdir(path) and any(f.endswith(".safetensors") for f in os.listdir(path))


def open_checkpoint(path: str) -> Checkpoint:
    if not os.path.isdir(path):
        what = "not a directory" if os.path.exists(path) else "no such directory"
        raise ExportError("EFF0101", f"checkpoint '{path}': {what}", "", "",
                          "give the directory that holds config.json and *.safetensors")
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise ExportError("EFF0101", "the checkpoint directory cannot be read", path, error.strerror or "") from None

    config, outer = load_config(_config_file(path, names))
    model = Checkpoint(path, os.path.basename(os.path.abspath(path)), config, _load_tensors(path, names))
    preprocessor = _optional_json(path, names, "preprocessor_config.json")
    seq_len = outer.get("seq_len", config.values.get("max_position_embeddings"))
    if isinstance(seq_len, int) and not isinstance(seq_len, bool) and seq_len > 0:
        model.seq_len = seq_len
    model.mean = outer.get("mean", preprocessor.get("image_mean"))
    model.std = outer.get("std", preprocessor.get("image_std"))
    if "tokenizer.json" in names:
        model.tokenizer = os.path.join(path, "tokenizer.json")
    model.metadata = _generation_metadata(path, names)
    return model


def _config_file(path: str, names: List[str]) -> str:
    if "config.json" in names:
        return os.path.join(path, "config.json")
    wrapped = []
    for name in names:
        if name.endswith(".json") and not name.endswith(".index.json"):
            value = read_json(os.path.join(path, name))
            if isinstance(value, dict) and isinstance(value.get("config"), dict):
                wrapped.append(name)
    if len(wrapped) == 1:
        return os.path.join(path, wrapped[0])
    raise ExportError("EFF0801", "the checkpoint has no config.json", path,
                      f"several files could stand for it: {listing(wrapped)}" if wrapped else "",
                      "copy the model's config.json beside its weights")


def _weight_files(path: str, names: List[str]) -> List[str]:
    """File names in the order of their shard number."""
    files = [n for n in names if n.endswith(".safetensors")]
    if not files:
        others = [n for n in names if n.endswith((".bin", ".pt", ".pth", ".gguf"))]
        raise ExportError("EFF0801", "the checkpoint has no .safetensors file", path,
                          f"it has {listing(others)}, which the exporter does not read" if others else "",
                          "save the model with save_pretrained(..., safe_serialization=True)")
    if "model.safetensors" in files:
        return ["model.safetensors"]
    sharded = [m for m in map(_OF.fullmatch, files) if m]
    if sharded:
        series = sorted({(m[1], int(m[3])) for m in sharded})
        stem, count = next((s for s in series if s[0] == "model"), series[0])
        part = {int(m[2]): m[0] for m in sharded if (m[1], int(m[3])) == (stem, count)}
        return _complete(path, part, range(1, count + 1), f"{stem}-{{:05d}}-of-{count:05d}.safetensors")
    numbered = [m for m in map(_NUMBERED.fullmatch, files) if m]
    plain = [n for n in files if not _NUMBERED.fullmatch(n)]
    if len(plain) == 1 and not numbered:
        return plain
    stems = sorted({m[1] for m in numbered})
    if len(stems) == 1 and not plain:
        part = {int(m[2]): m[0] for m in numbered}
        return _complete(path, part, range(max(part) + 1), stems[0] + ".{}.safetensors")
    raise ExportError("EFF0801", "the weight files do not form one model", path,
                      f"found {listing(files)}", "leave the files of one model in the directory, or add an index")


def _complete(path: str, part: Dict[int, str], wanted: range, pattern: str) -> List[str]:
    missing = [pattern.format(i) for i in wanted if i not in part]
    if missing:
        raise ExportError("EFF0806", f"{len(missing)} weight files are missing", path,
                          f"there is no {listing(missing)}", "download or copy the whole checkpoint")
    return [part[i] for i in wanted]


def _load_tensors(path: str, names: List[str]) -> Dict[str, StoredTensor]:
    indexes = [n for n in names if n.endswith(".safetensors.index.json")]
    if not indexes:
        tensors: Dict[str, StoredTensor] = {}
        for name in _weight_files(path, names):
            for tensor in read_header(os.path.join(path, name)).values():
                if tensor.name in tensors:
                    raise ExportError("EFF0807", f"tensor '{tensor.name}' exists twice", path,
                                      f"in {os.path.basename(tensors[tensor.name].path)} and in {name}")
                tensors[tensor.name] = tensor
        return tensors

    index = indexes[0] if len(indexes) == 1 else "model.safetensors.index.json"
    where = os.path.join(path, index)
    value = read_json(where)
    places = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(places, dict) or not all(isinstance(f, str) for f in places.values()):
        raise ExportError("EFF0802", "the index has no 'weight_map' from tensor to file", where)
    shards = sorted(set(places.values()))
    for shard in shards:
        if os.path.basename(shard) != shard or shard in ("", ".", ".."):
            raise ExportError("EFF0802", "the index names a file outside the checkpoint", where, json.dumps(shard))
    missing = [s for s in shards if s not in names]
    if missing:
        raise ExportError("EFF0806", f"{len(missing)} weight files are missing", path,
                          f"{index} names {listing(missing)}", "download or copy the whole checkpoint")
    headers = {shard: read_header(os.path.join(path, shard)) for shard in shards}
    for name, shard in places.items():
        if name not in headers[shard]:
            raise ExportError("EFF0806", f"tensor '{name}' is not in {shard}", where,
                              "the index says that it is", "download or copy the whole checkpoint")
    return {name: headers[shard][name] for name, shard in places.items()}


def _optional_json(path: str, names: List[str], name: str) -> dict:
    value = read_json(os.path.join(path, name)) if name in names else {}
    return value if isinstance(value, dict) else {}


def _generation_metadata(path: str, names: List[str]) -> Dict[str, str]:
    """What generation needs beyond the configuration: stop tokens and the chat template."""
    metadata = {}
    generation = _optional_json(path, names, "generation_config.json")
    if generation:
        metadata["effc.generation_config"] = Config(generation, path).to_json()
    if "chat_template.jinja" in names:
        with open(os.path.join(path, "chat_template.jinja"), encoding="utf-8", errors="replace") as file:
            metadata["effc.chat_template"] = file.read()
    else:
        template = _optional_json(path, names, "tokenizer_config.json").get("chat_template")
        if isinstance(template, list):  # named templates: the default one
            template = next((t.get("template") for t in template
                             if isinstance(t, dict) and t.get("name") == "default"), None)
        if isinstance(template, str):
            metadata["effc.chat_template"] = template
    return metadata
