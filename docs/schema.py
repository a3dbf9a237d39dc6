"""What every column of the recorder means; the rest of docs/recorder.md is read from the schema."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from tables import _table as table

__all__ = ["event_table", "index_table", "schema_sections"]

# The Datasette plugin shows the same words beside the tables themselves, so they lie with it.
_WORDS = Path(__file__).parent.parent / "datasette_plugin/datasette_llm_gateway/tables.json"
TABLES: dict[str, tuple[str, dict[str, str]]] = {
    name: (told["description"], told["columns"])
    for name, told in json.loads(_WORDS.read_text(encoding="utf-8")).items()
}
TABLES["daily"] = (
    "The same by day (UTC).",
    {"day": "UTC, `2026-01-02`", **{k: v for k, v in TABLES["hourly"][1].items() if k != "hour"}},
)
TABLES["daily_durations"] = (
    "The same by day.",
    {"day": "", **{k: v for k, v in TABLES["hourly_durations"][1].items() if k != "hour"}},
)

EVENTS = (
    ("session", "session_id, model, cli_version"),
    ("text", "text, message (number of the CLI's message)"),
    ("reasoning", "text"),
    ("tool_call", "id, name, arguments"),
    ("tool_result", "id, name, output, is_error, refused"),
    ("usage", "input, output, cache_read, cache_write, reasoning, cost_usd, cost_basis"),
    ("notice", "notice (retry, warning, noise), text, seconds"),
    ("done", "chars, session_id, model, stop_reason, cli_version, usage, refused_actions, …"),
)


def schema_sections() -> str:
    """Every table with its columns; a column without a meaning here is an error."""
    conn = _newest()
    parts = []
    for name, (what, meanings) in sorted(TABLES.items(), key=lambda item: _place(item[0])):
        columns = [(row[1], row[2]) for row in conn.execute(f"PRAGMA table_info({name})")]
        if [column for column, _ in columns] != list(meanings):
            told, there = set(meanings), {column for column, _ in columns}
            raise SystemExit(f"docs/schema.py: {name}: {sorted(told ^ there) or 'the order'}")
        rows = [(f"`{column}`", type.lower(), meanings[column]) for column, type in columns]
        parts.append(f"### {name}\n\n{what}\n\n{table(('column', 'type', 'meaning'), rows)}")
    left = {name for (name,) in conn.execute(_OURS)} - set(TABLES)
    if left:
        raise SystemExit(f"docs/schema.py: no word about {sorted(left)}")
    return "\n\n".join(parts)


def index_table() -> str:
    """What rows are looked up by."""
    rows = []
    for name, on, sql in _newest().execute(
        "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        " ORDER BY tbl_name, name"
    ):
        columns, _, where = sql.partition("(")[2].partition(" WHERE ")
        rows.append((on, f"`{name}`", columns.rstrip(")"), f"`{where}`" if where else ""))
    return table(("table", "index", "columns", "only where"), rows)


def event_table() -> str:
    """What the data of an event has, by kind."""
    return table(("kind", "data"), ((f"`{kind}`", data) for kind, data in EVENTS))


_OURS = (
    "SELECT name FROM sqlite_master WHERE type = 'table'"
    " AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'bodies_fts%'"
)


def _place(name: str) -> tuple[int, str]:
    order: Iterable[str] = (*TABLES,)
    base = name.replace("daily", "hourly")
    return list(order).index(base), "1" if name.startswith("daily") else "0"


def _newest() -> sqlite3.Connection:
    from llm_gateway.store import schema, second

    conn = sqlite3.connect(":memory:", isolation_level=None)
    for statement in schema.FIRST:
        conn.execute(statement)
    second.apply(conn)
    for statement in schema.THIRD:
        conn.execute(statement)
    return conn
