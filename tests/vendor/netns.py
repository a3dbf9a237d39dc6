"""A network namespace with nothing but loopback in it, for programs that must not reach out.

A holder process keeps the namespace; it ends when its standard input does, so it cannot outlive
the tests however they end, and takes along whatever still runs in the namespace.  As root a
network namespace is enough; otherwise a user namespace around it, in which the user keeps his id.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from install import Unavailable

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_READY = "ready"
#: Run inside: prints the interfaces that are not loopback, and tries to leave.
_PROBE = """
import socket
print([name for _, name in socket.if_nameindex() if name != "lo"])
for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 53))
            print("reached", address)
    except OSError:
        pass
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), 2).close()
print("loopback works")
"""


class Namespace:
    """A loopback-only network namespace, held until `close`."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise Unavailable("network namespaces need Linux")
        if shutil.which("nsenter") is None:
            raise Unavailable("nsenter (util-linux) is missing")
        self._holder = subprocess.Popen(
            [sys.executable, "-E", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout and self._holder.stderr
        if self._holder.stdout.readline().strip() != _READY:
            self._holder.wait(10)
            reason = (self._holder.stderr.read().strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"no network namespace: {reason}")

    def command(self, argv: list[str]) -> list[str]:
        """Return the argument list that runs `argv` inside the namespace, as the same process."""
        folder = f"/proc/{self._holder.pid}/ns"
        enter = ["nsenter", f"--net={folder}/net"]
        if os.geteuid() != 0:
            enter += [f"--user={folder}/user", "--preserve-credentials"]
        return [*enter, "--", *argv]

    def pids(self) -> list[int]:
        """Return the processes that run inside, without the holder."""
        return pids_in(f"/proc/{self._holder.pid}/ns/net", self._holder.pid)

    def check(self) -> None:
        """Raise `Unavailable` unless loopback, and nothing else, can be reached from inside."""
        probe = self.command([sys.executable, "-I", "-c", _PROBE])
        done = subprocess.run(probe, capture_output=True, text=True, timeout=30, check=False)
        if done.stdout.split("\n")[:-1] != ["[]", "loopback works"]:
            raise Unavailable(f"the namespace is not closed: {(done.stdout + done.stderr)!r}")

    def close(self) -> None:
        """End the namespace and every process left in it."""
        if self._holder.stdin and not self._holder.stdin.closed:
            self._holder.stdin.close()
        self._holder.wait(10)
        for stream in (self._holder.stdout, self._holder.stderr):
            if stream:
                stream.close()


def pids_in(namespace: str, but: int) -> list[int]:
    """Return the processes of a network namespace, except process `but`."""
    wanted = os.readlink(namespace)
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != but:
            with contextlib.suppress(OSError):
                if os.readlink(folder / "ns" / "net") == wanted:
                    found.append(int(folder.name))
    return sorted(found)


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNET if user == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _hold() -> None:
    """Be the holder: make the namespace, wait for the end of standard input, clean up."""
    outside = os.readlink("/proc/self/ns/net")
    try:
        _unshare()
        _loopback_up()
    except OSError as problem:
        sys.exit(str(problem))
    if os.readlink("/proc/self/ns/net") == outside:
        sys.exit("unshare had no effect")
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    print(_READY, flush=True)
    sys.stdin.read()
    for _ in range(20):
        left = pids_in("/proc/self/ns/net", os.getpid())
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return
        time.sleep(0.05)


if __name__ == "__main__":
    _hold()
