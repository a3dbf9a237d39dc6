"""``/-/gateway/reliability``: what failed and why, what was tried again, what was not run twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from datasette.utils.asgi import Response

from .. import finding, sums, words
from ..page import ROOT, Page, screen, together
from ..panels import Panel, Scene, breaker_strips, stacked
from ..remedies import remedy
from .dashboard import scene_of
from .requests import choices

__all__ = ["ROUTES", "phrase"]

SHARED = {"joined": "k-1", "collected": "k-2", "reused": "k-3"}
NEWEST_RETRIED = 1000
_NUMBERS = re.compile(
    r"\b(?=[a-f-]*\d)[0-9a-f]{4,}(?:-[0-9a-f]+)+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+(?:[:.,]\d+)*"
)


@screen("reliability")
async def reliability(page: Page) -> Response:
    """Sums for the charts; the newest failures and retries for words and rates."""
    scene = await scene_of(page, "30d")
    if scene is None:
        return await page.render("gateway_reliability.html", scene=None)
    parameters = {**scene.keys, **scene.span.exact}
    series, strips, failed, retried, known, options = await together(
        scene.read(sums.series(scene.span, scene.keys)),
        breaker_strips(scene),
        page.panel(finding.phrases(scene.keys), parameters, 800),
        page.panel(finding.retried(scene.keys, NEWEST_RETRIED), parameters, 800),
        page.panel(finding.breakers(scene.keys), scene.keys),
        choices(page),
    )
    places = sums.by_place(series or [], scene.span)
    return await page.render(
        "gateway_reliability.html",
        scene=scene,
        choices=options,
        panels_=[_failures(scene, places), strips, _retries(scene, places), _shared(scene, places)],
        health=_health(places, known or []),
        errors=None if failed is None else _errors(scene, failed),
        looked_at=len(failed or []),
        most=finding.NEWEST_FAILURES,
        retried=_outcome(retried),
        latest=(retried or [])[:8],
        total=sums.added(series or []),
    )


Places = dict[str, list[dict[str, float]]]


def _failures(scene: Scene, places: Places) -> Panel:
    return stacked(scene, "Failures by provider", places, "failed", words.count)


def _retries(scene: Scene, places: Places) -> Panel:
    return stacked(scene, "Retries by provider", places, "retries", words.count)


def _shared(scene: Scene, places: Places) -> Panel:
    """Answers that another request's run had, by how."""
    kinds: Places = {
        kind: [
            {"shared": sum(of[index][kind] for of in places.values())}
            for index in range(len(scene.span.begins))
        ]
        for kind in SHARED
    }
    return stacked(scene, "Not run twice", kinds, "shared", words.count, SHARED, key="outcome")


def _health(places: Places, known: Sequence[Any]) -> list[dict[str, Any]]:
    """One line a provider: how it does, and whether it is asked."""
    worst: dict[str, Any] = {}
    for row in known:
        if row["state"] != "closed" or row["provider"] not in worst:
            worst[row["provider"]] = row
    found = []
    for provider, of in sorted(places.items()):
        told = {name: sum(place[name] for place in of) for name in sums.SUMS}
        tried = told["completed"] + told["failed"]
        found.append(
            {
                "provider": provider,
                **told,
                "rate": 100 * told["failed"] / tried if tried else None,
                "shared": sum(told[kind] for kind in SHARED),
                "breaker": worst.get(provider),
            }
        )
    return found


def phrase(message: str | None) -> str:
    """An error message without what differs from one time to the next."""
    return _NUMBERS.sub("#", words.inline(message, 180))


def _errors(scene: Scene, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Failures by category, and within it by what was said."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        category = found.setdefault(
            row["category"],
            {"n": 0, "last": row, "phrases": Counter(), "of": Counter(), "example": {}},
        )
        category["n"] += 1
        said = phrase(row["message"]) or "(nothing was said)"
        category["phrases"][said] += 1
        category["of"][row["provider"]] += 1
        category["example"].setdefault(said, row)
    return [
        {
            "name": name,
            "n": told["n"],
            "last": told["last"],
            "of": sorted(told["of"].items()),
            "phrases": [
                (said, many, told["example"][said]) for said, many in told["phrases"].most_common(6)
            ],
            "more": max(0, len(told["phrases"]) - 6),
            "remedy": remedy(told["last"]["status"], name),
            "href": scene.rows_url(**{"status" if name == "orphaned" else "category": name}),
        }
        for name, told in sorted(found.items(), key=lambda pair: -pair[1]["n"])
    ]


def _outcome(rows: Sequence[Any] | None) -> dict[str, Any] | None:
    """Whether trying again helped."""
    if not rows:
        return None
    good = sum(row["status"] == "completed" for row in rows)
    return {"n": len(rows), "good": good, "rate": 100 * good / len(rows)}


ROUTES = [(rf"^{ROOT}/reliability$", reliability)]
