"""The Responses API as the mock model server speaks it, for OpenAI and for xAI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from mock_directives import (
    Conversation,
    Reply,
    ToolCall,
    ToolResult,
    sample,
    split_nudges,
    strip_injected,
)

USAGE = {
    "input_tokens": 1200,
    "input_tokens_details": {"cached_tokens": 1000},
    "output_tokens": 34,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 1234,
}
#: What the models endpoint of xAI lists.
GROK_MODELS = ("grok-4.6", "grok-4.5")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
_CALLS = ("function_call", "custom_tool_call")
_FAILED = re.compile(
    r"unsupported call|Script failed|Error|Failed to|Tool not found|\S+ rejected|.*was not executed"
    r"|.*[Dd]enied|.*not permitted"
)
_EXIT_CODE = re.compile(r'"exit_code":(-?\d+)|^exit: (-?\d+)', re.MULTILINE)
_OPENAI_ERRORS = {
    400: ("invalid_request_error", "invalid_value", "The mock rejects this request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("permission_error", "forbidden", "You are not allowed to use this model."),
    404: ("invalid_request_error", "model_not_found", "The requested model does not exist."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", "server_error", "The server had an error while processing."),
    503: ("server_error", "server_is_overloaded", "The engine is currently overloaded."),
    529: ("server_error", "server_is_overloaded", "The engine is currently overloaded."),
}


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [str(part.get("text", "")) for part in content or [] if isinstance(part, dict)]


def _failed(text: str) -> bool:
    """Guess from its text whether a tool call failed, as nothing else tells."""
    if code := _EXIT_CODE.search(text):
        return (code.group(1) or code.group(2)) != "0"
    return bool(_FAILED.match(text[:400]))


def conversation(body: dict[str, Any]) -> Conversation:
    """Read a Responses request."""
    names: dict[str, str] = {}
    turns: list[str] = []
    results: list[ToolResult] = []
    system = str(body.get("instructions") or "")
    items = body.get("input") or []
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    for item in items:
        kind = item.get("type", "message")
        if kind in _CALLS:
            names[item.get("call_id", "")] = item.get("name", "?")
        elif kind in _OUTPUTS:
            text = "\n".join(_texts(item.get("output")))
            name = names.get(item.get("call_id", ""), "?")
            results.append(ToolResult(name, text, _failed(text)))
        elif item.get("role") in ("system", "developer"):
            system += "\n".join(_texts(item.get("content")))
        elif item.get("role") == "user":
            said = "".join(strip_injected(text) for text in _texts(item.get("content")))
            if said.strip():
                before = len(split_nudges(turns)[0])
                turns.append(said)
                if len(split_nudges(turns)[0]) > before:
                    results = []
    real, nudges = split_nudges(turns)
    tools = offered_tools(body)
    form = (body.get("text") or {}).get("format") or {}
    return Conversation(
        model=str(body.get("model", "")),
        stream=bool(body.get("stream")),
        user_turns=real,
        tool_results=results,
        tool_names=[str(tool.get("name", tool.get("type", ""))) for tool in tools],
        schema=form.get("schema") if form.get("type") == "json_schema" else None,
        side_answer=_side_answer(system, bool(tools), items),
        forced=_forced(body, tools),
        nudges=nudges,
    )


def _forced(body: dict[str, Any], tools: list[dict[str, Any]]) -> ToolCall | None:
    """Return the call that the request leaves no choice about, as a CLI's own helpers do."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or "name" not in choice:
        return None
    chosen = [tool for tool in tools if tool.get("name") == choice["name"]]
    return ToolCall(choice["name"], sample(chosen[0].get("parameters") or {}) if chosen else {})


def _side_answer(system: str, has_tools: bool, items: list[dict[str, Any]]) -> str | None:
    """Answer what a CLI asks for itself: a title for the session, a summary of the turn."""
    last = "\n".join(_texts(items[-1].get("content"))) if items else ""
    if "<system-reminder>Write an ultra-short" in last:
        return "The mock answered"
    if not has_tools and "session title" in system.lower():
        return "Mock session title"
    return None


