"""A span of time as charts have it: in places that the sums by hour and by day can fill.

Everything here is UTC, as the sums are. The last place is the one that now belongs to.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property

from .filters import ALWAYS, NEVER, Filters
from .words import instant

__all__ = ["Span", "span_of"]

_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
_FORMS = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d"}
_MONTHS = "months"


@dataclass(frozen=True)
class Span:
    """From ``first`` until ``last``, which is not part of it, in steps."""

    table: str  # hourly or daily
    first: datetime
    last: datetime
    step: timedelta | str
    whole: bool = False  # everything that there is, so that nothing was before it

    @cached_property
    def begins(self) -> list[datetime]:
        """When each place begins."""
        found, when = [], self.first
        while when < self.last:
            found.append(when)
            when = _next_month(when) if isinstance(self.step, str) else when + self.step
        return found

    @cached_property
    def _keys(self) -> list[str]:
        return [self.key(when) for when in self.begins]

    def key(self, when: datetime) -> str:
        """A moment as the sums name it."""
        return when.strftime(_FORMS[self.table])

    def place(self, key: str) -> int:
        """Which place an hour or a day belongs to."""
        return max(0, bisect_right(self._keys, key) - 1)

    @property
    def parameters(self) -> dict[str, str]:
        """What bounds a query of the sums."""
        return {"since": self.key(self.first), "until": self.key(self.last)}

    @property
    def exact(self) -> dict[str, str]:
        """What bounds a query of requests to the same time."""
        form = "%Y-%m-%dT%H:%M:%S.000Z"
        return {"since": self.first.strftime(form), "until": self.last.strftime(form)}

    @property
    def before(self) -> Span | None:
        """As long a span just before it."""
        if self.whole:
            return None
        return Span(self.table, self.first - (self.last - self.first), self.first, self.step)

    def bounds(self, index: int | None = None) -> dict[str, str]:
        """``from`` and ``to`` of the list of requests for one place, or for all of them."""
        form = "%Y-%m-%dT%H:%MZ"
        if index is None:
            return {"from": self.first.strftime(form), "to": self.last.strftime(form)}
        ends = [*self.begins[1:], self.last]
        return {"from": self.begins[index].strftime(form), "to": ends[index].strftime(form)}

    @property
    def labels(self) -> list[str]:
        """Short names of the places, for an axis."""
        hours = isinstance(self.step, timedelta) and self.step < _DAY
        short = self.last - self.first <= timedelta(days=2)
        form = "%H:%M" if hours and short else "%b %Y" if self.step == _MONTHS else "%-d %b"
        return [when.strftime(form) for when in self.begins]

    @property
    def names(self) -> list[str]:
        """Whole names of the places, for a table."""
        hours = isinstance(self.step, timedelta) and self.step < _DAY
        form = "%Y-%m-%d %H:%M" if hours else "%Y-%m" if self.step == _MONTHS else "%Y-%m-%d"
        return [when.strftime(form) for when in self.begins]

    @property
    def unit(self) -> str:
        """What one place is."""
        if isinstance(self.step, str):
            return "month"
        names = {_HOUR: "hour", 6 * _HOUR: "6 hours", _DAY: "day", _WEEK: "week"}
        return names.get(self.step, "day")


def span_of(filters: Filters, oldest: str, now: datetime | None = None) -> Span:
    """What the filters ask for, but not before the first day of the sums."""
    now = (now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    if filters.range == "24h":
        return Span("hourly", hour + _HOUR - _DAY, hour + _HOUR, _HOUR)
    if filters.range == "7d":
        end = hour.replace(hour=hour.hour // 6 * 6) + 6 * _HOUR
        return Span("hourly", end - _WEEK, end, 6 * _HOUR)
    if filters.range in ("30d", "90d"):
        return Span("daily", day + _DAY - int(filters.range[:2]) * _DAY, day + _DAY, _DAY)
    return _said(filters, instant(oldest) or day, day)


def _said(filters: Filters, oldest: datetime, today: datetime) -> Span:
    """All time, or from one day to another."""
    since, until = filters.span
    first = oldest if since == NEVER else instant(since) or oldest
    last = today + _DAY if until == ALWAYS else instant(until) or today
    first, last = max(first, oldest), min(last, today + _DAY)
    if filters.range == "" and last - first <= timedelta(days=3):
        first = first.replace(minute=0, second=0, microsecond=0)
        return Span("hourly", first, max(last, first + _HOUR), _HOUR)
    first = first.replace(hour=0, minute=0, second=0, microsecond=0)
    last = last.replace(minute=0, second=0, microsecond=0)
    if last.hour:
        last = last.replace(hour=0) + _DAY
    last, whole = max(last, first + _DAY), since == NEVER
    days = (last - first).days
    if days > 1100:
        return Span("daily", first.replace(day=1), last, _MONTHS, whole)
    if days > 120:
        return Span("daily", first - first.weekday() * _DAY, last, _WEEK, whole)
    return Span("daily", first, last, _DAY, whole)


def _next_month(when: datetime) -> datetime:
    return (when.replace(day=1) + timedelta(days=32)).replace(day=1)
