"""Asks a vendor's CLI something that costs no model call: its version, its models, its help.

It runs as at ``read``, with its own environment, in an empty directory, and its whole tree ends
with it. Nothing here is retried, recorded, or counted against the provider.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import process, settings
from .errors import NotStarted
from .ids import new_id
from .providers.base import Provider
from .records import field, record
from .request import Access, Invocation, SessionPlan

__all__ = ["Said", "call", "environment", "executable"]

MOST = 8 * 1024 * 1024


@record(frozen=True)
class Said:
    """What the CLI printed; ``problem`` is why it said nothing, where it did not.

    ``started``: it could be run at all.
    """

    code: int | None = None
    out: str = ""
    err: str = ""
    problem: str | None = None
    started: bool = True

    @property
    def ok(self) -> bool:
        return self.problem is None and self.code == 0


@record
class _Collected:
    """A watcher that keeps what is printed, up to a limit."""

    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    busy: bool = False
    idle_limit: float | None = None

    def started(self, pid: int, start_time: int | None) -> None: ...
    def tick(self) -> None: ...
    def stderr(self, data: bytes) -> None: ...

    def stdout(self, data: bytes) -> None:
        self.data += data

    @property
    def refuses(self) -> bool:
        return len(self.data) > MOST


def executable(provider: Provider) -> str | None:
    """The CLI's absolute path, as a prompt would find it."""
    return provider.find_executable(os.environ, settings.cli_override(provider.name))


def environment(provider: Provider, quiet: bool = True) -> dict[str, str]:
    """The CLI's environment at ``read``; ``quiet``: it neither updates itself nor reports."""
    env, _ = provider.environment(os.environ, Access.READ, settings.pass_env())
    env[process.RUN_MARK] = new_id()
    return {**env, **provider.upkeep.quiet} if quiet else env


def call(
    provider: Provider,
    args: Iterable[str],
    seconds: float = 5.0,
    *,
    program: str | None = None,
    env: Mapping[str, str] | None = None,
    politely: bool = False,
) -> Said:
    """Run the CLI with these arguments, or another program in its stead.

    It is given nothing on stdin, and is killed after ``seconds``; politely: asked to end first.
    """
    found = program or executable(provider)
    if found is None:
        return Said(problem=f"{provider.command} is not installed", started=False)
    folder = Path(tempfile.mkdtemp(prefix="llm-gateway-"))
    try:
        invocation = Invocation(
            argv=(found, *args),
            stdin=b"",
            env=env if env is not None else environment(provider),
            cwd=str(folder),
            access=Access.READ,
            session=SessionPlan(),
        )
        return _called(invocation, seconds, politely)
    except NotStarted as error:
        return Said(problem=str(error).rstrip("."), started=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _called(invocation: Invocation, seconds: float, politely: bool) -> Said:
    watcher, cancel = _Collected(), process.Cancel()
    cancel.now = not politely
    try:
        ended = process.run(invocation, watcher, cancel, timeout=seconds)
    finally:
        cancel.close()
    problem = {
        "timeout": f"it did not end within {seconds:g} s and was stopped",
        "refused": "it printed without end and was stopped",
    }.get(ended.reason or "", ended.reason)
    if problem is None and ended.signal is not None:
        problem = f"it died of signal {ended.signal}"
    out = bytes(watcher.data[:MOST]).decode("utf-8", "replace")
    return Said(ended.code, out, ended.stderr, problem)
