"""Charts as inline SVG, drawn on the server: colours by class, words as text, nothing to run.

A mark is a link where it leads to rows, and has its number in a ``<title>``. Whoever draws a chart
gives its numbers as a table too, in which the keyboard reaches the same rows: a stop at each of a
hundred marks would be in its way. Widths are in percent and heights in pixels, so a chart fills
its place and its words stay as large as all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

__all__ = [
    "Frame",
    "Mark",
    "Stretch",
    "columns",
    "el",
    "lines",
    "nice_ticks",
    "score_bar",
    "strips",
    "svg",
    "waterfall_bar",
]

Number = float
MOST_LABELS = 7
WIDEST = 14  # percent: few columns stay columns


def el(name: str, *inside: Any, **attributes: Any) -> Markup:
    """One SVG element, escaped; ``class_`` is class and an underscore is a hyphen."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_short(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    body = "".join(part if isinstance(part, Markup) else str(escape(part)) for part in inside)
    return Markup(f"<{name}{told}>{body}</{name}>")


def svg(height: Number, label: str, *inside: Any, class_: str = "gw-chart") -> Markup:
    """A drawing with a name for who does not see it."""
    return el(
        "svg",
        *inside,
        height=height,
        class_=class_,
        role="img" if not any("<a " in part for part in inside) else "group",
        aria_label=label,
    )


def nice_ticks(highest: Number, about: int = 4, least: Number = 0) -> list[float]:
    """Round numbers from 0 to a little above the highest, no closer than ``least``."""
    if not highest or highest < 0 or not math.isfinite(highest):
        return [0.0, 1.0]
    rough = max(highest / about, least)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    return [step * n for n in range(math.ceil(highest / step - 1e-9) + 1)]


@dataclass(frozen=True)
class Mark:
    """One value of a series at one place of the axis."""

    value: Number | None
    title: str = ""
    href: str | None = None


@dataclass(frozen=True)
class Frame:
    """Where in the drawing the values lie; across in percent, down in pixels."""

    highest: Number
    height: Number = 196
    top: Number = 10
    bottom: Number = 24
    least: Number = 0  # between two grid lines

    @property
    def ticks(self) -> list[float]:
        return nice_ticks(self.highest, least=self.least)

    def y(self, value: Number) -> float:
        """The height at which a value stands."""
        inner = self.height - self.top - self.bottom
        return self.top + inner * (1 - value / (self.ticks[-1] or 1))

    def axes(self, labels: Sequence[str], shown: Callable[[float], str]) -> list[Markup]:
        """Grid lines with their numbers at their left, and labels below."""
        drawn = []
        for tick in self.ticks:
            y = round(self.y(tick)) + 0.5
            drawn.append(el("line", x2="100%", y1=y, y2=y, class_="gw-grid"))
            drawn.append(el("text", shown(tick), x=-7, y=y + 3.5, class_="gw-axis is-end"))
        return [*drawn, *self.below(labels)]

    def below(self, labels: Sequence[str]) -> list[Markup]:
        """As many labels on the axis of time as there is room for; on a narrow screen half."""
        drawn = []
        every = max(1, math.ceil(len(labels) / MOST_LABELS))
        for number, index in enumerate(range(0, len(labels), every)):
            x, room = slot(index, len(labels))
            extra = " is-extra" if number % 2 and len(labels) > MOST_LABELS / 2 else ""
            drawn.append(
                el(
                    "text",
                    labels[index],
                    x=percent(x + room / 2),
                    y=self.height - 7,
                    class_=f"gw-axis is-middle{extra}",
                )
            )
        return drawn


def slot(index: int, count: int) -> tuple[float, float]:
    """Left edge and width of one of so many places on the axis, in percent."""
    room = 100 / max(1, count)
    return index * room, room


def percent(value: Number) -> str:
    """A length across."""
    return f"{_short(float(value))}%"


def columns(
    label: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[Mark]]],
    shown: Callable[[float], str],
    **frame: Any,
) -> Markup:
    """Stacked columns: ``series`` are (class, one mark a label), the first at the bottom."""
    totals = [sum(marks[i].value or 0 for _, marks in series) for i in range(len(labels))]
    place = Frame(max(totals, default=0), **frame)
    drawn = place.axes(labels, shown)
    for index in range(len(labels)):
        x, room = slot(index, len(labels))
        wide, base = min(room * 0.8, WIDEST), 0.0
        for name, marks in series:
            value = marks[index].value or 0
            if value <= 0:
                continue
            top, bottom = place.y(base + value), place.y(base)
            bar = el(
                "rect", el("title", marks[index].title), x=percent(x + (room - wide) / 2), y=top,
                width=percent(wide), height=max(0.8, bottom - top), class_=f"gw-bar {name}",
            )  # fmt: skip
            drawn.append(_linked(bar, marks[index]))
            base += value
    return svg(place.height, label, *drawn)


