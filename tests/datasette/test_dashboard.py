"""The dashboard and what else looks at many requests: figures, links, plans, attacks."""

from __future__ import annotations

import re
import sqlite3
from datetime import datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.datasette.conftest import Open
from tests.datasette.sample import EVIL

Made = tuple[Path, dict[str, str]]
NOW = datetime(2026, 3, 18, 14, 30, tzinfo=timezone.utc)
RANGES = ("24h", "7d", "30d", "90d", "all")


def test_cards_are_the_sums(made: Made, browse: Open) -> None:
    """The figures are those of the rows, and lead to them."""
    conn = sqlite3.connect(made[0])
    ended = "status NOT IN ('queued', 'running')"
    count, failed, cost = conn.execute(
        f"SELECT count(*), sum(status NOT IN ('completed', 'canceled')), sum(cost_usd)"
        f" FROM request_rows WHERE {ended}"
    ).fetchone()
    tried = conn.execute(
        f"SELECT count(*) FROM request_rows WHERE {ended} AND status <> 'canceled'"
    ).fetchone()[0]
    conn.close()
    page = browse(made[0]).ok("/-/gateway?range=all")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert f"Requests {count} " in text
    assert f"{100 * failed / tried:.1f} %" in text and f"{failed} of {tried}" in text
    assert f"${cost:,.2f}" in text


def marks(page: str) -> list[tuple[str, int]]:
    """The address and the count of every mark of the first chart."""
    chart = page.split("Requests by provider", 1)[1].split("</svg>", 1)[0]
    found = re.findall(r'<a href="([^"]+)" aria-label="[^"]*? (\d+)"', chart)
    return [(unescape(href), int(many)) for href, many in found]


@pytest.mark.parametrize("range", ["24h", "7d", "30d"])
def test_a_mark_leads_to_its_rows(made: Made, browse: Open, range: str) -> None:
    """As many as it says, of the provider and the time that it says."""
    browser = browse(made[0])
    found = marks(browser.ok(f"/-/gateway?range={range}"))
    assert found
    for href, many in found[:12]:
        rows = browser.get(f"{href}&_format=json").json()
        ended = [row for row in rows if row["status"] not in ("queued", "running")]
        assert len(ended) == many, href


def test_filters_and_their_absence(made: Made, browse: Open) -> None:
    """A provider's dashboard has only its own; one that there is not has none, and is no error."""
    browser = browse(made[0])
    page = browser.ok("/-/gateway?provider=grok&range=all")
    assert "grok" in page and 'class="gw-bar p-claude"' not in page
    for query in ("provider=nobody", "model=none&range=24h", "from=2020-01-01&to=2020-01-02",
                  "from=9999-12-31&to=0001-01-01",
                  "to=9999-12-31", "to=9999-12-31T23:59Z&from=0001-01-01T00:00Z", "range=x&from=2026-01-01T00:00Z"):  # fmt: skip
        assert browser.get(f"/-/gateway?{query}").status_code == 200, query
        assert browser.get(f"/-/gateway/reliability?{query}").status_code == 200, query
        assert browser.get(f"/-/gateway/requests?{query}").status_code == 200, query


def test_every_chart_has_numbers_and_sql(made: Made, browse: Open) -> None:
    """Each panel's SQL runs on Datasette's own page, bound, and its numbers are a table."""
    browser = browse(made[0])
    page = browser.ok("/-/gateway")
    panels = page.split('<section class="gw-card gw-panel">')[1:7]
    assert len(panels) == 6
    for panel in panels:
        address = re.search(r'href="([^"]+)">SQL', panel)
        assert address
        shown = browser.get(unescape(address.group(1)).replace("/gateway?", "/gateway.json?", 1)
                            .replace("/-/query?", "/-/query.json?"))  # fmt: skip
        assert shown.status_code == 200 and shown.json().get("ok", True), address.group(1)
        assert "<table" in panel or "Nothing" in panel or "No vendor" in panel


def test_without_sql_no_links_to_it(made: Made, browse: Open) -> None:
    """Who may not run queries is not offered any."""
    from datasette_llm_gateway.page import Page

    async def no(self: Page) -> bool:
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Page, "may_sql", no)
        assert "sql=" not in browse(made[0]).ok("/-/gateway")


def test_spans() -> None:
    """Places have no gaps, the last has now, the one before is as long."""
    from datasette_llm_gateway.filters import Filters
    from datasette_llm_gateway.spans import span_of

    for range, oldest, places in (
        ("24h", "2026-01-01", 24), ("7d", "2026-01-01", 28), ("30d", "2026-01-01", 30),
        ("all", "2026-03-01", 18), ("all", "2025-01-01", 64), ("all", "2020-01-15", 75),
    ):  # fmt: skip
        span = span_of(Filters.of({"range": range}), oldest, NOW)
        assert len(span.begins) == places == len(span.labels) == len(span.names)
        assert span.begins[0] == span.first and span.begins == sorted(set(span.begins))
        assert span.begins[-1] <= NOW < span.last
        assert span.place(span.key(NOW)) == places - 1 and span.place(span.key(span.first)) == 0
        assert (span.before is None) == (range == "all")
        if span.before:
            assert span.before.last == span.first
            assert span.before.last - span.before.first == span.last - span.first
        ends = [span.bounds(index) for index in (0, 1)]
        assert ends[0]["to"] == ends[1]["from"] and span.bounds()["from"] == ends[0]["from"]


