"""Brings the rows of an original llm-cli-gateway file in: marked, kept for ever, never twice.

The original's file is not touched: without a write-ahead log it is opened as immutable; with one,
file and log are copied first, since reading the log would write beside it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_gateway.policy.redact import redact, redact_argv
from llm_gateway.store import search
from llm_gateway.store.connection import write
from llm_gateway.store.text import dumps, iso, preview, prompt_hash

__all__ = ["SOURCE", "NotAnOriginal", "import_file"]

SOURCE = "original-1.4.0"
_BATCH = 500
_STATES = ("completed", "failed", "canceled", "orphaned")
_FOR_EVER = "9999-12-31T23:59:59.999Z"
_REQUESTS = (
    "SELECT * FROM requests LEFT JOIN gateway_metadata"
    " ON gateway_metadata.request_id = requests.id ORDER BY requests.rowid"
)


class NotAnOriginal(Exception):
    """The file is not what the original wrote; the text is one sentence."""


def import_file(path: Path, conn: sqlite3.Connection) -> dict[str, int]:
    """Take over what is not there yet: how many requests and jobs came, how many were there.

    Ids are kept where they are free. A row that the original left at ``started`` or ``running``
    becomes ``orphaned``: its process is gone and nobody knows what it did.
    """
    counts = {"requests": 0, "jobs": 0, "already_there": 0}
    with _opened(path) as original:
        with _reading():
            tables = _tables(original)
        if "requests" in tables:
            query = _REQUESTS if "gateway_metadata" in tables else "SELECT * FROM requests"
            _copy(original.execute(query), conn, _request, counts, "requests")
        if "jobs" in tables:
            jobs = original.execute("SELECT * FROM jobs ORDER BY rowid")
            _copy(jobs, conn, _job, counts, "jobs")
    search.take_in(conn)
    return counts


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    log = Path(f"{path}-wal")
    if not path.is_file():
        raise NotAnOriginal(f"There is no file {path}.")
    with tempfile.TemporaryDirectory(prefix="llm-gateway-import-") as directory:
        quiet = not log.exists() or log.stat().st_size == 0
        source = path if quiet else _copied(path, log, Path(directory))
        mode = "mode=ro&immutable=1" if quiet else "mode=rw"
        conn = sqlite3.connect(f"{source.resolve().as_uri()}?{mode}", uri=True)
        conn.text_factory = lambda text: text.decode("utf-8", "replace")
        try:
            yield conn
        finally:
            conn.close()


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise NotAnOriginal(f"The file could not be read: {error}.") from error


def _copied(path: Path, log: Path, directory: Path) -> Path:
    """File and log as they were at one moment: copied again where they changed meanwhile."""
    for _ in range(5):
        before = _stamps(path, log)
        copy = Path(shutil.copyfile(path, directory / "original.db"))
        if log.exists():
            shutil.copyfile(log, f"{copy}-wal")
        if _stamps(path, log) == before:
            return copy
    raise NotAnOriginal(f"{path} is being written; stop the original gateway first.")


def _stamps(*paths: Path) -> list[tuple[int, int]]:
    found = [path.stat() for path in paths if path.exists()]
    return [(stat.st_mtime_ns, stat.st_size) for stat in found]


def _tables(original: sqlite3.Connection) -> set[str]:
    """The tables that hold what we want; raises where they are not the original's."""
    found = {
        name
        for name, wanted in (
            ("requests", {"id", "cli", "model", "prompt", "datetime_utc"}),
            ("gateway_metadata", {"request_id", "status"}),
            ("jobs", {"id", "cli", "args_json", "status", "started_at", "stdout"}),
        )
        if wanted <= {row[1] for row in original.execute(f"PRAGMA table_info({name})")}
    }
    mark = original.execute("PRAGMA application_id").fetchone()[0]
    if not found & {"requests", "jobs"} or mark:
        raise NotAnOriginal("The file is not one that the original llm-cli-gateway wrote.")
    return found


def _copy(
    cursor: sqlite3.Cursor,
    conn: sqlite3.Connection,
    take: Callable[[sqlite3.Connection, Mapping[str, Any]], bool],
    counts: dict[str, int],
    name: str,
) -> None:
    columns = [column[0] for column in cursor.description]
    while batch := _batch(cursor):
        with write(conn):
            for row in batch:
                came = take(conn, dict(zip(columns, row, strict=True)))
                counts[name if came else "already_there"] += 1


def _batch(cursor: sqlite3.Cursor) -> list[tuple[Any, ...]]:
    with _reading():
        return cursor.fetchmany(_BATCH)


