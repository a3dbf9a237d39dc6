"""Events as rows of the recorder, and back."""

from __future__ import annotations

import json
from typing import Any

from llm_gateway.events import (
    Done,
    Event,
    Notice,
    Reasoning,
    Reply,
    Session,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from llm_gateway.records import asdict
from llm_gateway.store.text import dumps

__all__ = ["decode", "encode"]


def encode(event: Event, keep: bool) -> tuple[str, dict[str, Any]]:
    """Kind and data of an event; without ``keep`` only names and sizes, no word that was said."""
    if isinstance(event, Text):
        return "text", {**_said("text", event.text, keep), "message": event.message}
    if isinstance(event, Reasoning):
        return "reasoning", _said("text", event.text, keep)
    if isinstance(event, ToolCall):
        arguments = event.arguments if keep else len(dumps(event.arguments))
        name = "arguments" if keep else "chars"
        return "tool_call", {"id": event.id, "name": event.name, name: arguments}
    if isinstance(event, ToolResult):
        return "tool_result", {
            "id": event.id,
            "name": event.name,
            **_said("output", event.output, keep),
            "is_error": event.is_error,
            "refused": event.refused,
        }
    return _encode_rare(event, keep)


def decode(kind: str, data: str) -> Event | None:
    """The event of a row; None for a kind that this version does not know."""
    fields = json.loads(data)
    chars = fields.pop("chars", None)
    if kind == "done":
        return Done(Reply(text="", usage=Usage(**fields.pop("usage")), **fields))
    if kind == "notice":
        return Notice(fields["notice"], fields.get("text", ""), fields["seconds"])
    if chars is not None:
        fields[_WORDS[kind]] = {} if kind == "tool_call" else ""
    known = _KINDS.get(kind)
    event: Event | None = known(**fields) if known else None
    return event


_KINDS: dict[str, Any] = {
    "session": Session,
    "text": Text,
    "reasoning": Reasoning,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "usage": Usage,
}
_WORDS = {"text": "text", "reasoning": "text", "tool_call": "arguments", "tool_result": "output"}


def _said(name: str, words: str, keep: bool) -> dict[str, Any]:
    return {name: words} if keep else {"chars": len(words)}


def _encode_rare(event: Event, keep: bool) -> tuple[str, dict[str, Any]]:
    if isinstance(event, Notice):
        said = _said("text", event.text, keep)
        return "notice", {"notice": event.kind, **said, "seconds": event.seconds}
    if isinstance(event, Done):
        return "done", _encode_reply(event.reply)
    kind = "session" if isinstance(event, Session) else "usage"
    return kind, asdict(event)


def _encode_reply(reply: Reply) -> dict[str, Any]:
    """Without the words, which lie in bodies once."""
    return {
        "chars": len(reply.text),
        "session_id": reply.session_id,
        "model": reply.model,
        "stop_reason": reply.stop_reason,
        "cli_version": reply.cli_version,
        "usage": asdict(reply.usage),
        "refused_actions": reply.refused_actions,
        "tools_run": reply.tools_run,
        "facts": reply.facts,
    }
