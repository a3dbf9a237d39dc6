"""Programs that fork after they have used the gateway, or while they do: multiprocessing does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fakes.claude import answer, ended, init, says
from tests.fakes.cli import FakeCli
from tests.harness import PROGRAM, Llm, Recorder
from tests.process.torture import gateway

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="forks of threads abort there")

FORK = """
import contextlib, signal, threading

@contextlib.contextmanager
def fork():
    child = os.fork()
    if not child:
        time.sleep(100)  # longer than anybody waits for a session
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""


def test_a_fork_keeps_no_session_busy(llm: Llm, claude: FakeCli) -> None:
    """It has a copy of the lock that its program held when it forked."""
    claude.does(init(), {"sleep": 0.5}, says("ok"), ended("ok"))
    code = """
first = [event for event in ask(request("one"))][-1].reply.session_id
run = ask(request("two", session_id=first))
events = iter(run)
next(events)
with fork():
    list(events)
    *_, done = ask(request("three", session_id=first))
    print(json.dumps(done.reply.session_id == first))
"""
    assert gateway(llm, FORK + code) is True
    assert [call.prompt for call in claude.calls] == ["one", "two", "three"]


def test_a_fork_keeps_no_input_open(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """The CLI reads to the end of its prompt, which the fork would never close."""
    claude.does(answer("ok"))
    late, began = tmp_path / "late", tmp_path / "began"
    late.write_text(f'#!/bin/sh\n: > {began}\nsleep 0.5\nexec {claude.path} "$@"\n')
    late.chmod(0o755)
    code = """
run = ask(request("x" * 300_000, timeout=20))
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
with fork():
    print(json.dumps(told(run)))
"""
    found = gateway(llm, FORK + code, str(began), env={"LLM_GATEWAY_CLAUDE_CLI": str(late)})
    assert found["answer"] == "ok", found


def test_a_fork_that_outlives_its_program_is_recorded(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """SQLite takes its parent's locks for its own; others would remove the log that it writes."""
    claude.does(answer("ok"))
    code = """
import subprocess
list(ask(request("program")))
gone, here = os.pipe()
if os.fork():
    sys.exit(0)
os.close(here)
list(ask(request("fork")))
os.read(gone, 1)  # its program has ended
for prompt in ("one", "two"):
    subprocess.run([*sys.argv[1:], prompt], check=True, capture_output=True)
    list(ask(request("fork again, after " + prompt)))
print(json.dumps(None))
"""
    gateway(llm, code, PROGRAM, "-m", "gateway-claude")
    assert [row["prompt"] for row in recorder.requests] == [
        *("program", "fork", "one", "fork again, after one", "two", "fork again, after two")
    ]


def test_a_fork_amid_writing_leaves_the_file_alone(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """It says so, and what it was asked is taken in by the next process."""
    claude.does(answer("ok"))
    code = """
from llm_gateway.store.recorder import open_recorder
writing = open_recorder(print)
if not os.fork():
    notices = [event.text for event in ask(request("fork")) if type(event).__name__ == "Notice"]
    print(json.dumps(notices), flush=True)
    os._exit(0)
os.wait()
writing.close()
"""
    (notice,) = gateway(llm, code)
    assert "forked from one that was writing there" in notice
    assert llm("-m", "gateway-claude", "next").answer == "ok\n"
    assert sorted(row["prompt"] for row in recorder.requests) == ["fork", "next"]
