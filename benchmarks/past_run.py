"""What came of a made-up request that ran: its job, its attempts, and what the CLI said."""

from __future__ import annotations

import json
from typing import Any

from llm_gateway.store.text import iso

from .past_words import Words, pick

__all__ = ["PROVIDERS", "Session", "run"]

# Provider: share of requests, models with shares, dollars a million tokens in and out, tools.
PROVIDERS: dict[str, tuple[float, dict[str, float], tuple[float, float], tuple[str, ...]]] = {
    "claude": (
        0.52,
        {"claude-opus-4-8": 0.3, "claude-sonnet-5": 0.6, "claude-haiku-5": 0.1},
        (3.0, 15.0),
        ("Read", "Grep", "Glob", "Bash", "Edit", "Write", "WebFetch"),
    ),
    "codex": (
        0.26,
        {"gpt-5.4-codex": 0.8, "gpt-5.3-codex": 0.2},
        (1.25, 10.0),
        ("shell", "apply_patch", "web_search"),
    ),
    "gemini": (
        0.14,
        {"gemini-3-pro": 0.7, "gemini-3-flash": 0.3},
        (0.8, 4.0),
        ("read_file", "search_file_content", "run_shell_command", "replace"),
    ),
    "grok": (0.08, {"grok-build": 1.0}, (0.5, 2.0), ("view", "bash", "edit")),
}
FAILURES = {
    "rate_limited": 30,
    "overloaded": 16,
    "network": 9,
    "timeout": 9,
    "idle_timeout": 4,
    "auth": 8,
    "cli_error": 8,
    "limit_reached": 5,
    "empty_reply": 3,
    "refused": 3,
    "protocol": 1,
    "session_lost": 2,
    "model_not_found": 1,
    "cli_missing": 1,
}
STATES = {"timeout": "timed_out", "idle_timeout": "timed_out", "canceled": "canceled"}


Row = dict[str, Any]


class Session:
    """One of the vendor's conversations."""

    __slots__ = (
        *("access", "cost", "cwd", "first", "id", "last", "left", "model", "provider", "thread"),
        *("title", "turns"),
    )

    def __init__(self, provider: str, model: str, cwd: str, access: str, left: int) -> None:
        self.provider, self.model, self.cwd, self.access = provider, model, cwd, access
        self.left, self.id, self.thread, self.title = left, "", "", ""
        self.first: Row = {}
        self.last: Row = {}
        self.turns, self.cost = 0, 0.0

    def row(self) -> Row:
        """As the table of sessions has it in the end."""
        return {
            "provider": self.provider,
            "session_id": self.id,
            "thread_id": self.thread,
            "cwd": self.cwd,
            "model": self.model,
            "resolved_model": self.model,
            "access": self.access,
            "last_turn_id": self.last["turn_id"],
            "last_request_id": self.last["id"],
            "turns": self.turns,
            "created_at": self.first["datetime_utc"],
            "last_used_at": self.last["datetime_utc"],
            "title": self.title,
            "cost_total_usd": round(self.cost, 6),
        }


Event = tuple[str, int, int, int, str, str]
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def run(
    words: Words, session: Session, row: Row, body: Row, at: float, amiss: bool, live: bool
) -> tuple[Row, list[Row], list[Event]]:
    """Complete the rows of a request and make those below it.

    :param amiss: whether the vendor has an incident. :param live: whether it has not ended yet.
    """
    some = words.chance
    category = None if live else _failure(words, amiss)
    retries = _retries(words, category)
    took = int(1500 + some.lognormvariate(9.6, 1.1)) * (1 + retries)
    if category in ("auth", "cli_missing", "model_not_found", "overloaded"):
        took = int(took * 0.1)
    row["job_id"] = job_id = words.id(at)
    events = _events(words, session, job_id, retries + 1, took, category)
    body["response"] = words.text(3.0, 200) if category is None else ""
    if category is not None and some.random() < 0.4:
        body["stderr"] = f"Error: {category}: {words.text(1.0, 3)}"
    if not live:
        _end(words, session, row, body, at, category, retries, took)
    else:
        row["status"] = "running"
    job = _job(words, row, at, retries + 1)
    attempts = [_attempt(row, job, n, at, took, retries) for n in range(1, retries + 2)]
    return job, attempts, events


def _failure(words: Words, amiss: bool) -> str | None:
    chance = words.chance.random()
    if amiss and chance < 0.7:
        return "overloaded" if chance < 0.45 else "network"
    if chance < 0.93:
        return None
    return "canceled" if chance < 0.95 else pick(words.chance, FAILURES)


def _retries(words: Words, category: str | None) -> int:
    chance = words.chance.random()
    if category in ("overloaded", "network", "rate_limited"):
        return int(chance * 3)
    return 1 if chance < 0.02 else 0


