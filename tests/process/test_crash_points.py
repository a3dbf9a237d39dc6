"""kill -9 at every step of a job: the next command tells the truth, and the key is free."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.fakes.claude import answer, init, says, tool
from tests.fakes.cli import FakeCli, until
from tests.harness import Llm, Recorder
from tests.process.asking import CODE, asked, submit
from tests.process.torture import gone

# Put before the product: what CRASH names kills its own process, before or after it is done.
SITE = """
import os, signal, sys

def crashing(function, when):
    def wrapped(*args, **kwargs):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return found
    wrapped.__name__ = function.__name__
    return wrapped

if "CRASH" in os.environ:
    from importlib import import_module
    module, name, when = os.environ["CRASH"].split(":")
    module = import_module(module)
    owner = module
    for part in name.split(".")[:-1]:
        owner = getattr(owner, part)
    last = name.rpartition(".")[2]
    function = crashing(getattr(owner, last), when)
    setattr(owner, last, function)
    if last in getattr(module, "OPERATIONS", {}):
        module.OPERATIONS[last] = function
"""
STEPS = [
    "llm_gateway.store.claims:claim",
    "llm_gateway.process:spawn",
    "llm_gateway.store.operations:attempt_started",
    "llm_gateway.store.operations:session_seen",
    "llm_gateway.store.operations:events",
    "llm_gateway.store.operations:attempt_ended",
    "llm_gateway.execution:Execution.finish",
    "llm_gateway.store.operations:finish",
]
POINTS = [f"{step}:{when}" for step in STEPS for when in ("before", "after")]
DONE = "llm_gateway.execution:Execution.finish:after"  # all others are before the commit of the end
IN_WORKER = [f"llm_gateway.store.claims:take:{when}" for when in ("before", "after")]
SCENARIO = [
    init(),
    says("half"),
    {"sleep": 0.3},
    tool("Read", {"file_path": "a"}, "b"),
    answer("ok"),
]


@pytest.fixture
def crash(tmp_path: Path) -> dict[str, str]:
    """Variables under which a process kills itself at the point that CRASH names."""
    folder = tmp_path / "crash"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE)
    return {"PYTHONPATH": f"{folder}"}


def told(llm: Llm, recorder: Recorder) -> list[str]:
    """What the next command says of the jobs; whatever it says has to be whole and true."""
    program = str(Path(sys.executable).with_name("llm-gateway"))
    listed = json.loads(llm.run(program, "jobs", "--json").answer)
    assert recorder.query("pragma integrity_check")[0][0] == "ok"
    live = "status in ('queued', 'running')"
    assert recorder.query(f"select id from job_rows where {live}") == []
    assert recorder.query(f"select id from request_rows where {live}") == []
    for row in recorder.query("select data from events"):
        json.loads(row["data"])
    return [job["status"] for job in listed]


def ends_without_it(claude: FakeCli) -> None:
    """The CLI ends with its owner: its leash is cut, or the next command ends its tree."""
    for number in range(len(claude.calls)):
        gone(claude, number, below=False)


@pytest.mark.parametrize("point", POINTS)
def test_the_foreground_process_is_killed(
    llm: Llm, claude: FakeCli, recorder: Recorder, crash: dict[str, str], point: str
) -> None:
    """No ghost is left, no second end, and the key is free."""
    claude.does(*SCENARIO)
    ran = llm.python(CODE, input=json.dumps([{}]), env={**crash, "CRASH": point})
    assert ran.code == -signal.SIGKILL, ran.err
    statuses = told(llm, recorder)
    done = point == DONE
    assert statuses in ([["completed"]] if done else [["orphaned"], []])
    ends_without_it(claude)
    again = asked(llm, {})[0]
    assert again["outcome"] == "ran" and again["answer"] == "ok"


def test_killed_before_the_cli_is_written_down(
    llm: Llm, claude: FakeCli, crash: dict[str, str]
) -> None:
    """It is on its leash by then, so it ends without a next command, which could not know of it."""
    claude.does({"hang": True}, stdin="never")
    point = "llm_gateway.store.operations:attempt_started:before"
    ran = llm.python(CODE, input=json.dumps([{}]), env={**crash, "CRASH": point})
    assert ran.code == -signal.SIGKILL, ran.err
    ends_without_it(claude)


@pytest.mark.parametrize("point", [*POINTS[2:], *IN_WORKER])
def test_the_worker_is_killed(
    llm: Llm, claude: FakeCli, recorder: Recorder, crash: dict[str, str], point: str
) -> None:
    """Its submitter is long gone; the job is an orphan with what it had said, or has its end."""
    claude.does(*SCENARIO)
    job = submit(llm, env={**crash, "CRASH": point})
    worker = f"llm_gateway.worker\0{job['job']}".encode()
    until(lambda: not running(worker), 60, "the end of the worker")
    if point in IN_WORKER:
        expire(recorder)  # nobody has taken it, so only its lease tells that nobody will
    statuses = told(llm, recorder)
    done = point == DONE
    assert statuses == (["completed"] if done else ["orphaned"])
    ends_without_it(claude)
    again = asked(llm, {})[0]
    assert again["outcome"] == ("collected" if done else "ran") and again["answer"] == "ok"


@pytest.mark.parametrize("said", [0, 1, 2, 3], ids=["nothing", "a session", "text", "a tool"])
def test_the_cli_is_killed(llm: Llm, claude: FakeCli, recorder: Recorder, said: int) -> None:
    """That is a failure with its cause, what was said is kept, and nothing runs twice by itself."""
    steps = [init(), says("half"), tool("Read", {"file_path": "a"}, "b")][:said]
    claude.does(*steps, {"hang": True}, stdin="never")
    process = llm.popen(sys.executable, "-c", CODE, stdin=-1)
    assert process.stdin is not None
    process.stdin.write(b"[{}]")
    process.stdin.close()
    claude.wait_for_call()
    until(lambda: len(recorder.query("select 1 from events")) >= min(said, 2), 30)
    os.kill(claude.call.pid, signal.SIGKILL)
    process.stdin = None
    out, _ = process.communicate(timeout=90)
    assert "error" in json.loads(out)[0]
    assert told(llm, recorder) == ["failed"]
    assert len(claude.calls) == 1


def running(words: bytes) -> bool:
    """Whether a process runs that has those words in its command line."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if words in (folder / "cmdline").read_bytes():
                    return True
            except OSError:
                continue
    return False


def expire(recorder: Recorder) -> None:
    """Let every lease run out."""
    import sqlite3

    connection = sqlite3.connect(recorder.path, timeout=30)
    with connection:
        connection.execute("update job_rows set lease_until = '2001-01-01T00:00:00.000Z'")
    connection.close()
