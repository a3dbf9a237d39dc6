"""Proves that the suite touches nothing of its user's and leaves no process behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

__all__ = ["MARK", "begin", "changes", "end", "end_marked", "left_out", "places", "snapshot"]

# The prefix is one that the gateway passes on to the CLI, so that all of a test's tree has it.
MARK = "LLM_GATEWAY_TEST"
Seen = dict[str, tuple[int, int]]
_seen = pytest.StashKey[dict[Path, Seen]]()


def places() -> dict[str, Path]:
    """The directories and files of a real user that these programs keep, by who keeps them."""
    home, env = Path.home(), os.environ
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        "gateway": Path(env.get("LLM_GATEWAY_HOME") or home / ".llm-cli-gateway"),
        "llm": Path(env.get("LLM_USER_PATH") or config / "io.datasette.llm"),
        "claude": Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude"),
        "claude's file": home / ".claude.json",
        "codex": Path(env.get("CODEX_HOME") or home / ".codex"),
        "gemini": home / ".gemini",
        "grok": Path(env.get("GROK_HOME") or home / ".grok"),
    }


def snapshot(place: Path) -> Seen:
    """Name, size and time of modification of everything at a place; empty if there is nothing."""
    seen: Seen = {}
    for path in [place, *_below(place)]:
        with suppress(OSError):
            stat = path.lstat()
            size = 0 if path.is_dir() else stat.st_size
            seen[str(path)] = (size, stat.st_mtime_ns)
    return seen


def _below(place: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(place):
        yield from (Path(folder, name) for name in (*names, *files))


def changes(before: dict[Path, Seen]) -> list[str]:
    """What is not as it was, path by path."""
    found = set()
    for place, seen in before.items():
        now = snapshot(place)
        found |= {path for path in {*seen, *now} if seen.get(path) != now.get(path)}
    return sorted(found)


def left_out() -> list[str]:
    """Whose places are not watched, because that CLI of the user's is at work in them now."""
    running = set(_names_of_processes(str(Path.home())))
    return sorted(who for who in ("claude", "codex", "gemini", "grok") if who in running)


def begin(session: pytest.Session) -> None:
    """Note how the user's places look, in the process that runs the session."""
    if _is_worker(session):
        return
    busy = set(left_out())
    watched = [place for who, place in places().items() if who.split("'")[0] not in busy]
    session.config.stash[_seen] = {place: snapshot(place) for place in watched}


def end(session: pytest.Session) -> None:
    """Fail the session if they look different."""
    before = session.config.stash.get(_seen, None)
    if before is None or not (changed := changes(before)):
        return
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line("")
        reporter.write_line("ERROR: the suite changed what belongs to its user:", red=True)
        for path in changed:
            reporter.write_line(f"  {path}", red=True)


def _is_worker(session: pytest.Session) -> bool:
    return hasattr(session.config, "workerinput")


def end_marked(mark: str, patience: float = 2.0) -> list[str]:
    """End the processes that have ``mark`` in their environment; return what they were.

    A process that is just ending is waited for.
    """
    limit = time.monotonic() + patience
    while (found := list(_marked(mark))) and time.monotonic() < limit:
        time.sleep(0.02)
    for pid, _ in found:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return [f"{pid} {line}" for pid, line in found]


def _marked(mark: str) -> Iterator[tuple[int, str]]:
    needle = mark.encode() + b"\0"
    for folder in _processes():
        with suppress(OSError):
            if needle in (folder / "environ").read_bytes() and not _is_zombie(folder):
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                yield int(folder.name), line.decode(errors="replace")


def _is_zombie(folder: Path) -> bool:
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")


def _names_of_processes(home: str) -> Iterator[str]:
    """The names of what runs with that home."""
    needle = f"HOME={home}".encode()
    for folder in _processes():
        with suppress(OSError):
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                yield (folder / "comm").read_text().strip()


def _processes() -> Iterator[Path]:
    with suppress(OSError):
        yield from (Path("/proc", name) for name in os.listdir("/proc") if name.isdigit())
