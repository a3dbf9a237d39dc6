"""What people call sessions, on a real SQLite file: names, the active one, time to live."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from llm_gateway.store import operations, prune, session_names
from llm_gateway.store.recorder import open_recorder
from llm_gateway.store.session_names import Mark

A, B = "aaaaaaaa-1111-4222-8333-000000000001", "aaaaaaaa-1111-4222-8333-000000000002"
OLD = "2020-01-01T00:00:00.000Z"


@pytest.fixture
def conn() -> sqlite3.Connection:
    found = open_recorder(print).connection
    assert found is not None
    return found


def seen(conn: sqlite3.Connection, session_id: str, provider: str = "claude", **more: Any) -> None:
    told = {"provider": provider, "session_id": session_id, "at": session_names.now(), **more}
    operations.session_seen(conn, told)


def test_a_session_is_meant_by_name_id_or_the_beginning_of_one(conn: sqlite3.Connection) -> None:
    """A name comes first; what means several is refused, and says which."""
    seen(conn, A, name="work")
    seen(conn, B)
    seen(conn, "cccccccc-1", "codex", name="work", at="2099-01-01T00:00:00.000Z")
    assert session_names.find(conn, A)["session_id"] == A
    assert session_names.find(conn, "cccccc")["session_id"] == "cccccccc-1"
    assert session_names.find(conn, "@last")["session_id"] == "cccccccc-1"
    assert session_names.find(conn, "work", "claude")["session_id"] == A
    for word, said in (("work", "any of"), ("aaaaaaaa", "any of"), ("nope", "no session nope")):
        with pytest.raises(LookupError, match=said):
            session_names.find(conn, word)


def test_a_word_that_means_nothing_yet_is_a_name(conn: sqlite3.Connection) -> None:
    """Unless it could be taken for something else."""
    seen(conn, A)
    assert session_names.named(conn, "claude", "new") == Mark("claude", None, "new")
    assert session_names.named(conn, "claude", "aaaaaaaa-1").session_id == A
    assert session_names.named(conn, "codex", "aaaaaaaa-1").session_id is None
    for bad in ("gw-1", "--help", "-x", "../x", "/etc", ".", "", "a b", "x" * 65, B, "@nobody"):
        with pytest.raises(LookupError):
            session_names.named(conn, "claude", bad)


def test_a_reserved_name_gets_its_session_and_stays_active(conn: sqlite3.Connection) -> None:
    """From the moment at which the CLI names it."""
    session_names.reserve(conn, "claude", "work")
    (reserved,) = session_names.listed(conn)
    assert (reserved["session_id"], reserved["name"]) == (None, "work")
    session_names.use(conn, reserved)
    assert session_names.active(conn, "claude") == Mark("claude", None, "work", active=True)
    seen(conn, A, name="work")
    assert session_names.active(conn, "claude") == Mark("claude", A, "work", active=True)
    assert session_names.active(conn, "codex") is None
    (row,) = session_names.listed(conn)
    assert (row["session_id"], row["name"], row["active"]) == (A, "work", True)
    seen(conn, B, name="work")  # begun again under the same name
    assert session_names.named(conn, "claude", "work").session_id == B
    assert session_names.active(conn, "claude") == Mark("claude", B, "work", active=True)


def test_a_name_is_given_once(conn: sqlite3.Connection) -> None:
    """And a session has one; renaming keeps what is active."""
    seen(conn, A, name="one")
    seen(conn, B)
    for act in (
        lambda: session_names.reserve(conn, "claude", "one"),
        lambda: session_names.rename(conn, session_names.find(conn, B), "one"),
        lambda: session_names.adopt(conn, "claude", "x-9", "one"),
    ):
        with pytest.raises(LookupError, match="already"):
            act()
    session_names.rename(conn, session_names.find(conn, "one"), "two")
    assert session_names.find(conn, A)["name"] == "two"
    session_names.reserve(conn, "claude", "later")
    session_names.use(conn, session_names.find(conn, "later"))
    session_names.rename(conn, session_names.find(conn, "later"), "soon")
    assert session_names.active(conn, "claude") == Mark("claude", None, "soon", active=True)
    assert conn.execute("SELECT count(*) FROM session_names").fetchone() == (2,)


@pytest.mark.parametrize("id", ["gw-1", "--resume", "../x", "/etc/passwd", "a\nb", ""])
def test_ids_that_are_none_are_not_adopted(conn: sqlite3.Connection, id: str) -> None:
    """The original's own prefix, flags, paths."""
    with pytest.raises(LookupError):
        session_names.adopt(conn, "claude", id, "name")
    assert session_names.listed(conn) == []


