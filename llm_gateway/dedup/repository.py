"""A Git repository as its files tell it: no process, nothing of its configuration obeyed.

What lies in a repository is somebody else's: a file is opened so that a pipe in its place cannot
hold us, and a path that leads elsewhere is at most read and hashed.
"""

from __future__ import annotations

import os
import re
import stat

from ..digest import sha256
from ..records import record

__all__ = ["Repository", "at", "commit", "containing", "read_file"]

OID = rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z"
REF = rb"refs/[^\x00-\x20\x7f]+\Z"
OWN_REFS = (b"refs/bisect/", b"refs/worktree/", b"refs/rewritten/")
LINKS = 5
SMALL = 4096
UNBORN, UNKNOWN = "unborn", "unknown"


@record(frozen=True, slots=True)
class Repository:
    """A work tree.

    :param root: its top. :param own: its Git directory, which has its HEAD and its index.
    :param common: the Git directory that all work trees of the repository share.
    """

    root: str
    own: str
    common: str


def containing(folder: str) -> Repository | None:
    """Return the work tree that a directory lies in; a bare repository is none."""
    here = os.path.realpath(folder)
    while True:
        if found := at(here):
            return found
        here, below = os.path.dirname(here), here
        if here == below:
            return None


def at(folder: str) -> Repository | None:
    """Return the work tree whose top is this very directory."""
    own = os.path.join(folder, ".git")
    if not os.path.isdir(own):
        pointer = read_file(own, SMALL)
        if pointer is None or not pointer.startswith(b"gitdir:"):
            return None
        own = os.path.join(folder, os.fsdecode(pointer[7:].strip()))
    shared = read_file(os.path.join(own, "commondir"), SMALL)
    common = own if shared is None else os.path.join(own, os.fsdecode(shared.strip()))
    if not os.path.lexists(os.path.join(own, "HEAD")) or not os.path.isdir(f"{common}/objects"):
        return None
    return Repository(folder, own, common)


def commit(repository: Repository) -> str:
    """Return the commit that is checked out, or a word for where there is none.

    Where the references are in tables that only Git can read, what names the tables stands for it:
    that changes with every reference, so it is never the same for two commits.
    """
    if tables := _tables(repository):
        return tables
    text = read_file(os.path.join(repository.own, "HEAD"), SMALL)
    if text is None:
        return UNKNOWN
    for _ in range(LINKS):
        if re.match(OID, text.strip()):
            return text.strip().decode()
        name = text[4:].strip() if text.startswith(b"ref:") else b""
        if not re.match(REF, name) or b".." in name:
            return UNKNOWN
        text = _resolved(repository, name)
        if text is None:
            return UNBORN
    return UNKNOWN


def _resolved(repository: Repository, name: bytes) -> bytes | None:
    place = repository.own if name.startswith(OWN_REFS) else repository.common
    loose = read_file(os.path.join(place, os.fsdecode(name)), SMALL)
    return loose if loose is not None else _packed(repository.common, name)


def _packed(common: str, name: bytes) -> bytes | None:
    text = read_file(os.path.join(common, "packed-refs")) or b""
    end = text.find(b" " + name + b"\n")
    return None if end < 0 else text[text.rfind(b"\n", 0, end) + 1 : end]


def _tables(repository: Repository) -> str | None:
    folders = {f"{repository.own}/reftable", f"{repository.common}/reftable"}
    lists = [read_file(f"{folder}/tables.list") for folder in sorted(folders)]
    told = [text for text in lists if text is not None]
    return f"tables-{sha256(b'|'.join(told)).hexdigest()}" if told else None


def read_file(path: str, limit: int = -1) -> bytes | None:
    """Return what is in a regular file; None where there is none that can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError:
        return None
    finally:
        os.close(descriptor)
