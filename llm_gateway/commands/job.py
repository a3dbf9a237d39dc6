"""``llm gateway job …``: look at one job, wait for it, take its answer, cancel it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from ..records import asdict
from . import exits
from .inputs import AtLeastZero, find_job, job_argument, jobs_argument
from .job_events import Lines, Printer
from .job_show import show
from .opening import recorder
from .output import json_option, print_json, say

if TYPE_CHECKING:
    import sqlite3

    from llm_gateway.events import Reply

__all__ = ["register"]

LIVE = ("queued", "running")
POLL_SECONDS = 0.1
REAP_SECONDS = 2.0
CANCEL_SECONDS = 10.0


def register(group: click.Group) -> None:
    """Add what can be done with one job to a group."""
    job.add_command(show)
    group.add_command(job)


@click.group("job")
def job() -> None:
    """Look at one job, wait for it, take its answer, cancel it.

    An ID may be shortened while it is unambiguous; @last is the newest job.
    """


@job.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on to the end of the job.")
@click.option("as_json", "--json", is_flag=True, help="Print each event as a line of JSON.")
def tail(job: str, follow: bool, as_json: bool) -> None:
    """Print what a job has said: its text on stdout, its actions on stderr.

    With -f it goes on until the job ends, and ends as the job did.

    \b
    Example:
      llm gateway job tail -f @last
      llm-gateway job tail --json @last | jq -r 'select(.kind == "tool_call") | .name'
    """
    from llm_gateway.foreground import stdout_gone
    from llm_gateway.store import jobs

    with recorder() as conn:
        job_id = find_job(conn, job)
        assert conn is not None
        printer = Lines() if as_json else Printer()
        for row in _rows(conn, job_id):  # noqa: B007
            printer.print_new(conn, job_id)
            if not follow:
                break
            if stdout_gone():  # no write would tell while the job is silent
                raise BrokenPipeError
        if row["status"] == "completed":
            printer.finish(jobs.reply_of(conn, job_id))
            _taken(conn, job_id)
    printer.end()
    if follow:
        _end_as(row)


@job.command()
@jobs_argument
@click.option("--timeout", type=AtLeastZero(), help="Seconds to wait at most.")
def wait(jobs: tuple[str, ...], timeout: float | None) -> None:
    """Wait until jobs have ended; the exit code is the highest of theirs.

    \b
    Example:
      llm gateway job wait @last && llm gateway job result @last
    """
    until = None if timeout is None else time.monotonic() + timeout
    with recorder() as conn:
        waiting = list(dict.fromkeys(find_job(conn, word) for word in jobs))
        assert conn is not None
        worst, ended = exits.OK, list[str]()
        try:
            for job_id in waiting:
                row = _ended(conn, job_id, until)
                if row is None:
                    said = f"Job {job_id} has not ended after {timeout:g} s."
                    raise exits.Failed(said, exits.TIMED_OUT)
                ended.append(job_id)
                worst = max(worst, exits.code_of_job(row["status"], row["error_category"]))
                if row["status"] != "completed":
                    say(_sentence(row) if len(waiting) == 1 else f"{job_id}: {_sentence(row)}")
        finally:
            _log(conn, *ended)
    raise click.exceptions.Exit(worst)


@job.command()
@job_argument
@json_option
def result(job: str, as_json: bool) -> None:
    """Print the answer of a job, and nothing else.

    A job that failed says why on stderr; one that still runs ends with exit code 75.

    \b
    Example:
      llm gateway job result @last > answer.md
    """
    from llm_gateway.store import jobs

    with recorder() as conn:
        job_id = find_job(conn, job)
        assert conn is not None
        row = next(_rows(conn, job_id))
        reply = jobs.reply_of(conn, job_id) if row["status"] == "completed" else None
        if as_json:
            print_json(_as_json(row, reply))
        elif reply is not None:
            click.echo(_for_stdout(reply.text))
        if reply is not None:
            _taken(conn, job_id)
        elif row["status"] == "completed":
            raise exits.Failed(f"The answer of job {job_id} is not kept any more.")
    _end_as(row)


@job.command()
@job_argument
def cancel(job: str) -> None:
    """Stop a job and wait until its processes are gone.

    \b
    Example:
      llm gateway job cancel 01jq8x
    """
    from llm_gateway.store import jobs
    from llm_gateway.store.fetching import end

    with recorder() as conn:
        job_id = find_job(conn, job)
        assert conn is not None
        if not jobs.request_cancel(conn, job_id):
            say(f"Job {job_id} had ended before: {jobs.get(conn, job_id)['status']}.")
            return
        row = _ended(conn, job_id, time.monotonic() + CANCEL_SECONDS)
        if row is None:
            end(conn, job_id)
            row = jobs.get(conn, job_id)
        if row["status"] in LIVE:
            where = f"process {row['owner_pid']} on {row['owner_host']}"
            raise exits.Failed(
                f"Job {job_id} is asked to end, and has not yet: {where} runs it.", exits.LATER
            )
        say(f"Job {job_id} is {row['status']}.")


def _rows(conn: sqlite3.Connection, job_id: str) -> Iterator[dict[str, Any]]:
    """The job's row again and again until it has ended, at the pace of a person's eye.

    A job that nobody runs any more is found out on the way.
    """
    from llm_gateway.store import jobs
    from llm_gateway.store.fetching import reap_if_possible

    reaped = -REAP_SECONDS
    while True:
        if time.monotonic() - reaped >= REAP_SECONDS:
            reap_if_possible(conn)
            reaped = time.monotonic()
        row = jobs.get(conn, job_id)
        yield row
        if row["status"] not in LIVE:
            return
        time.sleep(POLL_SECONDS)


def _ended(conn: sqlite3.Connection, job_id: str, until: float | None) -> dict[str, Any] | None:
    """The job's row once it has ended; None where that is not so by then."""
    for row in _rows(conn, job_id):
        if row["status"] not in LIVE:
            return row
        if until is not None and time.monotonic() >= until:
            break
    return None


