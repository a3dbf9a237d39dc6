"""Parts of the dashboard and of the reliability screen: a chart, its numbers, its SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from markupsafe import Markup

from . import charts, finding, sums, words
from .charts import Mark
from .filters import Filters
from .page import Page
from .spans import Span

__all__ = ["Panel", "Scene", "breaker_strips", "cards", "latency", "ranked", "stacked"]

LEVELS = ((0.50, "p50", "k-2"), (0.95, "p95", "k-1"), (0.99, "p99", "k-5"))
_STATES = {"closed": "s-closed", "open": "s-open", "half_open": "s-half"}


@dataclass(frozen=True)
class Scene:
    """What the address asks for: when, of whom."""

    page: Page
    filters: Filters
    span: Span
    keys: Mapping[str, str]
    may_sql: bool

    @property
    def parameters(self) -> dict[str, str]:
        """What the queries of the sums are bound to."""
        return {**self.keys, **self.span.parameters}

    async def read(self, sql: str) -> list[Any] | None:
        """Rows of a query of the sums; None where it took too long."""
        return await self.page.panel(sql, self.parameters)

    def sql_url(self, sql: str, **more: str) -> str:
        """Datasette's page for a query, for those who may see it."""
        return self.page.sql_url(sql, {**self.parameters, **more}) if self.may_sql else ""

    def rows_url(self, index: int | None = None, /, **more: Any) -> str:
        """The list of the requests behind a mark, or behind all of it."""
        return self.page.url("/requests", **{**self.keys, **self.span.bounds(index), **more})

    def here(self, **changes: Any) -> str:
        """This screen with a change."""
        path = "" if self.page.name == "dashboard" else f"/{self.page.name}"
        return self.page.url(path, **self.filters.query(**changes))


@dataclass
class Panel:
    """A chart; or ``rows`` alone, where the table is the chart."""

    title: str
    sql: str = ""
    chart: Markup | None = None
    legend: Sequence[tuple[str, str]] = ()
    head: Sequence[str] = ()
    table: Sequence[tuple[str, str, Sequence[str]]] = ()  # (name, address, cells)
    ranks: list[dict[str, Any]] = field(default_factory=list)
    slow: bool = False
    empty: str = ""
    note: str = ""


def stacked(
    scene: Scene,
    title: str,
    groups: Mapping[str, Sequence[Mapping[str, float]]],
    name: str,
    shown: Callable[[float], str],
    classes: Mapping[str, str] | None = None,
    key: str = "",
) -> Panel:
    """Columns over time, one colour a group; a mark leads to its requests.

    :param classes: of the groups, where they are no providers. :param key: the filter of a group.
    """
    span = scene.span
    panel = Panel(title, scene.sql_url(sums.series(span, scene.keys)))
    if not any(place[name] for places in groups.values() for place in places):
        panel.empty = "Nothing in this time"
        return panel
    series, names = [], span.names
    for group, places in groups.items():
        of = {key or "provider": group} if key or not classes else {}
        marks = [
            Mark(
                place[name],
                f"{names[index]}: {words.inline(group, 30)} {shown(place[name])}",
                scene.rows_url(index, **of),
            )
            for index, place in enumerate(places)
        ]
        series.append(((classes or {}).get(group) or words.provider_class(group), marks))
    panel.chart = charts.columns(
        f"{title} by {span.unit}", span.labels, series, _axis(shown), least=1
    )
    panel.legend = [
        (words.inline(group, 24), css) for (css, _), group in zip(series, groups, strict=True)
    ]
    panel.head = (span.unit.capitalize(), *(words.inline(group, 24) for group in groups))
    panel.table = [
        (
            names[index],
            scene.rows_url(index),
            [shown(places[index][name]) for places in groups.values()],
        )
        for index in reversed(range(len(span.begins)))
    ]
    return panel


