"""What Claude Code prints and how it fails. Facts seen on claude 2.1.330."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import (
    AuthFailed,
    CliError,
    GatewayError,
    LimitReached,
    ModelNotFound,
    NetworkFailed,
    Overloaded,
    PermissionDenied,
    RateLimited,
    Refused,
    RejectedInput,
    SessionLost,
)
from ..events import Event, Notice, Usage
from ..records import field, record
from .base import Phrases, count, error_for_status, matched
from .messages import MessagesStream
from .parsing import Exit

__all__ = ["LOGIN", "TITLE", "ClaudeParser"]

TITLE = "Claude Code"
LOGIN = "claude auth login, or set ANTHROPIC_API_KEY"

# Claude's own waits double up to 32 s, with a quarter of chance; longer ones are the vendor's.
LONGEST_OWN_WAIT = 45.0
RETRY_WORDS = {
    "rate_limit": "a rate limit",
    "authentication_failed": "a refused login",
    "overloaded": "an overloaded server",
}
LOST = (r"No conversation found", SessionLost, "Claude Code does not have that session.")
STDERR_ERRORS: Phrases = (
    LOST,
    (r"already in use", SessionLost, "Claude Code already has a session of that id."),
    (
        r"unknown option '(?P<what>[^']+)'",
        CliError,
        "This claude does not know the flag {what}; upgrade it with: claude update",
    ),
    (
        r"cannot be used with root",
        PermissionDenied,
        "Claude Code refuses full access to root; set IS_SANDBOX=1 if this machine is a sandbox.",
    ),
)
RESULT_ERRORS: Phrases = (
    LOST,
    (r"Not logged in|/login|Invalid API key", AuthFailed, "{text}; log in with: {login}"),
    (r"hit your .*limit|usage limit", RateLimited, "{text}"),
    (r"Prompt is too long", RejectedInput, "The prompt is too long for the model's context."),
)
API_ERRORS: dict[str, tuple[type[GatewayError], str]] = {
    "max_output_tokens": (LimitReached, "The answer hit the model's output limit. {text}"),
    "connection_failed": (NetworkFailed, "{text}"),
}
ADVICE: dict[type[GatewayError], str] = {
    AuthFailed: "log in with: " + LOGIN,
    ModelNotFound: "choose another with -o model NAME, e.g. -o model sonnet",
    RateLimited: "try again later",
    Overloaded: "try again later",
}


@record
class ClaudeParser(MessagesStream):
    title = TITLE
    cost_before: float | None = None
    _denied: set[str] = field(default_factory=set)

    def system(self, data: Mapping[str, Any], out: list[Event]) -> None:
        subtype = data.get("subtype")
        if subtype == "init":
            self.facts["tools_offered"] = data.get("tools")
            out.append(
                self.begin(data["session_id"], data.get("model"), data.get("claude_code_version"))
            )
        elif subtype == "api_retry":
            out.append(_retry(data))
        elif subtype == "permission_denied":
            self._denied.add(str(data.get("tool_use_id")))

    def event(self, data: Mapping[str, Any], out: list[Event]) -> None:
        if data.get("type") == "rate_limit_event":
            self._limit(data["rate_limit_info"])
        else:
            super().event(data, out)

    def _limit(self, info: Mapping[str, Any]) -> None:
        """Note when a limit that is reached ends; that one is near means nothing."""
        told = info.get("resetsAt") if info.get("status") == "rejected" else None
        self.limited_until = float(told) if told else None

    def assistant(self, data: Mapping[str, Any], out: list[Event]) -> None:
        if data["message"].get("model") == "<synthetic>":
            return
        if data.get("uuid") and not data.get("parent_tool_use_id"):
            self.facts["message"] = data["uuid"]
        super().assistant(data, out)

    def ignores(self, block: Mapping[str, Any]) -> bool:
        return bool(block["name"] == "StructuredOutput")

    def was_refused(self, id: str, output: str) -> bool:
        return id in self._denied or "No such tool available" in output

    def usage_of(self, data: Mapping[str, Any]) -> Usage:
        usage, total = self.tokens_of(data), data.get("total_cost_usd")
        details = (data.get("usage") or {}).get("output_tokens_details") or {}
        usage.reasoning = count(details, "thinking_tokens")
        usage.cost_total_usd = total
        if total is not None and self.cost_before is not None:
            usage.cost_usd = max(0.0, round(total - self.cost_before, 9))
            usage.cost_basis = "derived" if self.cost_before else "reported"
        return usage

    def failure(self, exit: Exit) -> GatewayError | None:
        if not self.ended:
            return matched(STDERR_ERRORS, exit.stderr)
        data = self.result_event
        if data.get("is_error"):
            return _result_error(data)
        if self.stop_reason == "refusal":
            return Refused(
                "Claude declined to answer; rephrase the prompt or choose another model."
            )
        if self.stop_reason == "max_tokens":
            return LimitReached("The answer hit the model's output limit and is cut off.")
        return None


def _retry(data: Mapping[str, Any]) -> Notice:
    seconds = (data.get("retry_delay_ms") or 0) / 1000
    word = str(data.get("error") or "")
    status = data.get("error_status")
    why = RETRY_WORDS.get(word) or (f"HTTP {status}" if status else "a failed connection")
    attempt, of = data.get("attempt"), data.get("max_retries")
    return Notice(
        "retry",
        f"claude waits {seconds:.0f} s after {why} (retry {attempt} of {of})",
        seconds=seconds,
        error=error_for_status(status) if status else NetworkFailed,
        stated=seconds > LONGEST_OWN_WAIT,
    )


def _result_error(data: Mapping[str, Any]) -> GatewayError:
    subtype, text = str(data.get("subtype")), _error_text(data)
    if subtype == "error_max_turns":
        return LimitReached(f"{text}; allow more with -o max_turns N.")
    if subtype == "error_max_budget_usd":
        return LimitReached(f"{text}; allow more with -o max_cost_usd USD.")
    if data.get("stop_reason") == "refusal":
        return Refused(text)
    if error := matched(RESULT_ERRORS, text, login=LOGIN):
        return error
    if isinstance(status := data.get("api_error_status"), int):
        kind = error_for_status(status)
        advice = ADVICE.get(kind)
        return kind(f"{text}; {advice}" if advice else text)
    if found := API_ERRORS.get(str(data.get("api_error"))):
        return found[0](found[1].format(text=text))
    if str(data.get("terminal_reason", "")).startswith("aborted"):
        return CliError("Claude Code was interrupted.")
    return CliError(f"Claude Code failed: {text}")


def _error_text(data: Mapping[str, Any]) -> str:
    errors = [e for e in data.get("errors") or () if not str(e).startswith("[ede_diagnostic]")]
    text = str(data.get("result") or "; ".join(map(str, errors)) or data.get("subtype"))
    return text.split("\n", 1)[0].strip().rstrip(".")
