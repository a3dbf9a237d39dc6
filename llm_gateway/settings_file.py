"""Reads ``config.toml`` of the state directory, where there is one; nothing here writes it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import InvalidInput

__all__ = ["said_in", "text_of", "toml"]


def said_in(path: Path) -> Mapping[str, Any]:
    """Return what the file says, as it is now; nothing where there is none."""
    try:
        stat = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    return _parsed(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=4)
def _parsed(path: Path, *_identity: int) -> Mapping[str, Any]:
    try:
        return toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidInput(f"{path} is no TOML: {error}.") from error


def toml(text: str) -> dict[str, Any]:
    """Return what a TOML text says; ValueError where it is none."""
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib.loads(text)
    import tomli

    said: dict[str, Any] = tomli.loads(text)
    return said


def text_of(value: Any) -> str:
    """Return a value as a variable would have it, so that both are judged by one rule."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (list, dict)):
        plain = isinstance(value, list) and all(isinstance(part, str) for part in value)
        return ",".join(value) if plain else json.dumps(value, default=str)
    return str(value)
