"""Run one child: feed it, drain it, watch the clock, and take its whole tree down.

Knows no SQLite and no llm. ``run`` is a loop in the caller's thread; everything it learns goes to
a ``Watcher``. It never waits for a pipe alone: a grandchild may hold one for ever.
"""

from __future__ import annotations

import fcntl
import os
import select
import selectors
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import IO, Protocol

from . import forks, leash, proctree
from .errors import CliMissing, SpawnFailed
from .records import field, record
from .request import Invocation

__all__ = ["RUN_MARK", "Cancel", "Ended", "Watcher", "run", "spawn"]

CHUNK = 256 * 1024
STDERR_TAIL = 64 * 1024
TICK = 0.05
LINGER_AFTER_EXIT = 0.5
LINGER_AFTER_END = 2.0
STEP = 2.0
STOPPED = 5.0
RUN_MARK = "LLM_GATEWAY_RUN"
RUNNING: set[int] = set()


class Watcher(Protocol):
    """What ``run`` tells, and what it asks, while a child lives."""

    def started(self, pid: int, start_time: int | None) -> None: ...
    def stdout(self, data: bytes) -> None: ...
    def stderr(self, data: bytes) -> None: ...
    def tick(self) -> None: ...

    @property
    def busy(self) -> bool:
        """Whether it wants its next tick soon after what it has just heard."""

    @property
    def ended(self) -> bool:
        """Whether the CLI has said that it is done."""

    @property
    def refuses(self) -> bool:
        """Whether the CLI is to be stopped for what it said."""

    @property
    def idle_limit(self) -> float | None:
        """How many seconds it may be silent now."""


class Cancel:
    """Asks a run to stop, from any thread; the first reason counts, ``now`` skips the courtesy."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.now = False
        self._lock = threading.RLock()  # a signal's handler may ask amid an asking
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __call__(self, reason: str, *, now: bool = False) -> None:
        self.reason = self.reason or reason
        self.now = self.now or now
        with self._lock, suppress(OSError):
            if self._write >= 0:
                os.write(self._write, b"x")

    def fileno(self) -> int:
        return self._read

    def wait(self, seconds: float) -> None:
        """Return once it was asked, or after so many seconds."""
        watch = select.poll()  # select() refuses descriptors above a thousand
        watch.register(self._read, select.POLLIN)
        watch.poll(seconds * 1000)

    def drain(self) -> None:
        with suppress(OSError):
            os.read(self._read, 64)

    def close(self) -> None:
        """Let go of the pipe; asking stays harmless."""
        with self._lock:
            if self._write >= 0:
                os.close(self._read)
                os.close(self._write)
                self._read = self._write = -1


@record
class Ended:
    """How a child ended. ``reason`` is set when we ended it: ``timeout``, ``idle_timeout``,
    ``refused``, or what a ``Cancel`` was called with. ``left`` are processes of its tree that
    outlived SIGKILL."""

    code: int | None = None
    signal: int | None = None
    reason: str | None = None
    stderr: str = ""
    left: list[int] = field(default_factory=list)


def spawn(invocation: Invocation) -> subprocess.Popen[bytes]:
    """Start the child in a session of its own, with three pipes and no inherited descriptor."""
    try:
        with forks.held_off():
            process = subprocess.Popen(
                invocation.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=invocation.cwd,
                env=dict(invocation.env),
                start_new_session=True,
                bufsize=0,
            )
            for pipe in _pipes(process):
                forks.own(pipe.fileno())
        return process
    except OSError as error:
        raise _spawn_error(invocation, error) from error
    except ValueError as error:
        raise SpawnFailed(f"The command line cannot be passed to the system: {error}.") from error


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """The child's stdin, stdout and stderr; no fork of this process has them."""
    assert process.stdin and process.stdout and process.stderr
    return process.stdin, process.stdout, process.stderr


def _close(pipe: IO[bytes]) -> None:
    if not pipe.closed:
        forks.forget(pipe.fileno())
        with suppress(OSError):
            pipe.close()


def _spawn_error(invocation: Invocation, error: OSError) -> CliMissing | SpawnFailed:
    program = invocation.argv[0]
    if not os.path.isdir(invocation.cwd):
        return SpawnFailed(f"The directory {invocation.cwd} does not exist (any more).")
    if isinstance(error, FileNotFoundError):
        return CliMissing(f"{program} does not exist, or the interpreter it names does not.")
    if isinstance(error, PermissionError):
        return SpawnFailed(f"{program} is not executable; mend it with: chmod +x {program}")
    return SpawnFailed(f"{program} could not be started: {error.strerror or error}.")


