"""Queries of the sums by hour and by day, and what is read from their histogram.

Nothing here looks at a request: that is what the sums are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .spans import Span

__all__ = ["OLDEST_DAY", "SUMS", "durations", "percentile", "series", "shares", "totals"]

_GOOD, _CANCELED = "status = 'completed'", "status = 'canceled'"
FAILED = f"NOT ({_GOOD} OR {_CANCELED})"
SUMS = {
    "requests": "sum(requests)",
    "completed": f"sum(requests * ({_GOOD}))",
    "failed": f"sum(requests * ({FAILED}))",
    "canceled": f"sum(requests * ({_CANCELED}))",
    "retries": "sum(retries)",
    "joined": "sum(joined)",
    "collected": "sum(collected)",
    "reused": "sum(reused)",
    "input_tokens": "sum(input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cache_read_tokens": "sum(cache_read_tokens)",
    "cache_write_tokens": "sum(cache_write_tokens)",
    "reasoning_tokens": "sum(reasoning_tokens)",
    "cost_usd": "sum(cost_usd)",
    "saved_usd": "sum(saved_usd)",
    "unpriced": "sum(unpriced)",
}
_ALL = ", ".join(f"{expression} AS {name}" for name, expression in SUMS.items())
_LAST = 2**53  # the bound of the bucket that has none
OLDEST_DAY = "SELECT min(day) AS day FROM daily"


def series(span: Span, keys: Iterable[str]) -> str:
    """Every sum by hour or day and provider."""
    period = _period(span)
    return (
        f"SELECT {period} AS slot, provider, {_ALL} FROM {span.table} {_where(span, keys)}"
        f" GROUP BY {period}, provider"
    )


def shares(span: Span, keys: Iterable[str]) -> str:
    """What a failure's category and a model have of the whole."""
    return (
        "SELECT provider, model, status, category, sum(requests) AS requests,"
        " sum(input_tokens + output_tokens) AS tokens, sum(cost_usd) AS cost_usd,"
        f" sum(unpriced) AS unpriced FROM {span.table} {_where(span, keys)}"
        " GROUP BY provider, model, status, category"
    )


def totals(span: Span, keys: Iterable[str]) -> str:
    """Every sum over the whole span."""
    return f"SELECT {_ALL} FROM {span.table} {_where(span, keys)}"


def durations(span: Span, keys: Iterable[str], by_time: bool = True) -> str:
    """How many answers took how long: (above_ms, upto_ms], by hour or day."""
    slot = f"{_period(span)} AS slot, " if by_time else ""
    group = f"{_period(span)}, " if by_time else ""
    return (
        f"SELECT {slot}d.upto_ms, b.above_ms, d.requests FROM (SELECT {group}upto_ms,"
        f" sum(requests) AS requests FROM {span.table}_durations {_where(span, keys)}"
        f" AND {_GOOD} GROUP BY {group}upto_ms) d JOIN duration_bounds b ON b.upto_ms = d.upto_ms"
    )


def _period(span: Span) -> str:
    return "hour" if span.table == "hourly" else "day"


def _where(span: Span, keys: Iterable[str]) -> str:
    period = _period(span)
    terms = [f"{period} >= :since", f"{period} < :until"]
    terms += [f"{key} = :{key}" for key in ("provider", "model") if key in keys]
    return "WHERE " + " AND ".join(terms)


Bucket = tuple[int, int, int]


def percentile(buckets: Iterable[Bucket], share: float) -> int | None:
    """The duration that ``share`` of the answers kept to; None where there are none.

    :param buckets: (upper bound, the bound below, requests), in any order.
    """
    ordered = sorted(buckets)
    rank = share * sum(count for _, _, count in ordered)
    before = 0
    for top, below, count in ordered:
        if count and before + count >= rank:
            if top == _LAST:
                return below
            return round(below + (top - below) * (rank - before) / count)
        before += count
    return None


def placed(rows: Iterable[Any], span: Span) -> list[list[Bucket]]:
    """Rows of ``durations`` in their places in time."""
    found: list[list[Bucket]] = [[] for _ in span.begins]
    for row in rows:
        found[span.place(row["slot"])].append((row["upto_ms"], row["above_ms"], row["requests"]))
    return found


def whole(rows: Iterable[Any]) -> list[Bucket]:
    """Rows of ``durations`` as one histogram."""
    return [(row["upto_ms"], row["above_ms"], row["requests"]) for row in rows]


def added(rows: Iterable[Mapping[str, Any] | Any]) -> dict[str, float]:
    """Rows of sums, added up."""
    told = dict.fromkeys(SUMS, 0.0)
    for row in rows:
        for name in SUMS:
            told[name] += row[name] or 0
    return told


def by_place(
    rows: Iterable[Any], span: Span, key: str = "provider"
) -> dict[str, list[dict[str, float]]]:
    """Sums of each place in time, for each value of ``key``; what has most comes first."""
    found: dict[str, list[dict[str, float]]] = {}
    for row in rows:
        places = found.get(row[key])
        if places is None:
            places = found[row[key]] = [dict.fromkeys(SUMS, 0.0) for _ in span.begins]
        place = places[span.place(row["slot"])]
        for name in SUMS:
            value = row[name]
            if value:
                place[name] += value
    return dict(sorted(found.items(), key=lambda pair: -sum(p["requests"] for p in pair[1])))
