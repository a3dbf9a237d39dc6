"""Where operations go that SQLite would not take, and how they come back.

One file a run, one JSON line an operation. Its writer holds a lock on it until the run is over, so
that it is taken in whole or not at all; it names the recorder that it is for.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from llm_gateway import forks
from llm_gateway.store import connection
from llm_gateway.store.operations import OPERATIONS
from llm_gateway.store.text import dumps

__all__ = ["Spill", "take_in"]

_MOST_FILES = 1000
_MOST_BYTES = 256 * 1024 * 1024
_FILES_AT_ONCE = 50
_KEPT = "this run goes to a spill file and is taken in later"
_LOST = "a spill file cannot be written either, so this run is not recorded"


class Spill:
    """The spill file of one run, made when it is first needed; losing it never raises."""

    def __init__(self, directory: Path, database: Path) -> None:
        self.directory = directory
        self.path: Path | None = None
        self.database = database
        self._descriptor: int | None = None
        self._written = 0
        self._lost = False

    @property
    def fate(self) -> str:
        """What becomes of the run, in words; the file is made, to see whether it can be."""
        try:
            self._put(b"")
        except (OSError, ValueError):
            self._lost = True
        return _LOST if self._lost else _KEPT

    def append(self, operation: str, arguments: dict[str, Any]) -> bool:
        """Keep one operation for later; False where that cannot be done either."""
        if self._lost:
            return False
        try:
            line = dumps({"op": operation, "args": arguments}).encode() + b"\n"
            self._put(line)
        except (OSError, ValueError):
            self._lost = True
        return not self._lost

    def close(self) -> None:
        """The run is over: whoever opens the recorder next may take the file in."""
        if self._descriptor is not None:
            forks.close(self._descriptor)
        self._descriptor = None
        self._written = 0

    def _put(self, line: bytes) -> None:
        if self._descriptor is None:
            self._descriptor = self._open()
        self._written += len(line)
        if self._written > _MOST_BYTES or os.write(self._descriptor, line) != len(line):
            raise OSError("the spill file is full")

    def _open(self) -> int:
        connection.make_directory(self.directory)
        if len(os.listdir(self.directory)) >= _MOST_FILES:
            raise OSError("too many spill files")
        descriptor = self._locked()
        os.write(descriptor, dumps({"for": str(self.database)}).encode() + b"\n")
        return descriptor

    def _locked(self) -> int:
        """A new file, and another one where it was taken in before it had its lock."""
        while True:
            self.path = self.directory / f"{time.time_ns():020d}-{os.getpid()}.jsonl"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with forks.held_off():
                descriptor = forks.own(connection.create_private(self.path, flags))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            forks.close(descriptor)


def take_in(conn: sqlite3.Connection, directory: Path, database: Path, wait: float) -> int:
    """Do what earlier runs could not, oldest first; how many files were taken in and deleted."""
    taken = 0
    for name in _names(directory):
        if taken == _FILES_AT_ONCE:
            break
        path = directory / name
        with suppress(OSError), _locked(path) as descriptor:
            if descriptor is not None and _meant_for(descriptor, database):
                with connection.write(conn, wait):
                    _replay(conn, descriptor)
                path.unlink()
                taken += 1
    return taken


def _names(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(".jsonl"))
    except OSError:
        return []


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """The file, where nobody writes it, nobody takes it in, and nobody has."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor if os.fstat(descriptor).st_nlink else None
    finally:
        os.close(descriptor)


def _lines(descriptor: int) -> Iterator[dict[str, Any]]:
    """The whole lines; the last one is half where its writer was killed or the disk was full."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, encoding="utf-8", errors="replace", closefd=False) as file:
        for line in file:
            with suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    yield found


def _meant_for(descriptor: int, database: Path) -> bool:
    first = next(_lines(descriptor), None)
    return first is None or first.get("for") == str(database)


def _replay(conn: sqlite3.Connection, descriptor: int) -> None:
    for line in _lines(descriptor):
        operation = OPERATIONS.get(str(line.get("op")))
        if operation is not None:
            _attempt(conn, operation.__name__, line.get("args") or {})


def _attempt(conn: sqlite3.Connection, name: str, arguments: dict[str, Any]) -> None:
    """Do one operation; one that can never be done must not keep the others out."""
    conn.execute("SAVEPOINT one")
    try:
        OPERATIONS[name](conn, **arguments)
    except sqlite3.OperationalError:
        raise
    except (sqlite3.Error, ArithmeticError, LookupError, TypeError, ValueError):
        conn.execute("ROLLBACK TO one")
    conn.execute("RELEASE one")
