"""Search, approvals, compare, and what Datasette's own pages say of the tables."""

from __future__ import annotations

import re
import sqlite3
from html import unescape
from pathlib import Path

import pytest

from tests.datasette.conftest import Browser, Open

Made = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def indexed(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with every request in its full-text index."""
    from llm_gateway.store import connection, search

    path = tmp_path_factory.mktemp("indexed") / "logs.db"
    source, copy = sqlite3.connect(made[0]), sqlite3.connect(path)
    source.backup(copy)
    source.close()
    copy.close()
    conn = connection.connect(path)
    search.take_in(conn)
    conn.close()
    return path


def hits(browser: Browser, query: str) -> list[str]:
    page = browser.ok(f"/-/gateway/search?{query}")
    return re.findall(r'class="gw-hit" href="/-/gateway/request/(\w+)"', page)


def test_search_finds(made: Made, indexed: Path, browse: Open) -> None:
    """Words anywhere, phrases, beginnings, in one place only, with filters."""
    browser, ids = browse(indexed), made[1]
    assert hits(browser, "q=add+a+test")[0] == ids["edit"]
    assert ids["edit"] in hits(browser, "q=harml*&in=stderr")
    assert hits(browser, "q=harmless&in=prompt") == []
    assert hits(browser, 'q="the+last+commit"') == [ids["second"]]
    assert hits(browser, 'q="commit+last"') == []
    assert hits(browser, "q=review&provider=claude") == []
    assert set(hits(browser, "q=review&sort=best")) == set(hits(browser, "q=review"))
    page = browser.ok("/-/gateway/search?q=harmless")
    assert "something <mark>harmless</mark>" in page and "1 hit" in page


def test_the_best_of_the_newest(
    indexed: Path, browse: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a common word only the newest hits are ranked, and the page says so."""
    from datasette_llm_gateway.views import search

    browser, query = browse(indexed), "q=the&sort=best"
    assert "best match first</p>" in browser.ok(f"/-/gateway/search?{query}")
    newest = hits(browser, "q=the")
    monkeypatch.setattr(search, "RANKED_OF", 4)
    assert set(hits(browser, query)) == set(newest[:5])
    assert "best match first, of the newest 4 hits" in browser.ok(f"/-/gateway/search?{query}")


def test_search_page_by_page(indexed: Path, browse: Open) -> None:
    """Every hit once, whichever order."""
    for order in ("", "&sort=best"):
        browser, seen, address = browse(indexed), [], f"/-/gateway/search?q=the{order}"
        while address:
            page = browser.ok(address)
            seen += re.findall(r'class="gw-hit" href="/-/gateway/request/(\w+)"', page)
            older = re.search(r'href="([^"]+)" rel="next"', page)
            address = unescape(older.group(1)) if older else ""
        conn = sqlite3.connect(indexed)
        wanted = conn.execute(
            "SELECT count(*) FROM bodies_fts WHERE bodies_fts MATCH 'the'"
        ).fetchone()[0]
        conn.close()
        assert len(seen) == len(set(seen)) == wanted > 20


@pytest.mark.parametrize(
    "query",
    ['"', "AND", "NOT x", "a OR", "*", "(((", "prompt:", "^a", "NEAR(a b)", "a -b", "''", "\0", "é*",
     "{x} : y", "a" * 5000, " ".join(["word"] * 300)],
)  # fmt: skip
def test_no_query_is_an_error(indexed: Path, browse: Open, query: str) -> None:
    """Whatever is typed is words."""
    from urllib.parse import quote

    for place in ("", "&in=response", "&sort=best"):
        assert browse(indexed).get(f"/-/gateway/search?q={quote(query)}{place}").status_code == 200


def test_marks_are_ours_alone() -> None:
    """A text that has the marks itself makes no more of them than are opened and closed."""
    from datasette_llm_gateway.views.search import CLOSE, OPEN, marked

    assert marked(f"a {OPEN}b{CLOSE} <i>") == "a <mark>b</mark> &lt;i&gt;"
    for text in (f"{OPEN}{OPEN}a", f"{CLOSE}a{CLOSE}", f"{OPEN}<{CLOSE}{CLOSE}{OPEN}", ""):
        shown = str(marked(text))
        assert shown.count("<mark>") == shown.count("</mark>")
    assert marked(None) == ""


def test_without_an_index(made: Made, browse: Open, tmp_path: Path) -> None:
    """A recorder written where there is no FTS5 says what to do."""
    path = tmp_path / "logs.db"
    source, copy = sqlite3.connect(made[0]), sqlite3.connect(path)
    source.backup(copy)
    copy.execute("DROP TABLE bodies_fts")
    copy.commit()
    source.close()
    copy.close()
    assert "no full-text index" in browse(path).ok("/-/gateway/search?q=x")


def test_approvals(made: Made, browse: Open) -> None:
    """The score, rule by rule, against the threshold; and filters."""
    browser = browse(made[0])
    page = browser.ok("/-/gateway/approvals")
    for told in (
        "approved",
        "+3",
        "access edit",
        "many tools",
        "of 6",
        "gw-limit",
        made[1]["edit"],
    ):
        assert told in page, told
    assert page.index("+3") < page.index("+2"), "what counts most comes first"
    assert "No decision of this kind" in browser.ok("/-/gateway/approvals?decision=denied")
    assert made[1]["edit"] in browser.ok("/-/gateway/approvals?decision=approved&policy=balanced")


def test_compare_finds_the_others(made: Made, browse: Open) -> None:
    """One id is enough: the newest answers of other models to the same prompt stand beside it."""
    browser = browse(made[0])
    first = re.search(r"compare\?id=(\w+)", browser.ok("/-/gateway/compare"))
    assert first
    page = browser.ok(f"/-/gateway/compare?id={first.group(1)}")
    assert page.count('aria-label="Answer ') == 4 and "the same words as the first" in page
    assert len(set(re.findall(r'gw-card p-(\w+)" aria', page))) > 1
    two = re.findall(r'name="id" value="(\w+)"', page)[:2]
    page = browser.ok(f"/-/gateway/compare?id={two[0]}&id={two[1]}")
    assert page.count('aria-label="Answer ') == 2 and "Only in the first" in page
    assert browser.get("/-/gateway/compare?id=none").status_code == 404
    assert "a single run of" in re.sub("</?(ins|del)>", "", page) and "<ins>a single</ins>" in page
    other = browser.ok(f"/-/gateway/compare?id={made[1]['edit']}&id={two[0]}")
    assert "so little in common" in other and "<ins>" not in other
    assert "did not have the same prompt" in other
    assert f"compare?id={two[0]}" in browser.ok(f"/-/gateway/request/{two[0]}")


@pytest.mark.parametrize(
    ("left", "right", "shown"),
    [
        ("the cat sat", "the dog sat", ("the <del>cat</del> sat", "the <ins>dog</ins> sat")),
        ("a\nb\n", "a\nb\n", ("a\nb\n", "a\nb\n")),
        ("a\n", "a\nb\n", ("a\n", "a\n<ins>b\n</ins>")),
        ("<b>", "<i>", ("&lt;<del>b</del>&gt;", "&lt;<ins>i</ins>&gt;")),
        ("", "x", ("", "<ins>x</ins>")),
    ],
)
def test_word_by_word(left: str, right: str, shown: tuple[str, str]) -> None:
    """What is only theirs is marked, and is escaped."""
    from datasette_llm_gateway.worddiff import differences

    found = differences(left, right)
    assert (str(found[0]), str(found[1])) == shown
    assert (found[2] == 1) == (left == right)


def test_long_texts_are_not_compared_for_long() -> None:
    """Neither many lines nor one long line of many words is compared word by word."""
    from datasette_llm_gateway.worddiff import differences

    long = " ".join(f"w{number % 97}" for number in range(20_000))
    for left, right in ((long, long[::-1]), ("x\n" * 5000, "y\n" * 5000), ("a" * 200_000, "b")):
        one, two, shared = differences(left, right)
        assert len(one) >= len(left) and len(two) >= len(right) and shared < 1


def test_tables_are_described(made: Made, browse: Open) -> None:
    """Every table and nearly every column says what it is; every column that is named exists."""
    from datasette_llm_gateway.tables import TABLES

    conn = sqlite3.connect(made[0])
    names = {
        name
        for (name,) in conn.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        )
        if not name.startswith(("sqlite_", "bodies_fts"))
    }
    assert names == set(TABLES)
    for name, told in TABLES.items():
        columns = {row[1] for row in conn.execute(f"PRAGMA table_info({name})")}
        assert set(told.get("columns", {})) <= columns, name
        used = [*told.get("facets", []), told.get("sort_desc"), told.get("label_column")]
        assert {column for column in used if column} <= columns, name
    conn.close()
    browser = browse(made[0])
    page = browser.ok("/gateway/request_rows")
    assert "One row an ask" in page and "a part of input_tokens" in page
    assert "the CLI&#39;s default" in page or "the CLI&#x27;s default" in page


