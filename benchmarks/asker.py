"""Asks the gateway without llm around it: ``python -m benchmarks.asker HOW [ARGUMENT …]``.

Each of these is a light process; what it prints is JSON, one line each.

ask KIND PROMPT       ask as foreground, durable, submitted or waited (submitted, then followed)
resident              a prompt a line of stdin, all at once; then what the process still holds
many NUMBER SECONDS   as many prompts at once; the seconds until the last answer was there
ticks PROMPT          the time between the CLI's write and our reader, of each piece, milliseconds
worker PROMPT         milliseconds from the start of a worker to its CLI's first instruction
fingerprint           milliseconds that one of the working directory takes, in a process of its own
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llm_gateway import gateway
from llm_gateway.errors import GatewayError
from llm_gateway.events import Done, Notice, Text
from llm_gateway.ids import new_id
from llm_gateway.request import Options, Request

__all__ = ["HOW"]


def request(prompt: str, **options: Any) -> Request:
    return Request(id=new_id(), provider="claude", prompt=prompt, options=Options(**options))


def told(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def ask(kind: str, prompt: str) -> None:
    """What was asked and how that ended; Ctrl-C ends the run as it does in any program."""
    one = request(prompt, durable=True if kind == "durable" else None)
    try:
        if kind in ("submitted", "waited"):
            claim = gateway.submit(one, lambda text: None)
            told(request=one.id, job=claim.job_id, outcome=claim.outcome)
            if kind == "submitted":
                return
            run = _followed(claim.job_id, one)
        else:
            run = gateway.ask(one, gone=lambda: False)
        told(request=run.request.id, **_answer(run))
    except GatewayError as error:
        told(request=one.id, error=str(error), category=error.category)


def _followed(job_id: str, one: Request) -> gateway.Run:
    """Wait for a job that another process runs."""
    from llm_gateway.follow import followed
    from llm_gateway.store.recorder import open_recorder

    conn = open_recorder(sys.exit).connection
    assert conn is not None
    run = gateway.Run(one, lambda run, stack: followed(run, conn, job_id), job_id=job_id)
    run.start()
    return run


def _answer(run: gateway.Run) -> dict[str, Any]:
    """How a run ended, as its reader was told."""
    try:
        events = list(run)
    except GatewayError as error:
        return {"job": run.job_id, "outcome": run.outcome, "category": error.category}
    text = "".join(event.text for event in events if type(event) is Text)
    said = [event.text for event in events if type(event) is Notice]
    return {"job": run.job_id, "outcome": run.outcome, "answer": text, "said": said}


def resident() -> None:
    """A program that lives long: it must hold as much after its prompts as after its first."""
    told(**_answer(gateway.ask(request("began"))))
    before = _held()
    threads = []
    for line in sys.stdin:
        threads.append(threading.Thread(target=_told, args=(line.strip(),)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    until = time.monotonic() + 10
    while (after := _held()) > before and time.monotonic() < until:
        time.sleep(0.1)
    told(asked=len(threads), before=before, after=after)


def _told(prompt: str) -> None:
    told(**_answer(gateway.ask(request(prompt))))


def _held() -> tuple[int, int]:
    """Open descriptors and threads."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def many(number: str, seconds: str) -> None:
    begun = time.perf_counter()
    runs = [gateway.ask(request(f"work {seconds} {n}")) for n in range(int(number))]
    answers = [_answer(run) for run in runs]
    took = time.perf_counter() - begun
    good = [one.get("answer", "").endswith("done\n") and not one["said"] for one in answers]
    bad = [one for one, fine in zip(answers, good, strict=True) if not fine]
    told(seconds=took, bad=bad)


def ticks(prompt: str) -> None:
    run = gateway.ask(request(prompt))
    waits = [list(_waits(event.text)) for event in run if type(event) is Text]
    told(outcome=run.outcome, waits=[wait for some in waits for wait in some])


def _waits(text: str) -> Iterator[float]:
    now = time.time()
    for line in text.split():
        yield (now - float(line)) * 1000


def worker(prompt: str) -> None:
    """From asking for the process to the first instruction of what it runs; and its memory."""
    begun: list[float] = []
    start = gateway.start_worker

    def timed(job_id: str) -> None:
        begun.append(time.time())
        start(job_id)

    gateway.start_worker = timed  # type: ignore[assignment]
    one = request(prompt)
    claim = gateway.submit(one, lambda text: None)
    run, found, memory = _followed(claim.job_id, one), 0.0, 0.0
    for event in run:
        if type(event) is Text and not found:
            found = float(event.text.split()[0])
            memory = _memory_of(claim.job_id)
        if type(event) is Done:
            told(ms=(found - begun[0]) * 1000, memory=memory)


def _memory_of(job_id: str) -> float:
    """MB that the owner of a job has resident."""
    import sqlite3

    from llm_gateway import settings

    found = sqlite3.connect(f"file:{settings.logs_db()}?mode=ro", uri=True)
    (pid,) = found.execute("SELECT owner_pid FROM job_rows WHERE id = ?", (job_id,)).fetchone()
    found.close()
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def fingerprint() -> None:
    from llm_gateway.dedup.fingerprint import fingerprint

    before = time.perf_counter()
    fingerprint(str(Path.cwd()))
    told(ms=(time.perf_counter() - before) * 1000)


HOW: dict[str, Callable[..., None]] = {
    found.__name__: found for found in (ask, resident, many, ticks, worker, fingerprint)
}

if __name__ == "__main__":
    HOW[sys.argv[1]](*sys.argv[2:])
