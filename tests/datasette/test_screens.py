"""What the screens show, and what they do not let happen."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sqlite3
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.datasette.conftest import Open, routes
from tests.datasette.sample import EVIL

Made = tuple[Path, dict[str, str]]
FROM_HERE = {"origin": "http://localhost", "host": "localhost"}


def test_every_route_answers(made: Made, browse: Open) -> None:
    """With what there is, and with names of what there is not."""
    browser = browse(made[0])
    for address in routes(browser, made[1]):
        assert browser.get(address).status_code in (200, 302), address
    for address in routes(browser, dict.fromkeys(made[1], "no-such~thing/../x")):
        assert browser.get(address).status_code in (200, 302, 404), address


def test_requests_page_by_page(made: Made, browse: Open) -> None:
    """Older and newer lead through all of them, once, and back."""
    browser, seen, address = browse(made[0]), [], "/-/gateway/requests"
    while address:
        page = browser.ok(address)
        seen.append(re.findall(r'href="/-/gateway/request/(\w+)"', page))
        older = re.search(r'href="([^"]+)" rel="next"', page)
        address = older.group(1).replace("&amp;", "&") if older else ""
    flat = [id for page in seen for id in page]
    count = browser.wait(
        browser.datasette.get_database("gateway").execute("SELECT count(*) FROM request_rows")
    )
    assert len(flat) == len(set(flat)) == count.first()[0]
    newer = re.search(r'href="([^"]+)" rel="prev"', page)
    assert newer
    again = browser.ok(newer.group(1).replace("&amp;", "&"))
    assert re.findall(r'href="/-/gateway/request/(\w+)"', again) == seen[-2]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("provider=claude&status=completed", "provider = 'claude' AND status = 'completed'"),
        ("category=rate_limited", "error_category = 'rate_limited'"),
        ("access=edit", "access = 'edit'"),
        ("access=read&min_cost=0.1", "access = 'read' AND cost_usd >= 0.1"),
        ("cwd=/home/ada/code/notes", "cwd = '/home/ada/code/notes'"),
        ("cwd=/home/ada/wor", "0"),
        ("min_seconds=60", "duration_ms >= 60000"),
        ("range=24h", "datetime_utc > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')"),
        ("min_cost=nonsense&range=never&from=yesterday", "1"),
    ],
)
def test_filters(made: Made, browse: Open, query: str, where: str) -> None:
    """Each filter finds exactly its rows, in every form in which they are given."""
    browser = browse(made[0])
    conn = sqlite3.connect(made[0])
    wanted = {row[0] for row in conn.execute(f"SELECT id FROM request_rows WHERE {where}")}
    conn.close()
    found = browser.get(f"/-/gateway/requests?{query}&_format=json").json()
    assert {row["id"] for row in found} == wanted
    table = csv.DictReader(io.StringIO(browser.ok(f"/-/gateway/requests?{query}&_format=csv")))
    assert {row["id"] for row in table} == wanted
    page = browser.ok(f"/-/gateway/requests?{query}")
    assert set(re.findall(r'href="/-/gateway/request/(\w+)"', page)) <= wanted


def test_same_rows_in_datasette(made: Made, browse: Open) -> None:
    """The links to table and SQL lead to Datasette's own pages with the same filter, bound."""
    browser = browse(made[0])
    page = browser.ok("/-/gateway/requests?provider=codex&q=review")
    for label in ("Table", "SQL"):
        address = re.search(rf'href="([^"]+)">{label}</a>', page)
        assert address
        shown = browser.ok(address.group(1).replace("&amp;", "&"))
        assert "Review the change" in shown or label == "SQL", label
    assert "codex" not in page.split("SQL</a>")[0].rpartition("sql=")[2].split("&amp;")[0]


def test_cells_lead_to_screens(made: Made, browse: Open) -> None:
    """In Datasette's own tables, times, sessions and jobs are links; also without the id."""
    browser, id = browse(made[0]), made[1]["edit"]
    page = browser.ok("/gateway/request_rows?_size=100")
    assert f'href="/-/gateway/request/{id}"' in page and 'href="/-/gateway/session/' in page
    assert "/-/gateway/job/" in browser.ok("/gateway/requests")
    browser.ok("/gateway/request_rows?_col=datetime_utc&_col=provider")
    browser.ok("/gateway/attempts")


