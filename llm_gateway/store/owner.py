"""Who runs a job, told so that another process can say for certain whether it still lives."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..proctree import start_time

__all__ = ["Owner", "this_process"]


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, by what no later process on any machine shares with it."""

    host: str
    boot_id: str | None
    pid_ns: str | None
    pid: int
    pid_start: int | None


def this_process() -> Owner:
    """The process that asks."""
    return Owner(os.uname().nodename, _boot_id(), _pid_ns(), os.getpid(), start_time(os.getpid()))


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip().decode()
    except OSError:
        return None


def _pid_ns() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
