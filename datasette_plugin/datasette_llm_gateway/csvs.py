"""Rows as CSV that a spreadsheet takes for data."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from .words import cell

__all__ = ["Harmless", "as_csv"]


def as_csv(columns: Sequence[str], rows: Iterable[Any]) -> str:
    """The rows with a head line."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([cell(row[name]) for name in columns] for row in rows)
    return out.getvalue()


class Harmless:
    """Makes the same of a CSV that comes in pieces, whoever wrote it."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest, self._open = "", False

    def take(self, piece: bytes, last: bool) -> bytes:
        """The lines that are whole by now, with every cell as data."""
        text = self._decoder.decode(piece, last)
        whole = 0
        for found in _QUOTE_OR_END.finditer(text):
            if found.group() == '"':
                self._open = not self._open
            elif not self._open:
                whole = found.end()
        ready, self._rest = self._rest + text[:whole], text[whole:]
        if not whole:
            ready, self._rest = "", ready + self._rest
        if last:
            ready, self._rest = ready + self._rest, ""
        out = io.StringIO()
        rows = csv.reader(io.StringIO(ready, newline=""))
        csv.writer(out).writerows([cell(value) for value in row] for row in rows)
        return out.getvalue().encode()


csv.field_size_limit(2**31 - 1)  # a tool's output is longer than what is usual in a cell
_QUOTE_OR_END = re.compile('["\n]')
