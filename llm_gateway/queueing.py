"""Waits until a queued job may run: in the order of asking, and never behind the dead."""

from __future__ import annotations

import time
from collections.abc import Callable

from .claiming import limits
from .errors import Canceled, TimedOut
from .pacing import end_turn
from .run import Run
from .store.fetching import reap_if_possible
from .store.recorder import Recorder

__all__ = ["wait_for_place"]

LOOK_EVERY = 0.1
REAP_EVERY = 1.0
SAY_EVERY = 30.0


def wait_for_place(run: Run, recorder: Recorder, say: Callable[[str], None]) -> None:
    """Return when the job runs; says its place when it changes, at most twice a minute.

    Where nobody can tell any more whether it is its turn, it runs.

    :raises Canceled: it was withdrawn. :raises TimedOut: its own time-out ran out first.
    """
    end_turn()
    began = reaped = time.monotonic()
    said_at, said = 0.0, 0
    while (place := recorder.place_of(run.job_id, limits())) is not None:
        if place < 0 or (place == 0 and recorder.promote(run.job_id, limits())):
            break
        now = time.monotonic()
        if place > 0 and place != said and now - said_at > (SAY_EVERY if said else 0.0):
            say(f"waiting for a place: {place} in the queue (see: llm gateway jobs)")
            said_at, said = now, place
        if now - reaped > REAP_EVERY and (conn := recorder.connection) is not None:
            reap_if_possible(conn)
            reaped = now
        _check(run, recorder, now - began)
        recorder.tick()
        run.cancel.wait(LOOK_EVERY)


def _check(run: Run, recorder: Recorder, waited: float) -> None:
    gone = run.gone is not None and run.gone()
    if run.cancel.reason or gone or recorder.cancel_requested(run.job_id):
        raise Canceled("The prompt was interrupted while it waited for a place.")
    limit = run.request.options.timeout
    if limit is not None and waited > limit:
        raise TimedOut(
            f"No place was free within {limit:g} s; allow more with -o timeout SECONDS, "
            "or see: llm gateway jobs"
        )
