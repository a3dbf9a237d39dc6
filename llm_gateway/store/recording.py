"""The flight recorder as a run sees it: it never raises and never makes a prompt wait long.

Every operation is one short transaction. Where SQLite will not take one within its patience, that
operation and all later ones of this recorder go to a spill file, with one warning, and the next
process that opens the recorder takes the file in. Where nothing can be written at all, the answer
still arrives. Events alone are patient: while somebody holds the write lock they wait in memory.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from llm_gateway.events import Event, Reply
from llm_gateway.request import Request
from llm_gateway.store import rows, session_names, sessions
from llm_gateway.store.buffer import EventBuffer
from llm_gateway.store.claims import (
    Claim,
    Limits,
    Wanted,
    claim,
    place_of,
    promote,
    reusable,
    take,
)
from llm_gateway.store.jobs import state_of
from llm_gateway.store.owner import Owner, this_process
from llm_gateway.store.rows import LEASE_SECONDS
from llm_gateway.store.session_names import Mark
from llm_gateway.store.sessions import SessionRow
from llm_gateway.store.text import dumps, iso, now
from llm_gateway.store.writer import Operation, Writer

__all__ = ["Recorder"]

FLUSH_SECONDS = 0.05  # what somebody who follows the job waits for
FLUSH_ROWS = 256
FLUSH_CHARS = 1_000_000
HELD_SECONDS = 30.0  # events wait no longer than this in memory
HELD_CHARS = 4_000_000
LOOK_SECONDS = 0.3
HEARTBEAT_SECONDS = 5.0


class _Live:
    """What the recorder remembers of a job while it runs."""

    __slots__ = ("attempts", "beat", "buffer", "exit_code", "held", "since", "tried")

    def __init__(self, keep: bool, next_seq: int) -> None:
        self.buffer = EventBuffer(keep, next_seq)
        self.held: list[Operation] = []
        self.attempts = 0
        self.exit_code: int | None = None
        self.since: float | None = None
        self.tried: float | None = None
        self.beat = time.monotonic()

    def due(self) -> bool:
        """Whether the pending events have waited long enough, or are many and untried."""
        if self.since is None:
            return False
        if time.monotonic() - (self.tried or self.since) >= FLUSH_SECONDS:
            return True
        many = len(self.buffer) >= FLUSH_ROWS or self.buffer.chars >= FLUSH_CHARS
        return many and self.tried is None

    def written(self) -> None:
        """No event is pending any more."""
        self.buffer.forget()
        self.since = self.tried = None

    def retries(self) -> int:
        """Attempts after the first."""
        return max(0, self.attempts - 1)

    def overdue(self) -> bool:
        """Whether they can be held back no longer."""
        waited = time.monotonic() - (self.since or 0.0)
        return waited >= HELD_SECONDS or self.buffer.chars >= HELD_CHARS


class Recorder:
    """Used by one thread at a time, for one run or several after one another.

    :param at_close: what is done with the connection at the end, where a run was recorded.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        at_close: Callable[[sqlite3.Connection], None] | None = None,
        retention_days: float = 30.0,
    ) -> None:
        self._writer = writer
        self._at_close = at_close
        self._recorded = False
        self._retention = retention_days * 86_400
        self._live: dict[str, _Live] = {}
        self._looked = time.monotonic()

    @property
    def enabled(self) -> bool:
        """Whether what is recorded can be read back by other processes at once."""
        return not self._writer.broken

    @property
    def pending(self) -> bool:
        """Whether there is something to be written soon."""
        return any(live.since is not None for live in self._live.values())

    @property
    def connection(self) -> sqlite3.Connection | None:
        """For other modules of the store; None where recording is off or broken."""
        return None if self._writer.broken else self._writer.conn

    def begin(
        self,
        request: Request,
        job_id: str,
        *,
        model: str | None,
        access: str,
        cwd: str | None,
        add_dirs: Sequence[str] = (),
        owner: Owner | None = None,
        kind: str = "foreground",
        status: str = "running",
        parent_session_id: str | None = None,
        **columns: Any,
    ) -> bool:
        """Request, body and job are there, or in the spill file, when this returns.

        :param model: as asked for; None is the CLI's default. ``access``, ``cwd`` and ``add_dirs``
            are those in force.
        :param columns: further columns of the job (key, head, fingerprint, spec_json …).
        """
        try:
            self._live[job_id] = _Live(request.keep_bodies, 0)
            if not self._writer.wanted:
                return False
            setting = rows.Setting(now(), status, model, rows.plain(access), cwd, tuple(add_dirs))
            asked = rows.request_row(request, job_id, setting)
            asked["parent_session_id"] = parent_session_id
            job = rows.job_row(request, job_id, setting, kind, owner or this_process())
            return self._writer.do(
                "begin", request=asked, job={**job, **columns}, body=rows.body_row(request)
            )
        except Exception as error:
            return self._writer.failed(error)

    def claim(
        self,
        request: Request,
        job_id: str,
        *,
        model: str | None,
        access: str,
        cwd: str | None,
        add_dirs: Sequence[str] = (),
        kind: str = "foreground",
        columns: Mapping[str, Any],
        **terms: Any,
    ) -> Claim | None:
        """Decide who answers a request, and write it down; None where the recorder cannot.

        :param kind: ``foreground`` for a job of this process; any other waits for its worker.
        :param columns: further columns of the job: key, head, spec_json, parent_job_id.
        :param terms: the rest of ``claims.Wanted``. :raises claims.Full: there is no room.
        """
        ours = kind == "foreground"
        setting = rows.Setting(now(), "running", model, rows.plain(access), cwd, tuple(add_dirs))
        job = rows.job_row(request, job_id, setting, kind, this_process() if ours else None)
        wanted = Wanted(
            {**rows.request_row(request, job_id, setting), "asker": this_process().text},
            {**job, **columns},
            rows.body_row(request, always=not ours),
            **terms,
        )
        claimed: Claim | None = self._writer.within(partial(claim, wanted=wanted))
        if claimed is not None and claimed.job_id == job_id and ours:
            self._live[job_id] = _Live(request.keep_bodies, 0)
        return claimed

    def take(self, job_id: str) -> bool:
        """Make this process the owner of a job that waits for a worker."""
        until = iso(time.time() + LEASE_SECONDS)
        work = partial(take, job_id=job_id, owner=this_process(), lease_until=until)
        if not self._writer.within(work):
            return False
        self._live[job_id] = _Live(True, 0)
        return True

    def place_of(self, job_id: str, limits: Limits) -> int | None:
        """How many are before a queued job, as in ``claims``; None where that cannot be read."""
        if self._writer.broken:
            return None
        place: int | None = self._writer.read(place_of, job_id, limits)
        return place

    def can_reuse(self, key: str, since: str) -> bool:
        """Whether there is an answer that a fingerprint may turn out to be good for."""
        return bool(self._writer.read(reusable, key, since))

    def promote(self, job_id: str, limits: Limits) -> bool:
        """Let a queued job run if it is its turn."""
        return bool(self._writer.within(partial(promote, job_id=job_id, limits=limits)))

    def cancel_requested(self, job_id: str) -> bool:
        """Whether somebody asked for the end of a job; looks at most a few times a second."""
        if time.monotonic() - self._looked < LOOK_SECONDS or self._writer.broken:
            return False
        self._looked = time.monotonic()
        state = self._writer.read(state_of, job_id)
        return state is not None and bool(state.cancel_requested)

    def write(self, operation: str, **arguments: Any) -> bool:
        """Do one of the operations."""
        try:
            return self._writer.do(operation, **arguments)
        except Exception as error:
            return self._writer.failed(error)

    def attempt_started(
        self,
        job_id: str,
        n: int,
        argv: Sequence[str],
        env_names: Iterable[str],
        cwd: str,
        pid: int | None = None,
        pid_start: int | None = None,
        *,
        session_plan: str | None = None,
        wait_ms: int | None = None,
    ) -> bool:
        """One spawn; said again with the pid, it completes the same row."""
        try:
            live = self._job(job_id)
            live.attempts = max(live.attempts, n)
            told = rows.recorded_argv(argv, live.buffer.keep)
            attempt = rows.attempt_row(job_id, n, told, env_names, cwd)
            attempt.update(pid=pid, pid_start=pid_start, session_plan=session_plan, wait_ms=wait_ms)
            return self._writer.do("attempt_started", attempt=attempt, args_json=dumps(told[1:]))
        except Exception as error:
            return self._writer.failed(error)

    def events(self, job_id: str, attempt: int, batch: Iterable[tuple[int, Event]]) -> None:
        """Take in (milliseconds since the attempt began, event); written soon, in batches."""
        if not self._writer.wanted:
            return
        try:
            live = self._job(job_id)
            add = live.buffer.add
            for t, event in batch:
                add(attempt, t, event)
            if live.since is None and len(live.buffer):
                live.since = time.monotonic()
            if live.due():
                self._flush(job_id, live)
        except Exception as error:
            self._writer.failed(error)

    def tick(self) -> None:
        """Write what has waited long enough and say that the owner lives; some times a second.

        Others may have the connection afterwards: what ``connection`` gave is good no longer.
        """
        try:
            for job_id, live in self._live.items():
                if live.due():
                    self._flush(job_id, live)
                if time.monotonic() - live.beat >= HEARTBEAT_SECONDS:
                    self._beat(job_id, live)
            self._writer.rest()
        except Exception as error:
            self._writer.failed(error)

    def attempt_ended(
        self,
        job_id: str,
        n: int,
        *,
        exit_code: int | None = None,
        signal: int | None = None,
        error_category: str | None = None,
        error_message: str | None = None,
        stderr_tail: str = "",
        first_output_ms: int | None = None,
        duration_ms: int | None = None,
        finishing: bool = False,
    ) -> bool:
        """How an attempt ended; the first word about it counts.

        :param finishing: it is written with the end of the job, which comes at once.
        """
        try:
            live = self._job(job_id)
            live.exit_code = exit_code
            values = {
                "exit_code": exit_code,
                "signal": signal,
                **rows.error_columns(error_category, error_message),
                "first_output_ms": first_output_ms,
                "duration_ms": duration_ms,
                "ended_at": now(),
            }
            stderr = rows.stderr_text(stderr_tail) if live.buffer.keep else None
            ended = {"job_id": job_id, "n": n, "values": values, "stderr": stderr}
            live.held.append(("attempt_ended", ended))
            return finishing or self._write_held(job_id, live)
        except Exception as error:
            return self._writer.failed(error)

    def finish(
        self,
        request_id: str,
        job_id: str,
        status: str,
        *,
        reply: Reply | None = None,
        error_category: str | None = None,
        error_message: str | None = None,
        partial_text: str = "",
        duration_ms: int | None = None,
        exit_code: int | None = None,
        retry_count: int | None = None,
        session_id: str | None = None,
        session_title: str | None = None,
        usage_totals: Mapping[str, int] | None = None,
        fingerprint: str | None = None,
        reusable: bool = False,
        delivered: bool = False,
        outcome: str | None = None,
        breaker_state: str | None = None,
    ) -> bool:
        """The end of request, body, session and job in one transaction; the first word counts.

        :param session_id: where the run had a session but no reply to tell it.
        :param exit_code: and ``retry_count``: None for what the attempts told.
        :param usage_totals: the CLI's running sums of the session, where it tells sums.
        :param fingerprint: of the workspace as it was when the CLI started.
        :param reusable: whether nothing but the workspace can have made this answer.
        :param delivered: whether who asked has the answer with that.
        :param outcome: where it is another one than ``ran``.
        :param breaker_state: how the provider's breaker stood when it was first asked.
        """
        try:
            live = self._job(job_id)
            session_id = (reply.session_id if reply else None) or session_id
            text = reply.text if reply else partial_text
            ended = {
                "status": status,
                "finished_at": now(),
                "exit_code": live.exit_code if exit_code is None else exit_code,
                **rows.error_columns(error_category, error_message),
            }
            request = {
                **ended,
                **rows.reply_columns(reply),
                "duration_ms": duration_ms,
                "retry_count": live.retries() if retry_count is None else retry_count,
                "response_chars": len(text),
                **({"outcome": outcome} if outcome else {}),
            }
            if breaker_state is not None:
                request["breaker_state"] = breaker_state
            job = {
                **ended,
                "expires_at": iso(time.time() + self._retention),
                "fingerprint": fingerprint,
                "reusable": int(reusable),
                "delivered_at": ended["finished_at"] if delivered else None,
            }
            if session_id is not None:
                request["session_id"] = job["session_id"] = session_id
            finished = {
                "request_id": request_id,
                "job_id": job_id,
                "request": request,
                "job": job,
                "body": rows.answer_row(text, reply) if live.buffer.keep else None,
                "session": rows.session_row(session_id, now(), session_title, reply, usage_totals),
            }
            live.held.append(("finish", finished))
            done = self._write_held(job_id, live)
            self._live.pop(job_id, None)
            self._writer.end_run()
            self._recorded = self._recorded or done
            return done
        except Exception as error:
            return self._writer.failed(error)

    def session(self, provider: str, session_id: str) -> SessionRow | None:
        """What is known of the vendor's session; None also where the recorder cannot be read."""
        found: SessionRow | None = self._writer.read(sessions.by_id, provider, session_id)
        return found

    def named_session(self, provider: str, word: str) -> Mark | None:
        """What a person calls a session; None where the recorder cannot be read.

        :raises LookupError: where the word means more than one, or can be no name.
        """
        found: Mark | None = self._writer.read(session_names.named, provider, word)
        return found

    def active_session(self, provider: str) -> Mark | None:
        """The session that prompts continue unasked; None also where it cannot be read."""
        found: Mark | None = self._writer.read(session_names.active, provider)
        return found

    def session_for_thread(self, provider: str, thread_id: str) -> SessionRow | None:
        """The newest session of llm's conversation with that provider."""
        found: SessionRow | None = self._writer.read(sessions.by_thread, provider, thread_id)
        return found

    def session_seen(self, provider: str, session_id: str, **known: Any) -> bool:
        """Note a session as soon as the CLI names it; ``known``: thread_id, cwd, model, access, …

        Counts no turn: ``finish`` does.
        """
        try:
            session = {name: rows.column(value) for name, value in known.items()}
            session.update(provider=provider, session_id=session_id, at=now())
            return self._writer.do("session_seen", session=session)
        except Exception as error:
            return self._writer.failed(error)

    def close(self) -> None:
        """Write what is pending, tidy up a little, and let go of the files."""
        try:
            for job_id, live in self._live.items():
                self._write_held(job_id, live)
            self._live.clear()
            conn = self.connection
            if self._recorded and self._at_close is not None and conn is not None:
                self._at_close(conn)
            self._writer.close()
        except Exception as error:
            self._writer.failed(error)

    def _job(self, job_id: str) -> _Live:
        live = self._live.get(job_id)
        if live is None:
            live = self._live[job_id] = self._resumed(job_id)
        return live

    def _resumed(self, job_id: str) -> _Live:
        """A job that another recorder began; no word is kept of one that cannot be looked up."""
        row = self._writer.read(_where_it_stands, job_id)
        return _Live(bool(row and row[0]), (row[1] or 0) if row else 0)

    def _write_held(self, job_id: str, live: _Live) -> bool:
        """Write the pending events, and what comes after them, in one transaction."""
        batch = live.buffer.rows()
        events: list[Operation] = [("events", {"job_id": job_id, "rows": batch})] if batch else []
        done = not (events or live.held) or self._writer.do_all([*events, *live.held])
        live.held = []
        live.written()
        return done

    def _flush(self, job_id: str, live: _Live) -> None:
        """Write the pending events; hold them where the lock is taken and they can wait."""
        batch = live.buffer.rows()
        if not batch:
            return
        if live.overdue():
            self._writer.do("events", job_id=job_id, rows=batch)
        elif not self._writer.offer("events", job_id=job_id, rows=batch):
            live.tried = time.monotonic()
            return
        live.written()

    def _beat(self, job_id: str, live: _Live) -> None:
        live.beat = time.monotonic()
        if self.enabled:
            until = iso(time.time() + LEASE_SECONDS)
            self._writer.offer("heartbeat", job_id=job_id, at=now(), until=until)


def _where_it_stands(conn: sqlite3.Connection, job_id: str) -> tuple[int, int | None] | None:
    row: tuple[int, int | None] | None = conn.execute(
        "SELECT keep_bodies, (SELECT max(seq) + 1 FROM events WHERE job_id = id)"
        " FROM job_rows WHERE id = ?",
        (job_id,),
    ).fetchone()
    return row
