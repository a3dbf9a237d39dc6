"""Connections that a run has done with, for the next run of the process.

Opening one costs more than all that a prompt does with it, because SQLite compiles the schema.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
from pathlib import Path
from threading import Lock

from llm_gateway.store.connection import Connection, identity

__all__ = ["close_all", "keep", "take"]

_MOST = 4
_kept: list[tuple[int, Connection]] = []  # with the process whose it is: a fork has none
_lock = Lock()


def take(path: Path) -> Connection | None:
    """A connection to the file that lies there now; None where none is idle."""
    wanted = os.getpid(), identity(path)
    with _lock:
        for at, (pid, conn) in enumerate(_kept):
            if (pid, conn.file) == wanted:
                return _kept.pop(at)[1]
    return None


def keep(conn: sqlite3.Connection) -> None:
    """Keep a connection that is in order; the one that has been idle longest gives way to it."""
    if not isinstance(conn, Connection) or conn.file is None or conn.in_transaction:
        conn.close()
        return
    with _lock:
        _kept.append((os.getpid(), conn))
        given_up = _kept.pop(0) if len(_kept) > _MOST else None
    if given_up is not None:
        _close(*given_up)


@atexit.register
def close_all() -> None:
    """The last connection to a file that closes takes the write-ahead log into it."""
    while _kept:
        _close(*_kept.pop())


def _close(pid: int, conn: Connection) -> None:
    if pid == os.getpid():
        conn.close()
