"""The stream that says that the recorder was written, of a Datasette that is a process."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.datasette.conftest import Browser, Open
from tests.fakes.cli import until

SECRET = "of-these-tests-alone-0123456789abcdef"
PATH = "/-/gateway/changes"
STREAM = {"accept": "text/event-stream"}
WRITER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], timeout=30)
conn.execute("INSERT OR REPLACE INTO meta VALUES ('written by a test', hex(randomblob(8)))")
conn.commit()
"""


class Served:
    """``datasette serve`` on a recorder of its own."""

    def __init__(self, folder: Path, sample: Path) -> None:
        self.path = Path(shutil.copy(sample, folder / "logs.db"))
        told = {"plugins": {"datasette-llm-gateway": {"path": str(self.path), "llm_path": "/no"}}}
        (folder / "told.json").write_text(json.dumps(told))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        argv = [sys.executable, "-m", "datasette", "serve", "--root", "-p", str(self.port)]
        argv += ["-m", str(folder / "told.json"), "--secret", SECRET]
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
        until(lambda: "running on http" in self.log.read_text(), 90, "Datasette's start")

    def ask(
        self, cookie: str = "", method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The answer's head; its body may never end."""
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {"cookie": f"ds_actor={cookie}"} if cookie else {}
        conn.request(method, PATH, headers={**given, **headers})
        return conn, conn.getresponse()

    def write(self) -> None:
        """Another process writes."""
        subprocess.run([sys.executable, "-c", WRITER, str(self.path)], check=True)

    def holds(self) -> int:
        """How many of this process's open files are the recorder."""
        files = Path(f"/proc/{self.process.pid}/fd").iterdir()
        return sum(os.path.realpath(file) == str(self.path) for file in files)


@pytest.fixture(scope="module")
def root(made: tuple[Path, dict[str, str]]) -> str:
    """Root's cookie, for any Datasette with the secret."""
    browser = Browser(made[0])
    browser.datasette._secret = SECRET
    cookie = browser.cookies({"id": "root"})["ds_actor"]
    browser.close()
    return cookie


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Path, dict[str, str]]
) -> Iterator[Served]:
    """One for all tests here; the last of them ends it."""
    found = Served(tmp_path_factory.mktemp("served"), made[0])
    yield found
    found.process.kill()
    found.process.wait(30)


def event(answer: http.client.HTTPResponse) -> str:
    """The next one, comments left out."""
    lines: list[str] = []
    while True:
        line = answer.readline().decode()
        assert line, "the stream ended"
        if line.startswith((":", "retry:")) or (line == "\n" and not lines):
            continue
        if line == "\n":
            return "".join(lines)
        lines.append(line)


def test_a_write_of_another_process_arrives(served: Served, root: str) -> None:
    """Once at the beginning, and then for each writer; nothing keeps the log from being emptied."""
    conn, answer = served.ask(root, **STREAM)
    assert answer.status == 200 and answer.headers["content-type"] == "text/event-stream"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["x-accel-buffering"] == "no"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert event(answer).startswith("event: written")
    for _ in range(2):
        served.write()
        assert event(answer).startswith("event: written")
    log = sqlite3.connect(served.path)
    assert log.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    log.close()
    conn.close()


def test_who_gets_none(served: Served, root: str) -> None:
    """Strangers, other sites, other methods, and who did not ask for a stream."""
    asked: list[tuple[tuple[str, str], dict[str, str], int]] = [
        (("", "GET"), STREAM, 403),
        (("nonsense", "GET"), STREAM, 403),
        ((root, "GET"), {**STREAM, "sec-fetch-site": "cross-site"}, 403),
        ((root, "GET"), {}, 406),
    ]
    for (cookie, method), headers, status in asked:
        conn, answer = served.ask(cookie, method, **headers)
        assert answer.status == status, (method, headers)
        assert "gateway" not in answer.headers.get("set-cookie", "")
        conn.close()
    conn, answer = served.ask(root, "POST", **STREAM)
    assert answer.status in (403, 405)
    conn.close()


def test_there_is_room_for_twenty_and_for_who_comes_after(served: Served, root: str) -> None:
    """A stream more is refused, and one look is for all of them; those who leave make room."""
    before = served.holds()
    full = [served.ask(root, **STREAM) for _ in range(20)]
    assert [answer.status for _, answer in full] == [200] * 20
    assert served.holds() <= before + 1
    late, answer = served.ask(root, **STREAM)
    assert answer.status == 503
    late.close()
    for conn, answer in full:
        answer.close()
        conn.close()

    def again() -> bool:
        conn, answer = served.ask(root, **STREAM)
        conn.close()
        return answer.status == 200

    until(again, 30, "room again")
    assert served.holds() <= before + 1


def test_it_ends_with_the_server(served: Served, root: str) -> None:
    """An open stream does not keep Datasette from ending."""
    conn, answer = served.ask(root, **STREAM)
    assert answer.status == 200 and event(answer)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) in (0, -signal.SIGTERM)
    conn.close()


class Client:
    """Takes what a stream sends, until it has enough."""

    def __init__(self, leaves_after: int) -> None:
        self.sent: list[dict[str, Any]] = []
        self.leaves_after = leaves_after

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def receive(self) -> dict[str, Any]:
        while len(self.sent) < self.leaves_after:
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("leaves_after", [3, 1000])
def test_a_stream_beats_and_ends(
    made: tuple[Path, dict[str, str]],
    browse: Open,
    monkeypatch: pytest.MonkeyPatch,
    leaves_after: int,
) -> None:
    """Comments keep it open where nothing happens, for a while; who left gets nothing more."""
    from datasette_llm_gateway import watching
    from datasette_llm_gateway.views import changes

    monkeypatch.setattr(watching, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(changes, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(changes, "LONGEST_SECONDS", 0.3)
    browser, client = browse(made[0]), Client(leaves_after)

    class Asked:
        method, headers, actor = "GET", STREAM, {"id": "root"}

    view: Callable[..., Any] = changes.changes
    answer = browser.wait(view(browser.datasette, Asked(), client.send, client.receive))
    assert answer is None and watching.watch_of(browser.datasette).listeners == 0
    browser.wait(asyncio.sleep(0.2))  # nobody looks any more
    bodies = [message["body"] for message in client.sent[1:]]
    assert bodies[0].startswith(b"retry: ") and b": still here\n\n" in bodies
    over = client.sent[-1]
    assert over["more_body"] is (leaves_after == 3) and (over["body"] == b"") is (
        leaves_after == 1000
    )
