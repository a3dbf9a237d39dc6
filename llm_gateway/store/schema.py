"""The tables and views of the recorder, as SQL with the reasons. ``second.py`` adds to them.

Bodies lie apart, so that a list, a count or a facet over requests never reads prompts. Yet SELECTs
written for the original find ``requests.prompt`` and ``jobs.stdout``: a table cannot borrow a
column, so ``requests``, ``jobs`` and ``gateway_metadata`` are views over ``request_rows``,
``job_rows`` and ``bodies``. Their bodies are scalar subqueries: a LEFT JOIN on a unique key is left
out of a list where it is not needed, but not out of a count or a GROUP BY. So the views cost what
the tables cost. Write to the tables, read either.

``request_rows.id`` is ours and never the caller's correlation id: the original used that as its
key, and a caller who said it twice overwrote an old answer.

``events`` and ``attempts`` are WITHOUT ROWID: one tree, in the order in which they are read, no
second index to keep. Their keys stay text so that they need no join. ``bodies.seq`` is a declared
integer key because a full-text index with external content needs one that VACUUM keeps.
Terminal states: completed, failed, canceled, timed_out, orphaned.
"""

from __future__ import annotations

__all__ = ["FIRST", "JOBS_VIEW", "REQUESTS_VIEW"]

_REQUESTS = """
CREATE TABLE request_rows (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,             -- as resolved, else as asked, else 'default'
    requested_model TEXT,
    resolved_model TEXT,
    status TEXT NOT NULL,            -- a job state
    outcome TEXT NOT NULL DEFAULT 'ran',  -- ran, joined, collected, reused, denied
    datetime_utc TEXT NOT NULL,
    finished_at TEXT,
    duration_ms INTEGER,
    job_id TEXT REFERENCES job_rows(id),
    session_id TEXT,
    parent_session_id TEXT,
    correlation_id TEXT,
    turn_id TEXT,                    -- llm's turns.id
    thread_id TEXT,                  -- llm's threads.id
    access TEXT,
    cwd TEXT,
    add_dirs TEXT,                   -- JSON array
    options_json TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost_usd REAL,
    cost_basis TEXT,
    stop_reason TEXT,
    error_category TEXT,
    error_message TEXT,
    exit_code INTEGER,
    retry_count INTEGER NOT NULL DEFAULT 0,
    refused_actions INTEGER NOT NULL DEFAULT 0,
    tools_run TEXT,                  -- JSON array of names
    facts_json TEXT,
    cli_version TEXT,
    attachments INTEGER NOT NULL DEFAULT 0,
    prompt_chars INTEGER,
    response_chars INTEGER,
    breaker_state TEXT NOT NULL DEFAULT 'closed',
    approval_decision TEXT,
    optimization_applied INTEGER NOT NULL DEFAULT 0,
    keep_bodies INTEGER NOT NULL DEFAULT 1,
    source TEXT                      -- NULL for ours, else the file kind that it was imported from
)
"""

_BODIES = """
CREATE TABLE bodies (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,         -- the request's, or the imported job's
    prompt TEXT,
    system TEXT,
    response TEXT,
    messages TEXT,                   -- JSON array, where the answer was more than one message
    stderr TEXT,                     -- redacted tail
    thinking TEXT,                   -- JSON array; imported rows only, ours is in events
    attachments TEXT,                -- JSON array of {type, path, url, bytes}
    schema TEXT                      -- JSON
)
"""

_JOBS = """
CREATE TABLE job_rows (
    id TEXT PRIMARY KEY,
    request_id TEXT REFERENCES request_rows(id),  -- the first asker
    body_id TEXT REFERENCES bodies(id),
    parent_job_id TEXT,
    kind TEXT NOT NULL DEFAULT 'foreground',      -- foreground, submitted, durable
    provider TEXT NOT NULL,
    model TEXT,
    status TEXT NOT NULL,
    key TEXT,
    head TEXT,
    fingerprint TEXT,
    access TEXT,
    cwd TEXT,
    spec_json TEXT,                  -- what a worker needs to run it
    output_format TEXT NOT NULL DEFAULT 'text',
    args_json TEXT,                  -- last attempt's argv without the program
    session_id TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER,
    output_truncated INTEGER NOT NULL DEFAULT 0,
    error_category TEXT,
    error_message TEXT,
    queued_at TEXT,
    started_at TEXT NOT NULL,        -- when it was queued, until it runs
    finished_at TEXT,
    delivered_at TEXT,
    cancel_requested_at TEXT,
    expires_at TEXT NOT NULL DEFAULT '9999-12-31T23:59:59.999Z',
    pruned_at TEXT,
    pid INTEGER,
    pid_start INTEGER,
    owner_host TEXT,
    owner_boot_id TEXT,
    owner_pid_ns TEXT,
    owner_pid INTEGER,
    owner_pid_start INTEGER,
    heartbeat_at TEXT,
    lease_until TEXT,
    keep_bodies INTEGER NOT NULL DEFAULT 1,
    correlation_id TEXT,
    source TEXT
)
"""