def _request(conn: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
    said = (row["cli"], row["datetime_utc"], row["prompt"])
    own = _free_id(conn, "request_rows", "datetime_utc", str(row["id"]), row["datetime_utc"], said)
    if own is None:
        return False
    error = row.get("error_message")
    values = {
        "id": own,
        "provider": row["cli"],
        "model": row["model"],
        "requested_model": row["model"],
        "status": _state(row.get("status")),
        "datetime_utc": row["datetime_utc"],
        "finished_at": _later(row["datetime_utc"], row.get("duration_ms")),
        "duration_ms": row.get("duration_ms"),
        "job_id": row.get("async_job_id"),
        "session_id": row.get("session_id"),
        "correlation_id": row["id"],
        "input_tokens": row.get("input_tokens"),
        "output_tokens": row.get("output_tokens"),
        "cost_usd": row.get("cost_usd"),
        "cost_basis": None if row.get("cost_usd") is None else "reported",
        "error_message": None if error is None else redact(str(error)),
        "exit_code": row.get("exit_code"),
        "retry_count": row.get("retry_count") or 0,
        "breaker_state": row.get("circuit_breaker_state") or "closed",
        "approval_decision": row.get("approval_decision"),
        "optimization_applied": row.get("optimization_applied") or 0,
        "prompt_chars": len(row["prompt"] or ""),
        "prompt_preview": preview(row["prompt"] or ""),
        "prompt_hash": prompt_hash(row["prompt"] or ""),
        "response_chars": len(row.get("response") or ""),
        "source": SOURCE,
    }
    body = {name: row.get(name) for name in ("prompt", "system", "response")}
    _insert(conn, "request_rows", {**values, "status": "running"})
    _insert(conn, "bodies", {"id": own, **body, "thinking": row.get("thinking_blocks")})
    # Then it ends, as any other: that is what counts it and lets it be found.
    conn.execute("UPDATE request_rows SET status = ? WHERE id = ?", (values["status"], own))
    return True


def _job(conn: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
    said = (row["cli"], row["started_at"], row["args_json"])
    own = _free_id(conn, "job_rows", "started_at", str(row["id"]), row["started_at"], said)
    if own is None:
        return False
    error, stderr = row.get("error"), row.get("stderr")
    values = {
        "id": own,
        "body_id": f"job:{own}",
        "kind": "worker",
        "provider": row["cli"],
        "status": _state(row["status"]),
        "key": row.get("request_key"),
        "output_format": row.get("output_format") or "text",
        "args_json": _arguments(row["args_json"]),
        "exit_code": row.get("exit_code"),
        "output_truncated": row.get("output_truncated") or 0,
        "error_message": None if error is None else redact(str(error)),
        "queued_at": row["started_at"],
        "started_at": row["started_at"],
        "finished_at": row.get("finished_at"),
        "expires_at": row.get("expires_at") or _FOR_EVER,
        "pid": row.get("pid"),
        "correlation_id": row.get("correlation_id"),
        "source": SOURCE,
    }
    body = {"id": f"job:{own}", "response": row["stdout"]}
    _insert(conn, "job_rows", values)
    _insert(conn, "bodies", {**body, "stderr": None if stderr is None else redact(str(stderr))})
    return True


def _free_id(
    conn: sqlite3.Connection,
    table: str,
    column: str,
    wanted: str,
    moment: str,
    said: tuple[Any, ...],
) -> str | None:
    """The wanted id, or another one where somebody has it; None where this very row is there."""
    import hashlib

    digest = hashlib.sha256(dumps(said).encode()).hexdigest()[:12]
    for own in (wanted, f"{wanted}~{digest}"):
        there = conn.execute(
            f"SELECT {column}, source FROM {table} WHERE id = ?", (own,)
        ).fetchone()
        if there is None:
            return own
        if there == (moment, SOURCE):
            return None
    return None


def _state(status: Any) -> str:
    return str(status) if status in _STATES else "orphaned"


def _later(moment: str, milliseconds: int | None) -> str | None:
    """When it ended, as far as the original tells."""
    if milliseconds is None:
        return None
    try:
        begun = time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    import calendar

    fraction = float(f"0.{moment[20:23]}") if moment[20:23].isdigit() else 0.0
    return iso(calendar.timegm(begun) + fraction + milliseconds / 1000 + 0.0005)


def _arguments(text: str) -> str:
    try:
        return dumps(redact_argv(str(item) for item in json.loads(text)))
    except (ValueError, TypeError):
        return redact(str(text))


def _insert(conn: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    conn.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    )
