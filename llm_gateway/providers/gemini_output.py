"""What gemini prints: its stream-json, its retries on stderr, its failures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
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
    RateLimited,
    Refused,
    RejectedInput,
    SessionLost,
    Transient,
)
from ..events import Event, Messages, Notice, Usage
from ..records import field, record
from .base import Phrases, count, error_for_status, matched
from .parsing import Exit, JsonLines

__all__ = ["INSTALL", "LOGIN", "TITLE", "GeminiParser"]

TITLE = "Gemini CLI"
INSTALL = "npm install -g @google/gemini-cli"
LOGIN = "gemini (once, at a terminal), or set GEMINI_API_KEY"

# The exit code is the HTTP status modulo 256, unless it is one of gemini's own.
STATUSES = {s % 256: s for s in (400, 401, 403, 413, 422, 429, 500, 502, 503, 504, 529)}
EXIT_CODES: dict[int, type[GatewayError]] = {
    41: AuthFailed,
    42: RejectedInput,
    44: CliError,
    52: CliError,
    53: LimitReached,
    54: CliError,
    55: ActionDenied,
}
STARTUP_ERRORS: Phrases = (
    (
        r"Error resuming session|No previous sessions found",
        SessionLost,
        "Gemini CLI does not have the session in this directory.",
    ),
    (r"Error importing session", SessionLost, "Gemini CLI cannot read the session."),
    (r"Session ID \S+ already exists", SessionLost, "Gemini CLI already has such a session."),
    (
        r"specify the GEMINI_API_KEY|set an Auth method|Invalid auth method|must specify either"
        r"|Error authenticating|Failed to sign in",
        AuthFailed,
        "Gemini CLI is not logged in; log in with: {login}",
    ),
    (
        r"Unknown arguments?: (?P<what>[\w-]+)",
        CliError,
        "This gemini does not know the flag --{what}; upgrade it with: {install}@latest",
    ),
    (
        r"not running in a trusted directory",
        ActionDenied,
        "Gemini CLI refuses to run in a directory that it does not trust.",
    ),
    (
        r"YOLO mode is disabled",
        ActionDenied,
        "Gemini CLI's own settings forbid yolo mode, which access full needs.",
    ),
)
API_ERRORS: Phrases = (
    (r"API[ _]key not valid|API_KEY_INVALID|UNAUTHENTICATED", AuthFailed, "{said}"),
    (r"is not found for (this )?API version|ModelNotFound", ModelNotFound, "{said}"),
    (r"token count .*exceeds the maximum", RejectedInput, "{said}"),
    (r"quota|RESOURCE_EXHAUSTED|exhausted your capacity", RateLimited, "{said}"),
    (
        r"\bterminated\b|fetch failed|socket hang up|E(CONN|PIPE|NOTFOUND|TIMEDOUT|AI_AGAIN)",
        NetworkFailed,
        "The connection to Gemini broke ({said})",
    ),
    (r"max session turns", LimitReached, "{said}"),
)
PROBLEMS: Phrases = (
    (r"exceeded the token limit", LimitReached, "The answer hit the model's output limit."),
    (
        r"blocked due to (?P<why>.+)",
        Refused,
        "Gemini's answer was blocked due to {why}; rephrase the prompt or choose another model.",
    ),
    (r"empty response|no final response", EmptyReply, "Gemini ended without an answer."),
    (r"Maximum session turns", LimitReached, "Gemini reached the maximum of session turns."),
    (
        r"Loop detected",
        LimitReached,
        "Gemini was repeating itself and was stopped; the answer is cut off.",
    ),
)
ADVICE: dict[type[GatewayError], str] = {
    AuthFailed: "log in with: " + LOGIN,
    ModelNotFound: "choose another with -o model NAME, e.g. -o model flash",
    RateLimited: "try again later",
    Overloaded: "try again later",
    NetworkFailed: "try again later",
}
RETRY_WORDS: dict[type[GatewayError], str] = {
    RateLimited: "a rate limit",
    NetworkFailed: "a failed connection",
}
REFUSALS = ("tool_not_registered", "policy_violation")
OUTSIDE = re.compile(r"resolves outside the allowed|requires user confirmation|denied by policy")
FENCED = re.compile(r"\s*```\w*[ \t]*\n(.*?)\n?```\s*", re.DOTALL)
NOISE = re.compile(
    r"Warning: |Ripgrep is not|\[STARTUP\]|YOLO mode is enabled|\(node:|\(Use `node|at \S|\}?$"
)
ANSI = re.compile(r"\x1b\[[0-9;]*m")
ATTEMPT = re.compile(r"Attempt (?P<number>\d+) failed(?: with status (?P<status>\d{3}))?")
WAITS = re.compile(r"Retrying (?:after (?P<ms>\d+)ms|with backoff)")
DELAY = re.compile(r"retryDelayMs: \d+")
LONGEST_LINE, MOST_LINES = 64 * 1024, 1000
FIRST_WAIT, LONGEST_WAIT = 5.0, 30.0
LONGEST_OWN_WAIT = 45.0  # with its share of chance; longer ones are the vendor's


@record
class GeminiParser(JsonLines):
    """stream-json. Its text is deltas; thoughts and the stop reason are not told.

    ``key_left_out``: a login that the workspace's ``.env`` holds was kept from this run.
    """

    title = TITLE
    structured: bool = False
    key_left_out: bool = False
    result_event: Mapping[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _echoed: bool = False
    _stderr: str = ""
    _attempt: list[str] = field(default_factory=list)

    def event(self, data: Mapping[str, Any], out: list[Event]) -> None:
        kind = data.get("type")
        if kind == "message":
            self._message(data, out)
        elif kind == "tool_use":
            self.end_message()
            id, name = str(data.get("tool_id")), str(data.get("tool_name"))
            out.append(self.call(id, name, data.get("parameters")))
        elif kind == "tool_result":
            self._tool_result(data, out)
        elif kind == "init":
            out.append(self.begin(str(data.get("session_id")), _named(data.get("model"))))
        elif kind == "error":
            self._problem(data, out)
        elif kind == "result":
            self._result(data, out)

    def _message(self, data: Mapping[str, Any], out: list[Event]) -> None:
        if data.get("role") == "user":
            self._echoed = True
        elif data.get("content"):
            out.append(self.say(str(data["content"])))

    def _tool_result(self, data: Mapping[str, Any], out: list[Event]) -> None:
        error = data.get("error") or {}
        text = str(data.get("output") or error.get("message") or "")
        failed = data.get("status") == "error"
        refused = failed and (error.get("type") in REFUSALS or bool(OUTSIDE.search(text)))
        id = str(data.get("tool_id"))
        out.append(self.result(id, text, is_error=failed, refused=refused))

    def _problem(self, data: Mapping[str, Any], out: list[Event]) -> None:
        text = str(data.get("message"))
        self.problems.append(text)
        if data.get("severity") == "warning" and not matched(PROBLEMS, text):
            out.append(Notice("warning", f"gemini: {text}"))

    def _result(self, data: Mapping[str, Any], out: list[Event]) -> None:
        self.ended = True
        self.result_event = data
        stats = data.get("stats") or {}
        self.model = _main_model(stats.get("models") or {}, self.model)
        self.usage = _usage(stats)
        out.append(self.usage)

    def final_text(self, messages: Messages) -> str:
        text = messages[-1] if messages else ""
        fenced = FENCED.fullmatch(text) if self.structured else None
        return fenced[1] if fenced else text

    def feed_stderr(self, text: str) -> list[Event]:
        *lines, rest = (self._stderr + text).split("\n")
        self._stderr = rest[-LONGEST_LINE:]
        return [notice for line in lines for notice in self._retries(line)]

    def _retries(self, line: str) -> Iterator[Notice]:
        """The message between ``Attempt`` and ``Retrying`` may have line breaks in it."""
        if ATTEMPT.match(line):
            self._attempt = [line]
        elif self._attempt:
            self._attempt.append(line)
        if self._attempt and (waits := WAITS.search(line)):
            yield _retry("\n".join(self._attempt), waits["ms"])
            self._attempt = []
        if "Max attempts reached" in line or len(self._attempt) > MOST_LINES:
            self._attempt = []

    def failure(self, exit: Exit) -> GatewayError | None:
        error = self._failure(exit)
        if isinstance(error, AuthFailed) and self.key_left_out:
            error.message += (
                "; the workspace's .env is left out unless you trust it with -o trust_workspace 1"
            )
        return error

    def complaints(self, error: GatewayError, exit: Exit) -> str:
        told = str((self.result_event.get("error") or {}).get("message") or error.message)
        return "\n".join([told, *DELAY.findall(exit.stderr)[-1:]])

    def _failure(self, exit: Exit) -> GatewayError | None:
        if not self.ended:
            # It goes without waiting for its output where it sends nothing to the model.
            cut_off = self.session_id and not self._echoed and exit.code == 0
            return _too_long() if cut_off else _startup_error(exit)
        if error := self.result_event.get("error"):
            return _api_error(str(error.get("message")), exit)
        problems = "\n".join(self.problems)
        if error := matched(PROBLEMS, problems):
            return error
        if self.result_event.get("status") == "error":
            return CliError(f"Gemini CLI failed: {problems or 'it does not say why'}")
        if not (self.result_event.get("stats") or {}).get("models") and not self.reply().messages:
            return _too_long()
        return None


def _too_long() -> RejectedInput:
    return RejectedInput("The conversation is longer than the context of the Gemini model.")


def _named(model: object) -> str | None:
    """``auto`` and its like are no model but the order to choose one."""
    return str(model) if model and not str(model).startswith("auto") else None


def _main_model(models: Mapping[str, Any], named: str | None) -> str | None:
    """Return who answered: the named model, else the busiest; of equals the router came first."""
    if named in models or not models:
        return named
    return max(reversed([*models]), key=lambda name: count(models[name], "total_tokens"))


def _usage(stats: Mapping[str, Any]) -> Usage:
    """Read this run's tokens; thoughts are in the total alone. After long prompts it has none."""
    if not stats.get("models"):
        return Usage()
    read, said = count(stats, "input_tokens"), count(stats, "output_tokens")
    thoughts = max(0, count(stats, "total_tokens") - read - said)
    cached = count(stats, "cached")
    return Usage(read, said + thoughts, cache_read=cached, reasoning=thoughts)


