"""What the doctor sees; it changes nothing, and what is broken has a remedy."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llm_gateway import doctor
from llm_gateway.commands import group
from llm_gateway.doctor import examine
from llm_gateway.doctor_recorder import look
from llm_gateway.findings import BROKEN, NOTE, OK, WARNING, Finding
from llm_gateway.providers import all_providers, provider_named
from llm_gateway.store.recorder import open_recorder
from tests.unit.test_updates import script


@pytest.fixture(autouse=True)
def _nothing_installed(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_gateway.providers.base.INSTALL_PLACES", ())


def states(findings: Any) -> dict[tuple[str, str], Finding]:
    """The findings by area and subject; each that is not well has a remedy."""
    found = list(findings)
    assert all(f.remedy for f in found if f.state in (BROKEN, WARNING)), found
    return {(f.area, f.subject): f for f in found}


def recorder(tmp_path: Path) -> Path:
    """A recorder's file of our own, as a prompt makes it."""
    opened = open_recorder(print)
    opened.close()
    return tmp_path / "gateway" / "logs.db"


# The recorder.


def test_looking_makes_nothing(tmp_path: Path) -> None:
    """Before the first prompt there is nothing, and afterwards neither."""
    found = states(look())
    assert found["recorder", "file"].state == NOTE
    assert not (tmp_path / "gateway").exists()


def test_a_place_that_cannot_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No prompt is going to make a directory there."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path / "file" / "gateway"))
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", str(tmp_path / "logs.db"))
    found = states(look())["recorder", "directory"]
    assert found.state == BROKEN and "file/gateway cannot be made" in found.text


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite only says that it cannot read or write."""
    recorder(tmp_path)
    assert ("recorder", "disk") not in states(look())
    monkeypatch.setattr("llm_gateway.doctor_recorder.LITTLE_ROOM", 1 << 80)
    found = states(look())["recorder", "disk"]
    assert found.state == BROKEN and "KiB are left" in found.text


def test_a_good_recorder(tmp_path: Path) -> None:
    """Path, size, schema, WAL and integrity; nothing in it changes."""
    path = recorder(tmp_path)
    before = path.read_bytes()
    found = states(look())
    assert {f.state for f in found.values()} == {OK}
    assert (
        str(path) in found["recorder", "file"].text and "schema" in found["recorder", "file"].text
    )
    assert path.read_bytes() == before


def test_a_damaged_recorder(tmp_path: Path) -> None:
    """A page of rubbish in the middle is found, and told how to be mended."""
    path = recorder(tmp_path)
    with open(path, "r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 8192)
    found = states(look())
    assert BROKEN in {f.state for f in found.values()}


@pytest.mark.parametrize("text", [b"x" * 4096, b"SQLite"])
def test_a_file_that_is_none(tmp_path: Path, text: bytes) -> None:
    """It is left alone and named."""
    (tmp_path / "gateway").mkdir(0o700)
    (tmp_path / "gateway" / "logs.db").write_bytes(text)
    assert states(look())["recorder", "file"].state == BROKEN


def test_the_originals_file_is_no_fault(tmp_path: Path) -> None:
    """Its rows can be imported; ours is beside it."""
    (tmp_path / "gateway").mkdir(0o700)
    with sqlite3.connect(tmp_path / "gateway" / "logs.db") as conn:
        conn.execute("CREATE TABLE requests (id)")
    findings = list(look())
    assert BROKEN not in {f.state for f in findings}
    assert any("llm gateway import" in str(f.remedy) for f in findings)


def test_a_newer_recorder(tmp_path: Path) -> None:
    """An older gateway cannot write it."""
    path = recorder(tmp_path)
    with sqlite3.connect(path) as conn:
        conn.execute("PRAGMA user_version=99")
    assert states(look())["recorder", "file"].state == BROKEN


def test_spill_files_and_what_was_set_aside(tmp_path: Path) -> None:
    """Runs that are not recorded yet are a warning, old corrupt files a note."""
    recorder(tmp_path)
    (tmp_path / "gateway" / "spill").mkdir(exist_ok=True)
    (tmp_path / "gateway" / "spill" / "x.jsonl").write_text("{}\n")
    (tmp_path / "gateway" / "logs.db.corrupt-20260101").write_text("x")
    found = states(look())
    assert found["recorder", "spill"].state == WARNING
    assert found["recorder", "set aside"].state == NOTE


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is no fault either."""
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", "none")
    assert states(look())["recorder", "file"].state == NOTE


