"""How long to wait before a failed attempt is made again: arithmetic, and what may still be spent.

Only what passes by itself (``Transient``) is tried again, only while nothing ran and nothing was
delivered: that is for the gateway to see. Here is how often, and how long it may take in all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from .errors import Transient

__all__ = ["Patience", "delay"]

FIRST, LONGEST = 1.0, 30.0


def chance() -> float:
    """A number from 0 up to 1; the module random would cost every prompt its import."""
    return int.from_bytes(os.urandom(6), "big") / 2**48


def delay(
    n: int,
    error: Transient,
    left: float,
    jitter: Callable[[], float] = chance,
    now: Callable[[], float] = time.time,
) -> float | None:
    """Return the seconds to wait after the n-th attempt; None where there is no time left to wait.

    Full jitter: anything up to a limit that doubles from a second to half a minute, so that those
    who failed together do not come again together. It is added to a time that the vendor stated.
    A wait that does not fit is shortened to what is left.
    """
    if left <= 0:
        return None
    wait = min(LONGEST, FIRST * 2.0 ** min(n - 1, 10)) * jitter()
    if error.retry_at is not None:
        wait += max(0.0, error.retry_at - now())
    return min(wait, left)


class Patience:
    """What one prompt may still try and wait, its CLI's own waits included.

    :param retries: attempts after the first that may follow a failure.
    :param wait: seconds that may be spent waiting in all.
    """

    def __init__(self, retries: int, wait: float) -> None:
        self.retries, self.wait = retries, wait
        self.waited = 0.0
        self.failed = 0

    @property
    def left(self) -> float:
        """Seconds that may still be waited."""
        return max(0.0, self.wait - self.waited)

    def after(self, error: Transient) -> float | None:
        """Count a failure; the seconds until the next attempt, None where there is none."""
        self.failed += 1
        if self.failed > self.retries:
            return None
        return delay(self.failed, error, self.left)
