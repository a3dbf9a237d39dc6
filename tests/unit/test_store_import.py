"""An original's rows come in, once, and its file stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llm_gateway.commands.recorder import register
from llm_gateway.store import prune
from llm_gateway.store.import_original import NotAnOriginal, import_file
from llm_gateway.store.recorder import open_recorder
from tests.fakes.original import JOBS, REQUESTS, make_original


@pytest.fixture
def conn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> sqlite3.Connection:
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)
    found = open_recorder(print).connection
    assert found is not None
    return found


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("keep_log", [False, True])
def test_rows_come_in_with_their_ids_and_the_file_is_not_touched(
    conn: sqlite3.Connection, tmp_path: Path, keep_log: bool
) -> None:
    """Also what is still in the write-ahead log; nothing is written beside the file."""
    place = tmp_path / "old"
    place.mkdir()
    original = make_original(place / "logs.db", keep_log=keep_log)
    before = contents(place)
    counts = import_file(original, conn)
    assert counts == {"requests": 3, "jobs": 2, "already_there": 0}
    assert contents(place) == before
    columns = "id, cli, model, prompt, system, response, session_id, duration_ms, datetime_utc"
    found = conn.execute(f"select {columns}, input_tokens, output_tokens from requests order by id")
    assert found.fetchall() == REQUESTS


def test_metadata_and_jobs_come_in(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """Secrets in errors are redacted; what was left running is orphaned, not running."""
    import_file(make_original(tmp_path / "o.db"), conn)
    found = conn.execute(
        "select request_id, status, cost_usd, thinking_blocks, approval_decision, error_message"
        " from gateway_metadata order by 1"
    ).fetchall()
    assert found == [
        ("corr-1", "completed", 0.25, '["hm"]', None, None),
        ("corr-2", "failed", None, None, "approved", "Error: key sk-ant-[redacted]"),
        ("corr-3", "failed", None, None, None, None),
    ]
    jobs = conn.execute(
        "select id, correlation_id, request_key, cli, args_json, output_format, status, exit_code,"
        " stdout, stderr, output_truncated, error, started_at, finished_at, pid, expires_at"
        " from jobs order by id"
    ).fetchall()
    first = list(JOBS[0])
    first[4] = '["-p","hello"]'
    assert jobs[0] == tuple(first)
    assert (jobs[1][0], jobs[1][6], jobs[1][8]) == ("job-2", "orphaned", "part")


def test_importing_twice_adds_nothing(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """It can be repeated while the original is still in use."""
    original = make_original(tmp_path / "o.db")
    import_file(original, conn)
    again = import_file(original, conn)
    assert again == {"requests": 0, "jobs": 0, "already_there": 5}
    assert conn.execute("select count(*) from requests").fetchone() == (3,)


def test_an_id_that_is_taken_is_not_overwritten(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """The imported row gets an id of its own, the same one at every import."""
    original = make_original(tmp_path / "o.db")
    conn.execute(
        "insert into request_rows (id, provider, model, status, datetime_utc)"
        " values ('corr-1', 'claude', 'm', 'completed', '2027-01-01T00:00:00.000Z')"
    )
    assert import_file(original, conn)["requests"] == 3
    assert import_file(original, conn)["requests"] == 0
    found = conn.execute("select id from requests where correlation_id = 'corr-1'").fetchall()
    assert len(found) == 1 and found[0][0].startswith("corr-1~")


def test_imported_rows_are_never_pruned(
    conn: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short the retention is."""
    import_file(make_original(tmp_path / "o.db"), conn)
    monkeypatch.setenv("LLM_GATEWAY_JOB_RETENTION_DAYS", "0.0001")
    monkeypatch.setenv("LLM_GATEWAY_LOG_RETENTION_DAYS", "0.0001")
    prune.prune(conn)
    assert conn.execute("select count(*) from requests").fetchone() == (3,)
    assert conn.execute("select stdout, stderr from jobs order by id").fetchone() == ("out", "err")


def test_an_original_in_a_read_only_place(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """A closed file can be read without writing beside it, and so can one with a log."""
    for name, keep_log in (("a", False), ("b", True)):
        place = tmp_path / name
        place.mkdir()
        make_original(place / "logs.db", keep_log=keep_log)
        for path in (*place.iterdir(), place):
            path.chmod(0o500)
        before = contents(place)
        import_file(place / "logs.db", conn)
        assert contents(place) == before
        place.chmod(0o700)


def test_an_original_without_jobs_or_metadata(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """Files of other versions bring what they have."""
    original = make_original(tmp_path / "o.db")
    old = sqlite3.connect(original)
    old.execute("drop table jobs")
    old.execute("drop table gateway_metadata")
    old.commit()
    old.close()
    assert import_file(original, conn)["requests"] == 3


def test_what_is_no_original_is_refused(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """Missing, no database, somebody else's database, and our own."""
    (tmp_path / "text").write_text("hello " * 500)
    sqlite3.connect(tmp_path / "other.db").execute("create table x (y)").connection.close()
    ours = tmp_path / "home" / "logs.db"
    for name in ("missing", "text", "other.db"):
        with pytest.raises(NotAnOriginal):
            import_file(tmp_path / name, conn)
    shutil.copy(ours, tmp_path / "copy.db")
    with pytest.raises(NotAnOriginal):
        import_file(tmp_path / "copy.db", conn)


def test_the_command_says_what_came(conn: sqlite3.Connection, tmp_path: Path) -> None:
    """One sentence, or an object with --json; an error is one sentence and exit code 65."""
    group = click.Group()
    register(group)
    original = str(make_original(tmp_path / "o.db"))
    done = CliRunner().invoke(group, ["import", original])
    assert (done.exit_code, done.output) == (0, "Imported 3 requests and 2 jobs.\n")
    done = CliRunner().invoke(group, ["import", original, "--json"])
    assert json.loads(done.output) == {"requests": 0, "jobs": 0, "already_there": 5}
    for name in ("nothing", os.fspath(tmp_path)):
        done = CliRunner().invoke(group, ["import", name])
        assert done.exit_code == 65
        assert len(done.output.splitlines()) == 1 and "Traceback" not in done.output


def test_the_command_without_a_recorder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Says which variable switched it off."""
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", "none")
    group = click.Group()
    register(group)
    done = CliRunner().invoke(group, ["import", str(make_original(tmp_path / "o.db"))])
    assert done.exit_code == 1 and "LLM_GATEWAY_LOGS_DB" in done.output
