"""The filter bar: what the URL says, as a condition with bound parameters, and as a URL again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from . import words

__all__ = ["COMMON_VALUES", "OUTCOMES", "RANGES", "STATES", "Filters", "match"]

RANGES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days", "all": "All time"}
_HOURS = {"24h": 24, "7d": 168, "30d": 720, "90d": 2160}
STATES = ("queued", "running", "completed", "failed", "canceled", "timed_out", "orphaned")
OUTCOMES = ("ran", "joined", "collected", "reused", "denied")
ACCESS = ("read", "edit", "full")
_EQUAL = {
    "provider": "provider",
    "model": "model",
    "status": "status",
    "category": "error_category",
    "access": "access",
    "outcome": "outcome",
    "session": "session_id",
    "thread": "thread_id",
    "job": "job_id",
}
# The indexes of these two have only what is not the common value, and a query has to say so.
COMMON_VALUES = {"outcome": "ran", "access": "read"}
_TERM = re.compile(r'"([^"]*)"(\*?)|([^\s"]+)')
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_MINUTE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ\Z")  # as the marks of charts say it
NEVER, ALWAYS = "0000", "9999"


@dataclass(frozen=True)
class Filters:
    """What was asked of a list or a chart; ``said`` is what the URL had and made sense."""

    said: Mapping[str, str] = field(default_factory=dict)
    default_range: str = "all"

    @classmethod
    def of(cls, args: Mapping[str, str], default_range: str = "all") -> Filters:
        """Read from a query string; nonsense is left out."""
        args = {key: value.replace("\0", "") for key, value in args.items()}
        said = {
            key: args[key].strip() for key in (*_EQUAL, "cwd", "q") if args.get(key, "").strip()
        }
        for key in ("from", "to"):
            if _day(args.get(key)) is not None:
                said[key] = args[key]
        days = "from" in said or "to" in said  # which say more than a range
        if args.get("range") in RANGES and args["range"] != default_range and not days:
            said["range"] = args["range"]
        for key in ("min_cost", "min_seconds"):
            if (_number(args.get(key)) or 0) > 0:
                said[key] = args[key].strip()
        return cls(said, default_range)

    @property
    def range(self) -> str:
        """The name of the span of time."""
        if "from" in self.said or "to" in self.said:
            return ""
        return self.said.get("range", self.default_range)

    @property
    def span(self) -> tuple[str, str]:
        """From and until, as the recorder writes times; the second is not part of it."""
        if self.range:
            hours = _HOURS.get(self.range)
            if hours is None:
                return NEVER, ALWAYS
            return _iso(datetime.now(timezone.utc) - timedelta(hours=hours)), ALWAYS
        first, last = _day(self.said.get("from")), _day(self.said.get("to"))
        return (
            _iso(first) if first else NEVER,
            _iso(last + _whole_day(self.said.get("to"))) if last else ALWAYS,
        )

    def where(self) -> tuple[str, dict[str, Any]]:
        """A condition on ``request_rows r`` and its parameters; the time always bounds it.

        All of it but the words, which are looked up elsewhere (``plans``).
        """
        since, until = self.span
        terms = ["r.datetime_utc >= :since", "r.datetime_utc < :until"]
        parameters: dict[str, Any] = {"since": since, "until": until}
        for key, column in _EQUAL.items():
            if key in self.said:
                terms.append(f"r.{column} = :{key}")
                parameters[key] = self.said[key]
                if COMMON_VALUES.get(key, self.said[key]) != self.said[key]:
                    terms.append(f"r.{column} <> '{COMMON_VALUES[key]}'")
        if "cwd" in self.said:
            terms.append("(r.cwd = :cwd OR r.cwd >= :cwd_from AND r.cwd < :cwd_to)")
            cwd = self.said["cwd"].rstrip("/")
            parameters.update(
                cwd=cwd or "/", cwd_from=f"{cwd}/", cwd_to=f"{cwd}0"
            )  # "0" follows "/"
        if "min_cost" in self.said:
            terms.append("r.cost_usd >= :min_cost")
            parameters["min_cost"] = _number(self.said["min_cost"])
        if "min_seconds" in self.said:
            terms.append("r.duration_ms >= :min_ms")
            parameters["min_ms"] = (_number(self.said["min_seconds"]) or 0) * 1000
        return " AND ".join(terms), parameters

    def query(self, **changes: Any) -> dict[str, str]:
        """The query string of the same filters, with changes; None takes one away."""
        told = {**self.said, **changes}
        return {key: str(value) for key, value in told.items() if value not in (None, "")}

    @property
    def rare(self) -> bool:
        """Whether one of the filters is in force that the bar folds away."""
        return bool(set(self.said) - {"q", "range", "provider", "model", "status"})

    def shown(self) -> list[tuple[str, str]]:
        """What is in force, as (key, words), for chips that take it away again."""
        return [(key, words.inline(value, 40)) for key, value in self.said.items()]


def match(text: str) -> str:
    """Words as FTS5 takes them, whatever was typed: all must be there; "a phrase"; begin*."""
    terms = []
    for phrase, open_phrase, word in _TERM.findall(text):
        star = "*" if open_phrase or (word.endswith("*") and word.strip("*")) else ""
        inside = (phrase or word.rstrip("*")).replace('"', "").replace("\0", "")
        if any(letter.isalnum() for letter in inside):
            terms.append(f'"{inside}"{star}')
    return " ".join(terms) or '""'


def _day(text: str | None) -> datetime | None:
    """The beginning of a day in this machine's own zone, or the minute that is said."""
    if not text or not (_DAY.match(text) or _MINUTE.match(text)):
        return None
    if not 1970 <= int(text[:4]) <= 9000:  # beyond that there is no next day, or no time zone
        return None
    try:
        if text.endswith("Z"):
            return datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc)
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None


def _whole_day(text: str | None) -> timedelta:
    """A day is meant with all its hours, a minute with none."""
    return timedelta(days=1 if _DAY.match(text or "") else 0)


def _iso(when: datetime) -> str:
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e12 else None
