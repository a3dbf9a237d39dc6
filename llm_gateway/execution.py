"""A job being run by this process: its attempts, what they leave recorded, and how it ends."""

from __future__ import annotations

import math
import os
import threading
import time
from contextlib import ExitStack
from functools import cache, cached_property, partial

from . import nesting, process, sessions, settings
from .breaker import Breaker
from .errors import (
    AuthFailed,
    BreakerOpen,
    Canceled,
    CliError,
    GatewayError,
    IdleTimedOut,
    SessionLost,
    SpawnFailed,
    TimedOut,
    Transient,
)
from .events import Reply
from .policy.child_env import APPROVAL_POLICY
from .prices import fill_in_cost
from .providers.base import Launch, Provider
from .providers.features import cached_version, remember_version
from .providers.parsing import Parser
from .records import record, replace
from .request import Access, Invocation, Request, SessionPlan
from .resilience import Patience
from .retrying import waited_after
from .run import Run
from .run_files import remove_left, run_folder
from .schema import check_schema
from .store.recorder import Recorder
from .titles import title_of
from .watch import Watch

__all__ = ["Execution", "state_of"]

_STATES: dict[type[GatewayError], str] = {
    TimedOut: "timed_out",
    IdleTimedOut: "timed_out",
    Canceled: "canceled",
}


def state_of(error: GatewayError | None) -> str:
    """The state of a job that ended so."""
    return _STATES.get(type(error), "failed") if error else "completed"


