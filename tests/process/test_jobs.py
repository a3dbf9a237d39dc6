"""Jobs that outlive whoever asked, and what is true of them after a crash."""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.proctree import start_time
from tests.fakes.claude import answer, ended, init, says, tool
from tests.fakes.cli import FakeCli, alive, until
from tests.harness import Llm, Recorder
from tests.process.asking import CODE, asked, at_once, submit
from tests.process.torture import gone, tree

HANGS = [init(), says("half"), {"hang": True}]


def statuses(recorder: Recorder) -> list[str]:
    return [row["status"] for row in recorder.query("select status from jobs order by started_at")]


def settled(recorder: Recorder) -> list[str]:
    """How every job ended, once all have."""
    until(lambda: not {"queued", "running"} & set(statuses(recorder)), 60, "the end of all jobs")
    return statuses(recorder)


def reaped(llm: Llm) -> None:
    """What the next command of anybody does."""
    code = (
        "from llm_gateway.store.recorder import open_recorder\n"
        "from llm_gateway.store.jobs import reap\n"
        "recorder = open_recorder(print)\nreap(recorder.connection)\nrecorder.close()"
    )
    llm.python(code).ok()


def test_a_submitted_job_outlives_its_submitter(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """The process is gone at once; the answer, its events and its session are there later."""
    claude.does(init(), tool("Read", {"file_path": "a"}, "b"), {"sleep": 0.5}, answer("done"))
    job = submit(llm)
    assert job["outcome"] == "ran"
    assert settled(recorder) == ["completed"]
    (row,) = recorder.query("select * from jobs")
    assert (row["kind"], row["stdout"], row["delivered_at"]) == ("submitted", "done", None)
    kinds = [r["kind"] for r in recorder.query("select kind from events order by seq")]
    assert "tool_call" in kinds and kinds[-1] == "done"
    assert recorder.request["status"] == "completed"


def test_the_worker_is_nobodys_child(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """It has a session of its own, no terminal, and is not marked as part of a gateway run."""
    claude.does(*HANGS)
    submit(llm)
    claude.wait_for_call()
    (row,) = recorder.query("select owner_pid from jobs")
    stat = Path(f"/proc/{row['owner_pid']}/stat").read_text().rpartition(")")[2].split()
    parent, session, terminal = int(stat[1]), int(stat[3]), int(stat[4])
    assert parent != os.getpid() and session != os.getsid(0) and terminal == 0
    environ = Path(f"/proc/{row['owner_pid']}/environ").read_bytes()
    assert b"LLM_GATEWAY_RUN=" not in environ
    os.kill(row["owner_pid"], signal.SIGTERM)
    assert settled(recorder) == ["canceled"]
    gone(claude, below=False)


def test_the_cli_of_a_job_hears_the_signals_that_one_in_the_foreground_hears(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """The agent's own tools, a test suite for example, may end their children by SIGINT."""
    submit(llm)
    assert settled(recorder) == ["completed"]
    llm("-m", "gateway-claude", "another").ok()
    assert [call.ignored for call in claude.calls] == [[], []]


def test_a_worker_finds_what_was_named_from_where_its_asker_is(
    llm: Llm, claude: FakeCli, recorder: Recorder, tmp_path: Path
) -> None:
    """It runs elsewhere, so that nothing in the workspace is taken for a module of Python's."""
    for name, value in (
        ("LLM_GATEWAY_HOME", "gateway"),
        ("LLM_GATEWAY_LOGS_DB", "gateway/logs.db"),
        ("LLM_GATEWAY_CLAUDE_CLI", "bin/claude"),
    ):
        told = asked(llm, {"submit": {"prompt": name}}, env={name: value}, cwd=tmp_path)
        assert told[0].get("outcome") == "ran", told
        assert set(settled(recorder)) == {"completed"}, name
    assert len(claude.calls) == 3


SUBMITS = """
from llm_gateway import gateway
from llm_gateway.ids import new_id
from llm_gateway.request import Request
gateway.start_worker = lambda job_id: None
print(gateway.submit(Request(new_id(), "claude", "hello"), print).job_id)
"""
WORKS = """
import json, sys
from llm_gateway.worker import main
assert main(sys.argv[1:]) == 0
print(json.dumps(sorted(sys.modules)))
"""


def test_the_worker_imports_no_more_than_it_needs(llm: Llm, claude: FakeCli) -> None:
    """Neither llm nor pydantic, pluggy, click, nor any provider but its own, nor half of Python."""
    job = llm.python(SUBMITS).answer.strip()
    modules = set(json.loads(llm.python(WORKS, job).answer))
    others = {"llm", "pydantic", "pluggy", "click", "sqlite_utils", "asyncio", "importlib.metadata"}
    others |= {"hashlib", "_hashlib", "tempfile", "shutil", "pickle", "uuid", "dataclasses"}
    assert not modules & others
    providers = {f"llm_gateway.providers.{name}" for name in ("codex", "gemini", "grok", "demo")}
    assert "llm_gateway.providers.claude" in modules and not modules & providers


def test_a_durable_prompt_goes_on_when_its_asker_is_killed(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """A tool's time-out kills the command; the same prompt again collects the answer."""
    claude.does(init(), {"sleep": 2}, answer("worth the wait"))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        ask = ("-m", "gateway-claude", "-o", "durable", "1", f"p{number}")
        first = llm.start(*ask)
        until(lambda p=first: b"job result" in os.read(p.stderr.fileno(), 4096))  # type: ignore[misc]
        first.send_signal(number)
        first.wait(90)
    assert settled(recorder) == ["completed"] * 3
    again = llm("-m", "gateway-claude", "-o", "durable", "1", f"p{signal.SIGKILL}")
    assert again.answer == "worth the wait\n"
    assert "collected the answer of job" in again.err
    assert len(claude.calls) == 3


def test_the_same_turn_again_collects_what_its_killed_asker_never_saw(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """A first prompt, then a later turn, whose session has gone on by nothing but that turn; who
    collects goes on in the session."""
    claude.does(init(), {"sleep": 1}, says("ok"), ended("ok"))
    for number, words in enumerate((("-m", "gateway-claude"), ("-c",)), 1):
        ask = (*words, "-o", "durable", "1", f"prompt {number}")
        first = llm.start(*ask)
        claude.wait_for_call(number)
        first.kill()
        first.wait(60)
        until(lambda n=number: statuses(recorder).count("completed") == n)  # type: ignore[misc]
        again = llm(*ask)
        assert again.answer == "ok\n"
        assert again.err.startswith("collected the answer of job") and again.err.count("\n") == 1
    llm("-c", "more").ok()
    first_call, second, third = claude.calls
    id = first_call.value("--session-id")
    assert id is not None and [call.value("--resume") for call in (second, third)] == [id, id]


def test_who_joined_the_job_of_an_asker_that_was_killed_has_its_session(
    llm: Llm, claude: FakeCli, tmp_path: Path
) -> None:
    """Nobody else is in it: ``llm -c`` goes on there, and not in a copy."""
    go = tmp_path / "go"
    claude.does(init(), {"wait_for": str(go)}, answer("worth the wait")[1:])
    ask = ("-m", "gateway-claude", "-o", "durable", "1", "x")
    first = llm.start(*ask)
    claude.wait_for_call()
    first.kill()
    first.wait(60)
    again = llm.start(*ask)
    assert again.stderr is not None and again.stderr.readline().startswith(b"joined job ")
    go.touch()
    assert again.wait(60) == 0
    claude.does(answer("more"))
    ran = llm("-c", "go on")
    assert (ran.answer, ran.err) == ("more\n", "")
    begun, continued = claude.calls
    assert continued.value("--resume") == begun.value("--session-id")
    assert "--fork-session" not in continued.argv


def test_ctrl_c_of_the_last_asker_ends_a_durable_job(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Whoever withdraws it wants it to stop; while another waits, it goes on."""
    claude.does(*HANGS)
    ask = ("-m", "gateway-claude", "-o", "durable", "1", "same")
    first = llm.start(*ask)
    claude.wait_for_call()  # two first commands would race in llm's own migrations
    second = llm.start(*ask)
    for process in (first, second):
        assert process.stdout is not None
        until(lambda p=process: b"half" in os.read(p.stdout.fileno(), 4096))  # type: ignore[misc]
    first.send_signal(signal.SIGINT)
    first.wait(90)
    assert statuses(recorder) == ["running"]
    second.send_signal(signal.SIGINT)
    second.wait(90)
    assert settled(recorder) == ["canceled"]
    assert len(claude.calls) == 1
    gone(claude, below=False)


def test_the_last_askers_of_a_durable_job_go_at_once(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Each sees the other waiting, unless leaving and looking are one transaction."""
    claude.does(*HANGS)
    ask = ("-m", "gateway-claude", "-o", "durable", "1", "same")
    asking = [llm.start(*ask)]
    claude.wait_for_call()
    asking += [llm.start(*ask), llm.start(*ask)]
    for process in asking:
        assert process.stdout is not None
        until(lambda p=process: b"half" in os.read(p.stdout.fileno(), 4096))  # type: ignore[misc]
    for process in asking:
        process.send_signal(signal.SIGINT)
    for process in asking:
        process.wait(90)
    assert settled(recorder) == ["canceled"]
    gone(claude, below=False)


def test_durable_without_a_recorder_runs_here(llm: Llm, claude: FakeCli) -> None:
    """It says so, and answers."""
    ran = llm(
        *("-m", "gateway-claude", "-o", "durable", "1", "x"), env={"LLM_GATEWAY_LOGS_DB": "none"}
    )
    assert ran.answer == "ok\n"
    assert "the recorder is off" in ran.err


def test_submit_without_a_recorder_is_refused(llm: Llm, claude: FakeCli) -> None:
    """There would be nowhere to find the answer; the variable is named."""
    told = asked(llm, {"submit": {}}, env={"LLM_GATEWAY_LOGS_DB": "none"})[0]
    assert "LLM_GATEWAY_LOGS_DB" in told["error"] and told["category"] == "invalid_input"
    assert claude.calls == []


def test_kill_9_of_the_asker_ends_the_cli(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """The leash ends the CLI; the next command says that nobody knows how far it got."""
    claude.does(init(), says("half"), tree(), {"hang": True})
    process = llm.start("-m", "gateway-claude", "x")
    claude.grandchild()
    until(lambda: recorder.query("select 1 from events where kind = 'text'"))
    process.kill()
    process.wait(90)
    until(lambda: not alive(claude.call.pid), 30, "the end of the CLI")
    assert statuses(recorder) == ["running"]
    reaped(llm)
    gone(claude)
    row = recorder.request
    assert (row["status"], row["error_category"]) == ("orphaned", "orphaned")
    assert "nobody knows how far it got" in row["error_message"]
    assert recorder.query("select data from events where kind = 'text'")[0]["data"]
    claude.does(answer("ok"))
    assert asked(llm, {})[0]["outcome"] == "ran"


def test_kill_9_of_a_worker_is_told_to_who_waits(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Never run again by itself: the asker gets an error that names the job."""
    claude.does(*HANGS)
    process = llm.start("-m", "gateway-claude", "-o", "durable", "1", "x")
    until(lambda: recorder.query("select 1 from events where kind = 'text'"))
    (row,) = recorder.query("select id, owner_pid from jobs")
    os.kill(row["owner_pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 1
    assert f"Job {row['id']}" in err.decode() and "gone" in err.decode()
    assert statuses(recorder) == ["orphaned"]
    assert len(claude.calls) == 1
    gone(claude, below=False)


def test_a_stopped_owner_is_not_dead(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """However old its lease: Ctrl-Z and a closed laptop are no death."""
    claude.does(*HANGS)
    process = llm.start("-m", "gateway-claude", "x")
    until(lambda: recorder.query("select 1 from events where kind = 'text'"))
    process.send_signal(signal.SIGSTOP)
    change(recorder, "update job_rows set lease_until = '2001-01-01T00:00:00.000Z'")
    reaped(llm)
    assert statuses(recorder) == ["running"]
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    process.wait(90)
    assert statuses(recorder) == ["canceled"]


def test_a_stopped_owner_is_named_to_who_waits(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """With the way out; nobody waits for ever without knowing for whom."""
    claude.does(*HANGS)
    first = llm.start("-m", "gateway-claude", "x")
    until(lambda: recorder.query("select 1 from events where kind = 'text'"))
    first.send_signal(signal.SIGSTOP)
    code = "import llm_gateway.follow as f\nf.SILENT = 1.0\n" + CODE
    second = llm.run(sys.executable, "-c", code, input='[{"options": {"timeout": 6}}]')
    (told,) = json.loads(second.answer)
    assert told["outcome"] == "joined" and told["category"] == "timeout"
    (named,) = [line for line in told["notices"] if "has been silent" in line]
    assert f"its process {first.pid} is stopped" in named and "force_refresh" in named
    first.send_signal(signal.SIGCONT)
    first.send_signal(signal.SIGINT)
    first.wait(90)


def test_an_owner_that_cannot_be_seen_has_its_lease(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """On another machine only the lease tells; on this one after a reboot nobody lives."""
    asked(llm, {})
    row = "update job_rows set status = 'running', owner_pid = 1, owner_pid_start = 1"
    there = "owner_host = 'elsewhere', owner_boot_id = 'another'"
    for columns, status in (
        (f"{there}, lease_until = '2999-01-01T00:00:00.000Z'", "running"),
        (f"{there}, lease_until = '2001-01-01T00:00:00.000Z'", "orphaned"),
        ("lease_until = '2999-01-01T00:00:00.000Z', owner_boot_id = 'another'", "orphaned"),
        ("lease_until = '2999-01-01T00:00:00.000Z'", "orphaned"),
    ):
        change(recorder, f"{row}, {columns}")
        reaped(llm)
        assert statuses(recorder) == [status], columns
        change(recorder, f"update job_rows set owner_host = '{os.uname().nodename}'")


@pytest.mark.skipif(not os.path.exists("/proc/sys/kernel/random/boot_id"), reason="no boot id")
def test_a_machine_that_was_renamed_is_the_same(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """A laptop gets another name in another network, and its owners still live."""
    asked(llm, {})
    change(
        recorder,
        "update job_rows set status = 'running', owner_host = 'before',"
        f" owner_pid = {os.getpid()}, owner_pid_start = {start_time(os.getpid())},"
        " lease_until = '2001-01-01T00:00:00.000Z'",
    )
    reaped(llm)
    assert statuses(recorder) == ["running"]


def test_a_reused_pid_is_never_signalled(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """The child's number belongs to somebody else by now: its start time says so."""
    asked(llm, {})
    other = llm.popen("sleep", "60")
    change(
        recorder,
        f"update job_rows set status = 'running', owner_pid = 1, owner_pid_start = 1,"
        f" pid = {other.pid}, pid_start = 1",
    )
    reaped(llm)
    assert statuses(recorder) == ["orphaned"]
    assert other.poll() is None


def test_cancel_is_a_request_that_the_owner_sees(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Whoever may write the recorder can make it: a screen, another shell."""
    claude.does(*HANGS)
    process = llm.start("-m", "gateway-claude", "x")
    until(lambda: recorder.query("select 1 from events where kind = 'text'"))
    change(recorder, "update job_rows set cancel_requested_at = '2026-01-01T00:00:00.000Z'")
    _, err = process.communicate(timeout=90)
    assert "was canceled" in err.decode()
    assert statuses(recorder) == ["canceled"]
    gone(claude, below=False)


def test_a_full_house_waits_in_order(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """One place: four prompts run one after another, and say where they stand."""
    claude.does(init(), {"sleep": 0.3}, answer("ok"))
    one = {"LLM_GATEWAY_MAX_JOBS": "1"}
    told = at_once(llm, *[{"prompt": f"p{n}"} for n in range(4)], env=one)
    assert [t["answer"] for t in told] == ["ok"] * 4
    times = sorted((call.began, call.ended or 0.0) for call in claude.calls)
    assert all(before[1] <= after[0] for before, after in pairwise(times))
    assert any("waiting for a place" in line for t in told for line in t["notices"])


def test_a_full_queue_is_saturated(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Nothing is spawned for the one too many, and its row says why."""
    claude.does(*HANGS)
    small = {"LLM_GATEWAY_MAX_JOBS": "1", "LLM_GATEWAY_MAX_QUEUE": "0"}
    process = llm.start("-m", "gateway-claude", "first", env=small)
    claude.wait_for_call()
    told = asked(llm, {"prompt": "second"}, env=small)[0]
    assert told["category"] == "saturated" and "llm gateway jobs" in told["error"]
    process.send_signal(signal.SIGINT)
    process.wait(90)
    assert len(claude.calls) == 1
    assert recorder.requests[-1]["error_category"] == "saturated"


def test_a_dead_member_holds_no_place(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Whoever waits finds the dead and goes on."""
    claude.in_turn({"steps": HANGS, "sessions": True}, {"steps": [answer("ok")], "sessions": True})
    one = {"LLM_GATEWAY_MAX_JOBS": "1"}
    first = llm.start("-m", "gateway-claude", "first", env=one)
    claude.wait_for_call()
    second = llm.start("-m", "gateway-claude", "second", env=one)
    until(lambda: statuses(recorder) == ["running", "queued"])
    first.kill()
    assert second.communicate(timeout=90)[0] == b"ok\n"


def test_sixteen_agents_that_ask_do_not_deadlock(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """A nested ask never waits for the place that its own asker holds: it runs, or is refused."""
    inside = {
        "LLM_GATEWAY_ANCESTORS": "01aaaaaaaaaaaaaaaaaaaaaaaa",
        "LLM_GATEWAY_DEPTH": "1",
        "LLM_GATEWAY_MAX_JOBS": "1",
    }
    claude.does(init(), {"sleep": 1.5}, answer("ok"))
    told = at_once(llm, *[{"prompt": f"p{n}"} for n in range(12)], env=inside)
    assert [t.get("answer") for t in told].count("ok") == 9  # one place and a reserve of eight
    assert [t.get("category") for t in told].count("saturated") == 3


def test_an_agent_never_joins_its_own_ancestor(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """It would wait for itself."""
    claude.in_turn({"steps": HANGS, "sessions": True}, {"steps": [answer("ok")], "sessions": True})
    first = llm.start("-m", "gateway-claude", "same")
    claude.wait_for_call()
    env = claude.call.env
    assert env["LLM_GATEWAY_DEPTH"] == "1"
    inside = {name: env[name] for name in ("LLM_GATEWAY_ANCESTORS", "LLM_GATEWAY_DEPTH")}
    told: Any = asked(llm, {"prompt": "same"}, env=inside)[0]
    assert (told["outcome"], told["answer"]) == ("ran", "ok")
    parent = recorder.query("select parent_job_id from jobs order by started_at")[1]
    assert parent["parent_job_id"] == env["LLM_GATEWAY_ANCESTORS"]
    first.send_signal(signal.SIGINT)
    first.wait(90)


def test_what_an_agent_submitted_outlives_the_run_of_the_agent(
    llm: Llm, recorder: Recorder, tmp_path: Path
) -> None:
    """Though llm's command becomes the parent of all that its agent leaves behind."""
    program = Path(sys.executable).with_name("llm-gateway")
    agent = tmp_path / "agent"
    job = "demo: slow 0.2\ndemo: words 20"
    submits = f"{program} submit -m gateway-demo '{job}' </dev/null >&2"
    agent.write_text(f"#!/bin/sh\n{submits}\nexec sleep 60\n")
    agent.chmod(0o755)
    outer = llm.start("-m", "gateway-claude", "x", env={"LLM_GATEWAY_CLAUDE_CLI": str(agent)})
    until(lambda: recorder.query("select 1 from events where kind = 'text'"))
    outer.send_signal(signal.SIGINT)
    outer.wait(90)
    assert settled(recorder) == ["canceled", "completed"]


def test_too_deep_is_refused(llm: Llm, claude: FakeCli) -> None:
    """Agents that ask agents that ask agents: somewhere it ends, and a bad number is deep."""
    for depth in ("4", "99", "many"):
        told = asked(llm, {}, env={"LLM_GATEWAY_DEPTH": depth})[0]
        assert told["category"] == "permission_denied" and "is the most" in told["error"]
    assert claude.calls == []


def change(recorder: Recorder, sql: str) -> None:
    """Write to the recorder as somebody else does."""
    import sqlite3

    connection = sqlite3.connect(recorder.path, timeout=30)
    with connection:
        connection.execute(sql)
    connection.close()
