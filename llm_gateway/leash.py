"""Ends the children of this process when it is killed without a word, which no code of its own can.

A shell waits for the end of a pipe that this process alone holds open. The kernel closes it however
the process dies; then the shell ends the children's process groups, politely first. All children
of a process have one shell, which goes with the last of them.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable
from contextlib import suppress

from . import forks

__all__ = ["hold", "let_go", "shell"]

_WAIT = """
held=
while read -r word group; do
  case $word in
    hold) held="$held $group" ;;
    free) left=
      for one in $held; do [ "$one" = "$group" ] || left="$left $one"; done
      held=$left ;;
  esac
done
[ -n "$held" ] || exit 0
for one in $held; do kill -s TERM -- "-$one"; done
sleep 2
for one in $held; do kill -s KILL -- "-$one"; done
"""


class _Shell:
    """The shell, and the end of its pipe that keeps it waiting."""

    def __init__(self) -> None:
        with forks.held_off():
            read, self._write = os.pipe()
            forks.own(self._write)
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WAIT],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
        except BaseException:
            forks.close(self._write)
            raise
        finally:
            os.close(read)
        self.pid = self._process.pid

    def say(self, word: str, groups: Iterable[int]) -> None:
        os.write(self._write, "".join(f"{word} {group}\n" for group in groups).encode())

    def end(self) -> None:
        forks.close(self._write)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)


_held: set[int] = set()
_shell: _Shell | None = None
_lock = threading.Lock()


def shell() -> int | None:
    """The pid of the shell, where there is one; it is no child of anybody's run."""
    return None if _shell is None else _shell.pid


def hold(group: int) -> None:
    """Have a process group ended when this process is; where there is no room for that, nothing."""
    with _lock:
        _held.add(group)
        _tell("hold", group)


def let_go(group: int) -> None:
    """To be called before the group's leader is reaped, while its number is still its own."""
    global _shell
    with _lock:
        _held.discard(group)
        if _held:
            _tell("free", group)
        elif _shell is not None:
            ended, _shell = _shell, None
            with suppress(OSError):
                ended.say("free", [group])
            ended.end()


def _tell(word: str, group: int) -> None:
    """Say it to the shell, or all that is held to a new one where somebody killed it."""
    global _shell
    with suppress(OSError):
        if _shell is not None:
            with suppress(BrokenPipeError):
                _shell.say(word, [group])
                return
            _shell.end()
            _shell = None
        _shell = _Shell()
        _shell.say("hold", sorted(_held))


def _after_fork() -> None:
    """A fork has none of these children."""
    global _lock, _shell
    _lock, _shell = threading.Lock(), None
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)
