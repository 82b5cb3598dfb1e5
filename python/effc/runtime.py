"""Runs compiled model files through the C API of the runtime (libeffrt.so), with numpy arrays.

    from effc.runtime import Model
    model = Model("model.eff")
    session = model.session(threads=2, sequences=4)
    logits = session.prefill(0, model.tokenize("The river"))
    print(model.detokenize(session.greedy(0, 16)))

Errors of the runtime are raised as effc.runtime.Error, whose text says what, where, why and what to try."""
import ctypes
import os
import pathlib

import numpy as np


class Error(Exception):
    """An error of the runtime; `code` is its number (605 for EFF0605)."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class _SessionOptions(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("threads", ctypes.c_int32), ("sequences", ctypes.c_int32),
                ("no_pinning", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class _Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


_POINTERS = ["eff_open", "eff_session_create", "eff_snapshot_take"]
_FLOATS = ctypes.POINTER(ctypes.c_float)


def _load():
    root = pathlib.Path(__file__).resolve().parents[2]
    names = [os.environ.get("EFFRT_LIBRARY"), root / "build/lib/libeffrt.so", root / "lib/libeffrt.so", "libeffrt.so"]
    problems = []
    for name in filter(None, names):
        try:
            library = ctypes.CDLL(str(name))
            break
        except OSError as error:
            problems.append(str(error))
    else:
        raise OSError("libeffrt.so is not found; build effc or set EFFRT_LIBRARY: " + "; ".join(problems))
    for name in _POINTERS:
        getattr(library, name).restype = ctypes.c_void_p
    library.eff_last_error.restype = ctypes.c_char_p
    library.eff_manifest.restype = ctypes.c_char_p
    for name in ("eff_close", "eff_session_destroy", "eff_snapshot_free"):
        getattr(library, name).restype = None
    return library


_library = None


def _lib():
    global _library
    if _library is None:
        _library = _load()
    return _library


def _check(code):
    if code:
        raise Error(code, _lib().eff_last_error().decode())


def _pointer(value):
    if not value:
        raise Error(_lib().eff_last_code(), _lib().eff_last_error().decode())
    return ctypes.c_void_p(value)


def _ids(tokens):
    return np.ascontiguousarray(tokens, dtype=np.int32)


def _address(array):
    return array.ctypes.data_as(ctypes.c_void_p)


class Model:
    """A model file. Sessions keep what they need of it."""

    def __init__(self, path):
        self._file = _pointer(_lib().eff_open(os.fsencode(str(path))))
        self.vocab = _lib().eff_vocab(self._file)
        self.max_length = _lib().eff_max_length(self._file)

    def __del__(self):
        if getattr(self, "_file", None):
            _lib().eff_close(self._file)
            self._file = None

    @property
    def manifest(self):
        """The manifest's JSON text (docs/runtime-abi.md)."""
        return _lib().eff_manifest(self._file).decode()

    def tokenize(self, text, special=True):
        data, count = text.encode(), ctypes.c_size_t()
        ids = np.empty(len(data) + 16, np.int32)
        _check(_lib().eff_tokenize(self._file, data, ctypes.c_size_t(len(data)), int(special), _address(ids),
                                   ctypes.c_size_t(ids.size), ctypes.byref(count)))
        return ids[:count.value].copy()

    def detokenize(self, tokens):
        ids, count = _ids(tokens), ctypes.c_size_t()
        text = ctypes.create_string_buffer(64 * ids.size + 64)
        _check(_lib().eff_detokenize(self._file, _address(ids), ctypes.c_size_t(ids.size), text,
                                     ctypes.c_size_t(len(text)), ctypes.byref(count)))
        return text.raw[:count.value].decode()

    def session(self, threads=0, sequences=1):
        return Session(self, threads, sequences)


class Session:
    """Threads and a number of sequences of one model."""

    def __init__(self, model, threads=0, sequences=1):
        self.model = model
        options = _SessionOptions(ctypes.sizeof(_SessionOptions), threads, sequences, 0, 0)
        self._session = _pointer(_lib().eff_session_create(model._file, ctypes.byref(options)))

    def __del__(self):
        if getattr(self, "_session", None):
            _lib().eff_session_destroy(self._session)
            self._session = None

    def length(self, sequence=0):
        return _lib().eff_length(self._session, sequence)

    def reset(self, sequence=0):
        _check(_lib().eff_reset(self._session, sequence))

    def truncate(self, sequence, length):
        _check(_lib().eff_truncate(self._session, sequence, length))

    def copy(self, source, target):
        _check(_lib().eff_copy(self._session, source, target))

    def snapshot(self, sequence=0, light=False):
        return Snapshot(_pointer(_lib().eff_snapshot_take(self._session, sequence, int(light))))

    def restore(self, sequence, snapshot):
        _check(_lib().eff_snapshot_restore(self._session, sequence, snapshot._snapshot))

    def prefill(self, sequence, tokens):
        """Appends tokens; the logits [vocab] after the last."""
        ids, logits = _ids(tokens), _FLOATS()
        _check(_lib().eff_prefill(self._session, sequence, _address(ids), ctypes.c_size_t(ids.size),
                                  ctypes.byref(logits)))
        return np.ctypeslib.as_array(logits, (self.model.vocab,)).copy()

    def decode(self, sequences, tokens):
        """Appends one token to each sequence; logits [len(sequences), vocab]."""
        rows, ids, logits = _ids(sequences), _ids(tokens), _FLOATS()
        _check(_lib().eff_decode(self._session, _address(rows), _address(ids), ctypes.c_size_t(ids.size),
                                 ctypes.byref(logits)))
        return np.ctypeslib.as_array(logits, (ids.size, self.model.vocab)).copy()

    def score(self, sequence, tokens):
        """Appends tokens; the logits [len(tokens), vocab] after each."""
        ids = _ids(tokens)
        logits = np.empty((ids.size, self.model.vocab), np.float32)
        _check(_lib().eff_score(self._session, sequence, _address(ids), ctypes.c_size_t(ids.size), _address(logits)))
        return logits

    def greedy(self, sequence, count, logits=None, prompt=None):
        """Continues with the most likely tokens after `prompt` or after given logits."""
        if prompt is not None:
            logits = self.prefill(sequence, prompt)
        tokens = []
        for _ in range(count):
            tokens.append(int(np.argmax(logits)))
            if len(tokens) < count:
                logits = self.decode([sequence], [tokens[-1]])[0]
        return tokens

    def forward(self, inputs, outputs, entry=None):
        """Runs a model that takes tensors: `inputs` by name, `outputs` by name to write into (contiguous arrays)."""
        def pack(tensors):
            return (_Tensor * len(tensors))(*[_Tensor(name.encode(), array.ctypes.data, array.nbytes)
                                              for name, array in tensors.items()])
        _check(_lib().eff_forward(self._session, entry.encode() if entry else None, pack(inputs),
                                  ctypes.c_size_t(len(inputs)), pack(outputs), ctypes.c_size_t(len(outputs))))
        return outputs


class Snapshot:
    """A sequence at one moment."""

    def __init__(self, pointer):
        self._snapshot = pointer

    def __del__(self):
        if getattr(self, "_snapshot", None):
            _lib().eff_snapshot_free(self._snapshot)
            self._snapshot = None
