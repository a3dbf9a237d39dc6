"""Two jobs a second for MINUTES while processes are killed: ``python -m benchmarks.soak MINUTES``.

Prompts run in the foreground, durable, submitted, or in a process that lives long; some are
identical. Askers, workers and CLIs are killed, stopped, interrupted and canceled at random. In the
end nothing may be left: no ghost, no process, descriptor or directory, no key that is held by the
dead; every job has exactly one end, and what its askers were told. Exits 1 where that is not so.

It lies in a directory of its own and adopts what its processes leave behind, so that it finds all
of them and ends no others.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from llm_gateway import proctree
from llm_gateway.proctree import Process
from llm_gateway.store import connection, jobs

from .place import HERE, ROOT
from .soak_checks import broken, count_ends, live_job, summary

__all__ = ["Soak"]

PER_SECOND = 2.0
HARMS_PER_SECOND = 0.8
TICK = 0.05
SHARED = 4
KINDS = {"foreground": 5, "durable": 3, "submitted": 2, "waited": 2, "resident": 2}
PATIENCE = 100.0  # a job whose worker was killed before it began is known as dead after a minute


class Soak:
    """What runs, and what is done to it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.database = folder / "gateway" / "logs.db"
        self.work, self.tmp, self.out = folder / "work", folder / "tmp", folder / "out"
        self.askers: list[subprocess.Popen[bytes]] = []
        self.stopped: list[tuple[float, Process]] = []
        self.counts: Counter[str] = Counter()
        self.killed: set[int] = set()
        self.codes: Counter[str] = Counter()
        self._make()

    def _make(self) -> None:
        for path in (self.work, self.tmp, self.out, self.folder / "bin"):
            path.mkdir()
        self.claude = self.folder / "bin" / "claude"
        shutil.copy(HERE / "fake-claude", self.claude)
        (self.work / "file").write_text("one\n")
        for words in ("init -q", "add .", "-c user.name=s -c user.email=s@s commit -qm one"):
            argv = ["git", *words.split()]
            subprocess.run(argv, cwd=self.work, env=self.env(), check=True)

    def env(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.tmp),
            "LLM_USER_PATH": str(self.folder / "llm"),
            "LLM_GATEWAY_HOME": str(self.folder / "gateway"),
            "LLM_GATEWAY_MAX_JOBS_PER_PROVIDER": "6",
        }

    def start(self, *argv: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start an asker; what it prints is kept."""
        name = self.out / f"{self.counts['processes']:06}"
        self.counts["processes"] += 1
        with (
            name.with_suffix(".json").open("wb") as out,
            name.with_suffix(".err").open("wb") as err,
        ):
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.asker", *argv],
                cwd=self.work,
                env=self.env(),
                stdin=stdin,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def run(self, seconds: float) -> None:
        """Ask and harm until the time is up; then let everything come to its end."""
        self.start("ask", "foreground", "began").wait()
        count_ends(self.database)
        self.resident = self.start("resident", stdin=subprocess.PIPE)
        begun = asked = harmed = time.monotonic()
        while (now := time.monotonic()) < begun + seconds:
            if now > asked:
                self._ask()
                asked += 1 / PER_SECOND
            if now > harmed:
                self._harm()
                harmed += self.chance.expovariate(HARMS_PER_SECOND)
            self._look()
            time.sleep(TICK)
        self._settle()

    def _ask(self) -> None:
        (kind,) = self.chance.choices(list(KINDS), list(KINDS.values()))
        prompt = self._prompt()
        self.counts[kind] += 1
        if kind == "resident":
            assert self.resident.stdin
            self.resident.stdin.write(f"{prompt}\n".encode())
            self.resident.stdin.flush()
        else:
            self.askers.append(self.start("ask", kind, prompt))

    def _prompt(self) -> str:
        if self.chance.random() < 0.3:
            return shared(self.chance.randrange(SHARED))
        how = "stray" if self.chance.random() < 0.2 else "work"
        return f"{how} {self.chance.uniform(0.2, 3):.2f} of {self.counts.total()}"

    def _harm(self) -> None:
        """Do something bad to something of ours, where there is something."""
        name = self.chance.choice(list(HARMS))
        if HARMS[name](self):
            self.counts[f"harm: {name}"] += 1

    def _look(self) -> None:
        """Take what ended off the list, ours and what was left to us; wake what was stopped."""
        now = time.monotonic()
        for until, process in self.stopped:
            if until <= now:
                proctree.send(process, signal.SIGCONT)
        self.stopped = [(until, process) for until, process in self.stopped if until > now]
        ours = {process.pid for process in (*self.askers, self.resident)}
        for process in self.askers:
            if process.poll() is not None:
                self.codes[str(process.returncode)] += 1
        self.askers = [process for process in self.askers if process.returncode is None]
        while (pid := _dead_child(ours)) is not None:
            os.waitpid(pid, os.WNOHANG)

    def _settle(self) -> None:
        """Wait until nothing is asked and nothing runs, except for what nobody will ever end."""
        assert self.resident.stdin
        self.resident.stdin.close()
        until = time.monotonic() + PATIENCE
        self._wait(lambda: not self.askers and self.resident.poll() is not None, until)
        self._wait(lambda: not self.running(b"llm_gateway.worker"), until)
        self._wait(lambda: not _waits_for_worker(self.database), until)

    def _wait(self, over: Callable[[], bool], until: float) -> None:
        self._look()
        while not over() and time.monotonic() < until:
            self._look()
            time.sleep(0.2)

    def jobs(self) -> None:
        """The one command after which there are no ghosts."""
        program = str(Path(sys.executable).with_name("llm-gateway"))
        argv, quiet = [program, "jobs", "--json"], subprocess.DEVNULL
        subprocess.run(argv, cwd=self.work, env=self.env(), stdout=quiet, check=True)

    def ask_again(self) -> None:
        """Ask what was shared once more: a key that the dead hold would keep it waiting.

        Directories of the dead go then; those that nobody locked, an hour after.
        """
        for path in self.tmp.iterdir():
            os.utime(path, (0, 0))
        for number in range(SHARED):
            self.askers.append(self.start("ask", "foreground", shared(number)))
        self._wait(lambda: not self.askers, time.monotonic() + 60)

    def left(self) -> list[Process]:
        """Processes below this one, which adopts whatever is orphaned; what is dying may finish."""
        self._wait(lambda: len(proctree.descendants(os.getpid())) < 2, time.monotonic() + 10)
        return [one for one in proctree.descendants(os.getpid()) if one.pid != os.getpid()]

    def running(self, words: bytes) -> list[Process]:
        """Processes of ours whose command line has those words."""
        return [one for one in proctree.descendants(os.getpid()) if words in command(one)]

    def end(self) -> None:
        """End everything that is left of it."""
        proctree.signal_all(self.left(), signal.SIGKILL)


def shared(number: int) -> str:
    """A prompt that many ask."""
    return f"work 1.{number} of all"


def command(process: Process) -> bytes:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except OSError:
        return b""


def leads(process: Process) -> bool:
    """Whether it is the CLI itself; a shell that it forks has the same command line."""
    try:
        return os.getsid(process.pid) == process.pid
    except OSError:
        return False


def _dead_child(but: set[int]) -> int | None:
    """A process that was left to us and is dead."""
    for pid, (parent, state) in _states().items():
        if parent == os.getpid() and state == "Z" and pid not in but:
            return pid
    return None


def _states() -> dict[int, tuple[int, str]]:
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(name)] = int(fields[1]), fields[0]
    return found


def _waits_for_worker(database: Path) -> bool:
    """Whether a job's worker may still come, for all that anybody knows."""
    return live_job(database, "owner_pid IS NULL AND lease_until > strftime('%FT%H:%M:%fZ')") != ""


def _asker(soak: Soak, number: int) -> bool:
    alive = [process for process in soak.askers if process.poll() is None]
    if alive:
        soak.chance.choice(alive).send_signal(number)
    return bool(alive)


def _one(soak: Soak, words: bytes, number: int) -> Process | None:
    found = soak.running(words)
    if words == bytes(soak.claude):
        found = [process for process in found if leads(process)]
    if not found:
        return None
    victim = soak.chance.choice(found)
    proctree.send(victim, number)
    return victim


def _stop(soak: Soak) -> bool:
    """Ctrl-Z, or a laptop's lid, and a while later back again."""
    victim = _one(soak, b"llm_gateway.worker", signal.SIGSTOP)
    if victim is not None:
        soak.stopped.append((time.monotonic() + soak.chance.uniform(1, 5), victim))
    return victim is not None


def _cancel(soak: Soak) -> bool:
    job = live_job(soak.database, "1 ORDER BY random()")
    if not job:
        return False
    conn = connection.connect(soak.database)
    try:
        jobs.request_cancel(conn, job)
    finally:
        conn.close()
    return True


HARMS: dict[str, Callable[[Soak], bool]] = {
    "asker killed": lambda soak: _asker(soak, signal.SIGKILL),
    "asker interrupted": lambda soak: _asker(soak, signal.SIGINT),
    "worker killed": lambda soak: _one(soak, b"llm_gateway.worker", signal.SIGKILL) is not None,
    "worker stopped": _stop,
    "CLI killed": lambda soak: _one(soak, bytes(soak.claude), signal.SIGKILL) is not None,
    "job canceled": _cancel,
}


def main() -> int:
    parser = ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="leave the directory there")
    said = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    folder = Path(tempfile.mkdtemp(prefix="gateway-soak-"))
    proctree.adopt_orphans()
    soak = Soak(folder, said.seed)
    try:
        soak.run(said.minutes * 60)
        soak.jobs()
        wrong = broken(soak)
        sys.stdout.write(f"seed {said.seed}\n{summary(soak)}")
    finally:
        soak.end()
        if not said.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if said.keep:
        sys.stdout.write(f"{folder}\n")
    sys.stdout.write("".join(f"WRONG: {line}\n" for line in wrong) or "Nothing is wrong.\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
