"""A user of its own for the benchmarks: home, a fake claude on PATH, a recorder with a past."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .generate import generate

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
        generate(self.database, requests)
        self.worker("begin")

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

    def llm(
        self, *args: str, plugins: str = PLUGIN, stdout: int = subprocess.DEVNULL, **env: str
    ) -> float:
        """Run llm to its end; milliseconds."""
        argv = [str(Path(sys.executable).with_name("llm")), *args]
        return timed(argv, {**self.env(plugins), **env}, self.work, stdout)

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
