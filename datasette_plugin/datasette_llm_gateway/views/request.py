"""``/-/gateway/request/ID``: everything that is known of one request."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from datasette.utils.asgi import Response

from .. import queries
from ..markdown import rendered
from ..page import ROOT, Page, screen, together
from ..remedies import remedy, resume_command, run_again
from ..steps import phases, steps
from ..words import live_times, parse_json, visible

__all__ = ["ROUTES"]

STEPS = 400
EVENTS = 50
SAID = 20_000
_LIVE = ("queued", "running")
PARTS = ("prompt", "system", "response", "stderr")


@screen("requests")
async def request(page: Page) -> Response:
    """The page of a request; an unambiguous beginning of its id will do."""
    row = await _find(page)
    if row is None:
        return await page.gone("request", page.id)
    if row["id"] != page.id:
        return page.go(page.url(f"/request/{row['id']}"))
    job_id = row["job_id"]
    if page.args.get("_part") == "live":
        return await page.render("gateway_request_live.html", r=row, **await _live(page, row))
    (
        body,
        job,
        attempts,
        acts,
        texts,
        approvals,
        sharing,
        neighbours,
        events,
        turn,
        same,
    ) = await together(
        page.row(queries.BODY, {"id": row["id"]}),
        page.row(queries.JOB, {"id": job_id}),
        page.rows(queries.ATTEMPTS, {"job": job_id}),
        page.panel(queries.STEPS, {"job": job_id, "limit": STEPS + 1}),
        page.panel(queries.FIRST_TEXT, {"job": job_id}),
        page.rows(queries.APPROVALS_OF, {"id": row["id"]}),
        page.rows(queries.SHARING, {"job": job_id, "id": row["id"]}),
        _neighbours(page, row),
        _events(page, job_id),
        _turn(page, row["turn_id"]),
        page.row(queries.SAME_PROMPT, {"hash": row["prompt_hash"], "id": row["id"]}),
    )
    done = steps((acts or [])[:STEPS])
    spans = {text["attempt"]: (text["first"], text["last"]) for text in texts or []}
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    timed, whole = phases(row, job, attempts, spans, done, approvals, now)
    messages = parse_json(body["messages"], []) if body else []
    raw = page.args.get("view") == "raw"
    answer = body["response"] if body else None
    return await page.render(
        "gateway_request.html",
        r=row,
        body=body,
        job=job,
        attempts=attempts,
        phases=timed,
        whole=whole,
        approvals=approvals,
        sharing=sharing,
        original=_original(row, job),
        earlier=[m for m in messages[:-1] if isinstance(m, str)]
        if isinstance(messages, list)
        else [],
        raw=raw,
        answer=None if raw or not answer else await rendered(answer),
        first_word=min((first for first, _ in spans.values()), default=None),
        remedy=remedy(row["status"], row["error_category"]),
        again=run_again(row, body),
        resume=resume_command(row["provider"], row["session_id"], row["cwd"]),
        argv=_lists(attempts[-1]["argv_json"]) if attempts else [],
        options=_options(row["options_json"]),
        tools_run=_lists(row["tools_run"]),
        turn_url=turn,
        same=same[0],
        **(await _live(page, row) if row["status"] in _LIVE else {**_acts(acts), "live": False}),
        **neighbours,
        **events,
    )


def _acts(rows: list[Any] | None) -> dict[str, Any]:
    return {
        "steps": steps((rows or [])[:STEPS]),
        "more_steps": len(rows or []) > STEPS,
        "slow": rows is None,
    }


async def _live(page: Page, row: Any) -> dict[str, Any]:
    """What a request does now, and what it has said so far."""
    job, acts, texts = await together(
        page.row(queries.JOB, {"id": row["job_id"]}),
        page.panel(queries.STEPS, {"job": row["job_id"], "limit": STEPS + 1}),
        page.panel(queries.SAID, {"job": row["job_id"]}),
    )
    now = datetime.now(timezone.utc)
    last = texts[0]["attempt"] if texts else None
    said = [text["text"] or "" for text in reversed(texts or []) if text["attempt"] == last]
    return {
        **_acts(acts),
        "said": visible("".join(map(str, said))[-SAID:]),
        "live": row["status"] in _LIVE,
        "now_text": datetime.now().strftime("%H:%M:%S"),
        **(live_times(job, now) if job is not None else dict.fromkeys(("age", "beat", "silent"))),
    }


async def _find(page: Page) -> Any:
    row = await page.row(queries.REQUEST, {"id": page.id})
    if row is not None or len(page.id) < 4:
        return row
    found = await page.rows(queries.REQUEST_BY_PREFIX, {"id": page.id})
    return await page.row(queries.REQUEST, {"id": found[0]["id"]}) if len(found) == 1 else None


async def _neighbours(page: Page, row: Any) -> dict[str, Any]:
    if not row["session_id"]:
        return {"previous": None, "following": None, "turns": 0}
    at = {"session": row["session_id"], "at": row["datetime_utc"], "id": row["id"]}
    previous, following, size = await together(
        page.row(queries.PREVIOUS, at),
        page.row(queries.NEXT, at),
        page.row(queries.SESSION_SIZE, {"session": row["session_id"]}),
    )
    return {"previous": previous, "following": following, "turns": size[0]}


async def _events(page: Page, job_id: str | None) -> dict[str, Any]:
    """One page of raw events, where they were asked for."""
    last = await page.row(queries.LAST_EVENT, {"job": job_id})
    told: dict[str, Any] = {"last_event": last[0], "events": None, "events_next": None}
    asked = page.args.get("events", "")
    if not asked.lstrip("-").isdigit() or last[0] is None:
        return told
    after = max(-1, min(int(asked), 2**60))
    rows = await page.rows(queries.EVENTS, {"job": job_id, "after": after, "limit": EVENTS})
    told["events"] = rows
    if rows and rows[-1]["seq"] < last[0]:
        told["events_next"] = rows[-1]["seq"]
    told["events_before"] = None
    if after >= 0:
        first = await page.row(
            queries.EVENTS_BEFORE, {"job": job_id, "after": after, "limit": EVENTS}
        )
        told["events_before"] = first[0] if first[0] is not None else -1
    return told


async def _turn(page: Page, turn_id: str | None) -> str | None:
    """The address of llm's own row, if llm has logged it."""
    if not turn_id or not page.files.llm:
        return None
    for table, sql in queries.LLM_ROWS:
        try:
            found = await page.rows(sql, {"id": turn_id}, page.files.llm)
        except page.sqlite_error:
            continue
        if found:
            return str(page.datasette.urls.row(page.files.llm, table, turn_id))
    return None


