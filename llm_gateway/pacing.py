"""Of the runs of a process one at a time is on its way to its CLI.

Python runs one thread at a time: of a hundred runs that begin at once each would wait for all the
others at every step. In turn the first CLI starts at once, and the last one sooner too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["end_turn", "in_turn"]

PATIENCE = 2.0  # seconds after which a run begins all the same: this is courtesy, no lock
_turn = threading.Lock()
_own = threading.local()


@contextmanager
def in_turn() -> Iterator[None]:
    """Wait until it is this thread's turn, which ends with the block or with ``end_turn``."""
    turn = _turn
    _own.turn = turn if turn.acquire(timeout=PATIENCE) else None
    try:
        yield
    finally:
        end_turn()


def end_turn() -> None:
    """Let the next run begin: this thread's has its CLI, or is about to wait for something else."""
    turn: threading.Lock | None = getattr(_own, "turn", None)
    if turn is not None:
        _own.turn = None
        turn.release()


def _after_fork() -> None:
    """The thread whose turn it was is not there to end it."""
    global _turn
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
