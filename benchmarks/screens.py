"""How long the screens take: ``python -m benchmarks.screens [--db FILE] [--into FILE]``.

Starts a real Datasette over the recorder FILE (``benchmarks.generate`` makes one; without ``--db``
a smaller one is made), once for each interpreter of ``--python``, and asks for each screen with
many different parameters. A time is that of the whole answer on this machine's loopback; ``CPU`` is
what all threads of the server took meanwhile, which does not count who else uses the machine. The
limit of a query is Datasette's default; what a page says to have taken too long is counted.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from llm_gateway.commands.browse import SETTINGS

from .generate import generate
from .screen_pages import Screen, screens

__all__ = ["Server", "measure"]

BEGIN, END = "<!-- screens -->", "<!-- end of screens -->"
FLOOR = "/-/static/app.css"
SLOW = b"took too long"
COLD = 5
TRIES = 3


class Server:
    """A Datasette of one interpreter that serves one recorder to everybody, until it is closed."""

    def __init__(self, python: str, database: Path, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        plugin = {"path": str(database), "public": True, "llm_path": str(folder / "none.db")}
        told = folder / f"metadata-{self.port}.json"
        told.write_text(json.dumps({"plugins": {"datasette-llm-gateway": plugin}}))
        argv = [python, "-m", "datasette", "serve", "-h", "127.0.0.1", "-p", str(self.port)]
        for name, value in (SETTINGS | {"sql_time_limit_ms": "1000"}).items():
            argv += ["--setting", name, value]
        self.process = subprocess.Popen(
            [*argv, "-m", str(told)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wire = HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._wait()
        self.version = str(json.loads(self.get("/-/versions.json")[1])["datasette"]["version"])

    def _wait(self) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                self.get(FLOOR)
                return
            except OSError:
                self.wire.close()
                if time.monotonic() > until or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def get(self, address: str) -> tuple[int, bytes]:
        """Status and body."""
        self.wire.request("GET", address, headers={"accept-encoding": "identity"})
        answer = self.wire.getresponse()
        return answer.status, answer.read()

    def cpu(self) -> float:
        """Milliseconds that all threads of the server have had a processor."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e6

    def close(self) -> None:
        self.wire.close()
        self.process.terminate()
        self.process.wait()


@contextmanager
def served(python: str, database: Path, folder: Path) -> Iterator[Server]:
    server = Server(python, database, folder)
    try:
        yield server
    finally:
        server.close()


@dataclass
class Times:
    """What the pages of one screen took on one Datasette."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    worst: tuple[float, str] = (0.0, "")

    def add(self, address: str, wall: float, cpu: float, body: bytes) -> None:
        self.wall.append(wall)
        self.cpu.append(cpu)
        self.worst = max(self.worst, (wall, address))
        if SLOW in body:
            self.slow.append(address)

    def at(self, share: float) -> float:
        return _share(self.wall, share)


def measure(server: Server, screen: Screen) -> Times:
    """Ask for each of a screen's addresses, after one that is not counted.

    What takes much longer than the server had a processor is asked for again: others had it.
    """
    times = Times()
    server.get(screen.addresses[0])
    for address in screen.addresses:
        wall, cpu, body = _asked(server, address)
        for _ in range(TRIES - 1):
            if wall < 1.2 * cpu + 3:
                break
            wall, cpu, body = min((wall, cpu, body), _asked(server, address))
        times.add(address, wall, cpu, body)
    return times


def _asked(server: Server, address: str) -> tuple[float, float, bytes]:
    """Milliseconds until the answer was there, those of the server's processors, and the answer."""
    before, cpu = time.perf_counter(), server.cpu()
    status, body = server.get(address)
    wall = (time.perf_counter() - before) * 1000
    if status >= 400 and SLOW not in body:
        raise RuntimeError(f"{address}: {status} {body[-500:]!r}")
    return wall, server.cpu() - cpu, body