_ATTEMPTS = """
CREATE TABLE attempts (
    job_id TEXT NOT NULL REFERENCES job_rows(id),
    n INTEGER NOT NULL,
    argv_json TEXT,                  -- redacted
    env_names TEXT,                  -- JSON array; never values
    cwd TEXT,
    pid INTEGER,
    pid_start INTEGER,
    session_plan TEXT,               -- new, resume, fork, latest
    exit_code INTEGER,
    signal INTEGER,
    error_category TEXT,
    error_message TEXT,
    started_at TEXT NOT NULL,
    first_output_ms INTEGER,
    ended_at TEXT,
    duration_ms INTEGER,
    wait_ms INTEGER,                 -- backoff before this attempt
    PRIMARY KEY (job_id, n)
) WITHOUT ROWID
"""

_EVENTS = """
CREATE TABLE events (
    job_id TEXT NOT NULL REFERENCES job_rows(id),
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    t INTEGER NOT NULL,              -- milliseconds since the attempt began
    kind TEXT NOT NULL,
    data TEXT NOT NULL,              -- JSON
    PRIMARY KEY (job_id, seq)
) WITHOUT ROWID
"""

_SESSIONS = """
CREATE TABLE sessions (
    provider TEXT NOT NULL,
    session_id TEXT NOT NULL,
    thread_id TEXT,
    cwd TEXT,
    model TEXT,                      -- as asked; NULL is the CLI's default
    resolved_model TEXT,
    access TEXT,
    add_dirs TEXT,                   -- JSON array
    last_turn_id TEXT,
    last_request_id TEXT REFERENCES request_rows(id),
    turns INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    last_used_at TEXT NOT NULL,
    title TEXT,
    cost_total_usd REAL,             -- the CLI's running sum, to tell this turn's
    usage_totals TEXT,               -- JSON, the CLI's running sums
    parent_session_id TEXT,
    PRIMARY KEY (provider, session_id)
)
"""

_APPROVALS = """
CREATE TABLE approvals (
    id TEXT PRIMARY KEY,
    request_id TEXT REFERENCES request_rows(id),
    datetime_utc TEXT NOT NULL,
    provider TEXT NOT NULL,
    operation TEXT,
    access TEXT,
    policy TEXT,
    decision TEXT NOT NULL,
    score INTEGER,
    threshold INTEGER,
    rules_json TEXT,                 -- JSON array of {rule, points, reason}
    prompt_preview TEXT
)
"""

_BREAKERS = """
CREATE TABLE breakers (
    scope TEXT PRIMARY KEY,          -- provider, configuration directory and hash of the key
    provider TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'closed',
    failures INTEGER NOT NULL DEFAULT 0,
    since TEXT,
    until TEXT,
    probe_job_id TEXT,               -- whose attempt tries whether the vendor answers again
    probe_until TEXT,
    last_error TEXT
)
"""

_META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"

_INDEXES = (
    "CREATE INDEX request_rows_time ON request_rows(datetime_utc, source)",
    "CREATE INDEX request_rows_session ON request_rows(session_id, datetime_utc)",
    "CREATE INDEX request_rows_status ON request_rows(status, datetime_utc)",
    "CREATE INDEX request_rows_provider ON request_rows(provider, datetime_utc)",
    "CREATE INDEX request_rows_model ON request_rows(model, datetime_utc)",
    "CREATE INDEX request_rows_job ON request_rows(job_id)",
    "CREATE INDEX request_rows_turn ON request_rows(turn_id) WHERE turn_id IS NOT NULL",
    "CREATE INDEX request_rows_thread ON request_rows(thread_id) WHERE thread_id IS NOT NULL",
    "CREATE UNIQUE INDEX job_rows_live_key ON job_rows(key)"
    " WHERE key IS NOT NULL AND status IN ('queued', 'running')",
    "CREATE INDEX job_rows_key ON job_rows(key, finished_at) WHERE key IS NOT NULL",
    "CREATE INDEX job_rows_status ON job_rows(status, started_at)",
    "CREATE INDEX job_rows_started ON job_rows(started_at)",
    "CREATE INDEX job_rows_request ON job_rows(request_id)",
    "CREATE INDEX job_rows_unpruned ON job_rows(finished_at)"
    " WHERE pruned_at IS NULL AND source IS NULL AND finished_at IS NOT NULL",
    "CREATE INDEX sessions_thread ON sessions(provider, thread_id, last_used_at)",
    "CREATE INDEX sessions_used ON sessions(last_used_at)",
    "CREATE INDEX approvals_time ON approvals(datetime_utc)",
    "CREATE INDEX approvals_request ON approvals(request_id)",
)

