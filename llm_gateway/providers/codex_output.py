"""What ``codex exec --json`` prints: items, each of them whole, and an end event.

No model, no cost, no stop reason and no pieces of text. Usage is the sum over the whole thread. A
command that the sandbox made fail leaves no item at all; only what stderr or a command's own
output tells of a refusal is counted.
"""

from __future__ import annotations

import json
import re
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
    RateLimited,
    Refused,
    RejectedInput,
    SessionLost,
)
from ..events import Event, Notice, Text, ToolResult, Usage
from ..records import record
from .base import Phrases, error_for_status, matched
from .parsing import Exit, JsonLines

__all__ = ["CodexParser"]

LOGIN = "log in with: codex login, or set CODEX_API_KEY"
STATUS = re.compile(r"(?:unexpected|last) status:? (\d{3})")
RETRY = re.compile(
    r"Reconnecting\.\.\. (?:(?P<n>\d+)/(?P<of>\d+)|waiting for network) \((?P<why>.*)\)", re.DOTALL
)
STATED_WAIT = re.compile(r"(?i)try again in\s*(\d+(?:\.\d+)?)\s*(ms|s)")
# Before it says that it reconnects, codex has repeated such a request four times by itself.
REPEATED = re.compile(r"status 5\d\d|high demand|Connection failed")
REPEATS_LAST = 3.0
TAIL = re.compile(r", (?:url|request id|cf-ray): .*", re.DOTALL)
LONGEST_LINE = 64 * 1024
ON_STDERR_REFUSED = re.compile(
    r"codex_core::tools::router: error=.*(?:rejected|approval policy is Never)"
)
APPROVAL_NEEDED = re.compile(r"requires approval|rejected by user")
READ_ONLY = re.compile(r": Read-only file system$", re.MULTILINE)

TURN_ERRORS: Phrases = (
    (
        r"Missing environment variable: `(?P<name>[^`]+)`",
        AuthFailed,
        "Codex takes its key from {name}, which is not set; set it, or " + LOGIN,
    ),
    (
        r"(?i)model\b.{0,200}(?:does not exist|not supported)|model_not_found",
        ModelNotFound,
        "{said}; choose another with -o model NAME",
    ),
    (
        r"usage limit|spend cap|out of credits|Quota exceeded|insufficient_quota"
        r"|[Rr]ate limit reached",
        RateLimited,
        "{said}",
    ),
    (
        r"max_output_tokens",
        LimitReached,
        "The answer hit the model's output limit and is cut off.",
    ),
    (
        r"ran out of room|context_length_exceeded",
        LimitReached,
        "The conversation no longer fits the model's context; start anew with "
        "-o create_new_session 1.",
    ),
    (r"content_filter|flagged|policy violation", Refused, "OpenAI declined to answer: {said}"),
    (r"(?i)sign in|log in|access token|refresh token", AuthFailed, "{said}; " + LOGIN),
    (r"at capacity|high demand|overloaded", Overloaded, "{said}; try again later"),
)
NETWORK_ERRORS: Phrases = (
    (r"stream disconnected|Connection failed|network error|timed out", NetworkFailed, "{said}"),
)
ADVICE: dict[type[GatewayError], str] = {
    AuthFailed: LOGIN,
    RateLimited: "try again later",
    Overloaded: "try again later",
}
STDERR_ERRORS: Phrases = (
    (r"no rollout found|Session not found", SessionLost, "Codex no longer has the session."),
    (
        r"exceeds the maximum length of (?P<most>\d+) characters",
        RejectedInput,
        "The prompt is longer than the {most} characters that codex takes.",
    ),
    (
        r"unexpected argument '(?P<what>[^']+)'",
        CliError,
        "This codex does not know the flag {what}; upgrade it with: codex update",
    ),
    (
        r"Error loading config\.toml: (?P<why>[^\n]+)",
        CliError,
        "Codex cannot read its configuration: {why}.",
    ),
    (r"(?m)^(?:Error|error): (?P<why>[^\n]+)", CliError, "Codex failed: {why}."),
)
# What an item says about how an action ended; the rest of it is what was asked for.
OUTCOME = frozenset(
    {"id", "type", "status", "aggregated_output", "exit_code", "result", "error", "agents_states"}
)
USAGE = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cached_input_tokens",
    "cache_write": "cache_write_input_tokens",
    "reasoning": "reasoning_output_tokens",
}


