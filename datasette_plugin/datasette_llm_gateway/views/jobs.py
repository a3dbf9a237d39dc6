"""``/-/gateway/jobs``: what runs now, live, and what ran; a job can be canceled here."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from datasette.utils.asgi import Response

from .. import queries
from ..page import ROOT, Page, screen, together
from ..words import inline, live_times, milliseconds, parse_json

__all__ = ["ROUTES"]

PAGE_SIZE = 50
BUSY_SECONDS = 10.0


@screen("jobs")
async def jobs(page: Page) -> Response:
    """Running first; ``_part`` gives one half alone, for who looks again and again."""
    part = page.args.get("_part")
    if part == "live":
        return await page.render("gateway_jobs_live.html", live=await _live(page))
    if part == "over":
        return await page.render("gateway_jobs_over.html", **await _over(page))
    live, over, providers = await together(
        _live(page), _over(page), page.rows(queries.distinct("provider"))
    )
    return await page.render(
        "gateway_jobs.html",
        live=live,
        **over,
        providers=[row["value"] for row in providers],
        now_text=datetime.now().strftime("%H:%M:%S"),
    )


async def _over(page: Page) -> dict[str, Any]:
    """A page of the jobs that are over; the first of them is looked at again."""
    provider, status = page.args.get("provider"), page.args.get("status")
    at, tilde, id = page.args.get("before", "").partition("~")
    rows = await page.rows(
        queries.ended_jobs(status, provider, bool(tilde)),
        {
            "status": status,
            "provider": provider,
            "at": at,
            "id": id,
            "until": "9999",
            "limit": PAGE_SIZE + 1,
        },
    )
    last = rows[PAGE_SIZE - 1] if len(rows) > PAGE_SIZE else None
    of = {"provider": provider, "status": status}
    return {
        **of,
        "rows": [
            {**dict(row), "took": milliseconds(row["started_at"], row["finished_at"])}
            for row in rows[:PAGE_SIZE]
        ],
        "older": page.url("/jobs", **of, before=f"{last['started_at']}~{last['id']}")
        if last
        else "",
        "newest": "" if tilde else page.url("/jobs", **of, _part="over"),
    }


async def _live(page: Page) -> list[dict[str, Any]]:
    rows = await page.rows(queries.LIVE_JOBS)
    tails = await together(*(_tail(page, row["id"]) for row in rows[:20]))
    now = datetime.now(timezone.utc)
    return [
        {**dict(row), "tail": tail, **live_times(row, now)}
        for row, tail in zip(rows, [*tails, *[""] * (len(rows) - len(tails))], strict=True)
    ]


async def _tail(page: Page, job_id: str) -> str:
    """The last words that a job said, or the last thing that it did."""
    said = ""
    for row in await page.rows(queries.JOB_TAIL, {"job": job_id}):
        data = parse_json(row["data"], {})
        data = data if isinstance(data, dict) else {}
        if row["kind"] == "text":
            said = str(data.get("text") or "") + said
        elif said:
            break
        elif row["kind"] in ("tool_call", "tool_result"):
            word = "runs" if row["kind"] == "tool_call" else "ran"
            return f"{word} {inline(data.get('name'), 60)}"
        elif row["kind"] == "reasoning":
            said = str(data.get("text") or "thinks")
            break
    return inline(said[-240:], 240)


@screen("jobs")
async def cancel(page: Page) -> Response:
    """Ask a job to end; whoever runs it sees that and ends it."""
    if page.request.method != "POST":
        return page.go(page.url("/jobs"))
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    path = page.datasette.get_database(page.recorder).path
    try:
        asked = await asyncio.get_running_loop().run_in_executor(None, _cancel, path, page.id, now)
    except sqlite3.Error as error:
        return page.go(page.url("/jobs"), f"The recorder could not be written: {error}.")
    if asked:
        return page.go(page.url("/jobs"), "Cancel was asked for; the job ends within seconds.")
    return page.go(page.url("/jobs"), "That job is over, or was asked to end already.")


def _cancel(path: str, job_id: str, now: str) -> bool:
    """The only write of these screens: one guarded update on a connection of its own."""
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    try:
        connection.execute("BEGIN IMMEDIATE")
        changed = connection.execute(queries.CANCEL, {"id": job_id, "at": now}).rowcount
        connection.execute("COMMIT")
    finally:
        connection.close()
    return bool(changed)


ROUTES = [
    (rf"^{ROOT}/jobs$", jobs),
    (rf"^{ROOT}/job/(?P<id>[^/]+)/cancel$", cancel),
]
