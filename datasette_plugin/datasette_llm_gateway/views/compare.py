"""``/-/gateway/compare``: answers to the same prompt side by side, with what tells them apart."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

from datasette.utils.asgi import Response

from .. import finding, words
from ..page import ROOT, Page, screen, together
from ..worddiff import LONGEST, differences

__all__ = ["ROUTES"]

MOST = 4
DAYS = 90
MARKED_FROM = 0.15  # of texts with less in common every word would be marked


@screen("compare")
async def compare(page: Page) -> Response:
    """``id`` once finds the others by itself; without one, prompts that were asked twice."""
    ids = list(dict.fromkeys(id for id in page.request.args.getlist("id") if id))[:MOST]
    if not ids:
        return await _twice(page)
    found = await together(*(page.row(finding.COMPARED, {"id": id}) for id in ids))
    answers = [row for row in found if row is not None]
    if not answers:
        return await page.gone("request", ids[0])
    same = await _same(page, answers[0])
    if len(ids) == 1:
        others = _others(answers[0], same)
        more = await together(*(page.row(finding.COMPARED, {"id": id}) for id in others))
        answers += [row for row in more if row is not None]
    told = await _told(answers)
    return await page.render(
        "gateway_compare.html",
        answers=told,
        same=same,
        chosen=[row["id"] for row in answers],
        prompt=words.visible(answers[0]["prompt"]) if answers[0]["prompt"] else "",
        alike=len({row["prompt_hash"] for row in answers}) == 1,
        best=_best(answers),
    )


async def _same(page: Page, row: Any) -> list[Any]:
    """Every ask of the same prompt, newest first."""
    if not row["prompt_hash"]:
        return []
    return await page.panel(finding.SAME_PROMPT, {"hash": row["prompt_hash"]}) or []


def _others(first: Any, same: list[Any]) -> list[str]:
    """The newest answers of others; of the same model where there is nobody else."""
    rest = [row for row in same if row["id"] != first["id"] and row["status"] == "completed"]
    seen = {(first["provider"], first["model"])}
    chosen: list[Any] = []
    for row in rest:
        if (row["provider"], row["model"]) not in seen:
            seen.add((row["provider"], row["model"]))
            chosen.append(row)
    chosen += (
        [row for row in rest if row not in chosen and row["outcome"] == "ran"][:1]
        if not (chosen)
        else []
    )
    return [row["id"] for row in chosen[: MOST - 1]]


async def _told(answers: list[Any]) -> list[dict[str, Any]]:
    """Each answer against the first; of two, the first shows what is only its own as well."""
    texts = [words.visible(row["response"]) for row in answers]
    loop = asyncio.get_running_loop()
    pairs = await together(
        *(loop.run_in_executor(None, differences, texts[0], text) for text in texts[1:])
    )
    alike = [pair[2] >= MARKED_FROM for pair in pairs]
    first = pairs[0][0] if alike == [True] else None
    marked = [
        pair[1] if near else text for pair, near, text in zip(pairs, alike, texts[1:], strict=True)
    ]
    shown = [first if first is not None else texts[0], *marked]
    shares = [None, *(pair[2] for pair in pairs)]
    return [
        {
            **dict(row),
            "text": text,
            "share": share,
            "marked": share is not None and MARKED_FROM <= share < 1,
            "unlike": share is not None and share < MARKED_FROM,
            "long": len(raw) > LONGEST,
            "cut": (row["whole_chars"] or 0) > len(row["response"] or ""),
        }
        for row, text, share, raw in zip(answers, shown, shares, texts, strict=True)
    ]


def _best(answers: list[Any]) -> dict[str, Any]:
    """The least of each figure, where it is one answer's alone."""
    found: dict[str, float] = {}
    for name in ("duration_ms", "cost_usd", "output_tokens"):
        ran = (words.number(row[name]) for row in answers if row["outcome"] == "ran")
        values = [value for value in ran if value is not None]
        if len(values) > 1 and values.count(min(values)) == 1:
            found[name] = min(values)
    return found


async def _twice(page: Page) -> Response:
    since = datetime.now(timezone.utc) - timedelta(days=DAYS)
    rows = await page.panel(finding.ASKED_TWICE, {"since": since.strftime("%Y-%m-%dT%H:%M:%S")})
    return await page.render("gateway_compared.html", rows=rows)


ROUTES = [(rf"^{ROOT}/compare$", compare)]