@record
class CodexParser(JsonLines):
    """Holds each message until the next item shows whether it was the last one.

    ``confined``: the sandbox is on, so that a read-only file system is a refusal.
    ``usage_before``: the thread's sums before this turn; None where nobody knows them.
    """

    title = "Codex"
    confined: bool = True
    usage_before: Mapping[str, int] | None = None
    complaint: str | None = None
    failed: bool = False
    network_waits: int = 0
    _held: Text | None = None
    _warned: str = ""
    _stderr: str = ""

    def event(self, data: Mapping[str, Any], out: list[Event]) -> None:
        kind, item = data.get("type"), data.get("item")
        if isinstance(item, Mapping):
            self._item(item, kind == "item.completed", out)
        elif kind == "thread.started":
            out.append(self.begin(str(data.get("thread_id"))))
        elif kind == "turn.completed":
            self._completed(data.get("usage") or {}, out)
        elif kind == "turn.failed":
            self.ended = self.failed = True
            self.complaint = _message(data.get("error")) or self.complaint
            self._answer(out)
        elif kind == "error":
            self._error(_message(data), out)

    def _item(self, item: Mapping[str, Any], ended: bool, out: list[Event]) -> None:
        kind = item.get("type")
        if kind in ("agent_message", "reasoning", "error", "todo_list"):
            if ended:
                self._said(str(kind), str(item.get("text") or item.get("message") or ""), out)
            return
        id = str(item.get("id"))
        if id not in self.tools_open:
            self._interim(out)
            out.append(self.call(id, _tool_name(item), _arguments(item)))
        if ended:
            out.append(self._tool_ended(id, item))

    def _said(self, kind: str, text: str, out: list[Event]) -> None:
        if kind == "error":
            self._warn(text, out)
        elif kind == "agent_message":
            self._interim(out)
            self._held = self.say(text)
            self.end_message()
        elif kind == "reasoning":
            self._interim(out)
            out.append(self.think(f"{text}\n\n"))

    def _interim(self, out: list[Event]) -> None:
        if self._held is not None:
            out.append(self.think(f"{self._held.text}\n\n"))
            self._held = None

    def _answer(self, out: list[Event]) -> None:
        """Say the last message, also where tools ran after it."""
        if self._held is None and self._messages and not self.failed:
            self._held = Text(self._messages[-1], self._number - 1)
        if self._held is not None:
            out.append(self._held)
            self._held = None

    def _tool_ended(self, id: str, item: Mapping[str, Any]) -> ToolResult:
        output, status = _output(item), item.get("status")
        refused = status == "declined" or bool(APPROVAL_NEEDED.search(_message(item.get("error"))))
        if self.confined and item.get("exit_code") is not None and READ_ONLY.search(output):
            self.refused += 1
        return self.result(id, output, is_error=refused or status == "failed", refused=refused)

    def _warn(self, text: str, out: list[Event]) -> None:
        line = " ".join(text.split())
        if line != self._warned:
            out.append(Notice("warning", f"codex: {line}"))
        self._warned = line

    def _error(self, text: str, out: list[Event]) -> None:
        found = RETRY.match(text)
        if found is None:
            self.complaint = text
            return
        if found["n"] is None:
            self.network_waits += 1
        out.append(_retry(found, self.network_waits))

    def _completed(self, totals: Mapping[str, Any], out: list[Event]) -> None:
        self.ended = True
        self._answer(out)
        sums = {key: int(value) for key, value in totals.items() if isinstance(value, int)}
        if sums:
            self.facts["usage_totals"] = sums
        self.usage = _usage(sums, self.usage_before)
        out.append(self.usage)

    def feed_stderr(self, text: str) -> list[Event]:
        *lines, self._stderr = (self._stderr[-LONGEST_LINE:] + text).split("\n")
        self.refused += sum(1 for line in lines if ON_STDERR_REFUSED.search(line))
        return []

    def close(self) -> list[Event]:
        out = super().close()
        self.feed_stderr("\n")
        if not self.ended and self._held is not None:
            self._answer(out)
        return out

    def failure(self, exit: Exit) -> GatewayError | None:
        if self.failed:
            return _turn_error(self.complaint or "it does not say why")
        if self.ended:
            return None
        if exit.signal is None and self.complaint:
            return _turn_error(self.complaint)
        return matched(STDERR_ERRORS, exit.stderr)

    def complaints(self, error: GatewayError, exit: Exit) -> str:
        return self.complaint or error.message


