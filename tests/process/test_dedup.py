"""Of identical asks one runs, and an answer is given again only where it is the same answer."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.claude import answer, ended, init, message, says, thinks, tool
from tests.fakes.cli import FakeCli, until
from tests.harness import Llm, Ran, Recorder, logged
from tests.process.asking import CODE, apart, asked, at_once, submit

SLOW = {"sleep": 1.5}


def slowly(*between: Any, text: str = "A: $PROMPT") -> list[Any]:
    """An answer that takes long enough to be joined."""
    return [init(), thinks("hm"), *between, SLOW, message(text), ended(text)]


def reusing(llm: Llm, **how: Any) -> str:
    """Ask twice, until the second has the first's answer: a slow machine may have no fingerprint
    within its time, and then nothing is reused."""
    reuse = {"options": {"reuse": True}}
    told = until(
        lambda: next((o for o in asked(llm, reuse, reuse, **how) if o["outcome"] == "reused"), None)
    )
    return str(told["job"])


def git(folder: Path, *words: str) -> str:
    told = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return told.stdout.strip()


@pytest.fixture
def repository(llm: Llm) -> Path:
    """The workspace, as a Git work tree with one commit."""
    (llm.work / "a.txt").write_text("one")
    git(llm.work, "init", "-q")
    git(llm.work, "add", ".")
    git(llm.work, "commit", "-qm", "first")
    return llm.work


def test_identical_prompts_at_once_are_one_spawn(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Thirty processes have the same answer and the same typed events; tokens count once."""
    gate, both = llm.work.parent / "joined", (message("A: $PROMPT"), ended("A: $PROMPT"))
    claude.does(
        [
            init(),
            thinks("hm"),
            tool("Read", {"file_path": "a"}, "b"),
            {"wait_for": str(gate)},
            *both,
        ]
    )

    def when_all_have_asked() -> None:
        until(lambda: len(recorder.requests) == 30)
        gate.touch()

    told = apart(llm, *[{"prompt": "same"}] * 30, meanwhile=when_all_have_asked)
    assert len(claude.calls) == 1
    assert {one["answer"] for one in told} == {"A: same"} == {one["text"] for one in told}
    assert sorted(one["outcome"] for one in told) == ["joined"] * 29 + ["ran"]
    kinds = [[kind for kind in one["kinds"] if kind != "Notice"] for one in told]
    assert all(kind == kinds[0] for kind in kinds) and "ToolCall" in kinds[0]
    rows = recorder.requests
    assert len(rows) == 30 and {row["status"] for row in rows} == {"completed"}
    assert {row["response"] for row in rows} == {"A: same"}
    assert sum(row["output_tokens"] is not None for row in rows) == 1
    assert sum(row["cost_usd"] is not None for row in rows) == 1
    joined = next(one for one in told if one["outcome"] == "joined")
    assert f"joined job {joined['job']}" in joined["notices"][0]
    assert "-o force_refresh 1" in joined["notices"][0]


def two_of(llm: Llm, claude: FakeCli) -> tuple[bytes, Ran]:
    """The same prompt in two commands, of which the second joins the first."""
    gate = llm.work.parent / "joined"
    claude.does([init(), {"wait_for": str(gate)}, message("A: $PROMPT"), ended("A: $PROMPT")])
    first = llm.start("-m", "gateway-claude", "same")
    claude.wait_for_call()
    second = llm.start("-m", "gateway-claude", "same")
    assert second.stderr is not None
    said = until(lambda: os.read(second.stderr.fileno(), 4096))  # type: ignore[union-attr]
    gate.touch()
    out, err = second.communicate(timeout=90)
    ran = Ran(second.returncode, out.decode(), (said + err).decode(), 0.0)
    return first.communicate(timeout=90)[0], ran


def test_two_llm_commands_share_one_spawn(llm: Llm, claude: FakeCli) -> None:
    """Each logs its own row; the joiner's says whose answer it is, and counts no tokens."""
    first, second = two_of(llm, claude)
    assert second.answer == "A: same\n" == first.decode()
    assert len(claude.calls) == 1
    assert "joined job" in second.err
    newest = logged(llm, "-n", "2")
    (joiner,) = [row for row in newest if "joined" in row["response_json"]]
    (owner,) = [row for row in newest if "joined" not in row["response_json"]]
    assert joiner["response_json"]["joined"] == owner["response_json"]["job_id"]
    assert joiner["output_tokens"] is None and owner["output_tokens"]


