"""Records of approvals: the audit trail line by line, the table, and both read alike."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.store import approvals
from llm_gateway.store.recorder import open_recorder


def record(number: int, **more: Any) -> dict[str, Any]:
    """One approval as the gate writes it."""
    return {
        "id": f"id-{number:03}",
        "ts": f"2026-01-01T00:00:{number % 60:02}.000Z",
        "status": "denied" if number % 2 else "approved",
        "policy": "strict",
        "cli": "claude" if number % 3 else "codex",
        "operation": "claude_request",
        "score": number,
        "reasons": ["the prompt says delete (+3)"],
        "promptPreview": "x" * 5000,
        "promptSha256": "0" * 64,
        "requestedMcpServers": [],
        "requestId": f"request-{number}",
        "access": "read",
        "threshold": 2,
        "rules": [{"rule": "harmful_words", "points": 3, "reason": "the prompt says delete"}],
        **more,
    }


def test_lines_of_many_writers_stay_whole(tmp_path: Path) -> None:
    """One write a line, at the end of the file as it is then; nobody else can read it."""
    folder = tmp_path / "new"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: approvals.append(folder, record(n)), range(200)))
    found = list(approvals.from_log(folder))
    assert sorted(r["score"] for r in found) == list(range(200))
    assert stat.S_IMODE((folder / approvals.FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_no_record_is_left_out(tmp_path: Path) -> None:
    """A torn line, another program's, one of the original's without our keys."""
    path = tmp_path / approvals.FILE
    path.write_bytes(b'{"id": "a", "ts": "t", "sta\n[1]\n{"x": 1}\n\xff\n')
    original = {"id": "o", "ts": "2026", "status": "approved", "cli": "grok", "score": 1}
    approvals.append(tmp_path, original)
    assert approvals.in_log(tmp_path) == [original]
    assert list(approvals.from_log(tmp_path / "none")) == []


@pytest.fixture
def conn(tmp_path: Path) -> Any:
    """A recorder with ten approvals, which the audit trail has as well."""
    recorder = open_recorder(print)
    for number in range(10):
        recorder.write("approval", record=record(number))
        recorder.write("approval", record=record(number))  # taken in twice
        approvals.append(tmp_path / "gateway", record(number))
    yield recorder.connection
    recorder.close()


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ({"limit": 2}, [9, 8]),
        ({"provider": "codex"}, [9, 6, 3, 0]),
        ({"decision": "denied", "limit": 3}, [9, 7, 5]),
        ({"since": "2026-01-01T00:00:07"}, [9, 8, 7]),
        ({"provider": "grok"}, []),
    ],
)
def test_the_table_and_the_trail_are_read_alike(
    conn: sqlite3.Connection, tmp_path: Path, filters: dict[str, Any], numbers: list[int]
) -> None:
    """The same records under the same names, newest first."""
    found = approvals.listed(conn, **filters)
    assert [r["score"] for r in found] == numbers
    assert approvals.in_log(tmp_path / "gateway", **filters) == found


def test_one_is_found_by_its_beginning(conn: sqlite3.Connection) -> None:
    """Or by its request; two say that it is not enough. A wildcard is a character."""
    assert [r["id"] for r in approvals.by_id(conn, "id-003")] == ["id-003"]
    assert [r["id"] for r in approvals.by_id(conn, "request-4")] == ["id-004"]
    assert len(approvals.by_id(conn, "id-")) == 2
    assert approvals.by_id(conn, "id-00%") == []
