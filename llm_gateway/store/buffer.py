"""Events on their way to the recorder: adjacent pieces of one message become one row."""

from __future__ import annotations

from typing import Any

from llm_gateway.events import Event, Reasoning, Text
from llm_gateway.store.codec import encode
from llm_gateway.store.text import dumps

__all__ = ["EventBuffer", "Row"]

Row = tuple[int, int, int, str, str]  # seq, attempt, t, kind, data
_MERGE_CHARS = 65_536


class _Entry:
    __slots__ = ("attempt", "data", "kind", "message", "parts", "room", "t")

    def __init__(self, attempt: int, t: int, kind: str, data: dict[str, Any]) -> None:
        self.attempt, self.t, self.kind, self.data = attempt, t, kind, data
        self.message: int | None = data.get("message")
        self.parts: list[str] = [data["text"]] if kind in ("text", "reasoning") else []
        self.room = _MERGE_CHARS - len(data["text"]) if self.parts else 0


class EventBuffer:
    """Numbers the events of one job in the order in which they came, and forgets none until told.

    :param keep: False keeps kinds, names and sizes only.
    """

    def __init__(self, keep: bool, next_seq: int = 0) -> None:
        self.keep = keep
        self.chars = 0
        self._next = next_seq
        self._entries: list[_Entry] = []
        self._rows: list[Row] = []

    def __len__(self) -> int:
        return len(self._entries) + len(self._rows)

    def add(self, attempt: int, t: int, event: Event) -> None:
        """Take one event in; ``t`` is in milliseconds since the attempt began."""
        if isinstance(event, (Text, Reasoning)) and self._joined(attempt, event):
            return
        # Encoded whole first: sizes are told only when the row is complete.
        kind, data = encode(event, True if isinstance(event, (Text, Reasoning)) else self.keep)
        self._entries.append(_Entry(attempt, t, kind, data))
        if isinstance(event, (Text, Reasoning)):
            self.chars += len(event.text)

    def rows(self) -> list[Row]:
        """Everything not yet forgotten, as rows; the same rows again until ``forget``."""
        for entry in self._entries:
            data = dumps(self._finished(entry))
            self._rows.append((self._next, entry.attempt, entry.t, entry.kind, data))
            self._next += 1
        self._entries = []
        return self._rows

    def forget(self) -> None:
        """The rows have been written."""
        self._rows = []
        self.chars = 0

    def _joined(self, attempt: int, event: Text | Reasoning) -> bool:
        last = self._entries[-1] if self._entries else None
        kind = "text" if isinstance(event, Text) else "reasoning"
        if last is None or last.kind != kind or last.attempt != attempt:
            return False
        if last.room < len(event.text) or last.message != getattr(event, "message", None):
            return False
        last.parts.append(event.text)
        last.room -= len(event.text)
        self.chars += len(event.text)
        return True

    def _finished(self, entry: _Entry) -> dict[str, Any]:
        if not entry.parts:
            return entry.data
        text = "".join(entry.parts)
        said: dict[str, Any] = {"text": text} if self.keep else {"chars": len(text)}
        if entry.message is not None:
            said["message"] = entry.message
        return said
