"""Takes out what is too old, a little at a time: never a live job, never an imported row."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from llm_gateway import settings
from llm_gateway.store import search, session_names
from llm_gateway.store.connection import write
from llm_gateway.store.text import iso, now

__all__ = ["Ages", "a_little", "ages", "compact", "is_due", "prune", "waiting"]

EVERY_SECONDS = 86_400.0
_BUDGET_SECONDS = 0.003
_PATIENCE = 0.01
_JOBS = 20
_EVENTS = 500
_REQUESTS = 10  # of each its text is read and taken out of the index
_PAGES = 2000

_OLD_JOBS = (
    "SELECT id, body_id FROM job_rows WHERE pruned_at IS NULL AND source IS NULL"
    " AND finished_at IS NOT NULL AND finished_at < ?"
    " AND status NOT IN ('queued', 'running') ORDER BY finished_at LIMIT ?"
)
_OLD_REQUESTS = (
    "SELECT id, job_id FROM request_rows WHERE datetime_utc < ? AND source IS NULL"
    " AND status NOT IN ('queued', 'running') ORDER BY datetime_utc LIMIT ?"
)


class Ages(NamedTuple):
    """Days after which raw job output goes, and whole requests; None keeps them for ever."""

    jobs: float
    requests: float | None


def ages() -> Ages:
    """What the settings say."""
    return Ages(settings.job_retention_days(), settings.log_retention_days())


def is_due(conn: sqlite3.Connection) -> bool:
    """Whether pruning has not come to its end for a day."""
    row = conn.execute("SELECT value FROM meta WHERE key = 'pruned_at'").fetchone()
    return row is None or str(row[0]) < iso(time.time() - EVERY_SECONDS)


def a_little(conn: sqlite3.Connection) -> None:
    """A few milliseconds of pruning, at the end of a run or a command; the next one goes on."""
    with suppress(sqlite3.Error):
        prune(conn, budget=_BUDGET_SECONDS, patience=_PATIENCE)


def prune(
    conn: sqlite3.Connection,
    budget: float | None = None,
    patience: float = 30.0,
    older: Ages | None = None,
) -> dict[str, int]:
    """Prune until nothing is left or the budget is spent; counts what went.

    Each batch is a transaction of its own, so that no writer waits long. The sums by hour and day
    stay as they are: they tell how many requests there were, not how many are left.
    """
    older = older or ages()
    until = float("inf") if budget is None else time.monotonic() + budget
    counts = {"jobs": 0, "events": 0, "requests": 0}
    steps = [(_prune_jobs, older.jobs), (_prune_sessions, settings.session_ttl() / 86_400)]
    if older.requests is not None:
        steps.append((_prune_requests, older.requests))
    for step, days in steps:
        batch = partial(step, conn, _before(days), counts)
        while _one_batch(conn, batch, patience):
            if time.monotonic() >= until:
                return counts
    with write(conn, patience):
        conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('pruned_at', ?)", (now(),))
    return counts


def waiting(conn: sqlite3.Connection, older: Ages) -> dict[str, int]:
    """What ``prune`` would take out."""
    jobs, events = conn.execute(
        "SELECT count(*), coalesce(sum((SELECT count(*) FROM events e WHERE e.job_id = o.id)), 0)"
        f" FROM ({_OLD_JOBS}) o",
        (_before(older.jobs), -1),
    ).fetchone()
    counts = {"jobs": jobs, "events": events, "requests": 0}
    if older.requests is not None:
        counts["requests"] = conn.execute(
            f"SELECT count(*) FROM ({_OLD_REQUESTS})", (_before(older.requests), -1)
        ).fetchone()[0]
    return counts


def compact(conn: sqlite3.Connection) -> None:
    """Give the room of what went back to the system, a little at a time."""
    while conn.execute("PRAGMA freelist_count").fetchone()[0]:
        with write(conn):
            conn.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        if not conn.execute("PRAGMA auto_vacuum").fetchone()[0]:
            break
    conn.execute("PRAGMA analysis_limit=400")
    conn.execute("PRAGMA optimize")
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _before(days: float) -> str:
    return iso(time.time() - days * 86_400)


def _one_batch(conn: sqlite3.Connection, batch: Callable[[], bool], patience: float) -> bool:
    with write(conn, patience):
        return batch()


def _prune_jobs(conn: sqlite3.Connection, cutoff: str, counts: dict[str, int]) -> bool:
    """Events and stderr of old jobs; False where none is left."""
    jobs = conn.execute(_OLD_JOBS, (cutoff, _JOBS)).fetchall()
    room = _EVENTS
    for job_id, body_id in jobs:
        gone = _delete_events(conn, job_id, room)
        counts["events"] += gone
        room -= gone
        if room <= 0:
            return True
        _forget_stderr(conn, body_id)
        conn.execute(
            "UPDATE job_rows SET pruned_at = ?, spec_json = NULL WHERE id = ?", (now(), job_id)
        )
        counts["jobs"] += 1
    return bool(jobs)


def _forget_stderr(conn: sqlite3.Connection, body_id: str) -> None:
    """Most runs say nothing on stderr: their text need not be indexed again."""
    there = "SELECT 1 FROM bodies WHERE id = ? AND stderr IS NOT NULL"
    if conn.execute(there, (body_id,)).fetchone():
        search.forget(conn, body_id)
        conn.execute("UPDATE bodies SET stderr = NULL WHERE id = ?", (body_id,))


def _delete_events(conn: sqlite3.Connection, job_id: str, most: int) -> int:
    return conn.execute(
        "DELETE FROM events WHERE job_id = ? AND seq IN"
        " (SELECT seq FROM events WHERE job_id = ? ORDER BY seq LIMIT ?)",
        (job_id, job_id, most),
    ).rowcount


def _prune_sessions(conn: sqlite3.Connection, cutoff: str, _: dict[str, int]) -> bool:
    """Our records of sessions that nobody uses; the vendor's own are not ours to count."""
    return bool(session_names.prune(conn, cutoff))


def _prune_requests(conn: sqlite3.Connection, cutoff: str, counts: dict[str, int]) -> bool:
    """Whole requests, where the user wants them gone; a job goes with its last request."""
    old = conn.execute(_OLD_REQUESTS, (cutoff, _REQUESTS)).fetchall()
    for request_id, job_id in old:
        search.forget(conn, request_id, again=False)
        conn.execute("DELETE FROM bodies WHERE id = ?", (request_id,))
        conn.execute("DELETE FROM request_rows WHERE id = ?", (request_id,))
        conn.execute(
            "UPDATE approvals SET prompt_preview = NULL, details_json = NULL WHERE request_id = ?",
            (request_id,),
        )
        counts["requests"] += 1
        if job_id is not None:
            _delete_job(conn, job_id, counts)
    return bool(old)


def _delete_job(conn: sqlite3.Connection, job_id: str, counts: dict[str, int]) -> None:
    shared = conn.execute("SELECT 1 FROM request_rows WHERE job_id = ?", (job_id,)).fetchone()
    live = conn.execute(
        "SELECT 1 FROM job_rows WHERE id = ? AND status IN ('queued', 'running')", (job_id,)
    ).fetchone()
    if shared or live:
        return
    counts["events"] += conn.execute("DELETE FROM events WHERE job_id = ?", (job_id,)).rowcount
    conn.execute("DELETE FROM attempts WHERE job_id = ?", (job_id,))
    conn.execute("DELETE FROM job_rows WHERE id = ?", (job_id,))
