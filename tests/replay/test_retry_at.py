"""Each CLI's own way of saying when the vendor answers again, as ``retry_at`` of the error."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from llm_gateway import errors
from llm_gateway.events import Notice
from llm_gateway.providers.claude_output import ClaudeParser
from llm_gateway.providers.codex_output import CodexParser
from llm_gateway.providers.gemini_output import GeminiParser
from llm_gateway.providers.grok_output import GrokParser
from llm_gateway.providers.parsing import Exit, Parser
from tests.replay.support import error, lines, load, load_stderr, replay

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc).timestamp()
IN_PARIS = datetime(2026, 11, 22, 15, tzinfo=timezone.utc).timestamp()  # 4pm there


def result(**data: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": True, **data}


def limited(status: str, until: float | None) -> dict[str, Any]:
    info = {"status": status, "resetsAt": until, "rateLimitType": "five_hour"}
    return {"type": "rate_limit_event", "rate_limit_info": info}


def gemini(message: str) -> list[dict[str, Any]]:
    return [
        {"type": "init", "session_id": "s", "model": "auto"},
        {"type": "message", "role": "user", "content": "x"},
        {"type": "result", "status": "error", "error": {"message": message}},
    ]


def turn_failed(message: str) -> dict[str, Any]:
    return {"type": "turn.failed", "error": {"message": message}}


LIMIT = "You've hit your limit · resets 4pm (Europe/Paris)"
DAILY = '{"error": {"message": "Quota exceeded.\\nPlease retry in 90.5s.", "code": 429}}'
LOG = "RetryableQuotaError: x\n  retryDelayMs: 1000,\n  status: 429\n"


@pytest.mark.parametrize(
    ("parser", "said", "stderr", "at"),
    [
        (ClaudeParser, [result(result=LIMIT)], "", IN_PARIS),
        (ClaudeParser, [limited("rejected", NOON + 70), result(result=LIMIT)], "", NOON + 70),
        (ClaudeParser, [limited("allowed_warning", 1.9e9), result(result=LIMIT)], "", IN_PARIS),
        (ClaudeParser, [result(result="Slow down", api_error_status=429)], "", None),
        (CodexParser, [turn_failed("Rate limit reached for x. Please try again in 20s.")],
         "", NOON + 20),
        (CodexParser, [turn_failed('{"error":{"message":"You have hit your usage limit.",'
                                   '"resets_in_seconds":7200}}')], "", NOON + 7200),
        (GeminiParser, gemini(f"[API Error: {DAILY}]"), "", NOON + 90.5),
        (GeminiParser, gemini("[API Error: quota. Your quota will reset after 1h2m3s.]"), "",
         NOON + 3723),
        (GeminiParser, gemini("[API Error: quota]"), LOG, NOON + 1),
        (GrokParser, [result(errors=["rate limited (status 429)\nPlease try again in 2 minutes"])],
         "", NOON + 120),
    ],
)  # fmt: skip
def test_a_stated_time(
    parser: type[Parser], said: list[Any], stderr: str, at: float | None
) -> None:
    ended = Exit(1, stderr=stderr, at=NOON)
    _, failed = error(errors.RateLimited, parser(), lines(*said), ended)
    assert failed.retry_at == at


def test_a_recorded_limit_of_gemini() -> None:
    stderr = load_stderr("gemini", "stream-json.429.jsonl")
    data = load("gemini", "stream-json.429.jsonl")
    _, failed = error(errors.RateLimited, GeminiParser(), data, Exit(173, stderr=stderr, at=NOON))
    assert failed.retry_at == NOON + 1


def test_only_what_passes_has_a_time() -> None:
    """Words about times in another failure say nothing about when it will work."""
    said = lines(limited("rejected", NOON + 70), result(result="Prompt is too long, resets 4pm"))
    _, failed = error(errors.RejectedInput, ClaudeParser(), said, Exit(1, at=NOON))
    assert failed.retry_at is None


def test_a_limit_that_was_lifted_is_none() -> None:
    said = lines(limited("rejected", NOON + 70), limited("allowed", NOON + 70),
                 result(result="Slow down", api_error_status=429))  # fmt: skip
    _, failed = error(errors.RateLimited, ClaudeParser(), said, Exit(1, at=NOON))
    assert failed.retry_at is None


@pytest.mark.parametrize(("seconds", "stated"), [(36.2, False), (120, True)])
def test_a_wait_of_claudes_that_is_the_vendors(seconds: float, stated: bool) -> None:
    """Its own waits are never so long."""
    data = {"type": "system", "subtype": "api_retry", "retry_delay_ms": seconds * 1000,
            "error_status": 429}  # fmt: skip
    events, _ = replay(ClaudeParser(), lines(data))
    assert [e.stated for e in events if isinstance(e, Notice)] == [stated]
