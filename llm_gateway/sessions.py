"""Which of the vendor's sessions a prompt belongs to.

llm's history is what the user sees, the vendor's session is what the CLI remembers. An answer's
metadata says which session it was given in and after which turn; where the two have drifted apart
the missing turns are quoted, or the session is left and the transcript goes into a new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import InvalidInput, Saturated, SessionLost
from .ids import is_session_id, new_uuid
from .providers.base import Provider
from .records import asdict, record, replace
from .request import Access, Options, Request, SessionPlan, Turn
from .store.sessions import SessionRow

if TYPE_CHECKING:
    from .providers.stored import StoredSession
    from .store.session_names import Mark

__all__ = ["Choice", "Records", "after_loss", "again", "choose", "inherit", "left", "turn_of"]

Lookup = Callable[[str], SessionRow | None]


@record(frozen=True)
class Choice:
    """The session to use; what it was last run with; what the person should know.

    :param mark: how a person chose it, where nothing else leads to it.
    :param locks: what has to be held meanwhile, in this order.
    """

    plan: SessionPlan
    last: Mapping[str, Any] | None = None
    note: str | None = None
    mark: Mark | None = None

    @property
    def locks(self) -> tuple[str, ...]:
        """What has to be held meanwhile, in this order; a name, since others mean it as well."""
        id = self.plan.session_id if self.plan.kind == "resume" else None
        return tuple(filter(None, (self.mark.lock if self.mark else None, id)))


@record(frozen=True)
class Records:
    """Where sessions are looked up.

    :param known: what the recorder has about a vendor's session id; None without one.
    :param mark: what a person chose by name, or by ``llm gateway session use``.
    :param newest: the vendor's newest session of a directory; None: only the CLI can tell.
    """

    known: Lookup = lambda _: None
    mark: Mark | None = None
    newest: Callable[[str], StoredSession | None] | None = None


def choose(request: Request, provider: Provider, records: Records) -> Choice:
    """Return the session of a prompt; the first of these that is said:

    a new one, an id, a name, the newest of the directory, llm's conversation, the active one.
    """
    o, mark = request.options, records.mark
    if o.session is not None and o.session_id is not None:
        raise InvalidInput("Say -o session or -o session_id, not both.")
    if o.create_new_session:
        return _begun(request, provider, None if mark is None or mark.active else mark)
    if o.session_id is not None:
        return _by_id(o.session_id, request, records.known)
    if mark is not None and not mark.active:
        from .store.session_names import LAST

        found = _marked(mark, request, provider, records.known)
        return replace(found, last=_without_access(found.last)) if o.session == LAST else found
    if o.resume_latest:
        return _newest(request, provider, records)
    at = _last_answer(request.history)
    if at is not None:
        return _continued(request, provider, at, records.known)
    if mark is not None and not request.history:
        return _marked(mark, request, provider, records.known)
    return Choice(_new(provider, request.history))


def _begun(request: Request, provider: Provider, mark: Mark | None) -> Choice:
    plan = _new(provider, request.history, mark)
    if mark is None or mark.name is None:
        return Choice(plan)
    ends = f"; {_ends(provider)}" if mark.active else ""
    return Choice(plan, note=f"a new session begins, named {mark.name}{ends}", mark=mark)


def _marked(mark: Mark, request: Request, provider: Provider, known: Lookup) -> Choice:
    if mark.session_id is None:
        return _begun(request, provider, mark)
    found = _by_id(mark.session_id, request, known)
    cwd, where = request.options.cwd, (found.last or {}).get("cwd")
    if cwd and where and not provider.resumes_anywhere and not _same(cwd, where):
        raise InvalidInput(
            f"{provider.title} can continue session {mark.name or mark.session_id} only in "
            f"{where}; leave out -o cwd, or add -o create_new_session 1."
        )
    if not mark.active:
        return replace(found, mark=mark)
    there = f" in {where}" if where and not cwd and not _same(os.curdir, where) else ""
    note = f"continuing the active session {_called(mark)}{there}; {_ends(provider)}"
    return replace(found, last=_without_access(found.last), note=note, mark=mark)


def _called(mark: Mark) -> str:
    return f"{mark.name} ({mark.session_id})" if mark.name else str(mark.session_id)


def _ends(provider: Provider) -> str:
    return f"llm gateway session clear {provider.name} ends that"


def _newest(request: Request, provider: Provider, records: Records) -> Choice:
    """The newest of the directory; most CLIs would begin a new one in silence where none is."""
    if records.newest is None:
        return Choice(SessionPlan("latest"))
    cwd = os.path.abspath(os.path.expanduser(request.options.cwd or os.curdir))
    found = records.newest(cwd)
    if found is None:
        raise SessionLost(
            f"{provider.title} has no session of {cwd}; leave out resume_latest to start one."
        )
    choice = _by_id(found.session_id, request, records.known)
    return replace(choice, last={**_without_access(choice.last), "cwd": cwd})


def _without_access(last: Mapping[str, Any] | None) -> dict[str, Any]:
    """What nobody named on this prompt must not hand on its access level either."""
    return {name: value for name, value in (last or {}).items() if name != "access"}


def _known(row: SessionRow | None) -> dict[str, Any]:
    if row is None:
        return {}
    return _placed({k: v for k, v in asdict(row).items() if v is not None and v != {}})


def _placed(known: dict[str, Any]) -> dict[str, Any]:
    """Without its places where one has a name that is no text, which nobody could write down.

    Nor with its level, which was for those places.
    """
    places = (known.get("cwd") or "", *(known.get("add_dirs") or ()))
    if not any("\ufffd" in place for place in places):
        return known
    return {k: v for k, v in known.items() if k not in ("cwd", "add_dirs", "access")}


def _last_answer(history: tuple[Turn, ...]) -> int | None:
    told = [(turn.session or {}).get("session_id") for turn in history]
    return next((i for i in reversed(range(len(history))) if told[i]), None)


def _by_id(session_id: str, request: Request, known: Lookup) -> Choice:
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
    last = {**_known(row), **_placed(dict(told)), **sums}
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
    """Return how to go on without touching a session that somebody else is in, or was.

    :raises Saturated: where nothing but the session has what was said so far.
    """
    last = choice.last or {}
    session_id, message = choice.plan.session_id, last.get("message")
    if not request.history:
        raise Saturated(
            f"Session {session_id or choice.plan.name} {why}; try again when the prompt in it has "
            "ended, or start another session with -o create_new_session 1."
        )
    if provider.forks_at_message and message:
        at = _last_answer(request.history)
        quoted = request.history[at + 1 :] if at is not None else ()
        new_id = new_uuid() if provider.chooses_fork_id else None
        plan = replace(choice.plan, kind="fork", new_id=new_id, at=message, quoted=quoted)
        return Choice(plan, last, f"session {session_id} {why}; this prompt continues a copy of it")
    note = f"session {session_id} {why}; the transcript of this conversation starts a new one"
    return Choice(_new(provider, request.history), last, note)


def _same(cwd: str, other: object) -> bool:
    return isinstance(other, str) and os.path.realpath(os.path.expanduser(cwd)) == os.path.realpath(
        other
    )


def _new(provider: Provider, quoted: tuple[Turn, ...], mark: Mark | None = None) -> SessionPlan:
    new_id = new_uuid() if provider.chooses_session_id else None
    return SessionPlan("new", new_id=new_id, quoted=quoted, name=mark.name if mark else None)


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
        last_turn=last.get("last_turn_id"),
    )


def after_loss(choice: Choice, request: Request, provider: Provider, lost: SessionLost) -> Choice:
    """Return a new session for a prompt whose own the vendor does not have.

    :raises SessionLost: where that would drop, unsaid, what was said in it.
    """
    mark = choice.mark
    if choice.plan.kind != "resume" or request.options.session_id:
        raise lost
    if request.history:
        note = f"{lost.message} The transcript of this conversation starts a new session."
        return Choice(_new(provider, request.history, mark), choice.last, note, mark)
    last = choice.last or {}
    if mark is not None and mark.name and not last.get("turns") and not last.get("source"):
        note = f"{lost.message} Nothing was answered in it; a new session begins."
        return Choice(_new(provider, (), mark), choice.last, note, mark)
    if mark is not None:
        which = mark.name or mark.session_id
        lost.message += f" llm gateway session delete {which} forgets it here."
    raise lost


def inherit(options: Options, last: Mapping[str, Any] | None) -> tuple[Options, Access | None]:
    """Fill in what a continued session keeps unless it is given again, and its access level.

    The level was given for its directories: where the prompt names another one, it is not kept.
    """
    if not last:
        return options, None
    add_dirs = last.get("add_dirs")
    filled = replace(
        options,
        cwd=options.cwd or last.get("cwd"),
        model=options.model or last.get("model"),
        add_dirs=options.add_dirs or (tuple(add_dirs) if add_dirs else None),
    )
    access = None if _goes_elsewhere(options, last) else last.get("access")
    return filled, Access(access) if access else None


def _goes_elsewhere(options: Options, last: Mapping[str, Any]) -> bool:
    before = last.get("cwd")
    if options.cwd and not _same(options.cwd, before):
        return True
    cwd = os.path.abspath(os.path.expanduser(before or os.curdir))
    known = {_place(cwd, folder) for folder in last.get("add_dirs") or ()}
    return any(_place(cwd, folder) not in known for folder in options.add_dirs or ())


def _place(cwd: str, folder: str) -> str:
    return os.path.realpath(os.path.join(cwd, os.path.expanduser(folder)))


def again(plan: SessionPlan) -> SessionPlan:
    """Return the plan for another attempt: the CLI may have kept the first one's id."""
    return plan if plan.new_id is None else replace(plan, new_id=new_uuid())


def turn_of(request: Request, plan: SessionPlan) -> str:
    """Return what tells this turn of a session from any other; empty for a new session.

    The same words said twice in a session are two turns, also where no history tells them apart.
    A conversation's turn is the same one where its session has gone on: that may be its own doing.
    """
    o, at = request.options, _last_answer(request.history)
    told = request.history[at].session or {} if at is not None else {}
    named = o.create_new_session or o.session or o.session_id or o.resume_latest
    if told and (told.get("session_id") == plan.session_id or not named):
        return f"{told['session_id']} {told.get('turn') or ''}"
    return f"{plan.session_id} {plan.last_turn or ''}" if plan.kind == "resume" else ""
