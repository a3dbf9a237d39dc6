"""What SQLite would not take is not lost, and comes in exactly once."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llm_gateway.events import Messages, Reply, Text
from llm_gateway.request import Request
from llm_gateway.store import spill, writer
from llm_gateway.store.recorder import Recorder, open_recorder


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path))
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)
    monkeypatch.setattr(writer, "PATIENCE", 0.05)


def run(recorder: Recorder, name: str) -> None:
    """A whole run that leaves a session."""
    request = Request(id=f"R{name}", provider="claude", prompt="why \ud800?", thread_id="TH")
    recorder.begin(request, f"J{name}", model=None, access="read", cwd="/w")
    recorder.attempt_started(f"J{name}", 1, ["x"], [], "/w", 1, 2)
    recorder.events(f"J{name}", 1, [(0, Text("be")), (1, Text("cause"))])
    recorder.attempt_ended(f"J{name}", 1, exit_code=0, stderr_tail="said")
    reply = Reply("because", Messages(["I look “there”.", "because"]), session_id="s")
    recorder.finish(f"R{name}", f"J{name}", "completed", reply=reply)


def record(name: str) -> list[str]:
    warnings: list[str] = []
    recorder = open_recorder(warnings.append)
    run(recorder, name)
    recorder.close()
    return warnings


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else has the write lock."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("begin immediate")
    try:
        yield
    finally:
        conn.execute("rollback")
        conn.close()


def all_of_it(path: Path) -> dict[str, list[tuple[object, ...]]]:
    conn = sqlite3.connect(path)
    queries = {
        "requests": "select id, status, prompt, response from requests order by id",
        "messages": "select typeof(messages), messages from bodies",
        "jobs": "select id, status, stderr from jobs order by id",
        "events": "select job_id, data from events order by job_id, seq",
        "attempts": "select job_id, n, exit_code from attempts order by job_id",
        "sessions": "select session_id, turns from sessions",
    }
    found = {name: conn.execute(query).fetchall() for name, query in queries.items()}
    conn.close()
    return found


def spilled(home: Path) -> list[Path]:
    return sorted((home / "spill").iterdir()) if (home / "spill").exists() else []


def test_a_locked_recorder_costs_one_warning_and_loses_nothing(tmp_path: Path) -> None:
    """The next process that opens it takes the run in, as if it had been written at once."""
    record("1")
    with locked(tmp_path / "logs.db"):
        began = time.perf_counter()
        [warning] = record("2")
        assert time.perf_counter() - began < 2
    assert "spill" in warning
    [file] = spilled(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    open_recorder(print).close()
    assert spilled(tmp_path) == []
    found = all_of_it(tmp_path / "logs.db")
    assert [row[1:] for row in found["requests"]] == [("completed", "why \ufffd?", "because")] * 2
    assert found["messages"] == [("text", '["I look “there”.","because"]')] * 2
    assert [row[1:] for row in found["jobs"]] == [("completed", "said")] * 2
    assert [json.loads(str(row[1]))["text"] for row in found["events"]] == ["because"] * 2
    assert found["attempts"] == [("J1", 1, 0), ("J2", 1, 0)]
    assert found["sessions"] == [("s", 2)]


def test_a_spill_file_that_comes_in_twice_changes_nothing(tmp_path: Path) -> None:
    """As after a crash between the commit and the deletion of the file."""
    record("1")
    with locked(tmp_path / "logs.db"):
        record("2")
    [file] = spilled(tmp_path)
    content = file.read_bytes()
    open_recorder(print).close()
    before = all_of_it(tmp_path / "logs.db")
    file.write_bytes(content)
    open_recorder(print).close()
    assert spilled(tmp_path) == []
    assert all_of_it(tmp_path / "logs.db") == before


def test_a_half_line_at_the_end_is_left_out(tmp_path: Path) -> None:
    """The process was killed, or the disk was full, in the middle of a line."""
    record("1")
    with locked(tmp_path / "logs.db"):
        record("2")
    [file] = spilled(tmp_path)
    file.write_bytes(file.read_bytes()[:-30])
    assert record("3") == []
    found = all_of_it(tmp_path / "logs.db")["requests"]
    assert [row[1] for row in found] == ["completed", "running", "completed"]


def test_what_can_never_be_done_keeps_nothing_else_out(tmp_path: Path) -> None:
    """A line with a number too big for SQLite, nonsense, an unknown operation."""
    record("1")
    with locked(tmp_path / "logs.db"):
        record("2")
    [file] = spilled(tmp_path)
    first, rest = file.read_bytes().split(b"\n", 1)
    bad = [
        {"op": "session_seen", "args": {"session": {"provider": 2**70, "session_id": "x"}}},
        {"op": "events", "args": {"nonsense": 1}},
        {"op": "no such thing", "args": {}},
        {},
        [],
    ]
    lines = [first, *(json.dumps(line).encode() for line in bad), b"\xff{", rest]
    file.write_bytes(b"\n".join(lines))
    open_recorder(print).close()
    assert spilled(tmp_path) == []
    assert len(all_of_it(tmp_path / "logs.db")["requests"]) == 2


def test_a_run_that_still_spills_is_not_taken_in_half(tmp_path: Path) -> None:
    """Its file is locked until it ends."""
    record("1")
    recorder = open_recorder(lambda text: None)
    with locked(tmp_path / "logs.db"):
        request = Request(id="R2", provider="claude", prompt="p")
        recorder.begin(request, "J2", model=None, access="read", cwd="/w")
    open_recorder(print).close()
    assert len(spilled(tmp_path)) == 1
    recorder.finish("R2", "J2", "completed", partial_text="x")
    open_recorder(print).close()
    assert spilled(tmp_path) == []
    assert all_of_it(tmp_path / "logs.db")["requests"][1][:2] == ("R2", "completed")


def test_events_wait_in_memory_while_the_lock_is_taken(tmp_path: Path) -> None:
    """A lock of a second in the middle of a run costs no warning and no event."""
    warnings: list[str] = []
    recorder = open_recorder(warnings.append)
    request = Request(id="R1", provider="claude", prompt="p")
    recorder.begin(request, "J1", model=None, access="read", cwd="/w")
    with locked(tmp_path / "logs.db"):
        began = time.perf_counter()
        for number in range(6):
            recorder.events("J1", 1, [(number, Text("a", number))])
            time.sleep(0.05)
            recorder.tick()
        assert time.perf_counter() - began < 1.5
    recorder.finish("R1", "J1", "completed")
    recorder.close()
    assert warnings == []
    assert len(all_of_it(tmp_path / "logs.db")["events"]) == 6


def test_a_spill_file_of_another_recorder_is_not_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the recorder that it is for."""
    record("1")
    with locked(tmp_path / "logs.db"):
        record("2")
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", str(tmp_path / "other.db"))
    record("3")
    assert len(spilled(tmp_path)) == 1
    assert [row[0] for row in all_of_it(tmp_path / "other.db")["requests"]] == ["R3"]


