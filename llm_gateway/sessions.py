"""Which of the vendor's sessions a prompt belongs to.

llm's history is what the user sees, the vendor's session is what the CLI remembers. An answer's
metadata says which session it was given in and after which turn; where the two have drifted apart
the missing turns are quoted, or the session is left and the transcript goes into a new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .errors import InvalidInput
from .providers.base import Provider
from .request import Access, Options, Request, SessionPlan, Turn
from .store.sessions import SessionRow

__all__ = [
    "Choice",
    "again",
    "choose",
    "exclusive",
    "inherit",
    "is_session_id",
    "left",
    "replayed",
    "turn_of",
]

LOCK_WAIT = 60.0
LONGEST_ID = 256
Lookup = Callable[[str], SessionRow | None]


@dataclass(frozen=True)
class Choice:
    """The session to use; what it was last run with; what the person should know."""

    plan: SessionPlan
    last: Mapping[str, Any] | None = None
    note: str | None = None


def choose(request: Request, provider: Provider, known: Lookup) -> Choice:
    """Return the session of a prompt.

    :param known: looks up what the recorder has about a vendor's session id; None without one.
    """
    o = request.options
    if o.create_new_session:
        return Choice(_new(provider, request.history))
    if o.session_id:
        return _named(o.session_id, request, known)
    if o.resume_latest:
        return Choice(SessionPlan("latest"))
    at = _last_answer(request.history)
    if at is None:
        return Choice(_new(provider, request.history))
    return _continued(request, provider, at, known)


def _known(row: SessionRow | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {k: v for k, v in asdict(row).items() if v is not None and v != {}}


def _last_answer(history: tuple[Turn, ...]) -> int | None:
    told = [(turn.session or {}).get("session_id") for turn in history]
    return next((i for i in reversed(range(len(history))) if told[i]), None)


def is_session_id(word: object) -> bool:
    """Whether a word can go into a command line and a path as a session's id, whoever said it."""
    if not isinstance(word, str) or not 0 < len(word) <= LONGEST_ID:
        return False
    return word.isprintable() and "/" not in word and not word.startswith(("-", "."))


def _named(session_id: str, request: Request, known: Lookup) -> Choice:
    if session_id.startswith("gw-") or not is_session_id(session_id):
        raise InvalidInput(f"{session_id!r} is not a session id of a vendor's CLI.")
    last = _known(known(session_id))
    seen = [
        i
        for i, turn in enumerate(request.history)
        if (turn.session or {}).get("session_id") == session_id
    ]
    quoted = request.history[seen[-1] + 1 :] if seen else request.history
    return Choice(_resumed(session_id, quoted, last), last)


def _continued(request: Request, provider: Provider, at: int, known: Lookup) -> Choice:
    told = request.history[at].session
    assert told is not None
    session_id = str(told["session_id"])
    row = known(session_id)
    # The answer's own word wins; the running sums are the session's, failed turns included.
    sums = {k: v for k, v in _known(row).items() if k in ("cost_total_usd", "usage_totals")}
    last = {**_known(row), **told, **sums}
    if told.get("shared"):
        choice = Choice(_resumed(session_id, (), last), last)
        return left(choice, request, provider, "belongs to whoever asked first")
    if row is not None and row.last_turn_id not in (None, told.get("turn")):
        return left(Choice(_resumed(session_id, (), last), last), request, provider, "has gone on")
    cwd = request.options.cwd
    if cwd and not provider.resumes_anywhere and not _same(cwd, last.get("cwd")):
        where = last.get("cwd")
        note = f"{provider.title} resumes only in {where}; the transcript starts a new session"
        return Choice(_new(provider, request.history), last, note)
    return Choice(_resumed(session_id, request.history[at + 1 :], last), last)


def left(choice: Choice, request: Request, provider: Provider, why: str) -> Choice:
    """Return how to go on without touching a session that somebody else is in, or was."""
    last = choice.last or {}
    session_id, message = choice.plan.session_id, last.get("message")
    if provider.forks_at_message and message:
        at = _last_answer(request.history)
        quoted = request.history[at + 1 :] if at is not None else ()
        new_id = str(uuid.uuid4()) if provider.chooses_fork_id else None
        plan = replace(choice.plan, kind="fork", new_id=new_id, at=message, quoted=quoted)
        return Choice(plan, last, f"session {session_id} {why}; this prompt continues a copy of it")
    note = f"session {session_id} {why}; the transcript of this conversation starts a new one"
    return Choice(_new(provider, request.history), last, note)


def _same(cwd: str, other: object) -> bool:
    return isinstance(other, str) and os.path.realpath(os.path.expanduser(cwd)) == os.path.realpath(
        other
    )


def _new(provider: Provider, quoted: tuple[Turn, ...]) -> SessionPlan:
    new_id = str(uuid.uuid4()) if provider.chooses_session_id else None
    return SessionPlan("new", new_id=new_id, quoted=quoted)


def _resumed(
    session_id: str, quoted: tuple[Turn, ...], last: Mapping[str, Any] | None
) -> SessionPlan:
    last = last or {}
    return SessionPlan(
        "resume",
        session_id,
        quoted=quoted,
        cost_before=last.get("cost_total_usd"),
        usage_before=last.get("usage_totals"),
        system_before=last.get("system"),
    )


def replayed(request: Request, provider: Provider) -> SessionPlan:
    """Return the plan for when the vendor lost the session: everything said so far, quoted."""
    return _new(provider, request.history)


def inherit(options: Options, last: Mapping[str, Any] | None) -> tuple[Options, Access | None]:
    """Fill in what a continued session keeps unless it is given again, and its access level."""
    if not last:
        return options, None
    add_dirs = last.get("add_dirs")
    filled = replace(
        options,
        cwd=options.cwd or last.get("cwd"),
        model=options.model or last.get("model"),
        add_dirs=options.add_dirs or (tuple(add_dirs) if add_dirs else None),
    )
    access = last.get("access")
    return filled, Access(access) if access else None


def again(plan: SessionPlan) -> SessionPlan:
    """Return the plan for another attempt: the CLI may have kept the first one's id."""
    return plan if plan.new_id is None else replace(plan, new_id=str(uuid.uuid4()))


def turn_of(request: Request, plan: SessionPlan) -> str:
    """Return what tells this turn of a session from any other; empty for a new session."""
    if plan.kind != "resume":
        return ""
    at = _last_answer(request.history)
    told = request.history[at].session or {} if at is not None else {}
    return f"{plan.session_id} {told.get('turn', '')}"


@contextmanager
def exclusive(
    session_id: str | None, state: Path, say: Callable[[str], None], canceled: Callable[[], bool]
) -> Iterator[bool]:
    """Hold a vendor's session for this process alone; yields False if it could not be had.

    Waits up to a minute and says so once. The lock dies with its holder.
    """
    if session_id is None:
        yield True
        return
    folder = state / "locks"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(session_id.encode()).hexdigest()[:32]
        descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield True
        return
    try:
        yield _wait_for(descriptor, session_id, say, canceled)
    finally:
        os.close(descriptor)


def _wait_for(
    descriptor: int, session_id: str, say: Callable[[str], None], canceled: Callable[[], bool]
) -> bool:
    until, said = time.monotonic() + LOCK_WAIT, False
    while not canceled():
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > until:
                return False
        if not said:
            say(f"waiting for session {session_id}: another prompt is running in it")
            said = True
        time.sleep(0.05)
    return False
