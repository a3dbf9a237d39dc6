"""Every request is counted once, in the transaction in which it ends."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.events import Reply, Usage
from llm_gateway.request import Request
from llm_gateway.store import operations, prune, rollups
from llm_gateway.store.import_original import import_file
from llm_gateway.store.recorder import Recorder, open_recorder
from tests.fakes.original import make_original

REPLY = Reply("because", model="claude-opus-4", usage=Usage(10, 5, 3, 2, 1, 0.25))
SUMS = (
    "sum(requests), sum(retries), sum(joined), sum(collected), sum(reused), sum(denied),"
    " sum(input_tokens), sum(reasoning_tokens), round(sum(cost_usd), 6), round(sum(saved_usd), 6)"
)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Recorder]:
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)
    opened = open_recorder(print)
    yield opened
    opened.close()


@pytest.fixture
def conn(recorder: Recorder) -> sqlite3.Connection:
    assert recorder.connection is not None
    return recorder.connection


def run(recorder: Recorder, name: str, status: str = "completed", **end: Any) -> None:
    """A request that began and ended."""
    request = Request(id=f"R{name}", provider="claude", prompt="why?")
    recorder.begin(request, f"J{name}", model="opus", access="read", cwd="/w")
    recorder.finish(request.id, f"J{name}", status, **{"duration_ms": 1500, **end})


def same_by_day(conn: sqlite3.Connection) -> bool:
    by_hour = conn.execute(f"select {SUMS} from hourly").fetchall()
    return by_hour == conn.execute(f"select {SUMS} from daily").fetchall()


def test_a_request_counts_when_it_ends_and_once(
    recorder: Recorder, conn: sqlite3.Connection
) -> None:
    """By the model that answered; a running one does not count, a second end changes nothing."""
    run(recorder, "1", reply=REPLY, retry_count=2)
    recorder.finish("R1", "J1", "failed", error_category="auth")
    conn.execute("update request_rows set status = 'failed'")  # not even by somebody else's hand
    conn.execute("update request_rows set status = 'completed'")
    recorder.begin(
        Request(id="R2", provider="claude", prompt="?"), "J2", model=None, access="read", cwd="/w"
    )
    found = conn.execute(
        "select provider, model, status, category, requests, retries, input_tokens, output_tokens,"
        " cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, unpriced from hourly"
    ).fetchall()
    assert found == [("claude", "claude-opus-4", "completed", "", 1, 2, 10, 5, 3, 2, 1, 0.25, 0)]
    began = conn.execute("select substr(datetime_utc, 1, 13) from request_rows").fetchone()
    assert conn.execute("select hour from hourly").fetchone() == began
    assert same_by_day(conn)


def test_failures_count_by_category(recorder: Recorder, conn: sqlite3.Connection) -> None:
    """Whatever the end was."""
    for number, category in enumerate(("auth", "auth", "rate_limit")):
        run(recorder, str(number), "failed", error_category=category)
    run(recorder, "9", "canceled")
    found = conn.execute("select status, category, requests from daily order by 1, 2").fetchall()
    assert found == [("canceled", "", 1), ("failed", "auth", 2), ("failed", "rate_limit", 1)]


def ended(conn: sqlite3.Connection, id: str, **columns: Any) -> None:
    """A row that ends as soon as it is there, as a denied or reused request's does."""
    row = {
        "id": id,
        "provider": "claude",
        "model": "claude-opus-4",
        "status": "completed",
        "datetime_utc": "2026-01-02T03:04:05.678Z",
        "duration_ms": 3,
        **columns,
    }
    operations.insert(conn, "request_rows", {**row, "status": "running"})
    live = "id = ? and status = 'running'"
    operations.update(conn, "request_rows", {"status": row["status"]}, live, (id,))


def test_a_shared_answer_costs_once_and_is_saved_by_the_others(
    recorder: Recorder, conn: sqlite3.Connection
) -> None:
    """Tokens and cost are those of what ran, however the rows of the others look."""
    run(recorder, "1", reply=REPLY)
    ended(conn, "R2", outcome="reused", job_id="J1")
    ended(conn, "R2", outcome="reused", job_id="J1")  # said again by a spill file
    ended(conn, "R3", outcome="joined", job_id="J1", cost_usd=0.25, input_tokens=10)
    ended(conn, "R4", outcome="collected", job_id="J1", retry_count=4)
    ended(conn, "R5", outcome="denied", status="failed", error_category="permission_denied")
    sums = conn.execute(f"select {SUMS} from hourly").fetchone()
    assert sums == (5, 0, 1, 1, 1, 1, 10, 1, 0.25, 0.75)
    assert conn.execute("select sum(requests) from hourly_durations").fetchone() == (1,)
    assert same_by_day(conn)


