"""What people call sessions: names, the active one of each provider, and what is listed.

A session that was not used for ``settings.session_ttl()`` seconds is hidden by every function here
and pruned by and by. The vendor's own session is never touched.
"""

from __future__ import annotations

import re
import sqlite3
import time
from typing import Any

from llm_gateway import settings
from llm_gateway.ids import is_session_id
from llm_gateway.records import record
from llm_gateway.store.text import dumps, iso, now

__all__ = [
    "Mark",
    "active",
    "adopt",
    "bind",
    "by_ids",
    "check_name",
    "clear",
    "cutoff",
    "delete",
    "find",
    "listed",
    "named",
    "prune",
    "rename",
    "reserve",
    "use",
]

LAST = "@last"
_NAME = r"[^\W_][\w.+-]{0,63}\Z"
_ID = r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"
_SHORTEST = 6
_BATCH = 100

# Reserved names are rows without a session; everything else is a session, named or not.
_LISTED = """
SELECT s.provider, s.session_id, n.name, s.cwd, s.title, s.turns, s.model, s.access,
    s.created_at, s.last_used_at, s.thread_id AS conversation, s.parent_session_id, s.source,
    EXISTS (SELECT 1 FROM active_sessions a
        WHERE a.provider = s.provider AND a.session_id = s.session_id) AS active
FROM sessions s LEFT JOIN session_names n
    ON n.provider = s.provider AND n.session_id = s.session_id
WHERE s.last_used_at >= :cutoff
UNION ALL
SELECT n.provider, NULL, n.name, NULL, NULL, 0, NULL, NULL,
    n.created_at, n.created_at, NULL, NULL, NULL,
    EXISTS (SELECT 1 FROM active_sessions a
        WHERE a.provider = n.provider AND a.name = n.name)
FROM session_names n WHERE n.session_id IS NULL AND n.created_at >= :cutoff
"""


@record(frozen=True, slots=True)
class Mark:
    """A session that a person chose; without an id it begins with its first prompt."""

    provider: str
    session_id: str | None
    name: str | None = None
    active: bool = False

    @property
    def lock(self) -> str | None:
        """What is held while it may begin; no name and no id has a slash."""
        return f"{self.provider}/{self.name}" if self.name else None


def cutoff() -> str:
    """What was last used before this is hidden."""
    return iso(time.time() - settings.session_ttl())


def check_name(name: str) -> str:
    """Return a name as it is, or say why it cannot be one.

    :raises LookupError: where it could be taken for a flag, a path or a session's id.
    """
    if name.startswith("gw-") or re.match(_ID, name) or not re.match(_NAME, name):
        raise LookupError(
            f"{name!r} cannot be a session's name: letters, digits and . + - _, at most 64, "
            "none that looks like an id."
        )
    return name


