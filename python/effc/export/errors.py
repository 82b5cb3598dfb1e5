"""Errors as the user sees them: what, where, why, what to try, and a stable code."""

import difflib
from typing import Iterable

# Every code this package reports, with the one line that `docs/errors.md` gives it.
CODES = {
    "EFF0701": "checkpoint not found or not readable",
    "EFF0702": "checkpoint configuration not usable",
    "EFF0703": "model type not supported by the exporter",
    "EFF0704": "configuration option not supported by the exporter",
    "EFF0705": "safetensors file damaged",
    "EFF0706": "checkpoint lacks a tensor or a file",
    "EFF0707": "checkpoint tensor has another shape, or exists twice",
    "EFF0708": "checkpoint tensor has an element type that cannot be exported",
    "EFF0709": "checkpoint has tensors that the model does not use",
    "EFF0710": "output cannot be written",
    "EFF0711": "wrong use of the command",
    "EFF0712": "tokenizer not usable",
}


class ExportError(Exception):
    """An input or use error; `str()` is the text for the user."""

    def __init__(self, code: str, what: str, where: str = "", why: str = "", try_: str = ""):
        assert code in CODES, code
        super().__init__(what)
        self.code, self.what, self.where, self.why, self.try_ = code, what, where, why, try_

    def __str__(self) -> str:
        lines = [f"error {self.code}: {self.what}"]
        for label, text in (("where", self.where), ("why", self.why), ("try", self.try_)):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


def nearest(word: str, words: Iterable[str]) -> str:
    """The word of `words` that `word` most likely misspells, or ""."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return found[0] if found else ""


def listing(items: Iterable[str], limit: int = 4) -> str:
    """`a, b, c and 5 more`."""
    items = list(items)
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
