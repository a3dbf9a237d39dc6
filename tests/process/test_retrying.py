"""Attempts that are made again, providers that are left alone, and what is recorded of both."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.errors import Overloaded
from llm_gateway.gateway import ask
from llm_gateway.ids import new_id
from llm_gateway.providers import provider_named
from llm_gateway.request import Options, Request
from llm_gateway.store import breakers
from llm_gateway.store.recorder import open_recorder
from tests.fakes.claude import answer, ended, init, line, message, retry, says, tool
from tests.fakes.cli import FakeCli, until
from tests.harness import Llm, Recorder

BUSY = {"is_error": True, "api_error_status": 529}
LIMIT = "You've hit your limit · resets 4pm (Pacific/Auckland)"


def busy(result: str = "Overloaded", *before: Any) -> dict[str, Any]:
    """A call that fails in a way that may pass."""
    return {"steps": [init(), *before, ended(result, **BUSY)]}


def good(text: str = "ok") -> dict[str, Any]:
    return {"steps": answer(text)}


class Asked:
    """What came of a prompt that was asked in this process."""

    def __init__(self, prompt: str = "x", **options: Any) -> None:
        self.notices: list[str] = []
        self.error: BaseException | None = None
        self.text = ""
        self.request = Request(new_id(), "claude", prompt, Options(**options))
        try:
            for event in ask(self.request):
                if type(event).__name__ == "Notice":
                    self.notices.append(event.text)  # type: ignore[union-attr]
                elif type(event).__name__ == "Done":
                    self.text = event.reply.text  # type: ignore[union-attr]
        except Exception as error:
            self.error = error

    @property
    def category(self) -> str:
        return getattr(self.error, "category", "")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two retries, and waits of a tenth of a second in all."""
    monkeypatch.setenv("LLM_GATEWAY_RETRIES", "2")
    monkeypatch.setenv("LLM_GATEWAY_RETRY_WAIT", "0.1")


def state(provider: str = "claude") -> breakers.State:
    recorder = open_recorder(print)
    assert recorder.connection is not None
    found = [s for s in breakers.states(recorder.connection) if s.provider == provider]
    recorder.close()
    return found[0] if found else breakers.State("", provider)


# Retries.


def test_a_job_between_attempts_does_not_look_dead(llm: Llm, claude: FakeCli) -> None:
    """Its process has ended, and the command that tells why is named."""
    claude.does(busy("Overloaded, try again in 30s")["steps"])
    asked = ("gateway", "submit", "-m", "gateway-claude", "-o", "retries", "1", "x")
    job_id = llm(*asked).answer.strip()
    until(lambda: "trying again" in llm("gateway", "job", "tail", job_id).err)
    told = llm("gateway", "job", "show", job_id).answer
    assert "status:     running" in told
    assert f"has ended; what comes next: llm gateway job tail {job_id}" in told
    llm("gateway", "job", "cancel", job_id).ok()


