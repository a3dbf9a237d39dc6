"""Starts the worker of a job so that it outlives whoever asked: in a session of its own, adopted.

The asker's tree can be taken down as a whole (a coding agent's tool time-out does that); the
worker is no part of it when this returns.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from . import settings
from .process import RUN_MARK
from .store.connection import create_private, make_directory

__all__ = ["log_file", "start_worker"]

_LONGEST_LOG = 1024 * 1024
# The shell ends at once, which is what makes the worker nobody's child.
_DETACH = '"$@" </dev/null >/dev/null & exit 0'


def log_file() -> Path:
    """Where a worker says what it could not say in the recorder."""
    return settings.home() / "worker.log"


def start_worker(job_id: str) -> None:
    """Start it and return; it runs in our own directory, where nothing of a workspace is imported.

    :raises OSError: where it cannot be started.
    """
    home = settings.home()
    make_directory(home)
    env = _environment()
    log = create_private(log_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with suppress(OSError):
            if os.fstat(log).st_size > _LONGEST_LOG:
                os.ftruncate(log, 0)
        argv = [sys.executable, "-m", "llm_gateway.worker", job_id]
        done = subprocess.run(
            ["/bin/sh", "-c", _DETACH, "sh", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=home,
            env=env,
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(log)
    if done.returncode:
        raise OSError(f"/bin/sh ended with status {done.returncode}")


def _environment() -> dict[str, str]:
    """This process's own; what it says relative to here is said in full."""
    # A walk over the processes that a gateway run marked must not find a job of its own.
    env = {name: value for name, value in os.environ.items() if name != RUN_MARK}
    if "LLM_GATEWAY_HOME" in env:
        env["LLM_GATEWAY_HOME"] = str(settings.home())
    if settings.logs_db_is_named():
        env["LLM_GATEWAY_LOGS_DB"] = str(settings.logs_db() or "")
    for name, value in env.items():
        if re.fullmatch(r"LLM_GATEWAY_\w+_CLI", name) and "/" in value:  # else a command on PATH
            env[name] = os.path.abspath(os.path.expanduser(value.strip()))
    return env
