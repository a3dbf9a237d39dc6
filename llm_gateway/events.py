"""The typed things that a CLI says while it runs, in the order in which it says them.

A provider's parser turns bytes into these; models, the recorder and jobs read them. They are plain
slotted records because a busy stream makes hundreds of thousands of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Union, overload

from .errors import GatewayError
from .records import field, record

__all__ = [
    "Done",
    "Event",
    "Messages",
    "Notice",
    "Reasoning",
    "Reply",
    "Session",
    "Text",
    "ToolCall",
    "ToolResult",
    "Usage",
]


@record(slots=True)
class Session:
    """The vendor's session that this run lives in; ``model`` and ``cli_version`` where told."""

    session_id: str
    model: str | None = None
    cli_version: str | None = None


@record(slots=True)
class Text:
    """A piece of the answer. ``message`` numbers the CLI's messages of this turn from 0."""

    text: str
    message: int = 0


@record(slots=True)
class Reasoning:
    """A piece of the model's visible thinking."""

    text: str


@record(slots=True)
class ToolCall:
    """The agent starts an action of its own. ``arguments`` is what the model passed."""

    id: str
    name: str
    arguments: dict[str, Any]


@record(slots=True)
class ToolResult:
    """How an action ended; ``refused`` when the access level kept it from running."""

    id: str
    name: str
    output: str
    is_error: bool = False
    refused: bool = False


@record(slots=True)
class Usage:
    """Tokens and cost of this turn alone.

    ``input`` counts every input token, cached ones included; ``cache_read`` and ``cache_write``
    are parts of it, ``reasoning`` is a part of ``output``. ``cost_basis`` says whose figure
    ``cost_usd`` is: ``reported`` (the CLI's), ``derived`` (a difference of two of its sums),
    ``estimated`` (tokens at the vendor's list price); ``unknown`` where there are tokens alone.
    ``cost_total_usd`` is the session's running sum, where the CLI tells one.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    cost_usd: float | None = None
    cost_basis: str | None = None
    cost_total_usd: float | None = None


@record(slots=True)
class Notice:
    """Something for the person that waits, or for the recorder only.

    ``kind``: ``retry`` (the CLI waits ``seconds`` after ``error`` and tries again), ``warning``,
    ``noise`` (output that is no event of this CLI; recorded, never shown). ``stated``: the vendor
    named those seconds.
    """

    kind: str
    text: str
    seconds: float | None = None
    error: type[GatewayError] | None = None
    stated: bool = False


class Messages(Sequence[str]):
    """Texts, kept as the JSON array as which they are recorded.

    A long session says megabytes, and a single character beyond Latin-1 doubles a ``str``.
    """

    __slots__ = ("_marks", "json")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.json = bytearray(b"[]")
        self._marks = [0]  # where the brackets and commas are
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text; half a surrogate pair, which cannot be encoded, becomes a question mark."""
        item = json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")
        self.json[-1:] = b",%b]" % item if self else b"%b]" % item
        self._marks.append(len(self.json) - 1)

    def __len__(self) -> int:
        return len(self._marks) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        numbers = range(len(self))[at]
        if isinstance(numbers, range):
            return [self[number] for number in numbers]
        start, end = self._marks[numbers : numbers + 2]
        text: str = json.loads(self.json[start + 1 : end])
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


@record(slots=True)
class Reply:
    """The end of a job: what ``job result``, collecting and reusing give.

    ``text`` is the last message; ``messages`` all of them, the last included.
    """

    text: str
    messages: Messages = field(default_factory=Messages)
    session_id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    cli_version: str | None = None
    usage: Usage = field(default_factory=Usage)
    refused_actions: int = 0
    tools_run: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@record(slots=True)
class Done:
    """The run ended well."""

    reply: Reply


Event = Union[Session, Text, Reasoning, ToolCall, ToolResult, Usage, Notice, Done]
