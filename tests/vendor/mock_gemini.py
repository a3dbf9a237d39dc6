"""Gemini's generateContent API as the mock model server speaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mock_directives import (
    Conversation,
    Reply,
    ToolResult,
    sample,
    split_nudges,
    strip_injected,
)  # fmt: skip

USAGE = {
    "promptTokenCount": 1200,
    "cachedContentTokenCount": 1000,
    "candidatesTokenCount": 29,
    "thoughtsTokenCount": 5,
    "totalTokenCount": 1234,
}
_STOP = {"end": "STOP", "tool": "STOP", "max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}
_ERRORS = {
    400: ("INVALID_ARGUMENT", "The mock rejects this request."),
    401: ("UNAUTHENTICATED", "API key not valid. Please pass a valid API key."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("NOT_FOUND", "The requested model is not found for this API version."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    529: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
}


def conversation(body: dict[str, Any], model: str, stream: bool) -> Conversation:
    """Read a generateContent request."""
    turns: list[str] = []
    results: list[ToolResult] = []
    for content in body.get("contents", []):
        if content.get("role", "user") != "user":
            continue
        parts = content.get("parts") or []
        returned = [part["functionResponse"] for part in parts if "functionResponse" in part]
        for response in returned:
            answer = response.get("response") or {}
            results.append(
                ToolResult(response.get("name", "?"), str(answer), bool(answer.get("error")))
            )
        if returned:
            continue
        said = _said(parts)
        if said.strip():
            before = len(split_nudges(turns)[0])
            turns.append(said)
            if len(split_nudges(turns)[0]) > before:
                results = []
    real, nudges = split_nudges(turns)
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    names = [
        str(declared.get("name"))
        for tool in body.get("tools") or []
        for declared in tool.get("functionDeclarations") or []
    ]
    return Conversation(
        model=model,
        stream=stream,
        user_turns=real,
        tool_results=results,
        tool_names=names,
        side_answer=_side_answer(schema) if schema else None,
        nudges=nudges,
    )


def _said(parts: list[dict[str, Any]]) -> str:
    said = ""
    for part in parts:
        text = str(part.get("text", ""))
        if "--- Content from referenced files ---" in text:
            said += strip_injected(text)
            break
        said += strip_injected(text)
    return said


def _side_answer(schema: dict[str, Any]) -> str:
    """Answer a request of the CLI's own: the model router, or another helper with a schema."""
    return json.dumps(sample(schema))


def _candidate(parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return candidate


def chunks(reply: Reply, model: str, number: int) -> Iterator[dict[str, Any]]:
    """Yield the pieces of a streamed answer."""
    common = {"modelVersion": model, "responseId": f"resp-mock-{number}"}
    if reply.thinking:
        thought = {"text": f"**Thinking** {reply.thinking}", "thought": True}
        yield {"candidates": [_candidate([thought], None)], **common}
    refused = reply.stop == "refusal"
    for piece in ["I cannot help with that."] if refused else reply.deltas():
        yield {"candidates": [_candidate([{"text": piece}], None)], **common}
    parts: list[dict[str, Any]] = []
    if reply.tool:
        call = {"name": reply.tool.name, "args": reply.tool.arguments}
        parts = [{"functionCall": call, "thoughtSignature": "c2ln"}]
    last = _candidate(parts or [{"text": ""}], _STOP[reply.stop])
    yield {"candidates": [last], "usageMetadata": USAGE, **common}


def whole(reply: Reply, model: str, number: int) -> dict[str, Any]:
    """Return the answer of a request that does not stream."""
    parts = [
        part
        for chunk in chunks(reply, model, number)
        for part in chunk["candidates"][0]["content"]["parts"]
    ]
    return {
        "candidates": [_candidate(parts, _STOP[reply.stop])],
        "usageMetadata": USAGE,
        "modelVersion": model,
        "responseId": f"resp-mock-{number}",
    }


def error(status: int) -> dict[str, Any]:
    """Return the body of an HTTP error."""
    kind, text = _ERRORS.get(status, ("UNKNOWN", "mock error"))
    return {"error": {"code": status, "message": text, "status": kind}}