def run(
    invocation: Invocation,
    watcher: Watcher,
    cancel: Cancel,
    *,
    timeout: float | None = None,
    adopt: bool = False,
) -> Ended:
    """Run the child to its end and return how it ended.

    :param timeout: seconds in all. :param adopt: the process is ours alone, so it may become the
        parent of what the child orphans.
    """
    with _Run(invocation, watcher, cancel, timeout, adopt) as child:
        child.begin()
        return child.loop()


def _selector() -> selectors.BaseSelector:
    """Made before the spawn: without one there is nobody to end what was started."""
    try:
        return selectors.DefaultSelector()
    except OSError as error:
        raise SpawnFailed(f"The system has no room for another run: {error}.") from error


def _widen(pipe: IO[bytes]) -> None:
    """Let the pipe hold as much as one read takes, where the system knows of that and has it."""
    if (set_size := getattr(fcntl, "F_SETPIPE_SZ", None)) is not None:
        with suppress(OSError):
            fcntl.fcntl(pipe.fileno(), set_size, CHUNK)


class _Run:
    def __init__(
        self,
        invocation: Invocation,
        watcher: Watcher,
        cancel: Cancel,
        timeout: float | None,
        adopt: bool,
    ) -> None:
        self.watcher, self.cancel = watcher, cancel
        self.mark = f"{RUN_MARK}={invocation.env[RUN_MARK]}" if RUN_MARK in invocation.env else ""
        self.started = time.monotonic()
        self.deadline = self.started + timeout if timeout else None
        self.heard = self.looked = self.started
        self.todo = memoryview(invocation.stdin)
        self.tail = bytearray()
        self.ended = Ended()
        self.known: set[proctree.Process] = set()
        self.stopping: float | None = None
        self.step = -1
        self.exited_at: float | None = None
        self.end_seen_at: float | None = None
        self.pidfd: int | None = None
        self.adopt = adopt
        self.born: int | None = None
        self.selector = _selector()
        try:
            self.process = spawn(invocation)
        except BaseException:
            self.selector.close()
            raise
        self.pid = self.process.pid
        RUNNING.add(self.pid)

    def __enter__(self) -> _Run:
        return self

    def begin(self) -> None:
        leash.hold(self.pid)
        self.born = proctree.start_time(self.pid)
        if self.adopt:
            proctree.adopt_orphans()
        stdin, stdout, stderr = _pipes(self.process)
        _widen(stdout)
        for pipe in (stdin, stdout, stderr):
            os.set_blocking(pipe.fileno(), False)
        self.selector.register(self.cancel, selectors.EVENT_READ, self._on_cancel)
        self.selector.register(stdout, selectors.EVENT_READ, self._on_stdout)
        self.selector.register(stderr, selectors.EVENT_READ, self._on_stderr)
        self._watch_exit()
        self.watcher.started(self.pid, self.born)
        self._write_stdin()
        if self.todo:
            self.selector.register(stdin, selectors.EVENT_WRITE, self._write_stdin)

    def __exit__(self, *_: object) -> None:
        if not self._exited():
            self._kill_tree()
        leash.let_go(self.pid)
        for pipe in _pipes(self.process):
            _close(pipe)
        self.selector.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        RUNNING.discard(self.pid)

    def loop(self) -> Ended:
        while not self._over():
            for key, _ in self.selector.select(self._patience()):
                key.data()
            self.watcher.tick()
            self._look_at_clock()
        return self._result()

    # What the loop waits for.

    def _on_cancel(self) -> None:
        self.cancel.drain()

    def _on_stdout(self) -> None:
        data = self._read(self.process.stdout)
        if data:
            self.watcher.stdout(data)
        elif data is None:  # whatever it still does, it cannot say that it is done
            self.end_seen_at = self.end_seen_at or time.monotonic()

    def _on_stderr(self) -> None:
        if data := self._read(self.process.stderr):
            self.tail += data
            del self.tail[:-STDERR_TAIL]
            self.watcher.stderr(data)

    def _read(self, pipe: IO[bytes] | None) -> bytes | None:
        """Return what there is; None at the end."""
        assert pipe is not None
        try:
            data = os.read(pipe.fileno(), CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(pipe)
            self._open_pipes -= 1
            return None
        self.heard = time.monotonic()
        return data

    _open_pipes = 2

    def _write_stdin(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        try:
            while self.todo:
                self.todo = self.todo[os.write(stdin.fileno(), self.todo) :]
        except BlockingIOError:
            return
        except OSError:  # the child does not want it; its own words will say why
            self.todo = memoryview(b"")
        self._close_stdin()

    def _close_stdin(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        if not stdin.closed:
            with suppress(KeyError, ValueError):
                self.selector.unregister(stdin)
            _close(stdin)

    def _watch_exit(self) -> None:
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self.pidfd = os.pidfd_open(self.pid)
                self.selector.register(self.pidfd, selectors.EVENT_READ, self._on_exit)

    def _on_exit(self) -> None:
        if self.exited_at is None and self._exited():
            self.exited_at = time.monotonic()
            if self.pidfd is not None:
                self.selector.unregister(self.pidfd)

    def _exited(self) -> bool:
        """Whether the child is dead; it is not reaped, so that its number stays its own."""
        if not hasattr(os, "waitid"):
            return self.process.poll() is not None
        try:
            seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return seen is not None

    # The clock.

    def _patience(self) -> float:
        now = time.monotonic()
        if self.pidfd is None or self.stopping is not None or self.exited_at is not None:
            return TICK
        soon = now - self.heard < 0.3 and self.watcher.busy
        limits = [self.deadline, self._idle_deadline(), now + (TICK if soon else 0.5)]
        if self.end_seen_at is not None:
            limits.append(self.end_seen_at + LINGER_AFTER_END)
        return max(0.0, min(limit for limit in limits if limit is not None) - now)

    def _idle_deadline(self) -> float | None:
        limit = self.watcher.idle_limit
        return None if limit is None else self.heard + limit

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        self._forgive_stop(now)
        self._on_exit()
        if self.watcher.ended and self.end_seen_at is None:
            self.end_seen_at = now
        if self.stopping is None and (reason := self._reason_to_stop(now)):
            self.ended.reason = reason if reason != "lingers" else None
            self.stopping = now
            self.known.update(self._tree())
        if self.stopping is not None:
            self._stop(now)

    def _forgive_stop(self, now: float) -> None:
        """Ctrl-Z stops this clock too: time in which we could not listen is not the child's."""
        lost = now - self.looked
        self.looked = now
        if lost > STOPPED:
            self.heard += lost
            if self.deadline is not None:
                self.deadline += lost

    def _reason_to_stop(self, now: float) -> str | None:
        if self.exited_at is not None:
            return None
        if self.cancel.reason:
            return self.cancel.reason
        if self.watcher.refuses:
            return "refused"
        if self.end_seen_at is not None:
            return "lingers" if now > self.end_seen_at + LINGER_AFTER_END else None
        if self.deadline is not None and now > self.deadline:
            return "timeout"
        idle = self._idle_deadline()
        return "idle_timeout" if idle is not None and now > idle else None

    def _over(self) -> bool:
        if self.exited_at is None:
            return self.step >= len(LADDER) and self._given_up()
        if self._open_pipes == 0:
            return True
        return time.monotonic() > self.exited_at + LINGER_AFTER_EXIT

    def _given_up(self) -> bool:
        return self.stopping is not None and time.monotonic() > self.stopping + 8.0

    # The ladder: end of input and SIGINT, then SIGTERM, then SIGKILL.

    def _stop(self, now: float) -> None:
        assert self.stopping is not None
        self._close_stdin()
        due = len(LADDER) - 1 if self.cancel.now else int((now - self.stopping) / STEP)
        if due <= self.step or self.step >= len(LADDER):
            return
        self.step = min(due, len(LADDER) - 1)
        number = LADDER[self.step]
        self.known.update(self._tree())
        if number == signal.SIGKILL:
            self._kill_tree()
            self.step = len(LADDER)
        else:
            self._signal(number)

    def _signal(self, number: int) -> None:
        proctree.stop_group(self.pid, number)
        if number != signal.SIGINT:
            proctree.signal_all(proctree.outside(self.pid, self.known), number)

    def _kill_tree(self) -> None:
        self.known.update(self._tree())
        proctree.stop_group(self.pid, signal.SIGKILL)
        proctree.signal_all(self.known, signal.SIGKILL)

    def _tree(self) -> list[proctree.Process]:
        found = proctree.descendants(self.pid)
        if self.adopt and self.born is not None:
            found += proctree.adopted(self.born, {*RUNNING, leash.shell() or 0})
        return found + (proctree.marked(self.mark) if self.mark else [])

    def _result(self) -> Ended:
        if self.stopping is not None or self._open_pipes:
            self._sweep()
        leash.let_go(self.pid)
        code = self.process.poll()  # which reaps it
        if code is not None and code < 0:
            self.ended.signal = -code
        else:
            self.ended.code = code
        self.ended.stderr = self.tail.decode("utf-8", "replace")
        return self.ended

    def _sweep(self) -> None:
        """Take down what the child left: it was stopped, or something still holds its pipes."""
        self._kill_tree()
        until = time.monotonic() + 1.0
        while self.known and time.monotonic() < until:
            self.known = {p for p in self.known if proctree.alive(p)}
            if self.known:
                time.sleep(0.01)
        self.ended.left = sorted(p.pid for p in self.known)


LADDER = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