@record
class Execution:
    """What is run, for whom, and where it is written down.

    :param request: with every option filled in. :param executable: absolute path of the CLI.
    :param looks: whether the workspace is looked at meanwhile, so that the answer can be reused.
    :param in_worker: nobody reads this run; who wants the answer asks for it.
    :param given: ``environment``, where it is known already.
    """

    run: Run
    request: Request
    provider: Provider
    executable: str
    choice: sessions.Choice
    access: Access
    recorder: Recorder
    stack: ExitStack
    looks: bool = False
    owns_process: bool = False
    in_worker: bool = False
    given: tuple[dict[str, str], tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.parser: Parser | None = None
        self.watch: Watch | None = None
        self.seen: list[str | None] = []
        self.until = math.inf
        self.waited: float | None = None  # before the attempt that is about to begin
        o = self.request.options
        self.patience = Patience(
            settings.retries() if o.retries is None else o.retries,
            settings.retry_wait() if o.retry_wait is None else o.retry_wait,
        )

    @property
    def job_id(self) -> str:
        return self.run.job_id

    def reply(self, plan: SessionPlan) -> Reply:
        """Run it to its end, which is recorded whatever it is."""
        self.stack.callback(remove_left)
        try:
            reply = self._replied(plan)
        except GatewayError as error:
            self.finish(None, error)
            raise
        except Exception as error:
            failed = CliError(f"The gateway itself failed: {error!r}")
            self.finish(None, failed)
            raise failed from error
        self.finish(reply, None)
        return reply

    def _replied(self, plan: SessionPlan) -> Reply:
        self.until = time.monotonic() + (self.request.options.timeout or math.inf)
        number, lost_once, failed = 1, False, None
        while True:
            try:
                return self._admitted(number, plan)
            except SessionLost as lost:
                if lost_once or self.something_ran():
                    raise
                choice = sessions.after_loss(self.choice, self.request, self.provider, lost)
                self.run.say(choice.note or "")
                plan, self.waited, lost_once = choice.plan, None, True
            except Transient as error:
                failed = error
                self.waited = waited_after(self, error)
                if self.waited is None:
                    raise
                plan = sessions.again(plan)
            except BreakerOpen:
                if failed is None:
                    raise
                raise failed from None
            number += 1

    def _admitted(self, number: int, plan: SessionPlan) -> Reply:
        """One attempt, with the provider's breaker asked before and told afterwards."""
        if self.run.cancel.reason or self.recorder.cancel_requested(self.job_id):
            raise Canceled("The prompt was interrupted before it began.")
        self.breaker.admit()
        try:
            reply = self._attempt(number, plan)
        except GatewayError as error:
            self.breaker.ended(error)
            raise
        except Exception:
            self.breaker.ended(CliError("The gateway itself failed."))
            raise
        self.breaker.ended(None)
        return reply

    @cached_property
    def breaker(self) -> Breaker:
        """The breaker of the provider, of its configuration and of its key."""
        ignored = bool(self.request.options.ignore_breaker)
        return Breaker(self.recorder, self.provider, self.environment[0], self.job_id, ignored)

    def time_left(self) -> float:
        """Seconds until the time-out, which is one for all attempts and the waits between them."""
        return self.until - time.monotonic()

    def _attempt(self, number: int, plan: SessionPlan) -> Reply:
        invocation = self._invocation(plan)
        self.watch = watch = Watch(self, invocation, number)
        self.parser = watch.parser
        try:
            ended = process.run(
                invocation,
                watch,
                self.run.cancel,
                timeout=self._timeout(number),
                adopt=self.owns_process,
            )
            reply = watch.finish(ended)
            check_schema(reply, self.request.schema)
        except GatewayError as error:
            if isinstance(error, AuthFailed) and invocation.withheld:
                error.message += " " + _withheld(invocation.withheld)
            watch.record_end(error)
            raise
        self._note_version(reply)
        watch.record_done(reply)
        return reply

    def _timeout(self, number: int) -> float | None:
        """The first attempt has all of it, however long its preparations took."""
        limit = self.request.options.timeout
        return limit if number == 1 or limit is None else max(0.01, self.time_left())

    def _invocation(self, plan: SessionPlan) -> Invocation:
        try:
            return self._planned(plan)
        except OSError as error:
            raise SpawnFailed(
                f"The temporary files of the run could not be written: {error.strerror or error}."
            ) from error

    def _planned(self, plan: SessionPlan) -> Invocation:
        env, withheld = self.environment
        launch = Launch(
            executable=self.executable,
            env={**env, **nesting.marks(self.job_id), **_approved_under(self.request)},
            environ=os.environ,
            cwd=self.request.options.cwd or "",
            access=self.access,
            session=plan,
            make_files=cache(partial(run_folder, self.stack)),
            state=settings.home(),
        )
        return replace(self.provider.plan(self.request, launch), withheld=withheld)

    @cached_property
    def environment(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """The child's environment, and the names of the secrets that it does not get."""
        return self.given or self.provider.environment(os.environ, self.access, settings.pass_env())

    def tool_began(self) -> None:
        """What an agent read before the fingerprint was taken may have been something else."""
        if not self.seen:
            self.looks = False

    def look(self) -> None:
        """Take the fingerprint of the workspace while the CLI starts."""
        if self.looks and not self.seen:
            threading.Thread(target=self._look, name="llm-gateway-look", daemon=True).start()

    def _look(self) -> None:
        from .dedup.fingerprint import fingerprint

        self.seen.append(fingerprint(self.request.options.cwd or ""))

    def something_ran(self) -> bool:
        """Whether it may not be begun again: text was delivered, or a tool began."""
        ran = self.parser is not None and (self.parser.tools_run or self.parser.tools_open)
        return self.run.said or bool(ran)

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
            title=self._title() if plan.kind in ("new", "fork") else None,
            name=plan.name,
        )

    def _title(self) -> str | None:
        return title_of(self.request.prompt) if self.request.keep_bodies else None

    def finish(self, reply: Reply | None, error: GatewayError | None) -> None:
        """Write down how the job ended; the first word about it counts."""
        so_far = self._so_far()
        if (told := reply or so_far) is not None:
            fill_in_cost(self.provider, told)
        self.recorder.finish(
            self.request.id,
            self.job_id,
            state_of(error),
            reply=reply or so_far,
            error_category=error.category if error else None,
            error_message=str(error) if error else None,
            duration_ms=round((time.monotonic() - self.started) * 1000),
            usage_totals=so_far.facts.get("usage_totals") if so_far else None,
            fingerprint=next(iter(self.seen), None),
            reusable=reply is not None and self._touched_files_only(reply),
            delivered=reply is not None and not self.in_worker,
            # It is made of the environment, which may be what failed.
            breaker_state=self.breaker.state if "breaker" in vars(self) else None,
        )

    def _touched_files_only(self, reply: Reply) -> bool:
        """Whether nothing but the workspace, as its fingerprint has it, can have made this answer.

        Outside Git nobody can tell whether a file that was read has changed since.
        """
        if not self.looks or not self.seen or self.request.options.add_dirs:
            return False
        from .dedup.fingerprint import NOT_GIT

        read, seen = set(reply.tools_run), self.seen[0] or NOT_GIT
        return not read or (not seen.startswith(NOT_GIT) and read <= self.provider.workspace_tools)

    def _so_far(self) -> Reply | None:
        try:
            return self.parser.reply() if self.parser is not None else None
        except Exception:  # a parser that failed must not keep the row from ending
            return None


def _approved_under(request: Request) -> dict[str, str]:
    """What the child has to know: an agent's own asks are under the same approval policy."""
    policy = request.options.approval_policy
    return {APPROVAL_POLICY: policy} if request.approval and policy else {}


def _withheld(names: tuple[str, ...]) -> str:
    return (
        f"Not passed on to it: {', '.join(names)}; "
        "name what it needs in LLM_GATEWAY_PASS_ENV (comma-separated)."
    )
