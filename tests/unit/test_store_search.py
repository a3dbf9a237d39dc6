"""What was asked and answered is found again, and never what is gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.request import Request
from llm_gateway.store import prune, search
from llm_gateway.store.migrations import VERSION, migrate
from llm_gateway.store.recorder import open_recorder
from llm_gateway.store.schema import FIRST


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(home))
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)
    return home


@pytest.fixture
def conn(home: Path) -> Iterator[sqlite3.Connection]:
    """Another program's view of a file in which one request has ended."""
    run("1", "Where is parse_args? Ünïcode", "In llm_gateway/cli.py.")
    conn = sqlite3.connect(home / "logs.db", isolation_level=None)
    yield conn
    conn.close()


def run(name: str, prompt: str, answer: str, ends: bool = True, **fields: Any) -> None:
    """One run, recorded by a recorder of its own that is closed at the end."""
    warnings: list[str] = []
    recorder = open_recorder(warnings.append)
    request = Request(id=f"R{name}", provider="claude", prompt=prompt, **fields)
    recorder.begin(request, f"J{name}", model=None, access="read", cwd="/w")
    recorder.attempt_started(f"J{name}", 1, ["x"], [], "/w")
    recorder.attempt_ended(f"J{name}", 1, stderr_tail="warned of sk-ant-abcdefgh12345678")
    if ends:
        recorder.finish(request.id, f"J{name}", "completed", partial_text=answer)
    recorder.close()
    assert warnings == []


def found(conn: sqlite3.Connection, query: str) -> list[str]:
    """The requests that match; the index is sound, and has every body's text where it has all."""
    whole = conn.execute(
        "select (select count(*) from bodies) = (select count(*) from bodies_fts_docsize)"
    ).fetchone()
    check = "insert into bodies_fts (bodies_fts, rank) values ('integrity-check', ?)"
    conn.execute(check, whole)
    return [
        row[0]
        for row in conn.execute(
            "select id from bodies join bodies_fts on bodies_fts.rowid = seq"
            " where bodies_fts match ? order by id",
            (query,),
        )
    ]


@pytest.mark.parametrize(
    "query", ['"parse_args"', "args", "unicode", '"cli.py"', "response: gateway", "stderr: warned"]
)
def test_a_finished_request_is_found(conn: sqlite3.Connection, query: str) -> None:
    """By whole names and their parts, in prompt, answer and stderr, whatever the accents."""
    assert found(conn, query) == ["R1"]
    assert search.pending(conn) == 0


def test_secrets_of_stderr_and_prompts_that_are_not_kept_are_not_in_the_index(
    conn: sqlite3.Connection,
) -> None:
    """Stderr is redacted before; llm -n leaves nothing to find."""
    run("2", "PRIVATE", "PRIVATE", keep_bodies=False)
    assert found(conn, "abcdefgh12345678") == []
    assert found(conn, "PRIVATE") == [] and search.pending(conn) == 0
    row = "select prompt_preview, prompt_hash from request_rows where id = 'R2'"
    assert conn.execute(row).fetchone() == (None, None)


def test_a_running_request_waits_for_its_end(conn: sqlite3.Connection) -> None:
    """Another run's end indexes it when it has ended, also where nobody else did."""
    run("2", "lost", "", ends=False)
    run("3", "other", "")
    assert found(conn, "lost") == []
    conn.execute("update request_rows set status = 'orphaned' where id = 'R2'")
    run("4", "other", "")
    assert found(conn, "lost") == ["R2"]


