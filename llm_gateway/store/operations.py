"""Each write of the recorder as one function of JSON-safe arguments.

Whatever runs here may run again, from a spill file that was taken in half: every operation leaves
the file as it is when it has been done before. None opens a transaction of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llm_gateway.store import search, sessions

__all__ = ["OPERATIONS"]

_LIVE = "status IN ('queued', 'running')"
_STDERR_CHARS = 65_536


def begin(
    conn: sqlite3.Connection,
    request: Mapping[str, Any],
    job: Mapping[str, Any],
    body: Mapping[str, Any] | None,
) -> None:
    """Request, body and job are there before anything is spawned."""
    _insert(conn, "request_rows", request)
    _insert(conn, "job_rows", job)
    if body is not None:
        _insert(conn, "bodies", body)


def attempt_started(conn: sqlite3.Connection, attempt: Mapping[str, Any], args_json: str) -> None:
    """An attempt's row, made or completed with the pid."""
    columns = ", ".join(attempt)
    conn.execute(
        f"INSERT INTO attempts ({columns}) VALUES ({', '.join('?' * len(attempt))})"
        " ON CONFLICT (job_id, n) DO UPDATE SET pid = coalesce(excluded.pid, pid),"
        " pid_start = coalesce(excluded.pid_start, pid_start) WHERE ended_at IS NULL",
        tuple(attempt.values()),
    )
    conn.execute(
        "UPDATE job_rows SET attempts = max(attempts, ?), args_json = ?, pid = ?, pid_start = ?"
        f" WHERE id = ? AND {_LIVE}",
        (attempt["n"], args_json, attempt["pid"], attempt["pid_start"], attempt["job_id"]),
    )


def events(conn: sqlite3.Connection, job_id: str, rows: Iterable[Iterable[Any]]) -> None:
    """A batch of events; ``rows`` are (seq, attempt, t, kind, data)."""
    conn.executemany(
        "INSERT OR IGNORE INTO events (job_id, seq, attempt, t, kind, data)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(job_id, *row) for row in rows],
    )


def attempt_ended(
    conn: sqlite3.Connection, job_id: str, n: int, values: Mapping[str, Any], stderr: str | None
) -> None:
    """How an attempt ended, once; its stderr goes after that of earlier attempts."""
    ended = _update(
        conn, "attempts", values, "job_id = ? AND n = ? AND ended_at IS NULL", (job_id, n)
    )
    if ended and stderr:
        _unsearched(conn, job_id)
        conn.execute(
            "INSERT INTO bodies (id, stderr)"
            " SELECT body_id, ? FROM job_rows WHERE id = ? AND body_id IS NOT NULL"
            " ON CONFLICT (id) DO UPDATE SET stderr ="
            f" substr(coalesce(stderr || char(10), '') || excluded.stderr, -{_STDERR_CHARS})",
            (stderr, job_id),
        )


def finish(
    conn: sqlite3.Connection,
    request_id: str,
    job_id: str | None,
    request: Mapping[str, Any],
    job: Mapping[str, Any],
    body: Mapping[str, Any] | None,
    session: dict[str, Any] | None,
) -> None:
    """The end state of request, body, session and job, once: a terminal state never changes."""
    if job_id is not None:
        _update(conn, "job_rows", job, f"id = ? AND {_LIVE}", (job_id,))
    if not _update(conn, "request_rows", request, f"id = ? AND {_LIVE}", (request_id,)):
        return
    if body is not None:
        conn.execute(
            "INSERT INTO bodies (id, response, messages) VALUES (:id, :response, :messages)"
            " ON CONFLICT (id) DO UPDATE SET response = excluded.response,"
            " messages = excluded.messages",
            {"id": request_id, **body},
        )
    if session is not None:
        # A turn that was cut off is not in llm's history; the session may go on from before it.
        whole = request.get("status") == "completed"
        known = _of_request(conn, request_id)
        if not whole:
            known.pop("last_turn_id")
        sessions.seen(conn, {**known, **session}, turn=whole)


def session_seen(conn: sqlite3.Connection, session: dict[str, Any]) -> None:
    """A session is known from the moment at which the CLI names it."""
    sessions.seen(conn, session, turn=False)


def heartbeat(conn: sqlite3.Connection, job_id: str, at: str, until: str) -> None:
    """The owner is alive."""
    conn.execute(
        "UPDATE job_rows SET heartbeat_at = ?, lease_until = ? WHERE id = ? AND status = 'running'",
        (at, until, job_id),
    )


OPERATIONS: dict[str, Callable[..., None]] = {
    operation.__name__: operation
    for operation in (
        begin,
        attempt_started,
        events,
        attempt_ended,
        finish,
        session_seen,
        heartbeat,
    )
}


def _insert(conn: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    conn.execute(
        f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    )


def _unsearched(conn: sqlite3.Connection, job_id: str) -> None:
    """Where somebody ended the request meanwhile, its text may be in the index already."""
    body = conn.execute("SELECT body_id FROM job_rows WHERE id = ?", (job_id,)).fetchone()
    if body and body[0]:
        search.forget(conn, body[0])


def _update(
    conn: sqlite3.Connection,
    table: str,
    values: Mapping[str, Any],
    where: str,
    parameters: tuple[Any, ...],
) -> int:
    """The number of rows that were still to be changed."""
    sets = ", ".join(f"{name} = ?" for name in values)
    return conn.execute(
        f"UPDATE {table} SET {sets} WHERE {where}", (*values.values(), *parameters)
    ).rowcount


def _of_request(conn: sqlite3.Connection, request_id: str) -> dict[str, Any]:
    """What a session takes over from the request that ran in it."""
    row = conn.execute(
        "SELECT provider, thread_id, cwd, requested_model, resolved_model, access, add_dirs,"
        " coalesce(turn_id, id), id, parent_session_id FROM request_rows WHERE id = ?",
        (request_id,),
    ).fetchone()
    names = (
        "provider",
        "thread_id",
        "cwd",
        "model",
        "resolved_model",
        "access",
        "add_dirs",
        "last_turn_id",
        "last_request_id",
        "parent_session_id",
    )
    return dict(zip(names, row, strict=True))