def _end(
    words: Words,
    session: Session,
    row: Row,
    body: Row,
    at: float,
    category: str | None,
    retries: int,
    took: int,
) -> None:
    some = words.chance
    row.update(
        status="completed" if category is None else STATES.get(category, "failed"),
        duration_ms=took,
        finished_at=iso(at + took / 1000),
        retry_count=retries,
        response_chars=len(body["response"]),
        cli_version="2.1.330" if session.provider == "claude" else "0.60.1",
        exit_code=0 if category is None else 1,
    )
    if category is not None:
        said = f"{session.provider} ended with {category.replace('_', ' ')}."
        row.update(error_category=category, error_message=said)
        if category != "limit_reached":
            return
    read = int(some.lognormvariate(9.3, 1.0))
    wrote = int(some.lognormvariate(6.0, 1.0))
    dollars_in, dollars_out = PROVIDERS[session.provider][2]
    row.update(
        resolved_model=session.model,
        input_tokens=read,
        output_tokens=wrote,
        cache_read_tokens=int(read * 0.8 * some.random()),
        cache_write_tokens=int(read * 0.1 * some.random()),
        reasoning_tokens=int(wrote * 0.4 * some.random()),
        stop_reason="end_turn",
    )
    if session.provider != "grok":
        cost = (read * dollars_in * 0.4 + wrote * dollars_out) / 1e6
        row.update(cost_usd=round(cost, 6), cost_basis="reported")


def _job(words: Words, row: Row, at: float, attempts: int) -> Row:
    copied = ("provider", "status", "access", "cwd", "session_id", "exit_code", "finished_at")
    return {
        **{name: row.get(name) for name in (*copied, "error_category", "error_message")},
        "id": row["job_id"],
        "request_id": row["id"],
        "body_id": row["id"],
        "kind": "foreground" if words.chance.random() < 0.85 else "submitted",
        "model": row["model"],
        "key": f"{words.chance.getrandbits(256):064x}",
        "head": f"{words.chance.getrandbits(160):040x}",
        "args_json": '["-p","--output-format","stream-json","--verbose"]',
        "attempts": attempts,
        "queued_at": row["datetime_utc"],
        "started_at": row["datetime_utc"],
        "delivered_at": row.get("finished_at"),
        "pid": 1000 + words.chance.getrandbits(15),
        "owner_host": "laptop",
    }


def _attempt(row: Row, job: Row, n: int, at: float, took: int, retries: int) -> Row:
    each = took // (retries + 1)
    begun = at + (n - 1) * each / 1000
    last = n == retries + 1
    live = row["status"] == "running"
    return {
        "job_id": job["id"],
        "n": n,
        "argv_json": '["/usr/bin/agent","-p","--output-format","stream-json","--verbose"]',
        "env_names": '["HOME","LANG","PATH","TERM"]',
        "cwd": row["cwd"],
        "pid": job["pid"] + n,
        "session_plan": "new" if n == 1 else "resume",
        "exit_code": None if live else job["exit_code"] if last else 1,
        "error_category": row.get("error_category") if last else "overloaded",
        "started_at": iso(begun),
        "first_output_ms": each // 8,
        "ended_at": None if live else iso(begun + each / 1000),
        "duration_ms": None if live else each,
        "wait_ms": None if n == 1 else 1000 * n,
    }


def _events(
    words: Words, session: Session, job: str, attempt: int, took: int, category: str | None
) -> list[Event]:
    """About eleven a job: most of them are calls of tools and what came of them."""
    some = words.chance
    told: list[tuple[str, str]] = [
        ("session", f'{{"session_id":"{session.id}","model":"{session.model}"}}')
    ]
    if category not in ("auth", "cli_missing", "overloaded", "model_not_found"):
        if some.random() < 0.5:
            told.append(("reasoning", _dumps({"text": words.text(0.6, 8)})))
        for number in range(min(60, int(some.expovariate(1 / 3.8)))):
            told += _tool(words, session, number)
        told.append(("text", _dumps({"text": words.text(0.8, 12), "message": 0})))
    if category is None:
        told.append(("usage", '{"input":12000,"output":480,"cache_read":9000}'))
        told.append(
            ("done", f'{{"chars":900,"session_id":"{session.id}","stop_reason":"end_turn"}}')
        )
    step = took // (len(told) + 1)
    return [
        (job, seq, attempt, step * (seq + 1), kind, data) for seq, (kind, data) in enumerate(told)
    ]


def _tool(words: Words, session: Session, number: int) -> list[tuple[str, str]]:
    some = words.chance
    name = some.choice(PROVIDERS[session.provider][3])
    call = f"call_{number}_{some.getrandbits(32):08x}"
    path = f"{session.cwd}/src/module_{some.getrandbits(6)}.py"
    failed = some.random() < 0.05
    output = some.choice(words.code) if some.random() < 0.3 else path
    data = {"id": call, "name": name, "output": output, "is_error": failed, "refused": False}
    return [
        ("tool_call", f'{{"id":"{call}","name":"{name}","arguments":{{"path":"{path}"}}}}'),
        ("tool_result", _dumps(data)),
    ]
