"""The error tree: what callers rely on."""

from __future__ import annotations

import pytest

from llm_gateway import errors
from llm_gateway.errors import GatewayError
from llm_gateway.models import GatewayModelError

KINDS = [getattr(errors, name) for name in errors.__all__]
LEAVES = [k for k in KINDS if not k.__subclasses__()]
CATEGORIES = {
    "orphaned",
    *("cli_missing", "spawn", "auth", "rate_limited", "overloaded", "network", "model_not_found"),
    *("invalid_input", "session_lost", "permission_denied", "refused", "limit_reached", "timeout"),
    *("idle_timeout", "output_limit", "empty_reply", "protocol", "canceled", "breaker_open"),
    *("saturated", "cli_error"),
}


def test_the_categories_are_the_promised_ones() -> None:
    """Scripts and the original's users match on them."""
    assert {kind.category for kind in LEAVES} == CATEGORIES


def test_every_error_is_in_the_drawing() -> None:
    """The docstring draws the tree; class, place and category agree with the code."""
    drawn = errors.__doc__ or ""
    for kind in KINDS:
        assert kind.__name__ in drawn
        if kind in LEAVES:
            (line,) = (x for x in drawn.splitlines() if x.split()[-2:-1] == [kind.__name__])
            assert line.split()[-1] == kind.category
    groups = {k.__name__ for k in GatewayError.__subclasses__()}
    assert groups == {"NotStarted", "Transient", "CliFailed", "BadReply", "Stopped"}


@pytest.mark.parametrize("kind", LEAVES)
def test_the_session_is_told_once(kind: type[GatewayError]) -> None:
    """At the end, unless the message has it already; none where there is none."""
    assert str(kind("It broke.")) == "It broke."
    assert str(kind("It broke.", session_id="s-1")) == "It broke. (session s-1)"
    assert str(kind("s-1 broke.", session_id="s-1")) == "s-1 broke."


def test_what_llm_raises_has_the_category_and_the_words() -> None:
    """One class for callers of llm; the typed error is its cause."""
    typed = errors.RateLimited("Slow down.", session_id="s-1", retry_at=5.0)
    told = GatewayModelError(typed)
    assert (str(told), told.category, typed.retry_at) == (
        "Slow down. (session s-1)",
        "rate_limited",
        5.0,
    )
