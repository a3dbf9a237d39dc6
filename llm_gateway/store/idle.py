"""Connections that no run needs at the moment, for the other runs of the process.

Opening one costs more than all that a prompt does with it, because SQLite compiles the schema. So
a run that waits for its CLI lends its own, and a hundred runs share a few. While a connection to a
file is open, SQLite keeps the descriptors of those that were closed. So where a crowd was open at
once, all go when none is in use, and no descriptor is left.

SQLite does not know of forks: in one, it would believe to have its parent's locks on a file that
the parent had open, and others would remove the log that it writes. So those that nobody needs are
closed before a fork, and a file that was in use even so is left alone in it.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import time
from collections import Counter
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from llm_gateway.store.connection import Connection, connect, identity

__all__ = ["Lent", "close_all", "give_back", "give_up", "leave", "lend", "take", "take_again"]

_MOST = 4
_IN_TURN = 2  # a run that is tidying up, and the next one, which has begun
_FORK_WAITS = 0.5  # seconds
_kept: list[Connection] = []
_used: Counter[object] = Counter()  # runs that have or lent one, by process and file
_crowded: set[object] = set()  # where one was closed while others were open
_open: Counter[tuple[int, tuple[int, int]]] = Counter()  # connections, by process and file
_inherited: set[tuple[int, int]] = set()  # files that the parent of this fork had open
_lock = RLock()


class Lent(NamedTuple):
    """What a run that lent its connection has a right to: any one to that file."""

    path: Path
    of: tuple[int, tuple[int, int]]


def take(path: Path) -> Connection:
    """A connection to the file that lies there now, which nobody else uses.

    :raises OSError: where the parent of this fork was writing there.
    """
    lent = Lent(path, (os.getpid(), identity(path)))
    if lent.of[1] in _inherited:
        raise OSError("this process was forked from one that was writing there")
    with _lock:
        _used[lent.of] += 1
    try:
        return _kept_for(lent) or _new(lent)
    except BaseException:
        leave(lent)
        raise


def lend(conn: Connection) -> Lent | None:
    """Let others have a connection meanwhile; None where it is not in order."""
    if conn.path is None or conn.of is None or not _is_whole(conn):
        return None
    with _lock:
        _kept.append(conn)
    return Lent(conn.path, conn.of)


def take_again(lent: Lent) -> Connection:
    """A connection in the place of the one that was lent.

    :raises OSError: another file lies there now.
    """
    if (conn := _kept_for(lent)) is not None:
        return conn
    conn = _new(lent)
    if conn.file != lent.of[1]:
        _end(conn)
        raise OSError(f"another file lies at {lent.path} now")
    return conn


def leave(lent: Lent) -> None:
    """Do without the connection that was lent."""
    _done(lent.of)


def give_back(conn: sqlite3.Connection) -> None:
    """Keep a connection that is in order."""
    if not isinstance(conn, Connection) or not _is_whole(conn):
        give_up(conn)
        return
    with _lock:
        _kept.append(conn)
    _done(conn.of)


def give_up(conn: sqlite3.Connection) -> None:
    """Close a connection that nobody is to have any more."""
    if not isinstance(conn, Connection):
        conn.close()
        return
    _end(conn)
    _crowded.add(conn.of)
    _done(conn.of)


@atexit.register
def close_all() -> None:
    """The last connection to a file that closes takes the write-ahead log into it."""
    with _lock:
        _close(list(_kept))


def _kept_for(lent: Lent) -> Connection | None:
    with _lock:
        for at, conn in enumerate(_kept):
            if conn.of == lent.of:
                return _kept.pop(at)
    return None


def _new(lent: Lent) -> Connection:
    _count(lent.of, 1)
    try:
        conn = connect(lent.path)
    except BaseException:
        _count(lent.of, -1)
        raise
    conn.path, conn.of = lent
    return conn


def _is_whole(conn: Connection) -> bool:
    return not conn.in_transaction and (os.getpid(), conn.file) == conn.of


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
        _end(conn)


def _end(conn: Connection) -> None:
    conn.close()
    if conn.of is not None:
        _count(conn.of, -1)


def _count(of: tuple[int, tuple[int, int]], by: int) -> None:
    with _lock:
        _open[of] += by
        if not _open[of]:
            del _open[of]


def _before_fork() -> None:
    """Close what is idle, and wait a moment for what is not: most runs tidy up, or lend theirs."""
    until = time.monotonic() + _FORK_WAITS
    while True:
        _lock.acquire()
        _close(list(_kept))
        if not _open or time.monotonic() > until:
            return
        _lock.release()
        time.sleep(0.002)


def _after_fork() -> None:
    _inherited.update(file for _, file in _open)
    _open.clear()
    _lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_lock.release, after_in_child=_after_fork)
