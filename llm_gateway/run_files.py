"""The private directory of a run: gone when the run ends, or with the next command after a crash.

A lock in it says that its owner is alive: the system lets go of that however the owner ended.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from . import forks
from .ids import new_id

__all__ = ["remove_left", "run_folder"]

PREFIX = "llm-gateway-"
LOCK = ".owner"
UNLOCKED_SECONDS = 3600.0  # older than this, a directory without a lock is nobody's
_here: set[str] = set()  # those of this process, which need no look


def run_folder(stack: ExitStack) -> Path:
    """Make the directory; the stack takes it away."""
    try:
        folder = _made(_place(), stack)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # it is not the place that has no room
        import tempfile

        folder = _made(tempfile.gettempdir(), stack)  # which looks where there is room
    return folder


def _made(place: str, stack: ExitStack) -> Path:
    folder = Path(place, f"{PREFIX}{new_id()}")
    folder.mkdir(mode=0o700)
    _here.add(folder.name)
    stack.callback(_here.discard, folder.name)
    stack.callback(_remove, str(folder))
    new = folder / f"{LOCK}.new"
    with forks.held_off():
        lock = forks.own(os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    stack.callback(forks.close, lock)
    os.write(lock, b"\n")  # a full disk takes a directory and no word in it
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    new.rename(folder / LOCK)  # under this name it has been locked from the start
    return folder


def remove_left() -> None:
    """Remove the directories of runs whose process is gone."""
    with suppress(OSError), os.scandir(_place()) as entries:
        for entry in entries:
            other = entry.name.startswith(PREFIX) and entry.name not in _here
            if other and _is_ours(entry) and _is_left(entry.path):
                _remove(entry.path)


def _place() -> str:
    """Where temporary files go; ``tempfile`` tries more places, and loads a dozen modules."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        place = os.environ.get(name)
        if place and os.access(place, os.W_OK | os.X_OK):
            return os.path.abspath(place)
    if os.access("/tmp", os.W_OK | os.X_OK):
        return "/tmp"

    import tempfile

    return tempfile.gettempdir()


def _remove(folder: str) -> None:
    """Remove a directory of a few files; where there is more in it, with all that is there."""
    try:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)
    except OSError:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory that we made: our own, and nobody else can look into it."""
    try:
        told = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    private = stat.S_ISDIR(told.st_mode) and not told.st_mode & 0o077
    return private and told.st_uid == os.geteuid()


def _is_left(folder: str) -> bool:
    try:
        lock = os.open(f"{folder}/{LOCK}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        with suppress(OSError):
            return time.time() - os.stat(folder).st_mtime > UNLOCKED_SECONDS
        return False
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