REQUESTS_VIEW = """
CREATE VIEW requests AS SELECT
    r.id, r.provider AS cli, r.model,
    coalesce((SELECT b.prompt FROM bodies b WHERE b.id = r.id), '') AS prompt,
    (SELECT b.system FROM bodies b WHERE b.id = r.id) AS system,
    (SELECT b.response FROM bodies b WHERE b.id = r.id) AS response,
    r.session_id, r.duration_ms, r.datetime_utc, r.input_tokens, r.output_tokens,
    r.provider, r.requested_model, r.resolved_model, r.status, r.outcome, r.finished_at, r.job_id,
    r.parent_session_id, r.correlation_id, r.turn_id, r.thread_id, r.access, r.cwd, r.add_dirs,
    r.options_json, r.cache_read_tokens, r.cache_write_tokens, r.reasoning_tokens, r.cost_usd,
    r.cost_basis, r.stop_reason, r.error_category, r.error_message, r.exit_code, r.retry_count,
    r.refused_actions, r.tools_run, r.facts_json, r.cli_version, r.attachments, r.prompt_chars,
    r.response_chars, r.approval_decision, r.keep_bodies, r.source
FROM request_rows r
"""

# SQLite refuses JSON functions in a view where it does not trust the schema, so the data of a
# reasoning event, {"text":"…"}, is cut open by hand.
# An imported 'started' row became orphaned: its process is gone, whatever the original believed.
_METADATA_VIEW = """
CREATE VIEW gateway_metadata AS SELECT
    r.id AS request_id, r.retry_count, r.breaker_state AS circuit_breaker_state, r.cost_usd,
    r.approval_decision, r.optimization_applied,
    coalesce((SELECT b.thinking FROM bodies b WHERE b.id = r.id), (
        SELECT '[' || group_concat(substr(e.data, 9, length(e.data) - 9)) || ']' FROM events e
        WHERE e.job_id = r.job_id AND e.kind = 'reasoning' AND e.data LIKE '{"text":%'
    )) AS thinking_blocks,
    r.exit_code, r.error_message, r.job_id AS async_job_id,
    CASE WHEN r.status IN ('queued', 'running') THEN 'started'
         WHEN r.status = 'completed' THEN 'completed' ELSE 'failed' END AS status
FROM request_rows r
"""

JOBS_VIEW = """
CREATE VIEW jobs AS SELECT
    j.id, coalesce(j.correlation_id, j.request_id, j.id) AS correlation_id,
    coalesce(j.key, '') AS request_key, j.provider AS cli, coalesce(j.args_json, '[]') AS args_json,
    j.output_format, j.status, j.exit_code,
    (SELECT b.response FROM bodies b WHERE b.id = j.body_id) AS stdout,
    (SELECT b.stderr FROM bodies b WHERE b.id = j.body_id) AS stderr,
    j.output_truncated, j.error_message AS error, j.started_at,
    j.finished_at, j.pid, j.expires_at,
    j.provider, j.model, j.request_id, j.parent_job_id, j.kind, j.access, j.cwd, j.session_id,
    j.attempts, j.error_category, j.queued_at, j.delivered_at, j.cancel_requested_at, j.pruned_at,
    j.pid_start, j.owner_host, j.owner_boot_id, j.owner_pid_ns, j.owner_pid, j.owner_pid_start,
    j.heartbeat_at, j.lease_until, j.keep_bodies, j.source
FROM job_rows j
"""

_SESSION_NAMES = """
CREATE TABLE session_names (
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    session_id TEXT,                 -- NULL: it begins with the first prompt that says the name
    created_at TEXT NOT NULL,
    PRIMARY KEY (provider, name)
)
"""

_ACTIVE_SESSIONS = """
CREATE TABLE active_sessions (
    provider TEXT PRIMARY KEY,
    session_id TEXT,
    name TEXT,                       -- of a session that has not begun
    since TEXT NOT NULL
)
"""

FIRST: tuple[str, ...] = (
    _REQUESTS,
    _BODIES,
    _JOBS,
    _ATTEMPTS,
    _EVENTS,
    _SESSIONS,
    _APPROVALS,
    _BREAKERS,
    _META,
    *_INDEXES,
    REQUESTS_VIEW,
    _METADATA_VIEW,
    JOBS_VIEW,
)

THIRD: tuple[str, ...] = (
    "ALTER TABLE sessions ADD COLUMN source TEXT",  # NULL for ours, adopted, or what it is from
    _SESSION_NAMES,
    _ACTIVE_SESSIONS,
    "CREATE UNIQUE INDEX session_names_session ON session_names(provider, session_id)"
    " WHERE session_id IS NOT NULL",
)
