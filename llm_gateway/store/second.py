"""The second schema: rollups, search, breaker changes, and what screens look rows up by.

Partial indexes hold only what is rare, so that an ordinary request pays for none of them. A query
uses one where it says the index's own condition beside its parameter:
``outcome <> 'ran' AND outcome = ?``.
"""

from __future__ import annotations

import sqlite3

from llm_gateway.store import rollups, schema, search
from llm_gateway.store.text import preview, prompt_hash

__all__ = ["apply"]

_COLUMNS = (
    ("request_rows", "asker TEXT"),  # the process that waits: host, boot, namespace, pid, start
    ("request_rows", "prompt_preview TEXT"),  # the beginning, on one line; NULL where not kept
    ("request_rows", "prompt_hash TEXT"),  # the same for the same prompt
    ("request_rows", "prompt_chars_asked INTEGER"),  # before optimisation, where there was any
    ("request_rows", "response_chars_raw INTEGER"),
    ("bodies", "prompt_asked TEXT"),
    ("bodies", "response_raw TEXT"),
    ("job_rows", "logged_at TEXT"),  # its answer was written to llm's own logs
    ("job_rows", "reusable INTEGER NOT NULL DEFAULT 0"),  # made from nothing but the workspace
    ("breakers", "probe_owner TEXT"),  # the probe's process and lease, in the machine's own seconds
    ("approvals", "prompt_sha256 TEXT"),
    ("approvals", "details_json TEXT"),  # what else the audit trail has of it
)

_BREAKER_CHANGES = """
CREATE TABLE breaker_changes (
    seq INTEGER PRIMARY KEY,
    datetime_utc TEXT NOT NULL,
    scope TEXT NOT NULL,
    provider TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    failures INTEGER NOT NULL,
    last_error TEXT
)
"""

_CHANGED = (
    "BEGIN INSERT INTO breaker_changes"
    " (datetime_utc, scope, provider, from_state, to_state, failures, last_error)"
    " VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), NEW.scope, NEW.provider, {before}, NEW.state,"
    " NEW.failures, NEW.last_error); END"
)

_INDEXES = (
    "CREATE INDEX request_rows_cwd ON request_rows(cwd, datetime_utc)",
    "CREATE INDEX request_rows_prompt ON request_rows(prompt_hash, datetime_utc)"
    " WHERE prompt_hash IS NOT NULL",
    "CREATE INDEX request_rows_category ON request_rows(error_category, datetime_utc)"
    " WHERE error_category IS NOT NULL",
    "CREATE INDEX request_rows_outcome ON request_rows(outcome, datetime_utc)"
    " WHERE outcome <> 'ran'",
    "CREATE INDEX request_rows_access ON request_rows(access, datetime_utc) WHERE access <> 'read'",
    "CREATE INDEX request_rows_retried ON request_rows(datetime_utc) WHERE retry_count > 0",
    "CREATE INDEX request_rows_cost ON request_rows(cost_usd, datetime_utc)"
    " WHERE cost_usd IS NOT NULL",
    "CREATE INDEX request_rows_duration ON request_rows(duration_ms, datetime_utc)"
    " WHERE duration_ms IS NOT NULL",
    "CREATE INDEX approvals_decision ON approvals(decision, datetime_utc)",
    "CREATE INDEX breaker_changes_time ON breaker_changes(datetime_utc)",
)

_VIEWS = (
    "DROP VIEW requests",
    schema.REQUESTS_VIEW.replace(
        "r.source\n",
        "r.source,\n"
        "    r.prompt_preview, r.prompt_hash, r.prompt_chars_asked, r.response_chars_raw,\n"
        "    (SELECT b.prompt_asked FROM bodies b WHERE b.id = r.id) AS prompt_asked,\n"
        "    (SELECT b.response_raw FROM bodies b WHERE b.id = r.id) AS response_raw\n",
    ),
    "DROP VIEW jobs",
    schema.JOBS_VIEW.replace("j.source\n", "j.source, j.logged_at\n"),
)

_STATEMENTS: tuple[str, ...] = (
    _BREAKER_CHANGES,
    "CREATE TRIGGER breakers_began AFTER INSERT ON breakers WHEN NEW.state <> 'closed' "
    + _CHANGED.format(before="'closed'"),
    "CREATE TRIGGER breakers_changed AFTER UPDATE OF state ON breakers"
    " WHEN OLD.state <> NEW.state " + _CHANGED.format(before="OLD.state"),
    *_VIEWS,
    *rollups.STATEMENTS,
    *search.STATEMENTS,
)


def apply(conn: sqlite3.Connection) -> None:
    """Bring a file of the first schema to the second; its requests are counted, then indexed later.

    A million requests take about half a minute, in the one transaction of the migration.
    """
    for table, column in _COLUMNS:
        _add_column(conn, table, column)
    for statement in _STATEMENTS:
        conn.execute(statement)
    _fill_columns(conn)
    rollups.fill(conn)
    search.fill(conn)
    search.begin(conn)
    for index in _INDEXES:
        conn.execute(index)


def _add_column(conn: sqlite3.Connection, table: str, column: str) -> None:
    """Where it is missing: some files of the first schema have a few of them."""
    names = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
    if column.partition(" ")[0] not in names:
        conn.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def _fill_columns(conn: sqlite3.Connection) -> None:
    prompts = conn.execute(
        "SELECT prompt, request_rows.id FROM request_rows JOIN bodies USING (id)"
        " WHERE keep_bodies AND prompt IS NOT NULL"
    )
    conn.executemany(
        "UPDATE request_rows SET prompt_preview = ?, prompt_hash = ? WHERE id = ?",
        ((preview(prompt), prompt_hash(prompt), id) for prompt, id in prompts),
    )
