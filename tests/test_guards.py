"""The guards guard: what `conftest` and `guards` promise fails when it is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import guards

ROOT = Path(__file__).parents[1]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of its own that has our conftest, and a user of its own."""
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.conftest import *\nfrom tests.conftest import _pinned\n"
    )
    return folder


def run(suite: Path, code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run one test of that suite as its user would."""
    home = suite.parent / "home"
    home.mkdir(exist_ok=True)
    (suite / "test_one.py").write_text(f"import os, subprocess\nHOME = {str(home)!r}\n{code}")
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args, str(suite)]
    return subprocess.run(
        argv, cwd=suite, env=env, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize(
    "place",
    [
        *(".llm-cli-gateway/logs.db", ".claude/settings.json", ".claude.json", ".codex/x/y"),
        *(".gemini/a", ".grok/a", ".config/io.datasette.llm/logs.db"),
    ],
)
def test_a_suite_that_touches_its_users_files_fails(suite: Path, place: str) -> None:
    """Although every test in it passed; it names the file."""
    code = f"""
def test_it():
    path = os.path.join(HOME, {place!r})
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").close()
"""
    done = run(suite, code)
    assert done.returncode == 1, done.stdout
    assert "1 passed" in done.stdout and "changed what belongs to its user" in done.stdout
    assert str(suite.parent / "home" / place) in done.stdout


def test_a_suite_that_touches_nothing_passes(suite: Path) -> None:
    """Also in several processes, and it says what its results depend on."""
    code = """
def test_it():
    assert os.environ["HOME"] != HOME
    for name in ("HOME", "LLM_USER_PATH", "LLM_GATEWAY_HOME", "CODEX_HOME", "GROK_HOME"):
        assert "pytest-of" in os.environ[name]
    open(os.path.join(os.path.expanduser("~"), ".claude.json"), "w").close()
"""
    done = run(suite, code)
    assert done.returncode == 0, done.stdout
    verbose = run(suite, code, "-v")
    assert "llm 0." in verbose.stdout and "SQLite 3." in verbose.stdout


def test_a_process_that_a_test_leaves_behind_fails_it(suite: Path, tmp_path: Path) -> None:
    """It is named and ended."""
    code = """
def test_it():
    subprocess.Popen(["sleep", "98765"], start_new_session=True)
"""
    done = run(suite, code)
    assert done.returncode == 1
    assert "left behind" in done.stdout and "sleep 98765" in done.stdout
    found = subprocess.run(["pgrep", "-f", "sleep 98765"], capture_output=True, check=False)
    if found.returncode == 0:
        for pid in found.stdout.split():
            folder = Path("/proc", pid.decode())
            assert guards._is_zombie(folder), folder


def test_a_change_of_any_kind_is_seen(tmp_path: Path) -> None:
    """New, gone, longer, and touched."""
    place = tmp_path / "place"
    (place / "sub").mkdir(parents=True)
    for name in ("same", "gone", "longer", "touched"):
        (place / "sub" / name).write_text("x")
    before = {place: guards.snapshot(place)}
    assert guards.changes(before) == []
    (place / "sub" / "gone").unlink()
    (place / "sub" / "longer").write_text("xx")
    os.utime(place / "sub" / "touched", (1, 1))
    (place / "new").write_text("")
    changed = [Path(path).name for path in guards.changes(before)]
    assert sorted(changed) == ["gone", "longer", "new", "place", "sub", "touched"]


def test_a_place_that_was_not_there_stays_watched(tmp_path: Path) -> None:
    """Most users have not all of the CLIs."""
    place = tmp_path / "none"
    before = {place: guards.snapshot(place)}
    assert guards.changes(before) == []
    place.mkdir()
    assert guards.changes(before) == [str(place)]


def test_a_cli_of_the_user_that_is_at_work_now_is_left_out(tmp_path: Path) -> None:
    """What it writes meanwhile is not ours; one with another home is no reason."""
    assert guards.left_out() == []
    program = tmp_path / "claude"
    program.symlink_to("/bin/sleep")
    for home, left_out in ((Path.home(), ["claude"]), (tmp_path / "other", [])):
        process = subprocess.Popen([str(program), "60"], env={"HOME": str(home)})
        try:
            assert guards.left_out() == left_out
        finally:
            process.kill()
            process.wait()


def test_every_place_of_every_program_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its variable says, else in the home."""
    for name in ("LLM_USER_PATH", "LLM_GATEWAY_HOME", "CODEX_HOME", "GROK_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.delenv("CLAUDE_CONFIG_DIR")
    home = Path.home()
    assert set(guards.places().values()) == {
        *(home / name for name in (".llm-cli-gateway", ".claude", ".claude.json", ".codex")),
        *(home / name for name in (".gemini", ".grok", ".config/io.datasette.llm")),
    }
    monkeypatch.setenv("CODEX_HOME", "/elsewhere")
    assert guards.places()["codex"] == Path("/elsewhere")


def test_the_tests_of_the_real_clis_keep_their_own_environment() -> None:
    """tests/vendor has a harness of its own; nothing is pinned there."""
    vendor = ROOT / "tests" / "vendor"
    code = "import os\ndef test_it():\n    assert os.environ['HOME'] == '/somewhere'\n"
    path = vendor / "test_guard_probe_of_the_suite.py"
    path.write_text(code)
    try:
        env = {"HOME": "/somewhere", "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        path.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
