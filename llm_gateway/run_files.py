"""The private directory of a run: gone when the run ends, or with the next command after a crash.

A lock in it says that its owner is alive: the system lets go of that however the owner ended.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

__all__ = ["remove_left", "run_folder"]

PREFIX = "llm-gateway-"
LOCK = ".owner"
UNLOCKED_SECONDS = 3600.0  # older than this, a directory without a lock is nobody's
_here: set[str] = set()  # those of this process, which need no look


def run_folder(stack: ExitStack) -> Path:
    """Make the directory; the stack takes it away, and what others left behind."""
    stack.callback(remove_left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    _here.add(folder.name)
    stack.callback(_here.discard, folder.name)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    new = folder / f"{LOCK}.new"
    lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, lock)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    new.rename(folder / LOCK)  # under this name it has been locked from the start
    return folder


def remove_left() -> None:
    """Remove the directories of runs whose process is gone."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            other = entry.name.startswith(PREFIX) and entry.name not in _here
            if other and _is_ours(entry) and _is_left(entry.path):
                shutil.rmtree(entry.path, ignore_errors=True)


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
