"""Descriptors that no fork of this process is to hold.

A fork has a copy of every one. A lock that its parent lets go of would stay taken, and a CLI would
wait for the end of an input that its parent has closed, for as long as the fork lives.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["close", "forget", "held_off", "own"]

_own: set[int] = set()
_lock = threading.RLock()


@contextmanager
def held_off() -> Iterator[None]:
    """No fork begins meanwhile, so that what is opened is our own before there is a copy of it."""
    with _lock:
        yield


def own(descriptor: int) -> int:
    """The same descriptor, which no later fork has."""
    with _lock:
        _own.add(descriptor)
    return descriptor


def forget(descriptor: int) -> None:
    """It is about to be closed, and its number to be given away."""
    with _lock:
        _own.discard(descriptor)


def close(descriptor: int) -> None:
    """Close it."""
    forget(descriptor)
    os.close(descriptor)


def _after_fork() -> None:
    """Put nothing in the place of each: there may be objects that still have its number."""
    _lock.release()
    if _own:
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in _own:
            os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
        _own.clear()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork)
