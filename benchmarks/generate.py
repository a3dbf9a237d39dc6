"""Makes a recorder with a long past: ``python -m benchmarks.generate FILE [--requests N]``.

A million requests have some ten million events. Rows go in without indexes and triggers, which is
what makes it fast; then the indexes are made again, and sums and the full-text index are filled by
the functions that bring an old file up to date.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from llm_gateway.store import connection, prune, rollups, search
from llm_gateway.store.migrations import migrate
from llm_gateway.store.text import iso

from .past import Entry, Past

__all__ = ["generate"]

_CHUNK = 2000
_EVENTS = "INSERT INTO events (job_id, seq, attempt, t, kind, data) VALUES (?, ?, ?, ?, ?, ?)"


def generate(path: Path, requests: int, seed: int = 1, until: float = 0.0, days: int = 300) -> None:
    """Make the file, which must not be there yet.

    :param until: when the newest request began; 0 is now. The same ``seed`` and ``until`` give the
        same rows.
    """
    conn = _new(path)
    past = Past(requests, seed, until or time.time(), days)
    with _bare(conn):
        entries = iter(past)
        while chunk := list(islice(entries, _CHUNK)):
            _write(conn, chunk)
        _write_rest(conn, past)
    rollups.fill(conn)
    search.fill(conn)
    search.take_in(conn)
    conn.execute("INSERT INTO bodies_fts (bodies_fts) VALUES ('optimize')")
    conn.execute("INSERT OR REPLACE INTO meta VALUES ('pruned_at', ?)", (iso(past.until),))
    prune.compact(conn)
    conn.close()


def _new(path: Path) -> sqlite3.Connection:
    connection.make_directory(path.parent)
    os.close(connection.create_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    conn = connection.connect(path)
    conn.execute("PRAGMA auto_vacuum=INCREMENTAL")
    conn.execute(f"PRAGMA application_id={connection.APPLICATION_ID}")
    migrate(conn)
    conn.execute("PRAGMA journal_mode=WAL")
    return conn


@contextmanager
def _bare(conn: sqlite3.Connection) -> Iterator[None]:
    """Without what costs time while rows go in, and with all of it afterwards."""
    conn.execute("PRAGMA journal_mode=OFF")
    conn.execute("PRAGMA synchronous=OFF")
    conn.execute("PRAGMA cache_size=-400000")
    found = conn.execute(
        "SELECT type, name, sql FROM sqlite_master"
        " WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
    ).fetchall()
    for kind, name, _ in found:
        conn.execute(f"DROP {kind} {name}")
    conn.execute("BEGIN")
    yield
    for _, _, sql in found:
        conn.execute(sql)
    conn.execute("COMMIT")
    conn.execute("PRAGMA journal_mode=WAL")


def _write(conn: sqlite3.Connection, chunk: list[Entry]) -> None:
    _insert(conn, "request_rows", [entry.request for entry in chunk])
    _insert(conn, "bodies", [entry.body for entry in chunk])
    _insert(conn, "job_rows", [entry.job for entry in chunk if entry.job])
    _insert(conn, "attempts", [attempt for entry in chunk for attempt in entry.attempts])
    _insert(conn, "approvals", [entry.approval for entry in chunk if entry.approval])
    events = sorted(event for entry in chunk for event in entry.events)
    conn.executemany(_EVENTS, events)


def _write_rest(conn: sqlite3.Connection, past: Past) -> None:
    used = [session for session in past.sessions if session.last]
    _insert(conn, "sessions", [session.row() for session in used])
    _insert(conn, "breakers", past.breakers())
    _insert(conn, "breaker_changes", past.breaker_changes())


def _insert(conn: sqlite3.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Rows of one table; each may have columns of its own."""
    by_columns: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        by_columns.setdefault(tuple(row), []).append(tuple(row.values()))
    for columns, values in by_columns.items():
        conn.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            values,
        )


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.generate", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", type=float, default=0.0, help="seconds since 1970; else now")
    parser.add_argument("--days", type=int, default=300)
    said = parser.parse_args()
    begun = time.monotonic()
    generate(said.file.absolute(), said.requests, said.seed, said.until, said.days)
    size = said.file.stat().st_size / 1e6
    sys.stderr.write(f"{size:,.0f} MB in {time.monotonic() - begun:.0f} s\n")


if __name__ == "__main__":
    main()
