"""Every transition of a breaker, on a real SQLite file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_gateway.errors import AuthFailed, BreakerOpen, Canceled, GatewayError, Overloaded
from llm_gateway.errors import RateLimited as Limited
from llm_gateway.providers import all_providers, provider_named
from llm_gateway.store import breakers
from llm_gateway.store.breakers import State
from llm_gateway.store.owner import this_process
from llm_gateway.store.recorder import open_recorder
from tests.fakes.cli import until

T = 1_800_000_000.0
BUSY = Overloaded("529 Overloaded")
SCOPE, PROVIDER = "claude /home/u/.claude abc", "claude"


class Breaker:
    """One breaker, at times that the test says."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn

    def admit(self, now: float, job: str = "j1") -> str:
        return breakers.admit(self.conn, SCOPE, PROVIDER, job, now)

    def refused(self, now: float, job: str = "j1") -> BreakerOpen:
        with pytest.raises(BreakerOpen) as caught:
            self.admit(now, job)
        return caught.value

    def failed(self, now: float, error: GatewayError = BUSY, job: str = "j1") -> None:
        breakers.report(self.conn, SCOPE, PROVIDER, job, error, now)

    def answered(self, now: float, job: str = "j1") -> None:
        breakers.report(self.conn, SCOPE, PROVIDER, job, None, now)

    def open(self, now: float = T) -> None:
        for _ in range(5):
            self.failed(now)

    def state(self, now: float) -> State:
        (only,) = breakers.states(self.conn, now)
        return only


@pytest.fixture
def breaker() -> Iterator[Breaker]:
    recorder = open_recorder(print)
    assert recorder.connection is not None
    yield Breaker(recorder.connection)
    recorder.close()


def test_the_fifth_failure_in_a_row_opens_it(breaker: Breaker) -> None:
    for n in range(1, 6):
        assert breaker.admit(T) == "closed"
        breaker.failed(T)
        assert breaker.state(T).failures == n
    assert breaker.state(T) == State(
        SCOPE, PROVIDER, "open", 5, T, T + 60, last_error="529 Overloaded"
    )
    error = breaker.refused(T + 18)
    assert error.retry_at == T + 60
    there = time.strftime("%H:%M:%S", time.localtime(T + 60))
    assert error.message == (
        "claude is left alone after 5 failed attempts (529 Overloaded); "
        f"it will be tried again at {there} (in 42 s)"
    )


def test_an_answer_begins_the_count_anew(breaker: Breaker) -> None:
    for now in (T, T + 1, T + 2, T + 3):
        breaker.failed(now)
    breaker.answered(T + 4)
    for now in (T + 5, T + 6, T + 7, T + 8):
        breaker.failed(now)
    assert breaker.admit(T + 9) == "closed"


@pytest.mark.parametrize("other", [AuthFailed("no"), Canceled("no"), GatewayError("no")])
def test_another_failure_is_neither_success_nor_failure(
    breaker: Breaker, other: GatewayError
) -> None:
    for error in (BUSY, BUSY, other, BUSY, other, BUSY):
        breaker.failed(T, error)
    assert breaker.admit(T) == "closed"
    breaker.failed(T)
    breaker.refused(T)


def test_it_is_tried_after_its_time_and_an_answer_closes_it(breaker: Breaker) -> None:
    breaker.open()
    breaker.refused(T + 59.9)
    assert breaker.admit(T + 60) == "half_open"
    breaker.answered(T + 65)
    assert breaker.state(T + 65).state == "closed"
    assert breaker.state(T + 65).failures == 0
    assert breaker.admit(T + 65, "j2") == "closed"


def test_a_probe_that_fails_opens_it_again(breaker: Breaker) -> None:
    breaker.open()
    breaker.admit(T + 60)
    breaker.failed(T + 70)
    assert breaker.refused(T + 129, "j2").retry_at == T + 130
    assert breaker.admit(T + 130, "j2") == "half_open"


