"""What the torture tests share: floods, memory, trees, and the gateway without llm around it."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.fakes.claude import says
from tests.fakes.cli import FakeCli, alive, until
from tests.harness import Llm

__all__ = [
    "ASK",
    "STUBBORN",
    "gateway",
    "gone",
    "id_of",
    "numbered",
    "numbers",
    "peak",
    "session",
    "tree",
]

ASK = ("-m", "gateway-claude")
STUBBORN = ["SIGINT", "SIGTERM", "SIGHUP"]
MIB = 1024 * 1024

# One prompt without llm: what it gave, and what that cost this process.
GATEWAY = """
import json, os, sys, time
from llm_gateway.gateway import ask
from llm_gateway.ids import new_id
from llm_gateway.request import Options, Request

def request(prompt="x", **options):
    return Request(id=new_id(), provider="claude", prompt=prompt, options=Options(**options))

def told(run):
    counts = {}
    try:
        for event in run:
            kind = type(event).__name__
            counts[kind] = counts.get(kind, 0) + 1
            if kind == "Done":
                return {"answer": event.reply.text, "events": counts}
    except Exception as error:
        category = getattr(error, "category", None)
        return {"error": str(error), "category": category, "events": counts}

def memory(word):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith(word))

def descriptors():
    return len(os.listdir("/proc/self/fd"))
"""


def gateway(llm: Llm, code: str, *args: str, **how: Any) -> Any:
    """Run code that uses the gateway without llm, and return the JSON that it prints last."""
    ran = llm.python(GATEWAY + code, *args, **how)
    assert ran.code == 0, ran.err
    return json.loads(ran.out.splitlines()[-1])


def numbered(times: int, padding: int = 400) -> dict[str, Any]:
    """A flood of text: the numbers from 0, one an event, in lines of about ``padding`` bytes."""
    line = says("$N ", start=False)[0]["line"]
    return {"flood_text": {"line": {**line, "padding": "x" * padding}, "times": times}}


def numbers(text: bytes, times: int) -> bool:
    """Whether a text is those numbers, complete and in order."""
    found = text.split()
    return len(found) == times and all(int(word) == n for n, word in enumerate(found))


def tree(**more: Any) -> dict[str, Any]:
    """A process below the CLI that ignores signals, in a session of its own."""
    return {"grandchild": {"setsid": True, **more}}


def peak(process: subprocess.Popen[bytes], seconds: float = 90.0) -> int:
    """Wait for the end of a process and return the most memory that it ever had, in MiB."""
    limit, most = time.monotonic() + seconds, 0
    while process.poll() is None:
        assert time.monotonic() < limit, "still running"
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            most = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
        time.sleep(0.02)
    return most


def gone(claude: FakeCli, call: int = -1, *, below: bool = True) -> None:
    """Check that nothing of a call is left; what is just dying may finish."""
    made = claude.calls[call]
    pids = [made.pid, *([claude.grandchild(made.number)] if below else [])]
    until(lambda: not any(map(alive, pids)), 5, f"the end of {pids}")


def id_of(claude: FakeCli, call: int = -1) -> str:
    """The session that a call was made in."""
    made = claude.calls[call]
    found = made.value("--session-id") or made.value("--resume")
    assert found is not None
    return found


def session(claude: FakeCli, call: int = -1) -> str:
    """How a message names it."""
    return f"(session {id_of(claude, call)})"
