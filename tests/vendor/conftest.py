"""Fixtures for tests that run the real vendor CLIs against the mock model server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import install
from hostile import Places, make_hostile
from netns import Namespace
from runner import (
    Completed,
    MockHandle,
    PopenFunction,
    RunFunction,
    Runner,
    kill_group,
    make_home,
    make_repository,
)

REQUIRE_VARIABLE = "LLM_GATEWAY_REQUIRE_VENDOR"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that need a vendor's CLI."""
    config.addinivalue_line("markers", "vendor: runs a real vendor CLI against the mock server")


def _unavailable(reason: object) -> NoReturn:
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(f"{REQUIRE_VARIABLE}=1, but {reason}", pytrace=False)
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def namespace() -> Iterator[Namespace]:
    """A loopback-only network namespace, checked to be closed."""
    try:
        held = Namespace()
    except install.Unavailable as problem:
        _unavailable(problem)
    try:
        held.check()
    except install.Unavailable as problem:
        held.close()
        _unavailable(problem)
    yield held
    held.close()


@pytest.fixture(scope="session")
def mock_server(
    namespace: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MockHandle]:
    """The mock model server of the whole session; tests use `mock`."""
    server = MockHandle(namespace, tmp_path_factory.mktemp("mock") / "requests.jsonl")
    yield server
    server.close()


@pytest.fixture
def mock(mock_server: MockHandle) -> MockHandle:
    """The mock model server with its log cleared for this test."""
    mock_server.clear()
    return mock_server


@pytest.fixture
def home(mock: MockHandle, tmp_path: Path) -> Path:
    """A throw-away HOME with each CLI's smallest configuration."""
    return make_home(tmp_path / "home", mock.url)


@pytest.fixture
def runner(namespace: Namespace, mock: MockHandle, home: Path, tmp_path: Path) -> Iterator[Runner]:
    """What runs programs for this test; whatever is left of them ends with it."""
    made = Runner(namespace, mock, home, tmp_path)
    yield made
    made.kill_left()


@pytest.fixture
def vendor(runner: Runner) -> Callable[[str], Path]:
    """Make a vendor CLI usable in this test, by name; skip the test where that is impossible."""

    def want(name: str) -> Path:
        try:
            found = install.ensure(name)
        except install.Unavailable as problem:
            _unavailable(problem)
        runner.names.add(name)
        return found

    return want


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A small real Git repository."""
    return make_repository(tmp_path / "repo")


@pytest.fixture
def places(mock: MockHandle, home: Path, tmp_path: Path) -> Places:
    """Where a hostile test takes place, with nothing in it yet (see `make_hostile`)."""
    here = tmp_path / "hostile"
    return Places(here / "workspace", here / "outside", here / "marks", home, mock.url)


@pytest.fixture
def hostile_repo(places: Places) -> Places:
    """A hostile repository, without the env files that no flag of gemini's keeps out."""
    return make_hostile(places)


@pytest.fixture
def run_llm(runner: Runner, tmp_path: Path) -> RunFunction:
    """Run `llm …` inside the namespace and return how it ended."""
    program = str(Path(sys.executable).with_name("llm"))

    def run(
        *args: str,
        input: str | bytes | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 120.0,
        cli: Iterable[str] | None = None,
    ) -> Completed:
        names = runner.names if cli is None else cli
        return runner.run([program, *args], names, cwd or tmp_path, input, env, timeout)

    return run


@pytest.fixture
def popen_llm(runner: Runner, tmp_path: Path) -> Iterator[PopenFunction]:
    """Start `llm …` inside the namespace, in its own process group; it ends with the test."""
    program = str(Path(sys.executable).with_name("llm"))
    started: list[subprocess.Popen[bytes]] = []

    def popen(
        *args: str,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        cli: Iterable[str] | None = None,
        **more: Any,
    ) -> subprocess.Popen[bytes]:
        names = runner.names if cli is None else cli
        process = runner.popen([program, *args], names, cwd or tmp_path, env, **more)
        started.append(process)
        return process

    yield popen
    for process in started:
        kill_group(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        process.wait(10)


@pytest.fixture
def run_cli(runner: Runner, vendor: Callable[[str], Path], tmp_path: Path) -> RunFunction:
    """Run a vendor CLI itself, by name and arguments, inside the namespace."""

    def run(
        name: str,
        argv: list[str],
        input: str | bytes | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 120.0,
    ) -> Completed:
        command = [str(vendor(name)), *argv]
        return runner.run(command, [name], cwd or tmp_path, input, env, timeout)

    return run
