"""How commands print: data on stdout as a table or as JSON, talk on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import combining, east_asian_width

import click

from ..store.text import span

__all__ = [
    "json_option",
    "local_time",
    "print_json",
    "print_table",
    "say",
    "seconds_since",
    "span",
]

json_option = click.option("as_json", "--json", is_flag=True, help="Print JSON.")
_UNSAFE = re.compile("[\x7f-\x9f]")
_GAP = "  "


def print_json(data: Any) -> None:
    """Indented JSON; what would steer a terminal is escaped."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str)
    told = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    click.echo(told.encode("utf-8", "replace"))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns, numbers to the right; a line is cut at the edge of a terminal only."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [_is_numeric(column) for column in zip(*cells, strict=True)] or [False] * len(head)
    table = [list(head), *([text for text, _ in row] for row in cells)]
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    edge = _terminal_width()
    for row in table:
        aligned = zip(row, widths, numeric, strict=True)
        line = _GAP.join(_padded(text, width, right) for text, width, right in aligned).rstrip()
        click.echo(line if edge is None else _cut(line, edge))


def say(text: str) -> None:
    """One line for people."""
    from llm_gateway.progress import harmless

    click.echo(harmless(text), err=True)


def local_time(iso: str | None) -> str:
    """A time of the recorder as the person's own clock shows it."""
    from llm_gateway.store.text import seconds_of

    if not iso:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds_of(iso)))


def seconds_since(iso: str, until: str | None = None) -> float:
    """From one time of the recorder to another one, or to now."""
    from llm_gateway.store.text import seconds_of

    return max(0.0, (seconds_of(until) if until else time.time()) - seconds_of(iso))


def _terminal_width() -> int | None:
    """None where stdout is no terminal, or one that does not know."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (AttributeError, OSError, ValueError):
        return None


def _cell(value: object) -> tuple[str, bool]:
    """The text of a cell on one line, and whether it is a number."""
    if value is None:
        return "", True
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value), True
    from llm_gateway.progress import harmless

    return " ".join(harmless(str(value)).split()), False


def _is_numeric(column: Sequence[tuple[str, bool]]) -> bool:
    return any(text for text, _ in column) and all(number for _, number in column)


def _width(text: str) -> int:
    """The columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _padded(text: str, width: int, right: bool) -> str:
    room = " " * (width - _width(text))
    return room + text if right else text + room


def _cut(line: str, edge: int) -> str:
    if _width(line) <= edge:
        return line
    while line and _width(line) >= edge:
        line = line[:-1]
    return f"{line}…"
