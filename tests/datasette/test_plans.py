"""No screen and no query of it goes through all requests, jobs, events, bodies, or sessions."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.datasette.conftest import Open, routes

Made = tuple[Path, dict[str, str]]
BIG = re.compile(
    r"SCAN (r|j|e|b|a|s|request_rows|job_rows|events|bodies|attempts|approvals|sessions)\b"
)
# As in a recorder of a million requests: rows, and rows of one value.
STATS = {
    "request_rows": {
        "request_rows_time": "1000000 1 1", "request_rows_duration": "1000000 401 1",
        "request_rows_cost": "750000 2 1", "request_rows_retried": "28000 1",
        "request_rows_access": "280000 401 1", "request_rows_outcome": "60000 401 1",
        "request_rows_category": "110000 401 1", "request_rows_prompt": "910000 2 1",
        "request_rows_cwd": "1000000 401 1", "request_rows_thread": "1000000 5",
        "request_rows_job": "1000000 3", "request_rows_model": "1000000 401 1",
        "request_rows_provider": "1000000 401 1", "request_rows_status": "1000000 401 1",
        "request_rows_session": "1000000 4 1", "sqlite_autoindex_request_rows_1": "1000000 1",
    },
    "job_rows": {
        "job_rows_started": "990000 1", "job_rows_status": "760000 401 1", "job_rows_request": "990000 1",
        "sqlite_autoindex_job_rows_1": "990000 1",
    },
}  # fmt: skip
FILTERS = {
    "provider": "claude", "model": "m", "status": "failed", "category": "auth", "access": "edit",
    "outcome": "reused", "session": "s", "thread": "t", "job": "j", "cwd": "/x", "min_cost": "1",
    "min_seconds": "9", "range": "7d", "to": "2026-01-01", "q": "colon",
}  # fmt: skip


@pytest.fixture(params=["unknown", "counted"])
def recorder(request: pytest.FixtureRequest, made: Made, tmp_path: Path) -> Path:
    """A file of which SQLite does not know how much is in it, and one of which it does."""
    if request.param == "unknown":
        return made[0]
    path = Path(shutil.copy(made[0], tmp_path / "logs.db"))
    conn = sqlite3.connect(path)
    conn.execute("ANALYZE")
    conn.execute("DELETE FROM sqlite_stat1")
    for table, told in STATS.items():
        rows = ((table, name, stat) for name, stat in told.items())
        conn.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", rows)
    conn.commit()
    conn.close()
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Every query of the recorder that a page asks, with what it is bound to."""
    from datasette_llm_gateway.page import Page

    found: dict[str, dict[str, Any]] = {}
    rows = Page.rows

    async def noting(
        self: Page, sql: str, parameters: Any = None, database: Any = None, **more: Any
    ) -> Any:
        if database is None:
            found[sql] = dict(parameters or {})
        return await rows(self, sql, parameters, database, **more)

    monkeypatch.setattr(Page, "rows", noting)
    return found


def no_scan(path: Path, asked: dict[str, dict[str, Any]]) -> None:
    conn = sqlite3.connect(path)
    for sql, values in asked.items():
        if sql.startswith("PRAGMA") or "FROM approvals WHERE decision" in sql:
            continue  # the latter counts them, in an index
        plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert not [step for step in plan if BIG.match(step)], (sql, plan)
    conn.close()


def queries() -> Iterator[str]:
    """Every filter alone and with every other."""
    for many in (1, 2):
        for names in combinations(FILTERS, many):
            yield urlencode({name: FILTERS[name] for name in names})


