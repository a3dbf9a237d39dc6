"""A system without room: descriptors, disk, directories that vanish, processes that cannot be."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.claude import answer, ended, init, message, says
from tests.fakes.cli import FakeCli, alive
from tests.harness import Llm, Recorder
from tests.process.torture import ASK, gateway, gone, session, tree


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 2 MB."""
    place = tmp_path / "tiny"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system, and not in every container")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, but: int = 0) -> None:
    """Leave that many bytes of room."""
    with (place / "filler").open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        file.truncate(file.tell() - but)


FEWER = """
import resource
told(ask(request()))
before, outcomes = descriptors(), []
for room in range(22):
    resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + room, 4096))
    try:
        outcomes.append(told(ask(request(prompt="room"))))
    except Exception as error:
        outcomes.append({"error": str(error), "category": error.category})
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
    assert descriptors() == before, (room, descriptors())
print(json.dumps(outcomes))
"""


def test_each_descriptor_that_may_be_missing(llm: Llm, claude: FakeCli) -> None:
    """None free, one free, two …: an error that names it, then an answer, and never a leak."""
    claude.does(answer("ok"))
    outcomes = gateway(llm, FEWER)
    answered = [outcome.get("answer") == "ok" for outcome in outcomes]
    assert answered[-1] and answered == sorted(answered), answered
    failed = [outcome for outcome in outcomes if "error" in outcome]
    assert failed and {outcome["category"] for outcome in failed} == {"spawn"}
    assert all("oo many open files" in outcome["error"] for outcome in failed), failed
    assert not [call.pid for call in claude.calls if alive(call.pid)]


MANY = """
import resource, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]

def at_once(*prompts):
    found = []
    def one(prompt):
        found.append(told(ask(request(prompt, retries=1))))
    threads = [threading.Thread(target=one, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found

print(json.dumps([at_once("same", "same"), at_once("one", "another"), at_once("again")]))
"""


def test_a_program_with_more_than_a_thousand_descriptors(llm: Llm, claude: FakeCli) -> None:
    """To join, to wait for a place and to wait for the next attempt is all the same to it."""
    slow = {"steps": [init(), {"sleep": 0.5}, says("ok"), ended("ok")]}
    busy = {"steps": [init(), ended("Overloaded", is_error=True, api_error_status=529)]}
    claude.in_turn(slow, slow, slow, busy, slow)
    found = gateway(llm, MANY, env={"LLM_GATEWAY_MAX_JOBS": "1"})
    assert [outcome.get("answer") for outcomes in found for outcome in outcomes] == ["ok"] * 5
    assert len(claude.calls) == 5


def test_a_python_without_ctypes(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """Then llm's command does not become the parent of orphans, and answers all the same."""
    (tmp_path / "ctypes.py").write_text("raise ImportError('No module named _ctypes')")
    assert llm(*ASK, "x", env={"PYTHONPATH": str(tmp_path)}).answer == "ok\n"


def test_thirty_two_descriptors_are_enough(llm: Llm, claude: FakeCli) -> None:
    """``ulimit -n 32``: llm with all that it loads, and the recorder, and the CLI."""
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))  # noqa: E731
    process = llm.start(*ASK, "x", preexec_fn=few)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, b"ok\n", b"")


ALONE = """
import resource
told(ask(request()))
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    outcome = told(ask(request()))
except Exception as error:
    outcome = {"error": str(error), "category": error.category}
print(json.dumps(outcome))
"""


def test_no_further_process_may_be_started(llm: Llm, claude: FakeCli) -> None:
    """``ulimit -u``: said as what it is."""
    outcome = gateway(llm, ALONE)
    assert outcome["category"] == "spawn" and "no room for another run" in outcome["error"]
    assert len(claude.calls) == 1


# Directories.


THREADS = """
import threading

def refused(prompt):
    try:
        ask(request(prompt))
    except Exception as error:
        return str(error)

told(ask(request("x")))
before = descriptors()
threading.stack_size(1 << 46)
errors = [refused(f"y{n}") for n in range(5)]
print(json.dumps([errors, descriptors() - before]))
"""


