"""The recorder among many processes, kill -9, full disks and foreign locks. Real ones."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from llm_gateway.store.migrations import VERSION

ROOT = Path(__file__).parents[2]
RUN = """
import sys, time
from llm_gateway.events import Reply, Text
from llm_gateway.request import Request
from llm_gateway.store.recorder import open_recorder

def run(name, pause=0.0, events=3, text="because"):
    recorder = open_recorder(lambda line: print("warning:", line, file=sys.stderr))
    request = Request(id="R" + name, provider="claude", prompt="why?")
    recorder.begin(request, "J" + name, model=None, access="read", cwd="/w")
    recorder.attempt_started("J" + name, 1, ["x"], [], "/w")
    for number in range(events):
        recorder.events("J" + name, 1, [(number, Text(text, number))])
    print("recorded", flush=True)
    time.sleep(pause)
    recorder.tick()
    print("ticked", flush=True)
    time.sleep(pause)
    recorder.attempt_ended("J" + name, 1, exit_code=0)
    recorder.finish("R" + name, "J" + name, "completed", reply=Reply(text, session_id="s"))
    recorder.close()
    print("answer", flush=True)
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("LLM_GATEWAY_LOGS_DB", raising=False)
    return tmp_path / "home"


def start(call: str, **how: object) -> subprocess.Popen[str]:
    """A process that makes one run."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{RUN}\n{call}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,  # type: ignore[call-overload]
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it said; it must have ended well."""
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return out, err


def until(process: subprocess.Popen[str], word: str) -> None:
    """Wait until the process has said the word."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    raise AssertionError(word)


def query(home: Path, sql: str) -> list[tuple[object, ...]]:
    conn = sqlite3.connect(home / "logs.db")
    try:
        assert conn.execute("pragma integrity_check").fetchone() == ("ok",)
        return conn.execute(sql).fetchall()
    finally:
        conn.close()


def warnings(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("warning:")]


def test_fifty_processes_at_once_on_no_file(home: Path) -> None:
    """None fails, none warns, the migration runs once, every run is there."""
    processes = [start(f"run('{number}')") for number in range(50)]
    for process in processes:
        out, err = ended(process)
        assert "answer" in out and err == ""
    assert query(home, "select count(*) from requests where status = 'completed'") == [(50,)]
    assert query(home, "select count(*) from events") == [(150,)]
    assert query(home, "select turns from sessions") == [(50,)]
    assert query(home, "select count(*) from _sqlite_migrations") == [(VERSION,)]
    assert sorted(path.name for path in home.iterdir() if "logs.db-" not in path.name) == [
        "logs.db",
        "logs.db.lock",
    ]


def test_fifty_processes_at_once_on_a_corrupt_file(home: Path) -> None:
    """It is set aside once, and nobody's rows are lost."""
    home.mkdir()
    (home / "logs.db").write_bytes(b"x" * 5000)
    processes = [start(f"run('{number}')") for number in range(50)]
    told = [warning for process in processes for warning in warnings(ended(process)[1])]
    assert len(told) == 1 and "corrupt" in told[0]
    assert query(home, "select count(*) from requests where status = 'completed'") == [(50,)]
    assert len([path for path in home.iterdir() if ".corrupt-" in path.name]) == 1


@pytest.mark.parametrize("word", ["recorded", "ticked"])
def test_kill_9_leaves_a_readable_file(home: Path, word: str) -> None:
    """The row is there, running, with its owner; events older than a flush are there too."""
    process = start("run('1', pause=60, events=300)" if word == "recorded" else "run('1', pause=1)")
    until(process, word)
    process.kill()
    process.wait()
    assert query(home, "select status, prompt from requests") == [("running", "why?")]
    assert query(home, "select owner_pid from job_rows") == [(process.pid,)]
    assert query(home, "select count(*) from events")[0][0] == (256 if word == "recorded" else 3)
    assert "answer" in ended(start("run('2')"))[0]


def test_kill_9_while_the_file_is_made(home: Path) -> None:
    """Whatever was left half-made is made anew."""
    for delay in (0.05, 0.08, 0.12, 0.16, 0.2, 0.25):
        process = start("run('x')")
        time.sleep(delay)
        process.kill()
        process.wait()
    assert ended(start("run('1')"))[1] == ""
    assert query(home, "select status from requests where id = 'R1'") == [("completed",)]


