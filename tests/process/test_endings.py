"""How a run ends: by itself, badly, too late, interrupted; and what is left of it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.claude import (
    abandoned,
    answer,
    ended,
    init,
    message,
    refused_tool,
    says,
    tool,
)
from tests.fakes.cli import FakeCli, alive, until
from tests.harness import Llm, Recorder, logged

ASK = ("-m", "gateway-claude")


def session(claude: FakeCli) -> str:
    return f"(session {claude.calls[-1].value('--session-id')})"


def check_row(recorder: Recorder, status: str, category: str | None) -> None:
    row = recorder.request
    assert (row["status"], row["error_category"]) == (status, category)
    assert row["finished_at"] is not None
    assert recorder.query("select status from jobs")[0]["status"] == status


# By itself, but not well.

BAD: list[tuple[str, list[Any], dict[str, Any], str, str]] = [
    (
        "no end event",
        [init(), message("half")],
        {},
        "protocol",
        "Claude Code ended before it said that it was done. {session}",
    ),
    (
        "nothing at all",
        [],
        {},
        "protocol",
        "Claude Code ended before it said that it was done.",
    ),
    (
        "an empty answer",
        [init(), ended("")],
        {},
        "empty_reply",
        "Claude Code ended without an answer. {session}",
    ),
    (
        "an error flag and exit 0",
        [init(), message("text"), ended("It broke.", is_error=True)],
        {},
        "cli_error",
        "Claude Code failed: It broke {session}",
    ),
    (
        "a limit in the text and exit 0",
        [init(), ended("You've hit your weekly limit", is_error=True)],
        {},
        "rate_limited",
        "You've hit your weekly limit {session}",
    ),
    (
        "a refusal",
        [init(), message("I"), ended("I", stop_reason="refusal")],
        {},
        "refused",
        "Claude declined to answer; rephrase the prompt or choose another model. {session}",
    ),
    (
        "cut off",
        [init(), message("long"), ended("long", stop_reason="max_tokens")],
        {},
        "limit_reached",
        "The answer hit the model's output limit and is cut off. {session}",
    ),
    (
        "a crash",
        [init(), {"stderr": "Segmentation fault"}],
        {"exit": 139},
        "protocol",
        "Claude Code ended with exit code 139 before it said that it was done: Segmentation "
        "fault. {session}",
    ),
]


def test_what_is_no_answer_is_an_error(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Exit code 0 of the CLI is not success; each failure has its category, sentence and row."""
    claude.in_turn(*({"steps": steps, **more} for _, steps, more, _, _ in BAD))
    outcomes = llm.asks(*(("gateway-claude", name, {}) for name, *_ in BAD))
    sessions = [f"(session {call.value('--session-id')})" for call in claude.calls]
    expected = [
        (category, sentence.format(session=id))
        for (_, _, _, category, sentence), id in zip(BAD, sessions, strict=True)
    ]
    assert [(o.category, o.error) for o in outcomes] == expected
    rows = [(r["prompt"], r["status"], r["error_category"]) for r in recorder.requests]
    assert rows == [(name, "failed", category) for name, _, _, category, _ in BAD]
    assert all(r["finished_at"] for r in recorder.requests)


