"""Jobs as other processes see them: lists, events as they come, answers, and a few small writes."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple

from llm_gateway.events import Done, Event, Messages, Reply
from llm_gateway.store.codec import decode
from llm_gateway.store.connection import write
from llm_gateway.store.orphans import reap
from llm_gateway.store.owner import lives, of_text
from llm_gateway.store.text import seconds_of

__all__ = [
    "LIVE",
    "State",
    "delivered",
    "events_after",
    "find",
    "get",
    "heard_at",
    "is_heir",
    "listed",
    "reap",
    "reply_of",
    "request_cancel",
    "spec_of",
    "state_of",
]

LIVE = ("queued", "running")
_PATIENCE = 10.0
# Of a job that runs, or was killed, only its events tell the session.
_SESSION = (
    "coalesce(j.session_id, (SELECT json_extract(e.data, '$.session_id') FROM events e"
    " WHERE e.job_id = j.id AND e.attempt = j.attempts AND e.kind = 'session'"
    " ORDER BY e.seq LIMIT 1)) AS session_id"
)
_COLUMNS = (
    "j.id, j.status, j.provider, coalesce(r.resolved_model, j.model) AS model, j.kind,"
    " CASE j.status WHEN 'queued' THEN NULL ELSE j.started_at END AS started,"
    " j.finished_at AS finished, j.request_id, j.error_category, j.error_message,"
    f" {_SESSION}, j.queued_at AS queued, j.cwd, j.access, j.attempts, j.pid, j.pid_start,"
    " j.owner_host, j.owner_boot_id, j.owner_pid_ns, j.owner_pid, j.owner_pid_start,"
    " j.heartbeat_at AS heartbeat, j.lease_until, j.cancel_requested_at AS cancel_requested,"
    " j.delivered_at AS delivered, j.logged_at AS logged, j.exit_code, j.correlation_id"
)
_FROM = "FROM job_rows j LEFT JOIN request_rows r ON r.id = j.request_id"


class State(NamedTuple):
    """Where a job stands."""

    status: str
    error_category: str | None
    error_message: str | None
    cancel_requested: bool
    kind: str

    @property
    def live(self) -> bool:
        return self.status in LIVE


def find(conn: sqlite3.Connection, word: str) -> str:
    """The id that a person means: whole, its beginning, or ``@last``; LookupError says why not."""
    if word == "@last":
        row = conn.execute("SELECT id FROM job_rows ORDER BY started_at DESC, id DESC").fetchone()
        if row is None:
            raise LookupError("There is no job yet.")
        return str(row[0])
    if not word or not word.isascii():  # of the only job, no word would be the beginning
        raise LookupError(f"There is no job {word!r}; llm gateway jobs lists them.")
    found = conn.execute(
        "SELECT id FROM job_rows WHERE id >= ? AND id < ? LIMIT 3", (word, f"{word}\uffff")
    ).fetchall()
    if (word,) in found:
        return word
    if len(found) == 1:
        return str(found[0][0])
    if not found:
        raise LookupError(f"There is no job {word}; llm gateway jobs lists them.")
    raise LookupError(f"{word} is the beginning of more than one job; give more of it.")


def listed(
    conn: sqlite3.Connection,
    *,
    limit: int = 100,
    provider: str | None = None,
    status: str | None = None,
    since: str | None = None,
) -> list[dict[str, Any]]:
    """Jobs, newest first; ``since`` is a time as the recorder writes it."""
    wanted = {"j.provider = ?": provider, "j.status = ?": status, "j.started_at >= ?": since}
    given = {clause: value for clause, value in wanted.items() if value is not None}
    where = f"WHERE {' AND '.join(given)}" if given else ""
    cursor = conn.execute(
        f"SELECT {_COLUMNS} {_FROM} {where} ORDER BY j.started_at DESC, j.id DESC LIMIT ?",
        (*given.values(), limit),
    )
    return _dicts(cursor)


def get(conn: sqlite3.Connection, job_id: str) -> dict[str, Any]:
    """One job; LookupError where there is none."""
    rows = _dicts(conn.execute(f"SELECT {_COLUMNS} {_FROM} WHERE j.id = ?", (job_id,)))
    if not rows:
        raise LookupError(f"There is no job {job_id}.")
    return rows[0]


def state_of(conn: sqlite3.Connection, job_id: str) -> State | None:
    """Where a job stands now; None where it is gone."""
    row = conn.execute(
        "SELECT status, error_category, error_message, cancel_requested_at IS NOT NULL, kind"
        " FROM job_rows WHERE id = ?",
        (job_id,),
    ).fetchone()
    return None if row is None else State(row[0], row[1], row[2], bool(row[3]), row[4])


def events_after(
    conn: sqlite3.Connection, job_id: str, seq: int = -1, most: int = 1000
) -> list[tuple[int, int, Event]]:
    """What the job said after an event: (seq, milliseconds since its attempt began, event)."""
    while True:
        rows = conn.execute(
            "SELECT seq, t, kind, data FROM events"
            " WHERE job_id = ? AND seq > ? ORDER BY seq LIMIT ?",
            (job_id, seq, most),
        ).fetchall()
        told = ((number, t, decode(kind, data)) for number, t, kind, data in rows)
        known = [(number, t, event) for number, t, event in told if event is not None]
        if known or not rows:
            return known
        seq = rows[-1][0]  # of kinds that a newer version writes; what follows may be known


def heard_at(conn: sqlite3.Connection, job_id: str) -> float | None:
    """When the job last said something, as Unix time; None where it has said nothing."""
    row = conn.execute(
        "SELECT a.started_at, e.t FROM events e JOIN attempts a"
        " ON a.job_id = e.job_id AND a.n = e.attempt"
        " WHERE e.job_id = ? ORDER BY e.seq DESC LIMIT 1",
        (job_id,),
    ).fetchone()
    return None if row is None else seconds_of(row[0]) + row[1] / 1000


def reply_of(conn: sqlite3.Connection, job_id: str) -> Reply | None:
    """The reply of a job that completed; None for any other."""
    row = conn.execute(
        "SELECT j.session_id, coalesce(b.response_raw, b.response), b.messages,"
        " (SELECT data FROM events e"
        " WHERE e.job_id = j.id AND e.kind = 'done' ORDER BY seq DESC LIMIT 1)"
        " FROM job_rows j LEFT JOIN bodies b ON b.id = j.body_id"
        " WHERE j.id = ? AND j.status = 'completed'",
        (job_id,),
    ).fetchone()
    if row is None or row[1] is None:
        return None
    session_id, text, messages, done = row
    event = decode("done", done) if done else None
    reply = event.reply if isinstance(event, Done) else Reply(text="", session_id=session_id)
    reply.text = text
    reply.messages = Messages(json.loads(messages) if messages else [text])
    return reply


def spec_of(conn: sqlite3.Connection, job_id: str) -> str | None:
    """What a worker needs to run a job; None once it has ended."""
    row = conn.execute("SELECT spec_json FROM job_rows WHERE id = ?", (job_id,)).fetchone()
    return row[0] if row else None


def request_cancel(conn: sqlite3.Connection, job_id: str) -> bool:
    """Ask the owner to end the job; False where it had ended already."""
    from llm_gateway.store import operations

    with write(conn, _PATIENCE):
        operations.cancel(conn, job_id)
    state = state_of(conn, job_id)
    return state is not None and state.live


def is_heir(conn: sqlite3.Connection, job_id: str, request_id: str) -> bool:
    """Whether who joined a job is the only one to get its answer: all other askers are dead.

    A submitted job is still its submitter's, and who lives may be reading the answer now.
    """
    job = conn.execute(
        "SELECT kind, status, delivered_at FROM job_rows WHERE id = ?", (job_id,)
    ).fetchone()
    if job is None or tuple(job) != ("durable", "completed", None):
        return False
    others = conn.execute(
        "SELECT asker FROM request_rows WHERE job_id = ? AND id <> ? AND asker IS NOT NULL",
        (job_id, request_id),
    )
    askers = (of_text(asker) for (asker,) in others)
    return all(who is not None and lives(who) is False for who in askers)


def delivered(conn: sqlite3.Connection, job_id: str) -> None:
    """Somebody has the whole answer."""
    from llm_gateway.store import operations

    with write(conn, _PATIENCE):
        operations.delivered(conn, job_id)


def _dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