def test_a_request_tells_everything(made: Made, browse: Open) -> None:
    """Words, steps, time, facts, the way on."""
    page = browse(made[0]).ok(f"/-/gateway/request/{made[1]['edit']}")
    for told in (
        "Fix it, and add a test.", "<strong>every</strong>", "pytest -q tests/test_headers.py", "Back-off",
        "Attempt 2", "claude --resume 0b9f2c44", "llm -m gateway-claude -o access edit", "Approval",
        "something harmless", "$0.2231", "61.4k", made[1]["first"],
    ):  # fmt: skip
        assert told in page, told


def test_failures_say_what_to_do(made: Made, browse: Open) -> None:
    """Cause and remedy."""
    page = browse(made[0]).ok(f"/-/gateway/request/{made[1]['auth']}")
    assert "not logged in" in page and "Log in to the vendor" in page


def test_raw_and_events(made: Made, browse: Open) -> None:
    """The answer as it stands, texts for copying, and the events a page at a time."""
    browser, id = browse(made[0]), made[1]["edit"]
    assert "splits on **every** colon" in browser.ok(f"/-/gateway/request/{id}?view=raw")
    text = browser.get(f"/-/gateway/request/{id}/response.txt")
    assert text.headers["content-type"].startswith("text/plain") and "**every**" in text.text
    assert "tool_call" in browser.ok(f"/-/gateway/request/{id}?events=-1")
    assert browser.get(f"/-/gateway/request/{made[1]['unkept']}/prompt.txt").status_code == 404
    assert "Not kept" in browser.ok(f"/-/gateway/request/{made[1]['unkept']}")
    short = browser.get(f"/-/gateway/request/{id[:-2]}")
    assert short.status_code == 302 and short.headers["location"].endswith(id)


def test_a_session_goes_across_providers(made: Made, browse: Open) -> None:
    """Turns of the same conversation of llm's, whoever answered, with what they came to."""
    browser = browse(made[0])
    page = browser.ok(f"/-/gateway/session/{made[1]['session']}?provider=claude")
    talk = page.partition("gw-transcript")[2]
    order = [
        talk.index(words) for words in ("Why does the server", "Fix it, and", "Review the change")
    ]
    assert order == sorted(order) and "Σ $0.2643" in page and "its own session" in page
    export = browser.get(f"/-/gateway/session/{made[1]['session']}?_format=md")
    assert export.headers["content-type"].startswith("text/markdown")
    assert "> Fix it, and add a test." in export.text
    assert "Review the change" in browser.ok(f"/-/gateway/session/{made[1]['thread']}")


def test_jobs_live(made: Made, browse: Open) -> None:
    """What runs comes first, with what it says last; the part alone has no page around it."""
    page = browse(made[0]).ok("/-/gateway/jobs")
    assert page.index("Migrate the settings page") < page.index("Fix it, and add a test")
    assert "I have moved the first two forms" in page
    part = browse(made[0]).ok("/-/gateway/jobs?_part=live")
    assert "Migrate the settings page" in part and "<html" not in part


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    """A sample that may be written to."""
    path = tmp_path / "logs.db"
    source, target = sqlite3.connect(made[0]), sqlite3.connect(path)
    source.backup(target)
    target.execute("PRAGMA journal_mode=WAL")
    source.close()
    target.close()
    return path


def asked(path: Path) -> list[str]:
    conn = sqlite3.connect(path)
    found = [
        row[0] for row in conn.execute("SELECT id FROM job_rows WHERE cancel_requested_at NOTNULL")
    ]
    conn.close()
    return found


def test_cancel(copied: Path, browse: Open, made: Made) -> None:
    """A form of this page cancels a live job once; nothing else can."""
    browser = browse(copied)
    conn = sqlite3.connect(copied)
    jobs = dict(conn.execute("SELECT status, id FROM job_rows").fetchall())
    conn.close()
    live = f"/-/gateway/job/{jobs['running']}/cancel"
    first = browser.get("/-/gateway/jobs")
    token = re.search(r'name="csrftoken" value="([^"]*)"', first.text)
    assert token
    form = {"data": {"csrftoken": token.group(1)}, "cookies": dict(first.cookies)}
    attacks: list[tuple[dict[str, str], Any]] = [
        ({"origin": "https://evil.example", "host": "localhost"}, {"id": "root"}),
        ({"origin": "null", "host": "localhost"}, {"id": "root"}),
        ({"sec-fetch-site": "cross-site", "host": "localhost"}, {"id": "root"}),
        ({"host": "localhost"}, {"id": "root"}),
        (FROM_HERE, {"id": "mallory"}),
    ]
    for headers, actor in attacks:
        assert browser.post(live, actor, headers=headers, **form).status_code == 403, headers
    anonymous = browse(copied, None, public=True)
    assert anonymous.post(live, headers=FROM_HERE, **form).status_code == 403
    assert anonymous.get("/-/gateway/jobs").text.count("csrftoken") == 0
    assert browser.get(live).status_code == 302 and asked(copied) == []
    assert browser.post(live, headers=FROM_HERE, **form).status_code == 302
    assert asked(copied) == [jobs["running"]]
    assert "Asked to end" in browser.ok("/-/gateway/jobs")
    browser.post(f"/-/gateway/job/{jobs['completed']}/cancel", headers=FROM_HERE, **form)
    assert asked(copied) == [jobs["running"]]


