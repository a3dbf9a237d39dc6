"""``/-/gateway/search``: words in prompts, answers and stderr, the newest first."""

from __future__ import annotations

import json
from typing import Any

from datasette.utils.asgi import Response
from markupsafe import Markup, escape

from .. import finding, words
from ..filters import Filters, match
from ..page import ROOT, Page, screen, together
from ..plans import plan_of
from .requests import choices

__all__ = ["ROUTES"]

PAGE_SIZE = 20
MOST_RANKED = 500
RANKED_OF = 10_000  # of a word that half of all have the newest are ranked, in a tenth of the time
RANK_MS = 300
HITS_MS = 100  # their number is only shown
CLOSE_BY = 20_000
OPEN, CLOSE = "\ue000", "\ue001"  # nobody's letters: what a text has of them is taken out
WHERE = {"": "everywhere", "prompt": "prompts", "response": "answers", "stderr": "stderr"}


@screen("search")
async def search(page: Page) -> Response:
    """Filters are those of the list; ``in`` and ``sort`` are its own."""
    filters = Filters.of(page.args)
    place = page.args.get("in", "")
    place = place if place in WHERE else ""
    best = page.args.get("sort") == "best"
    if not await page.row(finding.HAS_INDEX):
        return await page.render("gateway_search.html", missing=True, filters=filters)
    found, pending, options = await together(
        _found(page, filters, place, best), page.row(finding.PENDING), choices(page)
    )
    query = {**filters.query(), "in": place, "sort": "best" if best else ""}
    return await page.render(
        "gateway_search.html",
        filters=filters,
        place=place,
        places=WHERE,
        best=best,
        pending=pending["n"],
        choices=options,
        query=query,
        **found,
    )


async def _found(page: Page, filters: Filters, place: str, best: bool) -> dict[str, Any]:
    """A page of hits with the words around them."""
    empty: dict[str, Any] = {"rows": [], "older": "", "newer": "", "hits": None, "ranked": best}
    if "q" not in filters.said:
        return empty
    asked = match(filters.said["q"])
    if asked == '""':
        return {**empty, "hits": 0}
    asked = f"{{{place}}} : ({asked})" if place else asked
    rows, ranked, ranked_of = await _rows(page, filters, asked, best)
    if rows is None:
        return {**empty, "slow": True}
    more, rows = len(rows) > PAGE_SIZE, rows[:PAGE_SIZE]
    snippets, hits = await together(
        _snippets(page, asked, [row["seq"] for row in rows]),
        _hits(page, asked),
    )
    shown = {row["seq"]: marked(row["snippet"]) for row in snippets or []}
    query = {**filters.query(), "in": place, "sort": "best" if ranked else ""}
    skip = _whole(page.args.get("skip")) if ranked else 0
    key = {"skip": skip + PAGE_SIZE} if ranked else {"before": rows[-1]["seq"]} if rows else {}
    return {
        "rows": [{**dict(row), "snippet": shown.get(row["seq"], "")} for row in rows],
        "older": page.url("/search", **query, **key) if more else "",
        "newer": page.url("/search", **query) if skip or page.args.get("before") else "",
        "hits": hits[0]["n"] if hits else None,
        "ranked": ranked,
        "ranked_of": ranked_of,
    }


async def _hits(page: Page, asked: str) -> list[Any] | None:
    """How many have the words; of what begins with letters it would take too long."""
    return None if "*" in asked else await page.panel(finding.HITS, {"q": asked}, HITS_MS)


async def _snippets(page: Page, asked: str, seqs: list[int]) -> list[Any] | None:
    """The words with those around them. What lies close together is met in one go."""
    first, last = min(seqs, default=0), max(seqs, default=0)
    sql = finding.SNIPPETS_NEAR if last - first < CLOSE_BY else finding.SNIPPETS
    told = {"q": asked, "seqs": json.dumps(seqs), "first": first, "last": last}
    return await page.panel(sql, {**told, "open": OPEN, "close": CLOSE})


async def _rows(
    page: Page, filters: Filters, asked: str, best: bool
) -> tuple[list[Any] | None, bool, int]:
    """Rows, whether they are ranked, and of how many hits only the newest were."""
    plan = await plan_of(page, filters, asked=asked)
    if plan.empty:
        return [], best, 0
    skip, before = _whole(page.args.get("skip")), _whole(page.args.get("before"))
    parameters = {**plan.parameters, "limit": PAGE_SIZE + 1, "skip": skip}
    if best:
        far = await page.panel(finding.NTH_HIT, {"q": asked, "nth": RANKED_OF}, HITS_MS)
        floor = {"floor": far[0]["seq"]} if far else {}
        sql = plan.found(">= :floor" if floor else "", best=True, most=MOST_RANKED)
        rows = await page.panel(sql, {**parameters, **floor}, RANK_MS)
        if rows is not None:
            return rows, True, RANKED_OF if floor else 0
    sql = plan.found("< :before" if before else "")
    return await page.panel(sql, {**parameters, "before": before}), False, 0


def _whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0


def marked(snippet: str | None) -> Markup:
    """The text around the words, with the words marked; escaped before anything is put in."""
    text = str(escape(words.inline(snippet, 600)))
    parts, depth = [], 0
    for letter in text:
        if letter == OPEN:
            parts.append("<mark>" if depth == 0 else "")
            depth += 1
        elif letter == CLOSE:
            parts.append("</mark>" if depth == 1 else "")
            depth = max(0, depth - 1)
        else:
            parts.append(letter)
    return Markup("".join(parts) + ("</mark>" if depth else ""))


ROUTES = [(rf"^{ROOT}/search$", search)]
