"""What Datasette's own pages say of our tables: descriptions, facets, canned queries, links."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasette.utils import tilde_encode
from markupsafe import Markup

from . import compat
from .canned import QUERIES
from .page import ROOT
from .recorder import files
from .words import inline

__all__ = ["QUERIES", "TABLES", "canned", "describe", "linked", "metadata"]

_FORMS: dict[str, dict[str, Any]] = {
    "request_rows": {
        "facets": ["provider", "status"],
        "sort_desc": "datetime_utc",
        "label_column": "prompt_preview",
    },
    "job_rows": {"facets": ["status"], "sort_desc": "started_at"},
    "sessions": {"facets": ["provider"], "sort_desc": "last_used_at", "label_column": "title"},
    "approvals": {"facets": ["decision", "policy"], "sort_desc": "datetime_utc"},
    "breaker_changes": {"facets": ["provider"], "sort_desc": "datetime_utc"},
    "daily": {"facets": ["provider"], "sort_desc": "day"},
    "hourly": {"sort_desc": "hour"},
    "search_pending": {"hidden": True},
    "duration_bounds": {"hidden": True},
    "meta": {"hidden": True},
}
_VIEWS = {
    "requests": "Requests with their bodies, as queries written for llm-cli-gateway expect them.",
    "jobs": "Jobs with their output, as queries written for llm-cli-gateway expect them.",
    "gateway_metadata": "What llm-cli-gateway kept of each request beside its words.",
}


def _tables() -> dict[str, compat.Table]:
    """What docs/recorder.md says of tables and columns, and how Datasette shows them."""
    told = json.loads((Path(__file__).parent / "tables.json").read_text(encoding="utf-8"))
    for name, period in (("daily", "day"), ("daily_durations", "day")):
        like = told[name.replace("daily", "hourly")]
        columns = {key: text for key, text in like["columns"].items() if key != "hour"}
        told[name] = {**like, "columns": {period: "UTC, `2026-01-02`", **columns}}
    return {
        **{
            name: {
                "description": _plain(table["description"]),
                "columns": {key: _plain(text) for key, text in table["columns"].items() if text},
                **_FORMS.get(name, {}),
            }
            for name, table in told.items()
        },
        **{name: {"description": text} for name, text in _VIEWS.items()},
        "_sqlite_migrations": {"description": "How old this file is.", "hidden": True},
    }


def _plain(text: str) -> str:
    return text.replace("`", "").replace("see below", "see docs/recorder.md")


TABLES: dict[str, compat.Table] = _tables()


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
    found, shown = files(datasette), value
    if isinstance(value, dict):  # a foreign key, with the label of its row
        value, shown = value.get("value"), value.get("label") or value.get("value")
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
    return Markup('<a href="{}">{}</a>').format(address, inline(shown))


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