@pytest.mark.parametrize("held", ["forever", "a while"])
def test_a_lock_held_by_another_process(home: Path, held: str) -> None:
    """A prompt waits some seconds at most, warns once, and the run is taken in later."""
    ended(start("run('0')"))
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "c.execute('begin immediate'); print('held', flush=True); time.sleep(60)",
            str(home / "logs.db"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    until(holder, "held")
    began = time.monotonic()
    process = start("run('1')")
    if held == "a while":
        time.sleep(0.8)
        holder.kill()
    out, err = ended(process)
    took = time.monotonic() - began
    holder.kill()
    holder.wait()
    assert "answer" in out and took < 6
    assert len(warnings(err)) == (1 if held == "forever" else 0)
    assert ended(start("run('2')"))[1] == ""
    assert query(home, "select id from requests where status = 'completed' order by id") == [
        ("R0",),
        ("R1",),
        ("R2",),
    ]


def test_a_full_disk_costs_one_warning(home: Path) -> None:
    """The log cannot grow (RLIMIT_FSIZE); the run goes on and waits in a spill file.

    What it says has room in a file of that size, and its other rows beside it have none.
    """
    ended(start("run('0')"))
    size = (home / "logs.db").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    big = f"run('1', text='x' * 20_000, events={int(size * 0.9) // 20_000})"
    out, err = ended(start(big, preexec_fn=limit))
    assert "answer" in out and len(warnings(err)) == 1
    assert ended(start("run('2')"))[1] == ""
    found = query(home, "select id, status from requests order by id")
    assert found == [("R0", "completed"), ("R1", "completed"), ("R2", "completed")]


def test_a_disk_without_any_room_costs_one_warning(home: Path) -> None:
    """Nothing can be written, as it says, not even the spill file; the answer arrives."""
    ended(start("run('0')"))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    out, err = ended(start("run('1')", preexec_fn=limit))
    (warning,) = warnings(err)
    assert "answer" in out and warning.endswith("so this run is not recorded")
    assert query(home, "select id from requests") == [("R0",)]


def test_a_full_file_system_from_the_start(home: Path) -> None:
    """No file can be made at all: one warning, and the answer arrives."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    out, err = ended(start("run('1')", preexec_fn=limit))
    assert "answer" in out and len(warnings(err)) == 1
    assert ended(start("run('2')"))[1] == ""
    assert query(home, "select id from requests") == [("R2",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives its privileges up, which only root can")
@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_may_not_be_written_costs_one_warning(
    monkeypatch: pytest.MonkeyPatch, home: Path, what: str
) -> None:
    """A read-only file, or one in a read-only directory, opened by an ordinary user."""
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setenv("LLM_GATEWAY_HOME", place)
        here = Path(place)
        ended(start("run('0')"))
        for path in (here, *here.iterdir()):
            os.chown(path, 65534, 65534)
        barred = here / "logs.db" if what == "file" else here
        mode = barred.stat().st_mode
        os.chown(barred, 0, 0)
        barred.chmod(0o444 if what == "file" else 0o555)
        drop = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        out, err = ended(start(f"{drop}run('1')"))
        assert "answer" in out and len(warnings(err)) == 1
        for path in (here, *here.iterdir()):
            os.chown(path, 65534, 65534)
        barred.chmod(mode)
        assert ended(start(f"{drop}run('2')"))[1] == ""
        found = [str(row[0]) for row in query(here, "select id from requests order by id")]
        assert found == (["R0", "R1", "R2"] if what == "file" else ["R0", "R2"])


def test_a_power_cut_leaves_a_file_that_opens(home: Path, tmp_path: Path) -> None:
    """Copies of file and log taken at random moments are whole, with what was finished in them."""
    process = start("[run(str(n)) for n in range(150)]")
    time.sleep(0.3)
    for number in range(8):
        copy = tmp_path / str(number)
        copy.mkdir()
        for name in ("logs.db", "logs.db-wal"):
            if (home / name).exists():
                (copy / name).write_bytes((home / name).read_bytes())
        time.sleep(0.03)
    ended(process)
    for number in range(8):
        if (tmp_path / str(number) / "logs.db").exists():
            query(tmp_path / str(number), "select count(*) from requests")


def test_a_stopped_process_keeps_its_row(home: Path) -> None:
    """Another process that starts meanwhile does not touch a job whose owner only sleeps."""
    process = start("run('1', pause=0.2)")
    until(process, "recorded")
    process.send_signal(signal.SIGSTOP)
    ended(start("run('2')"))
    assert query(home, "select status from requests where id = 'R1'") == [("running",)]
    process.send_signal(signal.SIGCONT)
    ended(process)
    assert query(home, "select status from requests where id = 'R1'") == [("completed",)]
