"""``llm gateway sessions``: what can be continued, ours and the vendors' own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from .inputs import SINCE
from .models import chosen
from .opening import recorder
from .output import json_option, local_time, print_json, print_table, say

if TYPE_CHECKING:
    from llm_gateway.providers.base import Provider
    from llm_gateway.providers.stored import StoredSession

__all__ = ["register", "stored_row"]

_HEAD = ("provider", "session", "name", "last used", "turns", "directory", "title", "conversation")


def register(group: click.Group) -> None:
    """Add the list of sessions to a group."""
    group.add_command(sessions)


@click.command()
@json_option
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, help="How many; default 20.")
@click.option("--provider", help="Only those of claude, codex, gemini, grok, …")
@click.option("--cwd", type=click.Path(), help="Only those of this directory.")
@click.option("--since", type=SINCE, help="Only those used since then: 90m, 2h, 7d, a date.")
@click.option("--discover", is_flag=True, help="List what the CLIs themselves keep, read-only.")
def sessions(
    as_json: bool,
    limit: int,
    provider: str | None,
    cwd: str | None,
    since: str | None,
    discover: bool,
) -> None:
    """List sessions, the last used first; * marks the active one of a provider.

    A session is the vendor's own conversation. Those here went through the gateway, or were adopted
    with "llm gateway session create NAME --id ID"; --discover lists every one that the CLIs keep,
    whoever began it. Continue one with -o session NAME or -o session_id ID.

    \b
    Example:
      llm gateway sessions --provider claude --since 7d
      llm gateway sessions --discover --cwd . --json
    """
    wanted = chosen(provider)
    folder = None if cwd is None else os.path.abspath(os.path.expanduser(cwd))
    if discover:
        rows = list(islice(_discovered(wanted, folder, since), limit))
        _mark_known(rows)
    else:
        rows = _recorded(provider, folder, since, limit)
    if as_json:
        print_json(rows)
        return
    print_table(_HEAD, [_line(row) for row in rows])
    if not rows and not discover:
        say("There are none yet; llm gateway sessions --discover lists what the CLIs keep.")


def _recorded(
    provider: str | None, cwd: str | None, since: str | None, limit: int
) -> list[dict[str, Any]]:
    with recorder() as conn:
        if conn is None:
            return []
        from llm_gateway.store import session_names

        return session_names.listed(conn, provider=provider, cwd=cwd, since=since, limit=limit)


def _discovered(
    wanted: list[Provider], cwd: str | None, since: str | None
) -> Iterator[dict[str, Any]]:
    """What is in the vendors' stores, newest first; a file is read when its turn comes."""
    stores = [provider.stored_sessions(os.environ) for provider in wanted]
    for provider, store in zip(wanted, stores, strict=True):
        if store is None and len(wanted) == 1:
            say(f"Where {provider.title} keeps its sessions is not known.")
    found: Iterable[StoredSession] = merge(*filter(None, stores), key=lambda s: -s.used)
    here = cwd and os.path.realpath(cwd)
    for session in found:
        row = stored_row(session)
        if since is not None and row["last_used_at"] < since:
            return
        if here is None or (session.cwd and os.path.realpath(session.cwd) == here):
            yield row


def stored_row(session: StoredSession) -> dict[str, Any]:
    """A session of a vendor's as the list has it."""
    from llm_gateway.store.text import iso

    return {
        "provider": session.provider,
        "session_id": session.session_id,
        "name": None,
        "cwd": session.cwd,
        "title": session.title,
        "turns": session.turns,
        "last_used_at": iso(session.used),
        "path": session.path,
        "known": False,
        "active": False,
        "conversation": None,
    }


def _mark_known(rows: list[dict[str, Any]]) -> None:
    """Say which of the vendors' sessions are among ours as well, and what they are called."""
    with recorder() as conn:
        if conn is None or not rows:
            return
        from llm_gateway.store import session_names

        known = session_names.by_ids(conn, [row["session_id"] for row in rows])
    for row in rows:
        ours = known.get((row["provider"], row["session_id"]))
        if ours is not None:
            row.update({key: ours[key] for key in ("name", "active", "conversation")}, known=True)


def _line(row: dict[str, Any]) -> list[object]:
    return [
        row["provider"],
        f"{row['session_id'] or '(not begun)'}{' *' if row['active'] else ''}",
        row["name"] or "",
        local_time(row["last_used_at"]),
        row["turns"],
        row["cwd"] or "",
        row["title"] or "",
        row["conversation"] or "",
    ]
