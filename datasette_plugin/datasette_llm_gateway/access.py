"""Who may see the recorder and llm's log: nobody but root and those whom the operator names.

An operator says ``public: true`` or ``allow: {id: …}`` in this plugin's configuration. Nobody may
write to either file through Datasette, root included; to cancel a job is a request of its own.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from datasette.utils import actor_matches_allow

from . import compat
from .recorder import config, files

__all__ = ["Actor", "granted", "is_from_here", "may_see", "new_rule", "old_rule"]

Actor = dict[str, Any] | None

READING = frozenset(
    {"view-database", "view-table", "view-query", "view-database-download", "execute-sql"}
)
# What 1.0 keeps in a file of its own and not in ours.
_ABOUT_QUERIES = frozenset({"store-query", "update-query", "delete-query", "set-column-type"})


def granted(datasette: Any, actor: Actor) -> bool:
    """Whether the actor is root or named by the operator: who may also act."""
    if actor is None:
        return False
    allow = config(datasette).get("allow")
    named = allow is not None and bool(actor_matches_allow(actor, allow))
    return named or compat.is_root(datasette, actor)


def may_see(datasette: Any, actor: Actor) -> bool:
    """Whether the actor may read what is recorded."""
    return config(datasette).get("public") is True or granted(datasette, actor)


def old_rule(datasette: Any, actor: Actor, action: str, resource: Any) -> bool | None:
    """The answer that 0.65 wants: False for what is not allowed, None for no opinion."""
    database = resource if isinstance(resource, str) or resource is None else resource[0]
    if database not in files(datasette).private:
        return None
    if action in READING:
        return None if may_see(datasette, actor) else False
    return None if action in _ABOUT_QUERIES else False


def new_rule(datasette: Any, actor: Actor, action: str) -> Any:
    """The rows that 1.0 wants; a rule on a database beats root's, which is on everything."""
    private = files(datasette).private
    if not private or not compat.is_about_databases(datasette, action):
        return None
    if action in READING:
        seen = may_see(datasette, actor)
        return compat.rules(private, seen, "the flight recorder is private" if not seen else "")
    if action in _ABOUT_QUERIES:
        return None
    return compat.rules(private, False, "the flight recorder is read-only")


def is_from_here(request: Any) -> bool:
    """Whether a browser says that a POST comes from a page of this very host."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return bool(site == "same-origin")
    return bool(origin != "null" and urlsplit(origin).netloc == request.headers.get("host"))
