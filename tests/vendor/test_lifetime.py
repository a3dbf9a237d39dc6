"""The real CLIs, ended while a tool of theirs runs: whatever it is that ends them, nothing is left.

The tool children of gemini and grok live in sessions of their own and outlive every signal to the
CLI's group; claude's outlive SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runner import PopenFunction, Runner
from vendors import VENDORS, Vendor

pytestmark = [pytest.mark.vendor, pytest.mark.timeout(240)]
SLEEP = "python3 -c 'import time; time.sleep(600)'"


def _codex(command: str) -> dict[str, str]:
    # Codex goes on without a command that takes longer than it was told to wait.
    arguments = json.dumps({"cmd": command, "yield_time_ms": 30_000})
    return {"input": f"text(await tools.exec_command({arguments}))"}


SHELLS: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "claude": lambda command: ("Bash", {"command": command}),
    "codex": lambda command: ("exec", _codex(command)),
    "gemini": lambda command: ("run_shell_command", {"command": command, "description": "wait"}),
    "grok": lambda command: ("run_terminal_command", {"command": command, "description": "wait"}),
}


@pytest.fixture(params=sorted(set(VENDORS) & set(SHELLS)))
def on(request: pytest.FixtureRequest, vendor: Callable[[str], Path]) -> Vendor:
    chosen = VENDORS[request.param]
    vendor(chosen.name)
    return chosen


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    limit = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < limit, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return found


def sleepers(runner: Runner) -> list[int]:
    """The processes of the tool that run in the namespace."""
    found = []
    for pid in runner.left():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"time.sleep(600)" in line and line.startswith(b"python3\0"):
            found.append(pid)
    return found


@pytest.fixture
def working(
    popen_llm: PopenFunction, runner: Runner, on: Vendor, repo: Path
) -> Callable[..., subprocess.Popen[bytes]]:
    """Start a prompt at full access whose tool sleeps, and wait until it does."""

    def start(*options: str) -> subprocess.Popen[bytes]:
        name, arguments = SHELLS[on.name](SLEEP)
        process = popen_llm(
            *("prompt", "-m", on.model, "-o", "access", "full", *options),
            f"MOCK:TOOL={name} {json.dumps(arguments)}\n",
            cwd=repo,
            env={"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1", "IS_SANDBOX": "1"},
            stdin=subprocess.DEVNULL,
        )
        until(lambda: sleepers(runner) or process.poll() is not None, 90, "a tool that sleeps")
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        return process

    return start


def row(runner: Runner) -> tuple[str, str]:
    conn = sqlite3.connect(runner.gateway_home / "logs.db")
    try:
        ((status, category),) = conn.execute("select status, error_category from requests")
    finally:
        conn.close()
    return status, category


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_tool_runs(
    working: Callable[..., subprocess.Popen[bytes]], runner: Runner, number: signal.Signals
) -> None:
    """Ctrl-C, kill, a closed terminal: the CLI, its tool and all between are gone with llm."""
    process = working()
    begun = time.monotonic()
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=40)
    assert process.returncode == (1 if number == signal.SIGINT else -number), err
    assert time.monotonic() - begun < 20
    until(lambda: not runner.left(), 5, f"the end of {runner.left()}")
    assert b"Traceback" not in err
    assert row(runner) == ("canceled", "canceled")


def test_a_time_out_while_a_tool_runs(
    working: Callable[..., subprocess.Popen[bytes]], runner: Runner
) -> None:
    """The clock ends the tree as a person would."""
    process = working("-o", "timeout", "25")
    _, err = process.communicate(timeout=80)
    assert process.returncode == 1 and b"was stopped after 25 s" in err, err
    until(lambda: not runner.left(), 5, f"the end of {runner.left()}")
    assert row(runner) == ("timed_out", "timeout")


def test_a_reader_that_goes_away_while_a_tool_runs(
    working: Callable[..., subprocess.Popen[bytes]], runner: Runner
) -> None:
    """The CLI says nothing for as long as the tool runs, and yet it is ended."""
    process = working()
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(40) == 1
    until(lambda: not runner.left(), 5, f"the end of {runner.left()}")
    assert row(runner) == ("canceled", "canceled")


def test_ctrl_c_twice_while_a_tool_runs(
    working: Callable[..., subprocess.Popen[bytes]], runner: Runner
) -> None:
    """SIGKILL at once, and what outlives the CLI's death is found as well."""
    process = working()
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.2)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=40)
    until(lambda: not runner.left(), 5, f"the end of {runner.left()}")
    assert row(runner) == ("canceled", "canceled")
