"""``llm gateway stats``: how many requests, how well, how long, for how much."""

from __future__ import annotations

from typing import Any

import click

from .inputs import SINCE
from .opening import recorder
from .output import json_option, print_json, print_table, span

__all__ = ["register"]

BY = ("provider", "model", "day")
_HEAD = (
    *("requests", "ok %", "failed", "canceled", "retries", "shared", "p50", "p95"),
    *("tokens in", "tokens out", "cost $", "saved $"),
)


class Dollars(float):
    """A sum that is shown with its cents."""

    def __str__(self) -> str:
        return f"{self:.2f}"


def register(group: click.Group) -> None:
    """Add the statistics to a group."""
    group.add_command(stats)


@click.command()
@json_option
@click.option("--by", type=click.Choice(BY), help="One line for each of them, days in UTC.")
@click.option("--since", type=SINCE, help="Only those begun since then: 90m, 2h, 7d, a date.")
def stats(as_json: bool, by: str | None, since: str | None) -> None:
    """Add up requests: successes, durations, tokens, cost, what was saved.

    Each request counts once, in the hour in which it began; those that were pruned still count.
    "ok %" leaves out what was canceled; p50 and p95 are of answers that ran, within a few percent;
    "shared" joined, collected or reused another request's answer and saved its cost. --json has
    tokens by kind and the shared ones apart.

    \b
    Example:
      llm gateway stats --since 7d --by model
      llm gateway stats --json | jq '.[0].cost_usd'
    """
    with recorder() as conn:
        if conn is None:
            rows = []
        else:
            from llm_gateway.store.stats import stats as read

            rows = read(conn, by, since)
    if as_json:
        print_json(rows)
    else:
        names = {"provider": ("provider",), "model": ("provider", "model"), "day": ("day",)}
        keys = names[by] if by else ()
        print_table((*keys, *_HEAD), [[*(row[k] for k in keys), *_line(row)] for row in rows])


def _line(row: dict[str, Any]) -> list[object]:
    rate = row["success_rate"]
    return [
        row["requests"],
        None if rate is None else round(100 * rate, 1),
        row["failed"],
        row["canceled"],
        row["retries"],
        row["joined"] + row["collected"] + row["reused"],
        _took(row["p50_ms"]),
        _took(row["p95_ms"]),
        row["input_tokens"],
        row["output_tokens"],
        Dollars(row["cost_usd"]),
        Dollars(row["saved_usd"]),
    ]


def _took(milliseconds: int | None) -> str:
    return "" if milliseconds is None else span(milliseconds / 1000)