def test_commands_that_end_at_the_same_moment_are_all_logged(llm: Llm, claude: FakeCli) -> None:
    """llm reads before it writes, which SQLite refuses at once where another has just written."""
    gate = llm.work.parent / "joined"
    claude.does([init(), {"wait_for": str(gate)}, message("same"), ended("same")])
    llm("fragments").ok()  # llm's own database is there
    asked = [llm.start("-m", "gateway-claude", "same")]
    claude.wait_for_call()
    others = (*[()] * 5, *[("--async",)] * 2)
    asked += [llm.start("-m", "gateway-claude", *other, "same") for other in others]
    for joined in asked[1:]:
        assert joined.stderr is not None
        assert b"joined job" in joined.stderr.readline()
    gate.touch()
    for one in asked:
        out, err = one.communicate(timeout=90)
        assert (one.returncode, out.decode(), err.decode()) == (0, "same\n", "")
    assert len(claude.calls) == 1
    assert len(logged(llm, "-n", "0")) == len(asked)


def test_the_first_continuation_of_a_joined_answer_has_a_session_of_its_own(
    llm: Llm, claude: FakeCli
) -> None:
    """Two conversations must not write into one session of the vendor's."""
    two_of(llm, claude)
    joined = next(r for r in logged(llm, "-n", "2") if "joined" in r["response_json"])
    claude.does(answer("more"))
    ran = llm("--cid", joined["conversation_id"], "go on")
    assert ran.answer == "more\n"
    assert "belongs to whoever asked first" in ran.err
    call = claude.calls[-1]
    assert call.value("--session-id") != claude.calls[0].value("--session-id")


DIFFERENT: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "other"},
    "system": {"system": "be brief"},
    "model": {"options": {"model": "opus"}},
    "access": {"options": {"access": "edit"}},
    "attachment": {"attachments": [["image/png", "one"]]},
    "schema": {"schema": {"type": "object"}},
    "effort": {"options": {"effort": "high"}},
    "force_refresh": {"options": {"force_refresh": True}},
    "history": {"history": [["user", "a"], ["assistant", "b"]]},
    "not to be kept": {"keep_bodies": False},
}


def test_what_differs_is_not_joined(llm: Llm, claude: FakeCli) -> None:
    """Each component alone makes a run of its own, at the same time as the plain prompt."""
    claude.does(slowly(text='{"a": 1}'))
    told = at_once(llm, {}, *DIFFERENT.values())
    assert [one.get("error") for one in told] == [None] * len(told)
    assert {one["outcome"] for one in told} == {"ran"}
    assert len(claude.calls) == 1 + len(DIFFERENT)


def test_what_belongs_to_the_asker_does_not_matter(llm: Llm, claude: FakeCli) -> None:
    """Time-outs, retries and the caller's own id are no part of what is asked."""
    claude.does(slowly())
    own = [
        {"options": {"timeout": 50}},
        {"options": {"idle_timeout": 50}},
        {"options": {"retries": 5}},
        {"options": {"retry_wait": 5}},
        {"options": {"correlation_id": "mine"}},
    ]
    told = at_once(llm, {}, *own)
    assert len(claude.calls) == 1
    assert {one["answer"] for one in told} == {"A: x"}


def test_another_directory_or_environment_is_another_prompt(
    llm: Llm, claude: FakeCli, tmp_path: Path
) -> None:
    """Where it runs, and what its child is given."""
    claude.does(answer("ok"))
    other = tmp_path / "other"
    other.mkdir()
    reuse = {"options": {"reuse": True}}
    asked(llm, reuse)
    assert asked(llm, reuse)[0]["outcome"] == "reused"
    assert asked(llm, reuse, cwd=other)[0]["outcome"] == "ran"
    assert asked(llm, reuse, env={"ANTHROPIC_MODEL": "m"})[0]["outcome"] == "ran"
    assert asked(llm, reuse, env={"TERM": "vt100", "LANG": "C"})[0]["outcome"] == "reused"
    claude.path.touch()
    os.utime(claude.path, (1, 1))
    assert asked(llm, reuse)[0]["outcome"] == "ran"


