"""Who runs a job, told so that another process can say for certain whether it still lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from ..proctree import start_time
from ..records import record

__all__ = ["Owner", "lives", "of_row", "of_text", "this_process"]


@record(frozen=True, slots=True)
class Owner:
    """A process, by what no later process on any machine shares with it."""

    host: str
    boot_id: str | None
    pid_ns: str | None
    pid: int
    pid_start: int | None

    @property
    def text(self) -> str:
        """One string that ``of_text`` reads."""
        parts = (self.host, self.boot_id, self.pid_ns, self.pid, self.pid_start)
        return "|".join("" if part is None else str(part) for part in parts)


def this_process() -> Owner:
    """The process that asks."""
    return _process(os.getpid())


@lru_cache(maxsize=1)
def _process(pid: int) -> Owner:
    return Owner(os.uname().nodename, _boot_id(), _pid_ns(), pid, start_time(pid))


def of_row(row: Mapping[str, Any]) -> Owner | None:
    """The owner that a job's row names; None where nobody has taken the job yet."""
    if row["owner_pid"] is None:
        return None
    return Owner(
        row["owner_host"] or "",
        row["owner_boot_id"],
        row["owner_pid_ns"],
        row["owner_pid"],
        row["owner_pid_start"],
    )


def of_text(text: str | None) -> Owner | None:
    """The process that ``text`` names; None where it names none."""
    parts = (text or "").split("|")
    if len(parts) != 5 or not parts[3].isdigit():
        return None
    host, boot_id, pid_ns, pid, started = parts
    return Owner(host, boot_id or None, pid_ns or None, int(pid), int(started) if started else None)


def lives(owner: Owner) -> bool | None:
    """Whether that very process runs; a zombie does not. None where it cannot be seen from here."""
    boot_id = _boot_id()
    if not boot_id or owner.boot_id != boot_id:  # else it is here, whatever this is called by now
        if owner.host != os.uname().nodename:
            return None
        if owner.boot_id and boot_id:
            return False
    if owner.pid_ns != _pid_ns():
        return None
    started = start_time(owner.pid)
    return started is not None and owner.pid_start in (None, started)


@cache
def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip().decode()
    except OSError:
        return None


@cache
def _pid_ns() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
