"""A user of its own for the benchmarks: home, a fake claude on PATH, a recorder with a past."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["HERE", "ROOT", "Place"]

HERE = Path(__file__).parent
ROOT = HERE.parent
PLUGIN, FLOOR = "llm-gateway", "llm-floor"
#: As many variables as a user has; the gateway looks at each of them.
OTHERS = {f"SOME_VARIABLE_{number}": "value" for number in range(30)}


class Place:
    """A directory in which everything lies that a benchmark needs or leaves."""

    def __init__(self, folder: Path, requests: int = 100_000) -> None:
        self.folder, self.requests = folder, requests
        self.bin = folder / "bin"
        self.work = folder / "work"
        for path in (self.bin, self.work, folder / "llm", folder / "llm-floor"):
            path.mkdir(parents=True)
        self.claude = self.bin / "claude"
        shutil.copy(HERE / "fake-claude", self.claude)
        self.database = folder / "gateway" / "logs.db"
        self._begin_recorder()

    def env(self, plugins: str = PLUGIN) -> dict[str, str]:
        """The environment of a child, in which llm loads those plugins and no others."""
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            **OTHERS,
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONPATH": f"{ROOT}:{HERE / 'floor'}",
            "LLM_USER_PATH": str(self.folder / ("llm" if plugins == PLUGIN else "llm-floor")),
            "LLM_GATEWAY_HOME": str(self.folder / "gateway"),
            "LLM_LOAD_PLUGINS": plugins,
            "FLOOR_CLI": str(self.claude),
        }

    def llm(self, *args: str, plugins: str = PLUGIN, stdout: int = subprocess.DEVNULL) -> float:
        """Run llm to its end; milliseconds."""
        argv = [str(Path(sys.executable).with_name("llm")), *args]
        return timed(argv, self.env(plugins), self.work, stdout)

    def worker(self, *args: str, **env: str) -> str:
        """What a worker of the benchmarks prints (``workers.py``)."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.workers", *args],
            env={**self.env(), **env},
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        )
        return done.stdout.decode()

    def _begin_recorder(self) -> None:
        self.worker("begin")
        conn = sqlite3.connect(self.database, isolation_level=None)
        conn.execute("BEGIN IMMEDIATE")
        for table in ("request_rows", "bodies", "job_rows", "attempts", "events"):
            _multiply(conn, table, self.requests - 1)
        conn.execute("COMMIT")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        conn.close()


KEYS = ("id", "request_id", "job_id", "body_id", "session_id", "turn_id", "thread_id")


def _multiply(conn: sqlite3.Connection, table: str, times: int) -> None:
    """Give a table's rows as many followers, each with keys of its own."""
    columns = [row[1] for row in conn.execute(f"PRAGMA table_info({table})") if row[1] != "rowid"]
    columns = [c for c in columns if (table, c) != ("bodies", "seq")]
    told = [f"t.{c} || '-' || n.i" if c in KEYS else f"t.{c}" for c in columns]
    conn.execute(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times})"
        f" INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(told)}"
        f" FROM n, (SELECT * FROM {table}) AS t"
    )


def timed(argv: list[str], env: dict[str, str], cwd: Path, stdout: int) -> float:
    """Run a command that has to succeed; milliseconds."""
    before = time.perf_counter()
    subprocess.run(
        argv,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=True,
    )
    return (time.perf_counter() - before) * 1000
