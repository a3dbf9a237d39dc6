"""``llm gateway job show``: one job, and how its processes are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..records import asdict
from .inputs import find_job, job_argument
from .opening import recorder
from .output import json_option, local_time, print_json, seconds_since, span

if TYPE_CHECKING:
    from llm_gateway.health import Health

__all__ = ["show"]


@click.command()
@job_argument
@json_option
def show(job: str, as_json: bool) -> None:
    """Show a job and how its processes are doing.

    Silence is counted from the last thing that the CLI said; with CPU time going up it is at work.

    \b
    Example:
      llm gateway job show @last
    """
    from llm_gateway.store import jobs
    from llm_gateway.store.fetching import last_event_age, prompts_of, reap_if_possible

    with recorder() as conn:
        job_id = find_job(conn, job)
        assert conn is not None
        reap_if_possible(conn)
        row = jobs.get(conn, job_id)
        silent = last_event_age(conn, job_id) if row["status"] == "running" else None
        prompt = prompts_of(conn, [row["request_id"]]).get(row["request_id"])
    process = _health(row) if row["status"] == "running" else None
    stopped = row["status"] in ("queued", "running") and _owner_is_stopped(row)
    if as_json:
        told = asdict(process) if process else None
        owner = {"process": told, "owner_stopped": stopped, "silent_seconds": silent}
        print_json({**row, **owner})
        return
    for name, value in _described(row, prompt, process, silent, stopped):
        click.echo(f"{name + ':':<12}{value}")


def _health(row: dict[str, Any]) -> Health | None:
    """None where the job runs on another machine, or has no process yet."""
    from llm_gateway.health import health
    from llm_gateway.proctree import Process
    from llm_gateway.store.owner import lives, of_row

    owner = of_row(row)
    if owner is None or lives(owner) is None or not (row["pid"] and row["pid_start"]):
        return None
    return health(Process(row["pid"], row["pid_start"]))


def _owner_is_stopped(row: dict[str, Any]) -> bool:
    """Whether who runs it was stopped, as Ctrl-Z does: the CLI lives, and nobody listens to it."""
    from llm_gateway.proctree import is_stopped
    from llm_gateway.store.owner import lives, of_row

    owner = of_row(row)
    return owner is not None and lives(owner) is True and is_stopped(owner.pid)


def _described(
    row: dict[str, Any],
    prompt: str | None,
    process: Health | None,
    silent: float | None,
    stopped: bool,
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
        "process": process and _of_process(row, process),
        "silent for": silent is not None and span(silent),
        "owner": stopped and f"{row['owner_pid']} is stopped; kill -CONT {row['owner_pid']}",
    }
    return [(name, harmless(str(value))) for name, value in lines.items() if value]


def _of_process(row: dict[str, Any], process: Health) -> str:
    pid = row["pid"]
    if not process.alive:  # its job lives: it may wait for the next attempt
        return f"{pid} has ended; what comes next: llm gateway job tail {row['id']}"
    mib = (process.memory_bytes or 0) / 1024 / 1024
    return (
        f"{pid} is alive, {process.children} below it, {process.cpu_seconds} s of CPU "
        f"({process.cpu_percent:g}% now), {mib:.0f} MiB"
    )