def test_many_spill_files_of_another_recorder_are_in_nobodys_way(tmp_path: Path) -> None:
    """However many there are before it, one for this recorder is taken in."""
    record("1")
    with locked(tmp_path / "logs.db"):
        record("2")
    for n in range(60):
        (tmp_path / "spill" / f"{n:020d}-1.jsonl").write_text('{"for": "/another.db"}\n')
    record("3")
    assert [row[0] for row in all_of_it(tmp_path / "logs.db")["requests"]] == ["R1", "R2", "R3"]
    assert len(spilled(tmp_path)) == 60


def test_a_spill_file_is_not_taken_in_before_it_has_its_lock(tmp_path: Path) -> None:
    """Who looks in between finds it empty, and would remove it under its writer."""
    recorder = open_recorder(print)
    looks, done = (tmp_path / "spill", tmp_path / "logs.db"), threading.Event()
    conn = sqlite3.connect(looks[1], isolation_level=None, check_same_thread=False)

    def look() -> None:
        while not done.is_set():
            spill.take_in(conn, *looks, 1.0)

    looking = threading.Thread(target=look)
    looking.start()
    kept = []
    for _ in range(1500):
        written = spill.Spill(*looks)
        written.append("cancel", {"job_id": "J"})
        kept.append(written.path is not None and written.path.exists())
        written.close()
    done.set()
    looking.join()
    conn.close()
    recorder.close()
    assert all(kept)


def test_where_nothing_can_be_spilled_the_run_goes_on(tmp_path: Path) -> None:
    """With one warning."""
    record("1")
    (tmp_path / "spill").write_text("in the way")
    with locked(tmp_path / "logs.db"):
        assert len(record("2")) == 1
    assert record("3") == []
    assert [row[0] for row in all_of_it(tmp_path / "logs.db")["requests"]] == ["R1", "R3"]


def test_without_bodies_nothing_said_is_spilled(tmp_path: Path) -> None:
    """llm -n holds for the spill file as well."""
    record("1")
    recorder = open_recorder(lambda text: None)
    with locked(tmp_path / "logs.db"):
        request = Request(id="R2", provider="claude", prompt="PRIVATE", keep_bodies=False)
        recorder.begin(request, "J2", model=None, access="read", cwd="/w")
        recorder.events("J2", 1, [(0, Text("PRIVATE"))])
        reply = Reply("PRIVATE", Messages(["PRIVATE", "PRIVATE"]))
        recorder.finish("R2", "J2", "completed", reply=reply)
    [file] = spilled(tmp_path)
    assert b"PRIVATE" not in file.read_bytes()
    assert os.path.getsize(file) > 0
    recorder.close()
