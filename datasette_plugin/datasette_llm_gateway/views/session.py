"""``/-/gateway/session/ID``: a conversation as it went, across turns, models and providers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from datasette.utils.asgi import Response

from .. import queries
from ..markdown import rendered
from ..page import ROOT, Page, screen, together
from ..remedies import resume_command
from ..steps import steps
from ..words import PROVIDERS, cost, duration, inline, moment, visible

__all__ = ["ROUTES"]

TURNS = 30
STEPS = 200


@screen("sessions")
async def sessions(page: Page) -> Response:
    """Every session, last used first."""
    provider = page.args.get("provider", "")
    at, tilde, id = page.args.get("before", "").partition("~")
    few = bool(provider) and await _has_few(page, provider)
    rows = await page.rows(
        queries.sessions(bool(provider), bool(tilde), few),
        {"provider": provider, "at": at, "id": id, "until": "9999", "limit": TURNS * 2 + 1},
    )
    more = len(rows) > TURNS * 2
    last = rows[TURNS * 2 - 1] if more else None
    key = last and f"{last['last_used_at']}~{last['session_id']}"
    return await page.render(
        "gateway_sessions.html",
        rows=rows[: TURNS * 2],
        provider=provider,
        providers=PROVIDERS,
        newest=page.url("/sessions", provider=provider) if tilde else "",
        older=page.url("/sessions", provider=provider, before=key) if more else "",
    )


async def _has_few(page: Page, provider: str) -> bool:
    """Whether a provider has so few sessions that it is the quicker way to them."""
    found = await page.row(queries.HOW_MANY_SESSIONS, {"provider": provider})
    return bool(found["n"] < queries.FEW_SESSIONS)


@screen("sessions")
async def session(page: Page) -> Response:
    """The transcript, or with ``_format=md`` the whole of it as Markdown."""
    found = await page.rows(
        queries.SESSION, {"session": page.id, "provider": page.args.get("provider", "")}
    )
    known = found[0] if found else None
    where = await _whole(page, known)
    if page.args.get("_format") == "md":
        return await _export(page, known, where)
    at, tilde, id = page.args.get("after", "").partition("~")
    rows = await page.rows(
        queries.turns(*where, bool(tilde)),
        {**_named(page, known), "at": at, "id": id, "limit": TURNS + 1},
    )
    if not rows and not tilde:
        return await page.gone("session", page.id)
    more, rows = len(rows) > TURNS, rows[:TURNS]
    sums = await page.row(queries.turn_sums(*where), _named(page, known))
    before = None
    if tilde:
        before = await page.row(
            queries.turn_sums(*where, before=True), {**_named(page, known), "at": at, "id": id}
        )
    turns = await _turns(page, rows, before)
    first = rows[0] if rows else None
    return await page.render(
        "gateway_session.html",
        s=known,
        id=page.id,
        first=first,
        turns=turns,
        sums=sums,
        others=sorted({row["provider"] for row in rows} - {known["provider"]}) if known else [],
        resume=known and resume_command(known["provider"], known["session_id"], known["cwd"]),
        beginning=page.url(f"/session/{page.path['id']}") if tilde else "",
        more=more
        and page.url(
            f"/session/{page.path['id']}",
            provider=page.args.get("provider"),
            after=f"{rows[-1]['datetime_utc']}~{rows[-1]['id']}",
        ),
        export=page.url(
            f"/session/{page.path['id']}", provider=page.args.get("provider"), _format="md"
        ),
    )


async def _whole(page: Page, known: Any) -> tuple[bool, bool]:
    """Whether a conversation of llm's is looked up as well, and whether only that."""
    return bool(known and known["thread_id"]), known is None and await _is_thread(page)


async def _is_thread(page: Page) -> bool:
    """An address may name llm's conversation instead of the vendor's session."""
    return await page.row(queries.IS_THREAD, {"thread": page.id}) is not None


def _named(page: Page, known: Any) -> dict[str, Any]:
    return {"session": page.id, "thread": (known and known["thread_id"]) or page.id}


async def _turns(page: Page, rows: Sequence[Any], before: Any) -> list[dict[str, Any]]:
    ids = [row["id"] for row in rows]
    jobs = [row["job_id"] for row in rows if row["job_id"]]
    bodies, acts = await together(_bodies(page, ids), _acts(page, jobs))
    texts = [bodies[id]["response"] if id in bodies else None for id in ids]
    answers = await together(*(rendered(text) for text in texts))
    spent = (before["cost"] or 0.0) if before else 0.0
    told = []
    for number, row in enumerate(rows):
        spent += row["cost_usd"] or 0.0
        body = bodies.get(row["id"])
        told.append(
            {
                "r": row,
                "prompt": body["prompt"] if body else None,
                "cut": bool(body and body["cut"]),
                "answer": answers[number] if texts[number] else None,
                "steps": acts.get(row["job_id"] or "", []),
                "spent": spent,
                "other_session": row["session_id"] != page.id,
            }
        )
    return told


async def _bodies(page: Page, ids: Sequence[str]) -> dict[str, Any]:
    rows = await together(*(page.row(queries.TURN_BODY, {"id": id}) for id in ids))
    return {id: row for id, row in zip(ids, rows, strict=True) if row is not None}


async def _acts(page: Page, jobs: Sequence[str]) -> dict[str, Any]:
    """The steps of each job; of a job that took too long to read, none."""
    unique = list(dict.fromkeys(jobs))
    rows = await together(
        *(page.panel(queries.STEPS, {"job": job, "limit": STEPS}) for job in unique)
    )
    found: dict[str, Any] = defaultdict(list)
    for job, acts in zip(unique, rows, strict=True):
        found[job] = steps(acts or [])
    return found


async def _export(page: Page, known: Any, where: tuple[bool, bool]) -> Response:
    rows = await page.rows(queries.turns(*where, False), {**_named(page, known), "limit": 2000})
    if not rows:
        return await page.gone("session", page.id)
    lines = [f"# {inline((known and known['title']) or page.id, 200)}", ""]
    for row in rows:
        body = await page.row(queries.WHOLE_BODY, {"id": row["id"]})
        lines += _as_markdown(row, body)
    return page.send("\n".join(lines), "text/markdown; charset=utf-8", "session.md")


def _as_markdown(row: Any, body: Any) -> list[str]:
    facts = [row["provider"], row["model"], duration(row["duration_ms"])]
    facts += [cost(row["cost_usd"])] if row["cost_usd"] is not None else []
    facts += [row["status"]] if row["status"] != "completed" else []
    prompt = visible(body["prompt"]) if body else ""
    quoted = "\n".join(f"> {line}" for line in (prompt or "(not kept)").splitlines())
    answer = visible(body["response"]) if body else ""
    return [
        f"## {moment(row['datetime_utc'])} · {inline(' · '.join(map(str, facts)), 200)}",
        "",
        quoted,
        "",
        answer or "(no answer)",
        "",
    ]


ROUTES = [
    (rf"^{ROOT}/sessions$", sessions),
    (rf"^{ROOT}/session/(?P<id>[^/]+)$", session),
]