def test_a_job_that_nobody_runs(tmp_path: Path) -> None:
    """It is told, with what closes it; looking does not."""
    path = recorder(tmp_path)
    with sqlite3.connect(path) as conn:
        conn.execute(
            "INSERT INTO job_rows (id, provider, status, started_at, lease_until)"
            " VALUES ('j1', 'codex', 'running', ?1, ?1)",
            ("2020-01-01T00:00:00.000Z",),
        )
    found = states(look())
    assert found["jobs", "j1"].state == WARNING
    with sqlite3.connect(path) as conn:
        assert conn.execute("SELECT status FROM job_rows").fetchone() == ("running",)


# The CLIs, the environment, the settings.


def test_logins(bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a key, by what the CLI says, by a file; else a warning with the command that mends it."""
    script(bin_dir / "claude", """echo '{"loggedIn": false}'; exit 1""")
    script(bin_dir / "codex", "echo Logged in using ChatGPT >&2")
    script(bin_dir / "gemini", "echo 1.0.0")
    script(bin_dir / "grok", "echo You are not authenticated.")
    found = states(examine(all_providers().values()))
    assert found["logins", "claude"].state == WARNING
    assert found["logins", "claude"].remedy == provider_named("claude").login
    assert found["logins", "codex"].state == OK
    assert found["logins", "gemini"].state == WARNING
    assert found["logins", "grok"].state == WARNING
    monkeypatch.setenv("XAI_API_KEY", "xai-secret")
    (tmp_path / "user" / ".gemini").mkdir()
    (tmp_path / "user" / ".gemini" / "oauth_creds.json").write_text('{"token": "g-secret"}')
    found = states(examine(all_providers().values()))
    assert found["logins", "grok"].state == found["logins", "gemini"].state == OK
    assert "secret" not in str(found)


def test_a_key_that_replaces_a_login(
    bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with a subscription would pay twice without a word."""
    script(bin_dir / "claude", """echo '{"loggedIn": true}'""")
    (tmp_path / "user" / ".claude").mkdir()
    (tmp_path / "user" / ".claude" / ".credentials.json").write_text("{}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    findings = list(examine([provider_named("claude"), provider_named("codex")]))
    (warning,) = [f for f in findings if f.area == "logins" and f.state == WARNING]
    assert "ANTHROPIC_API_KEY is set" in warning.text and "unset" in str(warning.remedy)
    (keys,) = [f for f in findings if f.subject == "keys"]
    assert (
        "ANTHROPIC_API_KEY (for claude)" in keys.text and "OPENAI_API_KEY (for codex)" in keys.text
    )
    assert "sk-" not in str(findings)


@pytest.mark.parametrize("named", ["/no/such/grok", "~no_such_user_/grok"])
def test_an_executable_that_cannot_be_run(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """Whoever named it meant it, so that is no CLI that happens to be missing."""
    monkeypatch.setenv("LLM_GATEWAY_GROK_CLI", named)
    found = states(examine([provider_named("grok")]))
    assert found["clis", "grok"].state == BROKEN
    assert f"LLM_GATEWAY_GROK_CLI={named}" in found["clis", "grok"].text


def test_the_original_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """It brings the same import package."""
    monkeypatch.setattr(doctor, "_installed", lambda name: "1.15.2")
    found = states(examine([provider_named("claude")]))
    assert found["programs", "llm-cli-gateway"].state == BROKEN


def test_the_command(bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 where something is broken, each line with its remedy; JSON says the same."""
    run = CliRunner().invoke
    told = run(group, ["doctor"])
    assert told.exit_code == 1 and "no vendor's CLI is installed" in told.stdout
    script(bin_dir / "grok", "echo 1.0.0")
    told = run(group, ["doctor", "--json"])
    data = json.loads(told.stdout)
    assert (told.exit_code, data["ok"]) == (0, True)
    told = run(group, ["doctor", "--probe"])
    assert told.exit_code == 1 and "grok --help has no --rules" in told.stdout
    monkeypatch.setenv("LLM_GATEWAY_RETRY_WAIT", "soon")
    assert "LLM_GATEWAY_RETRY_WAIT=soon" in run(group, ["doctor"]).stdout
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", "~no_such_user_/x")
    told = run(group, ["doctor"])
    assert told.exit_code == 1 and "no user no_such_user_" in told.stdout
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB")
    script(bin_dir / "grok", "kill -9 $$")
    assert "died of signal 9" in run(group, ["doctor"]).stdout
    (tmp_path / "gateway").mkdir(0o700)
    (tmp_path / "gateway" / "config.toml").write_text("x = ")
    told = run(group, ["doctor"])
    assert told.exit_code == 1 and "config.toml is no TOML" in told.stdout
    assert os.environ["LLM_GATEWAY_RETRY_WAIT"] == "soon"
