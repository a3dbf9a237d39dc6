"""``llm gateway prune``: what it takes out, what it asks, what it leaves."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.generate import generate
from llm_gateway.commands import group
from llm_gateway.store import search


@pytest.fixture
def conn() -> sqlite3.Connection:
    """A year of requests in the recorder that commands find."""
    path = Path(os.environ["LLM_GATEWAY_HOME"]) / "logs.db"
    generate(path, 600, days=360)
    return sqlite3.connect(path, isolation_level=None)


def prune(*args: str, answer: str = "") -> Result:
    return CliRunner().invoke(group, ["prune", *args], input=answer)


def count(conn: sqlite3.Connection, table: str) -> int:
    return int(conn.execute(f"select count(*) from {table}").fetchone()[0])


def test_nothing_was_recorded_yet() -> None:
    """That is no error, and makes no file."""
    done = prune("--json")
    assert done.exit_code == 0 and json.loads(done.stdout) == {
        "jobs": 0,
        "events": 0,
        "requests": 0,
    }
    assert not Path(os.environ["LLM_GATEWAY_HOME"], "logs.db").exists()


def test_what_is_older_goes_and_the_file_shrinks(conn: sqlite3.Connection) -> None:
    """A dry run tells exactly that; running requests stay, and so do the sums."""
    sums = conn.execute("select sum(requests), sum(cost_usd) from hourly").fetchall()
    conn.execute(
        "update request_rows set datetime_utc = '2020-01-01T00:00:00.000Z' where status = 'running'"
    )
    pages, before = conn.execute("pragma page_count").fetchone()[0], count(conn, "request_rows")
    would = json.loads(prune("--older-than", "180", "--dry-run", "--json").stdout)
    assert count(conn, "request_rows") == before and would["requests"] > 100
    done = prune("--older-than", "180", "--yes", "--json")
    assert json.loads(done.stdout) == would
    assert count(conn, "request_rows") == before - would["requests"] == count(conn, "bodies")
    assert count(conn, "request_rows where status = 'running'") == 3
    assert conn.execute("pragma page_count").fetchone()[0] < 0.8 * pages
    assert conn.execute("pragma freelist_count").fetchone() == (0,)
    assert conn.execute("select sum(requests), sum(cost_usd) from hourly").fetchall() == sums
    assert conn.execute("pragma integrity_check").fetchone() == ("ok",)
    assert count(conn, "bodies_fts_docsize") == count(conn, "bodies") - 3


def test_what_was_pruned_is_nowhere_in_the_file(conn: sqlite3.Connection) -> None:
    """Neither in a table nor in the index nor in the room that they left."""
    old = "where datetime_utc < '2100' and status <> 'running' order by datetime_utc limit 1"
    [(id,)] = conn.execute(f"select id from request_rows {old}").fetchall()
    search.forget(conn, id)
    conn.execute("update bodies set prompt = 'xylophonist' where id = ?", (id,))
    search.take_in(conn)
    for lazy in ("('automerge', 0)", "('crisismerge', 1000)"):
        conn.execute(f"insert into bodies_fts (bodies_fts, rank) values {lazy}")
    found = "select count(*) from bodies_fts where bodies_fts match 'xylophonist'"
    assert conn.execute(found).fetchone() == (1,)
    prune("--older-than", "30", "--yes")
    assert conn.execute(found).fetchone() == (0,)
    conn.close()
    files = Path(os.environ["LLM_GATEWAY_HOME"]).glob("logs.db*")
    assert not [path for path in files if b"xylophonist" in path.read_bytes()]


@pytest.mark.parametrize("days", ["400000", "1e12", "inf"])
def test_more_days_than_there_were_years_keep_everything(
    conn: sqlite3.Connection, days: str
) -> None:
    """A year of three digits would sort after this one."""
    done = prune("--older-than", days, "--dry-run", "--json")
    assert done.exit_code == 0, done.exception
    assert set(json.loads(done.stdout).values()) == {0}


def test_jobs_only_leaves_what_was_asked_and_answered(conn: sqlite3.Connection) -> None:
    """Without being asked whether it may."""
    events, bodies = count(conn, "events"), count(conn, "bodies where response <> ''")
    done = prune("--older-than", "1", "--jobs-only")
    assert done.exit_code == 0 and "0 requests" in done.stderr
    assert count(conn, "events") < events / 4
    assert count(conn, "bodies where response <> ''") == bodies


def test_requests_go_only_after_a_yes(conn: sqlite3.Connection) -> None:
    """Anything else than y leaves them."""
    before = count(conn, "request_rows")
    refused = prune("--older-than", "180", answer="n\n")
    assert refused.exit_code != 0 and "Delete" in refused.stderr
    assert count(conn, "request_rows") == before
    assert prune("--older-than", "180", answer="y\n").exit_code == 0
    assert count(conn, "request_rows") < before
