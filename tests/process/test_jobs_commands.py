"""``jobs`` and ``job …``: what they say of jobs that ended and of one that runs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llm_gateway.commands import exits, group
from tests.fakes.cli import alive, until
from tests.harness import Llm, Recorder

PROGRAM = str(Path(sys.executable).with_name("llm-gateway"))
ESCAPE = "\x1b]0;owned\x07"


def run(*args: str) -> Result:
    """A command in this process, on the recorder's real file."""
    return CliRunner().invoke(group, args, catch_exceptions=False)


def listed(*args: str) -> list[dict[str, Any]]:
    """What ``jobs --json`` says."""
    ran = run("jobs", "--json", *args)
    assert ran.exit_code == 0, ran.output
    rows: list[dict[str, Any]] = json.loads(ran.stdout)
    return rows


def shared(*ids: str) -> str:
    """The beginning that all of them have."""
    first, last = min(ids), max(ids)
    return first[: next(n for n, (a, b) in enumerate(zip(first, last, strict=True)) if a != b)]


@pytest.fixture
def ended(llm: Llm) -> Iterator[list[str]]:
    """Three jobs that ended: an answer, a rate limit, an answer after a tool; oldest first."""
    quick = {"retries": 0, "ignore_breaker": True}
    llm.asks(
        ("gateway-demo", f"say it{ESCAPE}\ndemo: say {ESCAPE}one", quick),
        ("gateway-demo", "demo: fail rate_limited", quick),
        ("gateway-demo", "demo: read nothing.txt\ndemo: say two", quick),
    )
    yield [job["id"] for job in reversed(listed())]


def test_jobs_are_listed_newest_first(ended: list[str]) -> None:
    """As JSON with what a script needs, filtered, and as a table that steers no terminal."""
    rows = listed()
    assert [row["id"] for row in rows] == sorted(ended, reverse=True)
    assert [row["status"] for row in rows] == ["completed", "failed", "completed"]
    names = {"id", "status", "provider", "model", "started", "finished", "request_id"}
    assert names <= set(rows[0])
    assert rows[1]["error_category"] == "rate_limited"
    assert rows[0]["started"] <= rows[0]["finished"]
    assert [row["id"] for row in listed("--status", "failed")] == [ended[1]]
    assert [row["id"] for row in listed("-n", "1")] == [ended[2]]
    assert listed("--provider", "claude") == [] == listed("--since", "2999-01-01")
    assert len(listed("--since", "1h", "--provider", "demo")) == 3
    assert run("jobs", "--since", "yesterday").exit_code == exits.USAGE
    table = run("jobs").stdout
    assert "\x1b" not in table and "\x07" not in table
    head, *lines = table.splitlines()
    assert [line.split()[0] for line in lines] == [row["id"] for row in rows]
    assert {line.index("demo") for line in lines} == {head.index("provider")}


def test_an_id_may_be_shortened_while_it_is_unambiguous(ended: list[str]) -> None:
    """@last is the newest; what is nobody's, or two's, is a mistake of the command line."""
    common = shared(*ended)
    for job_id in ended:
        enough = max(len(shared(job_id, other)) for other in ended if other != job_id) + 1
        assert json.loads(run("job", "show", "--json", job_id[:enough]).stdout)["id"] == job_id
    assert json.loads(run("job", "show", "--json", "@last").stdout)["id"] == ended[-1]
    for word in (common, "nothing", "", "%", "\udcff", "\U0010ffff"):
        ran = run("job", "show", word)
        assert (ran.exit_code, ran.stdout) == (exits.USAGE, ""), word
        assert ran.stderr.startswith("Error: ") and ran.stderr.count("\n") == 1
    assert run("job", "result").exit_code == exits.USAGE
    for args in (("jobs", "--provider"), ("session", "show"), ("approval", "show")):
        assert run(*args, "\udcff" * 8).exit_code == exits.USAGE, args


def test_no_id_is_not_the_only_job(llm: Llm) -> None:
    """A script whose variable is empty cancels nobody's job."""
    llm("-m", "gateway-demo", "hello").ok()
    for words in (("cancel", ""), ("result", "")):
        ran = run("job", *words)
        assert (ran.exit_code, ran.stdout) == (exits.USAGE, ""), words


def test_numbers_beyond_reason_are_no_defect(ended: list[str]) -> None:
    """As many as there are, or a mistake of the command line."""
    assert len(listed("--since", "600000d")) == len(listed("--since", "99999999999999w")) == 3
    assert run("jobs", "-n", "9" * 30).exit_code == exits.USAGE