def test_changes_in_words() -> None:
    """Against the time before: up, down, the same, nothing to compare with."""
    from datasette_llm_gateway.panels import _change, _points

    assert _change(150, 100) == ("+50 %", 1) and _change(50, 100) == ("−50 %", -1)
    assert _change(100, 100) == ("unchanged", 0) and _change(5, 0) == ("", 0)
    assert _change(5000, 100) == ("× 50", 1) and _points(5.0, 7.5) == ("−2.5 points", -1)


def test_percentiles() -> None:
    """As the gateway itself reads them from the histogram."""
    from datasette_llm_gateway.sums import percentile

    from llm_gateway.store import rollups

    for buckets in ([], [(10, 0, 5)], [(10, 0, 5), (100, 10, 5)], [(2**53, 100, 3), (100, 10, 1)]):
        for share in (0.5, 0.95, 0.99):
            assert percentile(buckets, share) == rollups.percentile(buckets, share)


def with_breakers(path: Path, target: Path) -> Path:
    """A copy in which a breaker opened, was tried and closed again."""
    source, copy = sqlite3.connect(path), sqlite3.connect(target)
    source.backup(copy)
    at = datetime.now(timezone.utc) - timedelta(hours=30)
    for number, (before, after) in enumerate(
        [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]
    ):
        when = (at + timedelta(hours=2 * number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        copy.execute(
            "INSERT INTO breaker_changes (datetime_utc, scope, provider, from_state, to_state,"
            " failures, last_error) VALUES (?, 'grok:x', 'grok', ?, ?, 5, 'overloaded')",
            (when, before, after),
        )
    copy.commit()
    source.close()
    copy.close()
    return target


def test_breakers_over_time(made: Made, browse: Open, tmp_path: Path) -> None:
    """Stretches of every state, and the changes as a table; the state before counts too."""
    browser = browse(with_breakers(made[0], tmp_path / "logs.db"))
    for address in ("/-/gateway?range=7d", "/-/gateway/reliability?range=7d"):
        page = browser.ok(address).split("Circuit breakers", 1)[1]
        for state in ("s-closed", "s-half", "s-open"):
            assert f"gw-bar {state}" in page, state
        assert "half open since" in page
    later = browser.ok("/-/gateway?range=24h").split("Circuit breakers", 1)[1].split("</svg>")[0]
    assert "s-closed" in later and "gw-bar s-open" not in later


def test_reliability(made: Made, browse: Open) -> None:
    """Categories with their phrases and remedies; what was tried again."""
    page = browse(made[0]).ok("/-/gateway/reliability")
    assert "rate limited" in page and "Claude is rate limited until #" in page
    assert "Log in to the vendor" in page and "1 ended well (100 %)" in page
    assert made[1]["edit"] in page.split("Tried again", 1)[1]


@pytest.mark.parametrize(
    ("said", "phrase"),
    [
        ("after 600 s; 12:30", "after # s; #"),
        ("request 7f3a9b2c-11aa-4c1e failed", "request # failed"),
        ("no numbers", "no numbers"),
        (None, ""),
    ],
)
def test_phrases(said: Any, phrase: str) -> None:
    """What differs from one time to the next is left out."""
    from datasette_llm_gateway.views.reliability import phrase as of

    assert of(said) == phrase


def test_empty(browse: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder in which nothing was asked says which command fills each screen."""
    from llm_gateway.store.recorder import open_recorder

    path = tmp_path / "logs.db"
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", str(path))
    recorder = open_recorder(lambda text: None)
    assert recorder.connection is not None
    recorder.close()
    browser = browse(path)
    for screen in ("", "/reliability", "/approvals", "/compare"):
        assert "<code>llm " in browser.ok(f"/-/gateway{screen}"), screen
    assert "by its words" in browser.ok("/-/gateway/search")


def test_attacks_in_addresses(made: Made, browse: Open) -> None:
    """What an address says is text on these screens too."""
    from urllib.parse import quote

    from tests.datasette.test_screens import Tags

    browser = browse(made[0])
    for words in EVIL:
        said = quote(words)
        for address in (f"?provider={said}&model={said}&range={said}", f"/search?q={said}&in={said}",
                        f"/search?q={said}&provider={said}&sort=best&before={said}&skip={said}",
                        f"/approvals?decision={said}&policy={said}&before={said}~{said}",
                        f"/compare?id={said}&id={said}", f"/reliability?model={said}"):  # fmt: skip
            answer = browser.get(f"/-/gateway{address}")
            assert answer.status_code in (200, 404), (address, answer.text[-300:])
            assert Tags(answer.text).found == [], address