def _retry(text: str, ms: str | None) -> Notice:
    found = ATTEMPT.match(text)
    assert found
    number, kind = int(found["number"]), _retry_kind(text, found["status"])
    seconds = int(ms) / 1000 if ms else min(FIRST_WAIT * 2 ** (number - 1), LONGEST_WAIT)
    return Notice(
        "retry",
        f"gemini waits {seconds:.0f} s after {RETRY_WORDS.get(kind, 'a server error')} "
        f"(attempt {number})",
        seconds=seconds,
        error=kind,
        stated=seconds > LONGEST_OWN_WAIT,
    )


def _retry_kind(text: str, status: str | None) -> type[GatewayError]:
    if status:
        kind = error_for_status(int(status))
        return kind if issubclass(kind, Transient) else Overloaded
    if re.search(r"overloaded|UNAVAILABLE|5xx|unavailable", text):
        return Overloaded
    return RateLimited if "429" in text or "Retrying after" in text else NetworkFailed


def _startup_error(exit: Exit) -> GatewayError | None:
    if error := matched(STARTUP_ERRORS, exit.stderr, login=LOGIN, install=INSTALL):
        return error
    if not exit.code:
        return None
    lines = [line.strip() for line in ANSI.sub("", exit.stderr).splitlines()]
    told = next((line for line in reversed(lines) if not NOISE.match(line)), "")
    kind = EXIT_CODES.get(exit.code, CliError)
    text = f"Gemini CLI failed with exit code {exit.code}" + (f": {told}" if told else "")
    return kind(_advised(text, kind))


