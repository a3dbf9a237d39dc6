"""Which pages are asked for: each screen with many parameters, drawn from what the recorder has.

Filters are drawn alone and in pairs, also such as have nothing in common, because those are the
ones that make a database look at everything.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

__all__ = ["Screen", "screens"]

ROOT = "/-/gateway"
RANGES = ("24h", "7d", "30d", "90d", "all")
WORDS = (  # common, rarer, together, a phrase, a beginning, nothing
    *("the", "test", "function", "retry", "naïve", "日本語", "par_ser", "queuemod", "session_lost"),
    *("overloaded", "cache memory", "race leak lock", "explain the parser and the loop thread"),
    *('"the a"', '"returned before error"', "conf*", "nothinghasthis", "error nothinghas"),
)
BEGINNINGS = ("te*", "pa*", "fu*", "ses*", "par*")


class Screen(NamedTuple):
    """A name for the table, milliseconds that its pages may take, and the pages."""

    name: str
    target: float | None
    addresses: list[str]


class Drawn:
    """What the recorder has, a few of each."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn, self.some = conn, random.Random(7)
        first, last = self.value(
            "SELECT min(rowid), max(rowid) FROM request_rows WHERE rowid IS NOT NULL"
        )
        self.rowids = range(first, last + 1)

    def value(self, sql: str, *parameters: Any) -> Any:
        return self.conn.execute(sql, parameters).fetchone()

    def column(self, sql: str, *parameters: Any) -> list[Any]:
        return [row[0] for row in self.conn.execute(sql, parameters)]

    def requests(self, count: int, columns: str = "id") -> list[tuple[Any, ...]]:
        """Of all times."""
        sql = f"SELECT {columns} FROM request_rows WHERE rowid >= ? LIMIT 1"
        return [self.value(sql, self.some.choice(self.rowids)) for _ in range(count)]

    def singles(self) -> dict[str, list[str]]:
        """Values of each filter."""
        some = "SELECT DISTINCT {0} FROM (SELECT {0} FROM request_rows ORDER BY rowid LIMIT 30000)"
        names = {
            "provider": "provider",
            "model": "model",
            "status": "status",
            "category": "error_category",
            "access": "access",
            "outcome": "outcome",
        }
        found = {
            name: [value for value in self.column(some.format(column)) if value]
            for name, column in names.items()
        }
        rows = self.requests(6, "session_id, thread_id, job_id, cwd, datetime_utc")
        found["session"] = [row[0] for row in rows][:3]
        found["thread"] = [row[1] for row in rows][:3]
        found["job"] = [row[2] for row in rows if row[2]][:3]
        parents = ["/home/user/src", "/home/user/sr", "/none", "/"]
        found["cwd"] = [*dict.fromkeys(row[3] for row in rows), *parents]
        found["min_cost"] = ["0.0001", "0.05", "0.2", "0.5", "1", "3", "50"]
        found["min_seconds"] = ["0.5", "10", "60", "300", "900", "3600", "40000"]
        found["range"] = [*RANGES]
        found["from"] = [row[4][:10] for row in rows][:3]
        found["to"] = [row[4][:10] for row in rows][3:]
        found["q"] = [*WORDS]
        return found


def screens(conn: sqlite3.Connection, count: int) -> list[Screen]:
    """Every screen with at least ``count`` pages."""
    drawn = Drawn(conn)
    parts = (_lists, _one, _sums, _others, _datasette)
    return [screen for part in parts for screen in part(drawn, count)]


def _at(path: str, **query: Any) -> str:
    return f"{ROOT}{path}?{urlencode(query)}" if query else ROOT + path


def _as_many(addresses: list[str], count: int) -> list[str]:
    """All of them, again and again until there are enough."""
    return [*islice(cycle(addresses), max(count, len(addresses)))]


