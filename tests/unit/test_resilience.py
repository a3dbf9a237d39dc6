"""How long is waited before a failed attempt is made again."""

from __future__ import annotations

import pytest

from llm_gateway.errors import Overloaded, RateLimited
from llm_gateway.resilience import Patience, chance, delay

NOW = 1_800_000_000.0
FAILED = Overloaded("busy")


def waits(n: int, jitter: float, left: float = 1e9, retry_at: float | None = None) -> float | None:
    error = RateLimited("busy", retry_at=retry_at)
    return delay(n, error, left, lambda: jitter, lambda: NOW)


def test_the_limit_doubles_to_half_a_minute() -> None:
    assert [waits(n, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert waits(10_000, 1.0) == 30


def test_the_jitter_is_full() -> None:
    assert [waits(3, share) for share in (0.0, 0.25, 0.5)] == [0, 1, 2]


def test_chance_is_spread() -> None:
    """From 0 up to 1: a mean and a range that a constant has not."""
    drawn = [chance() for _ in range(2000)]
    assert all(0 <= x < 1 for x in drawn)
    assert 0.4 < sum(drawn) / len(drawn) < 0.6 and min(drawn) < 0.05 and max(drawn) > 0.95


def test_a_stated_time_is_waited_for_and_then_spread() -> None:
    assert waits(2, 0.5, retry_at=NOW + 20) == 21
    assert waits(2, 0.5, retry_at=NOW - 20) == 1


@pytest.mark.parametrize(("left", "seconds"), [(5.0, 5.0), (0.25, 0.25), (0.0, None), (-1.0, None)])
def test_a_wait_that_does_not_fit_is_shortened(left: float, seconds: float | None) -> None:
    assert waits(1, 1.0, left, retry_at=NOW + 100) == seconds


def test_attempts_are_counted() -> None:
    patience = Patience(2, 60.0)
    assert [patience.after(FAILED) is not None for _ in range(3)] == [True, True, False]
    assert Patience(0, 60.0).after(FAILED) is None


def test_what_was_waited_is_gone() -> None:
    """The CLI's own waits and ours together."""
    patience = Patience(5, 60.0)
    patience.waited += 59.5
    assert patience.left == 0.5
    assert (patience.after(RateLimited("x", retry_at=9e9)) or 0) == 0.5
    patience.waited += 0.5
    assert patience.after(FAILED) is None
