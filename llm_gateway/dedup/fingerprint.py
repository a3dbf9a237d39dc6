"""Whether a workspace still is what it was.

Git tells what the index has, which files differ from it, and which it does not know. Those that it
does not vouch for are told by their size and times, never by opening them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..digest import sha256
from . import repository
from .git import Git, Untold, executable
from .repository import Repository

__all__ = ["fingerprint", "head"]

FORMAT = b"1"
NOT_GIT = "-"
DIFFERS = ("diff-files", "--raw", "-z", "--ignore-submodules=all")
# All of the index, and after a "?" what is neither in it nor ignored. Unlike a comparison with
# HEAD it needs no objects, which a partial clone may not have.
LISTED = ("ls-files", "-z", "-s", "-v", "-o", "--exclude-standard")
VOUCHED, UNKNOWN, EMBEDDED = b"H ", b"? ", b"160000 "
# What a CLI hands to its model without a tool, from here and from above; Git may ignore it.
INSTRUCTIONS = (
    *("CLAUDE.md", "Claude.md", "CLAUDE.local.md", ".claude/CLAUDE.md", "GEMINI.md"),
    *("AGENTS.md", "Agents.md", "AGENT.md", "AGENTS.override.md"),
)
# A file or a link in the index that is as Git says: most of what it lists.
ORDINARY = (b"H 100", b"H 120")


def head(cwd: str) -> str | None:
    """Return the commit that is checked out where ``cwd`` is; None outside Git. Reads files only.

    It is for comparing: where there is no commit, or only Git could tell, it is a word instead.
    """
    found = repository.containing(cwd)
    return None if found is None else repository.commit(found)


def fingerprint(cwd: str, budget: float = 0.2) -> str | None:
    """Return what changes with every file of the work tree that Git does not ignore.

    It changes with instruction files in any case.

    :param budget: seconds that it may take.
    :return: it begins with ``-`` outside a work tree; None where it could not be told.
    """
    until = time.monotonic() + budget
    found = repository.containing(cwd)
    instructions = _instructions(os.path.realpath(cwd))
    if found is None:
        return NOT_GIT + (sha256(instructions).hexdigest() if instructions else "")
    git = executable(os.environ.get("PATH", os.defpath), found.root)
    if git is None:
        return None
    digest = sha256(FORMAT + instructions)
    try:
        for part in _state(git, found, os.path.realpath(cwd), until):
            digest.update(b"%d:" % len(part))
            digest.update(part)
    except (Untold, OSError):
        return None
    return digest.hexdigest()


def _instructions(cwd: str) -> bytes:
    """Return what tells the instruction files in a directory and above from what they were."""
    told = []
    for folder in (Path(cwd), *Path(cwd).parents):
        for name in INSTRUCTIONS:
            with suppress(OSError):
                s = os.stat(folder / name)
                told.append(f"{folder / name} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}")
    return os.fsencode("\n".join(told))


def _state(git: str, found: Repository, cwd: str, until: float) -> Iterator[bytes]:
    """Yield what the state of a work tree consists of, that of work trees within it included."""
    with Git(git, found, until) as looking:
        listing, comparing = looking.start(*LISTED), looking.start(*DIFFERS)
        if cwd != found.root:
            _refuse_ignored(looking, found.root, cwd)
        listed, differs = looking.output(listing), looking.output(comparing)
    yield from (repository.commit(found).encode(), listed, differs)
    top = os.fsencode(found.root)
    entries = [e for e in listed.split(b"\0")[:-1] if not e.startswith(ORDINARY)]
    yield _times(top, (*differs.split(b"\0")[1::2], *_not_compared(entries)), until)
    for path in _embedded(entries):
        inner = repository.at(os.fsdecode(os.path.join(top, path)))
        if inner is not None:
            yield from _state(git, inner, inner.root, until)


def _refuse_ignored(looking: Git, root: str, cwd: str) -> None:
    """Refuse to speak for a directory whose files Git does not list: an ignored one, or .git."""
    if ".git" in os.path.relpath(cwd, root).split(os.sep):
        raise Untold
    looking.output(looking.start("check-ignore", "-q", "--", cwd), code=1)


def _not_compared(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the files that Git knows nothing of, or was told not to look at."""
    for entry in entries:
        if entry.startswith(UNKNOWN):
            if not entry.endswith(b"/"):
                yield entry[2:]
        elif not entry.startswith(VOUCHED):
            yield entry.partition(b"\t")[2]


def _embedded(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the directories with a repository of their own: submodules, and ones Git passes by."""
    for entry in entries:
        if entry.startswith(UNKNOWN):
            if entry.endswith(b"/"):
                yield entry[2:-1]
        elif entry.startswith(EMBEDDED, 2):
            yield entry.partition(b"\t")[2]


def _times(top: bytes, paths: Iterable[bytes], until: float) -> bytes:
    times = []
    for number, path in enumerate(paths):
        if number % 256 == 0 and time.monotonic() > until:
            raise Untold
        try:
            s = os.lstat(top + b"/" + path)
        except OSError:
            times.append("none")
        else:
            times.append(f"{s.st_mode} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}")
    return "\n".join(times).encode()