def _message(data: object) -> str:
    return str(data.get("message") or "") if isinstance(data, Mapping) else ""


def _tool_name(item: Mapping[str, Any]) -> str:
    if item.get("type") == "mcp_tool_call":
        return f"mcp__{item.get('server')}__{item.get('tool')}"
    return str(item.get("type"))


def _arguments(item: Mapping[str, Any]) -> Any:
    if item.get("type") == "mcp_tool_call":
        return item.get("arguments")
    return {key: value for key, value in item.items() if key not in OUTCOME}


def _output(item: Mapping[str, Any]) -> str:
    if failed := _message(item.get("error")):
        return failed
    if isinstance(result := item.get("result"), Mapping):
        parts = (part.get("text") for part in result.get("content") or () if "text" in part)
        return "\n".join(map(str, parts)) or json.dumps(result.get("structured_content"))
    if isinstance(changes := item.get("changes"), list):
        return "\n".join(f"{change.get('kind')} {change.get('path')}" for change in changes)
    return str(item.get("aggregated_output") or "")


def _usage(sums: Mapping[str, int], before: Mapping[str, int] | None) -> Usage:
    """Return what this turn added to the thread's sums; nothing where that cannot be known."""
    if before is None or not sums:
        return Usage()
    usage = Usage()
    for ours, theirs in USAGE.items():
        setattr(usage, ours, _added(sums, before, theirs))
    return usage


def _added(sums: Mapping[str, int], before: Mapping[str, int], key: str) -> int:
    total, earlier = sums.get(key, 0), before.get(key, 0)
    return total - earlier if total >= earlier else total


def _retry(found: re.Match[str], network_waits: int) -> Notice:
    why = found["why"]
    said, kind = _plain(why), _retry_kind(why)
    if found["n"] is None:
        seconds = REPEATS_LAST + 5.0 * 2 ** (network_waits - 1)
        return Notice("retry", f"codex waits for the network ({said})", seconds, kind)
    seconds = 0.2 * 2 ** (int(found["n"]) - 1) + (REPEATS_LAST if REPEATED.search(why) else 0.0)
    if stated := STATED_WAIT.search(why):
        seconds = float(stated[1]) / (1000 if stated[2].lower() == "ms" else 1)
    text = f"codex tries again (retry {found['n']} of {found['of']}) after: {said}"
    return Notice("retry", text, seconds, kind, stated=bool(stated))


def _retry_kind(why: str) -> type[GatewayError]:
    status = _status(why)
    # A WebSocket that is refused is followed by HTTPS.
    if status in (401, 403, 429) and not (status == 403 and "url: ws" in why):
        return error_for_status(status)
    if "Rate limit reached" in why:
        return RateLimited
    return Overloaded if (status or 0) >= 500 or "high demand" in why else NetworkFailed


def _status(text: str) -> int | None:
    found = STATUS.search(text)
    return int(found[1]) if found else None


def _turn_error(text: str) -> GatewayError:
    said = _plain(text)
    if error := matched(TURN_ERRORS, text, said=said):
        return error
    status = _status(text)
    if status is not None and status != 404:
        kind = error_for_status(status)
        return kind(f"{said}; {ADVICE[kind]}" if kind in ADVICE else said)
    if error := matched(NETWORK_ERRORS, text, said=said):
        return error
    return RejectedInput(said) if text.startswith("{") else CliError(f"Codex failed: {said}.")


def _plain(text: str) -> str:
    """Return a message without what only a machine reads."""
    try:
        data = json.loads(text)
    except ValueError:
        return TAIL.sub("", text).strip().rstrip(".")
    found = data.get("error", data.get("detail")) if isinstance(data, Mapping) else None
    return (_message(found) or str(found or text)).strip().rstrip(".")
