"""When a vendor says that it will answer again, read from the sentence in which it says so.

Seen: ``resets 4pm (Europe/Paris)``, ``resets Oct 7, 3am (America/New_York)``, ``usage limit
reached|1749924000``, ``Please try again in 1.898s``, ``try again at 3:05 PM``, ``Suggested retry
after 46800s``, ``Your quota will reset after 17h31m20s``, ``retry-after: 120``, ``retryDelayMs:
1000``. A time of day without a zone is the machine's own; one that has passed means tomorrow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone, tzinfo

__all__ = ["stated_time"]

# A minute is what is stated; a time that has just passed is now, not tomorrow.
JUST_PASSED = 60.0
LONGEST = 366 * 86_400.0
HALF_A_YEAR = 183 * 86_400.0

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_UNIT = (
    r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)"
    r"(?![a-z])"
)
_LENGTH = rf"\d{{1,9}}(?:\.\d{{1,12}})?\s?{_UNIT}"
_SPAN = rf"({_LENGTH}(?:(?:,|\sand)?\s?{_LENGTH}){{0,5}})"
_PIECE = re.compile(rf"([\d.]+)\s?({_UNIT})", re.I)
_AFTER = re.compile(
    rf"(?:again|retry(?:ing)?|resets?|available|wait)(?: for| in| after)? (?:about )?{_SPAN}", re.I
)
_BARE = re.compile(
    r"(?:retry[-_ ]after|resets_in_seconds)[\"']?\s?[:=]\s?[\"']?(\d{1,9}(?:\.\d+)?)(?![\d:-])",
    re.I,
)
_MILLISECONDS = re.compile(r"retryDelayMs: (\d{1,12})")
_EPOCH = re.compile(r"(?:reached\||reset(?:s|_at|s_at|sAt)?[\"']?[:=]\s?)(\d{10})(?!\d)", re.I)

_CUE = r"(?:resets?|again|available|until)(?: on)?(?: at)?:? "
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DATE = (
    rf"(?:(?P<month>{'|'.join(_MONTHS)})[a-z]{{0,6}}\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?"
    rf"(?:,? (?P<year>20\d\d))?|(?P<weekday>{'|'.join(_DAYS)})(?:s|nes|rs|ur)?(?:day)?\b)"
)
_TIME = (
    r"(?P<hour>\d{1,2})(?:(?::(?P<minute>\d\d)(?::\d\d)?)?\s?(?P<half>[ap])\.?m\b"
    r"|:(?P<minute24>\d\d)(?::\d\d)?(?!\d))"
)
_ZONE = r"(?:,? ?\(?(?P<zone>UTC|GMT|[a-z_]+/[a-z_/+-]+[a-z0-9])\)?)?"
_AT = re.compile(rf"{_CUE}(?:{_DATE}(?:,| at|, at)? )?{_TIME}{_ZONE}", re.I)
_ON = re.compile(rf"{_CUE}{_DATE}{_ZONE}", re.I)
_ISO = re.compile(
    rf"{_CUE}(20\d\d-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:\.\d+)?\s?(Z|UTC|[+-]\d\d:?\d\d)?", re.I
)
Found = Mapping[str, str | None]


def stated_time(text: str, now: float) -> float | None:
    """Return the Unix time that a vendor's sentence states; None where it states none.

    A moment that has just passed is returned as it is: the vendor may be asked again at once.
    """
    said = " ".join(text[:20_000].split())
    found = _epoch(said)
    for read in (_clock, _span):
        if found is None:
            found = read(said, now)
    if found is None or found > now + LONGEST or found < now - JUST_PASSED:
        return None
    return found


def _epoch(said: str) -> float | None:
    found = _EPOCH.search(said)
    return float(found[1]) if found else None


def _span(said: str, now: float) -> float | None:
    if found := _AFTER.search(said):
        pieces = _PIECE.findall(found[1])
        return now + sum(float(number) * SECONDS[_short(unit)] for number, unit in pieces)
    if found := _BARE.search(said):
        return now + float(found[1])
    if found := _MILLISECONDS.search(said):
        return now + float(found[1]) / 1000
    return None


def _short(unit: str) -> str:
    unit = unit.lower()
    return "ms" if unit.startswith(("ms", "milli")) else unit[0]


def _clock(said: str, now: float) -> float | None:
    try:
        if found := _ISO.search(said):
            return _iso(found[1], found[2])
        if found := _AT.search(said) or _ON.search(said):
            return _next(found.groupdict(), now)
    except (ValueError, OverflowError):  # no such day, hour or year
        pass
    return None


def _iso(moment: str, zone: str | None) -> float:
    if zone and zone[0] in "+-":
        moment += zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    elif zone:
        moment += "+00:00"
    return datetime.fromisoformat(moment.upper()).timestamp()


def _next(said: Found, now: float) -> float:
    """The first such moment that has not passed; where an hour comes twice, each of them counts."""
    zone = _zone(said.get("zone"))
    hour, minute = _time_of_day(said)
    here = datetime.fromtimestamp(now, zone).replace(tzinfo=None)
    moment = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if said.get("month"):
        return _dated(moment, said, zone, now)
    step = timedelta(days=1)
    if weekday := said.get("weekday"):
        moment += (_DAYS.index(weekday.lower()) - moment.weekday()) % 7 * step
        step *= 7
    for at in (moment, moment.replace(fold=1)):
        if (found := _stamp(at, zone)) > now - JUST_PASSED:
            return found
    return _stamp(moment + step, zone)


def _dated(moment: datetime, said: Found, zone: tzinfo | None, now: float) -> float:
    """A date without a year is this year's, unless that is long ago."""
    month, day = _MONTHS.index(str(said["month"]).lower()) + 1, int(str(said["day"]))
    year = int(said["year"] or moment.year)
    found = _stamp(moment.replace(year=year, month=month, day=day), zone)
    if said["year"] is None and found < now - HALF_A_YEAR:
        found = _stamp(moment.replace(year=year + 1, month=month, day=day), zone)
    return found


def _time_of_day(said: Found) -> tuple[int, int]:
    hour = int(said.get("hour") or 0)
    minute = int(said.get("minute") or said.get("minute24") or 0)
    half = said.get("half")
    if half is None:
        return hour, minute
    if not 1 <= hour <= 12:
        raise ValueError(hour)
    return hour % 12 + (12 if half in "pP" else 0), minute


def _zone(name: str | None) -> tzinfo | None:
    """The zone of that name; the machine's own where there is none, or nobody knows it."""
    if name is None:
        return None
    if name.upper() in ("UTC", "GMT"):
        return timezone.utc
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError):
        return None


def _stamp(moment: datetime, zone: tzinfo | None) -> float:
    return moment.replace(tzinfo=zone).timestamp()