def listed(
    conn: sqlite3.Connection,
    *,
    provider: str | None = None,
    cwd: str | None = None,
    since: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Sessions and reserved names, the last used first."""
    return _select(
        conn,
        "(:provider IS NULL OR provider = :provider) AND (:cwd IS NULL OR cwd = :cwd)"
        " AND (:since IS NULL OR last_used_at >= :since)"
        " ORDER BY last_used_at DESC, session_id LIMIT :limit",
        provider=provider,
        cwd=cwd,
        since=since,
        limit=limit,
    )


def by_ids(
    conn: sqlite3.Connection, session_ids: list[str]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Those of the sessions that are here."""
    among = "session_id IN (SELECT value FROM json_each(:ids))"
    rows = _select(conn, among, ids=dumps(session_ids))
    return {(row["provider"], row["session_id"]): row for row in rows}


def find(conn: sqlite3.Connection, word: str, provider: str | None = None) -> dict[str, Any]:
    """The session that a word means: a name, an id, the beginning of one id, or ``@last``.

    :raises LookupError: with a sentence, where it means none or more than one.
    """
    found = _meant(conn, word, provider)
    if not found:
        raise LookupError(f"There is no session {word} here; llm gateway sessions lists them.")
    if len(found) > 1:
        which = ", ".join(f"{row['provider']} {row['session_id'] or row['name']}" for row in found)
        raise LookupError(f"{word} could be any of {which}; say more of it, or --provider.")
    return found[0]


def named(conn: sqlite3.Connection, provider: str, word: str) -> Mark:
    """What ``-o session`` means; a word that means nothing yet is the name of a new session.

    :raises LookupError: with a sentence, where it means more than one or cannot be a name.
    """
    if _meant(conn, word, provider):
        row = find(conn, word, provider)
        return Mark(provider, row["session_id"], row["name"])
    if re.match(_ID, word):
        raise LookupError(f"There is no session {word} here; -o session_id {word} continues it.")
    return Mark(provider, None, check_name(word))


def active(conn: sqlite3.Connection, provider: str) -> Mark | None:
    """The session that the provider's prompts continue."""
    if not conn.execute("SELECT 1 FROM active_sessions WHERE provider = ?", (provider,)).fetchone():
        return None  # most prompts; the rest looks at every session
    rows = _select(conn, "provider = :provider AND active LIMIT 1", provider=provider)
    if not rows:
        return None
    return Mark(provider, rows[0]["session_id"], rows[0]["name"], active=True)


# What follows writes, inside a transaction of the caller's.


def bind(conn: sqlite3.Connection, provider: str, name: str, session_id: str, at: str) -> None:
    """A name's session has begun, or another one took its place; a session has one name.

    An active session that loses its place, as a failed attempt's does, hands that on as well.
    """
    conn.execute(
        "UPDATE active_sessions SET session_id = ? WHERE provider = ? AND session_id ="
        " (SELECT session_id FROM session_names WHERE provider = ? AND name = ?)",
        (session_id, provider, provider, name),
    )
    conn.execute(
        "DELETE FROM session_names WHERE provider = ? AND session_id = ? AND name != ?",
        (provider, session_id, name),
    )
    conn.execute(
        "INSERT INTO session_names (provider, name, session_id, created_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (provider, name) DO UPDATE SET session_id = excluded.session_id",
        (provider, name, session_id, at),
    )
    conn.execute(
        "UPDATE active_sessions SET session_id = ?, name = NULL WHERE provider = ? AND name = ?",
        (session_id, provider, name),
    )


def reserve(conn: sqlite3.Connection, provider: str, name: str) -> None:
    """A name whose session begins with the first prompt that says it."""
    _free(conn, provider, check_name(name))
    conn.execute(
        "INSERT INTO session_names (provider, name, created_at) VALUES (?, ?, ?)",
        (provider, name, now()),
    )


def adopt(
    conn: sqlite3.Connection,
    provider: str,
    session_id: str,
    name: str,
    cwd: str | None = None,
    title: str | None = None,
) -> None:
    """A session that the vendor has becomes one of ours, with a name."""
    if session_id.startswith("gw-") or not is_session_id(session_id):
        raise LookupError(f"{session_id!r} is not a session id of a vendor's CLI.")
    _free(conn, provider, check_name(name))
    conn.execute(
        "INSERT INTO sessions (provider, session_id, cwd, title, created_at, last_used_at, source)"
        " VALUES (?, ?, ?, ?, ?, ?, 'adopted')"
        " ON CONFLICT (provider, session_id) DO UPDATE SET last_used_at = excluded.last_used_at,"
        " cwd = coalesce(cwd, excluded.cwd), title = coalesce(title, excluded.title)",
        (provider, session_id, cwd, title, now(), now()),
    )
    bind(conn, provider, name, session_id, now())


def rename(conn: sqlite3.Connection, session: dict[str, Any], name: str) -> None:
    """Give a session or a reserved name another name."""
    provider = session["provider"]
    if check_name(name) == session["name"]:
        return
    _free(conn, provider, name)
    if session["session_id"]:
        bind(conn, provider, name, session["session_id"], now())
        return
    old = (name, provider, session["name"])
    conn.execute("UPDATE session_names SET name = ? WHERE provider = ? AND name = ?", old)
    conn.execute("UPDATE active_sessions SET name = ? WHERE provider = ? AND name = ?", old)


def use(conn: sqlite3.Connection, session: dict[str, Any]) -> None:
    """Make a session the one that its provider's prompts continue; that counts as a use."""
    provider, session_id = session["provider"], session["session_id"]
    name = None if session_id else session["name"]
    conn.execute(
        "INSERT OR REPLACE INTO active_sessions (provider, session_id, name, since)"
        " VALUES (?, ?, ?, ?)",
        (provider, session_id, name, now()),
    )
    conn.execute(
        "UPDATE sessions SET last_used_at = ? WHERE provider = ? AND session_id = ?",
        (now(), provider, session_id),
    )


def clear(conn: sqlite3.Connection, provider: str | None) -> list[str]:
    """End the active session, of every provider where none is named; which they were of."""
    among = "FROM active_sessions WHERE ? IS NULL OR provider = ?"
    rows = conn.execute(f"SELECT provider {among}", (provider, provider)).fetchall()
    conn.execute(f"DELETE {among}", (provider, provider))
    return sorted(row[0] for row in rows)


def delete(conn: sqlite3.Connection, session: dict[str, Any]) -> None:
    """Forget a session: its record, its name, and that it is the active one."""
    said = (session["provider"], session["session_id"], session["name"])
    conn.execute("DELETE FROM sessions WHERE provider = ? AND session_id = ?", said[:2])
    for table in ("session_names", "active_sessions"):
        conn.execute(
            f"DELETE FROM {table} WHERE provider = ? AND (session_id = ? OR name = ?)", said
        )


def prune(conn: sqlite3.Connection, before: str) -> int:
    """Forget a batch of what was last used before then; how many sessions that were."""
    old = "(SELECT rowid FROM sessions WHERE last_used_at < ? LIMIT ?)"
    gone = conn.execute(f"DELETE FROM sessions WHERE rowid IN {old}", (before, _BATCH)).rowcount
    for table, since in (("session_names", "created_at"), ("active_sessions", "since")):
        conn.execute(
            f"DELETE FROM {table} AS t WHERE t.{since} < ? AND (t.session_id IS NULL OR NOT EXISTS"
            " (SELECT 1 FROM sessions s WHERE s.provider = t.provider"
            " AND s.session_id = t.session_id))",
            (before,),
        )
    return gone


def _meant(conn: sqlite3.Connection, word: str, provider: str | None) -> list[dict[str, Any]]:
    """What a word may mean, by the first of the rules that finds anything."""
    among = "(:provider IS NULL OR provider = :provider) AND "
    if word == LAST:
        last = "session_id IS NOT NULL ORDER BY last_used_at DESC LIMIT 1"
        return _select(conn, among + last, provider=provider)
    rules = ["name = :word", "session_id = :word"]
    if len(word) >= _SHORTEST:
        rules.append("substr(session_id, 1, length(:word)) = :word LIMIT 5")
    found = (_select(conn, among + rule, provider=provider, word=word) for rule in rules)
    return next(filter(None, found), [])


def _select(conn: sqlite3.Connection, where: str, **values: Any) -> list[dict[str, Any]]:
    cursor = conn.execute(
        f"SELECT * FROM ({_LISTED}) WHERE {where}", {"cutoff": cutoff(), **values}
    )
    names = [column[0] for column in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor]
    for row in found:
        row["active"] = bool(row["active"])
    return found


def _free(conn: sqlite3.Connection, provider: str, name: str) -> None:
    """Make sure that a name is nobody's; one that expired is free."""
    if _select(conn, "provider = :provider AND name = :name", provider=provider, name=name):
        raise LookupError(f"{provider} has a session named {name} already.")
    conn.execute("DELETE FROM session_names WHERE provider = ? AND name = ?", (provider, name))
