"""From the bytes that a CLI prints to events: no pipes, no clock, no process.

The same parser serves live runs, replays of recorded output and property tests, so it must give
the same events however the bytes were cut into chunks.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from ..errors import (
    EmptyReply,
    GatewayError,
    OutputLimit,
    ProtocolError,
    RateLimited,
    Transient,
)
from ..events import (
    Event,
    Messages,
    Notice,
    Reasoning,
    Reply,
    Session,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from ..records import field, record

__all__ = ["LINE_CAP", "Exit", "JsonLines", "Parser"]

LINE_CAP = 64 * 1024 * 1024
NOISE_KEPT = 500
# What an event of a newer CLI can raise; such an event is noise, and the answer still counts.
UNKNOWN_SHAPE = (LookupError, TypeError, ValueError, AttributeError)


@record(frozen=True)
class Exit:
    """How the process ended, and when: its code, or the signal that killed it; its last stderr."""

    code: int | None
    signal: int | None = None
    stderr: str = ""
    stdout_noise: str = ""
    at: float = field(default_factory=time.time)


@record
class Parser(ABC):
    """Turns the output of one run into events and, at the end, a reply or an error.

    ``ended`` is true once the CLI's own end event was seen; ``tools_open`` are the actions that
    run now; ``waiting`` is why the CLI waits to try again, where it does not say for how long;
    ``limited_until`` is when a limit ends that an event of its own told.
    All are read by whoever owns the process.
    """

    title: ClassVar[str] = "The CLI"

    session_id: str | None = None
    model: str | None = None
    cli_version: str | None = None
    stop_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    refused: int = 0
    ended: bool = False
    waiting: type[GatewayError] | None = None
    limited_until: float | None = None
    tools_open: dict[str, str] = field(default_factory=dict)
    tools_run: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    noise: list[str] = field(default_factory=list)
    _messages: Messages = field(default_factory=Messages)
    _number: int = 0  # of the current message
    _current: list[str] = field(default_factory=list)
    _length: int = 0  # of what it has said

    @abstractmethod
    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of stdout and return what they complete."""

    def feed_stderr(self, text: str) -> list[Event]:
        """Take decoded text of stderr; most CLIs say nothing there that is an event."""
        return []

    def close(self) -> list[Event]:
        """Take the end of stdout and return what was still open."""
        return []

    def failure(self, exit: Exit) -> GatewayError | None:
        """Return what the CLI itself reported as a failure, if it did."""
        return None

    def finish(self, exit: Exit) -> Reply:
        """Return the reply of a run that ended by itself, or raise what it was instead."""
        error = self.failure(exit)
        if error is None and not self.ended:
            error = ProtocolError(
                f"{self.title} ended{_how(exit)} before it said that it was done{_said(exit)}."
            )
        reply = self.reply()
        if error is None and not reply.text.strip():
            error = EmptyReply(f"{self.title} ended without an answer.")
        if error is not None:
            error.session_id = error.session_id or self.session_id
            if isinstance(error, Transient):
                error.retry_at = self._again_at(error, exit)
            raise error
        return reply

    def complaints(self, error: GatewayError, exit: Exit) -> str:
        """Return what it said of its failure, whole: somewhere in it a time may be stated."""
        return error.message

    def _again_at(self, error: Transient, exit: Exit) -> float | None:
        if isinstance(error, RateLimited) and self.limited_until is not None:
            return self.limited_until
        from .stated_time import stated_time  # its expressions are worth compiling only now

        return stated_time(self.complaints(error, exit), exit.at)

    def reply(self) -> Reply:
        """Return what there is so far as a reply; ``text`` is the last message."""
        self.end_message()
        return Reply(
            text=self.final_text(self._messages),
            messages=self._messages,
            session_id=self.session_id,
            model=self.model,
            stop_reason=self.stop_reason,
            cli_version=self.cli_version,
            usage=self.usage,
            refused_actions=self.refused,
            tools_run=self.tools_run,
            facts=self.facts,
        )

    def final_text(self, messages: Messages) -> str:
        """Return the answer, given the text of all messages."""
        return messages[-1] if messages else ""

    # What a provider's parser says while it reads.

    def begin(
        self, session_id: str, model: str | None = None, cli_version: str | None = None
    ) -> Session:
        """Note the session; the event tells what is known so far."""
        self.session_id = session_id
        self.model = model or self.model
        self.cli_version = cli_version or self.cli_version
        return Session(session_id, self.model, self.cli_version)

    def say(self, text: str) -> Text:
        """Add text to the current message."""
        self._current.append(_checked(text))
        self._length += len(text)
        return Text(text, self._number)

    def end_message(self) -> None:
        """Close the current message, if it has any text."""
        if self._length:
            self._messages.append("".join(self._current))
        if self._current:
            self._number += 1
            self._current, self._length = [], 0

    def call(self, id: str, name: str, arguments: Any) -> ToolCall:
        """Note that an action starts."""
        self.tools_open[_checked(id)] = _checked(name)
        return ToolCall(id, name, arguments if isinstance(arguments, dict) else {"": arguments})

    def result(
        self, id: str, output: str, *, is_error: bool = False, refused: bool = False
    ) -> ToolResult:
        """Note that an action ended; only one that was not refused counts as run."""
        name = self.tools_open.pop(id, "")
        if refused:
            self.refused += 1
        elif name:
            self.tools_run.append(name)
        return ToolResult(id, name, _checked(output), is_error, refused)

    def think(self, text: str) -> Reasoning:
        return Reasoning(_checked(text))


