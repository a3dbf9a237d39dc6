"""``llm gateway stats``: what the sums tell."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.generate import generate
from llm_gateway.commands import group
from llm_gateway.store.text import iso

UNTIL = 1_795_000_000.0


@pytest.fixture
def conn() -> sqlite3.Connection:
    path = Path(os.environ["LLM_GATEWAY_HOME"]) / "logs.db"
    generate(path, 800, until=UNTIL, days=20)
    return sqlite3.connect(path, isolation_level=None)


def stats(*args: str) -> Any:
    done = CliRunner().invoke(group, ["stats", "--json", *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_tells_what_counting_the_requests_tells(conn: sqlite3.Connection) -> None:
    """Each ended request once."""
    [told] = stats()
    ran = "outcome = 'ran' and status not in ('running')"
    expected = {
        "requests": "status <> 'running'",
        "completed": "status = 'completed'",
        "canceled": "status = 'canceled'",
        "denied": "outcome = 'denied'",
        "reused": "outcome = 'reused'",
        "unpriced": f"{ran} and cost_usd is null",
    }
    for name, where in expected.items():
        query = f"select count(*) from request_rows where {where}"
        assert (told[name],) == conn.execute(query).fetchone(), name
    sums = "sum(input_tokens), sum(retry_count), round(sum(cost_usd), 6)"
    found = conn.execute(f"select {sums} from request_rows where {ran}").fetchone()
    assert (told["input_tokens"], told["retries"], told["cost_usd"]) == found
    assert told["failed"] == told["requests"] - told["completed"] - told["canceled"]
    rate = told["completed"] / (told["completed"] + told["failed"])
    assert told["success_rate"] == pytest.approx(rate, abs=1e-4)
    good = f"select duration_ms from request_rows where {ran} and status = 'completed'"
    durations = [row[0] for row in conn.execute(good)]
    assert told["p50_ms"] == pytest.approx(statistics.median(durations), rel=0.08)
    assert told["saved_usd"] > 0


def test_by_provider_model_and_day(conn: sqlite3.Connection) -> None:
    """The groups add up, and their percentiles are their own."""
    [all_of_it] = stats()
    for by, keys in (("provider", 1), ("model", 2), ("day", 1)):
        rows = stats("--by", by)
        assert len(rows) > 3
        assert sum(row["requests"] for row in rows) == all_of_it["requests"]
        names = [tuple(row.values())[:keys] for row in rows]
        assert names == sorted(set(names))
    p95 = {row["provider"]: row["p95_ms"] for row in stats("--by", "provider")}
    assert len(set(p95.values())) == 4


def test_since_counts_from_the_beginning_of_its_hour(conn: sqlite3.Connection) -> None:
    """By day too, which are then cut."""
    since = iso(UNTIL - 5 * 86_400)
    [told] = stats("--since", since)
    query = "select count(*) from request_rows where datetime_utc >= ? and status <> 'running'"
    assert (told["requests"],) == conn.execute(query, (since[:13],)).fetchone()
    assert (
        sum(row["requests"] for row in stats("--since", since, "--by", "day")) == (told["requests"])
    )
    assert stats("--since", "2100-01-01") == []


def test_a_person_gets_a_table(conn: sqlite3.Connection) -> None:
    """One line a group below the head."""
    done = CliRunner().invoke(group, ["stats", "--by", "model"], catch_exceptions=False)
    head, *lines = done.stdout.splitlines()
    assert head.split()[:3] == ["provider", "model", "requests"]
    assert len(lines) == len(stats("--by", "model"))
    assert all(line.split()[0] in ("claude", "codex", "gemini", "grok") for line in lines)