def latency(scene: Scene, rows: Sequence[Any] | None) -> Panel:
    """How long answers took: half of them, and the slow end."""
    span = scene.span
    panel = Panel("How long answers took", scene.sql_url(sums.durations(span, scene.keys)))
    if rows is None:
        panel.slow = True
        return panel
    if not rows:
        panel.empty = "No answer in this time"
        return panel
    places, names = sums.placed(rows, span), span.names
    levels = [[sums.percentile(place, share) for place in places] for share, _, _ in LEVELS]
    series = [
        (
            css,
            [
                Mark(
                    value,
                    f"{names[index]}: {name} {words.duration(value)}",
                    scene.rows_url(index, min_seconds=f"{(value or 0) / 1000:g}"),
                )
                for index, value in enumerate(values)
            ],
        )
        for values, (_, name, css) in zip(levels, LEVELS, strict=True)
    ]
    panel.chart = charts.lines(
        f"Percentiles of durations by {span.unit}", span.labels, series, _axis_time
    )
    panel.legend = [(name, css) for _, name, css in LEVELS]
    panel.head = (span.unit.capitalize(), *(name for _, name, _ in LEVELS), "Answers")
    panel.table = [
        (
            names[index],
            scene.rows_url(index, status="completed"),
            [
                *(words.duration(values[index]) for values in levels),
                words.count(sum(bucket[2] for bucket in places[index])),
            ],
        )
        for index in reversed(range(len(places)))
    ]
    panel.note = "Of what ran to an answer, within a few percent"
    return panel


def ranked(scene: Scene, title: str, rows: list[dict[str, Any]] | None, what: str) -> Panel:
    """Bars from the longest to the shortest; the table is the chart."""
    panel = Panel(title, scene.sql_url(sums.shares(scene.span, scene.keys)))
    if rows is None:
        panel.slow = True
        return panel
    panel.ranks = rows[:12]
    top = max((row["value"] for row in rows), default=0)
    for row in panel.ranks:
        row["part"] = max(0.6, 100 * row["value"] / top) if row["value"] else 0
    if len(rows) > 12:
        panel.note = f"{len(rows) - 12} more in the SQL"
    if not rows:
        panel.empty = f"No {what} in this time"
    return panel


def _axis(shown: Callable[[float], str]) -> Callable[[float], str]:
    """Numbers of an axis are round, and short."""

    def short(value: float) -> str:
        if shown is words.count and 1000 <= value < 10_000:
            return f"{value / 1000:g}k"
        return shown(value).replace(".0k", "k").replace(".0M", "M").replace(".0G", "G")

    return short


def _axis_time(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:g} ms" if milliseconds else "0"
    seconds = milliseconds / 1000
    return f"{seconds:g} s" if seconds < 1000 else f"{seconds / 60:.0f} min"


async def breaker_strips(scene: Scene) -> Panel:
    """When each vendor was not asked."""
    span, page = scene.span, scene.page
    parameters = {**scene.keys, **span.exact}
    sql = finding.breaker_changes(scene.keys)
    panel = Panel("Circuit breakers", scene.sql_url(sql, **span.exact))
    changes = await page.panel(sql, parameters)
    earlier = await page.panel(finding.breakers_at(scene.keys), parameters)
    known = await page.panel(finding.breakers(scene.keys), scene.keys)
    if changes is None or earlier is None or known is None:
        panel.slow = True
        return panel
    scopes = {row["scope"]: row["provider"] for row in (*known, *earlier, *changes)}
    if not scopes:
        panel.empty = "No vendor has failed so often that it was not asked"
        return panel
    begun = {row["scope"]: row["to_state"] for row in earlier}
    rows = []
    for scope, provider in sorted(scopes.items(), key=lambda pair: (pair[1], pair[0]))[:12]:
        of = [row for row in changes if row["scope"] == scope]
        rows.append((words.inline(provider, 10), _stretches(span, begun.get(scope), of)))
    panel.chart = charts.strips("State of each breaker over time", rows, span.labels)
    panel.legend = [("closed", "s-closed"), ("half open", "s-half"), ("open", "s-open")]
    panel.head = ("When (UTC)", "Provider", "From", "To", "Failures")
    panel.table = [
        (
            row["datetime_utc"][:19].replace("T", " "),
            _around(scene, row),
            [
                words.inline(row["provider"], 24),
                *(
                    words.inline(row[name], 16).replace("_", " ")
                    for name in ("from_state", "to_state")
                ),
                words.count(row["failures"]),
            ],
        )
        for row in reversed(changes[-100:])
    ]
    return panel


def _state(name: str | None) -> str:
    return words.inline(name, 16).replace("_", " ")


def _around(scene: Scene, row: Any) -> str:
    """Requests of a provider in the hour up to a change."""
    when = words.instant(row["datetime_utc"])
    if when is None:
        return ""
    hour = when.replace(minute=0, second=0, microsecond=0)
    form = "%Y-%m-%dT%H:%MZ"
    bounds = {"from": (hour - timedelta(hours=1)).strftime(form)}
    bounds["to"] = (hour + timedelta(hours=1)).strftime(form)
    return scene.page.url("/requests", provider=row["provider"], **bounds)


