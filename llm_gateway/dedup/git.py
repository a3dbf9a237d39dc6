"""Git, looking at a work tree without obeying the repository.

It works on the real index and files, but in a Git directory of our own making: the repository's
configuration is never read, so that no filter, monitor, hook or helper that it names can run, and
nothing of it is written.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType

from .repository import Repository, read_file

__all__ = ["Git", "Untold", "executable"]

# What a repository may say of itself: words that change what Git finds, and do nothing.
TOLD = (
    rb"(?im)(?:^|\])[ \t]*(filemode|ignorecase|precomposeunicode|symlinks|objectformat)"
    rb"[ \t]*=[ \t]*(true|false|sha1|sha256)[ \t\r]*$"
)
EXCLUDES = rb"(?im)(?:^|\])[ \t]*excludesfile[ \t]*=[ \t]*([^\r\n]*)"


class Untold(Exception):
    """Git did not say what it was asked, or not in time."""


def executable(path: str, root: str) -> str | None:
    """Return where Git is; never one that lies in the work tree or is found from there."""
    for folder in filter(os.path.isabs, path.split(os.pathsep)):
        found = os.path.join(folder, "git")
        if _within(os.path.realpath(folder), root) or _within(os.path.realpath(found), root):
            continue
        if os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    return None


class Git(AbstractContextManager["Git"]):
    """Processes of Git that look at one work tree and are gone when the block ends.

    :param until: the monotonic time at which they are to have answered.
    """

    def __init__(self, command: str, repository: Repository, until: float) -> None:
        self._command, self._repository, self._until = command, repository, until
        self._stack = ExitStack()

    def __enter__(self) -> Git:
        import tempfile

        folder = tempfile.TemporaryDirectory(prefix="llm-gateway-git-")
        self._folder = self._stack.enter_context(folder)
        try:
            _make_directory(Path(self._folder), self._repository)
        except OSError:
            self._stack.close()
            raise
        self._env = _environment(self._folder, self._repository)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command, which goes to the top of the work tree by itself."""
        child = subprocess.Popen(
            (self._command, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # What wraps Git looks for its own settings here, not in the workspace.
            cwd=self._folder,
            env=self._env,
        )
        self._stack.callback(_end, child)
        return child

    def output(self, child: subprocess.Popen[bytes], code: int = 0) -> bytes:
        """Wait for a command and return what it printed.

        :raises Untold: when it ends with another exit code than ``code``, and when time is up.
        """
        try:
            output = child.communicate(timeout=max(0.0, self._until - time.monotonic()))[0]
        except subprocess.TimeoutExpired:
            raise Untold from None
        if child.returncode != code:
            raise Untold
        return output


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.wait(0.1)
    if child.stdout is not None:
        child.stdout.close()


def _within(path: str, folder: str) -> bool:
    return os.path.commonpath((path, folder)) == folder


def _make_directory(folder: Path, repository: Repository) -> None:
    (folder / "refs").mkdir()
    (folder / "info").mkdir()
    (folder / "HEAD").write_text("ref: refs/heads/none\n")
    (folder / "config").write_bytes(b"\n".join(_configuration(repository)) + b"\n")
    (folder / "info" / "exclude").symlink_to(f"{repository.common}/info/exclude")


def _environment(folder: str, repository: Repository) -> dict[str, str]:
    """Return all that Git inherits."""
    return {
        "GIT_DIR": folder,
        "GIT_WORK_TREE": repository.root,
        "GIT_INDEX_FILE": os.path.join(repository.own, "index"),
        "GIT_OBJECT_DIRECTORY": os.path.join(repository.common, "objects"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": folder,
        "XDG_CONFIG_HOME": folder,
        "PATH": os.defpath,
        "LC_ALL": "C",
    }


def _configuration(repository: Repository) -> Iterator[bytes]:
    text = read_file(f"{repository.common}/config") or b""
    told = {key.lower(): value.lower() for key, value in re.findall(TOLD, text)}
    hashes = told.pop(b"objectformat", b"sha1")
    yield b"[core]\nbare = false\nfsmonitor = false\nuntrackedCache = false"
    yield b"repositoryformatversion = " + (b"0" if hashes == b"sha1" else b"1")
    for key, value in told.items():
        yield key + b" = " + value
    yield b"excludesFile = " + _quoted(_users_excludes())
    if hashes != b"sha1":
        yield b"[extensions]\nobjectFormat = " + hashes


def _users_excludes() -> bytes:
    """Return the file in which the user lists what Git is to ignore everywhere."""
    home = os.path.expanduser("~")
    settings = os.path.join(os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config", "git")
    for file in (f"{home}/.gitconfig", f"{settings}/config"):
        named: list[bytes] = re.findall(EXCLUDES, read_file(file) or b"")
        if named:
            return os.path.expanduser(named[-1].strip().strip(b'"'))
    return os.fsencode(f"{settings}/ignore")


def _quoted(value: bytes) -> bytes:
    escaped = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
