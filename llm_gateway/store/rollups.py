"""What was asked, added up by hour and by day, so that no screen has to count a million rows.

A trigger keeps the sums: a request is counted in the transaction in which it ends, whoever ends it,
and once, because an end state never changes. So every row begins as queued or running, also one
that is known to be over. (A trigger on INSERT would see to those, and be compiled for each prompt.)
Nothing is ever taken out: pruning forgets requests, not that there were some. What a shared answer
cost is counted where it ran; the others saved it.

Durations lie in a histogram with sixteen buckets a decade, from which any percentile is read with
an error of at most 15 percent, and some 3 as a rule. A bucket is named by its upper bound.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable

__all__ = ["STATEMENTS", "fill", "percentile"]

_DECADES, _A_DECADE = 8, 16  # up to 10^8 ms, more than a day
_LAST = 2**53

_ENDED = "status NOT IN ('queued', 'running')"
_KEYS = ("provider", "model", "status", "category")
_SAVED = (
    "coalesce({r}.cost_usd, (SELECT f.cost_usd FROM job_rows j JOIN request_rows f"
    " ON f.id = j.request_id WHERE j.id = {r}.job_id), 0)"
)
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)

# Column, type, and what one request, {r}, adds to it.
_SUMS: tuple[tuple[str, str, str], ...] = (
    ("requests", "INTEGER", "1"),
    ("joined", "INTEGER", "{r}.outcome = 'joined'"),
    ("collected", "INTEGER", "{r}.outcome = 'collected'"),
    ("reused", "INTEGER", "{r}.outcome = 'reused'"),
    ("denied", "INTEGER", "{r}.outcome = 'denied'"),
    ("retries", "INTEGER", "({r}.outcome = 'ran') * {r}.retry_count"),
    *(
        (name, "INTEGER", f"({{r}}.outcome = 'ran') * coalesce({{r}}.{name}, 0)")
        for name in _TOKENS
    ),
    ("cost_usd", "REAL", "({r}.outcome = 'ran') * coalesce({r}.cost_usd, 0)"),
    (
        "saved_usd",
        "REAL",
        f"CASE WHEN {{r}}.outcome IN ('joined', 'collected', 'reused') THEN {_SAVED} ELSE 0 END",
    ),
    ("unpriced", "INTEGER", "{r}.outcome = 'ran' AND {r}.cost_usd IS NULL"),
)
_PERIODS = {"hourly": ("hour", 13), "daily": ("day", 10)}


def _bounds() -> list[tuple[int, int]]:
    """(upper bound, the bound below) of every bucket, in milliseconds."""
    steps = range(_DECADES * _A_DECADE + 1)
    tops = sorted({math.ceil(10 ** (step / _A_DECADE)) for step in steps} | {_LAST})
    return list(zip(tops, [0, *tops], strict=False))


def _tables() -> Iterable[str]:
    yield (
        "CREATE TABLE duration_bounds (\n"
        "    upto_ms INTEGER PRIMARY KEY,\n"
        "    above_ms INTEGER NOT NULL\n)"
    )
    values = ", ".join(f"({top}, {below})" for top, below in _bounds())
    yield f"INSERT INTO duration_bounds (upto_ms, above_ms) VALUES {values}"
    for table, (period, _) in _PERIODS.items():
        keys = "".join(f"    {key} TEXT NOT NULL,\n" for key in (period, *_KEYS))
        sums = "".join(f"    {name} {type} NOT NULL,\n" for name, type, _ in _SUMS)
        yield (
            f"CREATE TABLE {table} (\n{keys}{sums}"
            f"    PRIMARY KEY ({', '.join((period, *_KEYS))})\n) WITHOUT ROWID"
        )
        yield (
            f"CREATE TABLE {table}_durations (\n"
            f"    {period} TEXT NOT NULL,\n    provider TEXT NOT NULL,\n    model TEXT NOT NULL,\n"
            "    status TEXT NOT NULL,\n    upto_ms INTEGER NOT NULL,\n"
            "    requests INTEGER NOT NULL,\n"
            f"    PRIMARY KEY ({period}, provider, model, status, upto_ms)\n) WITHOUT ROWID"
        )


def _counted(table: str, row: str, rows: str = "") -> str:
    """SQL that adds the request ``row`` to a table of sums, or all that ended of ``rows``."""
    period, length = _PERIODS[table]
    keys = ", ".join((period, *_KEYS))
    told = [value.format(r=row) for _, _, value in _SUMS]
    group = (
        f"substr({row}.datetime_utc, 1, {length}), {row}.provider, {row}.model, {row}.status,"
        f" coalesce({row}.error_category, '')"
    )
    if rows:
        sums = ", ".join(f"sum({value})" for value in told)
        source = f"SELECT {group}, {sums} FROM {rows} {row} WHERE {_ENDED} GROUP BY 1, 2, 3, 4, 5"
    else:
        source = f"VALUES ({group}, {', '.join(told)})"
    return (
        f"INSERT INTO {table} ({keys}, {', '.join(name for name, _, _ in _SUMS)}) {source}"
        f" ON CONFLICT ({keys}) DO UPDATE SET "
        + ", ".join(f"{name} = {name} + excluded.{name}" for name, _, _ in _SUMS)
    )


def _timed(table: str, row: str, rows: str = "") -> str:
    """The same for the histogram: what ran and has a duration."""
    period, length = _PERIODS[table]
    keys = f"{period}, provider, model, status, upto_ms"
    group = f"substr({row}.datetime_utc, 1, {length}), {row}.provider, {row}.model, {row}.status"
    if rows:
        bucket = _BUCKET.format(r=row)
        source = (
            f"SELECT {group}, ({bucket}), count(*) FROM {rows} {row}"
            f" WHERE {_ENDED} AND {_RAN.format(r=row)} GROUP BY 1, 2, 3, 4, 5"
        )
    else:
        where = f"WHERE {_RAN.format(r=row)} AND "
        bucket = _BUCKET.format(r=row).replace("WHERE ", where)
        source = bucket.replace("SELECT b.upto_ms", f"SELECT {group}, b.upto_ms, 1")
    return (
        f"INSERT INTO {table}_durations ({keys}, requests) {source}"
        f" ON CONFLICT ({keys}) DO UPDATE SET requests = requests + excluded.requests"
    )


_RAN = "{r}.outcome = 'ran' AND {r}.duration_ms IS NOT NULL"
_BUCKET = (
    "SELECT b.upto_ms FROM duration_bounds b WHERE b.upto_ms >= max({r}.duration_ms, 1)"
    " ORDER BY b.upto_ms LIMIT 1"
)


STATEMENTS: tuple[str, ...] = (
    *_tables(),
    "CREATE TRIGGER request_rows_ended AFTER UPDATE OF status ON request_rows"
    f" WHEN OLD.status IN ('queued', 'running') AND NEW.{_ENDED} BEGIN "
    + "; ".join(add(table, "NEW") for table in _PERIODS for add in (_counted, _timed))
    + "; END",
)


def fill(conn: sqlite3.Connection) -> None:
    """Count every ended request; only for a file in which none has been counted."""
    for table in _PERIODS:
        conn.execute(_counted(table, "r", "request_rows"))
        conn.execute(_timed(table, "r", "request_rows"))


def percentile(buckets: Iterable[tuple[int, int, int]], share: float) -> int | None:
    """The duration that ``share`` of the requests kept to; None where there are none.

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
