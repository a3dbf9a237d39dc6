"""Interleaved rounds, and what is told of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "Figure",
    "Result",
    "by_round",
    "differences",
    "figure",
    "interleaved",
    "ratios",
    "table",
]

Side = Callable[[], Sequence[float]]


@dataclass(frozen=True)
class Figure:
    """The median of the rounds, and the quartiles around it."""

    low: float
    mid: float
    high: float


def figure(values: Iterable[float]) -> Figure:
    """Sum up one figure a round."""
    rounds = list(values)
    if len(rounds) < 2:
        return Figure(rounds[0], rounds[0], rounds[0])
    return Figure(*statistics.quantiles(rounds, n=4, method="inclusive"))


def interleaved(rounds: int, *sides: Side) -> list[list[float]]:
    """Run the sides in turn, forwards and backwards by turns; each one's median of each round."""
    medians: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        for at in order:
            medians[at].append(statistics.median(sides[at]()))
    return medians


def by_round(
    of: Callable[[float, float], float], ours: Iterable[float], theirs: Iterable[float]
) -> Figure:
    """Compare what ran side by side, round by round."""
    return figure(of(a, b) for a, b in zip(ours, theirs, strict=True))


def differences(ours: Iterable[float], theirs: Iterable[float]) -> Figure:
    return by_round(lambda a, b: a - b, ours, theirs)


def ratios(ours: Iterable[float], theirs: Iterable[float]) -> Figure:
    return by_round(lambda a, b: a / b, ours, theirs)


@dataclass(frozen=True)
class Result:
    """One line of the table.

    :param floor: what the same costs without the gateway. :param ours: with it.
    :param result: what is compared with ``target``; None where nothing was promised.
    """

    id: str
    what: str
    floor: Figure | None
    ours: Figure | None
    result: Figure
    unit: str
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        if self.at_least:
            return self.result.mid >= self.target
        return self.result.mid <= self.target


def table(results: Iterable[Result]) -> str:
    """The results as a table in Markdown."""
    rows = [
        "| | what | floor | gateway | result (quartiles) | target | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*rows, *map(_row, results)])


def _row(r: Result) -> str:
    met = {True: "yes", False: "**no**", None: ""}[r.met]
    sign = "≥" if r.at_least else "≤"
    target = "" if r.target is None else f"{sign} {r.target:g} {r.unit}".strip()
    spread = (
        f"**{_short(r.result.mid)} {r.unit}** ({_short(r.result.low)} … {_short(r.result.high)})"
    )
    cells = (r.id, r.what, _middle(r.floor), _middle(r.ours), spread, target, met)
    return f"| {' | '.join(cells)} |".replace(" **", " **", 1)


def _middle(told: Figure | None) -> str:
    return "" if told is None else _short(told.mid)


def _short(value: float) -> str:
    """Three digits that mean something."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
