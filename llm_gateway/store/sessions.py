"""The vendor's sessions: found by their own id or by llm's conversation, noted when a turn ends."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from ..records import field, record

__all__ = ["SessionRow", "by_id", "by_thread", "seen"]

_COLUMNS = (
    "provider, session_id, thread_id, cwd, model, resolved_model, access, add_dirs, last_turn_id,"
    " turns, created_at, last_used_at, title, cost_total_usd, usage_totals, parent_session_id,"
    " source"
)


@record(frozen=True, slots=True)
class SessionRow:
    """What a continuation needs to know; ``turns`` counts the turns that went through us."""

    provider: str
    session_id: str
    thread_id: str | None = None
    cwd: str | None = None
    model: str | None = None
    resolved_model: str | None = None
    access: str | None = None
    add_dirs: tuple[str, ...] = ()
    last_turn_id: str | None = None
    turns: int = 0
    created_at: str = ""
    last_used_at: str = ""
    title: str | None = None
    cost_total_usd: float | None = None
    usage_totals: dict[str, int] = field(default_factory=dict)
    parent_session_id: str | None = None
    source: str | None = None


def by_id(conn: sqlite3.Connection, provider: str, session_id: str) -> SessionRow | None:
    """The session of that id, where we have seen it."""
    return _one(
        conn.execute(
            f"SELECT {_COLUMNS} FROM sessions WHERE provider = ? AND session_id = ?",
            (provider, session_id),
        )
    )


def by_thread(conn: sqlite3.Connection, provider: str, thread_id: str) -> SessionRow | None:
    """The newest session of llm's conversation with that provider."""
    return _one(
        conn.execute(
            f"SELECT {_COLUMNS} FROM sessions WHERE provider = ? AND thread_id = ?"
            " ORDER BY last_used_at DESC LIMIT 1",
            (provider, thread_id),
        )
    )


def seen(conn: sqlite3.Connection, session: dict[str, Any], turn: bool) -> None:
    """Note a session; with ``turn`` one more turn of it. What is None leaves what was known."""
    values = {name: session.get(name) for name in _NOTED}
    conn.execute(_UPSERT, {**values, "turn": int(turn)})


_KEPT = (
    "thread_id",
    "cwd",
    "model",
    "resolved_model",
    "access",
    "add_dirs",
    "last_turn_id",
    "last_request_id",
    "title",
    "cost_total_usd",
    "usage_totals",
    "parent_session_id",
)
_NOTED = ("provider", "session_id", "at", *_KEPT)
_UPSERT = (
    "INSERT INTO sessions (provider, session_id, created_at, last_used_at, turns,"
    f" {', '.join(_KEPT)})"
    f" VALUES (:provider, :session_id, :at, :at, :turn, {', '.join(':' + name for name in _KEPT)})"
    " ON CONFLICT (provider, session_id) DO UPDATE SET"
    " last_used_at = max(last_used_at, excluded.last_used_at), turns = turns + excluded.turns, "
    + ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in _KEPT)
)


def _one(cursor: sqlite3.Cursor) -> SessionRow | None:
    row = cursor.fetchone()
    if row is None:
        return None
    found = dict(zip((name[0] for name in cursor.description), row, strict=True))
    found["add_dirs"] = tuple(json.loads(found["add_dirs"] or "[]"))
    found["usage_totals"] = json.loads(found["usage_totals"] or "{}")
    return SessionRow(**found)
