"""A vendor's real CLI alone, through the floor plugin and through the gateway.

The CLIs and the mock model server are those of tests/vendor, in its closed namespace.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .measure import Result, differences, figure, interleaved
from .place import FLOOR, HERE, PLUGIN, ROOT

sys.path.insert(0, str(ROOT / "tests" / "vendor"))

if TYPE_CHECKING:
    from runner import Runner

__all__ = ["RAW", "Skipped", "real_cli"]

PROMPT = "MOCK:SAY=a short answer"
#: What each CLI is given by hand for the same thing: events as JSON lines, the prompt on stdin.
RAW = {
    "claude": "claude -p --output-format stream-json --verbose --include-partial-messages",
    "codex": "codex exec --json --skip-git-repo-check --sandbox read-only -",
}
FLOORED = ("claude",)


class Skipped(Exception):
    """Why there is nothing to measure here, in one line."""


def real_cli(name: str, folder: Path, rounds: int) -> list[Result]:
    """What `llm -m gateway-…` adds to the CLI itself, and to the floor where that can read it."""
    others = ["raw", FLOOR] if name in FLOORED else ["raw"]
    with _runner(name, folder) as runner:
        sides = [partial(_run, runner, name, how) for how in (*others, PLUGIN)]
        for side in sides:
            side()
        *theirs, ours = interleaved(rounds, *sides)
    told = {"raw": f"`{name}` itself", FLOOR: "`llm -m floor`"}
    return [
        Result(
            "",
            f"real {name}: `llm -m gateway-{name}` over {told[how]}, ms",
            figure(other),
            figure(ours),
            differences(ours, other),
            "ms",
        )
        for how, other in zip(others, theirs, strict=True)
    ]


def _run(runner: Runner, name: str, how: str) -> list[float]:
    program = str(Path(sys.executable).with_name("llm"))
    model = "floor" if how == FLOOR else f"gateway-{name}"
    argv = shlex.split(RAW[name]) if how == "raw" else [program, "-m", model]
    env = {
        "PYTHONPATH": f"{ROOT}:{HERE / 'floor'}",
        "LLM_LOAD_PLUGINS": how,
        "LLM_USER_PATH": str(runner.folder / how),
        "FLOOR_CLI": RAW[name],
    }
    done = runner.run(argv, [name], runner.folder, PROMPT, env)
    if done.returncode or "a short answer" not in done.stdout:
        raise RuntimeError(f"{argv}: {done}")
    return [done.seconds * 1000]


@contextmanager
def _runner(name: str, folder: Path) -> Iterator[Runner]:
    """What runs programs in the namespace; Skipped where that cannot be had."""
    import install
    import netns
    import runner

    if f"gateway-{name}" not in _models():
        raise Skipped(f"real {name}: there is no model gateway-{name}")
    if install.installed(name) is None:
        raise Skipped(f"real {name}: not installed; `make test-vendor` installs it")
    folder.mkdir()
    with ExitStack() as stack:
        try:
            space = netns.Namespace()
            stack.callback(space.close)
            space.check()
            server = runner.MockHandle(space, folder / "requests.jsonl")
            stack.callback(server.close)
        except install.Unavailable as problem:
            raise Skipped(f"real {name}: {problem}") from problem
        home = runner.make_home(folder / "home", server.url)
        made = runner.Runner(space, server, home, folder)
        stack.callback(made.kill_left)
        yield made


def _models() -> set[str]:
    from llm_gateway.providers import all_providers

    return {f"gateway-{name}" for name in all_providers()}