class Tags(HTMLParser):
    """Everything in a page that could do something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag in ("img", "iframe", "object", "embed", "base", "textarea", "math", "style"):
            self.found.append(tag)
        if tag == "script" and not (told.get("src") or "").startswith("/-/static-plugins/"):
            self.found.append(tag)
        for name, value in attrs:
            plain = re.sub(r"[\s\x00-\x20]", "", value or "").lower()
            if name.startswith("on") or name in ("srcdoc", "style"):
                self.found.append(f"{tag} {name}")
            if name in ("href", "src", "action", "formaction", "xlink:href") and plain.startswith(
                ("javascript:", "vbscript:", "data:text", "file:")
            ):
                self.found.append(f"{tag} {name}={value}")


def test_what_a_model_writes_is_text(evil: tuple[Path, list[str]], browse: Open) -> None:
    """Attacks in every text of the recorder are inert on every screen."""
    path, ids = evil
    browser = browse(path)
    from datasette.utils import tilde_encode

    addresses = [
        "/-/gateway/requests",
        "/-/gateway/jobs",
        "/-/gateway/jobs?_part=live",
        "/-/gateway/sessions",
    ]
    for id, words in zip(ids, EVIL, strict=True):
        addresses += [f"/-/gateway/request/{id}?events=-1", f"/-/gateway/request/{id}?view=raw"]
        addresses += [f"/-/gateway/session/{tilde_encode(words)}"]
    addresses += [
        a
        for a in routes(browser, dict.fromkeys(("edit", "session"), ids[0]))
        if not a.endswith(".txt")
    ]
    for address in addresses:
        answer = browser.get(address)
        assert answer.status_code in (200, 302, 404), (address, answer.text[-500:])
        assert Tags(answer.text).found == [], address
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", answer.text), (
            address
        )
        policy = answer.headers["content-security-policy"]
        assert (
            "script-src 'self';" in policy
            and "unsafe" not in policy
            and "default-src 'none'" in policy
        )
    assert "alert(1)" in browser.ok(f"/-/gateway/request/{ids[0]}"), "the attack is there, as text"


def test_the_tags_test_can_fail() -> None:
    """It sees what it looks for."""
    for words in [*EVIL[:3], EVIL[15], '<a href=" java\nscript:alert(1)">', '<p style="x">']:
        assert Tags(f"<p>{words}</p>").found


@pytest.mark.parametrize(
    "address",
    [
        "/-/gateway/requests?_format=csv",
        "/gateway/bodies.csv",
        "/gateway/request_rows.csv?_stream=1",
        "/gateway/events.csv",
    ],
)
def test_cells_are_no_formulas(evil: tuple[Path, list[str]], browse: Open, address: str) -> None:
    """Nothing in a CSV, Datasette's own included, begins like a formula or steers a terminal."""
    browser = browse(evil[0])
    text = browser.ok(address)
    assert "\x1b" not in text and "SUM(1+1)" in text
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len({len(row) for row in rows}) == 1
    for row in rows:
        for cell in row:
            assert not re.match(r"\s*[=+@|%]|\s*-(?![\d.]+$)", cell), cell


def test_a_long_cell(copied: Path, browse: Open) -> None:
    """A megabyte on one line is a cell like any other, and a page."""
    conn = sqlite3.connect(copied)
    id = conn.execute("SELECT max(id) FROM bodies").fetchone()[0]
    conn.execute(
        "UPDATE bodies SET response = ?, stderr = ? WHERE id = ?", ("x" * 10**6, "y " * 10**6, id)
    )
    conn.commit()
    conn.close()
    browser = browse(copied)
    text = browser.ok(f"/gateway/bodies.csv?id={id}&_stream=1")
    assert "x" * 10**6 in text and "Caught" not in text
    for view in ("", "?view=raw", "?events=-1"):
        assert len(browser.ok(f"/-/gateway/request/{id}{view}")) < 10**6


