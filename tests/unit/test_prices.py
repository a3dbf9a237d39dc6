"""Cost where a CLI tells tokens alone: the list price of that very model, or nothing."""

from __future__ import annotations

import sys

import pytest

from llm_gateway.events import Reply, Usage
from llm_gateway.prices import fill_in_cost, list_price
from llm_gateway.providers import provider_named

CODEX = provider_named("codex")


def priced(model: str | None, usage: Usage, provider: str = "codex") -> tuple[float | None, object]:
    reply = Reply("x", model=model, usage=usage)
    fill_in_cost(provider_named(provider), reply)
    return reply.usage.cost_usd, reply.usage.cost_basis


def test_tokens_at_the_list_price() -> None:
    """T-49: our input has the cached tokens in it, and those are cheaper."""
    cost, basis = priced("gpt-5", Usage(1200, 100, cache_read=1000))
    assert (cost, basis) == (
        pytest.approx(200 * 1.25e-6 + 1000 * 0.125e-6 + 100 * 10e-6),
        "estimated",
    )
    dear, _ = priced("gpt-5", Usage(1200, 100))
    assert dear is not None and cost is not None and dear > cost


def test_a_sum_of_requests_is_no_long_request() -> None:
    """Twenty short ones cost twenty times one."""
    one = list_price("openai", "gpt-5.5", Usage(50_000, 1000, cache_read=40_000))
    many = list_price("openai", "gpt-5.5", Usage(1_000_000, 20_000, cache_read=800_000))
    assert one is not None and many == pytest.approx(20 * one, rel=1e-6)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        *(("codex", m) for m in ("gpt-5.9", "gpt-5-nonsense", "default", "gpt-5 ", "")),
        *(("grok", m) for m in ("grok-4.6-fast", "grok-46", "grok-mock-1")),
        *(("gemini", m) for m in ("gemini-3.1-pro-preview-x", "gemini-9-pro", "auto")),
        *(("claude", m) for m in ("claude-opus-4-5", "sonnet")),
    ],
)
def test_an_unknown_model_has_no_cost(provider: str, model: str) -> None:
    """T-48: grok-4.5 was once billed as grok-4, because its name begins so."""
    assert priced(model, Usage(1000, 10), provider) == (None, "unknown")


def test_what_needs_no_price() -> None:
    """The CLI's own figure stays; without tokens there is nothing to say; the demo is free."""
    told = Usage(10, 1, cost_usd=0.5, cost_basis="reported")
    assert priced("gpt-5", told) == (0.5, "reported")
    assert priced("gpt-5", Usage()) == (None, None)
    assert priced(None, Usage(10, 1)) == (None, "unknown")
    assert priced("demo", Usage(10, 1, cost_usd=0.0), "demo") == (0.0, None)


def test_a_date_after_the_name_is_no_other_model() -> None:
    """Vendors add it."""
    plain = list_price("anthropic", "claude-opus-4-5", Usage(1000, 10))
    assert plain is not None
    assert list_price("anthropic", "claude-opus-4-5-20251101", Usage(1000, 10)) == plain
    assert list_price("anthropic", "claude-opus-4-59", Usage(1000, 10)) is None


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: tokens are told, the cost is unknown."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert priced("gpt-5", Usage(10, 1)) == (None, "unknown")