def test_no_further_thread_may_be_started(llm: Llm, claude: FakeCli) -> None:
    """It says so, and keeps nothing open."""
    claude.does(answer("ok"))
    errors, more = gateway(llm, THREADS)
    assert all("no room for another run" in error for error in errors) and more == 0
    assert len(claude.calls) == 1


def test_no_room_for_temporary_files(
    llm: Llm, claude: FakeCli, recorder: Recorder, tiny: Path
) -> None:
    """The system prompt has nowhere to go: a sentence before the spawn, and the row."""
    fill(tiny, but=16 * 1024)
    ran = llm(*ASK, "-s", "Be brief. " * 10_000, "x", env={"TMPDIR": str(tiny)})
    assert "temporary files" in ran.error and "No space left on device" in ran.error
    assert recorder.request["error_category"] == "spawn"
    assert claude.calls == []
    assert [path.name for path in tiny.iterdir()] == ["filler"]
    assert llm(*ASK, "x", env={"TMPDIR": str(tiny)}).answer == "ok\n"


def test_no_place_for_temporary_files(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """Nothing can be written anywhere: the same."""
    code = """
import resource
from llm_gateway.records import replace
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
print(json.dumps(told(ask(replace(request(), system="long " * 40_000)))))
"""
    outcome = gateway(llm, code)
    assert outcome["category"] == "spawn" and "temporary files" in outcome["error"]
    assert claude.calls == []


def test_the_directory_vanishes_while_the_agent_works(
    llm: Llm, claude: FakeCli, recorder: Recorder, tmp_path: Path
) -> None:
    """What it says still arrives; the next turn says that the directory is gone."""
    gate, place = tmp_path / "gate", tmp_path / "place"
    place.mkdir()
    claude.does(init(), {"wait_for": str(gate)}, message("fine"), ended("fine"))
    process = llm.start(*ASK, "x", cwd=place)
    claude.wait_for_call()
    shutil.rmtree(place)
    gate.touch()
    out, err = process.communicate(timeout=40)
    assert (process.returncode, out, err) == (0, b"fine\n", b"")
    assert recorder.request["status"] == "completed"
    assert llm("-c", "y").error == f"The directory {place} does not exist (any more)."


def test_the_gateways_directory_vanishes_while_the_agent_works(
    llm: Llm, claude: FakeCli, tmp_path: Path
) -> None:
    """Recorder and locks are gone: the answer arrives, and the next prompt makes them anew."""
    gate = tmp_path / "gate"
    rest = [says("rest", start=False), ended("half rest")]
    claude.in_turn(
        {"steps": [init(), says("half "), {"wait_for": str(gate)}, rest]},
        {"steps": answer("two")},
    )
    process = llm.start(*ASK, "x")
    assert process.stdout is not None and process.stdout.read(5) == b"half "
    shutil.rmtree(llm.folder / "gateway")
    gate.touch()
    out, err = process.communicate(timeout=40)
    assert (process.returncode, out) == (0, b"rest\n")
    assert b"Traceback" not in err
    assert llm(*ASK, "y").answer == "two\n"
    assert (llm.folder / "gateway" / "logs.db").exists()


# The recorder, under a whole llm.


def test_a_disk_that_fills_up_while_the_agent_works(llm: Llm, claude: FakeCli, tiny: Path) -> None:
    """The answer arrives whole and llm ends well, with one warning."""
    flood = {"flood_text": {"line": says("x" * 4000, start=False)[0]["line"], "times": 200}}
    claude.in_turn({"steps": answer("one")}, {"steps": [init(), says("y"), flood, ended("fine")]})
    env = {"LLM_GATEWAY_HOME": str(tiny / "gateway")}
    first = llm(*ASK, "x", env=env)
    assert (first.answer, first.err) == ("one\n", "")
    fill(tiny, but=128 * 1024)
    ran = llm(*ASK, "y", env=env)
    assert ran.answer == "y" + "x" * 800_000 + "\n"
    assert ran.err.count("\n") == 1 and "flight recorder could not write" in ran.err


def test_a_recorder_that_is_locked_for_ever(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """The answer arrives within seconds, with one warning; the run is taken in later."""
    llm(*ASK, "one").answer  # noqa: B018
    holder = sqlite3.connect(recorder.path, isolation_level=None)
    holder.execute("begin immediate")
    ran = llm(*ASK, "two")
    assert ran.answer == "ok\n"
    assert ran.err.count("\n") == 1 and "flight recorder" in ran.err
    holder.execute("rollback")
    holder.close()
    ran = llm(*ASK, "three")
    assert (ran.answer, ran.err) == ("ok\n", "")
    rows = [(row["prompt"], row["status"]) for row in recorder.requests]
    assert sorted(rows) == [("one", "completed"), ("three", "completed"), ("two", "completed")]


def test_a_lock_does_not_delay_what_is_printed(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Somebody takes the lock in the middle: text, end and signals go on."""
    llm(*ASK, "one").answer  # noqa: B018
    claude.does(init(), tree(), says("half "), {"sleep": 1}, says("rest", start=False), {"hang": 1})
    process = llm.start(*ASK, "two")
    assert process.stdout is not None and process.stdout.read(5) == b"half "
    holder = sqlite3.connect(recorder.path, isolation_level=None, timeout=10)
    holder.execute("begin immediate")
    assert process.stdout.read(4) == b"rest"
    process.terminate()
    _, err = process.communicate(timeout=40)
    assert process.returncode == -15
    gone(claude)
    holder.execute("rollback")
    holder.close()
    assert session(claude) in err.decode()
    claude.does(answer("ok"))
    llm(*ASK, "three").answer  # noqa: B018
    assert sorted(row["status"] for row in recorder.requests) == [
        *("canceled", "completed", "completed")
    ]


BROKEN = {
    "no database": lambda path: path.write_bytes(b"x" * 5000),
    "a directory": lambda path: path.mkdir(),
    "of a newer version": lambda path: _newer(path),
}


def _newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 9999")
    connection.execute(f"pragma application_id = {0x6C6C6D67}")
    connection.execute("create table meta (key text primary key, value text)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("how", BROKEN)
def test_a_recorder_that_cannot_be_used(
    llm: Llm, claude: FakeCli, recorder: Recorder, how: str
) -> None:
    """Answer, exit status and llm's own log are those of every day; stderr has one line."""
    recorder.path.parent.mkdir(mode=0o700)
    BROKEN[how](recorder.path)
    ran = llm(*ASK, "x")
    assert (ran.answer, ran.err.count("\n")) == ("ok\n", 1), ran.err
    assert llm("-c", "y").answer == "ok\n"
    assert [call.prompt for call in claude.calls] == ["x", "y"]


@pytest.mark.parametrize("index", ["job_rows_status", "request_rows_status"])
def test_a_page_of_the_recorder_that_is_corrupt(
    llm: Llm, claude: FakeCli, recorder: Recorder, index: str
) -> None:
    """The file opens, and looking for who is gone is the first to meet the page."""
    llm(*ASK, "one").ok()
    conn = sqlite3.connect(recorder.path)
    page = conn.execute("select rootpage from sqlite_schema where name = ?", (index,)).fetchone()[0]
    size = conn.execute("pragma page_size").fetchone()[0]
    conn.close()
    with recorder.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    ran = llm(*ASK, "two")
    assert ran.answer == "ok\n"
    assert ran.err.count("\n") == 1 and "was corrupt" in ran.err


def test_a_recorder_that_is_cut_off_while_a_job_is_waited_for(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """Who runs it has the answer; who joined it is told why not, and where it goes on."""
    llm(*ASK, "first").ok()
    claude.does(init(), says("half "), {"sleep": 3}, says("done", start=False), ended("half done"))
    owner = llm.start(*ASK, "same")
    claude.wait_for_call(2)
    joined = llm.start(*ASK, "same")
    assert joined.stdout is not None and joined.stdout.read(5) == b"half "
    conn = sqlite3.connect(recorder.path)
    conn.execute("pragma wal_checkpoint(truncate)").fetchall()
    conn.close()
    os.truncate(recorder.path, 4096)
    out, _ = owner.communicate(timeout=60)
    assert (out, owner.returncode) == (b"half done\n", 0)
    _, err = joined.communicate(timeout=60)
    assert joined.returncode == 1 and b"cannot be read any more" in err
