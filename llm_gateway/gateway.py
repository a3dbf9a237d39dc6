"""The way of a prompt: the only file that knows the order.

``ask`` starts a thread that owns the run: it plans, records, spawns, pumps and keeps the clock,
whatever its reader does meanwhile. The reader iterates the run, or awaits it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from . import process, sessions, settings
from .channel import Channel
from .errors import (
    AuthFailed,
    Canceled,
    CliError,
    CliMissing,
    GatewayError,
    IdleTimedOut,
    InvalidInput,
    SessionLost,
    SpawnFailed,
    TimedOut,
)
from .events import Done, Event, Notice, Reply, Text
from .ids import new_id
from .policy.access import resolve_access
from .policy.child_env import child_environment
from .providers import provider_named
from .providers.base import Launch
from .providers.features import cached_version, remember_version
from .providers.parsing import Parser
from .request import Access, Invocation, Request, SessionPlan
from .schema import check_schema
from .store.recorder import open_recorder
from .store.sessions import SessionRow
from .watch import Watch

__all__ = ["Run", "ask"]

_STATES: dict[type[GatewayError], str] = {
    TimedOut: "timed_out",
    IdleTimedOut: "timed_out",
    Canceled: "canceled",
}
LIVE: weakref.WeakSet[Run] = weakref.WeakSet()


def ask(request: Request, *, gone: Callable[[], bool] | None = None) -> Run:
    """Start a request and return its run; nothing is spawned by the caller's own thread.

    :param gone: asked now and then whether the reader went away without a word; given only by a
        front end that owns the process, whose orphaned descendants the run then takes care of.

    Iterating the run (``for`` or ``async for``) yields events as they happen, ``Done`` last, and
    raises a ``GatewayError`` for everything that is no answer. Leaving the loop ends the child.
    """
    try:
        run = Run(request, gone)
        run.start()
    except (OSError, RuntimeError) as error:
        raise SpawnFailed(f"The system has no room for another run: {error}.") from error
    return run


class Run:
    """One request being answered; ``request.id`` and ``job_id`` name its rows in the recorder."""

    def __init__(self, request: Request, gone: Callable[[], bool] | None = None) -> None:
        self.request = request
        self.gone = gone
        self.job_id = new_id()
        self.access = request.options.access or Access.READ
        self.error: BaseException | None = None
        self._said = False
        self._channel = Channel()
        self._cancel = process.Cancel()
        self._thread = threading.Thread(target=self._main, name="llm-gateway", daemon=True)
        self._running = threading.Lock()
        LIVE.add(self)

    def start(self) -> None:
        self._running.acquire()
        self._thread.start()

    def __iter__(self) -> Generator[Event, None, None]:
        try:
            while (batch := self._channel.get()) is not None:
                yield from batch
        finally:
            self.close()

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        try:
            while (batch := await self._channel.aget()) is not None:
                for event in batch:
                    yield event
        finally:
            if self._running.locked():
                import asyncio

                # Taking a tree down may take seconds that other tasks should have.
                await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End the child if it still runs and wait until its tree is gone; again means at once."""
        try:
            self._end(now=False)
        except KeyboardInterrupt:
            self._end(now=True)
            if self.gone is None:  # in llm's command, what closes the run is already on its way
                raise

    def _end(self, *, now: bool) -> None:
        if not self._thread.is_alive():
            return
        self._cancel("canceled", now=now)
        until = time.monotonic() + 10.0
        while self._running.locked() and (seconds := until - time.monotonic()) > 0:
            try:
                # Not join(): CPython takes a thread for dead whose join was interrupted. Not an
                # event: a signal's handler may wait here for what it interrupted the wait for.
                if self._running.acquire(timeout=seconds):
                    self._running.release()
            except KeyboardInterrupt:
                if not now:
                    raise

    # From here on everything runs in the thread of the run.

    def _main(self) -> None:
        # What is released when the stack ends is not what the reader waits for.
        with ExitStack() as stack:
            stack.callback(self._running.release)
            stack.callback(self._cancel.close)
            try:
                self._channel.put([Done(self._answer(stack))])
            except BaseException as error:  # the reader is the one to see it
                self.error = error
            self._channel.close(self.error)

    def _answer(self, stack: ExitStack) -> Reply:
        self.provider = provider_named(self.request.provider)
        self.recorder = open_recorder(self.say)
        stack.callback(self.recorder.close)
        self.started = time.monotonic()
        self.parser: Parser | None = None
        for problem in settings.problems():
            self.say(problem)
        try:
            reply = self._recorded(stack)
        except GatewayError as error:
            self._finish(None, error)
            raise
        except Exception as error:
            failed = CliError(f"The gateway itself failed: {error!r}")
            self._finish(None, failed)
            raise failed from error
        self._finish(reply, None)
        return reply

    def _recorded(self, stack: ExitStack) -> Reply:
        try:
            plan = self._prepare(stack)
        finally:
            self._begin()
        self._check()
        try:
            return self._attempt(1, plan, stack)
        except SessionLost as lost:
            if plan.kind != "resume" or self.request.options.session_id or self._something_ran():
                raise
            self.say(f"{lost.message} The transcript of this conversation starts a new session.")
        return self._attempt(2, sessions.replayed(self.request, self.provider), stack)

    def _prepare(self, stack: ExitStack) -> SessionPlan:
        choice = self._session(stack)
        options, inherited = sessions.inherit(self.request.options, choice.last)
        cwd = os.path.abspath(os.path.expanduser(options.cwd)) if options.cwd else _here()
        dirs = options.add_dirs and tuple(os.path.expanduser(d) for d in options.add_dirs)
        self.request = replace(self.request, options=replace(options, cwd=cwd, add_dirs=dirs))
        self.access = resolve_access(self.request.options.access, inherited, os.environ)
        return choice.plan

    def _begin(self) -> None:
        o = self.request.options
        self.recorder.begin(
            self.request,
            self.job_id,
            model=o.model,
            access=self.access,
            cwd=o.cwd,
            add_dirs=o.add_dirs or (),
        )

    def _check(self) -> None:
        settings.check()
        self._check_directories()
        self._check_prompt()
        self._check_attachments()
        self.provider.check(self.request, self.access)
        self.executable = self._find()

    def _session(self, stack: ExitStack) -> sessions.Choice:
        def known(session_id: str) -> SessionRow | None:
            return self.recorder.session(self.request.provider, session_id)

        choice = sessions.choose(self.request, self.provider, known)
        if choice.plan.kind == "resume":
            held = stack.enter_context(
                sessions.exclusive(
                    choice.plan.session_id,
                    settings.home(),
                    self.say,
                    lambda: bool(self._cancel.reason),
                )
            )
            if held:
                choice = sessions.choose(self.request, self.provider, known)
            else:
                choice = sessions.left(choice, self.request, self.provider, "is busy")
        if choice.note:
            self.say(choice.note)
        return choice

    def _check_directories(self) -> None:
        cwd = self.request.options.cwd
        if not cwd or not os.path.isdir(cwd):
            raise InvalidInput(f"The directory {cwd or '.'} does not exist (any more).")
        for folder in self.request.options.add_dirs or ():
            if not os.path.isdir(os.path.join(cwd, folder)):
                raise InvalidInput(f"The directory {folder} (add_dirs) does not exist.")

    def _check_prompt(self) -> None:
        prompt, limit = self.request.prompt, self.provider.prompt_limit
        if not prompt.strip() and not self.request.attachments:
            raise InvalidInput("The prompt is empty.")
        if "\0" in prompt:
            raise InvalidInput("The prompt has a NUL character, which no CLI takes.")
        try:
            size = len(prompt.encode())
        except UnicodeEncodeError:
            raise InvalidInput(
                "The prompt is not valid text: it has half a surrogate pair."
            ) from None
        if limit is not None and size > limit:
            raise InvalidInput(
                f"The prompt has {size:,} bytes; {self.provider.title} takes at most {limit:,}."
            )

    def _check_attachments(self) -> None:
        for attachment in self.request.attachments:
            if attachment.path is not None and not os.path.isfile(attachment.path):
                raise InvalidInput(f"The attachment {attachment.path} is not a file.")

    def _find(self) -> str:
        override = settings.cli_override(self.provider.name)
        found = self.provider.find_executable(os.environ, override)
        if found:
            return found
        missing = f"{self.provider.command} is not on PATH"
        if override:
            variable = f"LLM_GATEWAY_{self.provider.name.upper()}_CLI"
            missing = f"{override!r} ({variable}) cannot be run"
        raise CliMissing(
            f"{self.provider.title} was not found: {missing}. "
            f"Install it with: {self.provider.install}"
        )

    def _attempt(self, number: int, plan: SessionPlan, stack: ExitStack) -> Reply:
        if self._cancel.reason:
            raise Canceled("The prompt was interrupted before it began.")
        invocation = self._invocation(plan, stack)
        watch = Watch(self, invocation, number)
        self.parser = watch.parser
        try:
            ended = process.run(
                invocation,
                watch,
                self._cancel,
                timeout=self.request.options.timeout,
                adopt=self.gone is not None,
            )
            reply = watch.finish(ended)
            check_schema(reply, self.request.schema)
        except GatewayError as error:
            if isinstance(error, AuthFailed) and invocation.withheld:
                error.message += " " + _withheld(invocation.withheld)
            watch.record_end(error)
            raise
        watch.record_end(None)
        self._note_version(reply)
        return reply

    def _invocation(self, plan: SessionPlan, stack: ExitStack) -> Invocation:
        try:
            return self._planned(plan, stack)
        except OSError as error:
            raise SpawnFailed(
                f"The temporary files of the run could not be written: {error.strerror or error}."
            ) from error

    def _planned(self, plan: SessionPlan, stack: ExitStack) -> Invocation:
        files = Path(tempfile.mkdtemp(prefix="llm-gateway-"))
        stack.callback(shutil.rmtree, files, ignore_errors=True)
        names = self.provider.environment_names(os.environ)
        env, withheld = child_environment(os.environ, names, self.access, settings.pass_env())
        env[process.RUN_MARK] = self.job_id
        launch = Launch(
            executable=self.executable,
            env=env,
            environ=os.environ,
            cwd=self.request.options.cwd or "",
            access=self.access,
            session=plan,
            files=files,
            state=settings.home(),
        )
        return replace(self.provider.plan(self.request, launch), withheld=withheld)

    def _something_ran(self) -> bool:
        ran = self.parser is not None and (self.parser.tools_run or self.parser.tools_open)
        return self._said or bool(ran)

    def _note_version(self, reply: Reply) -> None:
        if reply.cli_version:
            remember_version(self.executable, settings.home(), reply.cli_version)
        else:
            reply.cli_version = cached_version(self.executable, settings.home())

    def saw_session(self, session_id: str, plan: SessionPlan) -> None:
        """Keep a session from the moment at which the CLI names it."""
        o = self.request.options
        self.recorder.session_seen(
            self.provider.name,
            session_id,
            thread_id=self.request.thread_id,
            cwd=o.cwd,
            model=o.model,
            access=self.access,
            add_dirs=o.add_dirs,
            parent_session_id=plan.session_id if plan.kind == "fork" else None,
        )

    def _finish(self, reply: Reply | None, error: GatewayError | None) -> None:
        so_far = self._so_far()
        self.recorder.finish(
            self.request.id,
            self.job_id,
            _STATES.get(type(error), "failed") if error else "completed",
            reply=reply or so_far,
            error_category=error.category if error else None,
            error_message=str(error) if error else None,
            duration_ms=round((time.monotonic() - self.started) * 1000),
            usage_totals=so_far.facts.get("usage_totals") if so_far else None,
        )

    def _so_far(self) -> Reply | None:
        try:
            return self.parser.reply() if self.parser is not None else None
        except Exception:  # a parser that failed must not keep the row from ending
            return None

    def say(self, text: str) -> None:
        """One line for the person that waits."""
        self._channel.put([Notice("warning", text)])

    def deliver(self, events: list[Event], weight: int) -> None:
        self._said = self._said or any(type(event) is Text for event in events)
        self._channel.put(events, weight)


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _withheld(names: tuple[str, ...]) -> str:
    return (
        f"Not passed on to it: {', '.join(names)}; "
        "name what it needs in LLM_GATEWAY_PASS_ENV (comma-separated)."
    )


@atexit.register
def _end_live_runs() -> None:
    for run in list(LIVE):
        run.close()
