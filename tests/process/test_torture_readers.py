"""Readers that go away, pause, or are stopped together with llm."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import signal
import termios
import time
from pathlib import Path
from typing import IO

import pytest

from tests.fakes.claude import ended, init, message, says, thinks
from tests.fakes.cli import FakeCli, until
from tests.harness import Llm, Pty, Recorder, _own_terminal
from tests.process.torture import (
    ASK,
    gateway,
    gone,
    numbered,
    numbers,
    session,
    tree,
)


def shell(llm: Llm, script: str) -> tuple[str, str]:
    """What a pipeline of bash wrote; ``llm …`` is ``"$@"``."""
    argv = ["/bin/bash", "-c", script, "bash", *llm.program(*ASK, "x")]
    process = llm.popen(*argv)
    out, err = process.communicate(timeout=60)
    return out.decode(), err.decode()


def canceled(recorder: Recorder) -> None:
    row = recorder.request
    assert (row["status"], row["error_category"]) == ("canceled", "canceled")
    assert row["finished_at"] is not None


# Gone.


def test_a_reader_that_goes_away_while_text_flows(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """``| head -c 1``: the next write tells, the tree ends, what was said is recorded."""
    claude.does(init(), tree(), says("first "), numbered(5_000_000), {"hang": True})
    out, err = shell(llm, '"$@" | head -c 1; echo "/${PIPESTATUS[0]}"')
    assert out == "f/1\n"
    assert "Traceback" not in err and "Exception ignored" not in err
    assert session(claude) in err
    canceled(recorder)
    assert recorder.request["response"].startswith("first 00000000 ")
    gone(claude)


def test_a_reader_that_leaves_before_the_first_word(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """It goes before the CLI says a word, whose silence does not keep it alive."""
    claude.does(init(), tree(), {"hang": True})
    born = claude.folder / "calls" / "grandchild-001"
    out, err = shell(llm, f'"$@" | until [ -e "{born}" ]; do sleep 0.05; done')
    assert "whoever read the answer went away" in err and session(claude) in err
    assert out == "" and "Traceback" not in err
    canceled(recorder)
    gone(claude)


def test_a_terminal_that_goes_away(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """The window is closed while the agent is silent: the system says SIGHUP, the tree ends."""
    claude.does(init(), tree(orphan=True), says("half"), {"hang": True})
    screen = llm.pty(*ASK, "x")
    screen.wait_for("half")
    os.close(screen._master)
    assert screen.process.wait(20) == -signal.SIGHUP
    canceled(recorder)
    gone(claude)


def test_a_terminal_that_goes_away_under_nohup(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """Whoever ignores SIGHUP means it: the answer is finished."""
    gate, out = tmp_path / "gate", tmp_path / "answer"
    claude.does(init(), says("half "), {"wait_for": str(gate)}, message("done"), ended("done"))
    with out.open("wb") as file:
        process = llm.start(
            *ASK, "x", stdout=file, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
        )
        until(lambda: out.read_bytes() == b"half ", what="the first words")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        gate.touch()
        assert process.wait(30) == 0
    assert out.read_text() == "half \n\ndone\n"


def test_nowhere_to_write(llm: Llm, claude: FakeCli) -> None:
    """A full disk under stdout ends the run; a stdout that was closed before does not."""
    claude.does(init(), tree(), numbered(100), {"hang": True})
    _, err = shell(llm, '"$@" > /dev/full')
    assert "No space left on device" in err and "Traceback" not in err
    gone(claude)
    claude.does(message("fine"), ended("fine"))
    _, err = shell(llm, '"$@" >&-')
    assert "Traceback" not in err
    assert claude.calls[-1].ended is not None


# Paused.


def test_a_paused_reader_stops_nothing(
    llm: Llm, claude: FakeCli, recorder: Recorder, tmp_path: Path
) -> None:
    """Fifty megabytes wait for it: the CLI is done, the row too; then all arrives in order."""
    claude.does(init(), numbered(100_000), ended("the end"), {"touch": str(tmp_path / "done")})
    process = llm.start(*ASK, "-n", "x")
    until((tmp_path / "done").exists, 60, "the CLI is done")
    until(lambda: recorder.request["status"] == "completed", 30, "its row")
    assert process.poll() is None
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert numbers(out, 100_000)


PAUSED = """
import re, resource
if sys.argv[1]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
run = ask(request())
events = iter(run)
next(events)
while run._running.locked():
    time.sleep(0.05)