def test_deleting_forgets_name_and_record_and_that_it_was_active(conn: sqlite3.Connection) -> None:
    """Of this provider's session alone."""
    for provider in ("claude", "codex"):
        seen(conn, A, provider, name="work")
        session_names.use(conn, session_names.find(conn, "work", provider))
    session_names.delete(conn, session_names.find(conn, "work", "claude"))
    assert [row["provider"] for row in session_names.listed(conn)] == ["codex"]
    assert session_names.active(conn, "claude") is None
    assert session_names.active(conn, "codex") is not None
    assert session_names.clear(conn, None) == ["codex"]
    assert session_names.active(conn, "codex") is None


def test_what_nobody_uses_is_hidden_and_then_pruned(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By our variable; by the original's where ours is not set and its value is one."""
    seen(conn, A, name="old")
    session_names.use(conn, session_names.find(conn, A))
    session_names.reserve(conn, "claude", "never")
    conn.execute("UPDATE sessions SET last_used_at = ?", (OLD,))
    conn.execute("UPDATE session_names SET created_at = ?", (OLD,))
    conn.execute("UPDATE active_sessions SET since = ?", (OLD,))
    seen(conn, B, name="fresh")
    assert [row["name"] for row in session_names.listed(conn)] == ["fresh"]
    assert session_names.active(conn, "claude") is None
    assert session_names.named(conn, "claude", "old") == Mark("claude", None, "old")
    monkeypatch.setenv("SESSION_TTL", str(100 * 365 * 86_400))
    assert len(session_names.listed(conn)) == 3
    monkeypatch.setenv("SESSION_TTL", "soon")
    assert len(session_names.listed(conn)) == 1
    monkeypatch.setenv("LLM_GATEWAY_SESSION_TTL", str(100 * 365 * 86_400))
    prune.prune(conn)
    assert len(session_names.listed(conn)) == 3
    monkeypatch.delenv("LLM_GATEWAY_SESSION_TTL")
    prune.prune(conn)
    counts = {
        table: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("sessions", "session_names", "active_sessions")
    }
    assert counts == {"sessions": 1, "session_names": 1, "active_sessions": 0}


def test_names_that_were_spilled_come_in_twice_without_harm(conn: sqlite3.Connection) -> None:
    """What may run again leaves the file as it is."""
    for _ in range(2):
        seen(conn, A, name="work", at=OLD)
    assert conn.execute("SELECT name, session_id FROM session_names").fetchall() == [("work", A)]


def test_thousands_of_sessions_are_listed_by_page(conn: sqlite3.Connection) -> None:
    """And filtered by directory, provider and time."""
    at = [f"2099-01-01T00:{n:02}:00.000Z" for n in range(60)]
    rows = [("claude", f"s-{n:05}", f"/w{n % 10}", at[n % 60]) for n in range(3000)]
    conn.executemany(
        "INSERT INTO sessions (provider, session_id, cwd, created_at, last_used_at)"
        " VALUES (?1, ?2, ?3, ?4, ?4)",
        rows,
    )
    assert len(session_names.listed(conn, limit=50)) == 50
    here = session_names.listed(conn, cwd="/w3", limit=5000)
    assert len(here) == 300 and {row["cwd"] for row in here} == {"/w3"}
    assert session_names.listed(conn, since="2099-01-01T00:59:30") == []
    assert session_names.listed(conn, provider="codex") == []
