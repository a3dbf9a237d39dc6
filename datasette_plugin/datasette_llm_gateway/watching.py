"""Whether the recorder was written, looked at for all who listen at once.

One look a tick on a connection of its own, in a thread only while it looks, and no look where
nobody listens. ``PRAGMA data_version`` holds no transaction, so checkpoints go on as they like.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

__all__ = ["MOST", "Full", "Watch", "is_ending", "watch_of"]

MOST = 20  # streams of one Datasette
TICK_SECONDS = 0.5


class Full(Exception):
    """So many listen that another one has to look by itself."""


class Watch:
    """Tells its listeners when a file was written; each is an event that it sets."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many streams there are now."""
        return len(self._listeners)

    @contextmanager
    def listen(self, path: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change, as long as it is listened to."""
        if self.listeners >= MOST:
            raise Full
        event = asyncio.Event()
        self._listeners.add(event)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._look(path))
        try:
            yield event
        finally:
            self._listeners.discard(event)

    async def _look(self, path: str) -> None:
        look = _Look(path)
        loop = asyncio.get_running_loop()
        try:
            while self._listeners:
                changed = await loop.run_in_executor(None, look)
                if changed or is_ending():
                    for event in self._listeners:
                        event.set()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            look.close()


_NOTHING = (0, 0, 0)


class _Look:
    """What the file is now; called again, whether that is something else."""

    def __init__(self, path: str) -> None:
        self._path, self._seen = path, _NOTHING
        self._connection: sqlite3.Connection | None = None

    def __call__(self) -> bool:
        before, self._seen = self._seen, self._now()
        return before != self._seen and before != _NOTHING

    def _now(self) -> tuple[int, int, int]:
        """Which file it is, and its version; a file that cannot be read does not change."""
        try:
            told = os.stat(self._path)
            if (told.st_dev, told.st_ino) != self._seen[:2]:
                self.close()
            if self._connection is None:
                uri = f"file:{quote(self._path)}?mode=ro"
                self._connection = sqlite3.connect(
                    uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
                )
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        except (OSError, sqlite3.Error):
            return self._seen
        return told.st_dev, told.st_ino, version

    def close(self) -> None:
        """Let the file go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_watches: WeakKeyDictionary[Any, Watch] = WeakKeyDictionary()


def watch_of(datasette: Any) -> Watch:
    """The one watch of a Datasette."""
    return _watches.setdefault(datasette, Watch())


def is_ending() -> bool:
    """Whether uvicorn was told to end: it waits for every stream before it says so to anybody."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))