def test_while_one_tries_the_others_wait(breaker: Breaker) -> None:
    breaker.open()
    breaker.admit(T + 60, "probe")
    assert "another prompt is trying it" in breaker.refused(T + 61, "j2").message
    assert breaker.admit(T + 61, "probe") == "half_open"
    breaker.failed(T + 62, BUSY, "j3")  # one that began long before is no probe
    assert breaker.state(T + 62).state == "half_open"


def test_a_probe_that_tells_nothing_gives_way(breaker: Breaker) -> None:
    """Ctrl-C or a bad login: the next prompt tries at once, and one alone."""
    breaker.open()
    breaker.admit(T + 60, "probe")
    breaker.failed(T + 61, Canceled("no"), "another")
    breaker.refused(T + 61, "j2")
    breaker.failed(T + 61, AuthFailed("no"), "probe")
    assert breaker.admit(T + 61, "j2") == "half_open"
    breaker.refused(T + 61, "j3")


def test_an_answer_to_anybody_closes_it(breaker: Breaker) -> None:
    """One that was let through before, or that ignored the breaker."""
    breaker.open()
    breaker.answered(T + 5, "older")
    assert breaker.admit(T + 5) == "closed"


@pytest.mark.parametrize("seconds", [6.0, 3600.0, 7 * 86_400.0])
def test_a_stated_reset_opens_it_at_once(breaker: Breaker, seconds: float) -> None:
    breaker.failed(T, Limited("You've hit your limit", retry_at=T + seconds))
    error = breaker.refused(T + 1)
    assert error.retry_at == T + seconds
    assert error.message.startswith("claude is left alone after a failed attempt (You've hit")
    assert breaker.admit(T + seconds) == "half_open"


def test_a_person_reads_how_long_it_is_left_alone(breaker: Breaker) -> None:
    """In units for people: 59280 seconds tell nobody anything."""
    breaker.failed(T, Limited("You've hit your limit", retry_at=T + 59_280))
    assert "(in 16 h 28 min)" in breaker.refused(T).message


@pytest.mark.parametrize("seconds", [-10.0, 2.0, 400 * 86_400.0])
def test_a_pace_or_nonsense_opens_nothing(breaker: Breaker, seconds: float) -> None:
    """A wait of some seconds is what a retry is for."""
    breaker.failed(T, Limited("Slow down", retry_at=T + seconds))
    assert breaker.admit(T) == "closed"


def test_a_later_reset_counts_while_it_is_open(breaker: Breaker) -> None:
    breaker.open()
    breaker.failed(T + 1)
    assert breaker.state(T + 1).until == T + 60
    breaker.failed(T + 2, Limited("limit", retry_at=T + 500))
    breaker.failed(T + 3, Limited("limit", retry_at=T + 100))
    assert breaker.state(T + 3).until == T + 500


def test_threshold_and_time_are_settings(breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_GATEWAY_BREAKER_THRESHOLD", "2")
    monkeypatch.setenv("LLM_GATEWAY_BREAKER_SECONDS", "7.5")
    breaker.failed(T)
    assert breaker.admit(T) == "closed"
    breaker.failed(T)
    assert breaker.refused(T).retry_at == T + 7.5
    monkeypatch.setenv("LLM_GATEWAY_BREAKER_THRESHOLD", "0")
    assert breaker.admit(T) == "closed"


def test_a_closed_breaker_costs_no_write(breaker: Breaker) -> None:
    """Neither where nothing was ever wrong nor after it was closed."""
    said: list[str] = []
    breaker.conn.set_trace_callback(said.append)
    breaker.admit(T)
    breaker.answered(T)
    breaker.failed(T, AuthFailed("no"))
    assert [line.split()[0] for line in said] == ["SELECT"] * 3
    breaker.open()
    breaker.answered(T)
    said.clear()
    breaker.admit(T)
    breaker.answered(T)
    assert [line.split()[0] for line in said] == ["SELECT"] * 2


def test_the_read_uses_the_key(breaker: Breaker) -> None:
    plan = breaker.conn.execute(
        "EXPLAIN QUERY PLAN SELECT state FROM breakers WHERE scope = ?", (SCOPE,)
    ).fetchall()
    assert "USING INDEX" in plan[0][3]


# Clocks that step.


def test_a_clock_that_was_put_back_does_not_hold_it_open(breaker: Breaker) -> None:
    breaker.open(T)
    back = T - 3600
    assert breaker.refused(back).retry_at == back + 60
    breaker.refused(back + 59)
    assert breaker.admit(back + 60) == "half_open"


def test_a_clock_that_was_put_back_is_told_without_writing(breaker: Breaker) -> None:
    breaker.open(T)
    met = breaker.state(T - 3600)
    assert (met.state, met.until) == ("open", T - 3540)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 10 * 86_400.0])
