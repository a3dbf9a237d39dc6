"""``llm gateway session …``: name a session, choose it, forget it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .inputs import confirm
from .models import chosen
from .opening import recorder
from .output import json_option, local_time, print_json, print_table, say

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from llm_gateway.providers.base import Provider
    from llm_gateway.providers.stored import StoredSession

__all__ = ["register"]


def _known_sessions(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names, and ids of sessions without one; none where they cannot be read."""
    from click.shell_completion import CompletionItem

    from llm_gateway.store import session_names

    try:
        with recorder() as conn:
            rows = [] if conn is None else session_names.listed(conn, limit=200)
    except Exception:  # a shell that completes shows no error
        return []
    words = [(row["name"] or row["session_id"], row["title"]) for row in rows]
    fitting = [(word, title) for word, title in words if word.startswith(incomplete)]
    return [CompletionItem(word, help=title) for word, title in fitting]


session_argument = click.argument("session", metavar="SESSION", shell_complete=_known_sessions)
provider_option = click.option("--provider", help="Whose, where a name or an id is not enough.")


def register(group: click.Group) -> None:
    """Add what is done with one session to a group."""
    group.add_command(session)


@click.group()
def session() -> None:
    """Name a session, continue it by default, forget it.

    SESSION is a name, an id, six or more characters that one id begins with, or @last for the one
    used last.
    """


@session.command()
@session_argument
@provider_option
@json_option
def show(session: str, provider: str | None, as_json: bool) -> None:
    """Show one session and its newest prompts.

    \b
    Example:
      llm gateway session show @last
    """
    with _opened() as conn:
        found = _find(conn, session, provider)
        requests = _requests(conn, found)
    if as_json:
        print_json({**found, "requests": requests})
        return
    told = {
        key.replace("_", " "): local_time(value) if key.endswith("_at") else value
        for key, value in found.items()
    }
    rows = [(key, str(value)) for key, value in told.items() if value not in (None, "", False)]
    print_table(rows[0], rows[1:])
    if requests:
        click.echo()
        head = ("request", "asked", "status", "prompt")
        shown = [(r["id"], local_time(r["at"]), r["status"], r["prompt"] or "") for r in requests]
        print_table(head, shown)


@session.command()
@session_argument
@provider_option
def use(session: str, provider: str | None) -> None:
    """Make SESSION the active one: its provider's prompts continue it.

    That is for prompts that name no session and belong to no conversation; each says so on stderr.
    "llm gateway session clear" ends it, -o create_new_session 1 leaves it out once.

    \b
    Example:
      llm gateway session use review
    """
    from llm_gateway.store import session_names
    from llm_gateway.store.connection import write

    with _opened() as conn:
        found = _find(conn, session, provider)
        with write(conn):
            session_names.use(conn, found)
    of = found["provider"]
    ends = f"llm gateway session clear {of} ends that"
    say(f"Prompts of gateway-{of} continue {_called(found)} from now on; {ends}.")


@session.command()
@session_argument
@click.argument("name")
@provider_option
def rename(session: str, name: str, provider: str | None) -> None:
    """Call SESSION by this NAME, for -o session NAME.

    \b
    Example:
      llm gateway session rename @last review
    """
    from llm_gateway.store import session_names
    from llm_gateway.store.connection import write

    with _opened() as conn:
        found = _find(conn, session, provider)
        with _refused(), write(conn):
            session_names.rename(conn, found, name)
    say(f"{_called(found)} of {found['provider']} is called {name}.")


@session.command()
@session_argument
@provider_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(session: str, provider: str | None, yes: bool) -> None:
    """Forget SESSION: our record of it and its name, never the vendor's own.

    \b
    Example:
      llm gateway session delete review --yes
    """
    from llm_gateway.store import session_names
    from llm_gateway.store.connection import write

    with _opened() as conn:
        found = _find(conn, session, provider)
        title = _title(found["provider"])
        if not yes:
            stays = f" ({title} keeps its own)" if found["session_id"] else ""
            confirm(f"Forget {_called(found)} of {title}{stays}?")
        with write(conn):
            session_names.delete(conn, found)
    if found["session_id"] is None:
        say(f"Forgot the name {found['name']}; no session had begun.")
        return
    say(f"Forgot {_called(found)}. {title} still has the session itself; delete that with its CLI.")


