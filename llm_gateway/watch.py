"""Reads one child for a run: parses, delivers, records, and says when to stop it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import process, settings
from .errors import (
    AuthFailed,
    Canceled,
    CliError,
    GatewayError,
    IdleTimedOut,
    OutputLimit,
    SessionLost,
    TimedOut,
    Transient,
)
from .events import Done, Event, Notice, Reasoning, Reply, Session, Text, ToolCall
from .ids import is_session_id
from .pacing import end_turn
from .providers.parsing import Exit
from .request import Invocation

if TYPE_CHECKING:
    from typing import TypeGuard

    from .execution import Execution

__all__ = ["Watch", "coalesced"]

MIB = 1024 * 1024
# A CLI that waits without saying for how long may think as well, so this is more than the wait.
UNTOLD_WAIT_GRACE = 120.0
# What no CLI can say before its vendor has answered.
ANSWERS = frozenset({Text, Reasoning, ToolCall})


class Watch:
    """The watcher of one attempt; it lives in the run's thread."""

    def __init__(self, job: Execution, invocation: Invocation, attempt: int) -> None:
        self.job, self.invocation, self.attempt = job, invocation, attempt
        self.parser = job.provider.parser(job.request, invocation)
        self.error: GatewayError | None = None
        self.exit = Exit(None)
        self.elsewhere = False  # it answers in another session, which is nobody's answer
        self.printed, self.most = 0, settings.max_output()
        self.begun = time.monotonic()
        self.patience = job.patience

    @property
    def busy(self) -> bool:
        return self.job.run.gone is not None or self.job.recorder.pending

    @property
    def ended(self) -> bool:
        return self.parser.ended

    @property
    def refuses(self) -> bool:
        return self.error is not None

    @property
    def idle_limit(self) -> float | None:
        if self.job.request.options.idle_timeout is not None:
            return self.job.request.options.idle_timeout
        if self.parser.waiting:
            return self.patience.wait + UNTOLD_WAIT_GRACE
        provider = self.job.provider
        return provider.tool_idle_timeout if self.parser.tools_open else provider.idle_timeout

    def started(self, pid: int, start_time: int | None) -> None:
        end_turn()
        i = self.invocation
        self.job.recorder.attempt_started(
            self.job.job_id,
            self.attempt,
            list(i.argv),
            sorted(i.env),
            i.cwd,
            pid,
            start_time,
            session_plan=i.session.kind,
            wait_ms=None if self.job.waited is None else round(self.job.waited * 1000),
        )
        self.job.look()

    def stdout(self, data: bytes) -> None:
        if isinstance(self.error, OutputLimit):
            return
        self.printed += len(data)
        try:
            if self.printed > self.most:
                raise OutputLimit(
                    f"{self.job.provider.title} printed more than {self.most / MIB:g} MiB and was "
                    "stopped; allow more with LLM_GATEWAY_MAX_OUTPUT_MIB."
                )
            self._take(self.parser.feed(data), len(data))
        except GatewayError as error:
            self._stop(error)

    def stderr(self, data: bytes) -> None:
        if events := self.parser.feed_stderr(data.decode("utf-8", "replace")):
            self._take(events, len(data))

    def tick(self) -> None:
        self.job.recorder.tick()
        run, title = self.job.run, self.job.provider.title
        if run.gone is not None and run.gone():
            self._stop(Canceled(f"{title} was stopped: whoever read the answer went away."))
        if self.job.recorder.cancel_requested(self.job.job_id):
            self._stop(Canceled(f"{title} was stopped: job {self.job.job_id} was canceled."))

    def finish(self, ended: process.Ended) -> Reply:
        """Return the reply of a run that is over, or raise why there is none."""
        self.exit = Exit(ended.code, ended.signal, ended.stderr)
        if self.error is None:
            self._take(self.parser.close(), 0)
        error = self.error or self._why_stopped(ended.reason)
        if error is not None:
            error.session_id = error.session_id or self.parser.session_id
            raise error
        reply = self.parser.finish(self.exit)
        if not is_session_id(reply.session_id):
            reply.session_id = None
        reply.text = printable(reply.text)
        return reply

    def tell(self, notice: Notice) -> None:
        """Say something of our own about this attempt, to whoever reads it now or later."""
        self.job.recorder.events(self.job.job_id, self.attempt, [(self._ms(), notice)])
        self.job.run.deliver([notice])

    def record_done(self, reply: Reply) -> None:
        """The last of its events, which is what a reply is made of again."""
        self.job.recorder.events(self.job.job_id, self.attempt, [(self._ms(), Done(reply))])
        self.record_end(None)

    def record_end(self, error: GatewayError | None) -> None:
        self.job.recorder.attempt_ended(
            self.job.job_id,
            self.attempt,
            exit_code=self.exit.code,
            signal=self.exit.signal,
            error_category=error.category if error else None,
            error_message=str(error) if error else None,
            stderr_tail=self.exit.stderr,
            finishing=error is None,
        )

    def _take(self, events: list[Event], weight: int) -> None:
        batch = coalesced(events)
        for event in batch:
            if type(event) is Session:
                self._check_session(event)
            elif type(event) is Notice and event.kind == "retry":
                self._count_wait(event)
            elif type(event) is ToolCall:
                self.job.tool_began()
        if batch and not self.elsewhere:
            if any(type(event) in ANSWERS for event in batch):
                self.job.breaker.answered()
            ms = self._ms()
            self.job.recorder.events(self.job.job_id, self.attempt, [(ms, e) for e in batch])
            self.job.run.deliver(batch, weight)

    def _ms(self) -> int:
        return round((time.monotonic() - self.begun) * 1000)

    def _check_session(self, event: Session) -> None:
        expected, title = self.invocation.session.expected_id, self.job.provider.title
        if expected is not None and event.session_id != expected:
            self.elsewhere, self.parser.session_id = True, None
            self._stop(SessionLost(f"{title} no longer has session {expected}."))
        elif not is_session_id(event.session_id):
            self.job.run.say(
                f"{title} named a session that cannot be continued: {event.session_id!r:.80}"
            )
        else:
            self.job.saw_session(event.session_id, self.invocation.session)

    def _count_wait(self, notice: Notice) -> None:
        seconds, kind = notice.seconds or 0.0, notice.error or CliError
        self.patience.waited += seconds
        waited, may_wait = self.patience.waited, self.patience.wait
        if not issubclass(kind, Transient):
            self._stop(kind(f"{notice.text}; waiting does not mend that. {self._remedy(kind)}"))
        elif waited > may_wait:
            self._stop(
                kind(
                    f"{notice.text}: {waited:.0f} s in all, and this prompt may wait "
                    f"{may_wait:g} s; allow more with -o retry_wait SECONDS.",
                    retry_at=time.time() + seconds if notice.stated else None,
                )
            )

    def _remedy(self, kind: type[GatewayError]) -> str:
        return f"Log in with: {self.job.provider.login}" if kind is AuthFailed else ""

    def _stop(self, error: GatewayError) -> None:
        self.error = self.error or error

    def _why_stopped(self, reason: str | None) -> GatewayError | None:
        title = self.job.provider.title
        if reason == "timeout":
            seconds = self.job.request.options.timeout
            return TimedOut(
                f"{title} was stopped after {seconds:g} s; allow more with -o timeout SECONDS."
            )
        if reason == "idle_timeout" and self.parser.waiting:
            self.patience.waited += self.idle_limit or 0.0
            return self.parser.waiting(
                f"{title} waited for more than {self.patience.wait:g} s to try again; "
                "allow more with -o retry_wait SECONDS."
            )
        if reason == "idle_timeout":
            return IdleTimedOut(
                f"{title} said nothing for {self.idle_limit:g} s and was stopped; "
                "allow more with -o idle_timeout SECONDS."
            )
        return Canceled(f"{title} was interrupted.") if reason else None


def coalesced(events: list[Event]) -> list[Event]:
    """Join neighbouring pieces of text; what cannot be encoded becomes a question mark."""
    out: list[Event] = []
    head: Text | Reasoning | None = None
    parts: list[str] = []
    for event in events:
        if _continues(event, head):
            parts.append(event.text)
            continue
        _settle(head, parts)
        head = None
        if isinstance(event, (Text, Reasoning)):
            head, parts = event, [event.text]
        out.append(event)
    _settle(head, parts)
    return out


def _continues(event: Event, head: Text | Reasoning | None) -> TypeGuard[Text | Reasoning]:
    if type(event) is Text:
        return type(head) is Text and head.message == event.message
    return type(event) is Reasoning and type(head) is Reasoning


def _settle(head: Text | Reasoning | None, parts: list[str]) -> None:
    if head is not None:
        head.text = printable("".join(parts))


def printable(text: str) -> str:
    """Replace half surrogate pairs, which JSON can carry and UTF-8 cannot."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
