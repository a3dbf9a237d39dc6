"""What commands take: the id of a job, a moment in the past."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .opening import recorder

if TYPE_CHECKING:
    import sqlite3

    from click.shell_completion import CompletionItem

__all__ = ["SINCE", "AtLeastZero", "confirm", "find_job", "job_argument", "jobs_argument"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Since(click.ParamType[str]):
    """A moment as the recorder writes it: from ``90m``, ``2h``, ``7d`` or a local date and time."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from datetime import datetime

        from llm_gateway.store.text import iso

        if found := re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhdw])", value.strip()):
            return iso(time.time() - float(found[1]) * _UNITS[found[2]])
        try:
            return iso(datetime.fromisoformat(value.strip().replace("Z", "+00:00")).timestamp())
        except ValueError:
            self.fail(f"{value!r} is no time: say 90m, 2h, 7d or 2026-01-31T18:00.", param, ctx)


SINCE = Since()


class AtLeastZero(click.FloatRange):
    """A number from 0 on; nan, which is neither less nor more than anything, is none."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


def _known_jobs(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The newest jobs whose id begins so; none where they cannot be read."""
    from click.shell_completion import CompletionItem

    try:
        with recorder() as conn:
            rows = [] if conn is None else _newest(conn)
    except Exception:  # a shell that completes shows no error
        return []
    return [
        CompletionItem(job["id"], help=f"{job['status']} {job['provider']} {job['started']}")
        for job in rows
        if job["id"].startswith(incomplete)
    ]


def _newest(conn: sqlite3.Connection) -> list[dict[str, Any]]:
    from llm_gateway.store import jobs

    return jobs.listed(conn, limit=200)


job_argument = click.argument("job", metavar="ID", shell_complete=_known_jobs)
jobs_argument = click.argument(
    "jobs", metavar="ID...", nargs=-1, required=True, shell_complete=_known_jobs
)


def confirm(question: str) -> None:
    """Go on only where a person, or ``yes |``, says so."""
    try:
        click.confirm(question, abort=True, err=True)
    except (click.Abort, RuntimeError) as error:  # Python's own, where stdin was closed
        if isinstance(error, click.Abort) and not isinstance(error.__context__, EOFError):
            raise
        click.echo(err=True)
        raise exits.Failed("Nobody answered; -y does it without asking.", exits.USAGE) from None


def find_job(conn: sqlite3.Connection | None, word: str) -> str:
    """The full id of the job that a person means; ends the command where that is nobody's."""
    from llm_gateway import settings
    from llm_gateway.store import jobs

    if settings.logs_db() is None:
        raise exits.Failed("The recorder is off (LLM_GATEWAY_LOGS_DB): no jobs.", exits.USAGE)
    if conn is None:
        raise exits.Failed("There are no jobs yet.", exits.USAGE)
    try:
        return jobs.find(conn, word)
    except LookupError as error:
        raise exits.Failed(str(error.args[0]), exits.USAGE) from error
