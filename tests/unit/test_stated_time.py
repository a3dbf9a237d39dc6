"""When a vendor says that it will answer again."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from llm_gateway.providers.stated_time import stated_time

# A Sunday in November; 13:00 in London, 14:00 in Paris, 08:00 in New York.
NOW = datetime(2026, 11, 22, 13, 0, 0, tzinfo=timezone.utc).timestamp()


def at(*moment: int, zone: str = "UTC", fold: int = 0) -> float:
    return datetime(*moment, tzinfo=ZoneInfo(zone), fold=fold).timestamp()  # type: ignore[misc,arg-type]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> object:
    """The machine's own zone is London's."""
    monkeypatch.setenv("TZ", "Europe/London")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Limit 3, Used 3, Requested 1. Please try again in 1s.", 1),
        ("Rate limit reached. Please try again in 1.898s.", 1.898),
        ("Please try again in 20 seconds", 20),
        ("try again in 350ms.", 0.35),
        ("Try again in 3 days 4 hours 5 minutes.", 3 * 86400 + 4 * 3600 + 300),
        ("Please try again in 6m0s.", 360),
        ("You exceeded your current quota.\nSuggested retry after 46800s.", 46800),
        ("Please retry in 34.074824224s.", 34.074824224),
        ("Your quota will reset after 17h31m20s.", 17 * 3600 + 31 * 60 + 20),
        ("retry-after: 120", 120),
        ('{"resets_in_seconds":7200}', 7200),
        ('{"Retry-After": "7"}', 7),
        ("  retryDelayMs: 1500,\n  status: 429", 1.5),
        ("resets in 2 hours and 10 minutes", 7800),
        ("wait for about 2 minutes", 120),
    ],
)
def test_a_length(said: str, seconds: float) -> None:
    assert stated_time(said, NOW) == pytest.approx(NOW + seconds)


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("You've hit your limit · resets 4pm (Europe/Paris)", at(2026, 11, 22, 15)),
        ("You've hit your weekly limit · resets 4:30pm (Europe/Paris)", at(2026, 11, 22, 15, 30)),
        ("resets 4pm (America/Los_Angeles)", at(2026, 11, 23, 0)),
        ("resets at 3am (Europe/Paris)", at(2026, 11, 23, 2)),
        ("resets Nov 26, 3am (America/New_York)", at(2026, 11, 26, 8)),
        ("resets Nov 26 at 3 am (America/New_York)", at(2026, 11, 26, 8)),
        ("resets Jan 2, 2027, 3pm (America/New_York)", at(2027, 1, 2, 20)),
        ("resets Jan 2, 3pm (UTC)", at(2027, 1, 2, 15)),
        ("resets Dec 1", at(2026, 12, 1)),
        ("You've hit your usage limit. Try again at 3:05 PM.", at(2026, 11, 22, 15, 5)),
        ("or try again at Nov 25th, 2026 3:05 PM.", at(2026, 11, 25, 15, 5)),
        ("available again at 16:20", at(2026, 11, 22, 16, 20)),
        ("resets Tuesday at 9:00 AM", at(2026, 11, 24, 9)),
        ("resets Sun 9am", at(2026, 11, 29, 9)),
        ("resets 12am", at(2026, 11, 23)),
        ("resets 12:30pm", at(2026, 11, 23, 12, 30)),
        ("resets at 2026-11-23T08:00:00Z", at(2026, 11, 23, 8)),
        ("will reset at 2026-11-23 08:00 UTC", at(2026, 11, 23, 8)),
        ("resets on 2026-11-23T08:00:00.123+0200", at(2026, 11, 23, 6)),
        ("Claude AI usage limit reached|1795410000", 1795410000),
        ('{"resetsAt": 1795410000}', 1795410000),
        ("resets 5pm (Mars/Olympus_Mons)", at(2026, 11, 22, 17)),
    ],
)
def test_a_moment(said: str, moment: float) -> None:
    assert stated_time(said, NOW) == moment


@pytest.mark.parametrize(
    "said",
    [
        "",
        "try again later",
        "529 Overloaded. This is usually temporary — try again in a moment.",
        "claude waits 30 s after a rate limit (retry 5 of 10)",
        "Your limit resets monthly",
        "resets 13pm",
        "resets Feb 30, 3am",
        "resets 25:10",
        "resets in 900 weeks",
        "resets Nov 20, 2026, 3am",
        "limit reached|1500000000",
        "again 7 " * 5000,
    ],
)
def test_what_states_no_time_to_come(said: str) -> None:
    assert stated_time(said, NOW) is None


def test_what_has_passed_means_tomorrow() -> None:
    """But for what passed within the minute: there is no more in what is stated."""
    four = at(2026, 11, 22, 16)
    assert stated_time("resets 4pm", four - 1) == four
    assert stated_time("resets 4pm", four + 30) == four
    assert stated_time("resets 4pm", four + 90) == four + 86_400


def test_tomorrow_has_23_or_25_hours_where_the_clocks_change() -> None:
    """Paris puts them back on 25 October and forward on 28 March."""
    evening = at(2026, 10, 24, 18, zone="Europe/Paris")
    said = "resets 4pm (Europe/Paris)"
    assert stated_time(said, evening) == at(2026, 10, 25, 15) == evening + 23 * 3600
    evening = at(2027, 3, 27, 18, zone="Europe/Paris")
    assert stated_time(said, evening) == at(2027, 3, 28, 14) == evening + 21 * 3600


def test_an_hour_that_comes_twice_or_never() -> None:
    said = "resets 2:30am (Europe/Paris)"
    first, second = (at(2026, 10, 25, 2, 30, zone="Europe/Paris", fold=n) for n in (0, 1))
    assert second == first + 3600
    assert stated_time(said, first - 600) == first
    assert stated_time(said, first + 600) == second
    never = stated_time(said, at(2027, 3, 28, 0, zone="Europe/Paris"))
    assert never == at(2027, 3, 28, 1, 30)
