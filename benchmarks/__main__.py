"""Runs the benchmarks and prints a table: ``python -m benchmarks [NAME …] [--into FILE]``.

With ``--into`` the table replaces what stands between the two comments in that file.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import in_process, jobs, through_llm
from .measure import Result, table
from .place import Place
from .stream import write_stream
from .vendors import RAW, Skipped, real_cli

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
LONG, SHORT = 100_000_000, 5_000_000


def benches(folder: Path, requests: int) -> dict[str, Callable[[], list[Result]]]:
    """Every benchmark by name, in the order of the table."""
    place = Place(folder / "place", requests)
    long, short = folder / "long.jsonl", folder / "short.jsonl"
    write_stream(long, LONG)
    write_stream(short, SHORT)
    found: dict[str, Callable[[], list[Result]]] = {
        "start": lambda: in_process.first_instruction(place, processes=5, rounds=3, times=10),
        "command": lambda: through_llm.command(place, rounds=15),
        "latency": lambda: through_llm.latency(place, rounds=5, ticks=300),
        "stream": lambda: in_process.pass_through(place, long, rounds=5),
        "answer": lambda: through_llm.long_answer(place, long, rounds=3),
        "recorder": lambda: in_process.recorder(place, short, rounds=5, times=20),
        "reuse": lambda: jobs.reuse(place, rounds=9),
        "many": lambda: jobs.many(place, 100, 2, rounds=4),
        "joiner": lambda: jobs.joiner(place, 600, rounds=5),
        "worker": lambda: jobs.worker(place, rounds=15),
        "jobs": lambda: jobs.listing(place, rounds=15),
    }
    return found | {name: partial(real_cli, name, folder / name, rounds=5) for name in RAW}


def circumstances() -> str:
    """What the figures depend on."""
    from importlib.metadata import version

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores (load {load}), "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"llm {version('llm')}"
    )


def run(names: list[str], requests: int) -> str:
    """Run the named benchmarks, or all; the table and what was skipped."""
    results: list[Result] = []
    skipped: list[str] = []
    before = circumstances()
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        for name, bench in benches(Path(folder), requests).items():
            if names and name not in names:
                continue
            begun = time.monotonic()
            try:
                results += bench()
            except Skipped as reason:
                skipped.append(f"Skipped: {reason}.")
            sys.stderr.write(f"{name}: {time.monotonic() - begun:.0f} s\n")
    return "\n\n".join([before + ".", table(results), *skipped])


def insert(path: Path, text: str) -> None:
    """Put the results where an earlier run's stand."""
    page = path.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--requests", type=int, default=100_000, help="in the recorder's past")
    said = parser.parse_args()
    text = run(said.names, said.requests)
    sys.stdout.write(text + "\n")
    if said.into:
        insert(said.into, text)


main()
