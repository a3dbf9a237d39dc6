"""``llm gateway status``: one object a provider, whatever the recorder has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llm_gateway.commands import group
from llm_gateway.errors import Overloaded, RateLimited
from llm_gateway.providers import all_providers
from llm_gateway.store import breakers
from llm_gateway.store.recorder import open_recorder

SOON = 9000.0


def status(*args: str) -> Result:
    return CliRunner().invoke(group, ["status", *args], catch_exceptions=False)


def told(*args: str) -> dict[str, dict[str, Any]]:
    rows = json.loads(status("--json", *args).stdout)
    return {row["provider"]: row for row in rows}


@pytest.fixture
def opened() -> None:
    """Two accounts of claude, one of which is left alone; codex has failed once."""
    import time

    recorder = open_recorder(print)
    conn, now = recorder.connection, time.time()
    assert conn is not None
    limited = RateLimited("You've hit your limit", retry_at=now + SOON)
    for scope, provider, error in (
        ("claude a", "claude", limited),
        ("claude b", "claude", Overloaded("busy")),
        ("codex a", "codex", Overloaded("busy")),
        ("gone a", "gone", limited),
    ):
        breakers.report(conn, scope, provider, "j", error, now)
    recorder.close()


def test_every_provider_is_there_before_anything_was_recorded() -> None:
    rows = told()
    assert list(rows) == list(all_providers())
    empty = {"state": "closed", "since": None, "until": None, "last_error": None}
    assert all(row.items() >= empty.items() for row in rows.values())


@pytest.mark.usefixtures("opened")
def test_the_worst_of_a_providers_breakers_is_shown() -> None:
    rows = told()
    claude = rows["claude"]
    assert (claude["state"], claude["last_error"]) == ("open", "You've hit your limit")
    assert claude["scope"] == "claude a" and claude["since"] < claude["until"]
    assert (rows["codex"]["state"], rows["codex"]["failures"]) == ("closed", 1)
    assert rows["grok"]["state"] == "closed"
    assert list(rows)[-1] == "gone"  # a plugin's, no longer installed


@pytest.mark.usefixtures("opened")
def test_a_person_reads_until_when() -> None:
    lines = status().stdout.splitlines()
    (claude,) = [line for line in lines if line.startswith("claude")]
    assert "open" in claude and "(in 2 h " in claude and claude.endswith("You've hit your limit")


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("word", ["claude", "gateway-claude"])
def test_reset_closes_it(word: str) -> None:
    first, again = status("--reset", word), status("--reset", word)
    assert (first.stdout, first.stderr) == ("", "claude is asked again.\n")
    assert again.stderr == "claude was not left alone.\n"
    assert told()["claude"]["state"] == "closed"
    assert told()["gone"]["state"] == "open"


def test_reset_knows_the_providers() -> None:
    ran = status("--reset", "claud")
    assert ran.exit_code == 2
    assert ran.stderr.startswith("Error: There is no provider claud; there are claude, codex,")
    assert status("--reset", "claude").exit_code == 0
