"""``llm gateway job …``: look at one job, wait for it, take its answer, cancel it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .inputs import find_job, job_argument, jobs_argument
from .opening import recorder
from .output import json_option, local_time, print_json, say, seconds_since, span

if TYPE_CHECKING:
    import sqlite3

    from llm_gateway.events import Event, Reply
    from llm_gateway.health import Health

__all__ = ["register"]

LIVE = ("queued", "running")
POLL_SECONDS = 0.1
REAP_SECONDS = 2.0
CANCEL_SECONDS = 10.0


def register(group: click.Group) -> None:
    """Add what can be done with one job to a group."""
    group.add_command(job)


@click.group("job")
def job() -> None:
    """Look at one job, wait for it, take its answer, cancel it.

    An ID may be shortened while it is unambiguous; @last is the newest job.
    """


@job.command()
@job_argument
@json_option
def show(job: str, as_json: bool) -> None:
    """Show a job and how its processes are doing.

    Silence is counted from the last thing that the CLI said; with CPU time going up it is at work.

    \b
    Example:
      llm gateway job show @last
    """
    from llm_gateway.store.fetching import last_event_age, prompts_of

    with recorder() as conn:
        job_id = find_job(conn, job)
        assert conn is not None
        row = next(_rows(conn, job_id))
        silent = last_event_age(conn, job_id) if row["status"] == "running" else None
        prompt = prompts_of(conn, [row["request_id"]]).get(row["request_id"])
    process = _health(row) if row["status"] == "running" else None
    if as_json:
        told = asdict(process) if process else None
        print_json({**row, "process": told, "silent_seconds": silent})
        return
    for name, value in _described(row, prompt, process, silent):
        click.echo(f"{name + ':':<12}{value}")


@job.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on to the end of the job.")
def tail(job: str, follow: bool) -> None:
    """Print what a job has said: its text on stdout, its actions on stderr.

    With -f it goes on until the job ends, and ends as the job did.

    \b
    Example:
      llm gateway job tail -f @last
    """
    from llm_gateway.store import jobs

    with recorder() as conn:
        job_id = find_job(conn, job)
        assert conn is not None
        printer = _Printer()
        for row in _rows(conn, job_id):  # noqa: B007
            printer.print_new(conn, job_id)
            if not follow:
                break
        if row["status"] == "completed":
            printer.finish(jobs.reply_of(conn, job_id))
            _taken(conn, job_id)
    printer.end()
    if follow:
        _end_as(row)


@job.command()
@jobs_argument
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait at most.")
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
        worst = exits.OK
        for job_id in waiting:
            row = _ended(conn, job_id, until)
            if row is None:
                raise exits.Failed(f"Job {job_id} still runs after {timeout:g} s.", exits.TIMED_OUT)
            worst = max(worst, exits.code_of_job(row["status"], row["error_category"]))
            if row["status"] != "completed":
                say(_sentence(row))
        _log(conn, *waiting)
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
        elif row["status"] == "completed":
            raise exits.Failed(f"The answer of job {job_id} is not kept any more.")
        if reply is not None:
            _taken(conn, job_id)
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
        say(f"Job {job_id} is {row['status']}.")


class _Printer:
    """Events as a person reads them: text on stdout, everything else on stderr."""

    def __init__(self) -> None:
        from llm_gateway.progress import Progress

        self._progress = Progress(shown=True)
        self._message: int | None = None
        self._seq = -1
        self._ended = True

    def print_new(self, conn: sqlite3.Connection, job_id: str) -> None:
        """Everything that the job has said since the last look."""
        from llm_gateway.store import jobs

        while said := jobs.events_after(conn, job_id, self._seq):
            self._seq = said[-1][0]
            for _, _, event in said:
                self.take(event)

    def take(self, event: Event) -> None:
        from llm_gateway.events import Notice, Text, ToolCall
        from llm_gateway.progress import described

        if isinstance(event, Text):
            fresh = self._message is not None and event.message != self._message
            self._message = event.message
            self._print("\n\n" + event.text if fresh else event.text)
        elif isinstance(event, ToolCall):
            self._progress.line(f"· {described(event)}")
        elif isinstance(event, Notice) and event.kind != "noise":
            self._progress.line(event.text)

    def finish(self, reply: Reply | None) -> None:
        """The answer of a job whose events were not kept."""
        if reply is not None and self._message is None:
            self._print(reply.text)

    def end(self) -> None:
        if not self._ended:
            click.echo(self._progress.text("\n"), nl=False)
        self._progress.end()

    def _print(self, text: str) -> None:
        if text:
            click.echo(self._progress.text(text), nl=False)
            self._ended = text.endswith("\n")


def _health(row: dict[str, Any]) -> Health | None:
    """None where the job runs on another machine, or has no process yet."""
    from llm_gateway.health import health
    from llm_gateway.proctree import Process
    from llm_gateway.store.owner import lives, of_row

    owner = of_row(row)
    if owner is None or lives(owner) is None or not (row["pid"] and row["pid_start"]):
        return None
    return health(Process(row["pid"], row["pid_start"]))


def _described(
    row: dict[str, Any], prompt: str | None, process: Health | None, silent: float | None
) -> list[tuple[str, str]]:
    from llm_gateway.progress import harmless

    took = span(seconds_since(row["started"], row["finished"])) if row["started"] else ""
    lines = {
        "job": row["id"],
        "status": row["status"],
        "why": row["error_message"],
        "provider": row["provider"],
        "model": row["model"],
        "access": row["access"],
        "directory": row["cwd"],
        "prompt": prompt and " ".join(prompt.split()),
        "started": took and f"{local_time(row['started'])} ({took})",
        "attempts": row["attempts"],
        "session": row["session_id"],
        "request": row["request_id"],
        "process": process and _of_process(row["pid"], process),
        "silent for": silent is not None and span(silent),
    }
    return [(name, harmless(str(value))) for name, value in lines.items() if value]


def _of_process(pid: int, process: Health) -> str:
    if not process.alive:
        return f"{pid} is gone"
    mib = (process.memory_bytes or 0) / 1024 / 1024
    return (
        f"{pid} is alive, {process.children} below it, {process.cpu_seconds} s of CPU "
        f"({process.cpu_percent:g}% now), {mib:.0f} MiB"
    )


def _rows(conn: sqlite3.Connection, job_id: str) -> Iterator[dict[str, Any]]:
    """The job's row again and again until it has ended, at the pace of a person's eye.

    A job that nobody runs any more is found out on the way.
    """
    from llm_gateway.store import jobs

    reaped = -REAP_SECONDS
    while True:
        if time.monotonic() - reaped >= REAP_SECONDS:
            jobs.reap(conn)
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
    """Somebody has the whole answer now."""
    from llm_gateway.store import jobs

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
            "messages": reply.messages,
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

    return harmless(text) if sys.stdout.isatty() else text


def _end_as(row: dict[str, Any]) -> None:
    """End the command as the job ended."""
    code = exits.code_of_job(row["status"], row["error_category"])
    if code:
        raise exits.Failed(_sentence(row), code)


def _sentence(row: dict[str, Any]) -> str:
    job_id, status = row["id"], row["status"]
    if status in LIVE:
        return f"Job {job_id} is still {status}; wait for it with: llm gateway job wait {job_id}"
    if row["error_message"]:
        return str(row["error_message"])
    return f"Job {job_id} is {status}; what it said: llm gateway job tail {job_id}"
