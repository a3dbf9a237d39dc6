"""Children end with the process that runs them, however that one ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.cli import alive, until

OWNER = """
import json, os, subprocess, sys
from llm_gateway import leash
children = [
    subprocess.Popen(["sleep", "900"], start_new_session=True, stdout=subprocess.DEVNULL)
    for _ in range(3)
]
pids = [child.pid for child in children]
exec(sys.argv[1])
print(json.dumps({"pids": pids, "shell": leash.shell()}), flush=True)
sys.stdin.read()
"""
Started = tuple["subprocess.Popen[str]", dict[str, Any]]


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[[str], Started]]:
    """Starts three children in a process that then does what it is told; none is left behind."""
    started: list[subprocess.Popen[str]] = []
    pids: list[int] = []

    def start(does: str) -> Started:
        argv = [sys.executable, "-c", OWNER, does]
        process = subprocess.Popen(argv, stdin=-1, stdout=-1, text=True, cwd=tmp_path)
        started.append(process)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        pids.extend(told["pids"])
        return process, told

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(30)


def test_one_shell_ends_all_that_is_held_and_nothing_else(
    owner: Callable[[str], Started],
) -> None:
    """What was let go has a number that may be somebody else's by now."""
    process, told = owner("[leash.hold(p) for p in pids]; leash.let_go(pids[1])")
    first, free, last = told["pids"]
    killed(process)
    until(lambda: not alive(first) and not alive(last), 30, "the end of what was held")
    until(lambda: not alive(told["shell"]), 30, "the end of the shell")
    assert alive(free)


def test_the_shell_goes_with_the_last_child(owner: Callable[[str], Started]) -> None:
    """A process that runs nothing has no process beside it, and the next child gets a new one."""
    process, told = owner(
        "leash.hold(pids[0]); first = leash.shell(); leash.let_go(pids[0]);"
        "assert leash.shell() is None and not os.path.exists(f'/proc/{first}');"
        "leash.hold(pids[1])"
    )
    killed(process)
    until(lambda: not alive(told["pids"][1]), 30, "the end of what was held")
    assert alive(told["pids"][0])


def test_a_shell_that_was_killed_is_replaced(owner: Callable[[str], Started]) -> None:
    """By one that holds what the first one held."""
    process, told = owner(
        "import signal, time;"
        "leash.hold(pids[0]); os.kill(leash.shell(), signal.SIGKILL);"
        "os.waitid(os.P_PID, leash.shell(), os.WEXITED | os.WNOWAIT);"
        "leash.hold(pids[1])"
    )
    killed(process)
    until(lambda: not any(map(alive, told["pids"][:2])), 30, "the end of what was held")


def test_a_fork_does_not_hold_the_leash(owner: Callable[[str], Started]) -> None:
    """It lives on when its parent is killed, and the children do not."""
    process, told = owner(
        "leash.hold(pids[0]); pids.append(os.fork());"
        "pids[-1] or (os.close(1), sys.stdin.read(), os._exit(0))"
    )
    killed(process)
    until(lambda: not alive(told["pids"][0]), 30, "the end of what was held")