def test_reuse_is_asked_for(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """A foreground prompt runs again unless it says reuse; then one line says how old it is."""
    reuse = {"options": {"reuse": True}}
    told = asked(llm, {}, {}, reuse)
    assert [one["outcome"] for one in told] == ["ran", "ran", "reused"]
    assert told[2]["answer"] == "ok" == told[2]["text"]
    assert told[2]["notices"][0].startswith(f"reused the answer of job {told[1]['job']}, ")
    assert told[2]["notices"][0].endswith("; -o force_refresh 1 runs it again")
    row = recorder.requests[-1]
    assert (row["outcome"], row["response"], row["cost_usd"]) == ("reused", "ok", None)
    by_setting = asked(llm, {}, env={"LLM_GATEWAY_REUSE": "1"})
    assert by_setting[0]["outcome"] == "reused"


Change = Callable[[Path], object]
CHANGES: dict[str, Change] = {
    "a changed file": lambda work: (work / "a.txt").write_text("two!"),
    "a new file": lambda work: (work / "b.txt").write_text("new"),
    "a removed file": lambda work: (work / "a.txt").unlink(),
    "a commit": lambda work: git(work, "commit", "-q", "--allow-empty", "-m", "second"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_workspace_is_asked_again(
    llm: Llm, claude: FakeCli, repository: Path, change: Change
) -> None:
    """The answer was about another state of the files."""
    reusing(llm)
    change(repository)
    assert asked(llm, {"options": {"reuse": True}})[0]["outcome"] == "ran"


def used(name: str) -> list[Any]:
    """An answer for which a tool ran."""
    return [init(), tool(name, {}, "x"), message("ok"), ended("ok")]


NOT_REUSED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a shell ran": (used("Bash"), {}),
    "the web was read": (used("WebFetch"), {}),
    "an MCP tool ran": (used("mcp__a__b"), {}),
    "it may edit": ([answer("ok")], {"access": "edit"}),
}


@pytest.mark.parametrize("case", NOT_REUSED.values(), ids=NOT_REUSED)
def test_what_is_never_reused(llm: Llm, claude: FakeCli, case: tuple[Any, Any]) -> None:
    """Answers that something else than the workspace had a part in, and side effects."""
    steps, options = case
    claude.does(*steps)
    asked_for = {"options": {**options, "reuse": True}}
    assert [one["outcome"] for one in asked(llm, asked_for, asked_for)] == ["ran", "ran"]
    assert len(claude.calls) == 2


def test_a_file_that_was_read_is_no_reason_to_ask_again(
    llm: Llm, claude: FakeCli, repository: Path
) -> None:
    """Its state is in the fingerprint of the repository."""
    claude.does(init(), {"sleep": 0.5}, used("Read"))
    reusing(llm)


def test_what_was_read_outside_git_is_read_again(llm: Llm, claude: FakeCli) -> None:
    """Nobody can tell whether it has changed."""
    claude.does(init(), {"sleep": 0.5}, used("Read"))
    reuse = {"options": {"reuse": True}}
    assert [one["outcome"] for one in asked(llm, reuse, reuse)] == ["ran", "ran"]


def test_a_file_that_was_read_too_early_counts_as_changed(
    llm: Llm, claude: FakeCli, repository: Path
) -> None:
    """A tool that began before the fingerprint was taken may have seen something else."""
    slow_git = llm.work.parent / "bin" / "git"
    slow_git.write_text('#!/bin/sh\nsleep 1\nexec /usr/bin/git "$@"\n')
    slow_git.chmod(0o755)
    claude.does(used("Read"))
    reuse = {"options": {"reuse": True}}
    assert [one["outcome"] for one in asked(llm, reuse, reuse)] == ["ran", "ran"]


def test_a_failed_run_is_never_an_answer(llm: Llm, claude: FakeCli) -> None:
    """T-03: the original handed its failures out for an hour."""
    claude.in_turn(
        {"steps": [{"stderr": "no\n"}], "exit": 3}, {"steps": [answer("ok")], "sessions": True}
    )
    reuse = {"options": {"reuse": True}}
    first, second = asked(llm, reuse, reuse)
    assert first["category"] == "protocol"
    assert (second["outcome"], second["answer"]) == ("ran", "ok")


def test_who_joined_a_failure_has_the_same_error(llm: Llm, claude: FakeCli) -> None:
    """One run, one error, and nobody tries again by accident."""
    claude.does(init(), SLOW, {"stderr": "broken\n"}, exit=3)
    told = at_once(llm, {}, {}, {})
    assert len(claude.calls) == 1
    assert len({one["error"] for one in told}) == 1
    assert {one["category"] for one in told} == {"protocol"}


def test_the_window_switches_everything_off(llm: Llm, claude: FakeCli) -> None:
    """0 milliseconds: nothing is joined, collected or reused."""
    claude.does(slowly())
    off = {"LLM_GATEWAY_DEDUP_WINDOW_MS": "0"}
    told = at_once(llm, *[{"options": {"reuse": True}}] * 3, env=off)
    assert {one["outcome"] for one in told} == {"ran"}
    assert len(claude.calls) == 3


def test_an_old_answer_is_not_reused(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """The window counts from the end of the job."""
    reuse = {"options": {"reuse": True}}
    asked(llm, reuse)
    window = {"LLM_GATEWAY_DEDUP_WINDOW_MS": "1"}
    assert asked(llm, reuse, env=window)[0]["outcome"] == "ran"


def test_an_answer_that_nobody_had_is_collected(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """A submitted job's answer goes to who asks the same: at every access, whatever ran."""
    claude.does(init(), tool("Bash", {"command": "date"}, "x"), message("done"), ended("done"))
    job = submit(llm, options={"access": "edit"})
    assert job["outcome"] == "ran"
    until(lambda: recorder.query("select status from jobs")[0]["status"] == "completed")
    # One after another, as the first one notes behind its reader's back that it was received.
    told = [asked(llm, {"options": {"access": "edit"}})[0] for _ in range(2)]
    assert [one["outcome"] for one in told] == ["collected", "ran"]
    assert told[0]["answer"] == "done" and told[0]["job"] == job["job"]
    assert told[0]["notices"][0].startswith(f"collected the answer of job {job['job']}, ")


def test_another_commit_neither_joins_nor_collects_at_read(
    llm: Llm, claude: FakeCli, recorder: Recorder, repository: Path
) -> None:
    """What is read is another state of the repository; above read it is the action that counts."""
    claude.does(answer("ok"))
    for access, outcome in (("read", "ran"), ("edit", "collected")):
        submit(llm, prompt=access, options={"access": access})
        until(lambda: {r["status"] for r in recorder.query("select * from jobs")} == {"completed"})
        git(repository, "commit", "-q", "--allow-empty", "-m", "more")
        told = asked(llm, {"prompt": access, "options": {"access": access}})
        assert told[0]["outcome"] == outcome


def test_a_joiner_runs_it_again_when_its_owner_goes(llm: Llm, claude: FakeCli) -> None:
    """Ctrl-C withdraws one asker; another to whom nothing was said becomes the owner."""
    claude.in_turn(
        {"steps": [init(), {"hang": True}], "sessions": True},
        {"steps": [answer("again")], "sessions": True},
    )
    first = llm.start("-m", "gateway-claude", "same")
    claude.wait_for_call()
    second = llm.start("-m", "gateway-claude", "same")
    until(lambda: b"joined" in os.read(second.stderr.fileno(), 4096))  # type: ignore[union-attr]
    first.send_signal(2)
    first.communicate(timeout=90)
    assert second.communicate(timeout=90)[0] == b"again\n"
    assert len(claude.calls) == 2


def test_a_joiner_that_heard_something_fails_with_the_owner(llm: Llm, claude: FakeCli) -> None:
    """Text that was given out cannot be taken back; the message names the job."""
    claude.does(init(), says("half"), {"hang": True})
    first = llm.start("-m", "gateway-claude", "same")
    claude.wait_for_call()
    second = llm.start("-m", "gateway-claude", "same")
    until(lambda: b"half" in os.read(second.stdout.fileno(), 4096))  # type: ignore[union-attr]
    first.send_signal(2)
    first.communicate(timeout=90)
    _, err = second.communicate(timeout=90)
    assert second.returncode == 1
    assert b"Error: Job " in err and b"interrupted" in err
    assert len(claude.calls) == 1


def test_an_end_that_could_not_be_written_reaches_who_joined(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """It is in a spill file, and the program that wrote it lives on and never looks again."""
    claude.does(init(), says("half "), {"sleep": 2}, says("done", start=False), ended("half done"))
    stays = f"{CODE}\nsys.stdout.flush()\ntime.sleep(120)"
    owner = llm.popen(sys.executable, "-c", stays, stdin=subprocess.PIPE)
    assert owner.stdin is not None and owner.stdout is not None
    owner.stdin.write(json.dumps([{"prompt": "same"}]).encode())
    owner.stdin.close()
    claude.wait_for_call()

    def locked() -> None:
        until(lambda: len(recorder.requests) == 2)
        holder = sqlite3.connect(recorder.path, isolation_level=None, timeout=30)
        holder.execute("begin immediate")
        assert owner.stdout is not None
        assert "spill" in json.loads(owner.stdout.readline())[0]["notices"][0]
        holder.execute("rollback")
        holder.close()

    (joined,) = apart(llm, {"prompt": "same"}, meanwhile=locked)
    assert (joined["outcome"], joined["answer"]) == ("joined", "half done")
    assert owner.poll() is None and len(claude.calls) == 1
    owner.kill()
