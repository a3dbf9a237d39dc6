"""How the processes of a running job are doing, told by the operating system."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

from .proctree import Process, alive, descendants
from .records import record

__all__ = ["Health", "health"]

SAMPLE_SECONDS = 0.2


@record(frozen=True, slots=True)
class Health:
    """A process with everything below it. ``cpu_percent`` is of one core, just now."""

    alive: bool
    children: int = 0
    cpu_seconds: float | None = None
    cpu_percent: float | None = None
    memory_bytes: int | None = None


def health(process: Process) -> Health:
    """Look twice, a moment apart."""
    if not alive(process):
        return Health(False)
    tree = descendants(process.pid)
    before = _used(tree)
    time.sleep(SAMPLE_SECONDS)
    after = _used(tree)
    both = before.keys() & after.keys()
    busy = sum(after[pid][0] - before[pid][0] for pid in both)
    return Health(
        alive=alive(process),
        children=len(tree) - 1,
        cpu_seconds=round(sum(cpu for cpu, _ in after.values()), 2),
        cpu_percent=round(100 * busy / SAMPLE_SECONDS, 1),
        memory_bytes=sum(memory for _, memory in after.values()),
    )


def _used(tree: Iterable[Process]) -> dict[int, tuple[float, int]]:
    """pid → (CPU seconds so far, resident bytes)."""
    pids = [process.pid for process in tree]
    if not sys.platform.startswith("linux"):
        return _used_of_ps(pids)
    found = {}
    for pid in pids:
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            memory = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
            found[pid] = (ticks / os.sysconf("SC_CLK_TCK"), memory)
    return found


def _used_of_ps(pids: list[int]) -> dict[int, tuple[float, int]]:
    import subprocess

    argv = ["ps", "-o", "pid=,time=,rss=", "-p", ",".join(map(str, pids))]
    environ = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    found = {}
    for line in done.stdout.splitlines():
        pid, spent, kib = line.split()
        found[int(pid)] = (_clock(spent), int(kib) * 1024)
    return found


def _clock(text: str) -> float:
    """Seconds of ``[[dd-]hh:]mm:ss[.cc]``."""
    days, _, rest = text.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86400 * int(days or 0)
