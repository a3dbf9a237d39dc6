"""Rows as CSV that a spreadsheet takes for data."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from .words import cell

__all__ = ["as_csv"]


def as_csv(columns: Sequence[str], rows: Iterable[Any]) -> str:
    """The rows with a head line."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([cell(row[name]) for name in columns] for row in rows)
    return out.getvalue()
