"""Takes the session of a prompt, which one process at a time may continue."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import forks, settings
from .digest import sha256
from .errors import InvalidInput
from .pacing import end_turn
from .providers.base import Provider
from .request import Request
from .sessions import Choice, Records, choose, left
from .store.recording import Recorder

if TYPE_CHECKING:
    from .store.session_names import Mark

__all__ = ["exclusive", "taken"]

LOCK_WAIT = 60.0


def taken(
    request: Request,
    provider: Provider,
    recorder: Recorder,
    stack: ExitStack,
    say: Callable[[str], None],
    canceled: Callable[[], bool],
    *,
    nested: bool,
    hold: bool = True,
    told: bool = False,
) -> Choice:
    """Choose the session of a prompt and hold it until the stack ends; say what is to be known.

    :param hold: False where another process is going to choose and hold it.
    :param told: this is that process: what is to be known was said by the one that asked.
    :param nested: an agent of the gateway's asks; the active session is not meant for it, and may
        be the very one that its own prompt runs in.
    """
    held: set[str] = set()
    while True:
        choice = choose(request, provider, _records(request, provider, recorder, nested))
        lock = next((word for word in choice.locks if word not in held), None)
        if lock is None or not hold:
            break
        if not stack.enter_context(exclusive(lock, settings.home(), say, canceled)):
            if not canceled():
                choice, told = left(choice, request, provider, "is busy"), False
            break
        held.add(lock)
    if choice.note and not told:
        say(choice.note)
    return choice


def _records(request: Request, provider: Provider, recorder: Recorder, nested: bool) -> Records:
    newest = None
    if request.options.resume_latest:
        from .providers.stored import newest_in

        found = provider.stored_sessions(os.environ)
        newest = None if found is None else lambda cwd: newest_in(found, cwd)
    return Records(
        lambda session_id: recorder.session(provider.name, session_id),
        _mark(request, recorder, nested),
        newest,
    )


def _mark(request: Request, recorder: Recorder, nested: bool) -> Mark | None:
    """What a person chose by name on this prompt, or by ``session use`` for all of them."""
    word = request.options.session
    if word is None:
        return None if nested else recorder.active_session(request.provider)
    try:
        mark = recorder.named_session(request.provider, word)
    except LookupError as error:
        raise InvalidInput(str(error)) from error
    if mark is None:
        raise InvalidInput(
            f"The session {word!r} cannot be looked up: the flight recorder keeps the names of "
            "sessions, and it is off or cannot be read; -o session_id ID works without it."
        )
    return mark


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
        name = sha256(session_id.encode()).hexdigest()[:32]
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with forks.held_off():
            descriptor = forks.own(os.open(folder / f"{name}.lock", flags, 0o600))
    except OSError:
        yield True
        return
    try:
        yield _wait_for(descriptor, session_id, say, canceled)
    finally:
        forks.close(descriptor)


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
            end_turn()
            called = session_id.rpartition("/")[2]
            say(f"waiting for session {called}: another prompt is running in it")
            said = True
        time.sleep(0.05)
    return False
