"""What one text has that another has not, word by word.

Lines are compared first and words only within lines that differ, so that two long answers are
compared in the time in which somebody waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from markupsafe import Markup, escape

__all__ = ["LONGEST", "differences"]

LONGEST = 100_000
_MOST_LINES, _MOST_WORDS = 1500, 600
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


def differences(left: str, right: str) -> tuple[Markup, Markup, float]:
    """Both texts with what is only theirs marked, and which part they share (0 to 1)."""
    ours, theirs = left.splitlines(keepends=True), right.splitlines(keepends=True)
    if max(len(left), len(right)) > LONGEST or max(len(ours), len(theirs)) > _MOST_LINES:
        return escape(left), escape(right), 1.0 if left == right else 0.0
    out: tuple[list[str], list[str]] = ([], [])
    shared = 0
    for same, a, b in _parts(ours, theirs):
        one, two = "".join(a), "".join(b)
        if same:
            out[0].append(str(escape(one)))
            out[1].append(str(escape(two)))
            shared += len(one)
        else:
            shared += _words(one, two, out)
    whole = max(len(left), len(right))
    return Markup("".join(out[0])), Markup("".join(out[1])), shared / whole if whole else 1.0


def _words(one: str, two: str, out: tuple[list[str], list[str]]) -> int:
    a, b = _WORD.findall(one), _WORD.findall(two)
    if len(a) > _MOST_WORDS or len(b) > _MOST_WORDS:
        out[0].append(_marked("del", one))
        out[1].append(_marked("ins", two))
        return 0
    shared = 0
    for same, left, right in _parts(a, b):
        before, after = "".join(left), "".join(right)
        if same:
            out[0].append(str(escape(before)))
            out[1].append(str(escape(after)))
            shared += len(before)
        else:
            out[0].append(_marked("del", before))
            out[1].append(_marked("ins", after))
    return shared


def _marked(name: str, text: str) -> str:
    return str(Markup(f"<{name}>{{}}</{name}>").format(text)) if text else ""


def _parts(a: list[str], b: list[str]) -> Iterator[tuple[bool, list[str], list[str]]]:
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        yield tag == "equal", a[i1:i2], b[j1:j2]
