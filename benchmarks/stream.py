"""A long session of claude's as it prints it: shapes and sizes of lines as recorded from 2.1.330.

By bytes about half is text in pieces (some 300 bytes a line, of which 30 are text), a quarter
results of tools (some kB), the rest the same messages once more as a whole and the lines between.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["write_stream"]

SESSION = "6f015b72-8271-449f-a5df-2ad1533904a8"
TALK = (
    "the file a change of parser and reads its tests which now pass because value returned before "
    "naïve “quotes” error line function import module — should keep path when it is not there"
)
WORDS = TALK.split()
TOKENS = {
    "input_tokens": 200,
    "cache_creation_input_tokens": 50,
    "cache_read_input_tokens": 1000,
    "output_tokens": 34,
    "service_tier": "standard",
}
PIECES = 60
Line = dict[str, Any]


class Talk:
    """Makes turns; the same ones every time."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)

    def turn(self) -> Iterator[Line]:
        """A message in pieces and as a whole, an action, and what came of it."""
        message, action = f"msg_{self._id()[:24]}", f"toolu_{self._id()[:24]}"
        yield self._event(message, type="message_start", message=self._message(message, []))
        pieces = [self._words(6) + " " for _ in range(PIECES)]
        yield from self._block(message, 0, "text_delta", "text", pieces)
        block: Line = {"type": "text", "text": "".join(pieces)}
        yield self._whole("assistant", message=self._message(message, [block]))
        given = {"command": f"grep -rn {self._words(2)!r} src", "description": self._words(8)}
        text = json.dumps(given)
        parts = [text[at : at + 16] for at in range(0, len(text), 16)]
        yield from self._block(message, 1, "input_json_delta", "partial_json", parts)
        block = {"type": "tool_use", "id": action, "name": "Bash", "input": given}
        yield self._whole("assistant", message=self._message(message, [block]))
        yield self._event(message, type="message_delta", delta={"stop_reason": "tool_use"})
        yield self._event(message, type="message_stop")
        yield self._result(action)

    def _result(self, action: str) -> Line:
        lines = [f"src/{self._words(1)}.py:{n}:    {self._words(9)}" for n in range(60)]
        said = "\n".join(lines)
        block = {"tool_use_id": action, "type": "tool_result", "content": said, "is_error": False}
        told = {"stdout": said, "stderr": "", "interrupted": False, "isImage": False}
        message = {"role": "user", "content": [block]}
        return {**self._whole("user", message=message), "tool_use_result": told}

    def _block(
        self, message: str, index: int, kind: str, name: str, pieces: list[str]
    ) -> Iterator[Line]:
        begin = {"index": index, "content_block": {"type": kind.partition("_")[0], name: ""}}
        yield self._event(message, type="content_block_start", **begin)
        for piece in pieces:
            delta = {"type": kind, name: piece}
            yield self._event(message, type="content_block_delta", index=index, delta=delta)
        yield self._event(message, type="content_block_stop", index=index)

    def _event(self, of: str, **event: Any) -> Line:
        told = self._whole("stream_event", event=event)
        return {**told, "api_message_id": of}

    def _whole(self, type: str, **data: Any) -> Line:
        told = {"session_id": SESSION, "parent_tool_use_id": None, "uuid": self._id()}
        return {"type": type, **data, **told}

    def _message(self, id: str, content: list[Line]) -> Line:
        told = {"id": id, "type": "message", "role": "assistant", "model": "claude-fake"}
        return {**told, "content": content, "stop_reason": None, "usage": TOKENS}

    def _words(self, count: int) -> str:
        return " ".join(self.chance.choices(WORDS, k=count))

    def _id(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))


def write_stream(path: Path, size: int) -> None:
    """Write a session of at least ``size`` bytes, its init line excepted."""
    talk, written = Talk(), 0
    with path.open("wb") as file:
        while written < size:
            written += file.write(b"".join(map(_line, talk.turn())))
        file.write(_line(_end()))


def _end() -> Line:
    told = {"subtype": "success", "is_error": False, "stop_reason": "end_turn", "num_turns": 9}
    return {"type": "result", **told, "result": "done", "usage": TOKENS, "total_cost_usd": 0.5}


def _line(data: Line) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
