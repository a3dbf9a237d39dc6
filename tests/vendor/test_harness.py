"""The harness itself, proven on the raw vendor CLIs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from install import CACHE_VARIABLE, PACKAGES, Unavailable, ensure
from netns import Namespace
from runner import MockHandle, PopenFunction, RunFunction, Runner


def test_namespace_is_closed(namespace: Namespace, mock: MockHandle) -> None:
    namespace.check()
    probe = "import socket; socket.create_connection(('127.0.0.1', {}), 2)"
    argv = [sys.executable, "-c", probe.format(mock.port)]
    assert subprocess.run(namespace.command(argv), check=False).returncode == 0
    outside = subprocess.run(argv, capture_output=True, check=False)
    assert b"ConnectionRefused" in outside.stderr


def test_namespace_dies_with_its_owner(tmp_path: Path) -> None:
    code = (
        "import os, signal, subprocess, sys; sys.path.insert(0, sys.argv[1]);"
        "from netns import Namespace; held = Namespace();"
        "inner = subprocess.Popen(held.command(['sleep', '600']), start_new_session=True);"
        "print(inner.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    argv = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    if not done.stdout:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == -signal.SIGKILL
    limit = time.monotonic() + 10
    while _alive(int(done.stdout)):
        assert time.monotonic() < limit
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_environment_is_bare(runner: Runner, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DEVELOPER", "1")
    done = runner.run(["env"], ["claude"], repo, env={"EXTRA": "yes", "LANG": None})
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert {"PATH", "HOME", "LLM_USER_PATH", "LLM_GATEWAY_HOME", "TERM", "EXTRA"} <= names
    assert "ANTHROPIC_API_KEY" in names
    assert not names & {"SECRET_OF_THE_DEVELOPER", "LANG", "XAI_API_KEY", "GEMINI_API_KEY"}


def test_missing_npm_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="npm is missing"):
        ensure("claude")


@pytest.mark.parametrize(("required", "outcome"), [("0", "1 skipped"), ("1", "1 error")])
def test_missing_things_skip_or_fail(tmp_path: Path, required: str, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(run_cli): run_cli('claude', [])\n")
    (tmp_path / "conftest.py").write_text(
        f"import runpy, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"real = runpy.run_path({str(Path(__file__).with_name('conftest.py'))!r})\n"
        "globals().update({k: v for k, v in real.items() if not k.startswith('__')})\n"
    )
    environment = {**os.environ, "PATH": "", "LLM_GATEWAY_REQUIRE_VENDOR": required}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert outcome in done.stdout


def test_llm_runs(run_llm: RunFunction, popen_llm: PopenFunction) -> None:
    done = run_llm("--version")
    assert done.returncode == 0, done
    assert done.stdout.startswith("llm, version")
    process = popen_llm("--version")
    assert process.communicate(timeout=60)[0].startswith(b"llm, version")


@pytest.mark.vendor
@pytest.mark.parametrize("name", list(PACKAGES))
def test_versions(run_cli: RunFunction, name: str) -> None:
    """The CLIs are the pinned ones."""
    assert PACKAGES[name].version in run_cli(name, ["--version"]).stdout
