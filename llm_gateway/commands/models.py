"""``llm gateway models``: which models each provider has, and how that is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from . import exits, opening
from .output import json_option, print_json, print_table, say

if TYPE_CHECKING:
    import sqlite3

    from llm_gateway.providers.base import Provider
    from llm_gateway.providers.catalogue import Listing
    from llm_gateway.registry import Models

__all__ = ["chosen", "register"]


def register(group: click.Group) -> None:
    """Add the models' command to a group."""
    group.add_command(models)


@click.command()
@click.argument("provider", required=False)
@click.option("--refresh", is_flag=True, help="Ask the CLIs; no model is called.")
@json_option
def models(provider: str | None, refresh: bool, as_json: bool) -> None:
    """List the models of PROVIDER, or of all, and how they are known.

    Sources, the weakest first: fallback (a hint in llm-gateway's source code), observed (it
    answered before), config (the CLI's own files), live (the CLI listed it), env (you said so).
    --refresh asks the CLIs that can list models and offers what is known with confidence to llm,
    as gateway-PROVIDER/NAME. A name that is not listed works as well: it goes to the CLI as it is.

    \b
    Example:
      llm gateway models codex --refresh
    """
    wanted = chosen(provider)
    listings = _asked(wanted) if refresh else {p.name: _remembered(p) for p in wanted}
    with opening.recorder(spare=True) as conn:
        found = [_known(p, listings[p.name], conn) for p in wanted]
    if refresh:
        _remember(found, listings)
    if as_json:
        print_json([_row(of) for of in found])
        return
    head = ("provider", "model", "source", "confidence", "seen", "description")
    rows = [_line(of, known) for of in found for known in of.ordered()]
    print_table(head, rows)
    for line in _said_of(found):
        say(line)


def chosen(name: str | None) -> list[Provider]:
    """The provider of that name, or all."""
    from llm_gateway.providers import all_providers

    providers = all_providers()
    if name is None:
        return list(providers.values())
    if name not in providers:
        raise exits.Failed(f"{name!r} is not one of {', '.join(providers)}.", exits.USAGE)
    return [providers[name]]


def _asked(wanted: list[Provider]) -> dict[str, tuple[Listing, str] | None]:
    from llm_gateway.live_models import ask_all

    answers = ask_all(wanted)
    for provider in wanted:
        if problem := answers[provider.name].problem:
            say(f"{provider.name}: {problem}")
    return {name: answer.told for name, answer in answers.items()}


def _remembered(provider: Provider) -> tuple[Listing, str] | None:
    from llm_gateway.model_cache import listing_of
    from llm_gateway.providers.catalogue import Listing

    kept = listing_of(provider.name)
    return kept and (Listing(kept[0], kept[1]), kept[2])


def _known(
    provider: Provider, told: tuple[Listing, str] | None, conn: sqlite3.Connection | None
) -> Models:
    from llm_gateway import settings
    from llm_gateway.registry import known
    from llm_gateway.store.models import answered

    observed = list(provider.seen_models())
    if conn is not None and settings.said("LLM_GATEWAY_DISABLE_MODEL_DISCOVERY") != "1":
        observed += answered(conn, provider.name)
    listing, by = told or (None, "")
    return known(provider, observed=observed, listing=listing, listed_by=by)


def _remember(found: list[Models], listings: dict[str, tuple[Listing, str] | None]) -> None:
    from llm_gateway.model_cache import remember
    from llm_gateway.store.text import now

    fresh: dict[str, dict[str, Any]] = {}
    for of in found:
        entry: dict[str, Any] = {"refreshed": now()}
        entry["offered"] = [k.name for k in of.ordered() if k.confidence != "low"]
        if told := listings[of.provider]:
            entry |= {"listed": dict(told[0].models), "default": told[0].default}
            entry["listed_by"] = told[1]
        fresh[of.provider] = entry
    remember(fresh)


def _row(of: Models) -> dict[str, Any]:
    models = [
        {
            "name": known.name,
            "source": known.source,
            "source_detail": known.detail,
            "confidence": known.confidence,
            "description": known.description,
            "last_seen": known.last_seen,
        }
        for known in of.ordered()
    ]
    return {
        "provider": of.provider,
        "default": of.default,
        "default_source": of.default_source,
        "models": models,
        "aliases": of.aliases,
        "warnings": of.warnings,
    }


def _line(of: Models, known: Any) -> tuple[str, ...]:
    mark = " (default)" if known.name == of.default else ""
    seen, what = known.last_seen or "", known.description
    return of.provider, f"{known.name}{mark}", known.source, known.confidence, seen, what


def _said_of(found: list[Models]) -> Iterator[str]:
    for of in found:
        yield from (f"{of.provider}: {text}" for text in of.warnings)
        if of.default:
            yield f"{of.provider}: -o model default is {of.default} ({of.default_source})"
        for alias, target in sorted(of.aliases.items()):
            yield f"{of.provider}: -o model {alias} is {target}"
    if any(known.source == "fallback" for of in found for known in of.models.values()):
        yield "fallback names are hints and may be out of date; --refresh asks the CLIs"