def _api_error(message: str, exit: Exit) -> GatewayError:
    said, status = _readable(message), _status(message, exit)
    error = matched(API_ERRORS, message, said=said)
    kind = type(error) if error else error_for_status(status) if status else CliError
    text = error.message if error else f"{said} (HTTP {status})" if status else said
    return kind(_advised(text, kind))


def _advised(text: str, kind: type[GatewayError]) -> str:
    advice, text = ADVICE.get(kind), text.rstrip(".")
    return f"{text}; {advice}" if advice else f"{text}."


def _readable(message: str) -> str:
    """``[API Error: {"error": {"message": "x."}}]`` → ``x``."""
    text = message.removeprefix("[API Error: ")
    try:
        inner = json.JSONDecoder().raw_decode(text)[0]["error"]
        text = str(inner["message"])
    except (ValueError, KeyError, TypeError):
        text = text.split("\n", 1)[0].removesuffix("]")
    return text.split("\n", 1)[0].strip().rstrip(".")


def _status(message: str, exit: Exit) -> int | None:
    if found := re.search(r'"code":\s*(\d{3})\b', message):
        return int(found[1])
    if told := re.findall(r"^  (?:status|code): (\d{3})\b", exit.stderr, re.MULTILINE):
        return int(told[-1])
    return STATUSES.get(exit.code or 0)
