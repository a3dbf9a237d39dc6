"""A Datasette with the plugin over a sample recorder; what runs here runs on both versions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasette")

from datasette.app import Datasette

from tests.datasette import sample

__all__ = ["Browser"]

ROOT_ACTOR = {"id": "root"}


class Browser:
    """Asks a Datasette as somebody: nobody unless an actor is given."""

    def __init__(self, path: Path | None, actor: dict[str, Any] | None = None, **told: Any) -> None:
        if path is not None:
            told = {"path": str(path), **told}
        told.setdefault("llm_path", str(Path(path or "x").parent / "llm.db"))
        self.actor = actor
        self.loop = asyncio.new_event_loop()
        self.datasette = Datasette(metadata={"plugins": {"datasette-llm-gateway": told}})
        if hasattr(self.datasette, "root_enabled"):
            self.datasette.root_enabled = True
        self.wait(self.datasette.invoke_startup())

    def wait(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    def cookies(self, actor: dict[str, Any] | None) -> dict[str, str]:
        return {"ds_actor": self.datasette.sign({"a": actor}, "actor")} if actor else {}

    def get(self, path: str, actor: dict[str, Any] | None = None, **how: Any) -> Any:
        cookies = self.cookies(actor or self.actor)
        return self.wait(self.datasette.client.get(path, cookies=cookies, **how))

    def post(self, path: str, actor: dict[str, Any] | None = None, **how: Any) -> Any:
        """As a form does: with the token that 0.65 puts into it."""
        cookies = {**self.cookies(actor or self.actor), **how.pop("cookies", {})}
        return self.wait(self.datasette.client.post(path, cookies=cookies, **how))

    def ok(self, path: str) -> str:
        """The page; it must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[-800:]}"
        return str(answer.text)

    def close(self) -> None:
        for database in self.datasette.databases.values():
            database.close()
        self.loop.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The sample, made once; tests that write copy it."""
    path = tmp_path_factory.mktemp("sample") / "logs.db"
    return path, sample.make(path)


@pytest.fixture(scope="session")
def evil(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A recorder in which every text is an attack."""
    path = tmp_path_factory.mktemp("hostile") / "logs.db"
    return path, sample.hostile(path)


@pytest.fixture
def browse() -> Any:
    """Opens Datasettes and closes them."""
    opened: list[Browser] = []

    def open(path: Path | None, actor: dict[str, Any] | None = ROOT_ACTOR, **told: Any) -> Browser:
        opened.append(Browser(path, actor, **told))
        return opened[-1]

    yield open
    for browser in opened:
        browser.close()


def routes(browser: Browser, ids: dict[str, str]) -> list[str]:
    """Every route of the plugin, with something to fill its gaps."""
    from datasette_llm_gateway.views import routes

    found = []
    for pattern, _ in routes():
        path = pattern.strip("^$").replace("/?", "").replace("\\.", ".")
        if path.endswith("/changes"):  # a stream, with tests of its own
            continue
        kind = path.split("/")[3] if path.count("/") > 2 else ""
        path = re.sub(r"\(\?P<part>[^)]*\)", "response", path)
        filler = ids.get(kind, ids["edit"])
        found.append(re.sub(r"\(\?P<\w+>[^)]*\)", filler, path))
    return found


Open = Callable[..., Browser]
