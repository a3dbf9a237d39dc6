"""What the sums cost the transaction that ends a request: ``python -m benchmarks.finishing FILE``.

FILE is a recorder with a past (``benchmarks.generate``), and is written to: say a copy. Blocks of
runs with the trigger of the sums and without it take turns. ``fresh`` is a connection of its own
for each run, as a prompt of a command line has: it compiles the trigger. Milliseconds of wall time
and of this thread's processor time from the call of ``finish`` to its end.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from llm_gateway.events import Reply, Usage
from llm_gateway.ids import new_id
from llm_gateway.request import Access, Options, Request
from llm_gateway.store import idle
from llm_gateway.store.recorder import Recorder, open_recorder

from .measure import Figure, differences

TRIGGER = "request_rows_ended"
Times = tuple[float, float]


def fresh(count: int) -> list[Times]:
    """Each run on a recorder of its own."""
    found = []
    for _ in range(count):
        recorder = open_recorder(sys.exit)
        found.append(_run(recorder))
        recorder.close()
        idle.close_all()
    return found


def kept(count: int) -> list[Times]:
    """Many runs on one recorder, as a process that lives long has."""
    recorder = open_recorder(sys.exit)
    _run(recorder)
    found = [_run(recorder) for _ in range(count)]
    recorder.close()
    return found


def _run(recorder: Recorder) -> Times:
    request, job = (
        Request(id=new_id(), provider="claude", prompt="why?", options=Options()),
        new_id(),
    )
    recorder.begin(request, job, model=None, access=Access.READ, cwd="/")
    recorder.attempt_started(job, 1, ["claude"], [], "/", 12, 34)
    recorder.attempt_ended(job, 1, exit_code=0)
    reply = Reply("because", session_id=job, model="claude-sonnet-5", usage=Usage(200, 34))
    wall, cpu = time.perf_counter(), time.thread_time()
    recorder.finish(request.id, job, "completed", reply=reply, duration_ms=4321)
    return (time.perf_counter() - wall) * 1000, (time.thread_time() - cpu) * 1000


def compare(
    path: Path, block: Callable[[int], list[Times]], rounds: int, count: int
) -> tuple[list[list[Times]], list[list[Times]]]:
    """Blocks with the trigger and without it, in turn."""
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as conn:
        sql = conn.execute("SELECT sql FROM sqlite_master WHERE name = ?", (TRIGGER,)).fetchone()[0]
    with_sums, without = [], []
    for number in range(rounds):
        for sums in (True, False) if number % 2 else (False, True):
            if not sums:
                _execute(path, f"DROP TRIGGER {TRIGGER}")
            try:
                (with_sums if sums else without).append(block(count))
            finally:
                if not sums:
                    _execute(path, sql)
    return with_sums, without


def _execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as conn:
        conn.execute(sql)


def _told(blocks: list[list[Times]], which: int) -> list[float]:
    return [statistics.median(times[which] for times in block) for block in blocks]


def _shown(figure: Figure) -> str:
    return f"{figure.mid:.3f} ({figure.low:.3f} … {figure.high:.3f})"


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.finishing", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--count", type=int, default=40)
    said = parser.parse_args()
    path = said.file.absolute()
    os.environ["LLM_GATEWAY_LOGS_DB"] = str(path)
    sys.stdout.write(
        "| | with the sums | without | added by the sums, ms |\n| --- | --- | --- | --- |\n"
    )
    for block in (fresh, kept):
        ours, bare = compare(path, block, said.rounds, said.count)
        for which, name in enumerate(("wall", "CPU")):
            pair = _told(ours, which), _told(bare, which)
            middles = " | ".join(f"{statistics.median(side):.3f}" for side in pair)
            sys.stdout.write(
                f"| {block.__name__}, {name} | {middles} | {_shown(differences(*pair))} |\n"
            )


if __name__ == "__main__":
    main()
