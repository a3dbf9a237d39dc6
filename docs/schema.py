"""What every column of the recorder means; the rest of docs/recorder.md is read from the schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from tables import _table as table

__all__ = ["event_table", "index_table", "schema_sections"]

TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "request_rows": (
        "One row an ask, also when it was denied, shared or failed.",
        {
            "id": "our own id (ULID, so ids sort by time)",
            "provider": "claude, codex, gemini, grok, demo, or a plugin's",
            "model": "as resolved, else as asked, else `default`",
            "requested_model": "as asked; NULL is the CLI's default",
            "resolved_model": "as the CLI named it",
            "status": "queued, running, completed, failed, canceled, timed_out, orphaned; "
            "from completed on it never changes",
            "outcome": "ran; joined, collected or reused another request's job; denied",
            "datetime_utc": "when it began, ISO-8601 with milliseconds and Z",
            "finished_at": "when it ended",
            "duration_ms": "from its beginning to its end, waiting included",
            "job_id": "the job that answered it",
            "session_id": "the vendor's session",
            "parent_session_id": "the session of which this one is a copy",
            "correlation_id": "the caller's own word (`-o correlation_id`); may come twice",
            "turn_id": "`turns.id` in llm's own log",
            "thread_id": "`threads.id` in llm's own log: the conversation",
            "access": "read, edit, full: in force, not as asked",
            "cwd": "the agent's directory",
            "add_dirs": "JSON array of further directories",
            "options_json": "JSON object of the options that were said, without secrets",
            "input_tokens": "all of them, cached ones included",
            "output_tokens": "all of them, reasoning included",
            "cache_read_tokens": "a part of input_tokens",
            "cache_write_tokens": "a part of input_tokens",
            "reasoning_tokens": "a part of output_tokens",
            "cost_usd": "this turn's; NULL where nobody knows",
            "cost_basis": "reported by the CLI, or derived from what it reported",
            "stop_reason": "in the vendor's word",
            "error_category": "why it is no answer; see the exit codes in commands.md",
            "error_message": "the sentence that was printed, without secrets",
            "exit_code": "of the CLI's last start",
            "retry_count": "starts of the CLI after the first",
            "refused_actions": "tool calls that the access level kept from running",
            "tools_run": "JSON array of the names of tools that ran",
            "facts_json": "JSON object of what this CLI alone tells",
            "cli_version": "of the vendor's CLI",
            "attachments": "how many",
            "prompt_chars": "length of the prompt",
            "response_chars": "length of the answer",
            "breaker_state": "closed, open, half_open: what the request met",
            "approval_decision": "approved, denied; NULL where no approval was needed",
            "optimization_applied": "1 where prompt or answer was shortened",
            "keep_bodies": "0 for `llm -n`: no word of it is kept",
            "source": "NULL for ours, else what it was imported from",
            "asker": "the process that waits for the answer: host, boot, namespace, pid, start",
            "prompt_preview": "the first 160 characters on one line; NULL where not kept",
            "prompt_hash": "the same for the same prompt, whoever was asked",
            "prompt_chars_asked": "length before it was shortened; NULL where it was not",
            "response_chars_raw": "length before it was shortened; NULL where it was not",
        },
    ),
    "bodies": (
        "What was said, verbatim. Apart from the requests, so that lists stay fast.",
        {
            "seq": "number; `rowid` of the full-text index",
            "id": "the request's, or `job:ID` for an imported job",
            "prompt": "as it was sent",
            "system": "the system prompt in force",
            "response": "the answer; what had arrived where it failed",
            "messages": "JSON array, where the answer was more than one message",
            "stderr": "the end of what the CLI said there, redacted; goes with the events",
            "thinking": "JSON array; imported rows only, ours is in events",
            "attachments": "JSON array of {type, path, url, bytes}",
            "schema": "the JSON schema that was asked for",
            "prompt_asked": "before it was shortened; NULL where it was not",
            "response_raw": "before it was shortened; NULL where it was not",
        },
    ),
    "job_rows": (
        "One row an execution. Several requests may share one.",
        {
            "id": "ULID",
            "request_id": "the first asker",
            "body_id": "where prompt and answer are; NULL for `llm -n`",
            "parent_job_id": "the job whose agent asked",
            "kind": "foreground, submitted, durable; worker for imported ones",
            "provider": "",
            "model": "as asked",
            "status": "as a request's",
            "key": "hash of everything that can change the answer",
            "head": "commit of HEAD in the directory",
            "fingerprint": "state of the directory's work tree",
            "access": "in force",
            "cwd": "",
            "spec_json": "what a worker needs to run it",
            "output_format": "kept for the original's queries",
            "args_json": "JSON array: the last start's arguments, redacted",
            "session_id": "the vendor's session",
            "attempts": "starts of the CLI",
            "exit_code": "of the last one",
            "output_truncated": "1 where output was cut",
            "error_category": "as a request's",
            "error_message": "as a request's",
            "queued_at": "",
            "started_at": "when it was queued, until it runs",
            "finished_at": "",
            "delivered_at": "when somebody received the whole answer",
            "cancel_requested_at": "",
            "expires_at": "when its events are pruned",
            "pruned_at": "when its events and stderr were",
            "pid": "of the CLI",
            "pid_start": "start time of that process, so that a number is not taken for another",
            "owner_host": "who runs it",
            "owner_boot_id": "",
            "owner_pid_ns": "",
            "owner_pid": "",
            "owner_pid_start": "",
            "heartbeat_at": "when the owner last said that it lives",
            "lease_until": "until when that holds",
            "keep_bodies": "as a request's",
            "correlation_id": "as a request's",
            "source": "as a request's",
            "logged_at": "when the answer was written to llm's own log",
            "reusable": "1 where nothing but the workspace can have made the answer",
        },
    ),
    "attempts": (
        "One row a start of the CLI.",
        {
            "job_id": "",
            "n": "from 1",
            "argv_json": "JSON array, redacted",
            "env_names": "JSON array of the variables that it got; never values",
            "cwd": "",
            "pid": "",
            "pid_start": "",
            "session_plan": "new, resume, fork, latest",
            "exit_code": "",
            "signal": "that ended it",
            "error_category": "",
            "error_message": "",
            "started_at": "",
            "first_output_ms": "",
            "ended_at": "",
            "duration_ms": "",
            "wait_ms": "backoff before it",
        },
    ),
    "events": (
        "What the CLI said, in order; pruned after `LLM_GATEWAY_JOB_RETENTION_DAYS`.",
        {
            "job_id": "",
            "seq": "from 0, in the order in which they came",
            "attempt": "",
            "t": "milliseconds since the attempt began",
            "kind": "see below",
            "data": "JSON object, see below",
        },
    ),
    "sessions": (
        "The vendors' conversations that went through the gateway.",
        {
            "provider": "",
            "session_id": "the vendor's",
            "thread_id": "llm's conversation",
            "cwd": "the directory it belongs to",
            "model": "as asked; NULL is the CLI's default",
            "resolved_model": "",
            "access": "of its last turn",
            "add_dirs": "JSON array",
            "last_turn_id": "llm's turn that it has seen last",
            "last_request_id": "",
            "turns": "that went through us and ended well",
            "created_at": "",
            "last_used_at": "",
            "title": "",
            "cost_total_usd": "the CLI's running sum",
            "usage_totals": "JSON object of the CLI's running sums",
            "parent_session_id": "of which it is a copy",
            "source": "NULL for ours; adopted; or what it was imported from",
        },
    ),
    "session_names": (
        "What people call sessions, for `-o session NAME`.",
        {
            "provider": "",
            "name": "",
            "session_id": "NULL: it begins with the first prompt that says the name",
            "created_at": "",
        },
    ),
    "active_sessions": (
        "The session that a provider's prompts continue unasked, by `llm gateway session use`.",
        {
            "provider": "",
            "session_id": "",
            "name": "of a session that has not begun",
            "since": "",
        },
    ),
    "approvals": (
        "Decisions, made before anything is spawned.",
        {
            "id": "",
            "request_id": "",
            "datetime_utc": "",
            "provider": "",
            "operation": "",
            "access": "that was asked for",
            "policy": "strict, balanced, permissive, ask",
            "decision": "approved, denied",
            "score": "",
            "threshold": "approved up to this score",
            "rules_json": "JSON array of {rule, points, reason}",
            "prompt_preview": "only where `APPROVAL_LOG_PROMPTS` says so",
            "prompt_sha256": "",
            "details_json": "JSON object of what else the audit trail has",
        },
    ),
    "breakers": (
        "Whether a vendor is being asked at all, per login.",
        {
            "scope": "provider, configuration directory and hash of the key",
            "provider": "",
            "state": "closed, open, half_open",
            "failures": "in a row",
            "since": "",
            "until": "when it is tried again",
            "probe_job_id": "whose attempt tries it",
            "probe_until": "",
            "last_error": "",
            "probe_owner": "that attempt's process and lease",
        },
    ),
    "breaker_changes": (
        "Each change of a breaker's state, written by a trigger.",
        {
            "seq": "",
            "datetime_utc": "",
            "scope": "",
            "provider": "",
            "from_state": "",
            "to_state": "",
            "failures": "",
            "last_error": "",
        },
    ),
    "hourly": (
        "Ended requests, added up by triggers. Each counts once, in the hour in which it began. "
        "Pruning takes nothing out.",
        {
            "hour": "UTC, `2026-01-02T03`",
            "provider": "",
            "model": "",
            "status": "",
            "category": "error_category, or the empty string",
            "requests": "all of them; the five that follow are parts",
            "joined": "",
            "collected": "",
            "reused": "",
            "denied": "",
            "retries": "starts of the CLI after the first",
            "input_tokens": "of what ran: a shared answer counts where it ran",
            "output_tokens": "",
            "cache_read_tokens": "",
            "cache_write_tokens": "",
            "reasoning_tokens": "",
            "cost_usd": "of what ran",
            "saved_usd": "what the joined, collected and reused would have cost",
            "unpriced": "requests that ran and whose cost nobody knows",
        },
    ),
    "hourly_durations": (
        "A histogram of what ran.",
        {
            "hour": "",
            "provider": "",
            "model": "",
            "status": "",
            "upto_ms": "upper bound of the bucket; `duration_bounds` has the lower one",
            "requests": "",
        },
    ),
    "duration_bounds": (
        "The buckets, sixteen a decade.",
        {"upto_ms": "longest duration in it", "above_ms": "longest duration of the one before"},
    ),
    "search_pending": (
        "Finished requests that the full-text index does not have yet.",
        {"seq": "of bodies"},
    ),
    "meta": ("What the recorder remembers of itself.", {"key": "", "value": ""}),
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
