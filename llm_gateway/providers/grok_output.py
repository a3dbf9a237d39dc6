"""What grok prints and how it fails. Facts seen on grok 1.0.41."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from ..errors import (
    ActionDenied,
    AuthFailed,
    CliError,
    EmptyReply,
    GatewayError,
    LimitReached,
    ModelNotFound,
    NetworkFailed,
    Overloaded,
    ProtocolError,
    RateLimited,
    Refused,
    RejectedInput,
    SessionLost,
)
from ..events import Event, Messages, Notice, Usage
from ..records import field, record
from .base import Phrases, error_for_status, matched
from .messages import MessagesStream
from .parsing import Exit

__all__ = ["LOGIN", "LOG_FILTER", "META_TOOLS", "TITLE", "GrokParser"]

TITLE = "Grok"
LOGIN = "grok login, or set XAI_API_KEY"

# With this in RUST_LOG grok tells on stderr, and only there, that it tries a request again. More
# would have keys and prompts in it, and the commands that it runs see the variable as well.
LOG_FILTER = "error,xai_grok_sampler::actor::request_task=info"
FAILED = re.compile(r"(?P<time>\S+Z)\s+ERROR\s+responses API error status=(?P<status>\d{3})")
AGAIN = re.compile(r"(?P<time>\S+Z)\s+INFO\s+rebuilt sampling client")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LOG_LINE = 64 * 1024
USUAL_WAIT = 2.0

META_TOOLS = frozenset({"search_tool", "use_tool"})
NOT_RUN = re.compile(
    r"was not executed: Denied by permission policy"
    r"|User cancelled the execution for tool"
    r"|Tool not found: "
)


@record
class GrokParser(MessagesStream):
    """streaming-messages-json with partial messages, and the lines of a log on stderr.

    When a stream breaks off grok asks again and appends what it gets to what it had, in ``result``
    too; the text that is right is then the parser's own.
    """

    title = TITLE
    notices: list[str] = field(default_factory=list)
    expected_tools: frozenset[str] | None = None
    _log: str = ""
    _failure: tuple[str, type[GatewayError], str] | None = None
    _second_try: bool = False
    _asked_again: bool = False

    def feed_stderr(self, text: str) -> list[Event]:
        *lines, self._log = (self._log[-LOG_LINE:] + text).split("\n")
        out: list[Event] = []
        for line in lines:
            self._log_line(COLOUR.sub("", line), out)
        return out

    def _log_line(self, line: str, out: list[Event]) -> None:
        if found := FAILED.match(line):
            self._wait(int(found["status"]), found["time"], out)
        elif found := AGAIN.match(line):
            out.append(self._retry(found["time"]))

    def _wait(self, status: int, now: str, out: list[Event]) -> None:
        kind = error_for_status(status)
        if kind in (RateLimited, Overloaded) and not self.waiting and not self._second_try:
            self.waiting, self._failure = kind, (f"HTTP {status}", kind, now)
            out.append(Notice("warning", f"grok got HTTP {status} and waits before it tries again"))

    def _retry(self, now: str) -> Notice:
        failure, broken = self._failure, self._streaming
        self.waiting = self._failure = None
        self._second_try = True
        if broken:
            self.abandon()
            self._asked_again = True
        if failure is None and not broken:  # what it was the end will tell
            return Notice("warning", "grok tries again after an empty or failed request")
        reason, kind, since = failure or ("a broken answer", NetworkFailed, "")
        seconds = _seconds(since, now)
        text = f"grok tries again after {reason} and {seconds:.0f} s"
        return Notice("retry", text, seconds=seconds, error=kind)

    def event(self, data: Mapping[str, Any], out: list[Event]) -> None:
        self._heard()
        super().event(data, out)

    def piece(self, piece: re.Match[bytes], out: list[Event]) -> bool:
        self._heard()
        return super().piece(piece, out)

    def _heard(self) -> None:
        self.waiting, self._second_try = None, False

    def system(self, data: Mapping[str, Any], out: list[Event]) -> None:
        if data.get("subtype") != "init" or not data.get("session_id"):
            return  # without a session it prints one whose id is empty
        offered = data.get("tools") or []
        self.facts["tools_offered"] = offered
        out.append(self.begin(data["session_id"], data.get("model")))
        out += [Notice("warning", text) for text in self.notices]
        more = set(offered) - META_TOOLS - (self.expected_tools or set(offered))
        if more:
            names = ", ".join(sorted(more))
            out.append(Notice("warning", f"grok offers more tools than it was told: {names}"))

    def was_refused(self, id: str, output: str) -> bool:
        return bool(NOT_RUN.search(output))

    def output_of(self, content: object) -> str:
        text = super().output_of(content)
        try:
            return _said(json.loads(text))
        except (ValueError, RecursionError):
            return text

    def usage_of(self, data: Mapping[str, Any]) -> Usage:
        usage = self.tokens_of(data)
        if not usage.input and not usage.output:
            return Usage()  # its way to say that it does not know
        self.model = _main_model(data.get("modelUsage") or {}) or self.model
        if cost := data.get("total_cost_usd"):  # 0.0 where the server stated none
            usage.cost_usd, usage.cost_basis = cost, "reported"
        return usage

    def final_text(self, messages: Messages) -> str:
        if self._asked_again and messages and not self.structured:
            return messages[-1]
        return super().final_text(messages)

    def failure(self, exit: Exit) -> GatewayError | None:
        if not self.ended:
            return matched(STDERR_ERRORS, COLOUR.sub("", exit.stderr), login=LOGIN)
        data = self.result_event
        if data.get("is_error"):
            return _result_error(data)
        if self.stop_reason == "refusal":
            return Refused("Grok declined to answer; rephrase the prompt or choose another model.")
        if self.stop_reason == "max_tokens":
            return TRUNCATED()
        return None

    def complaints(self, error: GatewayError, exit: Exit) -> str:
        return "\n".join([error.message, *map(str, self.result_event.get("errors") or ())])


def _seconds(since: str, now: str) -> float:
    try:
        first, last = (datetime.strptime(t, "%Y-%m-%dT%H:%M:%S.%fZ") for t in (since, now))
    except ValueError:
        return USUAL_WAIT
    return max(0.0, round((last - first).total_seconds(), 1))


def _main_model(rows: Mapping[str, Any]) -> str | None:
    """Return the session's own model: the only one, or the one whose window is told."""
    own = [name for name, row in rows.items() if len(rows) == 1 or "contextWindow" in row]
    return own[0] if own else None


