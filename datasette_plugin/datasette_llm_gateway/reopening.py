"""A database of Datasette that follows its path: a file put in its place is read from then on.

A recorder that was set aside because it was broken, or restored from a copy, is another file under
the old name, and connections stay with the old one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from datasette.database import Database

from . import compat

__all__ = ["Reopening"]


class Reopening(Database):  # type: ignore[misc]
    """Each of Datasette's threads looks at the file before each query, and keeps its connection."""

    def __init__(self, datasette: Any, path: str, is_mutable: bool) -> None:
        super().__init__(datasette, path=path, is_mutable=is_mutable)
        self._of_thread = threading.local()

    async def _read(self, fn: Callable[[Any], Any]) -> Any:
        """As Datasette's own, with a connection to the file that is there now."""
        own = getattr(super(), compat.READING)
        return await own(lambda given: fn(self._current(given)))

    def _current(self, given: Any) -> Any:
        mine, file = self._of_thread, self._file()
        if not hasattr(mine, "connection"):
            mine.connection, mine.file = given, file
        elif file is not None and file != mine.file:
            mine.connection, mine.file = self.connect(), file
            self.ds._prepare_connection(mine.connection, self.name)
        return mine.connection

    def _file(self) -> tuple[int, int] | None:
        try:
            told = os.stat(self.path)
        except OSError:
            return None
        return told.st_dev, told.st_ino


setattr(Reopening, compat.READING, Reopening._read)
