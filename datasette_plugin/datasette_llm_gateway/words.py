"""Numbers, times and hostile text in the form in which a person reads them."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

from datasette.utils import tilde_encode

__all__ = [
    "FILTERS",
    "ago",
    "cell",
    "cost",
    "count",
    "counted",
    "duration",
    "inline",
    "live_times",
    "moment",
    "number",
    "parse_json",
    "visible",
]

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?\Z")
DASH = "–"
PROVIDERS = ("claude", "codex", "gemini", "grok", "demo")
_STATES = ("queued", "running", "completed", "failed", "canceled", "timed_out", "orphaned")


def visible(text: Any) -> str:
    """The text with everything shown that a terminal or a browser would obey and not show."""
    return "" if text is None else _CONTROLS.sub(_picture, str(text).replace("\r\n", "\n"))


def inline(text: Any, length: int = 160) -> str:
    """The beginning of a text on one line."""
    words = " ".join(visible(str(text or "")[: length * 4]).split())
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"


def cell(value: Any) -> Any:
    """A value for a spreadsheet: nothing there begins a formula or moves a terminal's cursor."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    if text.lstrip()[:1] in ("=", "+", "-", "@", "|", "%") and not _NUMBER.match(text):
        return "'" + text
    return "'" + text if text[:1] in ("\t", "\n") else text


def number(value: Any) -> float | None:
    """What can be counted with; anybody may have written to the file."""
    known = isinstance(value, (int, float)) and abs(value) < 1e15
    return value if known else None


def duration(milliseconds: float | None) -> str:
    """A span of time in two figures: 340 ms, 4.2 s, 3 m 05 s, 2 h 10 m, 5 d 3 h."""
    milliseconds = number(milliseconds)
    if milliseconds is None:
        return DASH
    if milliseconds < 999.5:
        return f"{max(0, milliseconds):.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def cost(dollars: float | None) -> str:
    """US dollars with as many decimals as tell something."""
    dollars = number(dollars)
    if dollars is None:
        return DASH
    if dollars == 0:
        return "$0"
    if abs(dollars) < 0.00005:
        return "<$0.0001"
    return f"${dollars:,.4f}" if abs(dollars) < 1 else f"${dollars:,.2f}"


def count(many: float | None) -> str:
    """A whole number, short: 940, 12.3k, 4.1M."""
    many = number(many)
    if many is None:
        return DASH
    if abs(many) < 9_999.5:
        return f"{many:,.0f}"
    for divisor, unit in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        if abs(many) < 999.5 * divisor or unit == "G":
            break
    small = many / divisor
    return f"{small:.0f}{unit}" if abs(small) >= 99.95 else f"{small:.1f}{unit}"


def counted(number: float, noun: str) -> str:
    """So many of something."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def moment(iso: str | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time of the recorder in this machine's own zone."""
    when = instant(iso)
    return DASH if when is None else when.astimezone().strftime(form)


def ago(iso: str | None, now: datetime | None = None) -> str:
    """How long ago it was, roughly."""
    when = instant(iso)
    if when is None:
        return DASH
    seconds = ((now or datetime.now(timezone.utc)) - when).total_seconds()
    if seconds < 0:
        return "just now"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def instant(iso: str | None) -> datetime | None:
    """The moment that a text of the recorder means; None for what is no time."""
    try:
        when = datetime.fromisoformat((iso or "").replace("Z", "+00:00"))
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)


def milliseconds(begin: str | None, end: str | None) -> float | None:
    """From one time of the recorder to another."""
    first, last = instant(begin), instant(end)
    if first is None or last is None:
        return None
    return (last - first).total_seconds() * 1000


def live_times(row: Any, now: datetime) -> dict[str, Any]:
    """Age and heart-beat; a job whose lease has run out has lost its owner, or is stopped."""
    text = now.isoformat()
    lease = instant(row["lease_until"])
    running = row["status"] == "running"
    return {
        "age": milliseconds(row["started_at"] if running else row["queued_at"], text),
        "beat": milliseconds(row["heartbeat_at"], text),
        "silent": bool(running and lease is not None and lease < now),
    }


def parse_json(text: str | None, otherwise: Any = None) -> Any:
    """What a JSON column says, if it says anything."""
    try:
        return json.loads(text) if text else otherwise
    except ValueError:
        return otherwise


def _picture(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 32:
        return chr(0x2400 + code)
    return "␡" if code == 127 else f"[U+{code:04X}]"


def provider_class(name: str | None) -> str:
    """The class that has a provider's colour."""
    return f"p-{name}" if name in PROVIDERS else "p-other"


def state_class(state: str | None) -> str:
    """A job state as a class; whatever else a file may have is none."""
    return state if state in _STATES else "unknown"


def path(text: str | None) -> str:
    """The last two parts of a directory, which tell it from others."""
    parts = [part for part in visible(text).split("/") if part]
    return inline("/".join(parts[-2:]), 48) if len(parts) > 2 else inline(text, 48)


def tilde(text: Any) -> str:
    """An id as one part of an address, whatever is in it."""
    return str(tilde_encode(str(text)))


FILTERS = {
    "gw_path": path,
    "gw_provider": provider_class,
    "gw_state": state_class,
    "gw_tilde": tilde,
    "gw_ago": ago,
    "gw_cost": cost,
    "gw_count": count,
    "gw_duration": duration,
    "gw_inline": inline,
    "gw_moment": moment,
    "gw_visible": visible,
}
