"""What ``llm gateway models --refresh`` learnt: one small file that llm's registry reads.

A file that is missing, broken or of another version is as good as an empty one: whatever it holds
must never end an ``llm`` command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import settings
from .model_names import is_name

__all__ = ["cached", "listing_of", "offered", "remember"]

FORMAT = 1
MOST = 1024 * 1024


def path() -> Path:
    return settings.home() / "models.json"


def cached() -> dict[str, Any]:
    """Provider → ``{"refreshed", "listed_by", "models": {name: description}, "default", …}``."""
    try:
        with open(path(), "rb") as file:
            data = json.loads(file.read(MOST))
        found = data["providers"] if data["format"] == FORMAT else {}
        return {k: v for k, v in found.items() if isinstance(v, dict)}
    except Exception:  # a broken file, a broken setting: see above
        return {}


def offered() -> dict[str, list[str]]:
    """Provider → the names that are known with confidence, in their order."""
    return {name: _names(entry.get("offered")) for name, entry in cached().items()}


def listing_of(provider: str) -> tuple[dict[str, str], str | None, str] | None:
    """What the CLI listed when it was last asked: models, default, how and when; or None."""
    entry = cached().get(provider, {})
    models, default = entry.get("listed"), entry.get("default")
    if not isinstance(models, dict):
        return None
    told = f"{entry.get('listed_by')}, {str(entry.get('refreshed'))[:10]}"
    said = {name: str(text) for name, text in models.items() if is_name(name)}
    return said, default if isinstance(default, str) else None, told


def remember(fresh: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what was learnt of some providers, beside what is known of the others."""
    from .store.connection import make_directory

    target = path()
    make_directory(target.parent)
    data = {"format": FORMAT, "providers": {**cached(), **fresh}}
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _names(value: object) -> list[str]:
    names = value if isinstance(value, list) else []
    return [name for name in names if isinstance(name, str) and is_name(name)]
