"""Pipes: floods, lines without an end, pipes that close too early and pipes that never do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.claude import answer, ended, init, message, says, thinks
from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder
from tests.process.torture import (
    ASK,
    STUBBORN,
    gateway,
    gone,
    numbered,
    numbers,
    peak,
    session,
    tree,
)


def test_a_hundred_megabytes_arrive_in_order(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """Nothing is lost, doubled or out of turn between the CLI and a file."""
    claude.does(init(), numbered(50_000, padding=1800), ended("the end"))
    out = tmp_path / "answer"
    with out.open("wb") as file:
        assert llm.start(*ASK, "-n", "x", stdout=file).wait(90) == 0
    assert numbers(out.read_bytes(), 50_000)


def test_a_hundred_megabytes_cost_no_memory(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Process, parser and recorder hold what they work on, not what they have seen."""
    flood = {"flood_text": {"line": thinks("x" * 4000)[0]["line"], "times": 25_000}}
    claude.in_turn({"steps": answer("warm")}, {"steps": [init(), flood, answer("fine")]})
    outcome, more = gateway(
        llm,
        """
told(ask(request()))
before = memory("VmHWM")
print(json.dumps([told(ask(request())), memory("VmHWM") - before]))
""",
    )
    assert outcome["answer"] == "fine"
    assert more < 32, f"{more} MiB"
    (kept,) = recorder.query("select sum(length(data)) as size from events")
    assert kept["size"] > 100_000_000


def test_fifty_megabytes_on_stderr_cost_no_memory(llm: Llm, claude: FakeCli) -> None:
    """The end of it is kept, the rest is not, and the answer comes all the same."""
    claude.in_turn({"steps": answer("warm")}, {"steps": [{"flood_stderr": 50}, answer("fine")]})
    outcome, more = gateway(
        llm,
        """
told(ask(request()))
before = memory("VmHWM")
print(json.dumps([told(ask(request())), memory("VmHWM") - before]))
""",
    )
    assert outcome["answer"] == "fine"
    assert more < 16, f"{more} MiB"


def test_the_output_cap_keeps_what_was_said_and_ends_the_tree(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """LLM_GATEWAY_MAX_OUTPUT_MIB: printed, recorded, and nothing below the CLI goes on."""
    flood = {"flood_text": {"line": thinks("x" * 4000)[0]["line"], "times": 100_000}}
    claude.does(init(), tree(orphan=True, bare=True), says("half"), flood)
    ran = llm(*ASK, "-R", "x", env={"LLM_GATEWAY_MAX_OUTPUT_MIB": "2"})
    assert ran.out == "half"
    assert "printed more than 2 MiB" in ran.error and ran.error.endswith(session(claude))
    row = recorder.request
    assert (row["status"], row["error_category"]) == ("failed", "output_limit")
    assert row["response"] == "half"
    gone(claude)


def test_a_line_without_an_end_is_refused(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """64 MiB is the most that a line may have, also while a stubborn CLI is being ended."""
    flood = {"flood_bytes": {"text": "x" * 1000, "megabytes": 20_000}}
    claude.does(init(), says("half"), flood, ignore=STUBBORN)
    process = llm.start(*ASK, "x")
    most = peak(process)
    assert most < 400, f"{most} MiB"
    assert process.stderr is not None and b"a line of more than 64 MiB" in process.stderr.read()
    assert recorder.request["error_category"] == "output_limit"
    gone(claude, below=False)


def test_one_line_of_twenty_megabytes(llm: Llm, claude: FakeCli) -> None:
    """An event may be that long."""
    claude.does(init(), says("x" * 20_000_000), ended("short"))
    ran = llm(*ASK, "-n", "x")
    assert ran.code == 0 and ran.out == "x" * 20_000_000 + "\n"


@pytest.mark.parametrize("last", ['{"type":"result","subtype":"succ', '{"type":"result"', "{"])
def test_a_last_line_that_breaks_off(
    llm: Llm, claude: FakeCli, recorder: Recorder, last: str
) -> None:
    """Exit 0 is no success: what was said is kept, and it is no answer."""
    claude.does(init(), message("almost all"), {"bytes": last})
    ran = llm(*ASK, "x")
    assert ran.out == "almost all"
    assert "before it said that it was done" in ran.error and ran.error.endswith(session(claude))
    row = recorder.request
    assert (row["status"], row["error_category"]) == ("failed", "protocol")
    assert (row["response"], row["exit_code"]) == ("almost all", 0)


def test_a_cli_that_closes_its_stdout_and_stays(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """It can no longer say that it is done, so it is not waited for."""
    claude.does(init(), says("half"), tree(), {"close_stdout": True}, {"hang": True})
    ran = llm(*ASK, "x", timeout=40)
    assert ran.out == "half"
    assert "before it said that it was done" in ran.error
    assert recorder.request["error_category"] == "protocol"
    gone(claude)


def test_a_cli_that_closes_its_stdout_and_then_tells_why(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """What it says on stderr meanwhile is heard."""
    words = {"stderr": "No conversation found with session ID: x"}
    claude.does(init(), {"close_stdout": True}, {"sleep": 0.5}, words, exit=1)
    told = llm(*ASK, "x").error
    assert session(claude) in told
    assert recorder.request["error_category"] == "session_lost"


def test_the_clis_own_error_is_told_while_it_does_not_read(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Five megabytes for a CLI that ends at once: its words count, not the broken pipe."""
    claude.in_turn(
        {"stdin": "never", "steps": [{"stderr": "error: unknown option '--tools'"}], "exit": 1}
    )
    (outcome,) = llm.asks(("gateway-claude", "x" * 5_000_000, {}))
    assert outcome.category == "cli_error"
    assert outcome.error is not None and "does not know the flag --tools" in outcome.error
    assert recorder.request["exit_code"] == 1


def test_five_megabytes_that_are_never_read(llm: Llm, claude: FakeCli) -> None:
    """The clock goes on, and an answer may come all the same."""
    claude.in_turn(
        {"stdin": "never", "steps": [init(), says("half"), {"hang": True}], "ignore": STUBBORN},
        {"stdin": "never", "steps": answer("I know already")},
    )
    late, early = llm.asks(
        ("gateway-claude", "x" * 5_000_000, {"idle_timeout": 1}),
        ("gateway-claude", "x" * 5_000_000, {}),
    )
    assert late.category == "idle_timeout"
    assert early.answer == "I know already"
    gone(claude, 0, below=False)


HOLDERS: dict[str, dict[str, Any]] = {
    "a child": {"setsid": False},
    "a session of its own": {},
    "an orphan": {"orphan": True},
    "an orphan without environment": {"orphan": True, "bare": True},
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=list(HOLDERS))
def test_who_holds_the_pipe_is_not_waited_for(
    llm: Llm, claude: FakeCli, recorder: Recorder, holder: dict[str, Any]
) -> None:
    """The CLI has ended well: its answer is there whole, and what holds its pipes is ended."""
    claude.does(init(), numbered(2000), tree(pipe=True, **holder), ended("the end"))
    ran = llm(*ASK, "x", timeout=40)
    assert numbers(ran.answer.encode(), 2000)
    assert recorder.request["status"] == "completed"
    gone(claude)


def test_who_holds_the_pipe_of_a_failed_cli(llm: Llm, claude: FakeCli) -> None:
    """The error is the CLI's."""
    claude.does(init(), tree(pipe=True), ended("It broke.", is_error=True), exit=1)
    assert llm(*ASK, "x", timeout=40).error.startswith("Claude Code failed: It broke")
    gone(claude)
