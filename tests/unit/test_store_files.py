"""Whatever state its file is in, the recorder opens, and moves nothing that is not ours."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from llm_gateway.events import Reply, ToolResult
from llm_gateway.request import Request
from llm_gateway.store import connection, idle, location, migrations
from llm_gateway.store.recorder import Recorder, open_recorder
from tests.fakes.original import make_original


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(directory))
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)
    return directory


def record(name: str = "1") -> list[str]:
    """One run in a recorder of its own, as in a process of its own; what it warned of."""
    warnings = run(name)
    idle.close_all()
    return warnings


def run(name: str) -> list[str]:
    """One of several runs of a process."""
    warnings: list[str] = []
    recorder = open_recorder(warnings.append)
    request = Request(id=f"R{name}", provider="claude", prompt="why?")
    recorder.begin(request, f"J{name}", model=None, access="read", cwd="/w")
    recorder.finish(f"R{name}", f"J{name}", "completed", partial_text="because")
    recorder.close()
    return warnings


def begun(name: str, warn: Callable[[str], None] = print) -> Recorder:
    """The recorder of a run that waits for its CLI."""
    recorder = open_recorder(warn)
    request = Request(id=f"R{name}", provider="claude", prompt="why?")
    recorder.begin(request, f"J{name}", model=None, access="read", cwd="/w")
    return recorder


def answers(path: Path) -> list[str]:
    """The completed requests of a file."""
    conn = sqlite3.connect(path)
    query = "select id from requests where status = 'completed' order by id"
    found = [row[0] for row in conn.execute(query)]
    assert conn.execute("pragma integrity_check").fetchone() == ("ok",)
    conn.close()
    return found


def modes(directory: Path) -> dict[str, int]:
    """The permission bits of everything in a directory, itself included."""
    paths = [directory, *directory.rglob("*")]
    return {str(path.name): stat.S_IMODE(path.stat().st_mode) for path in paths}


OTHER = """
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("select 1 from meta").fetchone()
"""


def test_a_second_look_at_the_file_leaves_the_locks_of_the_first_run(home: Path) -> None:
    """POSIX takes all locks of a process when it closes a descriptor of the file: the log stays."""
    path = location.locate(print)
    assert path is not None
    conn = connection.connect(path)
    conn.execute("insert into meta values ('before', 1)")
    log = Path(f"{path}-wal")
    inode = log.stat().st_ino
    assert location.locate(print) == path
    subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True)  # the last one to close?
    assert log.exists() and log.stat().st_ino == inode
    conn.close()


def test_the_first_run_makes_a_private_marked_file(home: Path) -> None:
    """0700 and 0600, also -wal and -shm, whatever the umask says."""
    before = os.umask(0)
    try:
        recorder = open_recorder(print)
        request = Request(id="R1", provider="claude", prompt="why?")
        recorder.begin(request, "J1", model=None, access="read", cwd="/w")
        found = modes(home)
        recorder.close()
    finally:
        os.umask(before)
    assert found.pop("home") == 0o700
    assert {"logs.db", "logs.db-wal", "logs.db-shm"} <= set(found)
    assert set(found.values()) == {0o600}
    assert location.kind_of(home / "logs.db") == "ours"


def test_missing_parents_are_private_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every directory that we make is 0700."""
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", str(home / "a" / "b" / "x.db"))
    before = os.umask(0)
    try:
        assert record() == []
    finally:
        os.umask(before)
    assert modes(home)["a"] == modes(home)["b"] == 0o700


def test_a_file_that_others_may_read_is_closed_to_them(home: Path) -> None:
    """The original left its directory open; files may have been copied."""
    record()
    home.chmod(0o755)
    (home / "logs.db").chmod(0o644)
    assert record("2") == []
    assert modes(home)["home"] == 0o700
    assert modes(home)["logs.db"] == 0o600


def test_the_file_is_in_wal_mode_and_at_our_version(home: Path) -> None:
    """The version is in user_version, so that looking costs nothing."""
    record()
    conn = sqlite3.connect(home / "logs.db")
    assert conn.execute("pragma journal_mode").fetchone() == ("wal",)
    assert conn.execute("pragma user_version").fetchone() == (migrations.VERSION,)
    assert conn.execute("pragma auto_vacuum").fetchone() == (2,)
    conn.close()


