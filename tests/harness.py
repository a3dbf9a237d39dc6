"""Runs llm as people do, in a process of its own, and reads what it left on disk."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.cli import until

__all__ = ["Llm", "Outcome", "Pty", "Ran", "Recorder", "logged"]

PROGRAM = str(Path(sys.executable).with_name("llm"))
Changes = Mapping[str, str | None] | None


@dataclass(frozen=True)
class Ran:
    """How a process ended and what it wrote."""

    code: int
    out: str
    err: str
    seconds: float

    def ok(self) -> Ran:
        """The same; it must have ended well."""
        assert self.code == 0, f"exit {self.code}: {self.err}"
        return self

    @property
    def answer(self) -> str:
        """What it printed; it must have ended well."""
        return self.ok().out

    @property
    def error(self) -> str:
        """What it said went wrong, without ``Error: ``; nothing else is on stderr's last line."""
        assert self.code == 1, f"exit {self.code}: {self.out} {self.err}"
        assert "Traceback" not in self.err, self.err
        last = self.err.rstrip("\n").rpartition("\n")[2]
        assert last.startswith("Error: "), self.err
        return last.removeprefix("Error: ")


@dataclass(frozen=True)
class Outcome:
    """What a prompt gave that was asked from Python: an answer, or an error with its category."""

    answer: str | None = None
    error: str | None = None
    category: str | None = None
    cause: str | None = None


ASK = """
import json, sys, llm
told = []
for model, prompt, options in json.load(sys.stdin):
    try:
        told.append({"answer": llm.get_model(model).prompt(prompt, **options).text()})
    except llm.ModelError as error:
        cause = type(error.__cause__).__name__
        told.append({"error": str(error), "category": error.category, "cause": cause})
print(json.dumps(told))
"""


class Llm:
    """The real ``llm``. Calling it runs it to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "work"
        self.work.mkdir(exist_ok=True)
        (folder / "tmp").mkdir(exist_ok=True)
        self._started: list[subprocess.Popen[bytes]] = []

    def env(self, changes: Changes = None) -> dict[str, str]:
        """The environment of its processes; a change to None takes a variable away."""
        env = {**os.environ, "TMPDIR": str(self.folder / "tmp"), **(changes or {})}
        return {name: value for name, value in env.items() if value is not None}

    def __call__(
        self,
        *args: str,
        input: str | bytes | None = None,
        env: Changes = None,
        cwd: Path | None = None,
        timeout: float = 100.0,
    ) -> Ran:
        return self.run(PROGRAM, *args, input=input, env=env, cwd=cwd, timeout=timeout)

    @staticmethod
    def program(*args: str) -> list[str]:
        """The command line that starts llm."""
        return [PROGRAM, *args]

    def python(self, code: str, *args: str, **how: Any) -> Ran:
        """Run Python code in a process of its own."""
        return self.run(sys.executable, "-c", code, *args, **how)

    def asks(self, *asked: tuple[str, str, dict[str, Any]], **how: Any) -> list[Outcome]:
        """Ask several prompts (model, prompt, options) from one Python process, one by one."""
        ran = self.python(ASK, input=json.dumps(asked), **how)
        return [Outcome(**data) for data in json.loads(ran.answer)]

    def run(
        self,
        *argv: str | bytes,
        input: str | bytes | None = None,
        env: Changes = None,
        cwd: Path | None = None,
        timeout: float = 100.0,
    ) -> Ran:
        """Run a program and wait for it."""
        data = input.encode() if isinstance(input, str) else input
        begun = time.monotonic()
        process = self.popen(
            *argv, env=env, cwd=cwd, stdin=None if data is None else subprocess.PIPE
        )
        try:
            out, err = process.communicate(data, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"still running after {timeout:g} s: {argv}: {err!r}") from None
        return Ran(process.returncode, _text(out), _text(err), time.monotonic() - begun)

    def start(self, *args: str, **how: Any) -> subprocess.Popen[bytes]:
        """Start llm and go on."""
        return self.popen(PROGRAM, *args, **how)

    def popen(
        self, *argv: str | bytes, env: Changes = None, cwd: Path | None = None, **how: Any
    ) -> subprocess.Popen[bytes]:
        """Start a program, with its output in pipes unless told otherwise."""
        how = {"stdin": None, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        how["preexec_fn"] = how.get("preexec_fn", _as_from_a_shell)
        if how["stdin"] is None:
            how["stdin"] = subprocess.DEVNULL
        process = subprocess.Popen(argv, cwd=cwd or self.work, env=self.env(env), **how)
        self._started.append(process)
        return process

    def pty(self, *args: str, env: Changes = None, out: Path | None = None) -> Pty:
        """Start llm on a terminal of its own; with ``out``, its stdout goes there instead."""
        master, slave = pty.openpty()
        stdout = out.open("wb") if out else slave
        process = self.start(
            *args, env=env, stdin=slave, stdout=stdout, stderr=slave, preexec_fn=_own_terminal
        )
        os.close(slave)
        if out:
            stdout.close()  # type: ignore[union-attr]
        return Pty(process, master)

    def close(self) -> None:
        """End whatever is still running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait(10)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()


def _as_from_a_shell() -> None:
    """Undo what a suite that runs in the background or under nohup would hand on."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _own_terminal() -> None:
    import fcntl
    import termios

    _as_from_a_shell()
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Pty:
    """A program on a terminal, seen by who sits in front of it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self._master, self.seen = process, master, ""
        os.set_blocking(master, False)

    def read(self) -> str:
        """Everything that was on the screen so far."""
        with suppress(OSError):
            while data := os.read(self._master, 65536):
                self.seen += data.decode("utf-8", "replace")
        return self.seen

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until a text was on the screen."""
        until(lambda: text in self.read(), seconds, f"{text!r} on the screen")

    def type(self, text: str) -> None:
        """Type on its keyboard; ``\\x03`` is Ctrl-C."""
        os.write(self._master, text.encode())

    def end(self, seconds: float = 60.0) -> int:
        """Wait for the program and return its exit status."""
        until(lambda: (self.read(), self.process.poll() is not None)[1], seconds, "its end")
        self.read()
        os.close(self._master)
        return self.process.returncode


class Recorder:
    """Reads the flight recorder's file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def query(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Rows; none where there is no file."""
        if not self.path.exists():
            return []
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    @property
    def requests(self) -> list[sqlite3.Row]:
        """Every request, oldest first."""
        return self.query("select * from requests order by id")

    @property
    def request(self) -> sqlite3.Row:
        """The only request."""
        (only,) = self.requests
        return only

    @property
    def attempts(self) -> list[sqlite3.Row]:
        """Every spawn, oldest first."""
        return self.query("select * from attempts order by job_id, n")


def logged(llm: Llm, *args: str) -> list[dict[str, Any]]:
    """What ``llm logs --json`` says, newest first."""
    rows: list[dict[str, Any]] = json.loads(llm("logs", "list", "--json", *args).answer)
    return rows


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
