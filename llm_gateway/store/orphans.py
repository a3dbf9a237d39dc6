"""Finds jobs whose owner is gone, says so in the store, and ends what is left of their processes.

A job is an orphan when its owner is seen to be dead, or cannot be seen from here and has let its
lease run out. A live owner is never taken for dead, however old its lease: laptops sleep.
"""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from llm_gateway import proctree, settings
from llm_gateway.store import owner
from llm_gateway.store.connection import write
from llm_gateway.store.text import now

__all__ = ["MESSAGE", "end_tree", "is_gone", "reap"]

MESSAGE = "The process that ran it is gone, and nobody knows how far it got."
_LIVE = (
    "SELECT id, kind, status, provider, pid, pid_start, owner_host, owner_boot_id, owner_pid_ns,"
    " owner_pid, owner_pid_start, lease_until FROM job_rows WHERE status IN ('queued', 'running')"
    " AND NOT (owner_pid IS ? AND owner_pid_start IS ? AND owner_boot_id IS ?"
    " AND owner_pid_ns IS ?)"
)
_PATIENCE = 1.0


def reap(conn: sqlite3.Connection, job_id: str | None = None) -> list[str]:
    """Return the jobs that turned out to be orphans, of all or of one; nothing else is touched."""
    _take_in_spilled(conn)
    _close_left(conn)
    own = owner.this_process()  # it may have a hundred of them, and it lives
    values: tuple[object, ...] = (own.pid, own.pid_start, own.boot_id, own.pid_ns)
    one = () if job_id is None else (job_id,)
    cursor = conn.execute(_LIVE + " AND id = ?" * len(one), values + one)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    lives = cache(owner.lives)  # a process may have a hundred of them
    gone = [row for row in rows if is_gone(row, lives)]
    return [row["id"] for row in gone if _orphaned(conn, row)]


def _take_in_spilled(conn: sqlite3.Connection) -> None:
    """How a job ended may be in a spill file, whether or not its owner is still there."""
    spilled = settings.home() / "spill"
    if not spilled.is_dir():
        return
    from llm_gateway.store.spill import take_in

    take_in(conn, spilled, settings.logs_db() or Path(), _PATIENCE)


def _close_left(conn: sqlite3.Connection) -> None:
    """End the rows of askers that are gone while their job has ended."""
    left = conn.execute(
        "SELECT r.id, r.asker FROM request_rows r JOIN job_rows j ON j.id = r.job_id"
        " WHERE r.status IN ('queued', 'running') AND j.status NOT IN ('queued', 'running')"
    ).fetchall()
    if not left:
        return
    from llm_gateway.store import operations

    for request_id, asker in left:
        who = owner.of_text(asker)
        if who is None or owner.lives(who) is False:
            with write(conn, _PATIENCE):
                operations.withdraw(conn, request_id, "orphaned", MESSAGE, "orphaned", joined=True)


def is_gone(
    row: Mapping[str, Any], lives: Callable[[owner.Owner], bool | None] = owner.lives
) -> bool:
    """Whether nobody runs that job any more."""
    who = owner.of_row(row)
    alive = None if who is None else lives(who)
    if alive is None:
        return bool(row["lease_until"]) and row["lease_until"] < now()
    return not alive


def _orphaned(conn: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
    """Say so, where it is still what was seen; the tree is ended by whoever said it."""
    from llm_gateway.store import operations

    ended = {
        "status": "orphaned",
        "finished_at": now(),
        "error_category": "orphaned",
        "error_message": MESSAGE,
    }
    with write(conn, _PATIENCE):
        changed = conn.execute(
            "UPDATE job_rows SET status = :status, finished_at = :finished_at, spec_json = NULL,"
            " error_category = :error_category, error_message = :error_message"
            " WHERE id = :id AND status = :was AND owner_pid IS :owner"
            " AND lease_until IS :lease_until",
            {
                **ended,
                "id": row["id"],
                "was": row["status"],
                "owner": row["owner_pid"],
                "lease_until": row["lease_until"],
            },
        ).rowcount
        if changed:
            operations.close_requests(conn, row["id"], ended)
    if changed:
        end_tree(row)
    return bool(changed)


def end_tree(row: Mapping[str, Any]) -> None:
    """End the processes of a job, where they are on this machine and still the ones that it began.

    By pid and start time, and by the mark in their environment for those that left the tree.
    """
    who = owner.of_row(row)
    if who is not None and owner.lives(who) is None:
        return
    found = set(proctree.marked(f"LLM_GATEWAY_RUN={row['id']}"))
    if row["pid"] and row["pid_start"]:
        child = proctree.Process(row["pid"], row["pid_start"])
        if proctree.alive(child):
            found.update(proctree.descendants(child.pid))
    proctree.signal_all(found, signal.SIGKILL)
