"""Waits for llm's own log where llm would give up.

llm reads before it writes in one transaction. Where another process has written in between, SQLite
refuses that at once, whatever its time-out. Of twenty commands that get the answer of one job at
the same moment, most would end in a traceback once they have shown it.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

__all__ = ["logs_patiently", "patient"]

PATIENCE = 30.0
_FIRST, _LONGEST = 0.01, 0.2  # seconds between two tries, at most


def logs_patiently(response: Any) -> None:
    """Have llm's response wait for its log; what fails otherwise fails as ever."""
    response.log_to_db = patient(response.log_to_db)
    if hasattr(response, "to_sync_response"):
        response.to_sync_response = _patient_too(response.to_sync_response)


def patient(log: Callable[..., Any]) -> Callable[..., Any]:
    """The same, tried again while the log is locked; a try that failed has left nothing there."""

    @wraps(log)
    def logged(*args: Any) -> Any:
        until, pause = time.monotonic() + PATIENCE, _FIRST
        while True:
            try:
                return log(*args)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, _LONGEST)

    return logged


def _patient_too(make: Callable[[], Any]) -> Callable[[], Any]:
    """llm logs an async response as the sync one that it makes of it."""

    @wraps(make)
    async def made() -> Any:
        response = await make()
        logs_patiently(response)
        return response

    return made