def _stretches(span: Span, state: str | None, changes: Sequence[Any]) -> list[charts.Stretch]:
    whole = (span.last - span.first).total_seconds()
    found, at, since = [], 0.0, ""
    state = state or (changes[0]["from_state"] if changes else "closed")
    for row in (*changes, None):
        when = words.instant(row["datetime_utc"]) if row else span.last
        if when is None:
            continue
        end = (when - span.first).total_seconds() / whole
        title = f"{_state(state)} since {since[:16].replace('T', ' ') or 'before'}"
        found.append(charts.Stretch(at, end, _STATES.get(state, "s-open"), title))
        if row:
            at, state, since = end, str(row["to_state"]), row["datetime_utc"]
    # What was short is drawn last, or it would not be seen.
    return sorted(found, key=lambda stretch: ("s-closed", "s-half", "s-open").index(stretch.class_))


def cards(
    scene: Scene,
    now: Mapping[str, float],
    timed: Sequence[Any] | None,
    before: Mapping[str, Any] | None,
    timed_before: Sequence[sums.Bucket],
) -> list[dict[str, Any]]:
    """The figures, each with its change and the rows behind it."""
    then = before if before and before.get("requests") else None
    buckets = sums.whole(timed or [])
    p50, p95 = (sums.percentile(buckets, share) for share in (0.5, 0.95))
    was50, was95 = (sums.percentile(timed_before, share) for share in (0.5, 0.95))
    shared = ("joined", "collected", "reused")

    def old(*names: str) -> float | None:
        return sum(then[name] or 0 for name in names) if then else None

    rate, was = _rate(now), _rate(then) if then else None
    tokens = now["input_tokens"] + now["output_tokens"]
    many = sum(now[name] for name in shared)
    unpriced = f"{words.count(now['unpriced'])} without a price" if now["unpriced"] else ""
    return [
        _card("Requests", words.count(now["requests"]), _change(now["requests"], old("requests")),
              0, scene.rows_url()),
        _card("Failed", "–" if rate is None else f"{rate:.1f} %",
              _points(rate, was), -1, scene.rows_url(status="failed"),
              f"{words.count(now['failed'])} of {words.count(now['completed'] + now['failed'])}"),
        _card("Half within", words.duration(p50), _change(p50, was50), -1, "", "p50"),
        _card("95 % within", words.duration(p95), _change(p95, was95), -1,
              scene.rows_url(min_seconds=f"{p95 / 1000:g}") if p95 else "", "p95"),
        _card("Tokens", words.count(tokens), _change(tokens, old("input_tokens", "output_tokens")),
              0, "", f"{words.count(now['output_tokens'])} out"),
        _card("Cost", words.cost(now["cost_usd"]), _change(now["cost_usd"], old("cost_usd")), 0,
              scene.rows_url(min_cost="0.0001"), unpriced),
        _card("Not run twice", words.count(many), _change(many, old(*shared)), 1,
              scene.page.url("/reliability", **scene.filters.query()),
              f"{words.cost(now['saved_usd'])} saved"),
        _card("Retries", words.count(now["retries"]), _change(now["retries"], old("retries")), -1,
              scene.page.url("/reliability", **scene.filters.query()), ""),
    ]  # fmt: skip


def _card(
    label: str, value: str, change: tuple[str, int], better: int, href: str, sub: str = ""
) -> dict[str, Any]:
    text, sign = change
    tone = "" if not better or not sign else "is-good" if sign == better else "is-bad"
    return {"label": label, "value": value, "change": text, "tone": tone, "href": href, "sub": sub}


def _change(now: float | None, before: float | None) -> tuple[str, int]:
    """In percent of the time before, and which way."""
    if not before or now is None:
        return "", 0
    part = 100 * (now - before) / before
    if abs(part) < 0.5:
        return "unchanged", 0
    if part > 900:
        return f"× {now / before:.0f}", 1
    return f"{'+' if part > 0 else '−'}{abs(part):.0f} %", 1 if part > 0 else -1


def _rate(told: Mapping[str, Any]) -> float | None:
    tried = (told["completed"] or 0) + (told["failed"] or 0)
    return 100 * (told["failed"] or 0) / tried if tried else None


def _points(now: float | None, before: float | None) -> tuple[str, int]:
    if now is None or before is None:
        return "", 0
    part = now - before
    if abs(part) < 0.05:
        return "unchanged", 0
    return f"{'+' if part > 0 else '−'}{abs(part):.1f} points", 1 if part > 0 else -1
