"""Ends a child when its owner is killed without a word, which no code of the owner's can do.

A shell waits for the end of a pipe that the owner alone holds open. The kernel closes it however
the owner dies; then the shell ends the child's process group, politely first.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

__all__ = ["Leash"]

_WAIT = (
    'read -r word; [ "$word" = done ] && exit 0; '
    'kill -s TERM -- "-$1"; sleep 2; kill -s KILL -- "-$1"; exit 0'
)


class Leash:
    """Holds the process group of a child that has not been reaped yet; ``pid`` is the shell's."""

    def __init__(self, group: int) -> None:
        self.pid: int | None = None
        self._shell: subprocess.Popen[bytes] | None = None
        read, self._write = os.pipe()
        try:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _WAIT, "sh", str(group)],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
            self.pid = self._shell.pid
        except OSError:  # no room for one more process: the next command ends what is left
            os.close(self._write)
            self._write = -1
        finally:
            os.close(read)

    def release(self) -> None:
        """Let go: to be called before the child is reaped, while its number is still its own."""
        if self._shell is None or self._write < 0:
            return
        with suppress(OSError):
            os.write(self._write, b"done\n")
        os.close(self._write)
        self._write = -1
        with suppress(subprocess.TimeoutExpired):
            self._shell.wait(1)
