"""From the thread that owns a child to whoever reads its events, at the reader's own pace.

A reader that stops (a pager, Ctrl-Z) must not stop the child's pipes, time-outs or recording, so
the writer never waits: what does not fit in memory goes to an unnamed temporary file. The two share
a queue and no lock, because a signal handler may interrupt the reader anywhere and then wait for
the writer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any

from .records import record

__all__ = ["Channel"]

IN_MEMORY = 4 * 1024 * 1024
LOOK_UP = 0.5


@record(slots=True)
class _Spilled:
    """Where a batch is in the temporary file."""

    start: int
    length: int


@record(slots=True)
class _End:
    error: BaseException | None


class Channel:
    """A queue of batches with one writer and one reader; ``weight`` is a batch's rough size."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._queue: SimpleQueue[tuple[list[Any] | _Spilled | _End, int]] = SimpleQueue()
        self._limit = in_memory
        # What was put and what was taken: each number is changed by one side only.
        self._put = self._taken = 0
        self._put_spilled = self._taken_spilled = 0
        self._spill: IO[bytes] | None = None
        self._size = 0
        self._end: _End | None = None
        self._wake: Callable[[], object] | None = None

    def put(self, batch: list[Any], weight: int = 0) -> None:
        """Hand over a batch; never waits for the reader."""
        spilled = self._written(batch) if self._held > self._limit else None
        if spilled is None:
            self._put += weight
            self._send(batch, weight)
        else:
            self._put_spilled += 1
            self._send(spilled, 0)

    def close(self, error: BaseException | None = None) -> None:
        """Say that nothing follows; the reader gets ``error`` after the last batch."""
        self._send(_End(error), 0)

    def get(self) -> list[Any] | None:
        """Wait for the next batch; None at the end."""
        return self._opened(*(self._next() if self._end is None else (self._end, 0)))

    def _next(self) -> tuple[list[Any] | _Spilled | _End, int]:
        """Look up now and then: a Ctrl-C that another thread was given wakes nobody here."""
        while True:
            with suppress(Empty):
                return self._queue.get(timeout=LOOK_UP)

    async def aget(self) -> list[Any] | None:
        """Wait for the next batch without blocking the event loop; None at the end."""
        import asyncio

        loop, news = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(news.set)
        if self._queue.empty() and self._end is None:
            await news.wait()
        self._wake = None
        return self.get()

    @property
    def _held(self) -> int:
        """The weight of what waits in memory."""
        return self._put - self._taken

    def _send(self, item: list[Any] | _Spilled | _End, weight: int) -> None:
        self._queue.put((item, weight))
        if wake := self._wake:
            with suppress(RuntimeError):  # the reader's event loop is gone
                wake()

    def _opened(self, item: list[Any] | _Spilled | _End, weight: int) -> list[Any] | None:
        if isinstance(item, _End):
            self._end = item
            if item.error is not None:
                raise item.error
            return None
        if isinstance(item, _Spilled):
            import pickle

            assert self._spill is not None
            batch: list[Any] = pickle.loads(os.pread(self._spill.fileno(), item.length, item.start))
            self._taken_spilled += 1
            return batch
        self._taken += weight
        return item

    def _written(self, batch: list[Any]) -> _Spilled | None:
        """Put a batch into the file; None where it has no room: memory is the lesser evil."""
        import pickle
        import tempfile

        data = pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL)
        if self._taken_spilled == self._put_spilled:
            self._size = 0
        place = _Spilled(self._size, len(data))
        try:
            if self._spill is None:
                self._spill = tempfile.TemporaryFile()  # noqa: SIM115
            if os.pwrite(self._spill.fileno(), data, place.start) != place.length:
                return None
        except OSError:
            return None
        self._size += place.length
        return place