def test_the_result_is_the_answer_and_nothing_else(ended: list[str], recorder: Recorder) -> None:
    """Verbatim in a pipe; a failure is one sentence on stderr and its exit code."""
    ran = run("job", "result", ended[0])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, f"{ESCAPE}one\n", "")
    told = json.loads(run("job", "result", "--json", ended[2]).stdout)
    assert told["answer"] == "two" and told["status"] == "completed"
    assert told["usage"]["output"] == 1 and told["tools_run"] == ["read"]
    failed = run("job", "result", ended[1])
    assert (failed.exit_code, failed.stdout) == (exits.LATER, "")
    assert "told to fail" in failed.stderr and failed.stderr.count("\n") == 1
    told = json.loads(run("job", "result", "--json", ended[1]).stdout)
    assert (told["answer"], told["error_category"]) == (None, "rate_limited")


def test_an_answer_that_was_printed_is_no_failure(
    ended: list[str], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though somebody holds the file, so that nobody can be told of it."""
    monkeypatch.setattr("llm_gateway.store.jobs._PATIENCE", 0.2)
    with closing(sqlite3.connect(recorder.path, isolation_level=None)) as conn:
        conn.execute("begin immediate")
        ran = run("job", "result", ended[2])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "two\n", "")


def test_tail_prints_text_on_stdout_and_actions_on_stderr(ended: list[str]) -> None:
    """Of an ended job all of it; -f ends as the job did."""
    ran = run("job", "tail", ended[2])
    assert (ran.exit_code, ran.stdout) == (0, "two\n")
    assert "· read nothing.txt" in ran.stderr
    assert run("job", "tail", ended[1]).exit_code == 0
    lines = [
        json.loads(line) for line in run("job", "tail", "--json", ended[2]).stdout.splitlines()
    ]
    assert [line["seq"] for line in lines] == sorted({line["seq"] for line in lines})
    assert "".join(line["text"] for line in lines if line["kind"] == "text") == "two"
    followed = run("job", "tail", "-f", ended[1])
    assert (followed.exit_code, followed.stdout) == (exits.LATER, "")


def test_waiting_ends_with_the_highest_code(ended: list[str]) -> None:
    """At once for jobs that ended; stdout stays empty."""
    assert run("job", "wait", ended[0], ended[2]).exit_code == 0
    ran = run("job", "wait", *ended)
    assert (ran.exit_code, ran.stdout) == (exits.LATER, "")
    assert ran.stderr.startswith(f"{ended[1]}: ") and "told to fail" in ran.stderr
    assert run("job", "wait", ended[1]).stderr == ran.stderr.removeprefix(f"{ended[1]}: ")


def test_ids_are_completed_by_the_shell(ended: list[str], llm: Llm, tmp_path: Path) -> None:
    """Without llm, and with nothing recorded yet: then there is nothing, and no error."""
    asked = {"_LLM_GATEWAY_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    words = {"COMP_WORDS": f"llm-gateway job show {ended[0][:4]}"}
    offered = llm.run(PROGRAM, env={**asked, **words}).answer.split()
    assert {f"plain,{job_id}" for job_id in ended} == set(offered)
    none = {**asked, **words, "LLM_GATEWAY_HOME": str(tmp_path / "elsewhere")}
    ran = llm.run(PROGRAM, env=none)
    assert (ran.out.strip(), ran.err) == ("", "")


def test_a_job_that_runs_can_be_looked_at_followed_and_canceled(llm: Llm) -> None:
    """By processes that are not its own."""
    asker = llm.start("-m", "gateway-demo", "demo: say on and on\ndemo: slow 0.3\ndemo: hang")
    job_id = until(lambda: [j for j in listed() if j["status"] == "running"])[0]["id"]
    shown = until(lambda: _shown(job_id), what="a process")
    assert shown["process"]["alive"] and shown["process"]["memory_bytes"] > 1_000_000
    assert shown["silent_seconds"] >= 0
    assert "is alive" in run("job", "show", job_id).stdout
    early = run("job", "result", job_id)
    assert (early.exit_code, early.stdout) == (exits.LATER, "")
    assert f"job wait {job_id}" in early.stderr
    assert run("job", "wait", "--timeout", "0", job_id).exit_code == exits.TIMED_OUT
    assert run("job", "wait", "--timeout", "nan", job_id).exit_code == exits.USAGE
    follower = llm.popen(PROGRAM, "job", "tail", "-f", job_id)
    assert run("job", "cancel", job_id).exit_code == 0
    err = follower.communicate(timeout=60)[1]
    assert follower.returncode == exits.INTERRUPTED and err
    assert asker.wait(60) != 0
    assert listed()[0]["status"] == "canceled"
    again = run("job", "cancel", job_id)
    assert again.exit_code == 0 and "had ended before" in again.stderr


def test_a_follower_ends_with_its_reader(llm: Llm) -> None:
    """As tail -f does, though the job says nothing that could not be written."""
    job_id = llm("gateway", "submit", "-m", "gateway-demo", "demo: hang").answer.strip()
    follower = llm.popen(PROGRAM, "job", "tail", "-f", "--json", job_id)
    assert follower.stdout is not None and follower.stderr is not None
    assert json.loads(follower.stdout.readline())["kind"] == "session"
    follower.stdout.close()
    assert (follower.wait(60), follower.stderr.read()) == (exits.READER_GONE, b"")
    assert run("job", "cancel", job_id).exit_code == 0


def test_a_job_that_waits_for_its_session_says_so_and_can_be_canceled(llm: Llm) -> None:
    """By its owner, at once: nobody has to end it."""
    named = ("gateway", "submit", "-m", "gateway-demo", "-o", "session", "one")
    llm(*named, "hello").ok()
    assert llm.run(PROGRAM, "job", "wait", "@last").ok()
    first = llm(*named, "demo: hang").answer.strip()
    until(lambda: json.loads(run("job", "show", "--json", first).stdout)["pid"])
    second = llm(*named, "second").answer.strip()
    until(lambda: "waiting for session one" in run("job", "tail", second).stderr)
    assert "canceled" in run("job", "cancel", second).stderr
    told = json.loads(run("job", "show", "--json", second).stdout)
    assert "did not act" not in told["error_message"] and told["attempts"] == 0
    assert run("job", "cancel", first).exit_code == 0


def test_a_job_whose_owner_does_not_act_is_ended_all_the_same(
    llm: Llm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner is stopped: after a while cancel ends the CLI itself, and the row."""
    monkeypatch.setattr("llm_gateway.commands.job.CANCEL_SECONDS", 0.5)
    asker = llm.start("-m", "gateway-demo", "demo: hang")
    job_id = until(lambda: [j for j in listed() if j["pid"]])[0]["id"]
    child = _shown(job_id)
    assert child is not None and child["owner_stopped"] is False
    asker.send_signal(signal.SIGSTOP)
    try:
        assert until(lambda: _shown(job_id))["owner_stopped"] is True
        way_out = f"{asker.pid} is stopped; kill -CONT {asker.pid}"
        assert way_out in run("job", "show", job_id).stdout
        ran = run("job", "cancel", job_id)
    finally:
        asker.send_signal(signal.SIGCONT)
    assert (ran.exit_code, listed()[0]["status"]) == (0, "canceled"), ran.output
    until(lambda: not alive(child["pid"]), what="the end of the CLI")
    assert asker.wait(60) != 0
    assert "did not act" in listed()[0]["error_message"], "the first word counts"


def test_a_job_of_another_machine_is_not_said_to_be_canceled(
    ended: list[str], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody here can end its processes; the request to end it stays."""
    monkeypatch.setattr("llm_gateway.commands.job.CANCEL_SECONDS", 0.3)
    with closing(sqlite3.connect(recorder.path)) as conn, conn:
        conn.execute(
            "update job_rows set status = 'running', owner_host = 'elsewhere',"
            " owner_boot_id = 'another', lease_until = '2999-01-01T00:00:00.000Z' where id = ?",
            (ended[0],),
        )
    ran = run("job", "cancel", ended[0])
    assert ran.exit_code == exits.LATER and "on elsewhere" in ran.stderr
    (job,) = listed("--status", "running")
    assert job["cancel_requested"]


def _shown(job_id: str) -> dict[str, Any] | None:
    told: dict[str, Any] = json.loads(run("job", "show", "--json", job_id).stdout)
    return told if told["process"] else None


def test_a_job_that_was_killed_tells_its_session(llm: Llm) -> None:
    """By which its work goes on; while it runs as well."""
    asker = llm.start("-m", "gateway-demo", "demo: hang")
    running = until(lambda: [job for job in listed() if job["session_id"]])[0]
    asker.kill()
    asker.wait(60)
    ran = run("job", "result", running["id"])
    assert ran.exit_code == exits.OTHER and f"(session {running['session_id']})" in ran.stderr
    assert running["status"] == "running" and listed()[0]["status"] == "orphaned"


def test_text_arrives_while_the_job_runs(llm: Llm) -> None:
    """tail -f prints a piece before the next one is there, and the whole in the end."""
    asker = llm.start("-m", "gateway-demo", "demo: words 12\ndemo: slow 0.5")
    job_id = until(lambda: [j for j in listed() if j["status"] == "running"])[0]["id"]
    follower = llm.popen(PROGRAM, "job", "tail", "-f", job_id, stderr=subprocess.DEVNULL)
    assert follower.stdout is not None
    first = os.read(follower.stdout.fileno(), 4096).decode()
    assert first.startswith("word1 ") and asker.poll() is None
    whole = first + follower.stdout.read().decode()
    assert whole.split() == [f"word{n}" for n in range(1, 13)]
    assert (follower.wait(60), asker.wait(60)) == (0, 0)
