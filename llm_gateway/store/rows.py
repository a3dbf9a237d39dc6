"""What a request, a job and a reply look like as rows: redacted where they must be, JSON-safe."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from llm_gateway.events import Reply, Usage
from llm_gateway.policy.redact import redact, redact_argv
from llm_gateway.records import fields
from llm_gateway.request import Attachment, Options, Request
from llm_gateway.store.owner import Owner
from llm_gateway.store.text import clean, dumps, iso, now, preview, prompt_hash

__all__ = [
    "LEASE_SECONDS",
    "Setting",
    "answer_row",
    "attempt_row",
    "body_row",
    "column",
    "error_columns",
    "job_row",
    "plain",
    "recorded_argv",
    "reply_columns",
    "request_row",
    "session_row",
    "stderr_text",
    "text_or_none",
]

LEASE_SECONDS = 30.0
LEASE_OF_NOBODY = 60.0  # how long a job waits for the worker that was started for it
_LONGEST_ARGUMENT = 2000
_LONGEST_UNSAID = 80
_LONGEST_ERROR = 4000


def text_or_none(text: str | None) -> str | None:
    """Text that a UTF-8 file can hold."""
    return None if text is None else clean(text)


class Setting(NamedTuple):
    """When and in what circumstances a request began; all of it in force, not as asked."""

    at: str
    status: str
    model: str | None
    access: str
    cwd: str | None
    add_dirs: tuple[str, ...]


def request_row(request: Request, job_id: str | None, setting: Setting) -> dict[str, Any]:
    """The metadata of a request; no word of what was asked where none is to be kept."""
    options, kept = request.options, request.keep_bodies
    return {
        "id": request.id,
        "provider": request.provider,
        "model": clean(setting.model or "default"),
        "requested_model": text_or_none(setting.model),
        "status": setting.status,
        "datetime_utc": setting.at,
        "job_id": job_id,
        "session_id": text_or_none(options.session_id),
        "correlation_id": text_or_none(options.correlation_id),
        "turn_id": request.turn_id,
        "thread_id": request.thread_id,
        "access": setting.access,
        "cwd": text_or_none(setting.cwd),
        "add_dirs": dumps(setting.add_dirs) if setting.add_dirs else None,
        "options_json": dumps(_said(options)),
        "attachments": len(request.attachments),
        "prompt_chars": len(request.prompt),
        "prompt_chars_asked": None if request.asked is None else len(request.asked),
        "optimization_applied": int(bool(options.optimize_prompt or options.optimize_response)),
        "approval_decision": request.approval,
        "prompt_preview": preview(request.prompt) if kept else None,
        "prompt_hash": prompt_hash(request.prompt) if kept else None,
        "keep_bodies": int(kept),
    }


def job_row(
    request: Request, job_id: str, setting: Setting, kind: str, owner: Owner | None
) -> dict[str, Any]:
    """The job that a request begins; without an owner it waits for a worker to take it."""
    kept = request.keep_bodies or owner is None
    lease = LEASE_SECONDS if owner else LEASE_OF_NOBODY
    return {
        "id": job_id,
        "request_id": request.id,
        "body_id": request.id if kept else None,
        "kind": kind,
        "provider": request.provider,
        "model": text_or_none(setting.model),
        "status": setting.status,
        "access": setting.access,
        "cwd": text_or_none(setting.cwd),
        "queued_at": setting.at,
        "started_at": setting.at,
        "owner_host": owner.host if owner else None,
        "owner_boot_id": owner.boot_id if owner else None,
        "owner_pid_ns": owner.pid_ns if owner else None,
        "owner_pid": owner.pid if owner else None,
        "owner_pid_start": owner.pid_start if owner else None,
        "lease_until": iso(time.time() + lease),
        "heartbeat_at": setting.at,
        "keep_bodies": int(request.keep_bodies),
        "correlation_id": text_or_none(request.options.correlation_id),
    }


def attempt_row(
    job_id: str, n: int, argv: Sequence[str], env_names: Iterable[str], cwd: str
) -> dict[str, Any]:
    """A spawn: what was run, never the values of its environment."""
    return {
        "job_id": job_id,
        "n": n,
        "argv_json": dumps(argv),
        "env_names": dumps(sorted(env_names)),
        "cwd": clean(cwd),
        "started_at": now(),
    }


def body_row(request: Request, always: bool = False) -> dict[str, Any] | None:
    """What was asked, verbatim; None where nobody wants it kept, nor ``always`` needs it."""
    if not request.keep_bodies and not always:
        return None
    return {
        "id": request.id,
        "prompt": clean(request.prompt),
        "prompt_asked": text_or_none(request.asked),
        "system": text_or_none(request.system),
        "attachments": _attachments(request.attachments),
        "schema": None if request.schema is None else dumps(request.schema),
    }


def reply_columns(reply: Reply | None) -> dict[str, Any]:
    """The metadata of an answer, as columns of its request."""
    if reply is None:
        return {}
    found: dict[str, Any] = {
        "stop_reason": text_or_none(reply.stop_reason),
        "cli_version": text_or_none(reply.cli_version),
        "refused_actions": reply.refused_actions,
        "tools_run": dumps(reply.tools_run) if reply.tools_run else None,
        "facts_json": dumps(reply.facts) if reply.facts else None,
        **_usage_columns(reply.usage),
    }
    if reply.model is not None:
        found["model"] = found["resolved_model"] = clean(reply.model)
    return found


def error_columns(category: str | None, message: str | None) -> dict[str, Any]:
    """What went wrong, without secrets."""
    said = None if message is None else redact(clean(message))[:_LONGEST_ERROR]
    return {"error_category": category, "error_message": said}


def stderr_text(tail: str) -> str | None:
    """What the CLI said on stderr, without secrets; None where it said nothing."""
    return redact(clean(tail)) if tail else None


def answer_row(text: str, reply: Reply | None) -> dict[str, Any]:
    """The answer verbatim, and the messages before it where there were some."""
    messages = reply.messages.json if reply and len(reply.messages) > 1 else None
    return {"response": clean(text), "messages": messages}


def session_row(
    session_id: str | None,
    at: str,
    title: str | None,
    reply: Reply | None,
    totals: Mapping[str, int] | None,
) -> dict[str, Any] | None:
    """What the end of a run tells of its session, beside what its request told."""
    if session_id is None:
        return None
    return {
        "session_id": session_id,
        "at": at,
        "title": title,
        "cost_total_usd": reply.usage.cost_total_usd if reply else None,
        "usage_totals": dumps(dict(totals)) if totals else None,
    }


def plain(value: Any) -> str:
    """The word of an enumeration, or the word itself."""
    return str(getattr(value, "value", value))


def column(value: Any) -> Any:
    """A value as SQLite and JSON both hold it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple, dict)):
        return dumps(value) if value else None
    return clean(value) if isinstance(value, str) else value


