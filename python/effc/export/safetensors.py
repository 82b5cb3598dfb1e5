"""Reads safetensors files: the header is checked in full, the data is streamed.

Layout: u64 little-endian header length n, n bytes of JSON, then the data that the
offsets of the header index without holes.
"""

import json
import os
from dataclasses import dataclass
from typing import Dict, Iterator, Tuple

from .errors import ExportError

# Bytes of one element. Types outside effc's set are listed so that a file that holds one still parses.
ELEMENT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I64": 8, "I32": 4,
                 "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
MAX_HEADER_BYTES = 100_000_000
CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class StoredTensor:
    name: str
    dtype: str
    shape: Tuple[int, ...]
    path: str
    offset: int  # in the file
    nbytes: int

    def chunks(self) -> Iterator[bytes]:
        """The data in pieces of CHUNK_BYTES, the last one shorter."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                for start in range(0, self.nbytes, CHUNK_BYTES):
                    wanted = min(CHUNK_BYTES, self.nbytes - start)
                    piece = file.read(wanted)
                    if len(piece) != wanted:
                        raise _damaged(self.path, "it became shorter while it was read")
                    yield piece
        except OSError as error:
            raise _unreadable(self.path, error) from None


def _unreadable(path: str, error: OSError) -> ExportError:
    return ExportError("EFF0101", "a weight file cannot be read", path, error.strerror or str(error))


def _damaged(path: str, why: str) -> ExportError:
    return ExportError("EFF0805", "a safetensors file is damaged", path, why,
                       "download or copy the file again")


def read_header(path: str) -> Dict[str, StoredTensor]:
    """All tensors of one file by name."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or 8 + length > size:
                raise _damaged(path, f"the file has {size} bytes, too few for its header")
            if length > MAX_HEADER_BYTES:
                raise _damaged(path, f"the header claims {length} bytes")
            text = file.read(length)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(path, "the header is not JSON") from None
    if not isinstance(header, dict):
        raise _damaged(path, "the header is not a JSON object")
    header.pop("__metadata__", None)

    data = 8 + length
    tensors = {name: _entry(path, name, entry, data, size) for name, entry in header.items()}
    end = data
    for tensor in sorted(tensors.values(), key=lambda t: (t.offset, t.nbytes)):
        if tensor.offset != end:
            raise _damaged(path, f"tensor '{tensor.name}' does not start where the one before it ends")
        end += tensor.nbytes
    if end != size:
        raise _damaged(path, f"the header indexes {end} bytes, the file has {size}")
    return tensors


def _entry(path: str, name: str, entry: object, data: int, size: int) -> StoredTensor:
    def whole(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    if not isinstance(entry, dict):
        raise _damaged(path, f"the entry of tensor '{name}' is not an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ELEMENT_BYTES:
        raise ExportError("EFF0808", f"tensor '{name}' has the unknown element type {json.dumps(dtype)}", path,
                          "", "known: " + ", ".join(ELEMENT_BYTES))
    if not isinstance(shape, list) or not all(map(whole, shape)):
        raise _damaged(path, f"the shape of tensor '{name}' is {json.dumps(shape)}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(whole, offsets)):
        raise _damaged(path, f"the offsets of tensor '{name}' are {json.dumps(offsets)}")
    nbytes = ELEMENT_BYTES[dtype]
    for extent in shape:
        nbytes *= extent
    begin, end = offsets
    if end - begin != nbytes:
        raise _damaged(path, f"tensor '{name}' has {end - begin} bytes, its shape needs {nbytes}")
    if data + end > size:
        raise _damaged(path, f"tensor '{name}' ends at byte {data + end}, the file has {size}")
    return StoredTensor(name, dtype, tuple(shape), path, data + begin, nbytes)
