"""Which file is the recorder's: finds it, makes it, and moves nothing that is not ours.

A file's first hundred bytes say whose it is, so a file that is not ours is never opened by SQLite.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llm_gateway import settings
from llm_gateway.store import connection

__all__ = ["Unusable", "kind_of", "locate", "lock", "set_aside"]

Warn = Callable[[str], None]
_MAGIC = b"SQLite format 3\0"
_MOST_FILES = 16  # a process has one recorder; whoever had this many has closed the first
_looked_at: dict[tuple[int, int], int] = {}
_looking = threading.Lock()


class Unusable(Exception):
    """There is no file in which the recorder may write; the text says why.

    :param spills: whether this may pass, so that runs are kept in spill files until then.
    """

    def __init__(self, reason: str, *, spills: bool = False) -> None:
        super().__init__(reason)
        self.spills = spills


def kind_of(path: Path) -> str:
    """``missing`` (or empty), ``ours``, ``foreign`` (somebody's database) or ``garbage``."""
    try:
        head = _head(path)
    except FileNotFoundError:
        return "missing"
    if not head:
        return "missing"
    if len(head) < 100 or not head.startswith(_MAGIC):
        return "garbage"
    marked = struct.unpack(">I", head[68:72])[0] == connection.APPLICATION_ID
    return "ours" if marked else "foreign"


def _head(path: Path) -> bytes:
    """The first bytes of a file, by a descriptor that stays open.

    Closing any descriptor of a file lets go of all locks that the process holds on it. Another
    process would then take SQLite's connections here for closed, and remove the log under them.
    """
    with _looking:
        told = path.stat()
        descriptor = _looked_at.pop((told.st_dev, told.st_ino), None)
        if descriptor is None:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            told = os.fstat(descriptor)
        _looked_at[told.st_dev, told.st_ino] = descriptor
        if len(_looked_at) > _MOST_FILES:
            os.close(_looked_at.pop(next(iter(_looked_at))))
        return os.pread(descriptor, 100, 0)


def locate(warn: Warn) -> Path | None:
    """The recorder's file, made if missing; None where it is switched off; raises Unusable."""
    named = settings.logs_db()
    if named is None:
        return None
    try:
        _own_directory(named.parent)
        return _settle(named, warn)
    except OSError as error:
        raise Unusable(
            f"{error.filename or named}: {error.strerror or error}", spills=True
        ) from error


def set_aside(path: Path, seen: tuple[int, int] | None, warn: Warn) -> bool:
    """Rename a corrupt file of our own, once, however many processes found it corrupt.

    :param seen: device and inode of the file that was found corrupt; None: look at its head again.
    """
    with lock(path):
        if not _still_corrupt(path, seen):
            return False
        aside = _free_name(path)
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    warn(f"the flight recorder's file was corrupt: it is kept as {aside}, a new one is begun")
    return True


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock file beside the database: for making it and setting it aside."""
    descriptor = connection.create_private(path.with_name(path.name + ".lock"))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _after_fork() -> None:
    """The thread that was looking is not there to say that it has."""
    global _looking
    _looking = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _own_directory(directory: Path) -> None:
    connection.make_directory(directory)
    if directory == settings.home() and directory.stat().st_mode & 0o077:
        with suppress(PermissionError):
            directory.chmod(0o700)


def _settle(path: Path, warn: Warn) -> Path:
    kind = kind_of(path)
    if kind == "foreign":
        ours = path.with_name("gateway.db")
        if ours == path:
            raise Unusable(f"{path} is not the gateway's database; it was left alone")
        if kind_of(ours) == "missing":
            warn(
                f"{path} is not this gateway's and was left alone; the recorder writes {ours} "
                f"(llm gateway import {path} takes an original gateway's rows over)"
            )
        return _settle(ours, warn)
    if kind == "garbage":
        if settings.logs_db_is_named():
            raise Unusable(f"{path} is no database; it was left alone (see LLM_GATEWAY_LOGS_DB)")
        set_aside(path, None, warn)
        return _settle(path, warn)
    if kind == "missing":
        _create(path)
        _head(path)  # a process holds as much after its first prompt as after any
    else:
        _make_private(path)
    return path


def _make_private(path: Path) -> None:
    """Nobody else reads it; -wal and -shm that a read-only spell left behind can be written."""
    mode = path.stat().st_mode & 0o700
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError, PermissionError):
            if os.stat(f"{path}{suffix}").st_mode & 0o777 != mode:
                os.chmod(f"{path}{suffix}", mode)


def _create(path: Path) -> None:
    """Publish a marked, migrated file in one rename: nobody ever sees a half-made one."""
    from llm_gateway.store.migrations import migrate

    with lock(path):
        if kind_of(path) != "missing":
            return
        draft = path.with_name(f".{path.name}.new")
        for left in (draft, Path(f"{draft}-journal"), Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            left.unlink(missing_ok=True)
        os.close(connection.create_private(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        try:
            _fill(draft, migrate)
            os.rename(draft, path)
        except sqlite3.Error as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise Unusable(f"{path}: {error}", spills=True) from error


def _fill(draft: Path, migrate: Callable[[sqlite3.Connection], None]) -> None:
    conn = connection.connect(draft)
    try:
        conn.execute("PRAGMA auto_vacuum=INCREMENTAL")
        conn.execute(f"PRAGMA application_id={connection.APPLICATION_ID}")
        migrate(conn)
        conn.execute("PRAGMA journal_mode=WAL")
    finally:
        conn.close()


def _still_corrupt(path: Path, seen: tuple[int, int] | None) -> bool:
    if seen is None:
        return kind_of(path) == "garbage"
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == seen


def _free_name(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    return aside
