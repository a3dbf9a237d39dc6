"""Signals: once, twice, while the tree is being taken down; and what they leave."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes.claude import answer, ended, init, says
from tests.fakes.cli import FakeCli, alive, until
from tests.harness import Llm, Recorder
from tests.process.torture import ASK, STUBBORN, gateway, gone, id_of, session, tree

INT, TERM, HUP, QUIT = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT
Signals = list[tuple[float, signal.Signals]]

# What is sent and after how many seconds, how llm ends, and whether that is at once.
SEQUENCES: dict[str, tuple[Signals, int, bool]] = {
    "Ctrl-C": ([(0, INT)], 1, False),
    "Ctrl-C twice": ([(0, INT), (0.5, INT)], 1, True),
    "Ctrl-C, three times at once": ([(0, INT), (0.2, INT), (0.01, INT)], 1, True),
    "kill": ([(0, TERM)], -TERM, False),
    "kill twice": ([(0, TERM), (0.5, TERM)], -TERM, False),
    "kill, then Ctrl-C": ([(0, TERM), (0.5, INT)], -TERM, True),
    "Ctrl-C, then kill": ([(0, INT), (0.5, TERM)], -TERM, False),
    "a hang-up": ([(0, HUP)], -HUP, False),
    "a hang-up and kill": ([(0, HUP), (0.3, TERM)], -TERM, False),
    "Ctrl-\\": ([(0, QUIT)], -QUIT, False),
}


def canceled(recorder: Recorder) -> None:
    row = recorder.request
    assert (row["status"], row["error_category"]) == ("canceled", "canceled")
    assert row["finished_at"] is not None


def started(llm: Llm, claude: FakeCli, *flags: str) -> subprocess.Popen[bytes]:
    """An llm whose CLI and what is below it ignore everything that can be ignored."""
    claude.does(
        init(),
        tree(orphan=True, bare=True),
        says("half"),
        {"hang": True},
        ignore=STUBBORN,
    )
    process = llm.start(*ASK, *flags, "x")
    assert process.stdout is not None and process.stdout.read(4) == b"half"
    return process


@pytest.mark.parametrize(("signals", "code", "at_once"), SEQUENCES.values(), ids=list(SEQUENCES))
def test_however_llm_is_ended_nothing_is_left(
    llm: Llm,
    claude: FakeCli,
    recorder: Recorder,
    signals: Signals,
    code: int,
    at_once: bool,
) -> None:
    """The stubborn tree is gone, the row says canceled, stderr names the session, no traceback."""
    process = started(llm, claude)
    for pause, number in signals:
        time.sleep(pause)
        if process.poll() is None:
            process.send_signal(number)
    _, err = process.communicate(timeout=40)
    assert process.returncode == code
    assert "Traceback" not in err.decode() and "Exception ignored" not in err.decode()
    assert err.decode().count(session(claude)) == 1
    gone(claude)
    canceled(recorder)
    # SIGTERM would have come after two seconds.
    assert claude.call.signals == (["SIGINT"] if at_once else ["SIGINT", "SIGTERM"])


def test_ctrl_c_held_down_leaves_nothing_either(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Thirty a second: what ends the tree and writes the row is not interrupted by them."""
    process = started(llm, claude)
    while process.poll() is None:
        process.send_signal(INT)
        time.sleep(0.03)
    # The last of them may hit Python itself on its way out.
    assert process.returncode in (1, -INT)
    gone(claude)
    canceled(recorder)


@pytest.mark.parametrize("number", [INT, TERM])
def test_the_async_model_is_ended_as_well(
    llm: Llm, claude: FakeCli, recorder: Recorder, number: signal.Signals
) -> None:
    """``llm --async``: the same, on an event loop."""
    process = started(llm, claude, "--async")
    process.send_signal(number)
    _, err = process.communicate(timeout=40)
    assert process.returncode == (1 if number == INT else -number)
    assert "Traceback" not in err.decode() and session(claude) in err.decode()
    gone(claude)
    canceled(recorder)


def test_the_whole_ladder_takes_eight_seconds_at_most(llm: Llm, claude: FakeCli) -> None:
    """From the first signal to the last process of a tree that ignores what it can."""
    claude.does(init(), tree(), {"hang": True}, ignore=STUBBORN)
    process = llm.start(*ASK, "-o", "timeout", "1", "x")
    until(lambda: claude.calls and claude.call.signals, 30, "the first signal")
    begun = time.monotonic()
    pids = [claude.call.pid, claude.grandchild()]
    until(lambda: not any(map(alive, pids)), 8, "the end of the tree")
    assert time.monotonic() - begun > 2, "no courtesy"
    assert process.wait(20) == 1


def test_a_cli_that_ends_when_it_is_asked_is_not_killed(
    llm: Llm, claude: FakeCli, recorder: Recorder, tmp_path: Path
) -> None:
    """It has the time to tidy up, and what it still says is recorded."""
    tidy = tmp_path / "tidy"
    last = ended(None, is_error=True, subtype="error_during_execution")
    then = {"steps": [{"sleep": 1}, {"touch": str(tidy)}, last], "exit": 0}
    claude.does(init(), says("half"), {"hang": True}, on_signal={"SIGINT": then})
    process = llm.start(*ASK, "x")
    assert process.stdout is not None and process.stdout.read(4) == b"half"
    process.send_signal(TERM)
    assert process.wait(20) == -TERM
    assert tidy.exists() and claude.call.signals == ["SIGINT"]
    canceled(recorder)
    assert recorder.request["cost_usd"] == 0.002
    assert recorder.request["response"] == "half"


