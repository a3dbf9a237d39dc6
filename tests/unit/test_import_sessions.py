"""An original's sessions.json comes in: what can be continued, with its times, once."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llm_gateway.commands import exits, group
from llm_gateway.store import session_names
from llm_gateway.store.import_original import NotAnOriginal
from llm_gateway.store.import_sessions import import_sessions
from llm_gateway.store.recorder import open_recorder
from llm_gateway.store.text import iso

CLAUDE, GEMINI = "11111111-2222-4333-8444-555555555555", "66666666-2222-4333-8444-555555555555"
MADE_UP = "77777777-2222-4333-8444-555555555555"
CODEX = "0198f3a2-0000-7000-8000-000000000001"
NOW = float(int(time.time()))


@pytest.fixture
def conn() -> sqlite3.Connection:
    found = open_recorder(print).connection
    assert found is not None
    return found


def record(id: str, cli: str, age: float = 60.0, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "cli": cli,
        "createdAt": iso(NOW - age - 10),
        "lastUsedAt": iso(NOW - age),
        "description": f"{cli.capitalize()} Session",
        **more,
    }


def original(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "sessions.json"
    sessions = {record["id"]: record for record in records}
    active = {"claude": CLAUDE, "codex": None, "gemini": None, "grok": None}
    path.write_text(json.dumps({"sessions": sessions, "activeSession": active}, indent=2))
    return path


def test_sessions_come_in_with_their_times_and_none_is_active(
    conn: sqlite3.Connection, tmp_path: Path
) -> None:
    """A description of the person's own is the title; importing again adds nothing (T-47)."""
    path = original(
        tmp_path,
        record(CLAUDE, "claude", description="my \x1b[31mreview"),
        record(CODEX, "codex", 120.0),
        record(GEMINI, "gemini", 180.0, metadata={"x": 1}),
    )
    before = path.read_bytes()
    assert import_sessions(path, conn) == {"sessions": 3, "already_there": 0, "left_out": 0}
    found = {row["session_id"]: row for row in session_names.listed(conn)}
    assert found[CLAUDE]["title"] == "my review" and found[CODEX]["title"] is None
    assert found[CODEX]["created_at"] == iso(NOW - 130)
    assert found[CODEX]["last_used_at"] == iso(NOW - 120)
    assert {row["source"] for row in found.values()} == {"original-1.4.0"}
    assert session_names.active(conn, "claude") is None
    assert import_sessions(path, conn) == {"sessions": 0, "already_there": 3, "left_out": 0}
    assert path.read_bytes() == before


def test_what_no_cli_has_is_left_out(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """Made-up ids (T-17, T-37), paths, flags, what expired, what is not told whole."""
    records = [
        record("gw-0000", "grok"),
        record(MADE_UP, "codex"),
        record("../../x", "claude"),
        record("--resume", "gemini"),
        record(GEMINI, "cursor"),
        record("old", "claude", 40 * 86_400.0),
        record("when", "claude", lastUsedAt="yesterday"),
    ]
    path = original(tmp_path, *records)
    told = json.loads(path.read_text())
    told["sessions"]["no record"] = 7
    told["sessions"]["not its own"] = record("other", "claude")
    path.write_text(json.dumps(told))
    assert import_sessions(path, conn) == {"sessions": 0, "already_there": 0, "left_out": 9}
    assert session_names.listed(conn) == []


def test_what_we_know_of_a_session_stays(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """Ours is the newer word."""
    session_names.adopt(conn, "claude", CLAUDE, "mine", "/w", "ours")
    counts = import_sessions(original(tmp_path, record(CLAUDE, "claude")), conn)
    assert counts["already_there"] == 1
    (row,) = session_names.listed(conn)
    assert (row["name"], row["title"], row["source"]) == ("mine", "ours", "adopted")


@pytest.mark.parametrize("text", ["{", "{}", '{"sessions": []}', '{"sessions": {}}', "{" * 9999])
def test_another_file_is_refused(conn: sqlite3.Connection, tmp_path: Path, text: str) -> None:
    """In a sentence."""
    path = tmp_path / "sessions.json"
    path.write_text(text)
    with pytest.raises(NotAnOriginal, match="is not the sessions"):
        import_sessions(path, conn)


def test_the_command_tells_the_two_files_apart(tmp_path: Path) -> None:
    """By what is in them."""
    path = original(tmp_path, record(CLAUDE, "claude"), record("gw-1", "grok"))
    ran = CliRunner().invoke(group, ["import", str(path)], catch_exceptions=False)
    assert ran.stdout == "Imported 1 sessions; left out 1 that have expired or that no CLI has.\n"
    again = CliRunner().invoke(group, ["import", str(path), "--json"], catch_exceptions=False)
    assert json.loads(again.stdout) == {"sessions": 0, "already_there": 1, "left_out": 1}
    path.write_text("{}")
    bad = CliRunner().invoke(group, ["import", str(path)], catch_exceptions=False)
    assert bad.exit_code == exits.BAD_DATA
