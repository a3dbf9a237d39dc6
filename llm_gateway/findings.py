"""What the doctor says of one thing that it has looked at."""

from __future__ import annotations

from .records import record

__all__ = ["BROKEN", "NOTE", "OK", "WARNING", "Finding"]

OK, NOTE, WARNING, BROKEN = "ok", "note", "warning", "broken"


@record(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and what mends it where it is not well."""

    area: str
    subject: str
    state: str
    text: str
    remedy: str | None = None