@session.command()
@click.argument("provider", required=False)
def clear(provider: str | None) -> None:
    """End the active session of PROVIDER, or of all; the session itself stays.

    \b
    Example:
      llm gateway session clear claude
    """
    from llm_gateway.store import session_names
    from llm_gateway.store.connection import write

    if provider is not None:
        chosen(provider)
    ended: list[str] = []
    with recorder() as conn:
        if conn is not None:
            with write(conn):
                ended = session_names.clear(conn, provider)
    for name in ended:
        say(f"{name} has no active session any more; prompts begin new ones.")
    if not ended:
        say("No session was active.")


@session.command()
@click.argument("name")
@click.option("--provider", required=True, help="Whose: claude, codex, gemini, grok, …")
@click.option("--id", "session_id", help="Adopt this session of the CLI's own.")
def create(name: str, provider: str, session_id: str | None) -> None:
    """Give a NAME to a session that begins with its first prompt, or to one that a CLI has.

    \b
    Example:
      llm gateway session create review --provider claude
      llm gateway session create review --provider codex --id 019a1f2e-…
    """
    from llm_gateway.store import session_names
    from llm_gateway.store.connection import write

    (whose,) = chosen(provider)
    stored = _stored(whose, session_id) if session_id is not None else None
    with _opened(make=True) as conn, _refused(), write(conn):
        if session_id is None:
            session_names.reserve(conn, provider, name)
        else:
            known = (stored.cwd, stored.title) if stored else (None, None)
            session_names.adopt(conn, provider, session_id, name, *known)
    if session_id is None:
        say(f'{name} begins with the first prompt: llm -m gateway-{provider} -o session {name} "…"')
        return
    if stored is None:
        say(f"{whose.title} does not seem to have {session_id} here; the first prompt will tell.")
    say(f"{session_id} of {provider} is called {name}.")


def _stored(provider: Provider, session_id: str) -> StoredSession | None:
    found = provider.stored_sessions(os.environ) or iter(())
    return next((stored for stored in found if stored.session_id == session_id), None)


@contextmanager
def _opened(*, make: bool = False) -> Iterator[sqlite3.Connection]:
    with recorder(make=make) as conn:
        if conn is None and make:
            raise exits.Failed(
                "Names of sessions are kept in the recorder, which is off or cannot be used; "
                "LLM_GATEWAY_LOGS_DB names its file."
            )
        if conn is None:
            raise exits.Failed("There are no sessions yet.", exits.USAGE)
        yield conn


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except LookupError as error:
        raise exits.Failed(str(error.args[0]), exits.USAGE) from error


def _find(conn: sqlite3.Connection, word: str, provider: str | None) -> dict[str, Any]:
    from llm_gateway.store import session_names

    if provider is not None:
        chosen(provider)
    with _refused():
        return session_names.find(conn, word, provider)


def _requests(conn: sqlite3.Connection, found: dict[str, Any]) -> list[dict[str, Any]]:
    from llm_gateway.titles import title_of

    rows = conn.execute(
        "SELECT r.id, r.datetime_utc, r.status,"
        " (SELECT substr(b.prompt, 1, 2000) FROM bodies b WHERE b.id = r.id)"
        " FROM request_rows r WHERE r.provider = ? AND r.session_id = ?"
        " ORDER BY r.datetime_utc DESC LIMIT 10",
        (found["provider"], found["session_id"]),
    )
    names = ("id", "at", "status", "prompt")
    return [dict(zip(names, (*row[:3], title_of(row[3] or "")), strict=True)) for row in rows]


def _title(provider: str) -> str:
    from llm_gateway.providers import all_providers

    known = all_providers().get(provider)
    return known.title if known is not None else provider  # its plugin may be gone


def _called(found: dict[str, Any]) -> str:
    if found["name"] and found["session_id"]:
        return f"{found['name']} ({found['session_id']})"
    return str(found["name"] or found["session_id"])
