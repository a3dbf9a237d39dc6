"""Approvals: one row and one line of an audit trail for each, approved or denied.

The audit trail is ``approvals.jsonl`` in the gateway's directory, with the original's names. It is
only ever added to, one line with one write, and also where the recorder is off.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llm_gateway.store.text import clean, dumps

__all__ = ["FILE", "append", "by_id", "from_log", "in_log", "listed", "recorded"]

FILE = "approvals.jsonl"
# The audit trail's names and the columns that have the same.
_COLUMNS = {
    "id": "id",
    "requestId": "request_id",
    "ts": "datetime_utc",
    "cli": "provider",
    "operation": "operation",
    "access": "access",
    "policy": "policy",
    "status": "decision",
    "score": "score",
    "threshold": "threshold",
    "promptPreview": "prompt_preview",
    "promptSha256": "prompt_sha256",
}
_MOST_BYTES = 64 * 1024 * 1024


def recorded(conn: sqlite3.Connection, record: Mapping[str, Any]) -> None:
    """An approval's row; the request's own has the decision."""
    row = {column: record.get(name) for name, column in _COLUMNS.items()}
    row["rules_json"] = dumps(record.get("rules", []))
    rest = {name: record[name] for name in record if name not in (*_COLUMNS, "rules")}
    row["details_json"] = dumps(rest)
    marks = ", ".join("?" * len(row))
    conn.execute(
        f"INSERT OR IGNORE INTO approvals ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
    )


def append(folder: Path, record: Mapping[str, Any]) -> None:
    """Add a line to the audit trail. :raises OSError: where it cannot be written whole."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = (clean(dumps(dict(record))) + "\n").encode()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(folder / FILE, flags, 0o600)
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError("it was written in part only")
    finally:
        os.close(descriptor)


def listed(
    conn: sqlite3.Connection,
    *,
    limit: int = 50,
    provider: str | None = None,
    decision: str | None = None,
    since: str | None = None,
) -> list[dict[str, Any]]:
    """The records of the recorder, newest first."""
    wanted = {"provider = ?": provider, "decision = ?": decision, "datetime_utc >= ?": since}
    said = {sql: value for sql, value in wanted.items() if value is not None}
    where = f" WHERE {' AND '.join(said)}" if said else ""
    return _read(
        conn, f"{where} ORDER BY datetime_utc DESC, id DESC LIMIT ?", *said.values(), limit
    )


def by_id(conn: sqlite3.Connection, word: str) -> list[dict[str, Any]]:
    """The records whose id, or whose request's id, is this word or begins with it; two at most."""
    begins = " WHERE substr(id, 1, length(?)) = ? OR request_id = ? LIMIT 2"
    return _read(conn, begins, word, word, word)


def from_log(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of the audit trail, newest first; what is no record is left out."""
    try:
        with (folder / FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"id", "ts", "status"} <= record.keys():
            yield record


def in_log(
    folder: Path,
    *,
    limit: int = 50,
    provider: str | None = None,
    decision: str | None = None,
    since: str | None = None,
) -> list[dict[str, Any]]:
    """The same as ``listed`` from the audit trail alone."""
    found = [
        record
        for record in from_log(folder)
        if provider in (None, record.get("cli"))
        and decision in (None, record["status"])
        and (since is None or str(record["ts"]) >= since)
    ]
    return found[:limit]


def _read(conn: sqlite3.Connection, rest: str, *values: object) -> list[dict[str, Any]]:
    columns = ", ".join(_COLUMNS.values())
    rows = conn.execute(f"SELECT {columns}, rules_json, details_json FROM approvals{rest}", values)
    return [_record(row) for row in rows]


def _record(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row as the audit trail has it."""
    *told, rules, details = row
    return {
        **dict(zip(_COLUMNS, told, strict=True)),
        "rules": json.loads(rules or "[]"),
        **json.loads(details or "{}"),
    }
