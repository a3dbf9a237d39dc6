"""Who waits for a job of another one: what it is promised, and that it never waits for itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_gateway import gateway
from llm_gateway.breaker import Breaker
from llm_gateway.errors import Overloaded
from llm_gateway.events import Done, Notice, Reply
from llm_gateway.ids import new_id
from llm_gateway.providers import provider_named
from llm_gateway.records import replace
from llm_gateway.request import Options, Request
from llm_gateway.store import claims, jobs, operations, rows, writer
from llm_gateway.store.claims import Claim, Limits, Wanted
from llm_gateway.store.connection import write
from llm_gateway.store.owner import Owner, this_process
from llm_gateway.store.recorder import Recorder, open_recorder
from llm_gateway.store.text import now

DEAD = replace(this_process(), pid=2**22 + 1, pid_start=1)


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path))
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)
    opened = open_recorder(print)
    yield opened
    opened.close()


@pytest.fixture
def conn(recorder: Recorder) -> sqlite3.Connection:
    assert recorder.connection is not None
    return recorder.connection


def ask(
    conn: sqlite3.Connection, job_id: str, kind: str, owner: Owner | None = None, **terms: Any
) -> Claim:
    """An identical prompt."""
    request = Request(id=f"r{job_id}", provider="claude", prompt="same")
    setting = rows.Setting(now(), "running", None, "read", "/", ())
    owner = owner or this_process()
    wanted = Wanted(
        {**rows.request_row(request, job_id, setting), "asker": owner.text},
        {**rows.job_row(request, job_id, setting, kind, owner), "key": "k"},
        rows.body_row(request),
        **terms,
    )
    with write(conn):
        return claims.claim(conn, wanted)


def status(conn: sqlite3.Connection, request_id: str) -> str:
    found = conn.execute("SELECT status FROM request_rows WHERE id = ?", (request_id,)).fetchone()
    return str(found[0])


def end(conn: sqlite3.Connection, job_id: str, status: str) -> None:
    ended = {"status": status, "finished_at": now(), "error_category": None}
    with write(conn):
        operations.finish(conn, f"r{job_id}", job_id, ended, ended, None, None)


def test_what_was_submitted_does_not_end_with_somebody_elses_prompt(
    conn: sqlite3.Connection,
) -> None:
    """The submitter has gone home; Ctrl-C of the prompt that it joined must not cancel the job."""
    ask(conn, "j1", "durable")
    assert jobs.state_of(conn, "j1").kind == "durable"  # type: ignore[union-attr]
    assert ask(conn, "j2", "submitted", DEAD).outcome == "joined"
    assert jobs.state_of(conn, "j1").kind == "submitted"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["foreground", "submitted"])
def test_who_joined_a_canceled_job_is_canceled_too(conn: sqlite3.Connection, kind: str) -> None:
    """Also where nobody waits for it any more; it is nobody's orphan."""
    ask(conn, "j1", kind)
    ask(conn, "j2", kind)
    with write(conn):
        operations.cancel(conn, "j1")
    end(conn, "j1", "canceled")
    assert status(conn, "rj2") == "canceled"


def test_who_joined_a_withdrawn_prompt_may_run_it(conn: sqlite3.Connection) -> None:
    """Ctrl-C of a prompt in the foreground withdraws its asker alone."""
    ask(conn, "j1", "foreground")
    ask(conn, "j2", "foreground")
    end(conn, "j1", "canceled")
    assert status(conn, "rj2") == "running"


def test_an_agent_waits_for_no_place(conn: sqlite3.Connection) -> None:
    """Joined, a queued job would wait for the place that the agent's own job has."""
    one = Limits(total=1, reserve=1)
    ask(conn, "j1", "foreground", limits=one)
    conn.execute("UPDATE job_rows SET key = 'other'")
    assert ask(conn, "j2", "foreground", limits=one).outcome == "queued"
    inside = frozenset({"j1"})
    assert ask(conn, "j3", "foreground", limits=one, ancestors=inside).outcome == "ran"


def test_agents_wait_in_no_circle(conn: sqlite3.Connection) -> None:
    """Each of two could ask what the other is: the younger never joins the older."""
    ask(conn, "j1", "foreground")
    older, younger = frozenset({"j2"}), frozenset({"j0"})
    assert ask(conn, "j3", "foreground", ancestors=older).outcome == "ran"
    assert ask(conn, "j4", "foreground", ancestors=younger).outcome == "joined"


def test_an_answer_in_a_spill_file_is_no_orphans(
    recorder: Recorder, conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker could not write its answer and ended; who looks first must not lose it."""
    ask(conn, "j1", "submitted", DEAD)
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    worker = open_recorder(lambda line: None)
    with write(conn):
        worker.finish("rj1", "j1", "completed", reply=Reply("the answer"))
    worker.close()
    jobs.reap(conn)
    assert jobs.reply_of(conn, "j1").text == "the answer"  # type: ignore[union-attr]


def test_a_held_lock_costs_no_prompt(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orphans can be found by the next look; the prompt that cannot write is answered."""
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    ask(conn, "j1", "submitted", DEAD)
    with write(conn):
        *_, last = gateway.ask(Request(new_id(), "demo", "hello"))
    assert isinstance(last, Done) and last.reply.text
    assert status(conn, "rj1") == "running"


def test_a_durable_prompt_says_that_it_runs_here(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the recorder turns out to be unable to keep its job."""
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    with write(conn):
        said = list(gateway.ask(Request(new_id(), "demo", "hello", Options(durable=True))))
    assert any(isinstance(event, Notice) and gateway.HERE in event.text for event in said)
    assert isinstance(said[-1], Done)


def test_an_answer_closes_the_breaker_whoever_asked(recorder: Recorder) -> None:
    """Also where the breaker was ignored: the vendor answers."""
    asks = [Breaker(recorder, provider_named("claude"), {}, f"j{n}", True) for n in range(6)]
    for one in asks[:5]:
        one.admit()
        one.ended(Overloaded("529"))
    asks[5].admit()
    assert asks[5].state == "open"
    asks[5].ended(None)
    again = Breaker(recorder, provider_named("claude"), {}, "j9", False)
    again.admit()
    assert again.state == "closed"
