"""Each write of the recorder as one function of JSON-safe arguments.

Whatever runs here may run again, from a spill file that was taken in half: every operation leaves
the file as it is when it has been done before. None opens a transaction of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llm_gateway.store import approvals, search, session_names, sessions
from llm_gateway.store.owner import lives, of_text
from llm_gateway.store.text import now

__all__ = ["OPERATIONS", "answered", "close_requests", "insert", "take_session_over", "update"]

_LIVE = "status IN ('queued', 'running')"
_STDERR_CHARS = 65_536
_OF_JOB = ("finished_at", "error_category", "error_message", "exit_code")
# What was asked is kept whole where the answer is still to be written to llm's own logs.
_FORGET_SPEC = (
    "UPDATE job_rows SET spec_json = NULL WHERE id = ? AND NOT"
    " (status = 'completed' AND keep_bodies AND kind IN ('submitted', 'durable'))"
)
_TAKE_OVER = """
UPDATE sessions SET (last_turn_id, last_request_id, thread_id) =
    (SELECT coalesce(turn_id, id), id, coalesce(thread_id, sessions.thread_id)
    FROM request_rows WHERE id = :request)
WHERE (provider, session_id) = (SELECT provider, session_id FROM job_rows WHERE id = :job)
AND last_turn_id IN (SELECT coalesce(turn_id, id) FROM request_rows WHERE job_id = :job)
"""
_LIKE_THE_FIRST = """
UPDATE request_rows SET (model, resolved_model, session_id, stop_reason, cli_version,
    response_chars, tools_run, refused_actions, duration_ms) = (
        SELECT f.model, f.resolved_model, f.session_id, f.stop_reason, f.cli_version,
            coalesce(f.response_chars_raw, f.response_chars), f.tools_run, f.refused_actions,
            round((julianday(request_rows.finished_at) - julianday(request_rows.datetime_utc))
                * 86400000)
        FROM job_rows j JOIN request_rows f ON f.id = j.request_id WHERE j.id = :job)
WHERE id = :id
"""
_ITS_BODY = """
UPDATE bodies SET (response, messages) = (
    SELECT coalesce(b.response_raw, b.response), b.messages
    FROM job_rows j JOIN bodies b ON b.id = j.body_id
    WHERE j.id = :job)
