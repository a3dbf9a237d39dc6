"""What the commands need of a job beside its row, its events and its answer."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress

from llm_gateway import proctree
from llm_gateway.store.connection import write
from llm_gateway.store.jobs import get
from llm_gateway.store.orphans import end_tree, reap
from llm_gateway.store.owner import lives, of_row
from llm_gateway.store.text import now

__all__ = [
    "end",
    "last_event_age",
    "prompts_of",
    "reap_if_possible",
    "to_be_logged",
    "was_logged",
]

_PREVIEW = 60


def prompts_of(conn: sqlite3.Connection, request_ids: Sequence[str]) -> dict[str, str]:
    """The beginning of what was asked, by request; nothing of those that kept no words."""
    marks = ", ".join("?" * len(request_ids))
    rows = conn.execute(
        f"SELECT id, substr(prompt, 1, {_PREVIEW}) FROM bodies WHERE id IN ({marks})", request_ids
    )
    return {request_id: prompt or "" for request_id, prompt in rows}


def reap_if_possible(conn: sqlite3.Connection, job_id: str | None = None) -> None:
    """Find out who is gone, where the file can be read and written: else the next look does."""
    with suppress(sqlite3.DatabaseError):
        reap(conn, job_id)


def last_event_age(conn: sqlite3.Connection, job_id: str) -> float | None:
    """Seconds since the CLI last said something, or since its last attempt began."""
    row = conn.execute(
        "SELECT (julianday('now') - julianday(a.started_at)) * 86400.0 - coalesce("
        " (SELECT e.t FROM events e WHERE e.job_id = a.job_id AND e.attempt = a.n"
        "  ORDER BY e.seq DESC LIMIT 1), 0) / 1000.0"
        " FROM attempts a WHERE a.job_id = ? ORDER BY a.n DESC LIMIT 1",
        (job_id,),
    ).fetchone()
    return None if row is None else max(0.0, round(row[0], 1))


def to_be_logged(conn: sqlite3.Connection, job_ids: Iterable[str]) -> dict[str, str]:
    """Those whose answer is not in llm's own logs though it may be, with what was asked.

    A prompt in the foreground is logged by the llm that asked, unless that was killed.
    """
    wanted = list(job_ids)
    rows = conn.execute(
        "SELECT id, spec_json FROM job_rows WHERE status = 'completed' AND keep_bodies"
        " AND logged_at IS NULL AND spec_json IS NOT NULL"
        f" AND kind IN ('submitted', 'durable') AND id IN ({', '.join('?' * len(wanted))})",
        wanted,
    )
    return dict(rows.fetchall())


def was_logged(conn: sqlite3.Connection, job_id: str) -> None:
    """The answer is in llm's own logs, for the first time."""
    with write(conn):
        conn.execute(
            "UPDATE job_rows SET logged_at = ?, spec_json = NULL"
            " WHERE id = ? AND logged_at IS NULL",
            (now(), job_id),
        )


def end(conn: sqlite3.Connection, job_id: str) -> None:
    """End a job whose owner does not act: its processes, its worker, and its row.

    One whose owner cannot be seen from here stays as it is, until that acts or lets its lease run
    out.
    """
    from llm_gateway.store import operations

    row = get(conn, job_id)
    owner = of_row(row)
    if owner is not None and lives(owner) is None:
        return
    if row["kind"] != "foreground" and owner is not None and lives(owner) and owner.pid_start:
        proctree.send(proctree.Process(owner.pid, owner.pid_start), signal.SIGKILL)
    end_tree(row)
    ended = {
        "status": "canceled",
        "finished_at": now(),
        "error_category": "canceled",
        "error_message": "Canceled; the process that ran it did not act, so it was ended.",
    }
    with write(conn):
        where = "id = ? AND status IN ('queued', 'running')"
        if operations.update(conn, "job_rows", {**ended, "spec_json": None}, where, (job_id,)):
            operations.close_requests(conn, job_id, ended)
