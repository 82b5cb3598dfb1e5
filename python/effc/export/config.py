"""Typed access to a Hugging Face configuration."""

import json
import math
from typing import Any, Optional

from .errors import ExportError, nearest

_REQUIRED = object()
_FLOAT32_MAX = 3.4028234663852886e38


class Config:
    """A configuration object; every access that fails names the key and the file."""

    def __init__(self, values: dict, where: str):
        self.values, self.where = values, where

    def _fetch(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is not None:
            return value
        if default is not _REQUIRED:
            return default
        close = nearest(key, self.values)
        raise ExportError(
            "EFF0802", f"the configuration has no '{key}'", self.where,
            f"a {self.values.get('model_type', 'model')} cannot be built without it",
            f"there is '{close}': is it meant?" if close else "take the config.json that belongs to the weights")

    def _wrong(self, key: str, value: Any, wanted: str) -> ExportError:
        return ExportError("EFF0802", f"'{key}' in the configuration is {json.dumps(value)}", self.where,
                           f"it must be {wanted}")

    def integer(self, key: str, default: Any = _REQUIRED, minimum: int = 1) -> int:
        value = self._fetch(key, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < 2**31:
            raise self._wrong(key, value, f"a whole number of at least {minimum}")
        return value

    def number(self, key: str, default: Any = _REQUIRED, positive: bool = True) -> float:
        value = self._fetch(key, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or (
                positive and value <= 0):
            raise self._wrong(key, value, "a positive number" if positive else "a number")
        return float(value)

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        value = self._fetch(key, default)
        if not isinstance(value, bool) and value is not default:
            raise self._wrong(key, value, "true or false")
        return value

    def string(self, key: str, default: Any = _REQUIRED) -> str:
        value = self._fetch(key, default)
        if not isinstance(value, str) and value is not default:
            raise self._wrong(key, value, "a string")
        return value

    def sub(self, key: str) -> Optional["Config"]:
        """The object under `key`, or None where there is none."""
        value = self._fetch(key, None)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return None if value is None else Config(value, f"{self.where}, '{key}'")

    def activation(self, key: str, default: str, supported: dict) -> Any:
        """`supported[name]` for the activation that `key` names."""
        name = self.string(key, default)
        if name not in supported:
            raise ExportError("EFF0804", f"'{key}' is \"{name}\"", self.where,
                              "this activation is not exported for " + self.values.get("model_type", "this model"),
                              "supported: " + ", ".join(sorted(supported)))
        return supported[name]

    def refuse(self, key: str, why: str) -> ExportError:
        return ExportError("EFF0804", f"'{key}' is {json.dumps(self.values.get(key))}", self.where, why)

    def mismatch(self, why: str) -> ExportError:
        return ExportError("EFF0802", "the sizes in the configuration contradict each other", self.where, why)

    def to_json(self) -> str:
        """The configuration as strict JSON: infinities, which JSON lacks, become the largest float32."""
        return json.dumps(_finite(self.values), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else math.copysign(_FLOAT32_MAX, value)
    return value
