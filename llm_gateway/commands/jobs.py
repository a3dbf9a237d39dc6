"""``llm gateway jobs``: every job, newest first."""

from __future__ import annotations

from typing import Any

import click

from .inputs import SINCE
from .opening import recorder
from .output import json_option, local_time, print_json, print_table, seconds_since, span

__all__ = ["register"]

STATES = ("queued", "running", "completed", "failed", "canceled", "timed_out", "orphaned")
_HEAD = ("id", "status", "provider", "model", "started", "took", "why", "prompt")


def register(group: click.Group) -> None:
    """Add the list of jobs to a group."""
    group.add_command(jobs)


@click.command()
@json_option
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, help="How many; default 20.")
@click.option("--provider", help="Only those of claude, codex, gemini, grok, …")
@click.option("--status", type=click.Choice(STATES), help="Only those that stand so.")
@click.option("--since", type=SINCE, help="Only those begun since then: 90m, 2h, 7d, a date.")
def jobs(
    as_json: bool, limit: int, provider: str | None, status: str | None, since: str | None
) -> None:
    """List jobs, newest first, finished ones included.

    \b
    Example:
      llm gateway jobs --status running
      llm-gateway jobs --json --since 1d | jq -r '.[] | select(.error_category) | .id'
    """
    rows: list[dict[str, Any]] = []
    prompts: dict[str, str] = {}
    with recorder() as conn:
        if conn is not None:
            from llm_gateway.store import jobs as store
            from llm_gateway.store.fetching import prompts_of, reap_if_possible

            reap_if_possible(conn)
            rows = store.listed(conn, limit=limit, provider=provider, status=status, since=since)
            prompts = {} if as_json else prompts_of(conn, [row["request_id"] for row in rows])
    if as_json:
        print_json(rows)
    else:
        print_table(_HEAD, [_line(row, prompts.get(row["request_id"], "")) for row in rows])


def _line(job: dict[str, Any], prompt: str) -> list[object]:
    began = job["started"]
    return [
        job["id"],
        job["status"],
        job["provider"],
        job["model"] or "",
        local_time(began),
        span(seconds_since(began, job["finished"])) if began else "",
        job["error_category"] or "",
        prompt,
    ]