def test_ctrl_c_tells_where_it_can_be_continued(llm: Llm, claude: FakeCli) -> None:
    """The line names the session, and ``-o session_id`` goes on in it, then ``-c`` as ever."""
    claude.does(init(), says("half"), {"hang": True})
    screen = llm.pty(*ASK, "x")
    screen.wait_for("half")
    screen.type("\x03")
    assert screen.end() == 1
    assert f"Claude Code was interrupted. {session(claude)}" in screen.seen
    id = id_of(claude)
    claude.does(answer("went on"))
    assert llm(*ASK, "-o", "session_id", id, "go on").answer == "went on\n"
    assert llm("-c", "and on").answer == "went on\n"
    assert [call.value("--resume") for call in claude.calls] == [None, id, id]


def test_ctrl_c_later_in_a_conversation(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """``llm -c`` goes on in the session as it is, and the next turn asks nothing twice."""
    claude.does(answer("one"))
    llm(*ASK, "one").answer  # noqa: B018
    claude.does(init(), says("half"), {"hang": True})
    process = llm.start("-c", "two")
    assert process.stdout is not None and process.stdout.read(4) == b"half"
    process.send_signal(INT)
    assert process.wait(20) == 1
    claude.does(answer("three"))
    ran = llm("-c", "three")
    assert (ran.answer, ran.err) == ("three\n", "")
    assert claude.calls[-1].value("--resume") == id_of(claude, 0)
    assert claude.calls[-1].prompt == "three"
    assert [row["status"] for row in recorder.requests] == ["completed", "canceled", "completed"]
    assert recorder.requests[1]["response"] == "half"


LIBRARY = """
import signal, threading
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
run = ask(request())
def interrupt():
    for seconds in json.loads(sys.argv[1]):
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGINT)
try:
    for event in run:
        if type(event).__name__ == "Text":
            threading.Thread(target=interrupt).start()
except KeyboardInterrupt:
    caught = True
now = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
print(json.dumps([caught, now == before, run._running.locked(), threading.active_count()]))
"""


@pytest.mark.parametrize("seconds", ["[0.2]", "[0.2, 0.5]"], ids=["once", "twice"])
def test_ctrl_c_in_somebody_elses_program(
    llm: Llm, claude: FakeCli, recorder: Recorder, seconds: str
) -> None:
    """As a library no signal is touched: KeyboardInterrupt comes out, and the tree is gone."""
    claude.does(init(), tree(), says("half"), {"hang": True}, ignore=STUBBORN)
    caught, untouched, running, _ = gateway(llm, LIBRARY, seconds)
    assert (caught, untouched, running) == (True, True, False)
    gone(claude)
    canceled(recorder)


WAITING = """
import signal, threading
from llm_gateway.channel import Channel

class Slow:
    def __reduce__(self):
        return time.sleep, (1.0,)

channel, told = Channel(in_memory=0), []
channel.put([1], 1)
channel.put([Slow()], 1)

def handler(number, frame):
    writer = threading.Thread(target=channel.put, args=([2], 1))
    writer.start()
    writer.join(5)
    told.append(writer.is_alive())

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.5)
got = [channel.get(), channel.get(), channel.get()]
print(json.dumps([told, got]))
"""


def test_a_signal_amid_reading_may_wait_for_the_writer(llm: Llm) -> None:
    """The handler ends the run, whose thread still hands over what the CLI says: no dead-lock."""
    assert gateway(llm, WAITING) == [[False], [[1], [None], [2]]]


def test_a_fork_of_a_program_does_not_end_its_runs(llm: Llm, claude: FakeCli) -> None:
    """The copy's exit handlers find runs that are not its own."""
    claude.does(init(), says("half "), {"sleep": 1}, says("done", start=False), ended("half done"))
    code = """
run = ask(request())
events = iter(run)
next(events), next(events)
child = os.fork()
if not child:
    sys.exit(7)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps([status, [type(event).__name__ for event in events][-1]]))
"""
    assert gateway(llm, code) == [7, "Done"]


MANY = """
import asyncio, concurrent.futures, threading

def begun():
    with open(sys.argv[1]) as file:
        return file.read().count("begun")

async def read(run):
    async for event in run:
        pass

async def main():
    pool = concurrent.futures.ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(pool)
    tasks = [asyncio.create_task(read(ask(request(f"task {n}")))) for n in range(4)]
    while begun() < 4:
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

asyncio.run(main())
for n in range(4):
    threading.Thread(target=told, args=(ask(request(f"thread {n}")),), daemon=True).start()
while begun() < 8:
    time.sleep(0.05)
print(json.dumps(None))
"""


def test_many_runs_that_end_at_once_are_asked_at_once(
    llm: Llm, claude: FakeCli, tmp_path: Path
) -> None:
    """Tasks that are canceled, then the end of the program: none waits for another's tree."""
    log = tmp_path / "log"
    log.touch()
    ends = f"trap 'echo asked >> {log}; sleep 1; echo ended >> {log}; exit' INT"
    waits = f"echo begun >> {log}; while :; do sleep 0.05; done"
    claude.path.write_text(f"#!/bin/sh\n{ends}\n{waits}\n")
    gateway(llm, MANY, str(log))
    told = [line for line in log.read_text().split() if line != "begun"]
    assert told == [word for _ in range(2) for word in ("asked", "ended") for _ in range(4)]
