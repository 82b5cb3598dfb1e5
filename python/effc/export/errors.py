"""Errors as the user sees them: what, where, why, what to try, and a stable code."""

import difflib
from typing import Iterable

# The codes of include/effc/Support/ErrorCodes.def that this package reports.
CODES = {
    "EFF0101": "FileNotFound",
    "EFF0102": "BadOption",
    "EFF0103": "CannotWrite",
    "EFF0701": "BadTokenizer",
    "EFF0801": "NotACheckpoint",
    "EFF0802": "BadConfig",
    "EFF0803": "UnsupportedModel",
    "EFF0804": "UnsupportedConfig",
    "EFF0805": "DamagedWeights",
    "EFF0806": "MissingWeights",
    "EFF0807": "WrongWeights",
    "EFF0808": "UnsupportedWeights",
    "EFF0809": "UnusedWeights",
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