ODD = (
    "../..",
    ".",
    "a/b",
    "a%2Fb",
    "~2F",
    "a b",
    "?x=1#h",
    "日本",
    "\x1b[0m",
    "it's",
    "x" * 3000,
    "a.txt",
)


def test_odd_ids_and_values(copied: Path, browse: Open) -> None:
    """Whatever somebody wrote to the file: each id has its page, and no page is an error of ours."""
    from datasette.utils import tilde_encode

    conn = sqlite3.connect(copied)
    names = [row[1] for row in conn.execute("PRAGMA table_info(request_rows)") if row[1] != "seq"]
    rest = ", ".join(name for name in names if name != "id")
    for id in ODD:
        conn.execute(
            f"INSERT INTO request_rows (id, {rest}) SELECT ?, {rest} FROM request_rows LIMIT 1",
            (id,),
        )
    conn.commit()
    browser = browse(copied)
    for id in ODD:
        page = browser.ok(f"/-/gateway/request/{tilde_encode(id)}")
        assert "There is no request" not in page, id
    for column, value in (
        ("duration_ms", "'long'"), ("duration_ms", "-5"), ("cost_usd", "1e300"), ("cost_usd", "'x'"),
        ("input_tokens", "'many'"), ("datetime_utc", "'soon'"), ("status", "'exploded'"), ("cwd", "x'ff'"),
    ):  # fmt: skip
        conn.execute(f"UPDATE request_rows SET {column} = {value} WHERE id = ?", (ODD[0],))
        conn.commit()
        for path in (
            "",
            "/requests",
            "/requests?_format=json",
            f"/compare?id={tilde_encode(ODD[0])}",
        ):
            assert browser.get(f"/-/gateway{path}").status_code in (200, 404), (column, value, path)
        answer = browser.get(f"/-/gateway/request/{tilde_encode(ODD[0])}")
        assert answer.status_code == 200 or "not what the gateway writes" in answer.text
    conn.close()


def test_csv_in_pieces() -> None:
    """However a CSV is cut, it comes out the same."""
    from datasette_llm_gateway.csvs import Harmless

    whole = 'a,b\r\n"=x ""1"",\n2",é\r\n-5,"-y"\r\nlast,'.encode()
    wanted = 'a,b\r\n"\'=x ""1"",\n2",é\r\n-5,\'-y\r\nlast,\r\n'.encode()
    for size in range(1, len(whole) + 1):
        harmless, out = Harmless(), b""
        for at in range(0, len(whole), size):
            out += harmless.take(whole[at : at + size], False)
        assert out + harmless.take(b"", True) == wanted, size


def file_of(tmp_path: Path, kind: str, made: Path) -> Path:
    """A file that the screens cannot read."""
    path = tmp_path / "broken.db"
    if kind == "missing":
        return path
    shutil.copy(made, path)
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA journal_mode=DELETE")
    if kind == "garbage":
        conn.close()
        head = path.read_bytes()[:100]
        path.write_bytes(head + b"\xff" * 40_000)
        return path
    conn.execute("ALTER TABLE request_rows RENAME TO rows_of_requests")
    conn.execute("ALTER TABLE job_rows RENAME COLUMN started_at TO begun")
    conn.execute("DROP TABLE sessions")
    conn.execute(f"PRAGMA user_version={ {'older': 1, 'newer': 99}.get(kind, 2) }")
    conn.commit()
    conn.close()
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "llm -m gateway-demo hello"),
        ("older", "older than these screens"),
        ("newer", "datasette install -U"),
        ("renamed", "does not have what these screens read"),
        ("garbage", "llm gateway doctor"),
    ],
)
def test_files_that_cannot_be_read(
    made: Made, browse: Open, tmp_path: Path, kind: str, says: str
) -> None:
    """Every screen says what to do, and none is an error of ours."""
    try:
        browser = browse(file_of(tmp_path, kind, made[0]))
    except sqlite3.DatabaseError:
        pytest.skip("this Datasette itself does not start on such a file")
    for address in routes(browser, made[1]):
        answer = browser.get(address)
        assert answer.status_code in (200, 302, 503), (address, answer.status_code)
        assert answer.status_code == 302 or says in answer.text or ".txt" in address, address


