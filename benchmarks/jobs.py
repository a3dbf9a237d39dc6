"""P6, P8 and the rest of jobs: reuse, many at once, joiners, workers, the list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from .measure import Result, differences, figure, interleaved, ratios
from .place import FLOOR, PLUGIN, Place, timed

__all__ = ["joiner", "listing", "many", "reuse", "worker"]

FILES = 1000
PROMPT = "work 1 to be asked again"  # long enough to look at the workspace meanwhile


def reuse(place: Place, rounds: int) -> list[Result]:
    """An answer that is there already, outside of Git and in a repository."""
    repository = _repository(place.folder / "repository")

    def version(cwd: Path) -> list[float]:
        return [_llm(place, cwd, "--version")]

    def again(cwd: Path) -> list[float]:
        return [_llm(place, cwd, "-m", "gateway-claude", "-o", "reuse", "1", PROMPT)]

    def floor() -> list[float]:
        return [place.llm("-m", "floor", "began", plugins=f"{FLOOR},{PLUGIN}")]

    def fingerprint() -> list[float]:
        return [_asked(place, "fingerprint", cwd=repository)[0]["ms"]]

    for cwd in (place.work, repository):
        again(cwd)  # what the others get
    before = _reused(place)
    bare, ours, inside, alone, prompt = interleaved(
        rounds,
        partial(version, place.work),
        partial(again, place.work),
        partial(again, repository),
        fingerprint,
        floor,
    )
    if _reused(place) - before != 2 * rounds:
        raise RuntimeError("an answer was not reused")
    sides = (bare, ours), (bare, inside), (prompt, ours), (bare, prompt)
    added, in_git, over, llms = (differences(mine, theirs) for theirs, mine in sides)
    git = f"the same in a Git repository of {FILES} files, ms"
    return [
        Result("P6", "reuse over `llm --version`, ms", figure(bare), figure(ours), added, "ms", 25),
        Result("", git, figure(bare), figure(inside), in_git, "ms"),
        Result("", "of that, the fingerprint", None, None, figure(alone), "ms"),
        Result("", "reuse over `llm -m floor`, ms", figure(prompt), figure(ours), over, "ms"),
        Result("", "`llm -m floor` over `llm --version`", figure(bare), figure(prompt), llms, "ms"),
    ]


def many(place: Place, number: int, seconds: float, rounds: int) -> list[Result]:
    """Jobs at once, of one process and of as many, beside bare ones; nothing may be locked."""
    enough = str(2 * number)  # some of the past still run
    room = {"LLM_GATEWAY_MAX_JOBS": enough, "LLM_GATEWAY_MAX_JOBS_PER_PROVIDER": enough}

    def bare() -> list[float]:
        return [_bare(place, number, seconds)]

    def ours() -> list[float]:
        (told,), said = _asked_telling(place, "many", str(number), str(seconds), **room)
        if told["bad"] or said:
            raise RuntimeError(f"not every one of {number} jobs was answered: {told['bad']} {said}")
        return [told["seconds"]]

    def apart() -> list[float]:
        return [_processes(place, number, seconds, **room)]

    floor, gateway, processes = interleaved(rounds, bare, ours, apart)
    what = f"{number} jobs at once that take {seconds:g} s, s"
    alone = ratios(processes, floor)
    return [
        Result("P8", what, figure(floor), figure(gateway), ratios(gateway, floor), "×", 1.3),
        Result("", "the same, each asked by a new Python", None, figure(processes), alone, "×"),
    ]


def joiner(place: Place, ticks: int, rounds: int) -> list[Result]:
    """The time from the CLI's write to the reader: of who runs the job, and of who joined it."""
    first: list[float] = []
    second: list[float] = []
    for number in range(rounds):
        prompt = f"tick {ticks} for round {number}"
        argv = [sys.executable, "-m", "benchmarks.asker", "ticks", prompt]
        with subprocess.Popen(argv, env=place.env(), cwd=place.work, stdout=-1) as leader:
            _wait_for(place, 1)
            follower = _asked(place, "ticks", prompt)[0]
            assert leader.stdout
            told = json.loads(leader.stdout.read())
        if (told["outcome"], follower["outcome"]) != ("ran", "joined"):
            raise RuntimeError(f"{told['outcome']}, {follower['outcome']}")
        for waits, into in ((told["waits"], first), (follower["waits"], second)):
            late = sorted(waits[ticks // 2 :])  # what came before the second one joined is old
            into.append(late[len(late) // 2])
    what = "from the CLI's write to a joiner's reader, p50, ms"
    added = differences(second, first)
    return [Result("", what, figure(first), figure(second), added, "ms", 50)]


def worker(place: Place, rounds: int) -> list[Result]:
    """A worker's way to its CLI's first instruction, and what it has resident."""
    memory: list[float] = []

    def bare() -> list[float]:
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import sqlite3"], env=place.env(), check=True)
        return [(time.perf_counter() - before) * 1000]

    def ours() -> list[float]:
        told = _asked(place, "worker", f"work 0.3 {time.time()}")[0]
        memory.append(told["memory"])
        return [told["ms"]]

    floor, gateway = interleaved(rounds, bare, ours)
    what = "a worker's start → its child's first instruction (floor: `import sqlite3`), ms"
    return [
        Result("", what, figure(floor), figure(gateway), figure(gateway), "ms", 80),
        Result("", "a worker's resident memory", None, None, figure(memory), "MB", 20),
    ]


def listing(place: Place, rounds: int) -> list[Result]:
    """The whole of `llm-gateway jobs`, beside a Python that does nothing."""
    program = str(Path(sys.executable).with_name("llm-gateway"))

    def run(*argv: str) -> list[float]:
        return [timed(list(argv), place.env(), place.work, subprocess.DEVNULL)]

    floor, ours = interleaved(
        rounds, partial(run, sys.executable, "-c", "pass"), partial(run, program, "jobs")
    )
    what = "the whole of `llm-gateway jobs` (floor: `python -c pass`), ms"
    return [Result("", what, figure(floor), figure(ours), figure(ours), "ms", 120)]


def _llm(place: Place, cwd: Path, *args: str) -> float:
    argv = [str(Path(sys.executable).with_name("llm")), *args]
    return timed(argv, place.env(), cwd, subprocess.DEVNULL)


def _repository(folder: Path) -> Path:
    """A working directory under Git."""
    for number in range(FILES):
        path = folder / f"part{number % 20}" / f"file{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" * 20)
    for words in ("init -q", "add .", "-c user.name=b -c user.email=b@b commit -qm all"):
        subprocess.run(["git", *words.split()], cwd=folder, check=True)
    return folder


def _reused(place: Place) -> int:
    return int(_query(place, "SELECT count(*) FROM request_rows WHERE outcome = 'reused'"))


def _query(place: Place, sql: str) -> Any:
    import sqlite3

    conn = sqlite3.connect(f"{place.database.as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        return conn.execute(sql).fetchone()[0]
    finally:
        conn.close()


def _wait_for(place: Place, running: int) -> None:
    """Until so many jobs have said something."""
    until = time.monotonic() + 30
    live = "SELECT count(DISTINCT j.id) FROM job_rows j JOIN events e ON e.job_id = j.id"
    while _query(place, f"{live} WHERE j.status = 'running' AND j.owner_pid > 0") < running:
        if time.monotonic() > until:
            raise RuntimeError("a job did not begin")
        time.sleep(0.01)


def _asked(place: Place, *argv: str, cwd: Path | None = None) -> list[Any]:
    return _asked_telling(place, *argv, cwd=cwd)[0]


def _asked_telling(
    place: Place, *argv: str, cwd: Path | None = None, **env: str
) -> tuple[list[Any], str]:
    """What an asker prints, line by line, and what it says on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.asker", *argv],
        env={**place.env(), **env},
        cwd=cwd or place.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def _processes(place: Place, number: int, seconds: float, **env: str) -> float:
    """Seconds until as many askers have their answers, each of which is a process."""
    before = time.perf_counter()
    ask = [sys.executable, "-m", "benchmarks.asker", "ask", "foreground"]
    how: dict[str, Any] = {"env": {**place.env(), **env}, "cwd": place.work}
    askers = [
        subprocess.Popen([*ask, f"work {seconds} {n}"], stdin=-3, stdout=-1, stderr=-1, **how)
        for n in range(number)
    ]
    for asker in askers:
        out, err = asker.communicate()
        told = json.loads(out)
        if not told.get("answer", "").endswith("done\n") or told["said"] or err:
            raise RuntimeError(f"not every one of {number} askers was answered: {told} {err!r}")
    return time.perf_counter() - before


def _bare(place: Place, number: int, seconds: float) -> float:
    """Seconds that as many processes take that nobody looks at."""
    before = time.perf_counter()
    children = []
    for n in range(number):
        child = subprocess.Popen([place.claude], stdin=-1, stdout=-1, env=dict(os.environ))
        assert child.stdin
        child.stdin.write(f"work {seconds} {n}\n".encode())
        child.stdin.close()
        child.stdin = None
        children.append(child)
    for child in children:
        assert b"done" in child.communicate()[0]
    return time.perf_counter() - before
