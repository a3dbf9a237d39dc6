"""Debian's Chromium on ``llm gateway browse``, logged in by the address that it prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from itsdangerous import URLSafeSerializer

from tests.datasette import sample
from tests.fakes.cli import until

CHROMIUM = os.environ.get("LLM_GATEWAY_CHROMIUM") or shutil.which("chromium") or ""
REQUIRED = os.environ.get("LLM_GATEWAY_REQUIRE_BROWSER") == "1"
MISSING = not CHROMIUM or find_spec("playwright") is None
collect_ignore_glob = ["test_*.py"] if MISSING and not REQUIRED else []
SHOTS = Path(
    os.environ.get("LLM_GATEWAY_SCREENSHOTS") or Path(__file__).parents[2] / "build/screens"
)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
CLEARED = ("LLM_", "DATASETTE_", "XDG_")


def pytest_report_header() -> list[str]:
    """Say why there is nothing to see."""
    return ["no browser tests: chromium or playwright is missing"] if collect_ignore_glob else []


class Site:
    """``llm gateway browse`` on a file; ``address`` logs in."""

    def __init__(self, folder: Path, file: Path | None) -> None:
        self.folder = folder
        env = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
        env.update(
            HOME=str(folder), LLM_GATEWAY_HOME=str(folder), LLM_USER_PATH=str(folder / "llm")
        )
        env.update({"TZ": "UTC"} | ({"LLM_GATEWAY_LOGS_DB": str(file)} if file else {}))
        self.log = folder / "browse.log"
        argv = [
            str(Path(sys.executable).with_name("llm")),
            *["gateway", "browse", "-p", "0", "--no-open"],
        ]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.address = ""

    def wait(self) -> Site:
        """Until it answers."""
        until(lambda: "running on http" in self.log.read_text(), 90, "Datasette's start")
        self.address = next(
            line for line in self.log.read_text().splitlines() if line.startswith("http")
        )
        return self

    @property
    def base(self) -> str:
        return self.address.partition("/-/")[0]

    def cookie(self) -> dict[str, str]:
        """What a login leaves in a browser; the login itself is good for one attempt only."""
        secret = (self.folder / "datasette-secret").read_text()
        actor = URLSafeSerializer(secret, "actor").dumps({"a": {"id": "root"}})
        return {"name": "ds_actor", "value": actor, "url": self.base}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Sites:
    """The sample, an empty recorder, and one full of attacks."""

    def __init__(self, folder: Path) -> None:
        for name in ("data", "empty", "evil"):
            (folder / name).mkdir()
        self.ids = sample.make(folder / "data" / "logs.db")
        self.attacks = sample.hostile(folder / "evil" / "logs.db")
        self.of = {
            name: Site(folder / name, folder / name / "logs.db")
            for name in ("data", "empty", "evil")
        }


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Three of them, all at once because each takes seconds to start."""
    found = Sites(tmp_path_factory.mktemp("sites"))
    try:
        for site in found.of.values():
            site.wait()
        yield found
    finally:
        for site in found.of.values():
            site.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The browser, with nothing of the user's."""
    from playwright.sync_api import sync_playwright

    home = {**os.environ, "HOME": str(tmp_path_factory.mktemp("chromium"))}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), env=home)
        yield browser
        browser.close()


class Window:
    """A page that notes everything that goes wrong in it."""

    def __init__(self, context: Any, base: str) -> None:
        self.base, self.page = base, context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        self.page.on("dialog", lambda dialog: (self.wrong.append("dialog"), dialog.dismiss()))
        self.page.on("requestfailed", self._failed)

    def _failed(self, asked: Any) -> None:
        if asked.failure != "net::ERR_ABORTED":  # the page was left while it loaded
            self.wrong.append(f"failed {asked.url} {asked.failure}")

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type} {message.text}")

    def go(self, path: str, status: int = 200) -> Any:
        """Load a page of the site."""
        answer = self.page.goto(self.base + path)
        assert answer.status == status, (path, answer.status)
        return self.page


@pytest.fixture
def window(sites: Sites, chromium: Any) -> Iterator[Any]:
    """Opens windows that are logged in; nothing may have gone wrong in any of them."""
    opened = []

    def open(site: str = "data", width: int = 1280, **how: Any) -> Window:
        context = chromium.new_context(viewport={"width": width, "height": 900}, **how)
        context.add_cookies([sites.of[site].cookie()])
        opened.append((context, Window(context, sites.of[site].base)))
        return opened[-1][1]

    yield open
    for context, window in opened:
        context.close()
        assert window.wrong == []
