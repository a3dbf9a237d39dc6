"""Text and times in the form in which the recorder keeps them."""

from __future__ import annotations

import json
import time
from typing import Any

from llm_gateway.digest import sha256

__all__ = ["clean", "dumps", "iso", "now", "preview", "prompt_hash", "seconds_of", "span"]

_PREVIEW_CHARS = 160


def _plain(value: object) -> str:
    """What JSON does not know, as text."""
    return value.decode() if isinstance(value, (bytes, bytearray)) else str(value)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def clean(text: str) -> str:
    """The same text, with lone surrogates replaced, which no UTF-8 file can hold."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def dumps(value: Any) -> str:
    """Compact JSON that any UTF-8 file can hold."""
    return clean(_encode(value))


_LATEST = 253_402_300_799.0  # 9999-12-31T23:59:59Z


def iso(seconds: float) -> str:
    """ISO-8601 UTC with milliseconds and Z, so that strings sort as times.

    What is beyond 1970 or 9999 is written as that: a year of three digits would sort as a late one.
    """
    whole, milliseconds = divmod(int(min(max(0.0, seconds), _LATEST) * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def now() -> str:
    """This moment as ``iso`` writes it."""
    return iso(time.time())


def preview(prompt: str) -> str:
    """The beginning of a prompt on one line."""
    return clean(" ".join(prompt[: 4 * _PREVIEW_CHARS].split())[:_PREVIEW_CHARS])


def prompt_hash(prompt: str) -> str:
    """What two requests share that asked the same."""
    return sha256(prompt.encode("utf-8", "replace")).hexdigest()[:16]


def seconds_of(moment: str) -> float:
    """The Unix time of what ``iso`` wrote."""
    from datetime import datetime

    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def span(seconds: float | None) -> str:
    """A length of time in two units: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return _two(whole // size, unit, whole % size // part, smaller)
    return _two(whole // 60, "min", whole % 60, "s") if whole >= 60 else f"{whole} s"


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"
