"""The sessions in the vendors' own stores, read and never written: whoever began them.

Newest first, so that who takes a few reads the heads of a few files. A file that is none of the
vendor's is passed over; a link is not followed, since it may lead out of the store.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..ids import is_session_id
from ..records import record, replace
from ..titles import title_of

__all__ = ["StoredSession", "claude", "codex", "gemini", "grok", "newest_in"]

HEAD = 384 * 1024  # codex says 80 kB before the user's first word
WHOLE = 128 * 1024  # so small a file is read to its end, for the number of turns
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
Lines = Iterable[dict[str, Any]]


@record(frozen=True, slots=True)
class StoredSession:
    """A session as its vendor keeps it; ``used`` is Unix time; None for what is not told.

    :param turns: only where telling it costs nothing.
    """

    provider: str
    session_id: str
    used: float
    path: str
    cwd: str | None = None
    title: str | None = None
    turns: int | None = None


def newest_in(found: Iterable[StoredSession], cwd: str) -> StoredSession | None:
    """The first session of a directory."""
    here = os.path.realpath(cwd)
    return next((s for s in found if s.cwd and os.path.realpath(s.cwd) == here), None)


def claude(root: Path) -> Iterator[StoredSession]:
    """``projects/DIRECTORY/ID.jsonl``; what its own agents said is in folders below."""
    files = _files(_folders(root / "projects"), re.compile(r"(?P<id>[0-9a-f-]{36})\.jsonl\Z"))
    for used, path, id in files:
        if _UUID.match(id):
            yield from _read(StoredSession("claude", id, used, path), _claude)


def _claude(session: StoredSession, lines: Lines, whole: bool) -> StoredSession | None:
    cwd = title = None
    turns = 0
    for line in lines:
        cwd = cwd or _text(line.get("cwd"))
        if line.get("type") != "user" or line.get("isMeta") or line.get("isSidechain"):
            continue
        words = _words(line.get("message", {}).get("content"))
        if words is not None:  # else it is a tool's result
            turns, title = turns + 1, title or title_of(words)
        if title and cwd and not whole:
            break
    return replace(session, cwd=cwd, title=title, turns=turns if whole else None)


def codex(root: Path) -> Iterator[StoredSession]:
    """``sessions/YEAR/MONTH/DAY/rollout-TIME-ID.jsonl``."""
    days: Iterable[str] = [str(root / "sessions")]
    for _ in range(3):
        days = [folder for parent in days for folder in _folders(Path(parent))]
    for used, path, id in _files(days, re.compile(r"rollout-.+-(?P<id>[0-9a-f-]{36})\.jsonl\Z")):
        if _UUID.match(id):
            yield from _read(StoredSession("codex", id, used, path), _codex)


def _codex(session: StoredSession, lines: Lines, whole: bool) -> StoredSession | None:
    cwd = title = None
    turns = 0
    for line in lines:
        payload = line.get("payload")
        if not isinstance(payload, dict):
            continue
        if line.get("type") == "session_meta":
            if payload.get("thread_source", "user") != "user":
                return None  # one of codex's own agents
            cwd = _text(payload.get("cwd"))
        words = _codex_words(payload) if line.get("type") == "event_msg" else None
        if words is not None:
            turns, title = turns + 1, title or title_of(words)
        if title and not whole:
            break
    return replace(session, cwd=cwd, title=title, turns=turns if whole else None)


def _codex_words(payload: dict[str, Any]) -> str | None:
    if payload.get("type") == "user_message":  # of older versions
        return _text(payload.get("message"))
    item = payload.get("item")
    if isinstance(item, dict) and item.get("type") == "UserMessage":
        return _words(item.get("content"))
    return None


def gemini(root: Path) -> Iterator[StoredSession]:
    """``tmp/PROJECT/chats/session-TIME-ID8.jsonl``, one JSON object in a ``.json`` of old."""
    chats = [os.path.join(folder, "chats") for folder in _folders(root / "tmp")]
    for used, path, _ in _files(chats, re.compile(r"session-.+-(?P<id>[^-]+)\.jsonl?\Z")):
        project = os.path.dirname(os.path.dirname(path))
        cwd = _small(os.path.join(project, ".project_root"))
        yield from _read(StoredSession("gemini", "", used, path, cwd and cwd.strip()), _gemini)


def _gemini(session: StoredSession, lines: Lines, whole: bool) -> StoredSession | None:
    id = title = None
    turns = 0
    for line in lines:
        id = id or _text(line.get("sessionId"))
        if line.get("kind", "main") != "main":
            return None
        said = line["messages"] if isinstance(line.get("messages"), list) else [line]
        for message in said:
            if isinstance(message, dict) and message.get("type") == "user":
                words = title_of(_words(message.get("content")) or "")
                turns, title = turns + bool(words), title or words
        if title and not whole:
            break
    return replace(session, session_id=id or "", title=title, turns=turns if whole else None)


def grok(root: Path) -> Iterator[StoredSession]:
    """``sessions/DIRECTORY/ID/``: a summary, counts, and what was said."""
    found = []
    for parent in _folders(root / "sessions"):
        for folder in _folders(Path(parent)):
            told = os.path.join(folder, "summary.json")
            if (used := _changed(told)) is not None:
                found.append((used, told, os.path.basename(folder)))
    for used, told, id in sorted(found, reverse=True):
        yield from _read(StoredSession("grok", id, used, told), _grok)


def _grok(session: StoredSession, lines: Lines, whole: bool) -> StoredSession | None:
    folder = os.path.dirname(session.path)
    summary = next(iter(lines), {})
    if not summary:
        return None
    cwd = _text((summary.get("info") or {}).get("cwd"))
    updates = _heads(os.path.join(folder, "updates.jsonl"))
    title = next(filter(None, map(_grok_title, updates)), None)
    counts = next(_heads(os.path.join(folder, "signals.json")), {})
    turns = counts.get("turnCount")
    return replace(
        session,
        cwd=cwd,
        title=title or title_of(_text(summary.get("session_summary")) or ""),
        turns=turns if isinstance(turns, int) else None,
    )


def _grok_title(line: dict[str, Any]) -> str | None:
    update = (line.get("params") or {}).get("update") or {}
    if update.get("sessionUpdate") != "user_message_chunk":
        return None
    return title_of(_words([update.get("content")]) or "")


# Reading.

Reader = Callable[[StoredSession, Lines, bool], StoredSession | None]


def _read(session: StoredSession, reader: Reader) -> Iterator[StoredSession]:
    """What a reader makes of the head of a file; nothing where it is not as it should be."""
    try:
        whole = os.path.getsize(session.path) <= WHOLE
        found = reader(session, _heads(session.path), whole)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return
    if found is not None and is_session_id(found.session_id):
        yield replace(found, cwd=found.cwd and _line(found.cwd))


def _heads(path: str) -> Iterator[dict[str, Any]]:
    """The JSON objects on the first lines of a file, or the one object that it is."""
    try:
        with _opened(path) as file:
            room = HEAD
            while room > 0 and (line := file.readline(room)):
                if room == HEAD and not line.startswith((b'{"', b'{ "')):
                    line += file.read(room)
                room -= len(line)
                if (told := _parsed(line)) is not None:
                    yield told
    except OSError:
        return


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _opened(path: str) -> BinaryIO:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return open(os.open(path, flags), "rb")


def _small(path: str) -> str | None:
    try:
        with _opened(path) as file:
            return file.read(HEAD).decode("utf-8", "replace")
    except OSError:
        return None


def _folders(parent: Path) -> list[str]:
    try:
        with os.scandir(parent) as entries:
            return [e.path for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _files(folders: Iterable[str], name: re.Pattern[str]) -> list[tuple[float, str, str]]:
    """(changed, path, id) of the files of that name, newest first."""
    found = []
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    match = name.match(entry.name)
                    if match and entry.is_file(follow_symlinks=False):
                        changed = entry.stat(follow_symlinks=False).st_mtime
                        found.append((changed, entry.path, match["id"]))
        except OSError:
            continue
    return sorted(found, reverse=True)


def _changed(path: str) -> float | None:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _words(content: object) -> str | None:
    """The text of a message; None where it has none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    told = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in told if isinstance(text, str)) or None


def _line(text: str) -> str:
    return "".join(c for c in text if c.isprintable())