def _taken(conn: sqlite3.Connection, job_id: str) -> None:
    """Somebody has the whole answer now; where that cannot be kept, it may be had once more."""
    import sqlite3

    from llm_gateway.store import jobs

    with suppress(sqlite3.OperationalError):
        _log(conn, job_id)
        jobs.delivered(conn, job_id)


def _log(conn: sqlite3.Connection, *job_ids: str) -> None:
    """Give answers their rows in llm's own logs, where this process is llm."""
    from . import group

    if click.get_current_context().find_root().command is group:
        return
    from llm_gateway.store.fetching import to_be_logged

    if to_be_logged(conn, job_ids):
        from llm_gateway.llm_logs import log_answers

        log_answers(conn, job_ids, say)


def _as_json(row: dict[str, Any], reply: Reply | None) -> dict[str, Any]:
    told: dict[str, Any] = {"answer": None}
    if reply is not None:
        told = {
            "answer": reply.text,
            "messages": list(reply.messages),
            "session_id": reply.session_id,
            "resolved_model": reply.model,
            "stop_reason": reply.stop_reason,
            "usage": asdict(reply.usage),
            "refused_actions": reply.refused_actions,
            "tools_run": reply.tools_run,
        }
    return {**row, **told}


def _for_stdout(text: str) -> str:
    """Verbatim, but for a terminal nothing that would steer it."""
    from llm_gateway.progress import harmless

    return harmless(text) if sys.stdout and sys.stdout.isatty() else text


def _end_as(row: dict[str, Any]) -> None:
    """End the command as the job ended."""
    code = exits.code_of_job(row["status"], row["error_category"])
    if code:
        raise exits.Failed(_sentence(row), code)


def _sentence(row: dict[str, Any]) -> str:
    job_id, status = row["id"], row["status"]
    if status in LIVE:
        return f"Job {job_id} is still {status}; wait for it with: llm gateway job wait {job_id}"
    if status == "orphaned" and row["session_id"]:  # others say it in their message
        return f"{row['error_message']} (session {row['session_id']})"
    if row["error_message"]:
        return str(row["error_message"])
    return f"Job {job_id} is {status}; what it said: llm gateway job tail {job_id}"
