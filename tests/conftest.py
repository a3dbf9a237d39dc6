"""What every test gets: pinned directories, a bare environment, the real llm in a process.

No test may read or change what belongs to the person who runs the suite, and none may leave a
process behind: both are checked here (`guards.py`), and `test_guards.py` checks the checks.
`tests/vendor` has a harness of its own and gets neither the pins nor these fixtures.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests import guards  # noqa: E402
from tests.fakes.cli import FakeCli  # noqa: E402
from tests.harness import Llm, Recorder  # noqa: E402

settings.register_profile("suite", database=None, deadline=None, max_examples=60, print_blob=True)
settings.load_profile("suite")

VENDOR = Path(__file__).parent / "vendor"
# Variables that decide where something lies, what runs, or who pays.
CLEARED = (
    *("LLM_", "ANTHROPIC_", "CLAUDE", "OPENAI_", "CODEX_", "GEMINI_", "GOOGLE_", "XAI_", "GROK_"),
    *("AWS_", "AZURE_", "XDG_", "IS_SANDBOX", "PYTHONPATH", "PYTHONSTARTUP", "SSH_AUTH_SOCK"),
    *("SESSION_TTL", "APPROVAL_", "DISABLE_", "MAX_THINKING_TOKENS", "NO_COLOR", "FORCE_COLOR"),
)


def pytest_report_header() -> list[str]:
    """Say what the results depend on."""
    import sqlite3
    from importlib.metadata import version

    left_out = guards.left_out()
    header = [f"llm {version('llm')}, SQLite {sqlite3.sqlite_version}"]
    return header + ([f"not guarded, because in use: {', '.join(left_out)}"] if left_out else [])


def pytest_sessionstart(session: pytest.Session) -> None:
    guards.begin(session)


def pytest_sessionfinish(session: pytest.Session) -> None:
    guards.end(session)


@pytest.fixture(autouse=True)
def _pinned(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """Point everything that has a place at a directory of this test, and watch its processes."""
    if VENDOR in request.node.path.parents:
        yield
        return
    for name in list(os.environ):
        if name.startswith(CLEARED):
            monkeypatch.delenv(name)
    home = tmp_path / "user"
    home.mkdir()
    mark = f"{guards.MARK}={tmp_path}"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path / "llm"))
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path / "gateway"))
    monkeypatch.setenv("LLM_GATEWAY_RETRIES", "0")  # a failure is one attempt, unless a test asks
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home / ".claude"))
    monkeypatch.setenv("CODEX_HOME", str(home / ".codex"))
    monkeypatch.setenv("GROK_HOME", str(home / ".grok"))
    monkeypatch.setenv(*mark.split("=", 1))
    yield
    left = guards.end_marked(mark)
    assert not left, f"processes that this test left behind: {left}"


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of this test that comes first on PATH; nothing of the user's is on it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin"
    monkeypatch.setenv("PATH", path)
    return folder


@pytest.fixture
def claude(bin_dir: Path) -> Iterator[FakeCli]:
    """A fake claude on PATH that answers ``ok`` and keeps sessions."""
    from tests.fakes.claude import answer

    cli = FakeCli(bin_dir, "claude")
    cli.does(answer("ok"))
    yield cli
    cli.check()
    left = cli.kill_left()
    assert not left, f"processes of the fake that outlived the test: {left}"


@pytest.fixture
def llm(tmp_path: Path, bin_dir: Path) -> Iterator[Llm]:
    """The real ``llm`` of this environment, run as a process of its own."""
    runner = Llm(tmp_path)
    yield runner
    runner.close()


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """Reads what the flight recorder has."""
    return Recorder(tmp_path / "gateway" / "logs.db")
