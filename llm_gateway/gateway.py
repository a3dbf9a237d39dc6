"""The way of a prompt: the only file that knows the order.

    ask       a thread answers the request and its reader iterates the run, or awaits it
    submit    a worker answers it; whoever wants the answer asks for it later
    work      what the worker does

Session and access come first, then every check that needs no process, then the claim: one
transaction says whether this request runs or has the answer of another one.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from . import nesting, sessions, settings
from .checks import check
from .claiming import Claiming, joined_note
from .errors import (
    CliError,
    GatewayError,
    InvalidInput,
    Orphaned,
    PermissionDenied,
    SpawnFailed,
)
from .events import Messages, Notice, Reply
from .execution import Execution, state_of
from .follow import Withdrawn, followed
from .ids import new_id
from .policy.access import refuse_unheld, resolve_access
from .policy.child_env import APPROVAL_POLICY
from .providers import provider_named
from .queueing import wait_for_place
from .records import replace
from .request import Access, Request, SessionPlan
from .run import KILLED, LIVE, Run, Work, shortens_answer
from .session_lock import taken
from .spec import request_of
from .store import jobs
from .store.claims import Claim
from .store.recorder import Recorder, open_recorder
from .worker_start import start_worker

__all__ = ["Run", "ask", "submit", "work"]

HERE = "the recorder is off, so this prompt runs here and ends with this command"


def ask(request: Request, *, gone: Callable[[], bool] | None = None) -> Run:
    """Start a request and return its run; nothing is spawned by the caller's own thread.

    :param gone: as in ``Run``.

    Iterating the run (``for`` or ``async for``) yields events as they happen, ``Done`` last, and
    raises a ``GatewayError`` for everything that is no answer. Leaving the loop ends the child.
    """
    return _started(request, _answer, gone)


def submit(request: Request, say: Callable[[str], None]) -> Claim:
    """Have a worker answer the request, and return at once; ``job_id`` is where the answer will be.

    :param say: gets one line for the person, now and then.

    ``outcome`` is ``ran`` or ``queued`` where a job was begun for it, else whose answer it gets.

    :raises GatewayError: where it is refused; nothing was spawned then.
    """
    with ExitStack() as stack:
        run = Run(request, _answer)
        stack.callback(run.cancel.close)
        return _Asking(run, stack, say=say).submitted()


def work(job_id: str, *, gone: Callable[[], bool] | None = None) -> Run:
    """Return the run of a job that waits for this process; it is its worker from now on."""
    return _started(Request(id=job_id, provider="", prompt=""), _work, gone, job_id)


def _started(
    request: Request, work: Work, gone: Callable[[], bool] | None, job_id: str | None = None
) -> Run:
    try:
        run = Run(request, work, gone, job_id)
        run.start()
    except (OSError, RuntimeError) as error:
        raise SpawnFailed(f"The system has no room for another run: {error}.") from error
    return run


def _answer(run: Run, stack: ExitStack) -> Reply:
    return _Asking(run, stack).answer()


def _work(run: Run, stack: ExitStack) -> Reply:
    recorder = open_recorder(run.say)
    stack.callback(recorder.close)
    conn = recorder.connection
    spec = jobs.spec_of(conn, run.job_id) if conn is not None else None
    if spec is None or not recorder.take(run.job_id):
        raise Orphaned(f"Job {run.job_id} does not wait for a worker.")
    run.heard = partial(_tell_followers, recorder, run.job_id)
    run.request = request_of(spec)
    run.access = run.request.options.access or Access.READ
    return _Asking(run, stack, recorder=recorder, in_worker=True).worked()


def _tell_followers(recorder: Recorder, job_id: str, text: str) -> None:
    recorder.events(job_id, 0, [(0, Notice("warning", text))])


def _deliver(run: Run, recorder: Recorder) -> None:
    """Note that the answer has been received, once its reader has had all of it."""
    if run.was_read():
        heir = run.request.id if run.inherits else None
        recorder.write("delivered", job_id=run.job_id, heir=heir)


class _Asking:
    """One request on its way to an answer."""

    def __init__(
        self,
        run: Run,
        stack: ExitStack,
        *,
        recorder: Recorder | None = None,
        say: Callable[[str], None] | None = None,
        in_worker: bool = False,
    ) -> None:
        self.run, self.stack = run, stack
        self.say = say or run.say
        self.in_worker = in_worker
        self.owns_process = in_worker or run.gone is not None
        self.may_ask = run.gone is not None or say is not None  # a person, at a terminal
        self.provider = provider_named(run.request.provider)
        self.recorder = recorder or self._open()
        self.started = time.monotonic()
        self.executable = ""
        self.choice = sessions.Choice(SessionPlan())

    @property
    def request(self) -> Request:
        return self.run.request

    def _open(self) -> Recorder:
        recorder = open_recorder(self.say)
        self.stack.callback(recorder.close)
        return recorder

    def answer(self) -> Reply:
        """The answer, whoever runs it, as its asker wants it."""
        reply = self._answered()
        return self._shortened(reply) if shortens_answer(self.request) else reply

    def _answered(self) -> Reply:
        for problem in settings.problems():
            self.say(problem)
        durable = self._durable()
        plan = self._ready(lock=not durable)
        while True:
            with self._refusals():
                claiming = self._claiming(plan, "durable" if durable else "foreground")
                claim = claiming.claim()
            if claim is None:
                if durable:
                    self.say(HERE)
                    plan = self._prepare(lock=True)  # no worker is going to hold the session
                self._begin()
                return self._execution(claiming).reply(plan)
            if claim.outcome in ("ran", "queued") and not durable:
                return self._own(plan, claim, claiming)
            if claim.outcome in ("ran", "queued"):
                self._start_worker(claim)
            try:
                return self._followed(claim)
            except Withdrawn:
                self.run.job_id = new_id()
                plan = sessions.again(plan)

    def submitted(self) -> Claim:
        """The claim of a request that a worker is to answer."""
        for problem in settings.problems():
            self.say(problem)
        if self.recorder.connection is None:
            if settings.logs_db() is not None:
                raise CliError(
                    "A job needs the recorder, which cannot be used; llm gateway doctor says why."
                )
            raise InvalidInput(
                "A job needs the recorder, which is off; LLM_GATEWAY_LOGS_DB names its file."
            )
        if self.request.options.optimize_response:
            raise InvalidInput(
                "optimize_response shortens what a prompt prints; a job keeps its answer whole."
            )
        plan = self._ready(lock=False)
        with self._refusals():
            claim = self._claiming(plan, "submitted").claim()
        if claim is None:
            raise CliError("The recorder could not take the job; llm gateway doctor says why.")
        if claim.outcome in ("ran", "queued"):
            self._start_worker(claim)
        return claim

    def worked(self) -> Reply:
        """The answer of a job whose rows are there."""
        refused = self._execution(None)
        try:
            plan = self._prepare(lock=True)
            self._check()
        except GatewayError as error:
            refused.finish(None, error)
            raise
        except Exception as error:
            failed = CliError(f"The gateway itself failed: {error!r}")
            refused.finish(None, failed)
            raise failed from error
        execution = self._execution(None)
        self._wait_for_place(execution)
        return execution.reply(plan)

    def _durable(self) -> bool:
        asked = self.request.options.durable
        if not (settings.durable() if asked is None else asked):
            return False
        if self.recorder.connection is None:
            self.say(HERE)
            return False
        return True

    def _ready(self, *, lock: bool) -> SessionPlan:
        """Everything that can be refused before anybody is asked; what is refused is recorded."""
        with self._refusals():
            plan = self._prepare(lock=lock)
            self._check()
            self._approve()
        return plan

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What fails before anything is begun is recorded as well."""
        try:
            yield
        except GatewayError as error:
            self._denied(error)
            raise
        except Exception as error:
            failed = CliError(f"The gateway itself failed: {error!r}")
            self._denied(failed)
            raise failed from error

    def _denied(self, error: GatewayError) -> None:
        """The row of a request for which nothing was run."""
        self._begin()
        self.recorder.finish(
            self.request.id,
            self.run.job_id,
            state_of(error),
            error_category=error.category,
            error_message=str(error),
            duration_ms=round((time.monotonic() - self.started) * 1000),
            outcome="denied" if isinstance(error, PermissionDenied) else None,
        )

    def _own(self, plan: SessionPlan, claim: Claim, claiming: Claiming) -> Reply:
        execution = self._execution(claiming)
        if claim.outcome == "queued":
            self._wait_for_place(execution)
        return execution.reply(plan)

    def _execution(self, claiming: Claiming | None) -> Execution:
        return Execution(
            run=self.run,
            request=self.request,
            provider=self.provider,
            executable=self.executable,
            choice=self.choice,
            access=self.run.access,
            recorder=self.recorder,
            stack=self.stack,
            looks=self._looks(claiming),
            owns_process=self.owns_process,
            in_worker=self.in_worker,
            given=claiming.environment if claiming is not None else None,
        )

    def _looks(self, claiming: Claiming | None) -> bool:
        """Whether the answer may be reused: a worker's job holds a key whenever that is so."""
        holds = claiming.key if claiming is not None else settings.dedup_window()
        return bool(holds) and self.run.access is Access.READ and self.request.keep_bodies

    def _claiming(self, plan: SessionPlan, kind: str) -> Claiming:
        return Claiming(
            self.run, self.recorder, self.provider, self.executable, self.run.access, plan, kind
        )

    def _wait_for_place(self, execution: Execution) -> None:
        try:
            wait_for_place(self.run, self.recorder, self.say)
        except GatewayError as error:
            execution.finish(None, error)
            raise

    def _start_worker(self, claim: Claim) -> None:
        if self.choice.note:
            self.say(self.choice.note)
        try:
            start_worker(claim.job_id)
        except OSError as error:
            failed = SpawnFailed(f"The job's worker could not be started: {error}.")
            self._execution(None).finish(None, failed)
            raise failed from error

    def _followed(self, claim: Claim) -> Reply:
        conn = self.recorder.connection
        assert conn is not None
        ours = claim.outcome in ("ran", "queued")
        self.run.job_id = claim.job_id
        self.run.outcome = "ran" if ours else claim.outcome
        self.say(joined_note(conn, claim))
        try:
            reply = followed(self.run, conn, claim.job_id, timed=not ours)
        except GatewayError as error:
            self._withdraw(error, claim)
            raise
        joined = claim.outcome == "joined"
        self.run.inherits = joined and jobs.is_heir(conn, claim.job_id, self.request.id)
        self.stack.callback(_deliver, self.run, self.recorder)
        return reply

    def _withdraw(self, error: GatewayError, claim: Claim) -> None:
        """The asker does not wait any more; a durable job ends with the last of them."""
        interrupted = self.run.cancel.reason not in (None, KILLED)
        self.recorder.write(
            "withdraw",
            request_id=self.request.id,
            category=error.category,
            message=str(error),
            status=state_of(error),
            ends=claim.job_id if interrupted else None,
        )

    def _prepare(self, *, lock: bool) -> SessionPlan:
        if self.request.options.model is not None and not self.in_worker:
            self._resolve_model()
        choice = self.choice = taken(
            self.request,
            self.provider,
            self.recorder,
            self.stack,
            self.say,
            self._given_up,
            nested=bool(nesting.ancestors()),
            hold=lock,
            told=self.in_worker or not lock,  # a worker's asker says it once there is a job
        )
        options, inherited = sessions.inherit(self.request.options, choice.last)
        cwd = _absolute(options.cwd)
        dirs = options.add_dirs and tuple(os.path.expanduser(d) for d in options.add_dirs)
        self.run.request = replace(self.request, options=replace(options, cwd=cwd, add_dirs=dirs))
        self.run.access = resolve_access(self.request.options.access, inherited, os.environ)
        refuse_unheld(self.request.options, os.environ)
        self.run.request = _shortened_prompt(self._with_servers())
        return choice.plan

    def _given_up(self) -> bool:
        """Asked some times a second while a session is waited for; a job's owner shows its life."""
        if self.in_worker:
            self.recorder.tick()
            if self.recorder.cancel_requested(self.run.job_id):
                self.run.cancel("canceled")
        return bool(self.run.cancel.reason)

    def _with_servers(self) -> Request:
        """The request with what tells the MCP servers that it names from others."""
        servers = self.provider.servers(self.request.options, os.environ)
        if not servers:
            return self.request
        from .providers.mcp import digests

        return replace(self.request, servers=digests(servers, os.environ))

    def _approve(self) -> None:
        o = self.request.options
        if o.approval_policy or o.approval_strategy or settings.said(APPROVAL_POLICY):
            from .approve import approve

            approve(self.run, self.provider, self.recorder, self.say, may_ask=self.may_ask)

    def _resolve_model(self) -> None:
        """Put the vendor's name in the place of an alias; one that nobody knows stays."""
        from .registry import resolve

        options = self.request.options
        model = resolve(self.provider, options.model)
        self.run.request = replace(self.request, options=replace(options, model=model))

    def _shortened(self, reply: Reply) -> Reply:
        """The answer by the optimiser's rules; the recorder keeps both."""
        from .optimizer import optimized

        text = optimized(reply.text, response=True)
        messages = [*(optimized(m, response=True) for m in reply.messages[:-1]), text]
        self.run.show(messages)
        if text != reply.text:
            self.recorder.write(
                "shown", request_id=self.request.id, text=text, before=len(reply.text)
            )
        return replace(reply, text=text, messages=Messages(messages))

    def _begin(self) -> None:
        o = self.request.options
        self.recorder.begin(
            self.request,
            self.run.job_id,
            model=o.model,
            access=self.run.access,
            cwd=o.cwd,
            add_dirs=o.add_dirs or (),
        )

    def _check(self) -> None:
        self.executable = check(self.request, self.provider, self.run.access)


def _shortened_prompt(request: Request) -> Request:
    """The request with its prompt as the optimiser leaves it, unless nothing would be left."""
    if not request.options.optimize_prompt or request.asked is not None:
        return request
    from .optimizer import optimized

    prompt = optimized(request.prompt)
    if prompt == request.prompt or not prompt.strip():
        return request
    return replace(request, prompt=prompt, asked=request.prompt)


def _absolute(path: str | None) -> str:
    """The directory that is meant; empty where it lies in one that was deleted."""
    try:
        return os.path.abspath(os.path.expanduser(path)) if path else os.getcwd()
    except OSError:
        return ""


@atexit.register
def _end_live_runs() -> None:
    runs = list(LIVE)
    for run in runs:
        run.stop()
    for run in runs:
        run.close()
