"""What is old goes, a little at a time; what is live, or imported, or an answer, stays."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from llm_gateway.commands import group
from llm_gateway.events import Text
from llm_gateway.request import Request
from llm_gateway.store import prune
from llm_gateway.store.recorder import open_recorder


@pytest.fixture
def conn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> sqlite3.Connection:
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path))
    for name in ("LOGS_DB", "JOB_RETENTION_DAYS", "LOG_RETENTION_DAYS"):
        monkeypatch.delenv(f"LLM_GATEWAY_{name}", raising=False)
    run("old")
    run("live", ends=False)
    conn = sqlite3.connect(tmp_path / "logs.db", isolation_level=None)
    conn.execute("update request_rows set datetime_utc = '2020-01-01T00:00:00.000Z'")
    conn.execute(
        "update job_rows set finished_at = '2020-01-01T00:00:00.000Z' where finished_at <> ''"
    )
    conn.execute("update meta set value = '9999'")
    run("new")
    conn.execute("delete from meta")
    return conn


def run(name: str, ends: bool = True, events: int = 1) -> None:
    """One run with stderr and events of its own."""
    recorder = open_recorder(print)
    request = Request(id=f"R-{name}", provider="claude", prompt="why?")
    recorder.begin(request, name, model=None, access="read", cwd="/w")
    recorder.attempt_started(name, 1, ["x"], [], "/w")
    recorder.events(name, 1, [(i, Text("a", i)) for i in range(events)])
    recorder.attempt_ended(name, 1, stderr_tail="said")
    if ends:
        recorder.finish(f"R-{name}", name, "completed", partial_text="because")
    recorder.close()


def last(conn: sqlite3.Connection) -> list[tuple[str]]:
    """When pruning came to its end."""
    return conn.execute("select value from meta where key = 'pruned_at'").fetchall()


def jobs_with_events(conn: sqlite3.Connection) -> list[str]:
    found = conn.execute("select distinct job_id from events order by 1")
    return [row[0] for row in found]


def test_old_events_and_stderr_go_and_answers_stay(conn: sqlite3.Connection) -> None:
    """The answer of a pruned job can still be read."""
    assert prune.prune(conn) == {"jobs": 1, "events": 1, "requests": 0}
    assert jobs_with_events(conn) == ["live", "new"]
    found = conn.execute("select response, stderr from bodies where id = 'R-old'").fetchone()
    assert found == ("because", None)
    assert prune.prune(conn) == {"jobs": 0, "events": 0, "requests": 0}


def test_a_live_job_keeps_everything(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old it is and whatever retention says."""
    monkeypatch.setenv("LLM_GATEWAY_LOG_RETENTION_DAYS", "1")
    prune.prune(conn)
    assert "live" in jobs_with_events(conn)
    assert conn.execute("select id from requests order by id").fetchall() == [
        ("R-live",),
        ("R-new",),
    ]


def test_requests_go_only_where_that_was_asked_for(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that belongs to them."""
    monkeypatch.setenv("LLM_GATEWAY_LOG_RETENTION_DAYS", "1")
    assert prune.prune(conn)["requests"] == 1
    for table, column in (("bodies", "id"), ("attempts", "job_id"), ("job_rows", "id")):
        found = [row[0] for row in conn.execute(f"select {column} from {table}")]
        assert not {"old", "R-old"} & set(found)


def test_a_big_job_is_pruned_in_small_batches_within_a_budget(conn: sqlite3.Connection) -> None:
    """What is left is for the next run; the day's mark is set when nothing is left."""
    run("big", events=20_000)
    conn.execute("update job_rows set finished_at = '2020-01-01T00:00:00.000Z' where id = 'big'")
    conn.execute("delete from meta")
    took = []
    for _ in range(2000):
        began = time.perf_counter()
        prune.a_little(conn)
        took.append(time.perf_counter() - began)
        if not prune.is_due(conn):
            break
    assert jobs_with_events(conn) == ["live", "new"]
    assert len(took) > 1 and sorted(took)[len(took) // 2] < 0.05


def test_a_run_prunes_once_a_day(conn: sqlite3.Connection) -> None:
    """At its end, without being asked, and on a slow machine the next run goes on with it."""
    for number in range(20):
        run(f"next-{number}")
        if not prune.is_due(conn):
            break
    assert "old" not in jobs_with_events(conn)
    first = last(conn)
    run("afterwards")
    assert last(conn) == first != []


def test_a_command_prunes_too(conn: sqlite3.Connection) -> None:
    """Who only collects what others asked has no run; what tells what would go takes nothing."""
    assert CliRunner().invoke(group, ["prune", "--dry-run"]).exit_code == 0
    assert jobs_with_events(conn) == ["live", "new", "old"]
    for _ in range(20):
        assert CliRunner().invoke(group, ["jobs"]).exit_code == 0
        if not prune.is_due(conn):
            break
    assert jobs_with_events(conn) == ["live", "new"]


def test_pruning_does_not_wait_for_a_lock(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """Somebody else is writing: another time."""
    other = sqlite3.connect(tmp_path / "logs.db", isolation_level=None)
    other.execute("begin immediate")
    began = time.perf_counter()
    prune.a_little(conn)
    assert time.perf_counter() - began < 0.5
    other.execute("rollback")
    assert "old" in jobs_with_events(conn)
