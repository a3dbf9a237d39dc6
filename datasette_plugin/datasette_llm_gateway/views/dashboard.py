"""``/-/gateway``: how much, how well, how long, for how much, against the time just before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasette.utils.asgi import Response

from .. import finding, sums, words
from ..filters import Filters
from ..page import ROOT, Page, screen, together
from ..panels import Panel, Scene, breaker_strips, cards, latency, ranked, stacked
from ..spans import span_of
from .requests import choices

__all__ = ["ROUTES", "scene_of"]

FEW = 20_000  # as many requests are looked through; of more, an index says which are the longest
LIST_MS = 250  # where a filter and that index have little in common
TOKENS = (
    ("input, fresh", "k-1"),
    ("cache, written", "k-2"),
    ("cache, read", "k-3"),
    ("output", "k-4"),
    ("thinking", "k-5"),
)


@screen("dashboard")
async def dashboard(page: Page) -> Response:
    """Everything here is read from the sums, but for the three short lists."""
    scene = await scene_of(page, "30d")
    if scene is None:
        live = await page.row(finding.ANY_REQUEST)
        return await page.render("gateway_dashboard.html", scene=None, began=bool(live))
    span, keys = scene.span, scene.keys
    (series, share, timed), before, strips, options = await together(
        together(
            *(scene.read(sql(span, keys)) for sql in (sums.series, sums.shares, sums.durations))
        ),
        _before(scene),
        breaker_strips(scene),
        choices(page),
    )
    total = sums.added(series or [])
    lists = await _lists(scene, total)
    places = sums.by_place(series or [], span)
    panels = [
        stacked(scene, "Requests by provider", places, "requests", words.count),
        latency(scene, timed),
        _tokens(scene, places),
        strips,
        ranked(scene, "Failures by category", _by_category(scene, share), "failures"),
        ranked(scene, "Cost by model", _by_model(scene, share), "cost"),
    ]
    return await page.render(
        "gateway_dashboard.html",
        scene=scene,
        cards=None if series is None else cards(scene, total, timed, *before),
        panels_=panels,
        lists=lists,
        filters=scene.filters,
        choices=options,
    )


async def scene_of(page: Page, default_range: str) -> Scene | None:
    """What the address asks for; None where nothing has ended yet."""
    oldest = await page.row(sums.OLDEST_DAY)
    if oldest is None or oldest["day"] is None:
        return None
    filters = Filters.of(page.args, default_range)
    keys = {key: filters.said[key] for key in ("provider", "model") if key in filters.said}
    return Scene(page, filters, span_of(filters, oldest["day"]), keys, await page.may_sql())


async def _before(scene: Scene) -> tuple[Mapping[str, Any] | None, list[sums.Bucket]]:
    """The same sums of the time before."""
    before = scene.span.before
    if before is None:
        return None, []
    parameters = {**scene.keys, **before.parameters}
    found, timed = await together(
        scene.page.panel(sums.totals(before, scene.keys), parameters),
        scene.page.panel(sums.durations(before, scene.keys, by_time=False), parameters),
    )
    return (dict(found[0]) if found else None), sums.whole(timed or [])


def _by_category(scene: Scene, rows: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    if rows is None:
        return None
    found: dict[str, float] = {}
    for row in rows:
        if row["status"] not in ("completed", "canceled"):
            key = row["category"] or row["status"]
            found[key] = found.get(key, 0) + row["requests"]
    return [
        {
            "name": words.inline(key, 40).replace("_", " "),
            "value": value,
            "shown": words.count(value),
            "href": scene.rows_url(**{"status" if key == "orphaned" else "category": key}),
            "class": "is-failed",
        }
        for key, value in sorted(found.items(), key=lambda pair: -pair[1])
    ]


def _by_model(scene: Scene, rows: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    if rows is None:
        return None
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        told = found.setdefault(
            (row["provider"], row["model"]), {"cost": 0.0, "requests": 0, "unpriced": 0}
        )
        told["cost"] += row["cost_usd"] or 0
        told["requests"] += row["requests"]
        told["unpriced"] += row["unpriced"]
    return [
        {
            "name": words.inline(model, 40),
            "value": told["cost"],
            "shown": words.cost(told["cost"]) if told["cost"] or not told["unpriced"] else "–",
            "sub": words.counted(told["requests"], "request") + _unpriced(told),
            "href": scene.rows_url(provider=provider, model=model),
            "class": words.provider_class(provider),
        }
        for (provider, model), told in sorted(
            found.items(), key=lambda pair: (-pair[1]["cost"], -pair[1]["requests"])
        )
    ]


def _unpriced(told: Mapping[str, float]) -> str:
    part = 100 * told["unpriced"] / told["requests"] if told["requests"] else 0
    return f", {part:.0f} % unpriced" if part >= 0.5 else ""


def _tokens(scene: Scene, places: dict[str, list[dict[str, float]]]) -> Panel:
    """Each kind once: what is fresh and what is not, what is said and what is only thought."""
    kinds: dict[str, list[dict[str, float]]] = {name: [] for name, _ in TOKENS}
    for index in range(len(scene.span.begins)):
        of = [provider[index] for provider in places.values()]
        told = {name: sum(place[name] for place in of) for name in sums.SUMS}
        cached = told["cache_read_tokens"], told["cache_write_tokens"]
        parts = (
            told["input_tokens"] - sum(cached), cached[1], cached[0],
            told["output_tokens"] - told["reasoning_tokens"], told["reasoning_tokens"],
        )  # fmt: skip
        for (name, _), value in zip(TOKENS, parts, strict=True):
            kinds[name].append({"tokens": max(0.0, value)})
    classes = dict(TOKENS)
    return stacked(scene, "Tokens by kind", kinds, "tokens", words.count, classes)


async def _lists(scene: Scene, total: Mapping[str, float]) -> list[dict[str, Any]]:
    """The slowest, the dearest, the latest failures, each with all of its kind a click away."""
    few, priced = total["requests"] <= FEW, total["cost_usd"] + total["saved_usd"]
    slowest, dearest, failed = await together(
        _list(scene, finding.longest("duration_ms", scene.keys, few), total["requests"]),
        _list(scene, finding.longest("cost_usd", scene.keys, few), priced),
        _list(scene, finding.failures(scene.keys), total["failed"]),
    )
    return [
        {"title": "Slowest", "rows": slowest, "column": "took"},
        {"title": "Dearest", "rows": dearest, "column": "cost"},
        {"title": "Latest failures", "rows": failed, "column": "status"},
    ]


async def _list(scene: Scene, sql: str, known: float) -> list[Any] | None:
    """Nothing is looked for where the sums know of nothing: that would take longest."""
    if not known:
        return []
    return await scene.page.panel(sql, {**scene.keys, **scene.span.exact}, LIST_MS)


ROUTES = [(rf"^{ROOT}/?$", dashboard)]