def _items(reply: Reply, number: int, custom: set[str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.thinking:
        summary = [{"type": "summary_text", "text": reply.thinking}]
        items.append({"type": "reasoning", "id": f"rs_{number}", "summary": summary})
    if reply.text or not (reply.tool or reply.thinking):
        content = [{"type": "output_text", "text": reply.text, "annotations": []}]
        if reply.stop == "refusal":
            content = [{"type": "refusal", "refusal": "I cannot help with that."}]
        items.append(
            {
                "type": "message",
                "id": f"msg_{number}",
                "role": "assistant",
                "status": "completed",
                "content": content,
            }
        )
    if reply.tool and reply.tool.name in custom:
        items.append(
            {
                "type": "custom_tool_call",
                "id": f"ctc_{number}",
                "call_id": f"call_mock_{number}",
                "name": reply.tool.name,
                "input": str(reply.tool.arguments.get("input", "")),
                "status": "completed",
            }
        )
    elif reply.tool:
        items.append(
            {
                "type": "function_call",
                "id": f"fc_{number}",
                "call_id": f"call_mock_{number}",
                "name": reply.tool.name,
                "arguments": json.dumps(reply.tool.arguments),
                "status": "completed",
            }
        )
    return items


def offered_tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tools of a request, also those in its input and in name spaces."""
    found: list[dict[str, Any]] = []
    waiting = list(body.get("tools") or [])
    items = body.get("input") or []
    for item in items if isinstance(items, list) else []:
        if item.get("type") == "additional_tools":
            waiting += item.get("tools") or []
    for tool in waiting:
        found += tool.get("tools") or [] if tool.get("type") == "namespace" else [tool]
    return found


def custom_tools(body: dict[str, Any]) -> set[str]:
    """Return the names of the tools that take free text instead of JSON."""
    return {str(tool.get("name")) for tool in offered_tools(body) if tool.get("type") == "custom"}


def whole(reply: Reply, model: str, number: int, custom: set[str]) -> dict[str, Any]:
    """Return the response object, complete."""
    empty = not (reply.text or reply.tool or reply.thinking or reply.stop == "refusal")
    cut = reply.stop == "max_tokens"
    return {
        "id": f"resp_mock_{number}",
        "object": "response",
        "created_at": 1790000000,
        "model": model,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "output": [] if empty else _items(reply, number, custom),
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": USAGE,
    }


def _text_events(item: dict[str, Any], at: int, reply: Reply) -> Iterator[dict[str, Any]]:
    part = item["content"][0]
    where = {"item_id": item["id"], "output_index": at, "content_index": 0}
    if part["type"] == "refusal":
        yield {"type": "response.refusal.delta", **where, "delta": part["refusal"]}
        yield {"type": "response.refusal.done", **where, "refusal": part["refusal"]}
        return
    blank = {**part, "text": ""}
    yield {"type": "response.content_part.added", **where, "part": blank}
    for piece in reply.deltas():
        yield {"type": "response.output_text.delta", **where, "delta": piece}
    yield {"type": "response.output_text.done", **where, "text": reply.text}
    yield {"type": "response.content_part.done", **where, "part": part}


def _reasoning_events(item: dict[str, Any], at: int) -> Iterator[dict[str, Any]]:
    part = item["summary"][0]
    where = {"item_id": item["id"], "output_index": at, "summary_index": 0}
    yield {"type": "response.reasoning_summary_part.added", **where, "part": {**part, "text": ""}}
    yield {"type": "response.reasoning_summary_text.delta", **where, "delta": part["text"]}
    yield {"type": "response.reasoning_summary_text.done", **where, "text": part["text"]}
    yield {"type": "response.reasoning_summary_part.done", **where, "part": part}


def events(
    reply: Reply, model: str, number: int, custom: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the server-sent events of a streamed response, as (event name, data)."""
    done = whole(reply, model, number, custom)
    started = {**done, "status": "in_progress", "output": [], "usage": None}
    started["incomplete_details"] = None
    sequence: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    for at, item in enumerate(done["output"]):
        opened = {**item, "status": "in_progress"}
        if item["type"] == "message":
            opened["content"] = []
        elif item["type"] == "reasoning":
            opened["summary"] = []
        sequence.append({"type": "response.output_item.added", "output_index": at, "item": opened})
        where = {"item_id": item["id"], "output_index": at}
        if item["type"] == "message":
            sequence.extend(_text_events(item, at, reply))
        elif item["type"] == "reasoning":
            sequence.extend(_reasoning_events(item, at))
        elif item["type"] == "function_call":
            kind = "response.function_call_arguments"
            sequence.append({"type": f"{kind}.delta", **where, "delta": item["arguments"]})
            sequence.append({"type": f"{kind}.done", **where, "arguments": item["arguments"]})
        else:
            kind = "response.custom_tool_call_input"
            sequence.append({"type": f"{kind}.delta", **where, "delta": item["input"]})
            sequence.append({"type": f"{kind}.done", **where, "input": item["input"]})
        sequence.append({"type": "response.output_item.done", "output_index": at, "item": item})
    last = "response.incomplete" if reply.stop == "max_tokens" else "response.completed"
    sequence.append({"type": last, "response": done})
    for count, event in enumerate(sequence):
        yield event["type"], {**event, "sequence_number": count}


def error(status: int, xai: bool) -> dict[str, Any]:
    """Return the body of an HTTP error, in OpenAI's or in xAI's form."""
    default = ("server_error", "server_error", "mock error")
    kind, code, text = _OPENAI_ERRORS.get(status, default)
    if xai:
        return {"code": code.replace("_", "-"), "error": text}
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


def models(xai: bool) -> dict[str, Any]:
    """Return the list of models."""
    names = GROK_MODELS if xai else ("gpt-6.1-sol",)
    data = [
        {"id": name, "object": "model", "created": 1790000000, "owned_by": "mock"} for name in names
    ]
    return {"object": "list", "data": data}


def api_key() -> dict[str, Any]:
    """Return what xAI tells about the caller's own key."""
    return {
        "redacted_api_key": "xai-...mock",
        "name": "mock key",
        "user_id": "00000000-0000-4000-8000-000000000000",
        "team_id": "00000000-0000-4000-8000-000000000001",
        "api_key_id": "00000000-0000-4000-8000-000000000002",
        "acls": ["api-key:model:*", "api-key:endpoint:*"],
        "create_time": "2026-01-01T00:00:00Z",
        "modify_time": "2026-01-01T00:00:00Z",
        "team_blocked": False,
        "api_key_blocked": False,
        "api_key_disabled": False,
    }