def test_a_clock_that_steps_lets_no_second_probe_through(breaker: Breaker, step: float) -> None:
    """The probe's process lives, and its lease runs on a clock that nobody sets."""
    breaker.open()
    breaker.admit(T + 60, "probe")
    breaker.refused(T + 61 + step, "j2")


# Probes whose process is gone.


ADMIT = """
import sys, time
from llm_gateway.store import breakers
from llm_gateway.store.recorder import open_recorder
conn = open_recorder(print).connection
print(breakers.admit(conn, *sys.argv[1:4], float(sys.argv[4])), flush=True)
time.sleep(60)
"""


def prober(now: float) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", ADMIT, SCOPE, PROVIDER, "probe", str(now)], stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline() == b"half_open\n"
    return process


def test_a_probe_whose_process_died_is_taken_over(breaker: Breaker) -> None:
    """At once: kill -9 leaves nobody waiting for its lease. A zombie is dead."""
    breaker.open()
    process = prober(T + 60)
    try:
        breaker.refused(T + 61, "j2")
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        assert breaker.admit(T + 61, "j2") == "half_open"
        breaker.refused(T + 62, "j3")
    finally:
        process.kill()
        process.communicate()


PARTS = ("host", "boot_id", "pid_ns", "pid", "pid_start", "lease")


def told(breaker: Breaker, **changes: object) -> None:
    """Change what the probe's row says about its process."""
    row = breaker.conn.execute("SELECT probe_owner FROM breakers").fetchone()
    parts = {**dict(zip(PARTS, row[0].split("|"), strict=True)), **changes}
    owner = "|".join(map(str, parts.values()))
    breaker.conn.execute("UPDATE breakers SET probe_owner = ?", (owner,))


def test_a_lease_that_ran_out_is_taken_over(breaker: Breaker) -> None:
    """Its process lives, but may be stopped for days."""
    breaker.open()
    breaker.admit(T + 60, "probe")
    told(breaker, lease=breakers._ticks() - 1)
    assert breaker.admit(T + 61, "j2") == "half_open"
    breaker.refused(T + 61, "probe")


def test_a_number_that_was_given_away_is_not_the_probe(breaker: Breaker) -> None:
    breaker.open()
    breaker.admit(T + 60, "probe")
    told(breaker, pid_start=1)
    assert breaker.admit(T + 61, "j2") == "half_open"


@pytest.mark.parametrize(
    "elsewhere", [{"host": "other", "boot_id": "other"}, {"pid_ns": "pid:[1]"}]
)
def test_a_process_that_cannot_be_looked_at_has_its_lease(
    breaker: Breaker, elsewhere: dict[str, object]
) -> None:
    """On another machine, in another container."""
    breaker.open()
    breaker.admit(T + 60, "probe")
    told(breaker, **elsewhere, pid=1, pid_start=1)
    breaker.refused(T + 61, "j2")
    told(breaker, lease=0)
    assert breaker.admit(T + 60 + breakers.LEASE_SECONDS, "j2") == "half_open"


def test_a_reboot_ends_every_probe(breaker: Breaker) -> None:
    breaker.open()
    breaker.admit(T + 60, "probe")
    told(breaker, boot_id="before")
    assert breaker.admit(T + 61, "j2") == "half_open"


