"""Who sees what: nobody but root and those whom the operator names, on every address."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.datasette.conftest import Browser, Open, routes

Made = tuple[Path, dict[str, str]]
SIMON = {"id": "simon"}


def addresses(browser: Browser, ids: dict[str, str]) -> list[str]:
    """Every screen, table, row, query and export of both databases."""
    found = routes(browser, ids)
    for name in ("gateway", "llm"):
        found += [
            f"/{name}",
            f"/{name}.json",
            f"/{name}?sql=select+1",
            f"/{name}.json?sql=select+1",
        ]
        found += [
            f"/{name}.csv?sql=select+1",
            f"/{name}/-/query?sql=select+1",
            f"/{name}/-/query.json?sql=select+1",
        ]
        names = browser.wait(browser.datasette.get_database(name).table_names())
        names += browser.wait(browser.datasette.get_database(name).view_names())
        found += [f"/{name}/{table}{format}" for table in names for format in ("", ".json", ".csv")]
    found.append(f"/gateway/request_rows/{ids['edit']}")
    return found


def with_llm(path: Path) -> None:
    import sqlite3

    conn = sqlite3.connect(path.parent / "llm.db")
    conn.execute(
        "CREATE TABLE IF NOT EXISTS turns (id TEXT PRIMARY KEY, thread_id TEXT, model TEXT)"
    )
    conn.commit()
    conn.close()


def test_private_by_default(made: Made, browse: Open) -> None:
    """Nobody and a stranger get 403 everywhere; root gets in."""
    path, ids = made
    with_llm(path)
    browser = browse(path, None)
    assert {"gateway", "llm"} <= set(browser.datasette.databases)
    refused, let_in = [], []
    for address in addresses(browser, ids):
        for actor in (None, {"id": "mallory"}):
            refused.append((address, actor, browser.get(address, actor).status_code))
        let_in.append((address, browser.get(address, {"id": "root"}).status_code))
    # Where a version has no such address it says so to root only.
    assert [seen for seen in refused if seen[2] not in (403, 302, 404, 405)] == []
    assert [seen for seen in refused if seen[2] == 404 and (seen[0], 404) not in let_in] == []
    assert len([seen for seen in let_in if seen[1] == 200]) > 40
    # The tables inside a full-text index are nobody's on 1.0.
    assert [seen for seen in let_in if seen[1] >= 500] == []
    assert [seen for seen in let_in if seen[1] == 403 and "_fts_" not in seen[0]] == []


def test_whom_the_operator_names(made: Made, browse: Open) -> None:
    """``allow`` lets an actor in, and nobody else."""
    browser = browse(made[0], None, allow={"id": "simon"})
    for address in (
        "/-/gateway/requests",
        "/gateway",
        "/gateway/request_rows",
        "/gateway/request_rows.csv",
    ):
        assert browser.get(address, SIMON).status_code == 200, address
        assert browser.get(address).status_code == 403, address


def test_public_is_said(made: Made, browse: Open) -> None:
    """``public`` opens it for reading, to everybody."""
    browser = browse(made[0], None, public=True)
    for address in ("/-/gateway/requests", "/gateway", "/gateway/request_rows"):
        assert browser.get(address).status_code == 200, address


def test_nothing_is_offered_that_is_refused(made: Made, browse: Open) -> None:
    """The menu has no link for who may not follow it."""
    browser = browse(made[0], None)
    assert "/-/gateway" not in browser.get("/").text
    assert "/-/gateway" in browser.get("/", {"id": "root"}).text


def test_a_recorder_under_another_name(made: Made, browse: Open) -> None:
    """One that the operator opened himself is private as well, and the screens read it."""
    from datasette.database import Database

    browser = browse(Path("/nowhere/logs.db"), None)
    browser.datasette.add_database(
        Database(browser.datasette, str(made[0]), is_mutable=True), name="mine"
    )
    assert "Fix it, and add a test" in browser.get("/-/gateway/requests", {"id": "root"}).text
    assert browser.get("/mine/request_rows").status_code == 403


def test_nobody_writes(made: Made, browse: Open) -> None:
    """Root included: no row can be changed through Datasette."""
    browser = browse(made[0])
    database = browser.datasette.get_database("gateway")
    with pytest.raises(Exception, match=r"readonly|read-only"):
        browser.wait(database.execute_write("DELETE FROM request_rows"))
    for address in (
        "/gateway/request_rows/-/insert",
        "/gateway/-/create",
        "/gateway/request_rows/-/drop",
    ):
        answer = browser.post(
            address,
            json={"row": {"id": "x"}},
            headers={"origin": "http://localhost", "host": "localhost"},
        )
        assert answer.status_code in (403, 404, 405), (address, answer.text[:200])
    assert browser.wait(database.execute("SELECT count(*) FROM request_rows")).first()[0] > 50


WRITER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1])
conn.execute("pragma journal_mode=wal")
conn.execute("update meta set value = value")
conn.commit()
conn.close()
"""


def test_a_page_leaves_the_locks_of_this_process(made: Made, browse: Open, tmp_path: Path) -> None:
    """A gateway that ends meanwhile leaves the log alone, since these connections still read it."""
    path = Path(shutil.copy(made[0], tmp_path / "logs.db"))
    browser = browse(path)
    write = [sys.executable, "-c", WRITER, str(path)]
    log = Path(f"{path}-wal")
    subprocess.run(write, check=True)
    assert not log.exists()  # nobody else had it
    for _ in range(2):
        browser.ok("/-/gateway/requests")
    subprocess.run(write, check=True)
    assert log.exists()


def test_other_hosts(made: Made, browse: Open) -> None:
    """Where hosts are listed, a name that was rebound to this machine is refused."""
    browser = browse(made[0], hosts=["127.0.0.1", "localhost", "[::1]"])
    for host, status in (
        ("localhost:8001", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example:80", 403),
    ):
        assert browser.get("/-/gateway/requests", headers={"host": host}).status_code == status, (
            host
        )
