"""Makes a database file as the original llm-cli-gateway 1.4.0 wrote it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

SCHEMA = """
CREATE TABLE _migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL);
INSERT INTO _migrations VALUES (1, '2026-01-01T00:00:00.000Z');
CREATE TABLE requests (
    id TEXT PRIMARY KEY, cli TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
    system TEXT, response TEXT, session_id TEXT, duration_ms INTEGER,
    datetime_utc TEXT NOT NULL, input_tokens INTEGER, output_tokens INTEGER
);
CREATE TABLE gateway_metadata (
    request_id TEXT PRIMARY KEY REFERENCES requests(id), retry_count INTEGER DEFAULT 0,
    circuit_breaker_state TEXT, cost_usd REAL, approval_decision TEXT,
    optimization_applied INTEGER DEFAULT 0, thinking_blocks TEXT, exit_code INTEGER,
    error_message TEXT, async_job_id TEXT, status TEXT NOT NULL DEFAULT 'started'
);
CREATE INDEX idx_requests_datetime ON requests(datetime_utc);
CREATE INDEX idx_requests_model ON requests(model);
CREATE INDEX idx_requests_cli ON requests(cli);
CREATE INDEX idx_requests_session ON requests(session_id);
CREATE INDEX idx_metadata_status ON gateway_metadata(status);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, correlation_id TEXT NOT NULL, request_key TEXT NOT NULL,
    cli TEXT NOT NULL, args_json TEXT NOT NULL, output_format TEXT, status TEXT NOT NULL,
    exit_code INTEGER, stdout TEXT, stderr TEXT, output_truncated INTEGER NOT NULL DEFAULT 0,
    error TEXT, started_at TEXT NOT NULL, finished_at TEXT, pid INTEGER, expires_at TEXT NOT NULL
);
CREATE INDEX idx_jobs_request_key ON jobs(request_key);
CREATE INDEX idx_jobs_status ON jobs(status);
CREATE INDEX idx_jobs_expires_at ON jobs(expires_at);
CREATE INDEX idx_jobs_request_key_finished ON jobs(request_key, finished_at);
"""

REQUESTS = [
    (
        "corr-1",
        "claude",
        "sonnet",
        "why?",
        "be brief",
        "because",
        "s-1",
        1500,
        "2026-01-02T03:04:05.678Z",
        10,
        20,
    ),
    (
        "corr-2",
        "codex",
        "gpt-5.4",
        "fix it",
        None,
        "Error: no",
        None,
        20,
        "2026-01-02T03:05:00.000Z",
        None,
        None,
    ),
    (
        "corr-3",
        "gemini",
        "default",
        "slow one",
        None,
        None,
        None,
        None,
        "2026-01-02T03:06:00.000Z",
        None,
        None,
    ),
]
METADATA = [
    ("corr-1", 0, "closed", 0.25, None, 1, '["hm"]', 0, None, None, "completed"),
    (
        "corr-2",
        0,
        "closed",
        None,
        "approved",
        0,
        None,
        1,
        "Error: key sk-ant-abcdefgh12345678",
        None,
        "failed",
    ),
    ("corr-3", 0, "closed", None, None, 0, None, None, None, None, "started"),
]
FOREVER = "9999-12-31T23:59:59.999Z"
JOBS = [
    (
        "job-1",
        "corr-9",
        "a" * 64,
        "claude",
        '["-p", "hello"]',
        "stream-json",
        "completed",
        0,
        "out",
        "err",
        0,
        None,
        "2026-01-03T00:00:00.000Z",
        "2026-01-03T00:01:00.000Z",
        77,
        "2026-02-02T00:01:00.000Z",
    ),
    (
        "job-2",
        "corr-10",
        "b" * 64,
        "codex",
        '["exec"]',
        None,
        "running",
        None,
        "part",
        "",
        0,
        None,
        "2026-01-03T00:00:00.000Z",
        None,
        78,
        FOREVER,
    ),
]


def make_original(path: Path, *, keep_log: bool = False) -> Path:
    """A file with three requests and two jobs; with ``keep_log`` they are still in its -wal."""
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.executescript(SCHEMA)
    _fill(conn, "requests", REQUESTS)
    _fill(conn, "gateway_metadata", METADATA)
    _fill(conn, "jobs", JOBS)
    conn.commit()
    if keep_log:
        _keep_log(path, conn)
    conn.close()
    return path


def _fill(conn: sqlite3.Connection, table: str, rows: list[tuple[object, ...]]) -> None:
    marks = ", ".join("?" * len(rows[0]))
    conn.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _keep_log(path: Path, conn: sqlite3.Connection) -> None:
    """As after kill -9: closing in order would empty the log."""
    kept = {name: Path(name).read_bytes() for name in (str(path), f"{path}-wal")}
    conn.close()
    for name, content in kept.items():
        Path(name).write_bytes(content)
