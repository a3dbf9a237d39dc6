"""The recorder as the doctor sees it: read only, and never made by looking."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from . import settings
from .findings import BROKEN, NOTE, OK, WARNING, Finding
from .store.connection import is_corrupt
from .store.location import kind_of
from .store.migrations import VERSION, version_of
from .store.text import iso

__all__ = ["look"]

AREA = "recorder"
CHECK_SECONDS = 20.0
LITTLE_ROOM = 4 * 1024 * 1024
LARGE_WAL = 256 * 1024 * 1024
SILENT_SECONDS = 300.0


def look() -> Iterator[Finding]:
    """Everything that there is to say about the recorder's file, its spill files and its jobs."""
    yield from _directory()
    path = settings.logs_db()
    if path is None:
        text = "off: no jobs, no deduplication, no breaker"
        yield Finding(AREA, "file", NOTE, text, "unset LLM_GATEWAY_LOGS_DB")
        return
    yield from _spilled()
    try:
        kind = kind_of(path)
        if kind == "foreign":
            text = f"{path} is not this gateway's and is left alone; ours is gateway.db beside it"
            yield Finding(AREA, "file", NOTE, text, f"llm gateway import {path}")
            path = path.with_name("gateway.db")
            kind = kind_of(path)
        yield from _file(path, kind)
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror or error}"
        yield Finding(AREA, "file", BROKEN, text, f"chmod u+rw {path}")


def _directory() -> Iterator[Finding]:
    home = settings.home()
    if not home.exists():
        place = next(parent for parent in home.absolute().parents if parent.exists())
        if os.access(place, os.W_OK | os.X_OK):
            yield Finding(AREA, "directory", NOTE, f"{home} is made by the first prompt")
        else:
            text = f"{home} cannot be made: nothing can be written to {place}"
            yield Finding(AREA, "directory", BROKEN, text, "set LLM_GATEWAY_HOME to another place")
    elif not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        text = f"{home} is no directory that can be written to"
        yield Finding(AREA, "directory", BROKEN, text, f"chmod u+rwx {home}")
    elif home.stat().st_mode & 0o077:
        text = f"others on this machine may look into {home}"
        yield Finding(AREA, "directory", WARNING, text, f"chmod 700 {home}")
    if home.is_dir() and (room := _room(home)) < LITTLE_ROOM:
        text = f"the disk that {home} is on is full: {room // 1024:,} KiB are left"
        yield Finding(AREA, "disk", BROKEN, text, f"make room there: df -h {home}")


def _room(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _spilled() -> Iterator[Finding]:
    folder = settings.home() / "spill"
    files = [path for path in folder.glob("*") if path.is_file()] if folder.is_dir() else []
    if files:
        text = f"{len(files)} spill files ({_size(files)}): runs that are not recorded yet"
        remedy = "the next prompt takes them in, once the file above can be written"
        yield Finding(AREA, "spill", WARNING, text, remedy)
    corrupt = sorted(settings.home().glob("*.corrupt-*"))
    corrupt = [path for path in corrupt if not path.name.endswith(("-wal", "-shm"))]
    if corrupt:
        text = f"{len(corrupt)} files were corrupt and set aside, the last one as {corrupt[-1]}"
        yield Finding(
            AREA, "set aside", NOTE, text, f"remove it when it is not needed: {corrupt[-1]}"
        )


def _file(path: Path, kind: str) -> Iterator[Finding]:
    if kind == "missing":
        yield Finding(AREA, "file", NOTE, f"{path} is made by the first prompt")
        return
    if kind != "ours":
        text = f"{path} is no database of the gateway's"
        yield Finding(AREA, "file", BROKEN, text, _other_file(path))
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as conn:
            yield from _database(conn, path)
    except sqlite3.Error as error:
        text = f"{path} cannot be read: {error}"
        remedy = _other_file(path) if is_corrupt(error) else f"see who uses it: fuser {path}"
        yield Finding(AREA, "file", BROKEN, text, remedy)


def _other_file(path: Path) -> str:
    return f"move it away: mv {path} {path}.old"


def _database(conn: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    version = version_of(conn)
    wal = Path(f"{path}-wal")
    text = f"{path}, {_size([path])}, schema {version}, WAL {_size([wal])}"
    if version > VERSION:
        text = f"{path} was written by a newer llm-gateway (schema {version}, ours is {VERSION})"
        yield Finding(AREA, "file", BROKEN, text, "llm install -U llm-gateway")
        return
    yield Finding(AREA, "file", OK, text)
    if version < VERSION:
        yield Finding(AREA, "schema", NOTE, f"the next prompt brings it to schema {VERSION}")
    if wal.exists() and wal.stat().st_size > LARGE_WAL:
        text = f"its WAL has {_size([wal])}: some process reads for very long"
        yield Finding(AREA, "wal", WARNING, text, f"end who reads it: fuser {path}")
    if not os.access(path, os.W_OK):
        yield Finding(AREA, "file", BROKEN, f"{path} cannot be written", f"chmod u+w {path}")
    yield from _integrity(conn, path)
    if version == VERSION:
        yield from _jobs(conn)


def _integrity(conn: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    until = time.monotonic() + CHECK_SECONDS
    conn.set_progress_handler(lambda: time.monotonic() > until, 100_000)
    try:
        said = [str(row[0]) for row in conn.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        text = f"not checked whole: it takes longer than {CHECK_SECONDS:.0f} s"
        yield Finding(AREA, "integrity", NOTE, text, f"sqlite3 {path} 'PRAGMA quick_check'")
        return
    finally:
        conn.set_progress_handler(None, 0)
    if said == ["ok"]:
        yield Finding(AREA, "integrity", OK, "quick_check found nothing")
    else:
        remedy = f"sqlite3 {path} .recover | sqlite3 {path}.new, then put that in its place"
        yield Finding(AREA, "integrity", BROKEN, f"{path} is damaged: {'; '.join(said)}", remedy)


def _jobs(conn: sqlite3.Connection) -> Iterator[Finding]:
    from .store.jobs import listed
    from .store.orphans import is_gone

    live = [row for state in ("running", "queued") for row in listed(conn, status=state)]
    silent = iso(time.time() - SILENT_SECONDS)
    for row in live:
        named = f"job {row['id']} ({row['provider']}) is recorded as {row['status']}, "
        if is_gone(row):
            text = f"{named}but nobody runs it any more"
            yield Finding("jobs", row["id"], WARNING, text, "llm gateway jobs closes it")
        elif row["status"] == "running" and (row["heartbeat"] or silent) < silent:
            text = f"{named}but its owner has not been heard of since {row['heartbeat']}"
            yield Finding("jobs", row["id"], WARNING, text, f"llm gateway job cancel {row['id']}")
    yield Finding("jobs", "live", OK, f"{len(live)} queued or running")


def _size(files: list[Path]) -> str:
    size = float(sum(path.stat().st_size for path in files if path.exists()))
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
