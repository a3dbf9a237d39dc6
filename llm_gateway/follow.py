"""Waits for a job that another process runs, and hands on what it says as if it ran here."""

from __future__ import annotations

import sqlite3
import time

from . import errors
from .errors import Canceled, CliError, GatewayError, IdleTimedOut, Orphaned, TimedOut
from .events import Done, Event, Reply, ToolCall, ToolResult
from .pacing import end_turn
from .proctree import is_stopped
from .run import Run
from .store import jobs
from .store.fetching import reap_if_possible
from .store.jobs import State

__all__ = ["Withdrawn", "error_of", "followed"]

PATIENT, LAZY = 0.01, 0.05
LAZY_AFTER = 30.0
OWNER_LOOKED_AT_EVERY = 1.0
SILENT = 30.0


class Withdrawn(Exception):
    """The job's own asker ended it before anybody had anything of it, so that it may run again."""


def followed(run: Run, conn: sqlite3.Connection, job_id: str, *, timed: bool = True) -> Reply:
    """Deliver the events of a job from its beginning, and return its reply or raise its error.

    :param timed: whether the asker's time-outs end its wait; a job of its own has them itself.

    :raises Withdrawn: where it was canceled and this asker may run it itself.
    """
    end_turn()
    try:
        return _Following(run, conn, job_id, timed).reply()
    except sqlite3.Error as error:
        raise CliError(
            f"The flight recorder cannot be read any more ({error}), so the answer of job {job_id} "
            "does not arrive here; it goes on."
        ) from error


class _Following:
    def __init__(self, run: Run, conn: sqlite3.Connection, job_id: str, timed: bool) -> None:
        self.run, self.conn, self.job_id, self.timed = run, conn, job_id, timed
        self.seq = -1
        self.began = self.heard = self.looked = time.monotonic()
        self.something_ran = self.named = False
        self.version = -1

    def reply(self) -> Reply:
        while True:
            state = self._state()  # before the events, so that none is missed at the end
            while self._take_events():
                pass
            if not state.live:
                return self._ended(state)
            self._wait()

    def _state(self) -> State:
        state = jobs.state_of(self.conn, self.job_id)
        if state is None:
            raise Orphaned(f"Job {self.job_id} is no longer in the recorder.")
        return state

    def _take_events(self) -> bool:
        rows = jobs.events_after(self.conn, self.job_id, self.seq)
        if not rows:
            return False
        self.seq, self.heard = rows[-1][0], time.monotonic()
        events: list[Event] = [event for _, _, event in rows if type(event) is not Done]
        self.something_ran |= any(type(event) in (ToolCall, ToolResult) for event in events)
        self.run.deliver(events)
        return True

    def _wait(self) -> None:
        """Until something was written, or it is time to look whether anybody still writes."""
        while True:
            now = time.monotonic()
            if self.timed:
                self._check_clock(now)
            silent = now - self.heard > LAZY_AFTER
            self.run.cancel.wait(LAZY if silent else PATIENT)
            if self.run.cancel.reason or self._gone():
                raise Canceled(f"Waiting for job {self.job_id} was interrupted.")
            if now - self.looked > OWNER_LOOKED_AT_EVERY:
                self.looked = now
                reap_if_possible(self.conn, self.job_id)
                self._name_silent_owner(now)
                return
            version = self.conn.execute("PRAGMA data_version").fetchone()[0]
            if version != self.version:
                self.version = version
                return

    def _name_silent_owner(self, now: float) -> None:
        """Say once who is waited for, and the way out, where nothing comes."""
        if self.named or now - self.heard < SILENT:
            return
        pid = jobs.get(self.conn, self.job_id)["owner_pid"]
        state = "is stopped" if pid and is_stopped(pid) else "runs"
        self.run.say(
            f"job {self.job_id} has been silent for {SILENT:g} s; its process {pid} {state}; "
            "-o force_refresh 1 runs a job of its own"
        )
        self.named = True

    def _gone(self) -> bool:
        return self.run.gone is not None and self.run.gone()

    def _check_clock(self, now: float) -> None:
        options = self.run.request.options
        way_out = f"it goes on; see: llm gateway job show {self.job_id}"
        if options.timeout is not None and now - self.began > options.timeout:
            raise TimedOut(f"Job {self.job_id} took longer than {options.timeout:g} s; {way_out}")
        if options.idle_timeout is not None and now - self.heard > options.idle_timeout:
            raise IdleTimedOut(
                f"Job {self.job_id} said nothing for {options.idle_timeout:g} s; {way_out}"
            )

    def _ended(self, state: State) -> Reply:
        if state.status == "completed":
            reply = jobs.reply_of(self.conn, self.job_id)
            if reply is None:
                raise Orphaned(f"The answer of job {self.job_id} is not kept any more.")
            return reply
        foreground = state.status == "canceled" and state.kind == "foreground"
        by_asker = foreground and not state.cancel_requested  # else: job cancel
        if by_asker and not self.run.said and not self.something_ran:
            raise Withdrawn
        error = error_of(state)
        if isinstance(error, (Canceled, Orphaned)) and self.job_id not in error.message:
            error.message = f"Job {self.job_id}: {error.message}"
        raise error


def error_of(state: State) -> GatewayError:
    """The error with which a job ended."""
    kind = _KINDS.get(state.error_category or "", errors.CliError)
    return kind(state.error_message or f"It ended as {state.status}.")


_KINDS: dict[str, type[GatewayError]] = {
    kind.category: kind
    for kind in map(errors.__dict__.__getitem__, errors.__all__)
    # Of two errors of one category it is the one of a CLI that ran.
    if kind.category != "cli_error" and kind not in (errors.InvalidInput, errors.PermissionDenied)
}
