"""Writes a model: the graph, its weights beside it (or inline), the tokenizer. All files appear together or none."""

import errno
import os
import shutil
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Optional

import onnx
from onnx import TensorProto

from .errors import ExportError
from .graph import ONNX_TYPE, GraphBuilder
from .weights import Weight

ALIGNMENT = 64  # of each tensor in the data file; a cache line, the widest vector register
INLINE_LIMIT = 1 << 30  # protobuf holds 2 GiB at most, and an inline model is in memory twice while it is written

Progress = Callable[[int, int, int], None]  # tensors written, bytes written, bytes in all


class _Outputs:
    """Files under temporary names; `publish` renames them in the order in which they were made."""

    def __init__(self):
        self._made: List[tuple] = []

    def open(self, path: str):
        temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.tmp")
        file = open(temporary, "wb")
        self._made.append((temporary, path))
        return file

    def publish(self) -> None:
        for temporary, path in self._made:
            os.replace(temporary, path)
        self._made = []

    def discard(self) -> None:
        for temporary, _ in self._made:
            try:
                os.unlink(temporary)
            except FileNotFoundError:
                pass


@contextmanager
def _outputs(path: str) -> Iterator[_Outputs]:
    outputs = _Outputs()
    try:
        yield outputs
        outputs.publish()
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        outputs.discard()


def _cannot_write(path: str, error: OSError) -> ExportError:
    advice = {errno.ENOENT: "create the directory first",
              errno.ENOSPC: "free some space, or choose another disk with -o",
              errno.EACCES: "choose a directory that you may write to"}.get(error.errno, "")
    return ExportError("EFF0103", "the output cannot be written", path, error.strerror or str(error), advice)


def check_output(path: str) -> None:
    """Fails early where `write_model` would fail after all the work."""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise _cannot_write(path, OSError(errno.ENOENT, "the directory does not exist"))
    if os.path.isdir(path):
        raise _cannot_write(path, OSError(errno.EISDIR, "it is a directory"))
    if not os.access(directory, os.W_OK):
        raise _cannot_write(path, OSError(errno.EACCES, "no permission to write in the directory"))


def write_model(path: str, builder: GraphBuilder, metadata: Dict[str, str], inline: bool = False,
                tokenizer: Optional[bytes] = None, progress: Optional[Progress] = None) -> List[str]:
    """Writes `path` and what belongs beside it; returns the paths written."""
    weights = list(builder.weights.values())
    total = sum(w.nbytes for w in weights)
    if inline and total > INLINE_LIMIT:
        raise ExportError("EFF0103", f"{total >> 20} MiB of weights do not fit inline", path,
                          f"the limit is {INLINE_LIMIT >> 20} MiB", "leave out --inline")
    check_output(path)
    report = _reporter(progress, total)
    written = [path]
    with _outputs(path) as outputs:
        if inline:
            initializers = [_inline(w, report) for w in weights]
        else:
            data = path + ".data"
            free = shutil.disk_usage(os.path.dirname(path) or ".").free
            if total > free:
                raise OSError(errno.ENOSPC, f"No space left: {total} bytes are needed, {free} are free")
            with outputs.open(data) as file:
                initializers = [_external(w, file, os.path.basename(data), report) for w in weights]
            written.append(data)
        if tokenizer:
            copy = os.path.splitext(path)[0] + ".tokenizer.json"
            with outputs.open(copy) as file:
                file.write(tokenizer)
            written.append(copy)
        with outputs.open(path) as file:
            file.write(builder.model(initializers, metadata).SerializeToString())
    return written


def _reporter(progress: Optional[Progress], total: int):
    done = [0, 0]

    def advance(tensors: int, count: int) -> None:
        done[0] += tensors
        done[1] += count
        if progress:
            progress(done[0], done[1], total)

    return advance


def _proto(weight: Weight) -> TensorProto:
    return TensorProto(name=weight.name, data_type=ONNX_TYPE[weight.dtype], dims=weight.shape)


def _inline(weight: Weight, report) -> TensorProto:
    tensor = _proto(weight)
    tensor.raw_data = b"".join(weight.chunks())
    report(1, weight.nbytes)
    return tensor


def _external(weight: Weight, file, location: str, report) -> TensorProto:
    offset = file.tell()
    padding = -offset % ALIGNMENT
    file.write(bytes(padding))
    offset += padding
    for piece in weight.chunks():
        file.write(piece)
        report(0, len(piece))
    report(1, 0)
    tensor = _proto(weight)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", weight.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
