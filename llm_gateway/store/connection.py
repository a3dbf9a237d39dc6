"""Opening the recorder's file, and the one way to write to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llm_gateway.store.turns import BUSY_SECONDS, begin

__all__ = [
    "APPLICATION_ID",
    "BUSY_SECONDS",
    "LONG_LOG",
    "SHORT_LOG",
    "Connection",
    "begin_log",
    "connect",
    "create_private",
    "identity",
    "is_corrupt",
    "make_directory",
    "write",
]

APPLICATION_ID = 0x6C6C6D67  # "llmg"

# So many pages the log may have before a commit takes them into the file: many while somebody waits
# for an answer, few once it is out.
LONG_LOG, SHORT_LOG = 16_000, 1_000
_PRAGMAS = (
    "PRAGMA synchronous=NORMAL",
    f"PRAGMA wal_autocheckpoint={LONG_LOG}",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA temp_store=MEMORY",  # no temporary file for a statement that changes many pages
)


def make_directory(path: Path) -> None:
    """Make the directory and its missing parents, readable by nobody else from the start."""
    missing = [path, *path.parents]
    missing = missing[: next(i for i, parent in enumerate(missing) if parent.exists())]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)


def create_private(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    """Open a file that is 0600 from its first moment; the caller closes the descriptor."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    if os.fstat(descriptor).st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


class Connection(sqlite3.Connection):
    """Knows which file it is to, whatever lies at that path later; None where that is not sure."""

    file: tuple[int, int] | None = None
    path: Path | None = None
    of: tuple[int, tuple[int, int]] | None = None  # the process and the file that it was taken for


def connect(path: Path) -> Connection:
    """A connection to an existing file of ours; raises where it cannot be written.

    Foreign keys are declared for readers and not enforced: after a spell of spilling, rows may
    arrive before the rows that they refer to. -wal and -shm inherit the file's mode from SQLite.
    """
    before = identity(path)
    conn = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    try:
        for pragma in _PRAGMAS:
            conn.execute(pragma)
    except BaseException:
        conn.close()
        raise
    if identity(path) == before:
        conn.file = before
    return conn


def identity(path: Path) -> tuple[int, int]:
    """Which file lies there now; OSError where there is none."""
    seen = path.stat()
    return seen.st_dev, seen.st_ino


def begin_log(conn: sqlite3.Connection, path: Path) -> None:
    """Begin a write-ahead log that is not there, without making the first prompt wait for the disk.

    SQLite syncs a log's head and its directory before the first commit. That guards a log that is
    begun again over old frames; a new one has none, and what a checkpoint needs is synced by the
    checkpoint. The last connection to close takes the log away, so this is nearly every prompt.
    """
    log = f"{path}-wal"
    if _size(log) or conn.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        return  # a backup that was put back may have another journal
    conn.execute("PRAGMA synchronous=OFF")
    try:
        with suppress(sqlite3.Error), write(conn, 0.0):
            if not _size(log):  # nobody else can have begun it now
                version = conn.execute("PRAGMA user_version").fetchone()[0]
                conn.execute(f"PRAGMA user_version={version}")
    finally:
        conn.execute("PRAGMA synchronous=NORMAL")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def is_corrupt(error: Exception) -> bool:
    """Whether the file is broken, as against busy, full, or beyond this SQLite's syntax."""
    said = str(error)
    return "not a database" in said or ("malformed" in said and " near " not in said)


@contextmanager
def write(
    conn: sqlite3.Connection, wait: float = BUSY_SECONDS, most: float = 0.0
) -> Iterator[sqlite3.Connection]:
    """One transaction that has the write lock from its beginning, or raises after ``wait`` seconds.

    A deferred BEGIN that reads and then writes fails at once when another process wrote between.

    :param most: goes on waiting for so long while others get on with writing.
    """
    end_turn = begin(conn, wait, most)
    try:
        try:
            yield conn
        finally:
            end_turn()  # others need not wait where COMMIT has to wait for the disk
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