def cold(server: Server, screen: Screen, database: Path) -> list[float]:
    """Ask for a few of them while nothing of the file is in memory."""
    found = []
    for address in screen.addresses[:: max(1, len(screen.addresses) // COLD)][:COLD]:
        _evict(database)
        before = time.perf_counter()
        server.get(address)
        found.append((time.perf_counter() - before) * 1000)
    return found


def _evict(database: Path) -> None:
    descriptor = os.open(database, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


Measured = dict[str, dict[str, Times]]


def run(pythons: list[str], database: Path, names: list[str], wanted: int) -> Measured:
    """All screens on each Datasette: by version, by screen."""
    found: Measured = {}
    conn = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    chosen = [screen for screen in screens(conn, wanted) if not names or screen.name in names]
    conn.close()
    with tempfile.TemporaryDirectory(prefix="gateway-screens-") as folder:
        for python in pythons:
            with served(python, database, Path(folder)) as server:
                times = found.setdefault(server.version, {})
                for screen in [Screen("nothing", None, [FLOOR] * wanted), *chosen]:
                    times[screen.name] = measure(server, screen)
                    _say(server.version, screen, times[screen.name])
            with served(python, database, Path(folder)) as server:
                for screen in chosen:
                    found[server.version][screen.name].cold = cold(server, screen, database)
    return found


def _say(version: str, screen: Screen, times: Times) -> None:
    wall, address = times.worst
    sys.stderr.write(
        f"{version} {screen.name}: n={len(times.wall)} p50={times.at(0.5):.1f}"
        f" p95={times.at(0.95):.1f} max={wall:.0f} cpu={statistics.median(times.cpu):.1f}"
        f"/{_share(times.cpu, 0.95):.1f} slow={len(times.slow)} {address}\n"
    )
    for one in times.slow[:5]:
        sys.stderr.write(f"    slow: {one}\n")


def table(found: Measured, targets: dict[str, float | None]) -> str:
    """As Markdown; times in milliseconds."""
    versions = list(found)
    head = ["screen", "pages", "target"]
    head += [f"{version}: p50, p95, max (CPU p95), cold" for version in versions]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for name in found[versions[0]]:
        of = [found[version][name] for version in versions]
        target = targets.get(name)
        cells = [name, str(len(of[0].wall)), f"≤ {target:g}" if target else ""]
        lines.append(f"| {' | '.join([*cells, *(_cell(times, target) for times in of)])} |")
    return "\n".join(lines)


def _cell(times: Times, target: float | None) -> str:
    p95 = f"{times.at(0.95):.0f}"
    if target:
        p95 = f"**{p95}**" if times.at(0.95) <= target else f"**{p95}, missed**"
    text = f"{times.at(0.5):.0f}, {p95}, {max(times.wall):.0f} ({_share(times.cpu, 0.95):.0f})"
    if times.cold:
        text += f", {statistics.median(times.cold):.0f}"
    if times.slow:
        text += f"; {len(times.slow)} with a part that took too long"
    return text


def insert(path: Path, text: str) -> None:
    """Put the table where an earlier run's stands."""
    head, _, rest = path.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def circumstances(database: Path) -> str:
    conn = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    requests = conn.execute("SELECT count(*) FROM request_rows").fetchone()[0]
    events = conn.execute("SELECT count(*) FROM events").fetchone()[0]
    conn.close()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores (load {load}), SQLite "
        f"{sqlite3.sqlite_version}, {requests:,} requests, {events:,} events,"
        f" {database.stat().st_size / 1e9:.1f} GB. Milliseconds."
    )


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.screens", description=__doc__)
    parser.add_argument("names", nargs="*", help="of screens; else all")
    parser.add_argument("--db", type=Path)
    parser.add_argument("--requests", type=int, default=50_000, help="of a file that is made")
    parser.add_argument("--python", action="append", help="with a Datasette; may be said again")
    parser.add_argument("--pages", type=int, default=48, help="of each screen, at least")
    parser.add_argument("--into", type=Path)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gateway-screens-") as folder:
        database = said.db
        if database is None:
            database = Path(folder) / "logs.db"
            generate(database, said.requests)
        before = circumstances(database)
        found = run(said.python or [sys.executable], database, said.names, said.pages)
        conn = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
        targets = {screen.name: screen.target for screen in screens(conn, 1)}
        conn.close()
    text = f"{before}\n\n{table(found, targets)}"
    sys.stdout.write(text + "\n")
    if said.into:
        insert(said.into, text)


if __name__ == "__main__":
    main()