WHERE id = :id
"""


def begin(
    conn: sqlite3.Connection,
    request: Mapping[str, Any],
    job: Mapping[str, Any],
    body: Mapping[str, Any] | None,
) -> None:
    """Request, body and job are there before anything is spawned."""
    insert(conn, "request_rows", request)
    insert(conn, "job_rows", job)
    if body is not None:
        insert(conn, "bodies", body)


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
    ended = update(
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
        if not update(conn, "job_rows", job, f"id = ? AND {_LIVE}", (job_id,)):
            return
        conn.execute(_FORGET_SPEC, (job_id,))
    asked = update(conn, "request_rows", request, f"id = ? AND {_LIVE}", (request_id,))
    if not asked and job_id is None:
        return
    if body is not None:
        if not asked:
            search.forget(conn, request_id)
        conn.execute(
            "INSERT INTO bodies (id, response, messages)"
            " VALUES (:id, :response, CAST(:messages AS TEXT))"
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
    if job_id is not None and not (request["status"] == "canceled" and _withdrawn(conn, job_id)):
        close_requests(conn, job_id, job)


def _withdrawn(conn: sqlite3.Connection, job_id: str) -> bool:
    """Whether its own asker ended it, so that who joined it may run it again."""
    where = "id = ? AND kind = 'foreground' AND cancel_requested_at IS NULL"
    row = conn.execute(f"SELECT 1 FROM job_rows WHERE {where}", (job_id,)).fetchone()
    return row is not None


def close_requests(conn: sqlite3.Connection, job_id: str, ended: Mapping[str, Any]) -> None:
    """End those who still wait for a job as it ended; tokens and cost stay with its first asker."""
    waiting = conn.execute(
        f"SELECT id FROM request_rows WHERE job_id = ? AND {_LIVE}", (job_id,)
    ).fetchall()
    for (request_id,) in waiting:
        answered(conn, request_id, job_id, ended)


def answered(
    conn: sqlite3.Connection,
    request_id: str,
    job_id: str,
    ended: Mapping[str, Any] | None = None,
) -> None:
    """Give a request the answer of a job that another one asked for.

    :param ended: how the job ended; None for well, some time ago.
    """
    said = ended or {"status": "completed", "finished_at": now()}
    known = {name: said.get(name) for name in _OF_JOB if name in said}
    if not update(conn, "request_rows", known, f"id = ? AND {_LIVE}", (request_id,)):
        return
    conn.execute(_LIKE_THE_FIRST, {"id": request_id, "job": job_id})
    conn.execute(_ITS_BODY, {"id": request_id, "job": job_id})
    # Last, because a request is counted and searched as it is when it ends.
    update(conn, "request_rows", {"status": said["status"]}, "id = ?", (request_id,))


def shown(conn: sqlite3.Connection, request_id: str, text: str, before: int) -> None:
    """An asker was shown another text than the answer, which is kept beside it."""
    changed = conn.execute(
        "UPDATE request_rows SET response_chars = ?, response_chars_raw = ?"
        " WHERE id = ? AND response_chars_raw IS NULL",
        (len(text), before, request_id),
    ).rowcount
    if changed and conn.execute("SELECT 1 FROM bodies WHERE id = ?", (request_id,)).fetchone():
        search.forget(conn, request_id)
        conn.execute(
            "UPDATE bodies SET response_raw = response, response = ? WHERE id = ?",
            (text, request_id),
        )


def withdraw(
    conn: sqlite3.Connection,
    request_id: str,
    category: str,
    message: str,
    status: str,
    joined: bool = False,
    ends: str | None = None,
) -> None:
    """An asker does not wait any more; a job that goes on keeps the row of its first asker.

    :param joined: whatever it was, its row is to end.
    :param ends: a job that goes on for nobody, unless somebody submitted it.
    """
    ended: dict[str, Any] = {
        "status": status,
        "finished_at": now(),
        "error_category": category,
        "error_message": message,
    }
    first = conn.execute("SELECT 1 FROM job_rows WHERE request_id = ?", (request_id,)).fetchone()
    if first and not joined:
        ended = {"asker": None}
    update(conn, "request_rows", ended, f"id = ? AND {_LIVE}", (request_id,))
    # In one transaction with that: of two that go at once each would take the other for waiting.
    if ends is not None and _is_durable(conn, ends) and not _waits(conn, ends):
        cancel(conn, ends)


def _is_durable(conn: sqlite3.Connection, job_id: str) -> bool:
    row = conn.execute("SELECT kind FROM job_rows WHERE id = ?", (job_id,)).fetchone()
    return row is not None and bool(row[0] == "durable")


def _waits(conn: sqlite3.Connection, job_id: str) -> bool:
    """Whether anybody who lives waits for the answer of a job."""
    rows = conn.execute(
        f"SELECT asker FROM request_rows WHERE job_id = ? AND asker IS NOT NULL AND {_LIVE}",
        (job_id,),
    )
    askers = (of_text(asker) for (asker,) in rows)
    return any(who is not None and lives(who) is not False for who in askers)


def cancel(conn: sqlite3.Connection, job_id: str) -> None:
    """Ask the owner of a job to end it."""
    conn.execute(
        "UPDATE job_rows SET cancel_requested_at = coalesce(cancel_requested_at, ?)"
        f" WHERE id = ? AND {_LIVE}",
        (now(), job_id),
    )


def delivered(conn: sqlite3.Connection, job_id: str, heir: str | None = None) -> None:
    """Somebody has the whole answer; what was not to be kept goes.

    :param heir: the request of who joined it and goes on in its session.
    """
    changed = conn.execute(
        "UPDATE job_rows SET delivered_at = ?,"
        " spec_json = CASE kind WHEN 'submitted' THEN spec_json END"
        " WHERE id = ? AND status = 'completed' AND delivered_at IS NULL",
        (now(), job_id),
    ).rowcount
    if changed and heir is not None:
        take_session_over(conn, job_id, heir)
    kept = conn.execute("SELECT keep_bodies FROM job_rows WHERE id = ?", (job_id,)).fetchone()
    if changed and not kept[0]:
        forget(conn, job_id)


def take_session_over(conn: sqlite3.Connection, job_id: str, request_id: str) -> None:
    """Who alone has an answer goes on in its session, in the place of whoever asked for it."""
    conn.execute(_TAKE_OVER, {"job": job_id, "request": request_id})


def forget(conn: sqlite3.Connection, job_id: str) -> None:
    """Take out what a job said and was asked, where nobody who waits or keeps needs it."""
    others = conn.execute(
        f"SELECT 1 FROM request_rows WHERE job_id = ? AND (keep_bodies OR {_LIVE})", (job_id,)
    ).fetchone()
    if others:
        return
    body = conn.execute("SELECT body_id FROM job_rows WHERE id = ?", (job_id,)).fetchone()
    if body and body[0]:
        search.forget(conn, body[0], again=False)
    conn.execute(
        "DELETE FROM bodies WHERE id = (SELECT body_id FROM job_rows WHERE id = ?)", (job_id,)
    )
    conn.execute("DELETE FROM events WHERE job_id = ?", (job_id,))
    conn.execute("UPDATE job_rows SET body_id = NULL WHERE id = ?", (job_id,))


def session_seen(conn: sqlite3.Connection, session: dict[str, Any]) -> None:
    """A session is known from the moment at which the CLI names it; a name may be its own."""
    sessions.seen(conn, session, turn=False)
    if name := session.get("name"):
        session_names.bind(conn, session["provider"], name, session["session_id"], session["at"])


def heartbeat(conn: sqlite3.Connection, job_id: str, at: str, until: str) -> None:
    """The owner is alive."""
    conn.execute(
        f"UPDATE job_rows SET heartbeat_at = ?, lease_until = ? WHERE id = ? AND {_LIVE}",
        (at, until, job_id),
    )


def approval(conn: sqlite3.Connection, record: Mapping[str, Any]) -> None:
    """What was decided about a request before it ran."""
    approvals.recorded(conn, record)


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
        withdraw,
        cancel,
        delivered,
        approval,
        shown,
    )
}


def insert(conn: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """1, or 0 where the row was there already."""
    return conn.execute(
        f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    ).rowcount


def _unsearched(conn: sqlite3.Connection, job_id: str) -> None:
    """Where somebody ended the request meanwhile, its text may be in the index already."""
    body = conn.execute("SELECT body_id FROM job_rows WHERE id = ?", (job_id,)).fetchone()
    if body and body[0]:
        search.forget(conn, body[0])


def update(
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
