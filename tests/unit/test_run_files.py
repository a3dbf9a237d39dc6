"""The private directory of a run: gone with the run, or with the next one after a crash."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from llm_gateway import run_files
from llm_gateway.run_files import remove_left, run_folder

OWNER = """
import sys, time
from contextlib import ExitStack
from llm_gateway.run_files import run_folder
folder = run_folder(ExitStack())
(folder / "mcp.json").write_text("{}")
print(folder, flush=True)
time.sleep(100)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_it_is_gone_with_the_run(temporary: Path) -> None:
    """And nobody else can look into it meanwhile."""
    with ExitStack() as stack:
        folder = run_folder(stack)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        remove_left()
        assert folder.exists()
    assert list(temporary.iterdir()) == []


def test_after_a_crash_it_goes_with_the_next(temporary: Path) -> None:
    """Its owner is alive until it is killed; then any other run takes it away."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    left = Path(owner.stdout.readline().strip())
    try:
        remove_left()
        assert (left / "mcp.json").exists()
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait(30)
        owner.stdout.close()
    remove_left()
    assert list(temporary.iterdir()) == []


def test_it_is_made_where_there_is_room(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that a variable names and that is not there is passed over."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TMP", str(temporary))
    with ExitStack() as stack:
        assert run_folder(stack).parent == temporary


def test_a_folder_in_it_goes_too(temporary: Path) -> None:
    """A CLI may have made one."""
    with ExitStack() as stack:
        folder = run_folder(stack) / "attachments"
        folder.mkdir()
        (folder / "one.png").touch()
    assert list(temporary.iterdir()) == []


def test_what_is_not_ours_stays(temporary: Path, tmp_path: Path) -> None:
    """A link, a file, what others may look into, and what is being made at this moment."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / run_files.LOCK).touch()
    (temporary / "llm-gateway-link").symlink_to(outside)
    (temporary / "llm-gateway-file").touch()
    (temporary / "llm-gateway-shared").mkdir(mode=0o755)
    (temporary / "llm-gateway-shared" / run_files.LOCK).touch()
    (temporary / "llm-gateway-new").mkdir(mode=0o700)
    old = temporary / "llm-gateway-old"
    old.mkdir(mode=0o700)
    os.utime(old, (0, 0))
    linked = temporary / "llm-gateway-linked-lock"
    linked.mkdir(mode=0o700)
    (linked / run_files.LOCK).symlink_to(outside / run_files.LOCK)
    remove_left()
    kept = {"link", "file", "shared", "new", "linked-lock"}
    assert {path.name for path in temporary.iterdir()} == {f"llm-gateway-{n}" for n in kept}
    assert (outside / run_files.LOCK).exists()