def _alone(singles: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    for name, values in singles.items():
        for value in values:
            yield {name: value}


def _pairs(drawn: Drawn, singles: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    """Every filter with every other, with two draws of their values."""
    names = [*singles]
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            for _ in range(2):
                some = drawn.some
                yield {first: some.choice(singles[first]), second: some.choice(singles[second])}


def _triples(drawn: Drawn, singles: dict[str, list[str]], count: int) -> Iterator[dict[str, str]]:
    for _ in range(count):
        names = drawn.some.sample([*singles], 3)
        yield {name: drawn.some.choice(singles[name]) for name in names}


def _lists(drawn: Drawn, count: int) -> Iterator[Screen]:
    keys = [f"{at}~{id}" for at, id in drawn.requests(count, "datetime_utc, id")]
    singles = drawn.singles()
    plain = {name: values for name, values in singles.items() if name != "q"}
    yield Screen("requests, newest", 50, _as_many([_at("/requests")], count))
    deep = [_at("/requests", before=key) for key in keys]
    yield Screen("requests, deep in the past", 50, deep)
    yield Screen("requests, back from there", 50, [_at("/requests", after=key) for key in keys])
    one = [_at("/requests", **query) for query in _alone(plain)]
    yield Screen("requests, one filter", 50, _as_many(one, count))
    older = [
        _at("/requests", **query, before=key) for query, key in zip(_alone(plain), cycle(keys))
    ]
    yield Screen("requests, one filter, deep", 50, _as_many(older, count))
    two = [_at("/requests", **query) for query in _pairs(drawn, plain)]
    yield Screen("requests, two filters", 50, _as_many(two, count))
    three = [_at("/requests", **query) for query in _triples(drawn, plain, count)]
    yield Screen("requests, three filters", 50, three)
    words = [_at("/requests", q=word) for word in singles["q"]]
    yield Screen("requests, words", 50, _as_many(words, count))
    both = [
        _at("/requests", q=drawn.some.choice(WORDS), **query)
        for query in drawn.some.sample([*_alone(plain)], min(count, 48))
    ]
    yield Screen("requests, words and a filter", 50, _as_many(both, count))
    files = [
        _at("/requests", _format=kind, **query)
        for kind in ("csv", "json")
        for query in ({}, {"provider": "claude"}, {"status": "failed"}, {"range": "30d"})
    ]
    yield Screen("requests as CSV and JSON (10,000 rows)", None, files)


def _one(drawn: Drawn, count: int) -> Iterator[Screen]:
    ids = [id for (id,) in drawn.requests(count)]
    yield Screen("a request", 100, [_at(f"/request/{id}") for id in ids])
    big = drawn.column(
        "SELECT request_id FROM job_rows JOIN (SELECT job_id, count(*) AS n FROM"
        " (SELECT job_id FROM events ORDER BY job_id DESC LIMIT 200000) GROUP BY 1"
        " ORDER BY n DESC LIMIT ?) ON job_id = id",
        count // 2,
    )
    big += drawn.column(
        "SELECT id FROM (SELECT id, length(response) AS n FROM bodies"
        " ORDER BY seq DESC LIMIT 50000) ORDER BY n DESC LIMIT ?",
        count - count // 2,
    )
    yield Screen("a request of the largest", 100, [_at(f"/request/{id}") for id in big])
    raw = [
        _at(f"/request/{id}", events=after, view="raw") for id, after in zip(big, cycle((-1, 20)))
    ]
    yield Screen("a request with raw events", 100, raw)
    sessions = [id for (id,) in drawn.requests(count - 8, "session_id") if id]
    sessions += drawn.column(
        "SELECT session_id FROM (SELECT session_id, turns FROM sessions ORDER BY last_used_at DESC"
        " LIMIT 20000) ORDER BY turns DESC LIMIT 8"
    )
    yield Screen("a session", 100, [_at(f"/session/{id}") for id in sessions])
    compared = [_at("/compare", id=id) for id in ids]
    shared = drawn.column(
        "SELECT prompt_hash FROM request_rows WHERE outcome <> 'ran' AND outcome = 'reused'"
        " LIMIT ?",
        count,
    )
    sql = "SELECT id FROM request_rows WHERE prompt_hash = ? ORDER BY datetime_utc DESC LIMIT 2"
    for hash in shared:
        found = drawn.column(sql, hash)
        compared.append(f"{ROOT}/compare?{urlencode([('id', id) for id in found])}")
    yield Screen("answers compared", 100, drawn.some.sample(compared, count))
    yield Screen("prompts asked twice", 200, _as_many([_at("/compare")], count))


def _sums(drawn: Drawn, count: int) -> Iterator[Screen]:
    singles = drawn.singles()
    days = sorted([*singles["from"], *singles["to"]])
    spans: dict[str, tuple[float, list[dict[str, str]]]] = {
        "24 hours": (200, [{"range": "24h"}]),
        "7 days": (200, [{"range": "7d"}]),
        "30 days": (200, [{"range": "30d"}]),
        "90 days": (500, [{"range": "90d"}]),
        "all time": (500, [{"range": "all"}]),
        "any days": (500, [{"from": days[0], "to": days[-1]}, {"from": days[2], "to": days[3]}]),
    }
    of: list[dict[str, str]] = [{}]
    of += [{"provider": name} for name in singles["provider"]]
    of += [{"model": name} for name in singles["model"]]
    of += [{"provider": "grok", "model": "gpt-5.4-codex"}]
    for name, (target, said) in spans.items():
        plain = [_at("", **span) for span in said]
        yield Screen(f"dashboard, {name}", target, _as_many(plain, count))
        filtered = [_at("", **span, **keys) for span in said for keys in of[1:]]
        yield Screen(f"dashboard, {name}, filtered", target, _as_many(filtered, count))
    lines = [_at("/reliability", **said[0], **keys) for _, said in spans.values() for keys in of]
    yield Screen("reliability", 500, _as_many(lines, count))


def _others(drawn: Drawn, count: int) -> Iterator[Screen]:
    singles = drawn.singles()
    yield Screen("search", 100, _as_many([_at("/search", q=word) for word in WORDS], count))
    last = drawn.value("SELECT max(seq) FROM bodies")[0]
    deep = [_at("/search", q=word, before=drawn.some.randrange(last)) for word in WORDS]
    yield Screen("search, deep in the past", 100, _as_many(deep, count))
    places = [_at("/search", q=word, **{"in": place}) for word in WORDS
              for place in ("prompt", "response", "stderr")]  # fmt: skip
    yield Screen("search in one part", 100, _as_many(places, count))
    plain = {name: values for name, values in singles.items() if name != "q"}
    filtered = [
        _at("/search", q=drawn.some.choice(WORDS), **query)
        for query in [*_alone(plain), *_triples(drawn, plain, 20)]
    ]
    yield Screen("search with filters", 100, _as_many(filtered, count))
    short = [_at(path, q=word) for path in ("/search", "/requests") for word in BEGINNINGS]
    yield Screen("words of which the beginning is said", 100, _as_many(short, count))
    best = [_at("/search", q=word, sort="best") for word in WORDS]
    yield Screen("search, best first", None, _as_many(best, count))
    whole = ("jobs", "approvals", "sessions")
    at = drawn.requests(count, "datetime_utc, id")
    for name in whole:
        first = [_at(f"/{name}")] * 8
        of = [_at(f"/{name}", provider=provider) for provider in singles["provider"]]
        of += [_at(f"/{name}", before=f"{when}~{id}") for when, id in at]
        of += [_at(f"/{name}", provider=provider, before=f"{when}~{id}")
               for provider, (when, id) in zip(singles["provider"], at, strict=False)]  # fmt: skip
        if name == "jobs":
            of += [_at("/jobs", status=status) for status in singles["status"]]
            of += [_at("/jobs", status=status, provider=provider) for status in singles["status"]
                   for provider in singles["provider"]]  # fmt: skip
        if name == "approvals":
            of += [
                _at("/approvals", decision=decision, policy=policy)
                for decision in ("approved", "denied")
                for policy in ("balanced", "strict")
            ]
        yield Screen(name, 100, _as_many([*first, *of], count))


def _datasette(drawn: Drawn, count: int) -> Iterator[Screen]:
    """Datasette's own pages of the file."""
    tables = ("request_rows", "job_rows", "sessions", "approvals", "daily", "breaker_changes")
    yield Screen("Datasette's database page", None, _as_many(["/gateway"], count))
    lists = [f"/gateway/{name}" for name in (*tables, "requests", "jobs", "gateway_metadata",
             "events", "attempts", "bodies", "hourly", "daily_durations")]  # fmt: skip
    yield Screen("Datasette's tables", None, _as_many(lists, count))
    rows = drawn.requests(count, "id, job_id, session_id, provider")
    ones = [f"/gateway/request_rows/{id}" for id, _, _, _ in rows]
    ones += [f"/gateway/job_rows/{job}" for _, job, _, _ in rows if job]
    ones += [f"/gateway/sessions/{provider},{session}" for _, _, session, provider in rows]
    yield Screen("Datasette's rows", None, ones)
    newest = "/gateway/request_rows?_sort_desc=datetime_utc"
    exact = (
        *("status__exact=failed", "provider__exact=claude", "model__exact=grok-build"),
        *("access__exact=full&access__not=read", "outcome__exact=reused&outcome__not=ran"),
    )
    sorts = [f"{newest}&{filter}" for filter in exact]
    sorts += [f"/gateway/events?job_id={job}" for _, job, _, _ in rows[:8] if job]
    yield Screen("Datasette's tables by a filter", None, _as_many(sorts, count))
    files = [f"/gateway/{name}.{kind}" for name in tables for kind in ("json", "csv")]
    yield Screen("Datasette's tables as JSON and CSV", None, _as_many(files, count))
    from datasette_llm_gateway.canned import QUERIES

    queries = [f"/gateway/{name}?days={days}&provider={of}&words={quote(words)}" for name in QUERIES
               for days, of, words in (("", "", "the"), ("300", "grok", "race leak"))]  # fmt: skip
    yield Screen("canned queries", None, _as_many(queries, count))
