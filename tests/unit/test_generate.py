"""The made-up past that benchmarks and the screens' speed tests use."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from benchmarks.generate import generate
from llm_gateway.store.migrations import VERSION
from llm_gateway.store.recorder import open_recorder

UNTIL = 1_795_000_000.0


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    conn = sqlite3.connect(path)
    try:
        return conn.execute(query).fetchall()
    finally:
        conn.close()


def test_a_made_up_past_is_a_sound_recorder_and_always_the_same(tmp_path: Path) -> None:
    """With the indexes and triggers of every file, everything counted and everything found."""
    path, again = tmp_path / "a" / "logs.db", tmp_path / "b" / "logs.db"
    for made in (path, again):
        generate(made, 1500, until=UNTIL)
    contents = [
        rows(made, f"select * from {table}")
        for made in (path, again)
        for table in ("request_rows", "bodies", "events", "hourly", "sessions", "breaker_changes")
    ]
    assert contents[:6] == contents[6:]
    assert rows(path, "pragma integrity_check") == [("ok",)]
    assert rows(path, "pragma user_version") == [(VERSION,)]
    [(requests, live)] = rows(path, "select count(*), sum(status = 'running') from request_rows")
    assert requests == 1500 and live == 3
    for table in ("hourly", "daily"):
        assert rows(path, f"select sum(requests) from {table}") == [(1497,)]
    assert rows(path, "select count(*) from bodies_fts_docsize") == [(1497,)]
    [(events,)] = rows(path, "select count(*) from events")
    assert 9 * 1500 < int(str(events)) < 12 * 1500
    for table in ("approvals", "attempts", "job_rows", "daily_durations"):
        assert rows(path, f"select 1 from {table} limit 1")


def test_it_has_what_every_recorder_has(tmp_path: Path) -> None:
    """No index or trigger is lost by filling it quickly."""
    import os

    generate(tmp_path / "made.db", 10, until=UNTIL)
    open_recorder(print).close()
    names = "select type, name, sql from sqlite_master where name not like 'sqlite_%' order by 1, 2"
    fresh = Path(os.environ["LLM_GATEWAY_HOME"]) / "logs.db"
    assert rows(tmp_path / "made.db", names) == rows(fresh, names)
