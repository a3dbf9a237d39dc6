"""The kinds of values that a setting can have, and what is wrong with the others."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = [
    "NAMES",
    "PATH",
    "SWITCH",
    "TEXT",
    "Kind",
    "bad_path",
    "names_in",
    "number",
    "one_of",
    "whole",
]


class Kind(NamedTuple):
    """What values there are; ``wrong`` says in a few words what is wrong with a text."""

    word: str
    wrong: Callable[[str], str | None]


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier()


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def names_in(text: str) -> tuple[str, ...]:
    """The names of a list with commas between that can be a variable's."""
    return tuple(name for name in _listed(text) if _is_name(name))


def number(least: float | None = None, above: float | None = None) -> Kind:
    """A finite number, whole or not, of at least ``least`` or above ``above``."""
    bound = f" of at least {least:g}" if least is not None else f" above {above:g}" if above else ""
    bound = " above 0" if above == 0 else bound

    def wrong(text: str) -> str | None:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        low = (least is not None and value < least) or (above is not None and value <= above)
        return f"no number{bound}" if low or not math.isfinite(value) else None

    return Kind("number", wrong)


def whole(least: int) -> Kind:
    """A whole number of at least ``least``."""

    def wrong(text: str) -> str | None:
        good = re.fullmatch(r"\d{1,15}", text.strip()) and int(text) >= least
        return None if good else f"no whole number of at least {least}"

    return Kind("whole number", wrong)


def one_of(*words: str) -> Kind:
    """One of a few words."""

    def wrong(text: str) -> str | None:
        return None if text.strip() in words else f"not one of {', '.join(filter(None, words))}"

    return Kind("word", wrong)


def _bad_switch(text: str) -> str | None:
    return None if text.strip() in ("", "0", "1") else "neither 0 nor 1"


def bad_path(text: str) -> str | None:
    """What keeps a text from being a path; None where nothing does."""
    if "\0" in text:
        return "no path has a NUL character"
    start = text.strip().split("/", 1)[0]
    return f"there is no user {start[1:]}" if os.path.expanduser(start).startswith("~") else None


def _bad_names(text: str) -> str | None:
    bad = [name for name in _listed(text) if not _is_name(name)]
    return f"no variable can be called {', '.join(bad)}; ignored" if bad else None


def _never(_: str) -> str | None:
    return None


PATH = Kind("path", bad_path)
SWITCH = Kind("0 or 1", _bad_switch)
NAMES = Kind("names", _bad_names)
TEXT = Kind("text", _never)
