"""Puts the fake CLI on a PATH, tells it what to do and reads what it got."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Call", "FakeCli", "alive", "until"]

SOURCE = Path(__file__).with_name("fake_cli.py")
MENTIONS = "# This CLI knows CLAUDE_CODE_DISABLE_FILE_MENTIONS.\n"


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def until(true: Any, seconds: float = 60.0, what: str = "") -> Any:
    """Wait until a function returns something true, and return that."""
    limit = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > limit:
            raise AssertionError(f"did not happen within {seconds:g} s: {what or true}")
        time.sleep(0.01)
    return found


@dataclass(frozen=True)
class Call:
    """What one call of the fake got. ``stdin`` is None where it never read; ``files`` are those
    that argv names, with their text and mode as they were then; ``ignored`` are the signals that it
    was started to ignore."""

    number: int
    argv: list[str]
    stdin: str | None
    env: dict[str, str]
    cwd: str
    pid: int
    signals: list[str]
    files: dict[str, dict[str, Any]]
    began: float
    ended: float | None
    ignored: list[str]
    seen: dict[str, Any] | None = None

    def value(self, flag: str) -> str | None:
        """What follows a flag; None where it is not there."""
        return self.argv[self.argv.index(flag) + 1] if flag in self.argv else None

    def values(self, flag: str) -> list[str]:
        """What follows each occurrence of a flag."""
        return [b for a, b in zip(self.argv, self.argv[1:], strict=False) if a == flag]

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content blocks of claude's one input line."""
        assert self.stdin is not None and self.stdin.endswith("\n")
        assert self.stdin.count("\n") == 1
        blocks: list[dict[str, Any]] = json.loads(self.stdin)["message"]["content"]
        return blocks

    @property
    def prompt(self) -> str:
        """The text of those blocks."""
        return "".join(b["text"] for b in self.blocks if b["type"] == "text")


class FakeCli:
    """One vendor's CLI on PATH. Until it is told otherwise it keeps sessions and says ``ok``."""

    def __init__(self, folder: Path, name: str, *, knows_mentions: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name, self.path = folder, name, folder / name
        source = SOURCE.read_text()
        self.path.write_text(
            f"#!{sys.executable} -IS\n{MENTIONS if knows_mentions else ''}{source}"
        )
        self.path.chmod(0o755)

    def does(self, *steps: object, **scenario: Any) -> None:
        """Do these steps at every call; see `fake_cli` for ``scenario``."""
        self.in_turn({"steps": steps, "sessions": True, **scenario})

    def in_turn(self, *scenarios: dict[str, Any]) -> None:
        """Follow one scenario a call; the last one from then on."""
        told = [{**s, "steps": _flat(s.get("steps", ()))} for s in scenarios]
        path = self.folder / f"{self.name}.scenario.json"
        path.write_text(json.dumps(told))

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order in which they began."""
        found = []
        for path in sorted((self.folder / "calls").glob(f"{self.name}-*.json")):
            with suppress(ValueError):  # being written
                data = json.loads(path.read_text(errors="surrogateescape"))
                data = {"ended": None, **data}
                data.pop("path", None)
                found.append(Call(**data))
        return found

    @property
    def call(self) -> Call:
        """The only call."""
        (only,) = self.calls
        return only

    def wait_for_call(self, number: int = 1) -> Call:
        """Wait until it was called that often."""
        until(lambda: len(self.calls) >= number, what=f"call {number} of {self.name}")
        return self.calls[number - 1]

    def grandchild(self, call: int = 1) -> int:
        """The pid of the process that a call left below it."""
        path = self.folder / "calls" / f"grandchild-{call:03}"
        until(path.exists, what="a grandchild")
        return int(path.read_text())

    def forget_sessions(self) -> None:
        """Lose every session, as a vendor that cleans up does."""
        for path in (self.folder / "sessions").iterdir():
            path.unlink()

    def check(self) -> None:
        """Fail where a scenario was wrong."""
        for path in self.folder.glob(f"calls/{self.name}-*.crash"):
            raise AssertionError(path.read_text())

    def kill_left(self) -> list[int]:
        """End what is left of every call and return the pids that were."""
        pids = [call.pid for call in self.calls]
        pids += [int(p.read_text()) for p in (self.folder / "calls").glob("grandchild-???")]
        left = [pid for pid in pids if alive(pid) and self._ours(pid)]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    def _ours(self, pid: int) -> bool:
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            return str(self.path).encode() in line or line.startswith(b"sleep\0")
        return False


def _flat(steps: object) -> list[Any]:
    if isinstance(steps, (list, tuple)):
        return [step for part in steps for step in _flat(part)]
    return [steps]
