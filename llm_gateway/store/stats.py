"""What the recorder's sums tell: how many, how well, how long, for how much."""

from __future__ import annotations

import sqlite3
from typing import Any

from llm_gateway.store.rollups import percentile

__all__ = ["BY", "stats"]

BY = ("provider", "model", "day")

_GOOD, _CANCELED = "status = 'completed'", "status = 'canceled'"
_SUMS = {
    "requests": "sum(requests)",
    "completed": f"sum(requests * ({_GOOD}))",
    "failed": f"sum(requests * NOT ({_GOOD} OR {_CANCELED}))",
    "canceled": f"sum(requests * ({_CANCELED}))",
    "denied": "sum(denied)",
    "joined": "sum(joined)",
    "collected": "sum(collected)",
    "reused": "sum(reused)",
    "retries": "sum(retries)",
    "input_tokens": "sum(input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cache_read_tokens": "sum(cache_read_tokens)",
    "cache_write_tokens": "sum(cache_write_tokens)",
    "reasoning_tokens": "sum(reasoning_tokens)",
    "cost_usd": "round(sum(cost_usd), 6)",
    "saved_usd": "round(sum(saved_usd), 6)",
    "unpriced": "sum(unpriced)",
}
_GROUPS = {"provider": ("provider",), "model": ("provider", "model"), "day": ("day",)}
_COLUMNS = (
    "provider, model, status, requests, denied, joined, collected, reused, retries, input_tokens,"
    " output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, saved_usd,"
    " unpriced"
)
_BUCKETS = "provider, model, status, upto_ms, requests"


def stats(
    conn: sqlite3.Connection, by: str | None = None, since: str | None = None
) -> list[dict[str, Any]]:
    """One dict a group, or one in all; none where nothing has ended.

    A request counts by the hour in which it began, so ``since`` counts from the beginning of its
    hour. The success rate leaves out what somebody canceled; the percentiles are of what ran to an
    answer.

    :param by: provider, model (of a provider) or day (UTC).
    """
    groups = _GROUPS[by] if by else ()
    keys = ", ".join([*groups, ""])
    grouped = f"GROUP BY {', '.join(groups)}" if groups else "HAVING sum(requests)"
    rows = conn.execute(
        f"SELECT {keys} {', '.join(_SUMS.values())} FROM ({_rows('', since)}) {grouped}"
        f" {'ORDER BY ' + ', '.join(groups) if groups else ''}",
        {"since": (since or "")[:13]},
    )
    buckets = _buckets(conn, keys, since, len(groups))
    names = (*groups, *_SUMS)
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [_told(row, buckets.get(tuple(row[g] for g in groups), [])) for row in found]


def _rows(suffix: str, since: str | None) -> str:
    """The sums by day, or the histogram; of the day on which ``since`` is, hours."""
    if since is None:
        return f"SELECT * FROM daily{suffix}"
    columns = _BUCKETS if suffix else _COLUMNS
    return (
        f"SELECT substr(hour, 1, 10) AS day, {columns} FROM hourly{suffix}"
        " WHERE hour >= :since AND hour < substr(:since, 1, 10) || '~'"
        f" UNION ALL SELECT day, {columns} FROM daily{suffix} WHERE day > substr(:since, 1, 10)"
    )


Bucket = tuple[int, int, int]


def _buckets(
    conn: sqlite3.Connection, keys: str, since: str | None, width: int
) -> dict[tuple[Any, ...], list[Bucket]]:
    """The histogram of each group."""
    found: dict[tuple[Any, ...], list[Bucket]] = {}
    rows = conn.execute(
        f"SELECT {keys} upto_ms, above_ms, sum(requests) FROM ({_rows('_durations', since)})"
        f" JOIN duration_bounds USING (upto_ms) WHERE {_GOOD} GROUP BY {keys} upto_ms",
        {"since": (since or "")[:13]},
    )
    for row in rows:
        found.setdefault(row[:width], []).append(row[width:])
    return found


def _told(row: dict[str, Any], buckets: list[Bucket]) -> dict[str, Any]:
    tried = row["completed"] + row["failed"]
    return {
        **row,
        "success_rate": round(row["completed"] / tried, 4) if tried else None,
        "p50_ms": percentile(buckets, 0.50),
        "p95_ms": percentile(buckets, 0.95),
    }
