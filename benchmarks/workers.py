"""What runs in a process of its own and prints what it measured, as JSON.

begin               one recorded run, so that there is a recorder with something in it
start ROUNDS TIMES  P1: milliseconds to the child's first instruction, ours and bare, by round
stream SIDE FILE    P4, P5: one pass over a long stream; seconds and memory
recorder FILE ROUNDS TIMES  P7: microseconds an event, milliseconds a run, by round
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import llm

from llm_gateway.events import Done, Event, Reply, Session, Usage
from llm_gateway.gateway import ask
from llm_gateway.ids import new_id
from llm_gateway.providers import provider_named
from llm_gateway.request import Access, Invocation, Options, Request, SessionPlan
from llm_gateway.store.recorder import Recorder, open_recorder

from .measure import interleaved

CLI = os.environ["FLOOR_CLI"]


def begin() -> None:
    """A prompt and its answer, as any user's first."""
    for _ in ask(Request(id=new_id(), provider="claude", prompt="began")):
        pass


def start(rounds: str, times: str) -> list[list[float]]:
    """The first call of a process, then rounds of ours and of a bare Popen."""
    model = llm.get_model("gateway-claude")
    first = _ours(model)

    def ours() -> list[float]:
        return [_ours(model) for _ in range(int(times))]

    def bare() -> list[float]:
        return [_bare() for _ in range(int(times))]

    return [[first], *interleaved(int(rounds), ours, bare)]


def _ours(model: Any) -> float:
    """Milliseconds from entering execute() to the child's first instruction."""
    response = model.prompt("began")
    said = []
    before = time.time()
    for event in model.execute(response.prompt, True, response, None):
        if event.type == "text":
            said.append(event.chunk)
    return (float("".join(said)) - before) * 1000


def _bare() -> float:
    """The same for subprocess.Popen alone."""
    before = time.time()
    with subprocess.Popen([CLI], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        out, _ = child.communicate(b"began\n")
    text = json.loads(out.splitlines()[2])["event"]["delta"]["text"]
    return (float(text) - before) * 1000


def stream(side: str, path: str) -> dict[str, float]:
    """Read all that the CLI prints, bare or through process, parser and recorder."""
    read = {"bare": _read_bare, "gateway": _read_gateway}[side]
    idle = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    before = time.perf_counter()
    passing = read(path)
    seconds = time.perf_counter() - before
    return {"seconds": seconds, "passing": passing - idle, "added": _memory("VmHWM") - idle}


def _read_bare(path: str) -> float:
    with subprocess.Popen([CLI], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        child.stdin.write(f"print {path}\n".encode())
        child.stdin.close()
        for line in child.stdout:
            json.loads(line)
    return _memory("VmHWM")


def _read_gateway(path: str) -> float:
    """The most memory before the answer is written down, looked at a hundred times."""
    passing = 0.0
    events = ask(Request(id=new_id(), provider="claude", prompt=f"print {path}"))
    for number, event in enumerate(events):
        if number % 100 == 0 and not isinstance(event, Done):
            passing = _memory("VmHWM")
    return passing


def _memory(name: str) -> float:
    """MB of this process, by a name of /proc/self/status."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) / 1000


def recorder(path: str, rounds: str, times: str) -> list[list[float]]:
    """Microseconds an event, milliseconds a run."""
    events = _events(path)

    def by_event() -> list[float]:
        return [_microseconds_an_event(events)]

    def by_run() -> list[float]:
        return [_milliseconds_a_run() for _ in range(int(times))]

    return interleaved(int(rounds), by_event, by_run)


def _events(path: str) -> list[Event]:
    """The events of a stream, as the parser gives them."""
    request = Request(id="", provider="claude", prompt="")
    plan = Invocation(("claude",), b"", {}, "/", Access.READ, SessionPlan())
    parser = provider_named("claude").parser(request, plan)
    return parser.feed(Path(path).read_bytes())


def _microseconds_an_event(events: list[Event]) -> float:
    """Each of them alone, which is how a model's tokens come."""
    with_past = open_recorder(_complain)
    request, job = _begun(with_past)
    before = time.perf_counter()
    for event in events:
        with_past.events(job, 1, [(1, event)])
        with_past.tick()
    seconds = time.perf_counter() - before
    _ended(with_past, request, job)
    return seconds / len(events) * 1e6


def _milliseconds_a_run() -> float:
    """All that a run asks of the recorder, from opening it to closing it, without events."""
    before = time.perf_counter()
    recorder = open_recorder(_complain)
    request, job = _begun(recorder)
    recorder.attempt_started(job, 1, [CLI, "-p", "--verbose"], list(os.environ), "/", 12, 34)
    recorder.events(job, 1, [(1, Session(job))])
    recorder.session_seen("claude", job, cwd="/", access=Access.READ)
    _ended(recorder, request, job)
    return (time.perf_counter() - before) * 1000


def _begun(recorder: Recorder) -> tuple[Request, str]:
    request = Request(id=new_id(), provider="claude", prompt="why? " * 100, options=Options())
    job = new_id()
    recorder.begin(request, job, model=None, access=Access.READ, cwd="/")
    return request, job


def _ended(recorder: Recorder, request: Request, job: str) -> None:
    reply = Reply("because " * 100, session_id=job, model="claude-fake", usage=Usage(200, 34))
    recorder.attempt_ended(job, 1, exit_code=0)
    recorder.finish(request.id, job, "completed", reply=reply, duration_ms=5)
    recorder.close()


def _complain(text: str) -> None:
    raise SystemExit(text)


WORKERS = {worker.__name__: worker for worker in (begin, start, stream, recorder)}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(WORKERS[sys.argv[1]](*sys.argv[2:])))