def _said(data: object) -> str:
    """Return what a tool's result says to a person; grok prints its inner structure."""
    if isinstance(data, list):
        return "\n".join(filter(None, map(_said, data)))
    if not isinstance(data, dict):
        return data if isinstance(data, str) else ""
    if "mime_type" in data and "data" in data:
        return f"[{data['mime_type']}]"
    for name in TOLD:
        if isinstance(data.get(name), str):
            return str(data[name])
    if isinstance(data.get("stdout"), list):
        return bytes(data["stdout"]).decode("utf-8", "replace")
    return "\n".join(filter(None, (_said(v) for v in data.values() if isinstance(v, (dict, list)))))


TOLD = ("output_for_prompt", "tool_output_for_prompt", "text", "content", "message")


def TRUNCATED() -> LimitReached:
    return LimitReached("The answer hit the model's output limit and is cut off.")


def _result_error(data: Mapping[str, Any]) -> GatewayError:
    text, told = _error_text(data)
    subtype = data.get("subtype")
    if subtype == "error_max_turns":
        return LimitReached(f"{text}; allow more with -o max_turns N.")
    if subtype == "error_max_structured_output_retries":
        return ProtocolError(f"The answer does not fit the schema: {text}.")
    if data.get("stop_reason") == "cancelled":
        return ActionDenied(
            "Grok ended the turn because an action was not allowed; "
            "what it may do is set with -o access."
        )
    if told.get("error_kind") == "max_tokens_truncation":
        return TRUNCATED()
    if error := matched(RESULT_ERRORS, text, login=LOGIN):
        return error
    kind = error_for_status(int(told.get("http_status") or 0))
    advice = ADVICE.get(kind)
    text = text if kind is not CliError else f"Grok failed: {text}"
    return kind(f"{text}; {advice}." if advice else f"{text}.")


def _error_text(data: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the first line of an error, and its details; it comes as JSON within text, or bare."""
    text = str((data.get("errors") or [data.get("subtype")])[0])
    told: Any = None
    with suppress(ValueError):
        told = json.loads(text.partition("Internal error: ")[2])
    if isinstance(told, str):
        text = told
    elif isinstance(told, dict):
        text = str(told.get("message"))
    return text.split("\n", 1)[0].strip().rstrip("."), told if isinstance(told, dict) else {}


NOT_SIGNED_IN = (r"Not signed in", AuthFailed, "Grok is not logged in; log in with: {login}.")
UNKNOWN_MODEL = (
    r"set model '(?P<name>[^']*)': .*unknown model id",
    ModelNotFound,
    "Grok does not know the model {name}; it lists its own with: grok models",
)
NEEDED_TOOL = (
    r"Requirements unsatisfied.*?GrokBuild:(?P<tool>\w+)",
    RejectedInput,
    "Grok cannot leave out a tool that another one needs ({tool}).",
)
STDERR_ERRORS: Phrases = (
    NOT_SIGNED_IN,
    UNKNOWN_MODEL,
    (r"not found locally", SessionLost, "Grok does not have that session."),
    (r"No session found", SessionLost, "Grok has no session of this directory."),
    (r"is already in use", SessionLost, "Grok already has a session of that id."),
    (
        r"unexpected argument '(?P<what>[^']+)'",
        CliError,
        "This grok does not know the flag {what}; upgrade it with: grok update",
    ),
    (r"--deny \"(?P<rule>.*)\": (?P<why>.*)", RejectedInput, "Grok refused a rule: {why}."),
    NEEDED_TOOL,
    (r"(?m)^Error: (?P<line>.+)$", CliError, "Grok failed: {line}."),
)
RESULT_ERRORS: Phrases = (
    NOT_SIGNED_IN,
    UNKNOWN_MODEL,
    (
        r"unknown effort level '(?P<word>[^']*)'; use one of: (?P<menu>.*)",
        RejectedInput,
        "effort {word} is not one of this model's: {menu}.",
    ),
    (r"^Unauthorized|API key", AuthFailed, "{text}; log in with: {login}."),
    (r"(?i)^rate.limit|status 429", RateLimited, "{text}; try again later."),
    (r"empty response from model", EmptyReply, "Grok got no answer from the model: {text}."),
    (r"reqwest error|Transport error", NetworkFailed, "The connection failed: {text}."),
    NEEDED_TOOL,
)
ADVICE: dict[type[GatewayError], str] = {
    AuthFailed: "log in with: " + LOGIN,
    ModelNotFound: "choose another with -o model NAME, as listed by: grok models",
    Overloaded: "try again later",
}
