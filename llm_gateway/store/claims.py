"""Who answers a request: one transaction decides, so that of identical asks exactly one runs.

A job that holds a key is found by it while it is queued or running, and for a while afterwards.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from llm_gateway.records import field, record
from llm_gateway.store.operations import answered, insert, take_session_over, update
from llm_gateway.store.owner import Owner
from llm_gateway.store.text import now

__all__ = ["Claim", "Full", "Limits", "Wanted", "claim", "place_of", "promote", "reusable", "take"]

_LIVE = "status IN ('queued', 'running')"


class Full(Exception):
    """There is no room: ``str()`` says for what."""


@record(frozen=True)
class Limits:
    """How many jobs may run in all and of one provider, and how many may wait.

    A nested ask never waits, since the job that asks has a place already; it has a reserve.
    """

    total: int = 32
    of_provider: int = 16
    queue: int = 128
    reserve: int = 8


@record(frozen=True)
class Wanted:
    """What an asker brings: its rows, and what tells whether another job's answer is also its own.

    :param head: the commit that the workspace is at; None outside Git.
    :param fingerprint: of the workspace as it is now; None where no answer is to be reused.
    :param joins: kinds of jobs that it may join.
    :param ancestors: the jobs inside which it is asked, which it must not wait for.
    """

    request: dict[str, Any]
    job: dict[str, Any]
    body: dict[str, Any] | None
    head: str | None = None
    fingerprint: str | None = None
    since: str = ""
    limits: Limits = Limits()
    joins: tuple[str, ...] = ("foreground", "submitted", "durable")
    ancestors: frozenset[str] = field(default_factory=frozenset)

    @property
    def key(self) -> str | None:
        key: str | None = self.job.get("key")
        return key


@record(frozen=True)
class Claim:
    """``outcome``: ``ran`` (it is the asker's to run now), ``queued`` (to run later), ``joined``,
    ``collected`` or ``reused``; ``job`` is the row of the job that answers."""

    outcome: str
    job: Mapping[str, Any]

    @property
    def job_id(self) -> str:
        return str(self.job["id"])


def claim(conn: sqlite3.Connection, wanted: Wanted) -> Claim:
    """Decide, and write the asker's rows; inside the caller's transaction. Raises Full."""
    found = _found(conn, wanted) if wanted.key is not None else None
    if found is not None:
        outcome, job = found
        _ask(conn, wanted, outcome, job["id"])
        if outcome == "joined" and wanted.job["kind"] == "submitted":  # ends by job cancel alone
            theirs = "id = ? AND kind = 'durable'"
            update(conn, "job_rows", {"kind": "submitted"}, theirs, (job["id"],))
        return Claim(outcome, job)
    job = wanted.job
    if wanted.key is not None and _live(conn, wanted.key) is not None:
        job = {**job, "key": None}  # the key is taken by a job that is not for this asker
    status = _room(conn, job["provider"], wanted)
    _request(conn, wanted, job["id"], "ran", status)
    insert(conn, "job_rows", {**job, "status": status})
    if wanted.body is not None:
        insert(conn, "bodies", wanted.body)
    return Claim("ran" if status == "running" else "queued", job)


def reusable(conn: sqlite3.Connection, key: str, since: str) -> bool:
    """Whether there is an answer that a fingerprint may turn out to be good for."""
    job = _completed(conn, key, since)
    return job is not None and job["delivered_at"] is not None and _live(conn, key) is None


def take(conn: sqlite3.Connection, job_id: str, owner: Owner, lease_until: str) -> bool:
    """Make a process the owner of a job that waits for one; False where it is somebody else's."""
    return bool(
        conn.execute(
            "UPDATE job_rows SET owner_host = ?, owner_boot_id = ?, owner_pid_ns = ?,"
            " owner_pid = ?, owner_pid_start = ?, heartbeat_at = ?, lease_until = ?"
            f" WHERE id = ? AND owner_pid IS NULL AND {_LIVE}",
            (
                owner.host,
                owner.boot_id,
                owner.pid_ns,
                owner.pid,
                owner.pid_start,
                now(),
                lease_until,
                job_id,
            ),
        ).rowcount
    )


def place_of(conn: sqlite3.Connection, job_id: str, limits: Limits) -> int:
    """How many are before a queued job; 0 when it may run, -1 when it is queued no longer."""
    row = conn.execute("SELECT status FROM job_rows WHERE id = ?", (job_id,)).fetchone()
    if row is None or row[0] != "queued":
        return -1
    running = _running(conn)
    room = limits.total - sum(running.values())
    waiting = conn.execute(
        "SELECT id, provider FROM job_rows WHERE status = 'queued' ORDER BY queued_at, id"
    )
    for before, (queued_id, provider) in enumerate(waiting):
        runs = room > 0 and running.get(provider, 0) < limits.of_provider
        if queued_id == job_id:
            return 0 if runs else before + 1
        if runs:  # its turn comes first, whether it has noticed or not
            room -= 1
            running[provider] = running.get(provider, 0) + 1
    return -1


def promote(conn: sqlite3.Connection, job_id: str, limits: Limits) -> bool:
    """Let a queued job run if it is its turn; inside the caller's transaction."""
    if place_of(conn, job_id, limits) != 0:
        return False
    started = {"status": "running", "started_at": now()}
    update(conn, "job_rows", started, "id = ? AND status = 'queued'", (job_id,))
    conn.execute(
        "UPDATE request_rows SET status = 'running' WHERE job_id = ? AND status = 'queued'",
        (job_id,),
    )
    return True


def _found(conn: sqlite3.Connection, wanted: Wanted) -> tuple[str, dict[str, Any]] | None:
    """A job whose answer is this asker's too, and in which way."""
    assert wanted.key is not None
    live = _live(conn, wanted.key)
    if live is not None:
        return ("joined", live) if _may_join(live, wanted) else None
    done = _completed(conn, wanted.key, wanted.since)
    if done is None:
        return None
    if done["delivered_at"] is None:
        return ("collected", done) if _same_head(done, wanted) else None
    return ("reused", done) if _may_reuse(done, wanted) else None


def _may_join(job: Mapping[str, Any], wanted: Wanted) -> bool:
    if job["cancel_requested_at"] is not None or job["id"] in wanted.ancestors:
        return False
    # Inside a run only what runs and is younger: then no circle of jobs waits for itself.
    if wanted.ancestors and (job["status"] == "queued" or job["id"] < max(wanted.ancestors)):
        return False
    return job["kind"] in wanted.joins and _same_head(job, wanted)


def _same_head(job: Mapping[str, Any], wanted: Wanted) -> bool:
    return bool(wanted.job["access"] != "read" or job["head"] == wanted.head)


def _may_reuse(job: Mapping[str, Any], wanted: Wanted) -> bool:
    if wanted.fingerprint is None or job["access"] != "read" or not job["keep_bodies"]:
        return False
    return bool(job["reusable"]) and bool(job["fingerprint"] == wanted.fingerprint)


def _live(conn: sqlite3.Connection, key: str) -> dict[str, Any] | None:
    return _row(conn, f"key = ? AND {_LIVE}", key)


def _completed(conn: sqlite3.Connection, key: str, since: str) -> dict[str, Any] | None:
    return _row(
        conn,
        "key = ? AND status = 'completed' AND finished_at >= ? AND pruned_at IS NULL"
        " ORDER BY finished_at DESC LIMIT 1",
        key,
        since,
    )


def _row(conn: sqlite3.Connection, where: str, *values: str) -> dict[str, Any] | None:
    cursor = conn.execute(f"SELECT * FROM job_rows WHERE {where}", values)
    row = cursor.fetchone()
    names = [column[0] for column in cursor.description]
    return None if row is None else dict(zip(names, row, strict=True))


def _ask(conn: sqlite3.Connection, wanted: Wanted, outcome: str, job_id: str) -> None:
    """The row of an asker whose answer is another job's; it counts no tokens and no cost."""
    _request(conn, wanted, job_id, outcome, "running")
    if wanted.body is not None:
        insert(conn, "bodies", wanted.body)
    if outcome != "joined":
        answered(conn, wanted.request["id"], job_id)
    if outcome == "collected":
        take_session_over(conn, job_id, wanted.request["id"])


def _request(
    conn: sqlite3.Connection, wanted: Wanted, job_id: str, outcome: str, status: str
) -> None:
    """The asker's row, which is there already where the job that it joined was withdrawn."""
    whose = {"job_id": job_id, "outcome": outcome, "status": status}
    if not insert(conn, "request_rows", {**wanted.request, **whose}):
        update(conn, "request_rows", whose, f"id = ? AND {_LIVE}", (wanted.request["id"],))


def _room(conn: sqlite3.Connection, provider: str, wanted: Wanted) -> str:
    """``running`` where there is a place, ``queued`` where there will be one."""
    limits, running = wanted.limits, _running(conn)
    more = limits.reserve if wanted.ancestors else 0
    total, own = sum(running.values()), running.get(provider, 0)
    waiting = conn.execute("SELECT count(*) FROM job_rows WHERE status = 'queued'").fetchone()[0]
    first = wanted.ancestors or not waiting or not _same_queue(conn, provider, limits, running)
    if first and total < limits.total + more and own < limits.of_provider + more:
        return "running"
    if wanted.ancestors:
        raise Full(f"{total} jobs are running, and one inside another job cannot wait")
    if waiting >= limits.queue:
        raise Full(f"{total} jobs are running and {waiting} are waiting")
    return "queued"


def _same_queue(
    conn: sqlite3.Connection, provider: str, limits: Limits, running: Mapping[str, int]
) -> bool:
    """Whether somebody waits for the place that this one would take."""
    waiting = conn.execute("SELECT DISTINCT provider FROM job_rows WHERE status = 'queued'")
    return any(
        other == provider or running.get(other, 0) < limits.of_provider for (other,) in waiting
    )


def _running(conn: sqlite3.Connection) -> dict[str, int]:
    return dict(
        conn.execute(
            "SELECT provider, count(*) FROM job_rows WHERE status = 'running' GROUP BY provider"
        )
    )
