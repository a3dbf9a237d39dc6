"""Processes by pid *and* start time, so that a number that was given away is never signalled."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

from .records import record

__all__ = [
    "Process",
    "adopt_orphans",
    "adopted",
    "alive",
    "descendants",
    "is_stopped",
    "marked",
    "outside",
    "send",
    "signal_all",
    "start_time",
    "stop_group",
]

PR_SET_CHILD_SUBREAPER = 36


@record(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    started: int


def start_time(pid: int) -> int | None:
    """Return when a process started, in the system's own unit; None when it is gone or dead."""
    row = _table_row(pid)
    return None if row is None else row[1]


def alive(process: Process) -> bool:
    """Return whether that very process still runs; a zombie does not."""
    return start_time(process.pid) == process.started


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, as Ctrl-Z does; False where that cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return False


def send(process: Process, number: int) -> None:
    """Signal a process if it is still the one that was meant."""
    if alive(process):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def descendants(pid: int) -> list[Process]:
    """Return the process and everything below it, whatever session or group it moved to."""
    table = _table()
    children: dict[int, list[int]] = {}
    for child, (parent, _) in table.items():
        children.setdefault(parent, []).append(child)
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        if current in table:
            found.append(Process(current, table[current][1]))
        todo += children.get(current, [])
    return found


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants orphan, so that none escapes (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(ImportError, AttributeError, OSError):  # some builds of Python have no ctypes
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def adopted(since: int, but: Iterable[int]) -> list[Process]:
    """Return what became a child of ours after ``since``, with all below it, without ``but``.

    Without workers as well: what an agent submitted is a job of its own.
    """
    spared = set(but)
    table = _table()
    roots = [
        pid
        for pid, (parent, started) in table.items()
        if parent == os.getpid() and started >= since and pid not in spared and not _works(pid)
    ]
    return [process for pid in roots for process in descendants(pid)]


def _works(pid: int) -> bool:
    """Whether a process is the worker of a job, or the shell that is about to become it."""
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"\0-m\0llm_gateway.worker\0" in file.read()
    return False


def marked(mark: str) -> list[Process]:
    """Return the processes that were started with ``mark`` in their environment (Linux only).

    It finds what left the tree: a tool's child that was orphaned and adopted by init.
    """
    needle, found = mark.encode(), []
    for pid in _proc_pids():
        with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if needle in file.read() and (started := start_time(pid)):
                found.append(Process(pid, started))
    return found


def outside(group: int, processes: Iterable[Process]) -> list[Process]:
    """Return those that a signal to the process group does not reach."""
    return [process for process in processes if _group_of(process.pid) != group]


def signal_all(processes: Iterable[Process], number: int) -> None:
    """Signal each of them that still runs."""
    for process in processes:
        send(process, number)


def stop_group(pid: int, number: int) -> None:
    """Signal a process group that we made and whose leader has not been reaped yet."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _proc_pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _table() -> dict[int, tuple[int, int]]:
    """Return pid → (parent, start time) of everything that is not a zombie."""
    if not sys.platform.startswith("linux"):
        return _table_of_ps([])
    rows = ((pid, _table_row(pid)) for pid in _proc_pids())
    return {pid: row for pid, row in rows if row is not None}


def _table_row(pid: int) -> tuple[int, int] | None:
    if not sys.platform.startswith("linux"):
        return _table_of_ps(["-p", str(pid)]).get(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name is in parentheses and may hold some itself.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[1]), int(fields[19])


def _table_of_ps(which: list[str]) -> dict[int, tuple[int, int]]:
    import subprocess

    environ = {**os.environ, "LC_ALL": "C"}
    argv = ["ps", *(which or ["-A"]), "-o", "pid=,ppid=,stat=,lstart="]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    table = {}
    for line in done.stdout.splitlines():
        pid, parent, state, started = line.split(None, 3)
        if not state.startswith("Z"):
            moment = time.mktime(time.strptime(started.strip(), "%a %b %d %H:%M:%S %Y"))
            table[int(pid)] = (int(parent), int(moment))
    return table
