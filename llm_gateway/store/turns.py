"""Whose turn it is to write: of a process's threads one at a time asks for the write lock.

SQLite's own wait sleeps longer the longer it has waited, so that of many writers those who come
last are served first and some never. Here threads stand in a queue, and its head looks often.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["BUSY_SECONDS", "begin"]

BUSY_SECONDS = 30.0
_FIRST, _LONGEST = 0.001, 0.008  # seconds between two looks whether the lock is free
_queue = threading.Lock()


def _without_queue() -> None:
    """After a fork the thread whose turn it was is not there to end it."""
    global _queue
    _queue = threading.Lock()


os.register_at_fork(after_in_child=_without_queue)


def begin(conn: sqlite3.Connection, wait: float, most: float) -> Callable[[], None]:
    """Begin a transaction that has the write lock; returns what ends this thread's turn.

    :param wait: seconds in which nobody writes anything, after which it raises.
    :param most: seconds after which it raises even while others write.
    """
    queue, patience = _queue, _patience(conn, wait, most)
    if not queue.acquire(blocking=False) and not any(
        queue.acquire(timeout=left) for left in patience
    ):
        raise sqlite3.OperationalError("database is locked")
    try:
        conn.execute("PRAGMA busy_timeout=0")
        try:
            _begin(conn, patience)
        finally:
            conn.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}")
    except BaseException:
        queue.release()
        raise
    return queue.release


def _begin(conn: sqlite3.Connection, patience: Iterator[float]) -> None:
    pause = _FIRST
    while True:
        try:
            conn.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            left = next(patience, None) if "locked" in str(error) else None
            if left is None:
                raise
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST)


def _patience(conn: sqlite3.Connection, wait: float, most: float) -> Iterator[float]:
    """The seconds that are left, again and again; it ends with the patience.

    A lock that is held while nobody writes may be held for ever; a long queue moves.
    """
    began = since = time.monotonic()
    written = _version(conn)
    while True:
        now = time.monotonic()
        left = min(since + wait, began + max(wait, most)) - now
        if left > 0:
            yield left
            continue
        before, written = written, _version(conn)
        if written == before or now >= began + most:
            return
        since = now


def _version(conn: sqlite3.Connection) -> int:
    """Another one after another connection has written."""
    return int(conn.execute("PRAGMA data_version").fetchone()[0])
