"""Every difference between Datasette 0.65 and 1.0, told apart by what is there, never by number."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from datasette.database import Database

__all__ = [
    "COUNTS_TO_A_NUMBER",
    "READING",
    "Table",
    "add_queries",
    "describe",
    "is_root",
    "may",
    "modern",
    "rules",
    "sql_url",
]

Table = dict[str, Any]
# The method of a database through which every read goes.
COUNTS_TO_A_NUMBER = hasattr(Database, "count_limit")  # and says of more that it is more
READING = "_execute_fn" if hasattr(Database, "_execute_fn") else "execute_fn"


def modern(datasette: Any) -> bool:
    """Whether this is Datasette 1.0."""
    return hasattr(datasette, "allowed")


def is_root(datasette: Any, actor: dict[str, Any] | None) -> bool:
    """Whether the actor is root; 1.0 knows a root only where it was started with --root."""
    return bool(actor and actor.get("id") == "root" and getattr(datasette, "root_enabled", True))


async def may(datasette: Any, actor: dict[str, Any] | None, action: str, database: str) -> bool:
    """Whether Datasette itself lets the actor do something with a database."""
    if modern(datasette):
        from datasette.resources import DatabaseResource

        allowed = await datasette.allowed(
            action=action, resource=DatabaseResource(database), actor=actor
        )
    else:
        allowed = await datasette.permission_allowed(actor, action, database, default=True)
    return bool(allowed)


def rules(names: set[str], allow: bool, reason: str) -> Any:
    """What 1.0 wants to hear about databases: one row each, below which nothing is said."""
    from datasette.permissions import PermissionSQL

    parameters: dict[str, Any] = {"gateway_allow": int(allow), "gateway_reason": reason}
    selects = []
    for number, name in enumerate(sorted(names)):
        parameters[f"gateway_{number}"] = name
        selects.append(
            f"SELECT :gateway_{number} AS parent, NULL AS child,"
            " :gateway_allow AS allow, :gateway_reason AS reason"
        )
    return PermissionSQL(sql=" UNION ALL ".join(selects), params=parameters)


def is_about_databases(datasette: Any, action: str) -> bool:
    """Whether an action of 1.0 is one on a database or on what is in it."""
    known = datasette.actions.get(action)
    return bool(known and known.takes_parent)


def sql_url(
    datasette: Any, database: str, sql: str, parameters: dict[str, Any], format: str = ""
) -> str:
    """The page (or ``.json``, ``.csv``) on which Datasette runs a query with its parameters."""
    path = datasette.urls.database(database)
    if modern(datasette):
        path += f"/-/query{format}"
    else:
        path += format
    return f"{path}?{urlencode({'sql': sql, **parameters})}"


async def describe(datasette: Any, database: str, tables: dict[str, Table]) -> None:
    """Descriptions of tables and columns on 1.0; 0.65 asks the get_metadata hook instead."""
    _configure(datasette, database, tables)
    if not hasattr(datasette, "set_resource_metadata"):
        return
    for name, told in tables.items():
        await datasette.set_resource_metadata(database, name, "description", told["description"])
        for column, text in told.get("columns", {}).items():
            await datasette.set_column_metadata(database, name, column, "description", text)


def _configure(datasette: Any, database: str, tables: dict[str, Table]) -> None:
    """Facets, order and label of a table on 1.0, unless the operator says otherwise."""
    config = getattr(datasette, "config", None)
    if not modern(datasette) or not isinstance(config, dict):
        return
    known = config.setdefault("databases", {}).setdefault(database, {}).setdefault("tables", {})
    for name, told in tables.items():
        for key in ("facets", "sort_desc", "size", "label_column", "hidden"):
            if key in told:
                known.setdefault(name, {}).setdefault(key, told[key])


async def add_queries(datasette: Any, database: str, queries: dict[str, dict[str, Any]]) -> None:
    """Canned queries on 1.0; 0.65 asks the canned_queries hook instead."""
    if not hasattr(datasette, "add_query"):
        return
    for name, told in queries.items():
        await datasette.add_query(
            database,
            name,
            told["sql"],
            title=told.get("title"),
            description=told.get("description"),
            is_trusted=True,
            source="plugin",
            replace=True,
        )
