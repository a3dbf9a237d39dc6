"""What a run cost, where its CLI tells tokens and no cost: tokens at the vendor's list price.

The prices are those of the library genai-prices (``pip install 'llm-gateway[cost]'``), which has
them with it. A model that it does not know by this very name has no price: no guess.
"""

from __future__ import annotations

import math
import re
from typing import Any

from .events import Reply, Usage
from .providers.base import Provider

__all__ = ["fill_in_cost", "list_price"]

# A name may have its date after it.
DATED = r"-(?:\d{8}|\d{4}-\d{2}-\d{2})"
# Prices rise with the length of one request, and usage is the sum of several: each of them is
# taken to be a short one.
SHORT = 100_000


def fill_in_cost(provider: Provider, reply: Reply) -> None:
    """Add the cost to a reply that has tokens and none, and say whose figure it is."""
    usage = reply.usage
    if usage.cost_usd is not None or usage.input is None:
        return
    vendor = provider.upkeep.prices
    price = list_price(vendor, reply.model, usage) if vendor and reply.model else None
    usage.cost_usd = price
    usage.cost_basis = "unknown" if price is None else "estimated"


def list_price(vendor: str, model: str, usage: Usage) -> float | None:
    """The price of these tokens in USD; None where nobody knows it."""
    try:
        import genai_prices
    except ImportError:
        return None
    parts = max(1, math.ceil((usage.input or 0) / SHORT))
    tokens = genai_prices.Usage(
        input_tokens=math.ceil((usage.input or 0) / parts),
        cache_read_tokens=(usage.cache_read or 0) // parts,
        cache_write_tokens=(usage.cache_write or 0) // parts,
        output_tokens=math.ceil((usage.output or 0) / parts),
    )
    try:
        found = genai_prices.calc_price(tokens, model_ref=model, provider_id=vendor)
        if not _is_named(model, found.model):
            return None
    except Exception:  # whatever the library has, it costs nobody the answer
        return None
    return round(float(found.total_price) * parts, 9)


def _is_named(model: str, found: Any) -> bool:
    """Whether the library means this model, and not one whose name begins like it (T-48)."""
    names = {found.id, *_equals(found.match)}
    return any(re.fullmatch(re.escape(name) + f"(?:{DATED})?", model) for name in names)


def _equals(clause: Any) -> set[str]:
    """The names that a rule of the library has letter by letter."""
    parts = [*(getattr(clause, "or_", None) or ()), *(getattr(clause, "and_", None) or ())]
    own = {clause.equals} if isinstance(getattr(clause, "equals", None), str) else set()
    return own.union(*map(_equals, parts))