def test_a_failure_that_passes_is_tried_again(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """With a session id of its own; stderr says what it waits for; each attempt is a row."""
    claude.in_turn(busy(), good("late"))
    ran = llm("-m", "gateway-claude", "x", env={"LLM_GATEWAY_RETRIES": "1"})
    assert ran.answer == "late\n"
    (told,) = ran.err.splitlines()
    assert re.fullmatch(
        r"trying again in [01]\.\d s \(attempt 2 of 2\): Overloaded; try again later", told
    )
    first, second = claude.calls
    assert first.prompt == second.prompt == "x"
    assert first.value("--session-id") != second.value("--session-id")
    rows = [(r["n"], r["session_plan"], r["error_category"]) for r in recorder.attempts]
    assert rows == [(1, "new", "overloaded"), (2, "new", None)]
    waits = [r["wait_ms"] for r in recorder.attempts]
    assert waits[0] is None and 0 <= waits[1] <= 30_000
    row = recorder.query("select * from requests")[0]
    assert (row["status"], row["retry_count"]) == ("completed", 1)
    assert row["session_id"] == second.value("--session-id")


@pytest.mark.usefixtures("quick")
def test_it_is_tried_no_more_often_than_was_said(claude: FakeCli, recorder: Recorder) -> None:
    claude.in_turn(busy())
    assert Asked(retry_wait=60.0, retries=1).category == "overloaded"
    assert len(claude.calls) == 2
    assert Asked(retries=0).category == "overloaded"
    assert len(claude.calls) == 3


@pytest.mark.usefixtures("quick")
def test_a_wait_that_does_not_fit_is_shortened(claude: FakeCli, recorder: Recorder) -> None:
    """Once: then the time for waiting is used up. (A breaker would not let it through so soon.)"""
    claude.in_turn(busy("Rate limited. Please try again in 100s."))
    asked = Asked(ignore_breaker=True, retry_wait=0.2)
    assert asked.category == "overloaded" and len(claude.calls) == 2
    assert asked.notices[0].startswith("trying again in 0.2 s (attempt 2 of 3)")


@pytest.mark.parametrize(
    "before", [message("half"), says("ha"), tool("Read", {}, "text")], ids=["said", "begun", "tool"]
)
@pytest.mark.usefixtures("quick")
def test_nothing_is_tried_again_after_something_ran(claude: FakeCli, before: list[Any]) -> None:
    """Neither after a word of the answer nor after an action."""
    claude.in_turn(busy("Overloaded", *before), good())
    assert Asked().category == "overloaded"
    assert len(claude.calls) == 1


@pytest.mark.usefixtures("quick")
def test_what_does_not_pass_is_not_tried_again(claude: FakeCli) -> None:
    steps = [init(), ended("Invalid API key · Fix external API key", is_error=True)]
    claude.in_turn({"steps": steps}, good())
    assert Asked().category == "auth"
    assert len(claude.calls) == 1


@pytest.mark.usefixtures("quick")
def test_the_waits_of_the_cli_count_as_well(claude: FakeCli) -> None:
    """What it has used up of the time for waiting is not there for another attempt."""
    claude.in_turn(busy("Overloaded", retry(0.1, status=529, error="overloaded")), good())
    assert Asked().category == "overloaded"
    assert len(claude.calls) == 1


@pytest.mark.usefixtures("quick")
def test_without_a_recorder_it_is_tried_again_as_well(
    claude: FakeCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", "none")
    claude.in_turn(busy(), good())
    assert Asked().text == "ok"


def test_ctrl_c_while_it_waits_ends_it_at_once(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Nothing is spawned any more, and the row says canceled."""
    claude.in_turn(busy("Slow down. Please try again in 50s."), good())
    process = llm.start("-m", "gateway-claude", "x", env={"LLM_GATEWAY_RETRIES": "1"})
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"trying again in 5")
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert time.monotonic() - asked < 30
    assert len(claude.calls) == 1
    assert recorder.request["status"] == "canceled"


def test_the_time_out_bounds_attempts_and_waits_together(claude: FakeCli) -> None:
    """A wait that would end behind it is not begun."""
    claude.in_turn(busy("Slow down. Please try again in 40s."), good())
    asked = Asked(retries=3, timeout=20.0)
    assert (asked.category, asked.notices, len(claude.calls)) == ("overloaded", [], 1)
    claude.in_turn(busy(), busy(), {"steps": [init(), {"hang": True}]})
    asked = Asked(retries=1, timeout=3.0, ignore_breaker=True)
    assert asked.category == "timeout"


# The breaker.


def test_a_provider_that_keeps_failing_is_left_alone(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """After five attempts in a row nothing is spawned; the others that are there are named."""
    FakeCli(claude.folder, "codex")
    claude.in_turn(busy())
    *failed, refused, ignored = llm.asks(
        *(("gateway-claude", str(n), {}) for n in range(1, 7)),
        ("gateway-claude", "7", {"ignore_breaker": True}),
    )
    assert [outcome.category for outcome in failed] == ["overloaded"] * 5
    assert (refused.category, ignored.category) == ("breaker_open", "overloaded")
    assert [call.prompt for call in claude.calls] == ["1", "2", "3", "4", "5", "7"]
    assert re.fullmatch(
        r"claude is left alone after 5 failed attempts \(Overloaded; try again later\); it will be "
        r"tried again at \d\d:\d\d:\d\d \(in (1 min|\d+ s)\)\. Meanwhile there is "
        r"-m gateway-codex\. Ask anyway with -o ignore_breaker 1\.",
        refused.error or "",
    )
    rows = recorder.query(
        "select prompt, circuit_breaker_state, requests.status"
        " from requests join gateway_metadata on request_id = id order by id"
    )
    assert [tuple(row) for row in rows[4:]] == [
        ("5", "closed", "failed"),
        ("6", "open", "failed"),
        ("7", "open", "failed"),
    ]
    told = json.loads(llm("gateway", "status", "--json").answer)
    (found,) = [row for row in told if row["provider"] == "claude"]
    assert (found["state"], found["last_error"]) == ("open", "Overloaded; try again later")
    llm("gateway", "status", "--reset", "claude").ok()
    claude.in_turn(good())
    assert llm("-m", "gateway-claude", "8").answer == "ok\n"


def test_a_stated_reset_leaves_it_alone_until_then(claude: FakeCli) -> None:
    """At the first failure; nobody waits for what comes in hours."""
    claude.in_turn({"steps": [init(), ended(LIMIT, is_error=True)]})
    asked = Asked(retries=2)
    assert (asked.category, asked.notices) == ("rate_limited", [])
    until = state().until
    assert until is not None and time.gmtime(until).tm_min == 0
    refused = Asked()
    assert refused.category == "breaker_open" and len(claude.calls) == 1
    assert LIMIT in str(refused.error)


def test_a_retry_after_leaves_it_alone_until_then(claude: FakeCli) -> None:
    """Where the CLI would wait for longer than the prompt may, and where an event states a time."""
    claude.in_turn({"steps": [init(), retry(120), {"hang": True}]})
    assert Asked().category == "rate_limited"
    found = state()
    assert found.until is not None and found.since is not None
    assert found.state == "open" and 115 < found.until - found.since < 125
    until = int(time.time()) + 5000
    info = {"status": "rejected", "resetsAt": until, "rateLimitType": "five_hour"}
    limited = line(type="rate_limit_event", rate_limit_info=info)
    claude.in_turn({"steps": [init(), limited, ended("You've hit your limit", is_error=True)]})
    assert Asked("another", ignore_breaker=True).category == "rate_limited"
    assert state().until == until


def test_the_vendors_first_word_closes_it(claude: FakeCli, tmp_path: Path) -> None:
    """However long the probe then works, the others are let through."""
    fail(5, ago=120)
    assert state().state == "half_open"
    go_on = tmp_path / "go-on"
    claude.in_turn(
        {"steps": [init(), *says("I"), {"wait_for": str(go_on)}, *message("I"), ended("I")]},
        good(),
    )
    run = ask(Request(new_id(), "claude", "x", Options()))
    events = iter(run)
    while type(next(events)).__name__ != "Text":
        pass
    assert state().state == "closed"
    assert Asked("another").text == "ok"
    go_on.touch()
    assert [type(event).__name__ for event in events][-1] == "Done"


def test_a_login_that_fails_says_nothing_about_the_vendor(claude: FakeCli) -> None:
    """As a probe it gives way to the next one."""
    fail(5, ago=120)
    steps = [init(), ended("Invalid API key · Fix external API key", is_error=True)]
    claude.in_turn({"steps": steps}, good())
    assert Asked().category == "auth"
    assert state().state == "half_open"
    assert Asked().text == "ok"
    assert state().state == "closed"


def fail(times: int, ago: float) -> None:
    """Let attempts fail, that many seconds ago."""
    recorder = open_recorder(print)
    assert recorder.connection is not None
    provider = provider_named("claude")
    scope = breakers.scope(provider, dict(os.environ))
    for _ in range(times):
        breakers.report(
            recorder.connection, scope, "claude", "j", Overloaded("busy"), time.time() - ago
        )
    recorder.close()


TRY = """
import sys, time
from llm_gateway.errors import BreakerOpen
from llm_gateway.store import breakers
from llm_gateway.store.connection import connect
from pathlib import Path
conn = connect(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(breakers.admit(conn, sys.argv[2], "claude", sys.argv[3]), flush=True)
except BreakerOpen:
    print("refused", flush=True)
sys.stdin.readline()
"""


def test_twenty_processes_and_one_probe(tmp_path: Path) -> None:
    """All ask at the same moment for a breaker whose time is over, and none of them ends."""
    fail(5, ago=120)
    scope = breakers.scope(provider_named("claude"), dict(os.environ))
    path = tmp_path / "gateway" / "logs.db"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [
        subprocess.Popen([sys.executable, "-c", TRY, str(path), scope, f"j{n}"], **pipes)  # type: ignore[call-overload]
        for n in range(20)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            process.stdin.write(b"\n")
            process.stdin.flush()
        said = [process.stdout.readline().strip() for process in processes]
        assert sorted(said) == [b"half_open", *[b"refused"] * 19]
        winner = said.index(b"half_open")
        with sqlite3.connect(path) as conn:
            assert conn.execute("select probe_job_id from breakers").fetchall() == [(f"j{winner}",)]
    finally:
        for process in processes:
            process.communicate(b"\n")
