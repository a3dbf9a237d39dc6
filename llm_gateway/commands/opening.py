"""The recorder for a command: looked at where there is one, never made by looking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .output import say

if TYPE_CHECKING:
    import sqlite3

__all__ = ["recorder"]


@contextmanager
def recorder() -> Iterator[sqlite3.Connection | None]:
    """The recorder's connection; None where it is off, unusable or nothing was recorded yet."""
    if not _is_there():
        yield None
        return
    from llm_gateway.store.recorder import open_recorder

    opened = open_recorder(say)
    try:
        yield opened.connection
    finally:
        opened.close()


def _is_there() -> bool:
    """Whether something was recorded, were it only in spill files."""
    from llm_gateway import settings
    from llm_gateway.store.location import kind_of

    path = settings.logs_db()
    if path is None:
        return False
    with suppress(OSError):
        if kind_of(path) != "missing":
            return True
        return any(os.scandir(settings.home() / "spill"))
    return False