@pytest.mark.parametrize("everything_is", ["common", "neither", "rare"])
def test_lists(
    recorder: Path,
    browse: Open,
    asked: dict[str, dict[str, Any]],
    everything_is: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever index the numbers speak for."""
    from datasette_llm_gateway import plans

    monkeypatch.setattr(plans, "sums_of", lambda *_: "")  # of which there would be none on any day
    if everything_is != "rare":
        monkeypatch.setattr(plans, "FEW", 0)
        monkeypatch.setattr(plans, "RARE", 0)
        monkeypatch.setattr(plans, "MANY", 1 if everything_is == "common" else plans.MANY)
    browser, key = browse(recorder), "2026-01-01T00:00:00.000Z~x"
    for query in queries():
        browser.ok(f"/-/gateway/requests?{query}")
        if "q=" in query:
            browser.ok(f"/-/gateway/search?{query}")
            browser.ok(f"/-/gateway/search?{query}&sort=best&in=prompt&before=7")
    for query in ("", "&provider=claude&status=failed&access=edit", "&q=colon&cwd=/x"):
        for at in (f"before={key}", f"after={key}", "_format=json"):
            assert browser.get(f"/-/gateway/requests?{at}{query}").status_code == 200
    assert len(asked) > 100
    no_scan(recorder, asked)


def test_screens(
    recorder: Path,
    made: Made,
    browse: Open,
    asked: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every route, with what it can be asked for."""
    from datasette_llm_gateway.views import dashboard

    browser = browse(recorder)
    for address in routes(browser, made[1]):
        if not address.endswith("/live"):  # a stream has no end
            assert browser.get(address).status_code < 500, address
    for few in (0, dashboard.FEW):
        monkeypatch.setattr(dashboard, "FEW", few)
        for query in ("", "&provider=claude", "&provider=claude&model=claude-opus-4-6"):
            for range in ("24h", "7d", "30d", "90d", "all"):
                browser.ok(f"/-/gateway?range={range}{query}")
                browser.ok(f"/-/gateway/reliability?range={range}{query}")
    key = "2026-01-01T00:00:00.000Z~x"
    for address in (
        f"request/{made[1]['edit']}?events=3", f"compare?id={made[1]['edit']}", "compare",
        f"jobs?provider=codex&before={key}", f"jobs?status=failed&provider=codex&before={key}",
        f"sessions?before={key}", "sessions?provider=claude", f"sessions?provider=claude&before={key}",
        f"approvals?decision=approved&provider=claude&policy=balanced&before={key}",
    ):  # fmt: skip
        browser.ok(f"/-/gateway/{address}")
    assert len(asked) > 40
    no_scan(recorder, asked)


def test_sessions_of_many(recorder: Path, asked: dict[str, dict[str, Any]]) -> None:
    """Also of a provider that has more than few."""
    from datasette_llm_gateway import queries

    values = {"provider": "claude", "at": "2026", "id": "x", "until": "9999", "limit": 9}
    for before in (False, True):
        asked[queries.sessions(True, before, False)] = values
    no_scan(recorder, asked)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorder of many different requests."""
    from benchmarks.generate import generate

    path = tmp_path_factory.mktemp("past") / "logs.db"
    generate(path, 900, seed=3, until=1_760_000_000.0, days=20)
    return path


NAIVE = {
    "category": "error_category = :category", "session": "session_id = :session",
    "thread": "thread_id = :thread", "job": "job_id = :job", "min_cost": "cost_usd >= :min_cost",
    "cwd": "cwd = :cwd OR substr(cwd, 1, length(:cwd) + 1) = :cwd || '/'",
    "min_seconds": "duration_ms >= 1000 * :min_seconds", "to": "datetime_utc < :to",
    "q": "id IN (SELECT id FROM bodies JOIN bodies_fts ON bodies_fts.rowid = seq"
    " WHERE bodies_fts MATCH :q)",
}  # fmt: skip


def said(path: Path) -> dict[str, Any]:
    """A value of each filter that some requests pass."""
    conn = sqlite3.connect(path)
    conn.row_factory = sqlite3.Row
    row = dict(
        conn.execute(
            "SELECT * FROM request_rows WHERE job_id IS NOT NULL LIMIT 1 OFFSET 200"
        ).fetchone()
    )
    conn.close()
    return {
        "provider": row["provider"], "model": row["model"], "status": "failed", "category": "overloaded",
        "access": "edit", "outcome": "reused", "session": row["session_id"], "thread": row["thread_id"],
        "job": row["job_id"], "cwd": "/home/user", "min_cost": 0.05, "min_seconds": 60,
        "to": "2025-10-02T00:00Z", "q": "error",
    }  # fmt: skip


@pytest.mark.parametrize("everything_is", ["common", "neither", "rare"])
def test_what_is_found_does_not_depend_on_the_plan(
    past: Path, browse: Open, everything_is: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any two filters let pass what they say, in the order of time, page by page."""
    from datasette_llm_gateway import plans
    from datasette_llm_gateway.views import requests

    monkeypatch.setattr(requests, "PAGE_SIZE", 40)
    if everything_is != "rare":
        monkeypatch.setattr(plans, "FEW", 0)
        monkeypatch.setattr(plans, "RARE", 0)
        monkeypatch.setattr(plans, "MANY", 1 if everything_is == "common" else plans.MANY)
    else:
        monkeypatch.setattr(plans, "COMMON", 1)  # some words are common, others are not
    browser, conn, values = browse(past), sqlite3.connect(past), said(past)
    some = 0
    for names in [*combinations(values, 1), *combinations(values, 2)]:
        query = urlencode({name: values[name] for name in names})
        terms = " AND ".join(f"({NAIVE.get(name, f'{name} = :{name}')})" for name in names)
        expected = [
            row[0]
            for row in conn.execute(
                f"SELECT id FROM request_rows WHERE {terms} ORDER BY datetime_utc DESC, id DESC",
                values,
            )
        ]
        rows = browser.get(f"/-/gateway/requests?{query}&_format=json").json()
        assert [row["id"] for row in rows] == expected, names
        some += 40 < len(expected) < 200
        if len(names) == 1 or 40 < len(expected) < 200:
            assert walked(browser, query) == expected, names
    conn.close()
    assert some > 5


def walked(browser: Any, query: str) -> list[str]:
    """All pages to the end, and back again from there."""
    found, address, first = [], f"/-/gateway/requests?{query}", ""
    while address:
        page = browser.ok(address)
        found.append(re.findall(r'data-row[^>]*>.*?/request/([0-9a-z]+)"', page, re.S))
        first = first or found[0][0]
        address, last = pager(page, "before"), address
    back = [found[-1]]
    while address := pager(browser.ok(last), "after"):
        back.insert(
            0, re.findall(r'data-row[^>]*>.*?/request/([0-9a-z]+)"', browser.ok(address), re.S)
        )
        last = address
    assert [*chain(*back)] == [*chain(*found)]
    return [*chain(*found)]


def pager(page: str, which: str) -> str:
    from html import unescape

    found = re.findall(rf'href="(/-/gateway/requests\?[^"]*\b{which}=[^"]*)"', page)
    return unescape(found[-1]) if found else ""


def test_what_takes_too_long_is_said(
    made: Made, browse: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the filters stay where they can be narrowed."""
    from datasette_llm_gateway.page import Page

    async def too_long(*_: Any, **__: Any) -> None:
        return None

    browser = browse(made[0])
    monkeypatch.setattr(Page, "panel", too_long)
    for address in ("", "/requests?status=failed", "/search?q=colon", "/reliability", "/compare"):
        assert "took too long" in browser.ok(f"/-/gateway{address}"), address
    assert 'name="status"' in browser.ok("/-/gateway/requests?status=failed")