def test_a_look_takes_nothing(breaker: Breaker) -> None:
    """What an attempt would meet at a time to come."""

    def met(now: float, job: str = "j1") -> BreakerOpen | None:
        return breakers.peek(breaker.conn, SCOPE, PROVIDER, job, now)

    assert met(T) is None
    breaker.open()
    refused = met(T + 59)
    assert refused is not None and refused.retry_at == T + 60
    assert met(T + 60) is None
    breaker.admit(T + 60, "probe")
    assert met(T + 61, "j2") is not None and met(T + 61, "probe") is None


def test_a_lease_of_elsewhere_is_not_held_by_a_clock_that_was_put_back(breaker: Breaker) -> None:
    breaker.open()
    breaker.admit(T + 60, "probe")
    told(breaker, host="other", boot_id="other")
    assert breaker.admit(T - 3600, "j2") == "half_open"


@pytest.mark.skipif(this_process().boot_id is None, reason="no boot id")
def test_a_machine_that_was_renamed_lets_no_second_probe_through(breaker: Breaker) -> None:
    """Its clock was put back as well."""
    breaker.open()
    breaker.admit(T + 60, "probe")
    told(breaker, host="before")
    breaker.refused(T - 3600, "j2")


# What belongs together.


def test_the_scope_is_provider_place_and_key(tmp_path: Path) -> None:
    """Each of them alone makes another one; nothing else does. The key is nowhere in it."""
    env = {"HOME": "/home/u", "ANTHROPIC_API_KEY": "sk-ant-secret", "GEMINI_API_KEY": "x"}
    claude = provider_named("claude")
    one = breakers.scope(claude, env)
    assert one.startswith("claude /home/u/.claude ") and "secret" not in one
    assert breakers.scope(claude, {**env, "GEMINI_API_KEY": "y", "PATH": "/bin"}) == one
    others = [
        breakers.scope(claude, {**env, "ANTHROPIC_API_KEY": "sk-ant-other"}),
        breakers.scope(claude, {**env, "CLAUDE_CONFIG_DIR": "/elsewhere"}),
        breakers.scope(claude, {"HOME": "/home/u"}),
        breakers.scope(provider_named("gemini"), env),
    ]
    assert len({one, *others}) == 5


@pytest.mark.parametrize(
    ("name", "variable", "folder"),
    [
        ("claude", "CLAUDE_CONFIG_DIR", "/x"),
        ("codex", "CODEX_HOME", "/x"),
        ("gemini", "GEMINI_CLI_HOME", "/x/.gemini"),
        ("grok", "GROK_HOME", "/x"),
    ],
)
def test_where_a_cli_keeps_its_login(name: str, variable: str, folder: str) -> None:
    provider = provider_named(name)
    assert provider.config_dir({"HOME": "/home/u"}) == f"/home/u/.{name}"
    assert provider.config_dir({"HOME": "/home/u", variable: "/x"}) == folder


def test_scopes_do_not_touch_each_other(breaker: Breaker) -> None:
    breaker.open()
    assert breakers.admit(breaker.conn, "claude elsewhere", PROVIDER, "j", T) == "closed"


def test_reset_closes_what_is_open_and_forgets_what_failed(breaker: Breaker) -> None:
    breaker.open()
    breakers.report(breaker.conn, "claude elsewhere", PROVIDER, "j", BUSY, T)
    breakers.report(breaker.conn, "codex", "codex", "j", BUSY, T)
    assert breakers.reset(breaker.conn, PROVIDER, T + 1) == 2
    assert breakers.reset(breaker.conn, PROVIDER, T + 1) == 0
    assert breaker.admit(T + 1) == "closed"
    found = {s.scope: (s.state, s.failures) for s in breakers.states(breaker.conn, T + 1)}
    assert found == {SCOPE: ("closed", 0), "claude elsewhere": ("closed", 0),
                     "codex": ("closed", 1)}  # fmt: skip


def test_secrets_of_an_error_are_not_kept(breaker: Breaker) -> None:
    breaker.failed(T, Overloaded("key sk-ant-api03-abcdefghijklmnop failed"))
    assert "abcdefgh" not in str(breaker.state(T).last_error)


def test_every_provider_has_a_scope() -> None:
    for provider in all_providers().values():
        assert breakers.scope(provider, dict(os.environ)).startswith(provider.name)
