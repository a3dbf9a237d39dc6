"""Whether another distribution brings providers, found out once an installation changes.

Asking every installed distribution takes longer than all else that llm's start costs here, so the
answer is kept beside the recorder, with the times of the directories that it was found in.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

from .. import settings
from ..errors import GatewayError

__all__ = ["any_installed"]

GROUP = "llm_gateway"


def any_installed() -> bool:
    """Whether there is an entry point of ours; True also where that cannot be told cheaply."""
    where = _places()
    known = _read()
    if known is not None and known.get("places") == where:
        return bool(known.get("any"))
    from importlib.metadata import entry_points

    found = bool(entry_points(group=GROUP))
    _write({"places": where, "any": found})
    return found


def _places() -> list[list[object]]:
    """The directories in which distributions lie, and when they last got or lost one."""
    places: list[list[object]] = []
    for path in sys.path:
        with suppress(OSError):
            places.append([path, os.stat(path or ".").st_mtime_ns])
    return places


def _file() -> str:
    return str(settings.home() / "installed-providers.json")


def _read() -> dict[str, object] | None:
    with suppress(OSError, ValueError, GatewayError), open(_file(), encoding="utf-8") as file:
        known = json.load(file)
        return known if isinstance(known, dict) else None
    return None


def _write(known: dict[str, object]) -> None:
    """Keep it where there is a directory of ours already; making one is not worth it."""
    with suppress(OSError, GatewayError):
        path = _file()
        draft = f"{path}.{os.getpid()}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file)
        os.replace(draft, path)
