"""Waits between a failed attempt and the next one: says why, and gives up at once when told to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .errors import Canceled, TimedOut, Transient
from .events import Notice

if TYPE_CHECKING:
    from .execution import Execution

__all__ = ["waited_after"]

LOOK_EVERY = 0.25


def waited_after(job: Execution, error: Transient) -> float | None:
    """Wait until it may be tried again, and return the seconds; None where it may not be.

    It may not after something ran, when retries or the time for waiting are used up, or where the
    wait would end at a time-out or before the provider's breaker lets anybody through.

    :raises Canceled: the prompt was withdrawn meanwhile. :raises TimedOut: its time-out came.
    """
    if job.something_ran():
        return None
    seconds = job.patience.after(error)
    if seconds is None or seconds >= job.time_left() or _left_alone(job, seconds):
        return None
    began = time.monotonic()
    _say(job, error, seconds)
    _pause(job, error, seconds)
    while job.patience.left > 0 and job.breaker.refuses(time.time()):
        _pause(job, error, min(LOOK_EVERY, job.patience.left))
    return time.monotonic() - began


def _left_alone(job: Execution, seconds: float) -> bool:
    """Whether the breaker is certain to be open still when the wait is over."""
    refused = job.breaker.refuses(time.time() + seconds)
    return refused is not None and refused.retry_at is not None


def _say(job: Execution, error: Transient, seconds: float) -> None:
    next_one, of = job.patience.failed + 1, job.patience.retries + 1
    text = f"trying again in {seconds:.1f} s (attempt {next_one} of {of}): {error.message}"
    if job.watch is not None:
        job.watch.tell(Notice("retry", text, seconds, type(error)))


def _pause(job: Execution, error: Transient, seconds: float) -> None:
    began = time.monotonic()
    until = began + seconds
    try:
        while (left := until - time.monotonic()) > 0:
            _check(job, error)
            job.recorder.tick()
            job.run.cancel.wait(min(left, LOOK_EVERY))
        _check(job, error)
    finally:
        job.patience.waited += time.monotonic() - began


def _check(job: Execution, error: Transient) -> None:
    run, title = job.run, job.provider.title
    gone = run.gone is not None and run.gone()
    if run.cancel.reason or gone or job.recorder.cancel_requested(job.job_id):
        raise Canceled(f"{title} was not asked again: the prompt was interrupted. {error.message}")
    if job.time_left() <= 0:
        seconds = job.request.options.timeout
        raise TimedOut(f"{title} was not asked again within {seconds:g} s. {error.message}")
