"""What claude prints, as steps for the fake CLI; only the keys that mean something."""

from __future__ import annotations

from typing import Any

__all__ = [
    "abandoned",
    "answer",
    "ended",
    "init",
    "message",
    "refused_tool",
    "retry",
    "says",
    "thinks",
    "tool",
]

MODEL = "claude-fake-1"
VERSION = "2.1.330"
Step = dict[str, Any]


def line(**data: Any) -> Step:
    """One event of the session."""
    return {"line": {**data, "session_id": "$SESSION"}}


def init(**data: Any) -> Step:
    """The first line."""
    return line(
        type="system",
        subtype="init",
        model=MODEL,
        claude_code_version=VERSION,
        tools=["Read", "Grep", "Glob"],
        **data,
    )


def says(*texts: str, id: str = "msg_$CALL", start: bool = True) -> list[Step]:
    """Text of a message, delta by delta; without its end."""
    begin = [_stream(type="message_start", message={"id": id})] if start else []
    return begin + [_delta(type="text_delta", text=text) for text in texts]


def thinks(*texts: str) -> list[Step]:
    """Thinking, delta by delta."""
    return [_delta(type="thinking_delta", thinking=text) for text in texts]


def message(*texts: str, id: str = "msg_$CALL") -> list[Step]:
    """A whole message: streamed, then told once more as a whole."""
    content = [{"type": "text", "text": "".join(texts)}]
    whole = line(
        type="assistant", message={"id": id, "model": MODEL, "content": content}, uuid=f"uuid-{id}"
    )
    return [*says(*texts, id=id), whole, _stream(type="message_stop")]


def abandoned(*texts: str, id: str = "msg_$CALL") -> list[Step]:
    """A message that breaks off, so that claude streams it again."""
    return [
        *says(*texts, id=id),
        line(
            type="stream_event",
            event={"type": "message_stop"},
            abandoned_blocks={"from_block_index": 0},
        ),
    ]


def tool(name: str, input: dict[str, Any], output: str, id: str = "toolu_1") -> list[Step]:
    """An action that ran."""
    return [_use(name, input, id), _result_of(id, output)]


def refused_tool(name: str, input: dict[str, Any], id: str = "toolu_9") -> list[Step]:
    """An action that was not allowed."""
    return [
        _use(name, input, id),
        line(type="system", subtype="permission_denied", tool_name=name, tool_use_id=id),
        _result_of(id, "Permission denied", is_error=True),
    ]


def retry(
    seconds: float, status: int | None = 429, error: str = "rate_limit", attempt: int = 1
) -> Step:
    """Claude is going to wait and try again."""
    return line(
        type="system",
        subtype="api_retry",
        attempt=attempt,
        max_retries=10,
        retry_delay_ms=seconds * 1000,
        error_status=status,
        error=error,
    )


def ended(result: str | None, **data: Any) -> Step:
    """The last line."""
    usage = {
        "input_tokens": 200,
        "cache_creation_input_tokens": 50,
        "cache_read_input_tokens": 1000,
        "output_tokens": 34,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    told = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "stop_reason": "end_turn",
        "num_turns": 1,
        "result": result,
        "usage": usage,
        "total_cost_usd": 0.002,
        "permission_denials": [],
    }
    return line(**{**told, **data})


def answer(*texts: str, **data: Any) -> list[Step]:
    """A whole turn of one message."""
    return [init(), *message(*texts), ended("".join(texts), **data)]


def _stream(**event: Any) -> Step:
    return line(type="stream_event", event=event, parent_tool_use_id=None)


def _delta(**delta: Any) -> Step:
    return _stream(type="content_block_delta", index=0, delta=delta)


def _use(name: str, input: dict[str, Any], id: str) -> Step:
    block = {"type": "tool_use", "id": id, "name": name, "input": input}
    told = {"id": f"msg_of_{id}", "model": MODEL, "content": [block]}
    return line(type="assistant", message=told, uuid=f"uuid-{id}")


def _result_of(id: str, output: str, **data: Any) -> Step:
    block = {"type": "tool_result", "tool_use_id": id, "content": output, **data}
    return line(type="user", message={"role": "user", "content": [block]})
