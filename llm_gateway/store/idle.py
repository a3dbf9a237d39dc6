"""Connections that a run has done with, for the next run of the process.

Opening one costs more than all that a prompt does with it, because SQLite compiles the schema.
While a connection to a file is open, SQLite keeps the descriptors of those that were closed. So
where a crowd was open at once, all go when none is in use, and no descriptor is left.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
from collections import Counter
from pathlib import Path
from threading import Lock

from llm_gateway.store.connection import Connection, connect, identity

__all__ = ["close_all", "give_back", "give_up", "take"]

_MOST = 4
_IN_TURN = 2  # a run that is tidying up, and the next one, which has begun
_kept: list[Connection] = []
_used: Counter[object] = Counter()  # connections in use, by process and file
_crowded: set[object] = set()  # where one was closed while others were open
_lock = Lock()


def take(path: Path) -> Connection:
    """A connection to the file that lies there now, which nobody else uses."""
    of = os.getpid(), identity(path)  # a fork has none of its parent's
    with _lock:
        _used[of] += 1
        for at, conn in enumerate(_kept):
            if conn.of == of:
                return _kept.pop(at)
    try:
        conn = connect(path)
    except BaseException:
        _done(of)
        raise
    conn.of = of
    return conn


def give_back(conn: sqlite3.Connection) -> None:
    """Keep a connection that is in order."""
    file = conn.file if isinstance(conn, Connection) else None
    if not isinstance(conn, Connection) or conn.in_transaction or (os.getpid(), file) != conn.of:
        give_up(conn)
        return
    with _lock:
        _kept.append(conn)
    _done(conn.of)


def give_up(conn: sqlite3.Connection) -> None:
    """Close a connection that nobody is to have any more."""
    conn.close()
    if isinstance(conn, Connection):
        _crowded.add(conn.of)
        _done(conn.of)


@atexit.register
def close_all() -> None:
    """The last connection to a file that closes takes the write-ahead log into it."""
    with _lock:
        _close(list(_kept))


def _done(of: object) -> None:
    with _lock:
        _used[of] -= 1
        idle = [conn for conn in _kept if conn.of == of]
        if _used[of] > 0:
            _close(idle[_MOST:])
            return
        del _used[of]
        if len(idle) > _IN_TURN or of in _crowded:
            _close(idle)
        _crowded.discard(of)


def _close(connections: list[Connection]) -> None:
    for conn in connections:
        _kept.remove(conn)
        if conn.of is not None and conn.of[0] == os.getpid():
            conn.close()