def test_a_newer_file_that_has_it_all(copied: Path, browse: Open) -> None:
    """A newer schema is read as long as it can be."""
    conn = sqlite3.connect(copied)
    conn.execute("PRAGMA user_version=99")
    conn.close()
    assert "Fix it, and add a test" in browse(copied).ok("/-/gateway/requests")


def test_a_file_that_is_replaced(copied: Path, browse: Open, evil: tuple[Path, list[str]]) -> None:
    """Taken away, it is missed; what stands in its place is read, by every thread."""
    browser = browse(copied)
    for _ in range(6):
        assert "Fix it, and add a test" in browser.ok("/-/gateway/requests")
    away = copied.with_name("away.db")
    copied.rename(away)
    for name in ("-wal", "-shm"):
        Path(f"{copied}{name}").unlink(missing_ok=True)
    assert "no flight recorder yet" in browser.ok("/-/gateway/requests")
    assert "no flight recorder yet" in browser.ok(f"/-/gateway/request/{evil[1][0]}")
    shutil.copy(evil[0], copied)
    for _ in range(6):
        page = browser.ok("/-/gateway/requests")
        assert "alert(1)" in page and "Fix it, and add a test" not in page
        assert "Fix it, and add a test" not in browser.ok("/gateway/request_rows")
    copied.write_bytes(b"nothing that SQLite knows" * 400)
    assert browser.get("/-/gateway/requests").status_code in (200, 503)
    copied.unlink()
    away.rename(copied)
    assert "Fix it, and add a test" in browser.ok("/-/gateway/requests")


def test_others_are_not_asked_at_every_page(
    made: Made, browse: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of the operator's that is no recorder is looked at once in a while."""
    from datasette.database import Database
    from datasette_llm_gateway import recorder

    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.close()
    browser = browse(tmp_path / "none.db")
    browser.datasette.add_database(Database(browser.datasette, str(other)), name="other")
    asked: list[str] = []
    ask = recorder._application_id
    monkeypatch.setattr(recorder, "_application_id", lambda p: asked.append(p) or ask(p))
    for _ in range(5):
        assert "no flight recorder yet" in browser.ok("/-/gateway/requests")
    assert asked == [str(other)]


def test_switched_off(browse: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that is off is not looked for."""
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", "none")
    assert "switched off" in browse(None).ok("/-/gateway/requests")


def test_it_finds_the_file_by_itself(
    made: Made, browse: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the variables that the gateway itself obeys; also one that appears later."""
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(made[0].parent))
    assert "Fix it, and add a test" in browse(None).ok("/-/gateway/requests")
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(made[0].parent / "later"))
    browser = browse(None)
    assert "no flight recorder yet" in browser.ok("/-/gateway/requests")
    (made[0].parent / "later").mkdir()
    shutil.copy(made[0], made[0].parent / "later" / "logs.db")
    assert browser.get("/-/gateway/requests").status_code == 200
    assert browser.get("/gateway/request_rows", {"id": "mallory"}).status_code == 403


WRITES = """
import sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
print("ready", flush=True)
until = time.monotonic() + 60
n = 0
while time.monotonic() < until:
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("INSERT INTO request_rows (id, provider, model, status, datetime_utc) VALUES"
                 " (?, 'claude', 'm', 'completed', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", (f"w{n:09}",))
    conn.execute("COMMIT")
    n += 1
    time.sleep(0.002)
"""


def test_while_somebody_writes(copied: Path, browse: Open, made: Made) -> None:
    """Pages load while another process writes, and show what it wrote."""
    writer = subprocess.Popen([sys.executable, "-c", WRITES, str(copied)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        browser = browse(copied)
        for _ in range(5):
            for address in (
                "/-/gateway/requests",
                "/-/gateway/jobs",
                f"/-/gateway/request/{made[1]['edit']}",
            ):
                browser.ok(address)
        assert "/-/gateway/request/w0000" in browser.ok("/-/gateway/requests")
    finally:
        writer.kill()
        writer.wait(10)
        if writer.stdout is not None:
            writer.stdout.close()


def test_too_slow_is_said(made: Made, browse: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query over Datasette's limit gives a page that says so."""
    from datasette_llm_gateway import queries

    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    monkeypatch.setattr(queries, "LIVE_JOBS", slow)
    browser = browse(made[0])
    browser.datasette._settings["sql_time_limit_ms"] = 50
    answer = browser.get("/-/gateway/jobs")
    assert answer.status_code == 503 and "took too long" in answer.text