def claimed(recorder: Recorder, name: str) -> str:
    """A request that asks the same as the others; how it got its answer."""
    request = Request(id=f"R{name}", provider="claude", prompt="why?")
    found = recorder.claim(
        request,
        f"J{name}",
        model=None,
        access="read",
        cwd="/w",
        columns={"key": "k", "head": "h"},
        head="h",
        fingerprint="f",
    )
    assert found is not None
    return found.outcome


def test_what_shares_an_answer_counts_as_what_answered_it(
    recorder: Recorder, conn: sqlite3.Connection
) -> None:
    """Joined and reused requests are of the model that answered, each with its saving."""
    assert [claimed(recorder, name) for name in "12"] == ["ran", "joined"]
    end = {"reply": REPLY, "fingerprint": "f", "reusable": True, "duration_ms": 9}
    recorder.finish("R1", "J1", "completed", delivered=True, **end)  # type: ignore[arg-type]
    assert claimed(recorder, "3") == "reused"
    found = conn.execute(
        "select model, requests, joined, reused, round(cost_usd, 6), round(saved_usd, 6)"
        " from hourly"
    ).fetchall()
    assert found == [("claude-opus-4", 3, 1, 1, 0.25, 0.5)]
    recorder.close()
    path = Path(os.environ["LLM_GATEWAY_HOME"]) / "logs.db"
    query = "select count(*) from bodies_fts where bodies_fts match 'response: because'"
    with sqlite3.connect(path) as read:
        assert read.execute(query).fetchone() == (3,)


def test_pruned_requests_stay_counted(
    recorder: Recorder, conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention forgets what was said, not that there were requests."""
    run(recorder, "1", reply=REPLY)
    conn.execute("update request_rows set datetime_utc = '2020-01-01T00:00:00.000Z'")
    before = conn.execute(f"select {SUMS} from hourly").fetchall()
    monkeypatch.setenv("LLM_GATEWAY_LOG_RETENTION_DAYS", "1")
    assert prune.prune(conn)["requests"] == 1
    assert conn.execute(f"select {SUMS} from hourly").fetchall() == before


def test_an_originals_rows_count_once(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """Also where the import is repeated."""
    original = make_original(tmp_path / "o.db")
    for _ in range(2):
        import_file(original, conn)
    assert conn.execute("select sum(requests) from daily").fetchone() == (3,)


def test_counting_all_at_once_gives_what_the_triggers_give(
    recorder: Recorder, conn: sqlite3.Connection
) -> None:
    """So that an old file's figures are those that it would have had."""
    for number, status in enumerate(("completed", "failed", "timed_out", "completed")):
        run(recorder, str(number), status, reply=REPLY, duration_ms=10**number)
    ended(conn, "R9", outcome="reused", job_id="J1")
    tables = ("hourly", "daily", "hourly_durations", "daily_durations")
    live = [conn.execute(f"select * from {table}").fetchall() for table in tables]
    for table in tables:
        conn.execute(f"delete from {table}")
    rollups.fill(conn)
    assert [conn.execute(f"select * from {table}").fetchall() for table in tables] == live


def test_percentiles_are_near_the_true_ones(recorder: Recorder, conn: sqlite3.Connection) -> None:
    """Read from the histogram; a duration of nothing and one of weeks have a bucket too."""
    chance = random.Random(1)
    durations = sorted(round(chance.lognormvariate(9, 1.2)) for _ in range(500))
    for number, duration in enumerate(durations):
        ended(conn, str(number), duration_ms=duration)
    query = (
        "select upto_ms, above_ms, sum(requests) from daily_durations"
        " join duration_bounds using (upto_ms) group by upto_ms"
    )
    buckets = conn.execute(query).fetchall()
    for share in (0.5, 0.95):
        true = durations[int(share * len(durations)) - 1]
        read = rollups.percentile(buckets, share)
        assert read is not None and abs(read - true) < 0.08 * true
    ended(conn, "none", duration_ms=0)
    ended(conn, "weeks", duration_ms=10**10)
    buckets = conn.execute(query).fetchall()
    assert (rollups.percentile(buckets, 0.0), rollups.percentile(buckets, 1.0)) == (0, 10**8)
    assert rollups.percentile([], 0.5) is None


def test_breaker_changes_are_kept(conn: sqlite3.Connection) -> None:
    """Each change of state, and nothing else, with its time."""
    conn.execute("insert into breakers (scope, provider) values ('s', 'claude')")
    conn.execute("update breakers set state = 'open', failures = 5, last_error = 'busy'")
    conn.execute("update breakers set state = 'open', failures = 6")
    conn.execute("update breakers set state = 'closed', failures = 0")
    found = conn.execute(
        "select from_state, to_state, failures, last_error, length(datetime_utc)"
        " from breaker_changes order by seq"
    ).fetchall()
    assert found == [("closed", "open", 5, "busy", 24), ("open", "closed", 0, "busy", 24)]