waited, found = memory("VmRSS"), []
for event in events:
    if type(event).__name__ == "Reasoning":
        found += map(int, re.findall(r"\\d+", event.text))
print(json.dumps([waited, found == list(range(12_500))]))
"""


@pytest.mark.parametrize("full", ["", "full"], ids=["room on disk", "a full disk"])
def test_what_waits_for_a_reader_is_on_disk(llm: Llm, claude: FakeCli, full: str) -> None:
    """Memory does not grow with it; where the disk is full it does, and nothing is lost either."""
    flood = {"flood_text": {"line": thinks("$N " + "x" * 4000)[0]["line"], "times": 12_500}}
    claude.does(init(), flood, message("fine"), ended("fine"))
    waited, complete = gateway(llm, PAUSED, full)
    assert complete
    assert waited > 50 if full else waited < 50, f"{waited} MiB"


@pytest.mark.parametrize(
    ("option", "category"), [("timeout", "timeout"), ("idle_timeout", "idle_timeout")]
)
def test_a_paused_reader_does_not_stop_the_clock(
    llm: Llm, claude: FakeCli, recorder: Recorder, option: str, category: str
) -> None:
    """Nobody reads, and yet what takes too long or falls silent is ended and recorded."""
    claude.does(init(), tree(), numbered(2000), {"hang": True})
    process = llm.start(*ASK, "-o", option, "2", "x")
    until(lambda: recorder.requests and recorder.request["finished_at"], 40, "the end in the row")
    assert process.poll() is None
    assert recorder.request["error_category"] == category
    gone(claude)
    out, err = process.communicate(timeout=30)
    assert numbers(out, 2000) and session(claude) in err.decode()


def test_ctrl_c_reaches_llm_while_nobody_reads(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """It is blocked in a write to a pager that shows its first page."""
    claude.does(init(), tree(), numbered(20_000), {"hang": True})
    process = llm.start(*ASK, "x")
    assert process.stdout is not None
    until(lambda: _is_full(process.stdout), what="a full pipe")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 1
    assert process.stderr is not None and b"Aborted!" in process.stderr.read()
    canceled(recorder)
    gone(claude)


def _is_full(pipe: IO[bytes]) -> bool:
    """Whether much is in a pipe and no more comes in."""
    sizes = [array.array("i", [0]), array.array("i", [0])]
    for size in sizes:
        fcntl.ioctl(pipe, termios.FIONREAD, size)
        time.sleep(0.3)
    return sizes[0] == sizes[1] and sizes[0][0] > 20_000


# Stopped.


@pytest.mark.parametrize("option", ["timeout", "idle_timeout"])
def test_time_in_which_llm_is_stopped_does_not_count(
    llm: Llm, claude: FakeCli, tmp_path: Path, option: str
) -> None:
    """A stopped process cannot listen, so the CLI was not silent, and not slow."""
    gate = tmp_path / "gate"
    claude.does(init(), says("half "), {"wait_for": str(gate)}, says("rest"), ended("fine"))
    process = llm.start(*ASK, "-o", option, "5", "x")
    assert process.stdout is not None and process.stdout.read(5) == b"half "
    process.send_signal(signal.SIGSTOP)
    time.sleep(6.5)
    process.send_signal(signal.SIGCONT)
    time.sleep(1)
    gate.touch()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert out.endswith(b"rest\n")


def test_ctrl_z_and_fg(llm: Llm, claude: FakeCli, recorder: Recorder, tmp_path: Path) -> None:
    """In a real shell: stopped, the agent works on, and fg shows what it said meanwhile."""
    gate, said = tmp_path / "gate", tmp_path / "said"
    claude.does(
        init(),
        says("half "),
        {"wait_for": str(gate)},
        says("meanwhile", start=False),
        {"touch": str(said)},
        {"sleep": 1},
        ended("half meanwhile"),
    )
    master, slave = pty.openpty()
    bash = llm.popen(
        *("/bin/bash", "--norc", "--noprofile", "-i"),
        env={"PS1": "$ "},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=_own_terminal,
    )
    os.close(slave)
    screen = Pty(bash, master)
    screen.type(" ".join(llm.program(*ASK, "x")) + "\n")
    screen.wait_for("half ")
    screen.type("\x1a")
    screen.wait_for("Stopped")
    gate.touch()
    until(said.exists, what="the agent works on")
    assert "meanwhile" not in screen.read()
    screen.type("fg\n")
    screen.wait_for("meanwhile")
    until(lambda: recorder.request["status"] == "completed", what="the end")
    screen.type("exit\n")
    assert screen.end() == 0