def recorded_argv(argv: Iterable[str], keep: bool) -> list[str]:
    """The argv without secrets; without ``keep`` also without anything that may be a prompt."""
    return [_argument(item, keep) for item in redact_argv(argv)]


def _argument(item: str, keep: bool) -> str:
    if not keep and (len(item) > _LONGEST_UNSAID or "\n" in item):
        return f"[{len(item)} characters]"
    if len(item) > _LONGEST_ARGUMENT:
        return f"{item[:_LONGEST_ARGUMENT]}[and {len(item) - _LONGEST_ARGUMENT} characters]"
    return item


def _usage_columns(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "reasoning_tokens": usage.reasoning,
        "cost_usd": usage.cost_usd,
        "cost_basis": usage.cost_basis,
    }


def _said(options: Options) -> dict[str, Any]:
    """The options that were said."""
    values = {item.name: getattr(options, item.name) for item in fields(options)}
    return {name: _plain(value) for name, value in values.items() if value not in (None, {})}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _attachments(attachments: Iterable[Attachment]) -> str | None:
    told = [
        {
            "type": attachment.type,
            "path": attachment.path,
            "url": attachment.url,
            "bytes": None if attachment.content is None else len(attachment.content),
        }
        for attachment in attachments
    ]
    return dumps(told) if told else None