def test_text_before_an_error_is_printed_and_kept(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """The person saw it; llm does not log it, the recorder does. One line, exit 1, no traceback."""
    claude.does(init(), message("Half an answer"), ended("x", is_error=True, api_error_status=500))
    ran = llm(*ASK, "x")
    assert (ran.out, ran.error) == ("Half an answer", f"x; try again later {session(claude)}")
    assert logged(llm) == []
    assert recorder.request["response"] == "Half an answer"
    check_row(recorder, "failed", "overloaded")


def test_an_error_exit_after_a_good_end_event_is_an_answer(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """The end event counts, not what the process does on its way out."""
    claude.does(answer("fine"), exit=1)
    assert llm(*ASK, "x").answer == "fine\n"
    check_row(recorder, "completed", None)
    assert recorder.attempts[0]["exit_code"] == 1


def test_an_event_of_another_shape_is_survived(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """A newer CLI may print what we do not know."""
    claude.does(init(), {"line": {"type": "stream_event"}}, message("fine"), ended("fine"))
    assert llm(*ASK, "x").answer == "fine\n"


def test_noise_on_stdout_and_stderr_is_no_answer(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Banners, colours, NUL and a byte order mark; the recorder keeps them, nobody else."""
    claude.does(
        {"bytes": "\xef\xbb\xbf"},
        init(),
        {"line": "[SandboxDebug] starting"},
        says("a"),
        {"bytes": "\x1b[31mred\x1b[0m\n\x00\x01\n\xff\xfe\n"},
        says("b", start=False),
        {"stderr": "warning: something"},
        ended("ab"),
    )
    ran = llm(*ASK, "x")
    assert (ran.answer, ran.err) == ("ab\n", "")
    kept = [json.loads(row["data"]) for row in recorder.query("select data from events")]
    assert {"[SandboxDebug] starting", "\x1b[31mred\x1b[0m"} <= {e.get("text") for e in kept}
    assert recorder.query("select stderr from bodies")[0]["stderr"] == "warning: something\n"


# Pipes.


def test_fifty_megabytes_on_stderr_do_not_block(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """They are drained; the end of them is kept."""
    claude.does({"flood_stderr": 50}, {"stderr": "the end"}, answer("fine"))
    assert llm(*ASK, "x").answer == "fine\n"
    tail = recorder.query("select stderr from bodies")[0]["stderr"]
    assert tail.endswith("the end\n") and len(tail) <= 64 * 1024


def test_a_reader_that_is_slow_does_not_stop_the_cli(
    llm: Llm, claude: FakeCli, tmp_path: Path
) -> None:
    """Twenty megabytes wait for a pager, and the CLI is done meanwhile; order is kept."""
    words = "word " * 1000
    delta = says(words, start=False)[0]
    claude.does(
        init(),
        says("first "),
        {"flood_text": {"line": delta["line"], "times": 4000}},
        ended("first " + words),
        {"touch": str(tmp_path / "done")},
    )
    process = llm.start(*ASK, "-n", "x")
    assert process.stdout is not None
    assert process.stdout.read(6) == b"first "
    until((tmp_path / "done").exists, 90, "the CLI is done")
    rest = process.stdout.read()
    assert process.wait(100) == 0
    assert rest == (words * 4000).encode() + b"\n"


def test_one_line_of_many_megabytes(llm: Llm, claude: FakeCli) -> None:
    """An event may be long."""
    text = "x" * 8_000_000
    claude.does(init(), says(text), ended("short"))
    assert llm(*ASK, "-n", "x").answer == text + "\n"


def test_a_cli_that_prints_without_end_is_stopped(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """There is a cap; the error names it and what lifts it."""
    delta = says("word " * 2000, start=False)[0]
    claude.does(init(), {"flood_text": {"line": delta["line"], "times": 100_000}})
    ran = llm(*ASK, "-n", "x", env={"LLM_GATEWAY_MAX_OUTPUT_MIB": "2"})
    assert ran.error == (
        "Claude Code printed more than 2 MiB and was stopped; allow more with "
        f"LLM_GATEWAY_MAX_OUTPUT_MIB. {session(claude)}"
    )
    check_row(recorder, "failed", "output_limit")
    assert not alive(claude.call.pid)


@pytest.mark.parametrize(
    "last", [{"hang": True}, {"close_stdout": True}], ids=["hangs", "closes stdout and hangs"]
)
def test_a_cli_that_stays_after_its_end_event(llm: Llm, claude: FakeCli, last: Any) -> None:
    """Two seconds of grace, then it is ended; the answer counts."""
    claude.does(answer("fine"), last, {"hang": True})
    ran = llm(*ASK, "x")
    assert ran.answer == "fine\n" and ran.seconds < 40
    assert not alive(claude.call.pid)


def test_a_grandchild_that_holds_the_pipe(llm: Llm, claude: FakeCli) -> None:
    """The CLI is gone, something below it keeps stdout open: it is ended, not waited for."""
    claude.does(answer("fine"), {"grandchild": {"pipe": True, "setsid": True, "orphan": True}})
    ran = llm(*ASK, "x")
    assert ran.answer == "fine\n" and ran.seconds < 40
    assert not alive(claude.grandchild())


# Too late.


def test_a_run_that_takes_too_long(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """What was said is printed, the error says how to allow more, the CLI is gone."""
    claude.does(init(), says("half"), {"hang": True}, ignore=["SIGINT"])
    ran = llm(*ASK, "-o", "timeout", "1", "x")
    assert ran.out == "half"
    assert ran.error == (
        "Claude Code was stopped after 1 s; allow more with -o timeout SECONDS. " + session(claude)
    )
    check_row(recorder, "timed_out", "timeout")
    assert claude.call.signals == ["SIGINT"] and not alive(claude.call.pid)


def test_a_cli_that_falls_silent(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Silence has its own limit; noise of any kind is not silence."""
    claude.does(init(), *({"sleep": 0.7}, {"stderr": "tick"}) * 4, {"hang": True})
    ran = llm(*ASK, "-o", "idle_timeout", "2", "x")
    assert ran.error == (
        "Claude Code said nothing for 2 s and was stopped; "
        f"allow more with -o idle_timeout SECONDS. {session(claude)}"
    )
    check_row(recorder, "timed_out", "idle_timeout")
    assert recorder.request["duration_ms"] > 4700


def test_a_cli_that_ignores_every_request_to_end(llm: Llm, claude: FakeCli) -> None:
    """SIGINT, SIGTERM, SIGKILL, two seconds apart; what is below it goes as well."""
    claude.does(
        init(),
        {"grandchild": {"setsid": True, "bare": True}},
        {"hang": True},
        ignore=["SIGINT", "SIGTERM"],
    )
    ran = llm(*ASK, "-o", "timeout", "1", "x")
    assert "was stopped after 1 s" in ran.error and ran.seconds < 40
    assert list(dict.fromkeys(claude.call.signals)) == ["SIGINT", "SIGTERM"]
    assert not alive(claude.call.pid) and not alive(claude.grandchild())


def test_every_signal_is_sent_once(llm: Llm, claude: FakeCli) -> None:
    """A second SIGTERM means "at once" to many programs, and cuts their cleaning up short."""
    claude.does(init(), {"hang": True}, ignore=["SIGINT", "SIGTERM"])
    llm.asks(("gateway-claude", "x", {"timeout": 0.3}))
    assert claude.call.signals == ["SIGINT", "SIGTERM"]


def test_a_cli_that_tells_how_it_was_interrupted(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Claude prints a result on SIGINT; the reason stays that we stopped it."""
    last = ended(None, is_error=True, subtype="error_during_execution",
                 terminal_reason="aborted_streaming")  # fmt: skip
    then = {"steps": [last], "exit": 0}
    claude.does(init(), says("half"), {"hang": True}, on_signal={"SIGINT": then})
    ran = llm(*ASK, "-o", "timeout", "1", "x")
    assert "was stopped after 1 s" in ran.error and ran.seconds < 40
    check_row(recorder, "timed_out", "timeout")
    assert recorder.request["cost_usd"] == 0.002


# Interrupted.


@pytest.mark.parametrize("flags", [(), ("--no-stream",), ("--async",)], ids=["", "whole", "async"])
def test_ctrl_c_ends_everything(
    llm: Llm, claude: FakeCli, recorder: Recorder, flags: tuple[str, ...]
) -> None:
    """The whole tree, also what left the session and cleared its environment; llm says Aborted."""
    claude.does(
        init(),
        {"grandchild": {"setsid": True, "bare": True}},
        tool("Bash", {"command": "sleep 60"}, "")[0],
        {"hang": True},
    )
    screen = llm.pty(*ASK, *flags, "x")
    screen.wait_for("· Bash sleep 60")
    begun = time.monotonic()
    screen.type("\x03")
    assert screen.end() == 1
    assert time.monotonic() - begun < 30
    assert "Aborted!" in screen.seen and "Traceback" not in screen.seen
    until(lambda: not alive(claude.call.pid) and not alive(claude.grandchild()), 5)
    check_row(recorder, "canceled", "canceled")
    assert logged(llm) == []


def test_ctrl_c_twice_does_not_wait(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """The second one kills at once what ignores the first."""
    claude.does(init(), says("half"), {"hang": True}, ignore=["SIGINT", "SIGTERM"])
    screen = llm.pty(*ASK, "x")
    screen.wait_for("half")
    screen.type("\x03")
    until(lambda: claude.call.signals, what="the first signal")
    begun = time.monotonic()
    screen.type("\x03")
    assert screen.end() == 1
    assert time.monotonic() - begun < 1.8
    assert claude.kill_left() == []
    check_row(recorder, "canceled", "canceled")


def test_ctrl_c_before_anything_was_said(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """The row says canceled, not running."""
    claude.in_turn({"steps": [{"hang": True}], "stdin": "never"})
    screen = llm.pty(*ASK, "x")
    claude.wait_for_call()
    screen.type("\x03")
    assert screen.end() == 1
    assert not alive(claude.call.pid)
    check_row(recorder, "canceled", "canceled")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_llm_ends_the_tree_too(
    llm: Llm, claude: FakeCli, recorder: Recorder, number: signal.Signals
) -> None:
    """kill and a closed terminal: llm dies of the signal as ever, nothing stays behind."""
    claude.does(init(), {"grandchild": {"setsid": True, "orphan": True}}, says("x"), {"hang": True})
    process = llm.start(*ASK, "x")
    assert process.stdout is not None and process.stdout.read(1) == b"x"
    process.send_signal(number)
    assert process.wait(100) == -number
    assert not alive(claude.call.pid) and not alive(claude.grandchild())
    check_row(recorder, "canceled", "canceled")


def test_a_reader_that_goes_away(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """``| head``: the CLI is stopped although it says nothing more, without a traceback."""
    claude.does(init(), says("line one\n"), {"hang": True})
    shell = subprocess.Popen(
        ["/bin/sh", "-c", '"$@" | head -n 1', "sh", *llm.program(*ASK, "x")],
        cwd=llm.work,
        env=llm.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = shell.communicate(timeout=100)
    assert out == "line one\n" and "Traceback" not in err
    assert not alive(claude.call.pid)
    check_row(recorder, "canceled", "canceled")


def test_leaving_a_loop_in_python_ends_the_cli(llm: Llm, claude: FakeCli) -> None:
    """As a library: who stops reading stops the run, and the program goes on."""
    claude.does(init(), says("one "), {"hang": True})
    code = """
import llm
for piece in llm.get_model("gateway-claude").prompt("x"):
    break
else:
    raise SystemExit("nothing was said")
del piece
import gc; gc.collect()
print("went on")
"""
    ran = llm.python(code)
    assert ran.answer == "went on\n"
    assert not alive(claude.call.pid)


def test_a_program_that_ends_takes_its_runs_along(llm: Llm, claude: FakeCli) -> None:
    """An iterator that nobody closed does not keep a CLI alive."""
    claude.does(init(), says("one "), {"hang": True})
    code = """
import llm, sys
response = llm.get_model("gateway-claude").prompt("x")
iterator = iter(response)
print(next(iterator))
sys.modules["keep"] = iterator
"""
    assert llm.python(code).answer == "one \n"
    assert not alive(claude.call.pid)


def test_an_async_time_out_ends_the_cli(llm: Llm, claude: FakeCli) -> None:
    """``asyncio.wait_for`` around a prompt, and the loop goes on."""
    claude.does(init(), says("one "), {"hang": True})
    code = """
import asyncio, llm
async def main():
    response = llm.get_async_model("gateway-claude").prompt("x")
    try:
        await asyncio.wait_for(response.text(), 2.0)
    except asyncio.TimeoutError:
        print("timed out")
asyncio.run(main())
"""
    assert llm.python(code).answer == "timed out\n"
    assert not alive(claude.call.pid)


def test_ctrl_c_in_chat_ends_the_turn_and_its_tree(llm: Llm, claude: FakeCli) -> None:
    """llm ends the chat; nothing runs on behind it."""
    claude.does(init(), says("half"), {"hang": True})
    screen = llm.pty("chat", *ASK)
    screen.wait_for("> ")
    screen.type("hello\n")
    screen.wait_for("half")
    screen.type("\x03")
    assert screen.end() == 1
    assert not alive(claude.call.pid)


def test_refusals_and_retries_leave_no_trace_in_the_answer(llm: Llm, claude: FakeCli) -> None:
    """stdout is the answer, also where everything else happens at once."""
    claude.does(
        init(),
        abandoned("So"),
        refused_tool("Write", {"file_path": "a"}, "t1"),
        {"stderr": "noise"},
        message("So", " be it.", id="m9"),
        ended("So be it."),
    )
    ran = llm(*ASK, "x")
    assert ran.answer == "So be it.\n"
    assert ran.err == "1 action was refused at access read; -o access edit allows more\n"