def test_opening_needs_no_sqlite_utils_once_the_file_is_there(home: Path) -> None:
    """Importing it costs more than everything else together."""
    record()
    code = (
        "import sys; from llm_gateway.store.recorder import open_recorder;"
        "open_recorder(print).close();"
        "print([m for m in sys.modules if m.split('.')[0] in ('sqlite_utils', 'llm', 'click')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("value", ["none", ""])
def test_switched_off_means_no_file_at_all(
    home: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """No database, no directory, no spill file, no warning."""
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", value)
    assert record() == []
    assert not home.exists()


def test_an_originals_file_is_left_alone_and_ours_is_beside_it(home: Path) -> None:
    """Byte for byte; said once, when ours is made."""
    home.mkdir()
    original = make_original(home / "logs.db", keep_log=True)
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    [warning] = record()
    assert "left alone" in warning and "gateway.db" in warning
    assert record("2") == []
    after = {path.name: path.read_bytes() for path in home.iterdir()}
    assert {name: after[name] for name in before} == before
    assert answers(home / "gateway.db") == ["R1", "R2"]
    assert location.kind_of(original) == "foreign"


def test_a_corrupt_file_of_our_own_is_set_aside(home: Path) -> None:
    """It is kept under another name and a new one is begun."""
    home.mkdir()
    (home / "logs.db").write_bytes(b"no database" * 100)
    [warning] = record()
    assert "corrupt" in warning
    [aside] = [path for path in home.iterdir() if ".corrupt-" in path.name]
    assert aside.read_bytes() == b"no database" * 100
    assert answers(home / "logs.db") == ["R1"]
    assert record("2") == []


def test_a_file_of_ours_whose_inside_is_broken_is_set_aside(home: Path) -> None:
    """The head still says that it is ours."""
    record()
    with open(home / "logs.db", "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8000)
    warnings = record("2")
    assert len(warnings) == 1 and "corrupt" in warnings[0]
    assert answers(home / "logs.db") == ["R2"]


def test_a_cut_file_does_not_stop_a_run(home: Path) -> None:
    """Half a database: set aside now or after the run that found it, the new one has all runs."""
    record()
    size = (home / "logs.db").stat().st_size
    os.truncate(home / "logs.db", size // 2)
    record("2")
    record("3")
    assert "R3" in answers(home / "logs.db")


def test_a_named_file_that_is_no_database_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The recorder is off, with one warning."""
    notes = tmp_path / "notes.txt"
    notes.write_text("shopping list " * 50)
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", str(notes))
    [warning] = record()
    assert "no database" in warning
    assert notes.read_text() == "shopping list " * 50
    assert not home.exists()
    assert [path.name for path in tmp_path.glob("notes*")] == ["notes.txt"]


def test_an_empty_named_file_becomes_ours(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As mktemp makes them."""
    (tmp_path / "x.db").touch()
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", str(tmp_path / "x.db"))
    assert record() == []
    assert answers(tmp_path / "x.db") == ["R1"]


def test_a_newer_schema_is_left_to_the_newer_version(home: Path) -> None:
    """One warning; the run waits in a spill file for the version that knows the schema."""
    record()
    conn = sqlite3.connect(home / "logs.db")
    conn.execute("pragma user_version = 99")
    conn.close()
    [warning] = record("2")
    assert "newer" in warning
    assert answers(home / "logs.db") == ["R1"]
    conn = sqlite3.connect(home / "logs.db")
    conn.execute(f"pragma user_version = {migrations.VERSION}")
    conn.close()
    assert record("3") == []
    assert answers(home / "logs.db") == ["R1", "R2", "R3"]


def test_a_directory_in_the_files_place_costs_one_warning(home: Path) -> None:
    """The run goes on; it waits in a spill file until the way is free."""
    (home / "logs.db").mkdir(parents=True)
    assert len(record()) == 1
    (home / "logs.db").rmdir()
    assert record("2") == []
    assert answers(home / "logs.db") == ["R1", "R2"]


def test_a_home_that_cannot_be_made_costs_one_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing can be kept anywhere, and the run goes on."""
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file" / "home", Path("/proc/nowhere/home"), Path("/sys/kernel/x")):
        monkeypatch.setenv("LLM_GATEWAY_HOME", str(place))
        assert len(record()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only files")
def test_a_read_only_file_costs_one_warning(home: Path) -> None:
    """The run waits in a spill file."""
    record()
    (home / "logs.db").chmod(0o400)
    assert len(record("2")) == 1
    (home / "logs.db").chmod(0o600)
    assert record("3") == []
    assert answers(home / "logs.db") == ["R1", "R2", "R3"]


def test_a_corrupt_page_found_in_a_run_costs_one_warning(home: Path) -> None:
    """The run waits in a spill file and the broken file is set aside."""
    for number in range(200):
        record(f"{number:03d}")
    size = (home / "logs.db").stat().st_size
    with open(home / "logs.db", "r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))
    assert len(record("a")) >= 1
    assert len(record("b")) <= 1
    assert record("c") == []
    assert "Rc" in answers(home / "logs.db")


def test_a_log_is_begun_once_and_afterwards_nothing_is_left_out(home: Path) -> None:
    """Only where there is none, and only until it is there."""
    record()
    path, log = home / "logs.db", home / "logs.db-wal"
    assert not log.exists()
    conn = connection.connect(path)
    connection.begin_log(conn, path)
    begun = log.stat().st_size
    assert begun > 0
    assert conn.execute("pragma synchronous").fetchone() == (1,)
    other = connection.connect(path)
    connection.begin_log(other, path)
    assert log.stat().st_size == begun
    with connection.write(other):
        connection.begin_log(conn, path)  # where somebody writes, it is not waited for
    assert conn.execute("pragma synchronous").fetchone() == (1,)
    assert conn.execute("pragma user_version").fetchone() == (migrations.VERSION,)


def test_a_long_run_is_taken_into_the_file_once_its_answer_is_out(home: Path) -> None:
    """Not amid it; and where others have the file open, its last user does not do it."""
    record()
    other = sqlite3.connect(home / "logs.db")
    other.execute("select 1 from requests").fetchall()
    recorder = open_recorder(print)
    request = Request(id="R2", provider="claude", prompt="x")
    recorder.begin(request, "J2", model=None, access="read", cwd="/w")
    result = ToolResult("t", "Read", "PRINTED " * 1000)
    recorder.events("J2", 1, [(0, result)] * 1000)
    recorder.finish("R2", "J2", "completed", reply=Reply("done"))
    assert (home / "logs.db-wal").stat().st_size > 6_000_000
    assert b"PRINTED" not in (home / "logs.db").read_bytes()
    recorder.close()
    assert (home / "logs.db").read_bytes().count(b"PRINTED") > 900_000
    other.close()


def test_a_file_with_another_journal_is_synced_as_ever(home: Path) -> None:
    """As VACUUM INTO leaves a backup that somebody puts back."""
    record()
    path = home / "logs.db"
    conn = connection.connect(path)
    conn.execute("pragma journal_mode = delete")
    before = path.read_bytes()
    connection.begin_log(conn, path)
    assert path.read_bytes() == before
    conn.close()
    assert record("2") == []
    assert answers(path) == ["R1", "R2"]


def test_looking_at_a_recorder_writes_nothing(home: Path) -> None:
    """A command that lists leaves the file as it is."""
    record()
    before = (home / "logs.db").read_bytes()
    recorder = open_recorder(print)
    assert recorder.session("claude", "s") is None
    assert not (home / "logs.db-wal").stat().st_size
    recorder.close()
    assert (home / "logs.db").read_bytes() == before


def test_runs_of_one_process_share_a_connection_one_after_another(home: Path) -> None:
    """Opened once; who asks while it is in use gets another."""
    first, second = open_recorder(print), open_recorder(print)
    conn, other = first.connection, second.connection
    assert conn is not None and conn is not other
    first.close()
    again = open_recorder(print)
    assert again.connection is conn
    second.close()
    again.close()


def test_runs_that_follow_one_another_closely_share_two(home: Path) -> None:
    """The next one has begun before the last one has tidied up: neither is opened again."""
    first, second = open_recorder(print), open_recorder(print)
    connections = {id(first.connection), id(second.connection)}
    for _ in range(3):
        first.close()
        first, second = second, open_recorder(print)
        assert id(second.connection) in connections
    first.close()
    second.close()
    assert id(open_recorder(print).connection) in connections
    idle.close_all()


def test_a_run_that_waits_lends_its_connection(home: Path) -> None:
    """A hundred runs that wait for their CLIs need a few; each has one again when it writes."""
    first = begun("1")
    conn = first.connection
    first.tick()
    second = begun("2")
    assert second.connection is conn and first.connection not in (conn, None)
    for recorder, name in ((first, "1"), (second, "2")):
        recorder.tick()
        recorder.finish(f"R{name}", f"J{name}", "completed", partial_text="because")
        recorder.close()
    idle.close_all()
    assert answers(home / "logs.db") == ["R1", "R2"]


def test_nobody_is_lent_a_connection_amid_a_transaction(home: Path) -> None:
    """The next run would write into it."""
    recorder = begun("1")
    conn = recorder.connection
    assert conn is not None
    conn.execute("BEGIN")
    recorder.tick()
    with closing(open_recorder(print)) as other:
        assert other.connection is not conn
    conn.execute("ROLLBACK")
    assert recorder.connection is conn
    recorder.close()


def test_a_run_whose_file_was_replaced_meanwhile_writes_into_no_other(home: Path) -> None:
    """It says so; its connection is another run's by then, and its rows are in the old file."""
    warnings: list[str] = []
    used = idle._used.total()
    first = begun("1", warnings.append)
    first.tick()
    second = begun("2")
    for name in ("logs.db", "logs.db-wal", "logs.db-shm"):
        (home / name).unlink()
    third = begun("3")
    assert not first.finish("R1", "J1", "completed", partial_text="because")
    assert third.finish("R3", "J3", "completed", partial_text="because")
    for recorder in (first, second, third):
        recorder.close()
    assert len(warnings) == 1 and "another file" in warnings[0]
    assert idle._used.total() == used
    assert run("4") == []
    idle.close_all()
    assert answers(home / "logs.db") == ["R3", "R4"]


def test_a_crowd_that_lends_leaves_no_descriptor_behind(home: Path) -> None:
    """More at once than are kept, then none."""
    assert run("1") == []
    before = len(os.listdir("/proc/self/fd"))
    recorders = [open_recorder(print) for _ in range(12)]
    for recorder in recorders:
        recorder.tick()
    assert len({id(recorder.connection) for recorder in recorders}) == 12
    for recorder in recorders:
        recorder.tick()
        recorder.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_crowd_leaves_no_descriptor_behind(home: Path) -> None:
    """SQLite keeps the descriptors of what is closed while another connection is open."""
    assert run("1") == []
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        recorders = [open_recorder(print) for _ in range(12)]
        for recorder in recorders:
            recorder.write("heartbeat", job_id="J1", at="", until="")
        for recorder in recorders:
            recorder.close()
        assert len(os.listdir("/proc/self/fd")) <= before
    assert run("2") == []
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_file_that_was_put_in_the_place_of_another_gets_the_next_run(home: Path) -> None:
    """A connection that was kept goes on to the old one, which is nobody's any more."""
    assert run("1") == []
    for name in ("logs.db", "logs.db-wal", "logs.db-shm"):
        (home / name).unlink()
    assert run("2") == []
    idle.close_all()
    assert answers(home / "logs.db") == ["R2"]


def test_a_connection_amid_a_transaction_is_not_kept(home: Path) -> None:
    """Nor one that failed: the next run would find the lock taken by itself."""
    assert run("1") == []
    conn = connection.connect(home / "logs.db")
    conn.execute("BEGIN IMMEDIATE")
    idle.give_back(conn)
    assert run("2") == []