def lines(
    label: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[Mark]]],
    shown: Callable[[float], str],
    **frame: Any,
) -> Markup:
    """Lines with a dot at each value; where there is none the line is broken."""
    values = [mark.value for _, marks in series for mark in marks if mark.value is not None]
    place = Frame(max(values, default=0), **frame)
    drawn = place.axes(labels, shown)
    for name, marks in series:
        points = []
        for index, mark in enumerate(marks):
            x, room = slot(index, len(labels))
            points.append(None if mark.value is None else (x + room / 2, place.y(mark.value)))
        line = el("path", d=_path(points), class_=f"gw-line {name}")
        stretched = {"viewBox": f"0 0 100 {place.height:g}", "preserveAspectRatio": "none"}
        drawn.append(el("svg", line, width="100%", height=place.height, **stretched))
        for point, mark in zip(points, marks, strict=True):
            if point is not None:
                dot = el(
                    "circle",
                    el("title", mark.title),
                    cx=percent(point[0]),
                    cy=point[1],
                    r=2.6,
                    class_=f"gw-dot {name}",
                )
                drawn.append(_linked(dot, mark))
    return svg(place.height, label, *drawn)


@dataclass(frozen=True)
class Stretch:
    """One state, from one part of the whole time to another."""

    begin: Number
    end: Number
    class_: str
    title: str


def strips(
    label: str, rows: Sequence[tuple[str, Sequence[Stretch]]], labels: Sequence[str]
) -> Markup:
    """A line a name, coloured by the state that it was in."""
    place = Frame(1, height=34 + 26 * len(rows))
    drawn = place.below(labels)
    for number, (name, stretches) in enumerate(rows):
        y = place.top + 26 * number
        drawn.append(el("text", name, x=-8, y=y + 12, class_="gw-axis is-end"))
        for stretch in stretches:
            begin, end = (100 * min(max(at, 0), 1) for at in (stretch.begin, stretch.end))
            width = max(0.4, end - begin)
            drawn.append(
                el(
                    "rect",
                    el("title", stretch.title),
                    x=percent(min(begin, 100 - width)),
                    y=y,
                    width=percent(width),
                    height=16,
                    class_=f"gw-bar {stretch.class_}",
                )
            )
    return svg(place.height, label, *drawn, class_="gw-chart is-named")


def score_bar(points: Sequence[tuple[str, Number]], threshold: Number | None) -> Markup:
    """Points side by side against a threshold, for a row of a table."""
    whole = max(sum(max(0, many) for _, many in points), (threshold or 0) + 1, 10)
    drawn, x = [el("path", d="M0 7H200", class_="gw-grid")], 0.0
    for number, (name, many) in enumerate(points):
        if many <= 0:
            continue
        width = 200 * many / whole
        bar = el("rect", el("title", f"{name} {many:+g}"), x=x, y=2, width=max(1.0, width - 1),
                 height=10, class_=f"gw-bar k-{number % 5 + 1}")  # fmt: skip
        drawn.append(bar)
        x += width
    if threshold is not None:
        at = 200 * threshold / whole
        mark = el("title", f"approved up to {threshold:g}")
        drawn.append(el("path", mark, d=f"M{at:.1f} 0V14", class_="gw-limit"))
    return el("svg", *drawn, viewBox="0 0 200 14", class_="gw-score", aria_hidden="true")


def waterfall_bar(begin: Number, took: Number, whole: Number, class_: str, title: str) -> Markup:
    """A span on a line as long as the whole, for a row of a table."""
    x = min(1000 * begin / whole, 997.0) if whole else 0.0
    width = min(max(3.0, 1000 * took / whole), 1000 - x) if whole else 3.0
    named = el("title", title)
    bar = el("rect", named, x=x, y=2, width=width, height=10, class_=f"gw-bar {class_}")
    return el(
        "svg",
        bar,
        viewBox="0 0 1000 14",
        preserveAspectRatio="none",
        class_="gw-span",
        aria_hidden="true",
    )


def _linked(drawn: Markup, mark: Mark) -> Markup:
    if not mark.href:
        return drawn
    return el("a", drawn, href=mark.href, aria_label=mark.title, tabindex=-1)


def _path(points: Iterable[tuple[float, float] | None]) -> str:
    told, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        told.append(f"{pen}{point[0]:.2f} {point[1]:.1f}")
        pen = "L"
    return "".join(told)


def _short(value: Any) -> str:
    """As an attribute: a number with two decimals at most, a text escaped."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value) if isinstance(value, int) else str(escape(value))
