"""``llm gateway prune``: what is old goes, and the file becomes smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .inputs import AtLeastZero, confirm
from .opening import recorder
from .output import json_option, print_json, say

if TYPE_CHECKING:
    from llm_gateway.store.prune import Ages

__all__ = ["register"]


def register(group: click.Group) -> None:
    """Add pruning to a group."""
    group.add_command(prune)


@click.command()
@json_option
@click.option(
    "--older-than",
    type=AtLeastZero(),
    metavar="DAYS",
    help="Whole requests that are older, with prompt, answer and job.",
)
@click.option("--jobs-only", is_flag=True, help="Only events and stderr; prompts and answers stay.")
@click.option("--dry-run", is_flag=True, help="Say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def prune(
    as_json: bool, older_than: float | None, jobs_only: bool, dry_run: bool, yes: bool
) -> None:
    """Take old rows out of the flight recorder and give their room back.

    What goes is overwritten, in the search index too.
    Without --older-than what the settings say: events and stderr after
    LLM_GATEWAY_JOB_RETENTION_DAYS, requests after LLM_GATEWAY_LOG_RETENTION_DAYS where that is set.
    What is running, and what was imported, stays. The sums that "llm gateway stats" shows stay too.

    \b
    Example:
      llm gateway prune --older-than 90 --dry-run
      llm gateway prune --older-than 7 --jobs-only
    """
    with recorder(prunes=False) as conn:
        if conn is None:
            counts = {"jobs": 0, "events": 0, "requests": 0}
        else:
            from llm_gateway.store import prune as store
            from llm_gateway.store import search

            older = _ages(older_than, jobs_only)
            counts = store.waiting(conn, older)
            if not dry_run:
                if counts["requests"] and not yes:
                    confirm(f"Delete {_told(counts)}?")
                conn.execute("PRAGMA secure_delete=ON")
                counts = store.prune(conn, older=older)
                search.take_in(conn)
                search.merge(conn)
                store.compact(conn)
    if as_json:
        print_json(counts)
    else:
        say(f"{'Would delete' if dry_run else 'Deleted'} {_told(counts)}.")


def _ages(older_than: float | None, jobs_only: bool) -> Ages:
    from llm_gateway.store.prune import Ages, ages

    told = ages()
    if older_than is not None:
        told = Ages(older_than, older_than)
    return Ages(told.jobs, None) if jobs_only else told


def _told(counts: dict[str, int]) -> str:
    return (
        f"{counts['requests']:,} requests, and of {counts['jobs']:,} jobs "
        f"stderr and {counts['events']:,} events"
    )
