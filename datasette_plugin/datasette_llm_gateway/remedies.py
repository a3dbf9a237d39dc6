"""What a person can do about each way in which a request ends badly."""

from __future__ import annotations

__all__ = ["remedy", "resume_command", "run_again"]

import json
import shlex
from typing import Any

from .words import parse_json

_REMEDIES = {
    "cli_missing": "Install the vendor's CLI; llm gateway doctor names the command.",
    "spawn": "The operating system could not start the CLI; llm gateway doctor looks at it.",
    "invalid_input": "Change what was asked: the message says which part was refused.",
    "permission_denied": "Ask with -o access edit (or full) if it was meant to be allowed.",
    "breaker_open": "The provider failed too often; llm gateway status says until when.",
    "saturated": "Too many runs at once: ask again later, or end one under Jobs.",
    "rate_limited": "Wait for the vendor's limit to reset, or ask another provider.",
    "overloaded": "The vendor's servers were busy: ask again; -o retries allows more attempts.",
    "network": "Look at the connection and ask again.",
    "auth": "Log in to the vendor's CLI; llm gateway doctor names the command.",
    "model_not_found": "Choose another model; llm gateway models lists what there is.",
    "session_lost": "The vendor has forgotten the session: ask without it, or with llm -c.",
    "refused": "The model declined; say it differently or ask another one.",
    "limit_reached": "Raise the limit that was reached, or ask for less at once.",
    "empty_reply": "Ask again; if it comes back, the raw events below say what the CLI did.",
    "protocol": "The CLI's output ended early or changed; llm gateway doctor says if it drifted.",
    "output_limit": "Raise LLM_GATEWAY_MAX_OUTPUT_MIB if so much output was meant.",
    "timeout": "Allow more with -o timeout SECONDS, or use the background: llm gateway submit.",
    "idle_timeout": "Allow longer silence with -o idle_timeout SECONDS.",
    "canceled": "It was stopped on purpose. What was said until then is below.",
    "cli_error": "The CLI failed; its stderr is below.",
}  # fmt: skip
_ORPHANED = (
    "The process that ran it is gone, so nobody knows what else it did. What it said is below; "
    "look at the directory before you ask again."
)
_RESUME = {
    "claude": "claude --resume {}",
    "codex": "codex resume {}",
    "gemini": "gemini --resume {}",
    "grok": "grok --resume {}",
}
_LONGEST = 8_000


def remedy(status: str, category: str | None) -> str | None:
    """One sentence, where one helps."""
    return _ORPHANED if status == "orphaned" else _REMEDIES.get(category or "")


def resume_command(provider: str, session: str | None, cwd: str | None) -> str | None:
    """The vendor's own command that goes on in the session, in its directory."""
    command = _RESUME.get(provider)
    if not command or not session:
        return None
    there = f"cd {shlex.quote(cwd)} && " if cwd else ""
    return there + command.format(shlex.quote(session))


def run_again(request: Any, body: Any) -> str | None:
    """The command that asks the same again; None where the words were not kept or are too many."""
    if body is None or not body["prompt"] or body["prompt_chars"] > _LONGEST:
        return None
    words = ["llm", "-m", f"gateway-{request['provider']}"]
    options = parse_json(request["options_json"], {})
    options = options if isinstance(options, dict) else {}
    native = options.pop("native", None)
    options.update(native if isinstance(native, dict) else {})
    if request["cwd"]:
        options.setdefault("cwd", request["cwd"])
    for name, value in options.items():
        if name != "correlation_id":
            words += ["-o", str(name), _value(value)]
    if body["system"]:
        words += ["-s", body["system"]]
    if body["schema"]:
        words += ["--schema", body["schema"]]
    for attachment in parse_json(body["attachments"], []) or []:
        source = isinstance(attachment, dict) and (attachment.get("path") or attachment.get("url"))
        words += ["-a", str(source)] if source else []
    return " ".join(shlex.quote(str(word)) for word in [*words, body["prompt"]])


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)
