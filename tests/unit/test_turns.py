"""Many writers: each gets its turn, and a lock that never moves costs a few seconds at most."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from llm_gateway.store.connection import connect, write

RUNS = """
import sys
from llm_gateway.events import Reply, Text
from llm_gateway.request import Request
from llm_gateway.store import writer
from llm_gateway.store.recorder import open_recorder
writer.PATIENCE = 0.2
sys.stdin.read()
for number in range(10):
    job = f"j{sys.argv[1]}-{number}"
    recorder = open_recorder(lambda line: sys.exit(line))
    recorder.begin(Request(f"r{job}", "demo", "why"), job, model=None, access="read", cwd="/")
    recorder.attempt_started(job, 1, ["x"], [], "/", 1, 2)
    recorder.events(job, 1, [(0, Text("be" * 1000))])
    recorder.attempt_ended(job, 1, exit_code=0)
    recorder.finish(f"r{job}", job, "completed", reply=Reply("because"))
    recorder.close()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with one table and a write-ahead log."""
    path = tmp_path / "some.db"
    with sqlite3.connect(path) as conn:
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("CREATE TABLE t (n)")
    conn.close()
    return path


@pytest.fixture
def conn(file: Path) -> Iterator[sqlite3.Connection]:
    conn = connect(file)
    yield conn
    conn.close()


def test_writers_that_get_on_are_waited_for(file: Path, conn: sqlite3.Connection) -> None:
    """Somebody takes the lock again as soon as it is free, for longer than one's own patience."""
    busy = threading.Event()

    def others() -> None:
        theirs = sqlite3.connect(file, isolation_level=None, timeout=5)
        for _ in range(10):
            theirs.execute("BEGIN IMMEDIATE")
            theirs.execute("INSERT INTO t VALUES (1)")
            busy.set()
            time.sleep(0.1)
            theirs.execute("COMMIT")
        theirs.close()

    thread = threading.Thread(target=others)
    thread.start()
    try:
        assert busy.wait(10)
        with write(conn, 0.3, 30.0):
            pass
    finally:
        thread.join()


def test_a_lock_that_is_held_for_ever_is_given_up(file: Path, conn: sqlite3.Connection) -> None:
    """Also by those who stand in the queue behind somebody who waits for it."""
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    failed: list[float] = []

    def wants() -> None:
        mine, before = connect(file), time.monotonic()
        with suppress(sqlite3.OperationalError), write(mine, 0.5, 60.0):
            failed.append(0.0)
        failed.append(time.monotonic() - before)
        mine.close()

    threads = [threading.Thread(target=wants) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holder.close()
    assert len(failed) == 20 and max(failed) < 20.0
    with write(conn, 0.5):  # and whoever gave up stands in nobody's way
        pass


def test_no_thread_of_many_starves(file: Path) -> None:
    """Each waits for those before it and for none that came later."""
    waits: list[float] = []

    def writes() -> None:
        mine = connect(file)
        for _ in range(5):
            with write(mine, 0.5, 30.0):
                mine.execute("INSERT INTO t VALUES (1)")
                time.sleep(0.005)
        waits.append(0.0)
        mine.close()

    threads = [threading.Thread(target=writes) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waits) == 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing to fork")
def test_a_fork_does_not_inherit_the_turn(file: Path, tmp_path: Path) -> None:
    """The thread whose turn it was is not in the child, which would wait for it in vain."""
    other = tmp_path / "other.db"
    other.write_bytes(file.read_bytes())
    conn = connect(file)
    with write(conn):
        child = os.fork()
        if child == 0:
            with suppress(BaseException), write(connect(other), 0.2) as mine:
                mine.execute("INSERT INTO t VALUES (1)")
                os._exit(0)
            os._exit(1)
    conn.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_forty_processes_write_at_once_and_none_spills(tmp_path: Path) -> None:
    """Together they write for longer than any of them would wait for one that does not."""
    subprocess.run([sys.executable, "-c", RUNS, "first"], stdin=subprocess.DEVNULL, check=True)
    argv = [sys.executable, "-c", RUNS]
    all_of_them = [
        subprocess.Popen([*argv, str(number)], stdin=-1, stderr=-1, text=True)
        for number in range(40)
    ]
    for one in all_of_them:
        assert one.stdin is not None
        one.stdin.close()
        one.stdin = None
    said = [one.communicate()[1] for one in all_of_them]
    assert [text for text in said if text] == []
    spilled = tmp_path / "gateway" / "spill"
    assert not spilled.exists() or not list(spilled.iterdir())
    conn = connect(tmp_path / "gateway" / "logs.db")
    done = conn.execute("SELECT count(*) FROM job_rows WHERE status = 'completed'").fetchone()
    conn.close()
    assert done == (41 * 10,)
