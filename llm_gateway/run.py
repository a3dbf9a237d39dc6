"""A prompt that is being answered, as its reader sees it: a thread of its own, and events to read.

The thread goes on whatever its reader does meanwhile, so that a paused pager stops no clock.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack

from . import process
from .channel import LOOK_UP, Channel
from .events import Done, Event, Notice, Reply, Text
from .ids import new_id
from .pacing import in_turn
from .request import Access, Request

__all__ = ["KILLED", "LIVE", "Run", "shortens_answer"]

CANCELED, KILLED = "canceled", "killed"


def shortens_answer(request: Request) -> bool:
    """Whether the asker wants the answer shortened; JSON is left as it is."""
    return bool(request.options.optimize_response) and request.schema is None


Work = Callable[["Run", ExitStack], Reply]
LIVE: weakref.WeakSet[Run] = weakref.WeakSet()


class Run:
    """One request being answered; ``request.id`` and ``job_id`` name its rows in the recorder.

    :param work: what the thread does; it returns the reply or raises why there is none.
    :param gone: asked now and then whether the reader went away without a word; given only by a
        front end that owns the process, whose orphaned descendants the run then takes care of.
    :param job_id: of a job that is there already.

    ``outcome`` says whose answer it is: ``ran``, ``joined``, ``collected`` or ``reused``.
    ``inherits`` says that who asked first is gone, so that a joined answer's session goes on here.
    """

    def __init__(
        self,
        request: Request,
        work: Work,
        gone: Callable[[], bool] | None = None,
        job_id: str | None = None,
    ) -> None:
        self.request = request
        self.gone = gone
        self.job_id = job_id or new_id()
        self.outcome = "ran"
        self.inherits = False
        self.access = request.options.access or Access.READ
        self.error: BaseException | None = None
        self.said = False
        self.heard: Callable[[str], None] | None = None  # gets what is said where nobody reads
        self.cancel = process.Cancel()
        self._work = work
        self._channel = Channel()
        self._read = threading.Event()
        self._all_read = False
        self._thread = threading.Thread(target=self._main, name="llm-gateway", daemon=True)
        self._running = threading.Lock()
        LIVE.add(self)

    def start(self) -> None:
        self._running.acquire()
        try:
            self._thread.start()
        except BaseException:
            self.cancel.close()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._all_read:
            self.close()

    def __iter__(self) -> Generator[Event, None, None]:
        try:
            while (batch := self._channel.get()) is not None:
                yield from batch
            self._was_read()
        finally:
            if not self._all_read:
                self.close()

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        try:
            while (batch := await self._channel.aget()) is not None:
                for event in batch:
                    yield event
            self._was_read()
        finally:
            if not self._all_read and self._running.locked():
                import asyncio

                # Taking a tree down may take seconds that other tasks should have, and of many
                # that end at once only a few are waited for at a time.
                self.stop()
                await asyncio.to_thread(self.close)

    def _was_read(self) -> None:
        """The reader goes on at once; what is tidied up behind its back, the process waits for."""
        self._all_read = True
        self._read.set()

    def stop(self, reason: str = CANCELED, *, now: bool = False) -> None:
        """Have the child end, where it still runs, and wait for nothing."""
        self._read.set()
        if not self._all_read and self._thread.is_alive():
            self.cancel(reason, now=now)

    def close(self, *, killed: bool = False) -> None:
        """End the child if it still runs and wait until its tree is gone; again means at once.

        :param killed: the process is ended by others, which withdraws nobody from a durable job.
        """
        reason = KILLED if killed else CANCELED
        try:
            self._end(reason, now=False)
        except KeyboardInterrupt:
            self._end(reason, now=True)
            if self.gone is None:  # in llm's command, what closes the run is already on its way
                raise

    def _end(self, reason: str, *, now: bool) -> None:
        self.stop(reason, now=now)
        if not self._thread.is_alive():
            return
        until = time.monotonic() + 10.0
        while self._running.locked() and (seconds := until - time.monotonic()) > 0:
            try:
                # Not join(): CPython takes a thread for dead whose join was interrupted. Not an
                # event: a signal's handler may wait here for what it interrupted the wait for.
                if self._running.acquire(timeout=min(seconds, LOOK_UP)):
                    self._running.release()
            except KeyboardInterrupt:
                if not now:
                    raise

    # From here on everything runs in the thread of the run.

    def _main(self) -> None:
        # What is released when the stack ends is not what the reader waits for.
        with ExitStack() as stack:
            stack.callback(self._running.release)
            stack.callback(self.cancel.close)
            try:
                with in_turn():
                    done = self._work(self, stack)
                self._channel.put([Done(done)])
            except BaseException as error:  # the reader is the one to see it
                self.error = error
            self._channel.close(self.error)

    def was_read(self) -> bool:
        """Wait until the reader has had everything, or has gone; whether it has had everything."""
        self._read.wait()
        return self._all_read

    def say(self, text: str) -> None:
        """One line for the person that waits."""
        if self.heard is not None:
            self.heard(text)
        self._channel.put([Notice("warning", text)])

    def deliver(self, events: list[Event], weight: int = 0) -> None:
        """Hand events over to the reader."""
        self.said = self.said or any(type(event) is Text for event in events)
        if shortens_answer(self.request):  # its text can only be shortened as a whole
            events = [event for event in events if type(event) is not Text]
        self._channel.put(events, weight)

    def show(self, messages: list[str]) -> None:
        """Hand the whole answer over at once, in place of the pieces that were held back."""
        self._channel.put([Text(text, number) for number, text in enumerate(messages)])