@record
class JsonLines(Parser):
    """A CLI that prints one JSON object a line, and now and then something else."""

    _pending: list[bytes] = field(default_factory=list)
    _pending_size: int = 0

    @abstractmethod
    def event(self, data: Mapping[str, Any], out: list[Event]) -> None:
        """Append the events that one object means."""

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        head, newline, rest = data.partition(b"\n")
        if not newline:
            self._hold(data)
            return out
        if self._pending:
            head = b"".join(self._pending) + head
        lines = [head, *rest.split(b"\n")]
        self._pending, self._pending_size = [], 0
        self._hold(lines.pop())
        self.lines(lines, out)
        return out

    def close(self) -> list[Event]:
        out: list[Event] = []
        last, self._pending = b"".join(self._pending), []
        self.lines([last], out)
        return out

    def _hold(self, data: bytes) -> None:
        if not data:
            return
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size > LINE_CAP:
            size = LINE_CAP // (1024 * 1024)
            raise OutputLimit(f"{self.title} printed a line of more than {size} MiB.")

    def lines(self, lines: list[bytes], out: list[Event]) -> None:
        """Append the events that whole lines mean."""
        for line in lines:
            self.line(line, out)

    def line(self, line: bytes, out: list[Event]) -> None:
        """Append the events that one line means."""
        try:
            data: dict[str, Any] | None = _object(line)
        except (ValueError, RecursionError):
            data = self._unreadable(line, out)
        if data is not None:
            try:
                self.event(data, out)
            except UNKNOWN_SHAPE:
                self._noise(line, out)

    def _unreadable(self, line: bytes, out: list[Event]) -> dict[str, Any] | None:
        """The object, whatever stands around it or is broken in its text; None for any other."""
        text = line.decode("utf-8", "replace").lstrip("\ufeff").strip()
        if text in ("", "null"):
            return None
        if text.startswith("{"):
            with suppress(ValueError, RecursionError):
                found: dict[str, Any] = json.loads(text)
                return found
        self._noise(line, out)
        return None

    def _noise(self, line: bytes, out: list[Event]) -> None:
        text = line[: NOISE_KEPT * 4].decode("utf-8", "replace").strip()[:NOISE_KEPT]
        if len(self.noise) < 20:
            self.noise.append(text)
        out.append(Notice("noise", text))


_decode = json.JSONDecoder().raw_decode


def _object(line: bytes) -> dict[str, Any]:
    """``json.loads`` of an object, in two thirds of its time where nothing stands around it."""
    if not line.startswith(b"{"):
        raise ValueError(line)
    text = line.decode("utf-8", "surrogatepass")
    value, end = _decode(text)
    found: dict[str, Any] = value if end == len(text) else json.loads(text)
    return found


def _checked(text: str) -> str:
    """Refuse what the CLI's JSON has in the place of a text: the line is of an unknown shape."""
    if not isinstance(text, str):
        raise TypeError(text)
    return text


def _said(exit: Exit) -> str:
    """The end of what it wrote on stderr, in a sentence."""
    lines = exit.stderr.strip().splitlines()[-3:] if exit.code else []
    return ": " + "\n".join(lines)[-500:].rstrip(".") if lines else ""


def _how(exit: Exit) -> str:
    if exit.signal is not None:
        return f" by signal {exit.signal}"
    return f" with exit code {exit.code}" if exit.code else ""
