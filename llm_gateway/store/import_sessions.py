"""Brings the sessions of an original's ``sessions.json`` in: those that its vendor may have.

The original also kept records that no CLI has ever heard of: ids with its own prefix, and random
ones for codex, whose own ids are of another version. Nobody could continue those.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_gateway.ids import is_session_id
from llm_gateway.store.connection import write
from llm_gateway.store.import_original import SOURCE, NotAnOriginal
from llm_gateway.store.session_names import cutoff
from llm_gateway.store.text import iso
from llm_gateway.titles import title_of

__all__ = ["import_sessions", "looks_like_sessions"]

_LARGEST = 64 * 1024 * 1024
_PROVIDERS = ("claude", "codex", "gemini", "grok")
_CODEX_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def looks_like_sessions(path: Path) -> bool:
    """Whether a file is JSON rather than a database."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False


def import_sessions(path: Path, conn: sqlite3.Connection) -> dict[str, int]:
    """Take over what is not there yet, with its own times; what was active is active no more.

    ``left_out`` counts what no vendor's CLI has, and what the time to live has ended.
    """
    counts = {"sessions": 0, "already_there": 0, "left_out": 0}
    known = _sessions(path)
    oldest = cutoff()
    with write(conn):
        for key, told in known.items():
            row = _row(key, told)
            if row is None or row["last_used_at"] < oldest:
                counts["left_out"] += 1
                continue
            came = conn.execute(
                "INSERT OR IGNORE INTO sessions"
                " (provider, session_id, created_at, last_used_at, title, source) VALUES"
                " (:provider, :session_id, :created_at, :last_used_at, :title, :source)",
                row,
            ).rowcount
            counts["sessions" if came else "already_there"] += 1
    return counts


def _sessions(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > _LARGEST:
        raise NotAnOriginal(f"{path} is too large for a file of sessions.")
    try:
        told = json.loads(path.read_bytes())
        sessions = told["sessions"]
        if not isinstance(sessions, dict) or not isinstance(told["activeSession"], dict):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NotAnOriginal(
            f"{path} is not the sessions.json of the original llm-cli-gateway."
        ) from None
    return sessions


def _row(key: str, told: object) -> dict[str, Any] | None:
    """The session as ours; None where it is none that could be continued."""
    if not isinstance(told, dict) or told.get("id") != key:
        return None
    provider, used = told.get("cli"), _moment(told.get("lastUsedAt"))
    if provider not in _PROVIDERS or used is None:
        return None
    if key.startswith("gw-") or not is_session_id(key):
        return None
    if provider == "codex" and not _CODEX_ID.match(key):
        return None
    said = told.get("description")
    own_words = isinstance(said, str) and said.lower() != f"{provider} session"
    return {
        "provider": provider,
        "session_id": key,
        "created_at": _moment(told.get("createdAt")) or used,
        "last_used_at": used,
        "title": title_of(str(said)) if own_words else None,
        "source": SOURCE,
    }


def _moment(said: object) -> str | None:
    from datetime import datetime

    try:
        return iso(datetime.fromisoformat(str(said).replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError, OSError):
        return None
