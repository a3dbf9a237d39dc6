"""What Datasette's own pages say of our tables: descriptions, facets, canned queries, links."""

from __future__ import annotations

from typing import Any

from datasette.utils import tilde_encode
from markupsafe import Markup

from . import compat
from .page import ROOT
from .recorder import files
from .words import visible

__all__ = ["QUERIES", "TABLES", "canned", "describe", "linked", "metadata"]

TABLES: dict[str, compat.Table] = {
    "request_rows": {
        "description": "One row an ask of one caller, also when it was denied, reused or failed.",
        "facets": ["provider", "status"],
        "sort_desc": "datetime_utc",
        "columns": {},
    },
}
QUERIES: dict[str, dict[str, Any]] = {}


async def describe(datasette: Any) -> None:
    """Tell Datasette 1.0, once the recorder is served."""
    found = files(datasette)
    if found.recorder and not found.described:
        found.described = True
        await compat.describe(datasette, found.recorder, TABLES)
        await compat.add_queries(datasette, found.recorder, QUERIES)


def canned(datasette: Any, database: str) -> dict[str, Any]:
    """Canned queries for 0.65."""
    return dict(QUERIES) if database == files(datasette).recorder else {}


def metadata(datasette: Any) -> dict[str, Any]:
    """Descriptions for 0.65."""
    recorder = files(datasette).recorder
    return {"databases": {recorder: {"tables": TABLES}}} if recorder else {}


def linked(
    datasette: Any, database: str, table: str | None, column: str, value: Any, row: Any
) -> Any:
    """A cell that leads to the screen of what it names."""
    found = files(datasette)
    if database not in found.private or not isinstance(value, str) or not value:
        return None
    screen, target = _SCREENS.get(column), value
    if database == found.llm:
        screen = "turn" if (table, column) == ("turns", "model") else None
        target = _id(row)
    elif (table, column) == ("request_rows", "datetime_utc"):
        screen, target = "request", _id(row)
    if not screen or not target:
        return None
    address = datasette.urls.path(f"{ROOT}/{screen}/{tilde_encode(target)}")
    return Markup('<a href="{}">{}</a>').format(address, visible(value))


def _id(row: Any) -> str:
    """The row's id, where the page shows it."""
    return str(row["id"]) if "id" in row.keys() else ""  # noqa: SIM118


_SCREENS = {
    "request_id": "request",
    "job_id": "job",
    "session_id": "session",
    "parent_session_id": "session",
    "last_request_id": "request",
}
