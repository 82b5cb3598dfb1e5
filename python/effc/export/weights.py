"""Where weights come from: a checkpoint, or random numbers of true shapes. Both stream; neither holds a tensor."""

import os
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Tuple

import numpy as np

from .checkpoint import Checkpoint
from .errors import ExportError, listing
from .safetensors import ELEMENT_BYTES

# Element types that a weight may have in the ONNX file.
STORED_TYPES = ("F32", "BF16", "F16")
DTYPE_CHOICES = ("keep", "bf16", "f32")
RANDOM_CHUNK = 1 << 18  # elements


@dataclass(frozen=True)
class Weight:
    name: str
    shape: Tuple[int, ...]
    dtype: str
    chunks: Callable[[], Iterator[bytes]]

    @property
    def nbytes(self) -> int:
        count = ELEMENT_BYTES[self.dtype]
        for extent in self.shape:
            count *= extent
        return count


@dataclass(frozen=True)
class Init:
    """How a random weight is drawn; the forms are those with which the model families start training."""

    kind: str  # normal | uniform | constant | log_range | softplus_inverse
    a: float = 0.0
    b: float = 0.0

    def draw(self, rng: np.random.Generator, start: int, count: int) -> np.ndarray:
        """Elements [start, start + count) of the flattened tensor, in float32."""
        if self.kind == "normal":  # standard deviation a
            return rng.standard_normal(count, dtype=np.float32) * np.float32(self.a)
        if self.kind == "uniform":  # [a, b)
            return rng.random(count, dtype=np.float32) * np.float32(self.b - self.a) + np.float32(self.a)
        if self.kind == "constant":  # a
            return np.full(count, self.a, np.float32)
        if self.kind == "log_range":  # log(1 .. a) along the last axis of a elements
            return np.log(np.arange(start, start + count) % int(self.a) + 1).astype(np.float32)
        assert self.kind == "softplus_inverse", self.kind  # softplus of it is log-uniform in [a, b)
        dt = np.exp(rng.random(count) * (np.log(self.b) - np.log(self.a)) + np.log(self.a))
        return (dt + np.log(-np.expm1(-dt))).astype(np.float32)


ONES, ZEROS = Init("constant", 1.0), Init("constant", 0.0)


def to_f32(data: bytes, dtype: str) -> np.ndarray:
    if dtype == "F32":
        return np.frombuffer(data, "<f4")
    if dtype == "F16":
        return np.frombuffer(data, "<f2").astype("<f4")
    assert dtype == "BF16", dtype
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")


def from_f32(values: np.ndarray, dtype: str) -> bytes:
    """The bytes of `values` in `dtype`; bfloat16 rounds to nearest even and keeps NaN."""
    if dtype == "F32":
        return values.astype("<f4", copy=False).tobytes()
    assert dtype == "BF16", dtype
    bits = values.astype("<f4", copy=False).view("<u4")
    rounded = ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype("<u2")
    nan = np.isnan(values)
    if nan.any():
        rounded[nan] = (bits[nan] >> 16).astype("<u2") | 0x40
    return rounded.tobytes()


def target_type(policy: str, stored: str, recurrent: bool) -> str:
    """The parameters of a recurrence (A_log, D, dt_bias) compound over the sequence: they never become bf16."""
    if policy == "keep":
        return stored
    if policy == "f32" or recurrent:
        return "F32"
    return "BF16"


class CheckpointSource:
    """Weights of a checkpoint. Tensors that no one asks for are reported by `unused`."""

    random = False

    def __init__(self, checkpoint: Checkpoint, policy: str = "keep"):
        self._checkpoint, self._policy, self._taken = checkpoint, policy, set()

    def has(self, name: str) -> bool:
        return name in self._checkpoint.tensors

    def weight(self, name: str, shape: Tuple[int, ...], init: Init, recurrent: bool = False) -> Weight:
        del init
        stored = self._checkpoint.tensors.get(name)
        if stored is None:
            raise ExportError(
                "EFF0806", f"tensor '{name}' is missing", self._checkpoint.path,
                f"the configuration asks for it with shape {list(shape)}",
                "check that the configuration belongs to these weights and that every shard is there")
        if stored.shape != tuple(shape):
            raise ExportError(
                "EFF0807", f"tensor '{name}' has shape {list(stored.shape)}", stored.path,
                f"the configuration asks for {list(shape)}", "take the config.json that belongs to the weights")
        if stored.dtype not in STORED_TYPES:
            raise ExportError(
                "EFF0808", f"tensor '{name}' has element type {stored.dtype}", stored.path,
                "weights must be " + ", ".join(STORED_TYPES), "export the model before it is quantised")
        self._taken.add(name)
        dtype = target_type(self._policy, stored.dtype, recurrent)
        if dtype == stored.dtype:
            return Weight(name, stored.shape, dtype, stored.chunks)
        return Weight(name, stored.shape, dtype,
                      lambda: (from_f32(to_f32(piece, stored.dtype), dtype) for piece in stored.chunks()))

    def unused(self) -> List[str]:
        return [name for name in self._checkpoint.tensors if name not in self._taken]


class RandomSource:
    """Reproducible random weights: the values depend on the seed and the tensor's name alone."""

    random = True

    def __init__(self, seed: int = 0, policy: str = "bf16"):
        self._seed, self._policy = seed, "bf16" if policy == "keep" else policy
        self._workers = min(8, len(os.sched_getaffinity(0)))

    def has(self, name: str) -> bool:
        return True

    def weight(self, name: str, shape: Tuple[int, ...], init: Init, recurrent: bool = False) -> Weight:
        shape = tuple(shape)
        dtype = target_type(self._policy, "F32", recurrent)
        return Weight(name, shape, dtype, lambda: self._generate(name, int(np.prod(shape, dtype=object)), init, dtype))

    def unused(self) -> List[str]:
        return []

    def _generate(self, name: str, count: int, init: Init, dtype: str) -> Iterator[bytes]:
        key = zlib.crc32(name.encode())

        def piece(start: int) -> bytes:
            rng = np.random.Generator(np.random.SFC64([self._seed, key, start // RANDOM_CHUNK]))
            return from_f32(init.draw(rng, start, min(RANDOM_CHUNK, count - start)), dtype)

        with ThreadPoolExecutor(self._workers) as pool:
            pending: deque = deque()
            for start in range(0, count, RANDOM_CHUNK):
                pending.append(pool.submit(piece, start))
                if len(pending) > 2 * self._workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()


# Tensors that some checkpoints carry although they follow from others or belong to training.
_DERIVED = ("rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached", ".attn.bias", ".masked_bias")


def check_unused(source: CheckpointSource, model_type: str, where: str, ignorable: Dict[str, str]) -> None:
    """Refuses a checkpoint with tensors that the graph does not use: it is then another model than it claims."""
    extra = [n for n in source.unused()
             if not n.endswith(_DERIVED) and not any(n.startswith(prefix) for prefix in ignorable)]
    if extra:
        raise ExportError(
            "EFF0809", f"{len(extra)} tensors are not used by a {model_type}", where, listing(extra),
            "check 'model_type', the bias options and the number of layers in the configuration; "
            "--ignore-extra exports without them")
