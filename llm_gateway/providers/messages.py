"""Output in the form of the Messages API's ``stream-json``, which more than one CLI prints."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from functools import cache
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from ..events import Event, Messages, Reply, Text, Usage
from ..records import field, record
from .base import count
from .parsing import JsonLines

__all__ = ["MessagesStream"]

_PIECE = (
    rb'\{"type":"stream_event","event":\{"type":"content_block_delta","index":\d+,'
    rb'"delta":\{"type":(?:"(text|thinking)_delta","\1"|"input_json_delta","partial_json"):'
    rb'("(?:[^"]*\\"){0,999}[^"]*")\}\}'
    rb'(?:,"(?:session_id|uuid|api_message_id|thinking_display)":"[^"]*"'
    rb'|,"parent_tool_use_id":null)*\}'
)


@cache
def _piece() -> re.Pattern[bytes]:
    """A piece of a message in the form in which it comes by the hundred thousand.

    A line that is exactly this need not be read as JSON, which takes several times as long.
    Compiled at the first use, which is after the CLI has been started.
    """
    return re.compile(_PIECE)


@record
class MessagesStream(JsonLines):
    """``system``, ``stream_event``, ``assistant``, ``user`` and, at the end, ``result``.

    Text arrives as deltas and once more whole; after a retry of the CLI's own the abandoned text
    is streamed again, so what is already out is held back.
    """

    structured: bool = False
    result_event: Mapping[str, Any] = field(default_factory=dict)
    _streamed: set[str] = field(default_factory=set)
    _streaming: bool = False
    _block_starts: dict[int, int] = field(default_factory=dict)
    _shown: str = ""
    _counted: dict[str, dict[str, int]] = field(default_factory=dict)
    _counting: str = ""

    # What the CLIs do differently.

    @abstractmethod
    def system(self, data: Mapping[str, Any], out: list[Event]) -> None:
        """Take a ``system`` event."""

    @abstractmethod
    def was_refused(self, id: str, output: str) -> bool:
        """Return whether an action was kept from running."""

    @abstractmethod
    def usage_of(self, data: Mapping[str, Any]) -> Usage:
        """Return the usage that a ``result`` tells."""

    def ignores(self, block: Mapping[str, Any]) -> bool:
        """Return whether a ``tool_use`` is the CLI's own affair."""
        return False

    def output_of(self, content: object) -> str:
        """Return what a tool said, as text."""
        if isinstance(content, str):
            return content
        if isinstance(content, list):
            texts = (str(part.get("text", "")) for part in content if isinstance(part, dict))
            return "\n".join(texts)
        return ""

    # What they have in common.

    def lines(self, lines: list[bytes], out: list[Event]) -> None:
        match = _piece().fullmatch
        for line in lines:
            if (piece := match(line)) is None or not self.piece(piece, out):
                self.line(line, out)

    def piece(self, piece: re.Match[bytes], out: list[Event]) -> bool:
        """Take a piece as ``event`` would; False where its text is none."""
        kind, quoted = piece.groups()
        if kind is None:  # an action's arguments come whole later
            return True
        try:
            text, end = scanstring(string := quoted.decode(), 1)
        except ValueError:
            return False
        if end < len(string):
            return False
        if kind == b"text":
            self._answer(text, out)
        else:
            out.append(self.think(text))
        return True

    def event(self, data: Mapping[str, Any], out: list[Event]) -> None:
        kind = data.get("type")
        if kind == "stream_event":
            if not data.get("parent_tool_use_id"):
                self._stream(data, out)
        elif kind == "assistant":
            self.assistant(data, out)
        elif kind == "user":
            self._user(data, out)
        elif kind == "system":
            self.system(data, out)
        elif kind == "result":
            self._result(data, out)

    def _stream(self, data: Mapping[str, Any], out: list[Event]) -> None:
        event = data["event"]
        kind = event["type"]
        if kind == "content_block_delta":
            delta = event["delta"]
            if delta["type"] == "text_delta":
                self._answer(delta["text"], out)
            elif delta["type"] == "thinking_delta":
                out.append(self.think(delta["thinking"]))
        elif kind == "content_block_start":
            self._block_starts[event["index"]] = self._length
        elif kind == "message_start":
            self._counting = event["message"]["id"]
            self._count(self._counting, event["message"])
            self._begin_message(self._counting)
        elif kind == "message_delta":
            self._count(self._counting, event)
        elif kind == "message_stop":
            self._streaming = False
            if abandoned := data.get("abandoned_blocks"):
                self.abandon(abandoned.get("from_block_index", 0))

    def _count(self, id: str, told: Mapping[str, Any]) -> None:
        """Keep the largest counts of a message: it is told more than once, the last time whole."""
        row = self._counted.setdefault(id, {})
        for key, value in (told.get("usage") or {}).items():
            if type(value) is int:
                row[key] = max(value, row.get(key, 0))

    def _begin_message(self, id: str) -> None:
        if self._streaming:
            self.abandon()
        self.end_message()
        self._streaming = True
        self._block_starts = {}
        self._streamed.add(id)

    def abandon(self, from_block: int = 0) -> None:
        """Take back the blocks that will be streamed again; what is on the screen stays there."""
        kept = self._block_starts.get(from_block, self._length if from_block else 0)
        if kept == self._length:
            return
        text = "".join(self._current)
        if len(text) > len(self._shown):
            self._shown = text
        self._current, self._length = [text[:kept]] if kept else [], kept

    def _answer(self, text: str, out: list[Event]) -> None:
        if self.structured:
            self.say(text)
            return
        if not self._shown:
            out.append(self.say(text))
            return
        begun = self._length  # that far it is what was shown
        self.say(text)
        if self._shown.startswith(text, begun):
            return
        if text.startswith(rest := self._shown[begun:]):
            out.append(Text(text[len(rest) :], self._number))
        else:
            self._number += 1
            out.append(Text("".join(self._current), self._number))
        self._shown = ""

    def assistant(self, data: Mapping[str, Any], out: list[Event]) -> None:
        """Take a whole message; of what was streamed already only its actions are new."""
        message = data["message"]
        nested = data.get("parent_tool_use_id")
        self._count(message["id"], message)
        for block in message.get("content") or ():
            kind = block.get("type")
            if kind == "text" and not nested and message["id"] not in self._streamed:
                self._begin_message(message["id"])
                self._streaming = False
                self._answer(block["text"], out)
            elif kind == "tool_use" and not self.ignores(block):
                if not nested:
                    self.end_message()
                out.append(self.call(block["id"], block["name"], block["input"]))

    def _user(self, data: Mapping[str, Any], out: list[Event]) -> None:
        content = data["message"].get("content")
        for block in content if isinstance(content, list) else ():
            id = str(block.get("tool_use_id"))
            if block.get("type") != "tool_result" or id not in self.tools_open:
                continue
            text = self.output_of(block.get("content"))
            refused, is_error = self.was_refused(id, text), bool(block.get("is_error"))
            out.append(self.result(id, text, is_error=is_error, refused=refused))

    def _result(self, data: Mapping[str, Any], out: list[Event]) -> None:
        self.ended = True
        self.result_event = data
        self.session_id = data.get("session_id") or self.session_id
        self.stop_reason = data.get("stop_reason")
        self.refused = max(self.refused, len(data.get("permission_denials") or ()))
        self.facts["num_turns"] = data.get("num_turns")
        self.usage = self.usage_of(data)
        self._late_answer(data, out)
        out.append(self.usage)

    def _late_answer(self, data: Mapping[str, Any], out: list[Event]) -> None:
        """Say the result where nothing was streamed: a schema's answer, a non-streamed one."""
        if data.get("is_error"):
            return
        result = str(data.get("result") or "")
        self.end_message()
        if self.structured:
            self._messages = Messages([result] if result else [])
            out.append(Text(result, 0))
        elif result and not self._messages:
            out.append(self.say(result))

    def reply(self) -> Reply:
        if not self.ended:
            self.usage = self._so_far()
        return super().reply()

    def _so_far(self) -> Usage:
        """Return the tokens of a run that was ended before it could sum them up."""
        sums: dict[str, int] = {}
        for row in self._counted.values():
            for key, value in row.items():
                sums[key] = sums.get(key, 0) + value
        return self.tokens_of({"usage": sums}) if sums else Usage()

    def tokens_of(self, data: Mapping[str, Any]) -> Usage:
        """Return a result's tokens; the cached ones are no part of its ``input_tokens``."""
        u = data.get("usage") or {}
        read, write = count(u, "cache_read_input_tokens"), count(u, "cache_creation_input_tokens")
        return Usage(
            input=count(u, "input_tokens") + read + write,
            output=count(u, "output_tokens"),
            cache_read=read,
            cache_write=write,
        )

    def final_text(self, messages: Messages) -> str:
        result = self.result_event.get("result")
        if isinstance(result, str) and not self.result_event.get("is_error"):
            return result
        return messages[-1] if messages else ""