def test_pruned_words_are_not_found(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stderr goes with the raw output, the rest with the request."""
    old = "'2020-01-01T00:00:00.000Z'"
    conn.execute(f"update job_rows set finished_at = {old}")
    prune.prune(conn)
    search.take_in(conn)
    assert (found(conn, "warned"), found(conn, "args")) == ([], ["R1"])
    conn.execute(f"update request_rows set datetime_utc = {old}")
    monkeypatch.setenv("LLM_GATEWAY_LOG_RETENTION_DAYS", "1")
    prune.prune(conn)
    assert found(conn, "args") == []
    assert conn.execute("select count(*) from bodies_fts_docsize").fetchone() == (0,)


def test_stderr_that_comes_after_the_end_is_found_too(conn: sqlite3.Connection) -> None:
    """Where another process ended the request meanwhile."""
    run("2", "slow", "", ends=False)
    conn.execute("update request_rows set status = 'orphaned' where id = 'R2'")
    conn.execute("update attempts set ended_at = null where job_id = 'J2'")
    search.take_in(conn)
    recorder = open_recorder(print)
    recorder.attempt_ended("J2", 1, stderr_tail="afterthought")
    recorder.close()
    search.take_in(conn)
    assert found(conn, "afterthought") == ["R2"]


def test_a_sqlite_without_fts5_records_and_the_next_one_with_it_indexes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said about it, nothing is lost."""
    with monkeypatch.context() as patch:
        patch.setattr(search, "_INDEX", "create virtual table if not exists bodies_fts using no(x)")
        run("1", "early", "")
        conn = sqlite3.connect(home / "logs.db", isolation_level=None)
        assert search.take_in(conn) is None and search.pending(conn) == 1
    run("2", "late", "")
    assert (found(conn, "early"), found(conn, "late")) == (["R1"], ["R2"])


def test_a_file_with_an_index_serves_a_sqlite_that_cannot_read_it(
    conn: sqlite3.Connection, home: Path
) -> None:
    """Runs are recorded and pruned in it all the same."""
    conn.execute("pragma writable_schema = on")
    conn.execute("update sqlite_master set sql = replace(sql, 'fts5', 'fts9')")
    conn.execute("pragma writable_schema = reset")
    conn.execute("update job_rows set finished_at = '2020-01-01T00:00:00.000Z'")
    conn.execute("delete from meta")
    run("2", "why?", "")
    conn.close()
    conn = sqlite3.connect(home / "logs.db", isolation_level=None)
    assert conn.execute("select count(*) from requests").fetchone() == (2,)
    assert conn.execute("select count(*) from job_rows where pruned_at <> ''").fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError, match="no such module"):
        conn.execute("select * from bodies_fts")


def test_a_long_text_holds_no_lock_for_long(conn: sqlite3.Connection) -> None:
    """Its first million characters are indexed, and taken out again."""
    run("2", "long", "begin " + "word " * 400_000 + "end")
    assert (found_in(conn, "begin"), found_in(conn, "end")) == ([2], [])
    search.forget(conn, "R2", again=False)
    assert found_in(conn, "begin") == []
    conn.execute("insert into bodies_fts (bodies_fts) values ('integrity-check')")


def found_in(conn: sqlite3.Connection, query: str) -> list[int]:
    matches = conn.execute("select rowid from bodies_fts where bodies_fts match ?", (query,))
    return [row[0] for row in matches]


def first_schema(path: Path) -> sqlite3.Connection:
    """A file as the first version left it, with two requests in it."""
    from sqlite_utils import Database, Migrations

    path.parent.mkdir(mode=0o700)
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("pragma application_id = 0x6C6C6D67")
    conn.execute("pragma journal_mode = wal")
    ours = Migrations("llm_gateway")

    @ours()
    def m001_first(db: Database) -> None:
        for statement in FIRST:
            db.conn.execute(statement)

    ours.apply(Database(conn))
    conn.execute("pragma user_version = 1")
    for number, status in ((1, "completed"), (2, "running")):
        conn.execute(
            "insert into request_rows (id, provider, model, status, datetime_utc, duration_ms)"
            f" values ('R{number}', 'claude', 'opus', '{status}', '2026-01-02T03:04:05.678Z', 99)"
        )
        conn.execute(f"insert into bodies (id, prompt) values ('R{number}', 'a\nquestion')")
    return conn


def test_an_old_file_is_brought_up_to_date(home: Path) -> None:
    """Its requests are counted at once and found after the next run."""
    old = first_schema(home / "logs.db")
    columns = [row[0] for row in old.execute("select * from requests").description]
    run("3", "next", "")
    assert old.execute("pragma user_version").fetchone() == (VERSION,)
    counted = "select sum(requests) from hourly where hour = '2026-01-02T03'"
    assert old.execute(counted).fetchone() == (1,)
    kept = "select prompt_preview, prompt_hash from requests where id in ('R1', 'R2')"
    [first, second] = old.execute(kept).fetchall()
    assert first == second and first[0] == "a question" and len(first[1]) == 16
    assert found(old, "question") == ["R1"]
    names = [row[0] for row in old.execute("select * from requests").description]
    assert names[: len(columns)] == columns
    migrate(old)
    assert old.execute(counted).fetchone() == (1,)
