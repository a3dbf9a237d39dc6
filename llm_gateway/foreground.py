"""What a run needs when llm's own command is the process: signals, a reader that goes away.

As a library none of this happens: the process belongs to somebody else.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .request import Request

__all__ = [
    "Taken",
    "ends_at_once",
    "hand_over",
    "is_llm_command",
    "requests_are_taken",
    "signals_end",
    "stdout_gone",
]

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


_WRITTEN = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
_TAKES = "llm_gateway.takes_requests"


class Taken(BaseException):
    """Carries a request out of llm's own command to the one that wanted nothing but the request.

    No ``Exception``, because llm turns those into sentences.
    """

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


def requests_are_taken() -> None:
    """From now on this command wants requests to be made and not to be run."""
    import click

    click.get_current_context().meta[_TAKES] = True


def hand_over(request: Request) -> None:
    """Give a request to the command that takes it; return where there is none."""
    import click

    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_TAKES):
        raise Taken(request)


def is_llm_command() -> bool:
    """Whether this process is ``llm`` itself, and this its main thread."""
    import click

    main = threading.current_thread() is threading.main_thread()
    return main and click.get_current_context(silent=True) is not None


@cache
def ends_at_once() -> None:
    """Leave to the system, when this process ends, what it has in memory.

    Python would look at each of llm's hundred thousands of objects once more, in search of cycles
    of garbage: that takes longer than a prompt does here. Exit handlers run as ever, and what was
    written to files is in them. Only for a process that is ours, or llm's own command.
    """
    atexit.register(_leave_memory)


def _leave_memory() -> None:
    import gc

    for one in gc.get_objects():
        if type(one) in _WRITTEN:  # nobody closed it, and nobody is going to
            with suppress(OSError, ValueError):
                one.flush()
    if hasattr(gc, "freeze"):  # PyPy has no need of it
        gc.freeze()


@contextmanager
def signals_end(close: Callable[[], None]) -> Iterator[None]:
    """While it holds, SIGTERM, SIGHUP and SIGQUIT ``close`` what runs, then do what they did."""
    before = {number: signal.getsignal(number) for number in ENDING}

    def end(number: int, frame: FrameType | None) -> None:
        try:
            close()
        finally:
            signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def stdout_gone() -> bool:
    """Whether nobody can read our stdout any more, which else only a write would tell."""
    try:
        watch = select.poll()
        watch.register(sys.stdout.fileno(), 0)
        return bool(watch.poll(0))
    except (AttributeError, OSError, ValueError):
        return False
