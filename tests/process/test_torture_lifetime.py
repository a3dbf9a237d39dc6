"""Processes: trees that hide, numbers used again, zombies, and many runs in one program."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_gateway import proctree
from tests.fakes.claude import answer, init, says
from tests.fakes.cli import FakeCli, alive, until
from tests.harness import Llm
from tests.process.torture import ASK, gateway, gone, tree

HIDDEN: dict[str, dict[str, Any]] = {
    "in the group": {"setsid": False},
    "in a session of its own": {},
    "an orphan in a session of its own": {"orphan": True},
    "that orphan, without environment": {"orphan": True, "bare": True},
}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=list(HIDDEN))
def test_a_process_that_hides_is_found(llm: Llm, claude: FakeCli, hidden: dict[str, Any]) -> None:
    """It ignores signals to its group and to itself; the run's end is its end."""
    claude.does(init(), tree(**hidden), says("half"), {"hang": True})
    ran = llm(*ASK, "-o", "timeout", "1", "x", timeout=40)
    assert "was stopped after 1 s" in ran.error
    gone(claude)


@pytest.mark.parametrize(
    "hidden", [{"bare": True}, {"orphan": True}], ids=["without environment", "an orphan"]
)
def test_a_process_that_hides_from_a_library_is_found(
    llm: Llm, claude: FakeCli, hidden: dict[str, Any]
) -> None:
    """By its parent, or by the mark of the run: other programs do not become everybody's parent."""
    claude.does(init(), tree(**hidden), {"hang": True})
    outcome = gateway(llm, "print(json.dumps(told(ask(request(timeout=1)))))")
    assert outcome["category"] == "timeout"
    gone(claude)


OTHER = """
import subprocess, sys
other = subprocess.Popen(["sleep", "60"], stdin=-3, stdout=-3, stderr=-3, start_new_session=True)
print(other.pid, flush=True)
from llm.cli import cli
cli(sys.argv[1:])
"""


def test_other_children_of_llm_are_left_alone(llm: Llm, claude: FakeCli) -> None:
    """What another plugin started belongs to it, also where llm adopts orphans meanwhile."""
    claude.does(init(), tree(orphan=True, bare=True), {"hang": True})
    ran = llm.python(OTHER, *ASK, "-o", "timeout", "1", "x")
    other = int(ran.out.split()[0])
    try:
        assert "was stopped after 1 s" in ran.error
        gone(claude)
        assert alive(other)
    finally:
        os.kill(other, signal.SIGKILL)


# Numbers.


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_process_with_another_start_time_is_never_signalled() -> None:
    """The number alone is not the process that was meant."""
    with sleeper() as process:
        started = proctree.start_time(process.pid)
        assert started is not None
        for other in (started - 1, started + 1, 0):
            proctree.signal_all([proctree.Process(process.pid, other)], signal.SIGKILL)
            assert not proctree.alive(proctree.Process(process.pid, other))
        time.sleep(0.1)
        assert process.poll() is None
        proctree.send(proctree.Process(process.pid, started), signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL


@pytest.mark.skipif(
    not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK) or os.geteuid() != 0,
    reason="only root may choose the next process number",
)
def test_a_number_that_was_given_away_is_not_signalled() -> None:
    """A real second process under the number of one that was known and has ended."""
    with sleeper() as first:
        known = proctree.descendants(first.pid)
    time.sleep(0.02)  # start times are told in hundredths of a second
    for _ in range(50):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(first.pid - 1))
        with sleeper() as second:
            if second.pid == first.pid:
                proctree.signal_all(known, signal.SIGKILL)
                time.sleep(0.1)
                assert second.poll() is None and alive(second.pid)
                return
    pytest.skip("the system is too busy to give the same number twice")


def test_a_zombie_is_dead() -> None:
    """It has a number and a start time, and nothing to be waited for or signalled."""
    process = subprocess.Popen(["sleep", "60"])
    (known,) = proctree.descendants(process.pid)
    process.kill()
    until(lambda: not alive(process.pid), 5)
    assert Path(f"/proc/{process.pid}").exists()
    assert not proctree.alive(known)
    assert proctree.start_time(process.pid) is None
    assert proctree.descendants(process.pid) == []
    process.wait()


def test_a_zombie_below_the_cli_counts_as_gone(llm: Llm, claude: FakeCli) -> None:
    """A tool that ended and was never waited for by its parent: there is nothing to wait for."""
    claude.does(init(), {"zombie": True}, says("half"), {"hang": True})
    outcome = gateway(
        llm,
        """
from llm_gateway import process
run, ended = process.run, []
process.run = lambda *args, **how: ended.append(run(*args, **how)) or ended[-1]
outcome = told(ask(request(timeout=1)))
print(json.dumps([outcome["category"], ended[0].left]))
""",
    )
    assert outcome == ["timeout", []]
    gone(claude, below=False)


# Many.

MANY = """
import asyncio, llm, threading
from concurrent.futures import ThreadPoolExecutor

def settled():
    limit = time.monotonic() + 10
    while (threading.active_count() > 1 or descriptors() > before) and time.monotonic() < limit:
        time.sleep(0.05)
    return threading.active_count(), descriptors()

async def together(model):
    return await asyncio.gather(*(model.prompt(f"p{n}").text() for n in range(64)))

os.dup2(1, 77)  # one that children would inherit
llm.get_model("gateway-claude").prompt("p0").text()
before = descriptors()
answers = asyncio.run(together(llm.get_async_model("gateway-claude")))
told = [answers, *settled()]
model = llm.get_model("gateway-claude")
with ThreadPoolExecutor(64) as pool:
    answers = list(pool.map(lambda n: model.prompt(f"p{n}").text(), range(64)))
print(json.dumps([before, told, [answers, *settled()]]))
"""


def test_sixty_four_runs_at_once(llm: Llm, claude: FakeCli) -> None:
    """In an event loop, then in threads: each its own answer, no descriptor lost or inherited."""
    claude.does({"fds": True}, answer("A: $PROMPT"))
    before, *rounds = gateway(llm, MANY)
    for answers, threads, descriptors in rounds:
        assert answers == [f"A: p{n}" for n in range(64)]
        assert threads == 1 and descriptors <= before
    assert len(claude.calls) == 129
    assert all(call.seen == {"fds": [0, 1, 2], "leads": True} for call in claude.calls)


CROWD = """
import resource
from concurrent.futures import ThreadPoolExecutor

def one(number):
    try:
        return told(ask(request(f"p{number}")))
    except Exception as error:
        return {"error": str(error), "category": error.category}

one(0)
before = descriptors()
resource.setrlimit(resource.RLIMIT_NOFILE, (150, 4096))
with ThreadPoolExecutor(48) as pool:
    outcomes = list(pool.map(one, range(48)))
print(json.dumps([outcomes, one(0), descriptors() - before]))
"""


def test_more_runs_than_descriptors(llm: Llm, claude: FakeCli) -> None:
    """Each is answered or says what is missing; none leaves a process or a descriptor behind."""
    claude.does(answer("ok"), {"sleep": 0.2})
    outcomes, after, lost = gateway(llm, CROWD)
    failed = [outcome for outcome in outcomes if outcome.get("answer") != "ok"]
    # A CLI that was started may have no descriptor left for its own files, and then says nothing.
    kinds = {outcome["category"] for outcome in failed}
    assert "spawn" in kinds and kinds <= {"spawn", "protocol"}, failed
    assert after["answer"] == "ok"
    assert lost <= 0
    assert not [call.pid for call in claude.calls if alive(call.pid)]