def test_cells_lead_to_screens(made: Made, browse: Open) -> None:
    """A foreign key shows its row's label and leads to the screen."""
    page = browse(made[0]).ok("/gateway/job_rows?_sort_desc=started_at")
    assert f'<a href="/-/gateway/request/{made[1]["edit"]}">Fix it, and add a test.</a>' in page


def test_canned_queries(indexed: Path, browse: Open) -> None:
    """At least a dozen; each runs on Datasette's page, goes through no big table, and leads on."""
    from datasette_llm_gateway.canned import QUERIES

    assert len(QUERIES) >= 12
    browser, conn = browse(indexed), sqlite3.connect(indexed)
    values = {"days": "", "provider": "", "words": "colon"}
    linked = 0
    for name, told in QUERIES.items():
        page = browser.ok(f"/gateway/{name}?days=&provider=&words=colon")
        assert "message-error" not in page, name
        linked += "/-/gateway/request/" in page
        assert told["title"] and told["description"], name
        assert told["sql"].startswith("SELECT")
        plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {told['sql']}", values)]
        big = r"SCAN (request_rows|job_rows|events|bodies|attempts|sessions)\b"
        assert not [step for step in plan if re.match(big, step)], (name, plan)
        for words in ("", '"', 'x" OR "y', "*"):
            conn.execute(told["sql"], {**values, "words": words}).fetchall()
    conn.close()
    assert linked >= 4
    assert "/gateway/cost_by_model" in browser.ok("/gateway")