def _original(row: Any, job: Any) -> str | None:
    """The request that this one shares the run of, where it did not begin it."""
    first = job["request_id"] if job is not None else None
    return str(first) if first and first != row["id"] else None


def _lists(text: str | None) -> list[str]:
    found = parse_json(text, [])
    return [str(item) for item in found] if isinstance(found, list) else []


def _options(text: str | None) -> dict[str, Any]:
    found = parse_json(text, {})
    return found if isinstance(found, dict) else {}


@screen("requests")
async def part(page: Page) -> Response:
    """One text of a request as it stands, for copying and saving."""
    body = await page.row(queries.WHOLE_BODY, {"id": page.id})
    text = body[page.path["part"]] if body is not None else None
    if text is None:
        return await page.gone("text", page.id)
    return page.send(text, "text/plain; charset=utf-8")


@screen("requests")
async def of_turn(page: Page) -> Response:
    """From llm's own row to the request that made it."""
    found = await page.row(queries.REQUEST_BY_TURN, {"id": page.id})
    if found is None:
        return await page.gone("request of llm's turn", page.id)
    return page.go(page.url(f"/request/{found['id']}"))


@screen("jobs")
async def of_job(page: Page) -> Response:
    """From a job to the request that began it."""
    found = await page.row(queries.REQUEST_OF_JOB, {"job": page.id})
    if found is None:
        return await page.gone("job", page.id)
    return page.go(page.url(f"/request/{found['id']}"))


ROUTES = [
    (rf"^{ROOT}/request/(?P<id>[^/]+)$", request),
    (rf"^{ROOT}/request/(?P<id>[^/]+)/(?P<part>{'|'.join(PARTS)})\.txt$", part),
    (rf"^{ROOT}/turn/(?P<id>[^/]+)$", of_turn),
    (rf"^{ROOT}/job/(?P<id>[^/]+)$", of_job),
]
