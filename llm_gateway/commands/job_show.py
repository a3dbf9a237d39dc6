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
    if as_json:
        told = asdict(process) if process else None
        print_json({**row, "process": told, "silent_seconds": silent})
        return
    for name, value in _described(row, prompt, process, silent):
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
