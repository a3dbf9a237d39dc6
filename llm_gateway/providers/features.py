"""What an installed CLI knows, read from its file instead of by running it.

A spawn on the way of a prompt would cost more than the gateway itself, so what was found is kept
by path and modification time in the gateway's directory.
"""

from __future__ import annotations

import json
import mmap
import os
from contextlib import suppress
from pathlib import Path

__all__ = [
    "cached_version",
    "contains",
    "mentions_variable",
    "packaged_version",
    "remember_version",
]


def mentions_variable(executable: str, name: str, state: Path) -> bool:
    """Return whether the CLI's own file knows an undocumented environment variable."""
    found = _recall(executable, state).get(name)
    if found is None:
        found = contains(executable, name.encode())
        _remember(executable, state, name, found)
    return bool(found)


def cached_version(executable: str, state: Path) -> str | None:
    """Return the version that this very file last reported of itself."""
    version = _recall(executable, state).get("version")
    return version if isinstance(version, str) else None


def packaged_version(executable: str, package: str) -> str | None:
    """Return the version of the npm package, or part of it, that an executable belongs to."""
    for folder in Path(os.path.realpath(executable)).parents[:3]:
        try:
            found = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if package and isinstance(found, dict) and str(found.get("name")).startswith(package):
            return str(found.get("version"))
    return None


def remember_version(executable: str, state: Path, version: str) -> None:
    """Keep what the CLI's output said its version is."""
    if cached_version(executable, state) != version:
        _remember(executable, state, "version", version)


def contains(path: str, needle: bytes) -> bool:
    """Return whether a file has these bytes in it; not where it cannot be read."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
            return view.find(needle) >= 0
    except (OSError, ValueError):
        return False


def _identity(path: str) -> tuple[str, list[int]]:
    real = os.path.realpath(path)
    stat = os.stat(real)
    return real, [stat.st_mtime_ns, stat.st_size]


def _load(state: Path) -> dict[str, dict[str, object]]:
    try:
        data = json.loads((state / "clis.json").read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _recall(path: str, state: Path) -> dict[str, object]:
    try:
        real, identity = _identity(path)
    except OSError:
        return {}
    entry = _load(state).get(real)
    return entry if isinstance(entry, dict) and entry.get("file") == identity else {}


def _remember(path: str, state: Path, key: str, value: object) -> None:
    with suppress(OSError):
        real, identity = _identity(path)
        data = _load(state)
        data[real] = {"file": identity, **_recall(path, state), key: value}
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = state / f"clis.json.{os.getpid()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump(data, file)
        temporary.replace(state / "clis.json")
