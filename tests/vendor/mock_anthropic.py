"""Anthropic's Messages API as the mock model server speaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mock_directives import (
    Conversation,
    Reply,
    ToolResult,
    split_nudges,
    strip_injected,
)

USAGE = {
    "input_tokens": 200,
    "cache_creation_input_tokens": 50,
    "cache_read_input_tokens": 1000,
    "output_tokens": 34,
    "service_tier": "standard",
}
STRUCTURED_TOOL = "StructuredOutput"
_STOP = {"end": "end_turn", "tool": "tool_use", "max_tokens": "max_tokens", "refusal": "refusal"}
_ERRORS = {
    400: ("invalid_request_error", "messages: the mock rejects this request"),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use this resource."),
    404: ("not_found_error", "model: not-found"),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    529: ("overloaded_error", "Overloaded"),
}


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content") or []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content)


def _flat(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def conversation(body: dict[str, Any]) -> Conversation:
    """Read a Messages request."""
    names: dict[str, str] = {}
    turns: list[str] = []
    results: list[ToolResult] = []
    for message in body.get("messages", []):
        blocks = _blocks(message)
        if message.get("role") == "assistant":
            for block in blocks:
                if block.get("type") == "tool_use":
                    names[block["id"]] = block["name"]
        if message.get("role") != "user":
            continue
        returned = [block for block in blocks if block.get("type") == "tool_result"]
        for block in returned:
            results.append(
                ToolResult(
                    names.get(block.get("tool_use_id", ""), "?"),
                    _flat(block.get("content")),
                    bool(block.get("is_error")),
                )
            )
        if returned:
            continue
        texts = [block.get("text", "") for block in blocks if block.get("type") == "text"]
        said = "".join(strip_injected(text) for text in texts)
        if said.strip():
            before = len(split_nudges(turns)[0])
            turns.append(said)
            if len(split_nudges(turns)[0]) > before:
                results = []
    real, nudges = split_nudges(turns)
    tools = body.get("tools") or []
    schema = next((t.get("input_schema") for t in tools if t.get("name") == STRUCTURED_TOOL), None)
    if schema is not None and any(result.name == STRUCTURED_TOOL for result in results):
        schema = None
        results = [result for result in results if result.name != STRUCTURED_TOOL]
    return Conversation(
        model=str(body.get("model", "")),
        stream=bool(body.get("stream")),
        user_turns=real,
        tool_results=results,
        tool_names=[tool.get("name", "") for tool in tools],
        schema=schema,
        nudges=nudges,
    )


def _content(reply: Reply, number: int) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if reply.thinking:
        content.append({"type": "thinking", "thinking": reply.thinking, "signature": "c2ln"})
    if reply.structured is not None:
        content.append(_use(number, STRUCTURED_TOOL, reply.structured))
    else:
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        if reply.tool:
            content.append(_use(number, reply.tool.name, reply.tool.arguments))
    return content


def _use(number: int, name: str, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_mock_{number}", "name": name, "input": arguments}


def _stop_reason(reply: Reply) -> str:
    return "tool_use" if reply.structured is not None else _STOP[reply.stop]


def whole(reply: Reply, model: str, number: int) -> dict[str, Any]:
    """Return the answer of a request that does not stream."""
    return {
        "id": f"msg_mock_{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": _content(reply, number),
        "stop_reason": _stop_reason(reply),
        "stop_sequence": None,
        "usage": USAGE,
    }


def _delta_events(block: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    if block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "tool_use":
        yield {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    else:
        for piece in reply.deltas():
            yield {"type": "text_delta", "text": piece}


def events(reply: Reply, model: str, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the server-sent events of a streamed answer, as (event name, data)."""
    message = whole(reply, model, number)
    message.update(content=[], stop_reason=None, usage={**USAGE, "output_tokens": 1})
    yield "message_start", {"type": "message_start", "message": message}
    for index, block in enumerate(_content(reply, number)):
        empty: dict[str, Any] = {**block}
        for key, blank in (("text", ""), ("thinking", ""), ("signature", ""), ("input", {})):
            if key in empty:
                empty[key] = blank
        start = {"type": "content_block_start", "index": index, "content_block": empty}
        yield "content_block_start", start
        for delta in _delta_events(block, reply):
            data = {"type": "content_block_delta", "index": index, "delta": delta}
            yield "content_block_delta", data
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": ended, "usage": USAGE}
    yield "message_stop", {"type": "message_stop"}


def error(status: int, number: int) -> dict[str, Any]:
    """Return the body of an HTTP error."""
    kind, text = _ERRORS.get(status, ("api_error", "mock error"))
    return {
        "type": "error",
        "error": {"type": kind, "message": text},
        "request_id": f"req_mock_{number}",
    }
