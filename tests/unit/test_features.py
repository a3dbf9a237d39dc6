"""What is remembered of an installed CLI."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llm_gateway.providers.features import cached_version, mentions_variable, remember_version


@pytest.fixture
def cli(tmp_path: Path) -> Path:
    path = tmp_path / "cli"
    path.write_bytes(b"\x00" * 5000 + b"SOME_VARIABLE" + b"\xff" * 5000)
    return path


def test_a_variable_is_found_in_the_file_itself(cli: Path, tmp_path: Path) -> None:
    """Without running it, also in a binary."""
    assert mentions_variable(str(cli), "SOME_VARIABLE", tmp_path)
    assert not mentions_variable(str(cli), "OTHER_VARIABLE", tmp_path)


def test_a_finding_is_kept_until_the_file_changes(cli: Path, tmp_path: Path) -> None:
    """By path, time and size; both answers are kept."""
    state = tmp_path / "state"
    assert mentions_variable(str(cli), "SOME_VARIABLE", state)
    assert not mentions_variable(str(cli), "OTHER_VARIABLE", state)
    stat = cli.stat()
    cli.write_bytes(b"OTHER_VARIABLE".ljust(stat.st_size, b"."))
    os.utime(cli, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert mentions_variable(str(cli), "SOME_VARIABLE", state)
    os.utime(cli, (1, 1))
    assert not mentions_variable(str(cli), "SOME_VARIABLE", state)
    assert mentions_variable(str(cli), "OTHER_VARIABLE", state)


def test_a_link_stands_for_what_it_points_to(cli: Path, tmp_path: Path) -> None:
    """An upgrade that moves the link is another file."""
    state, link = tmp_path / "state", tmp_path / "link"
    link.symlink_to(cli)
    remember_version(str(link), state, "1.0")
    assert cached_version(str(cli), state) == "1.0"
    newer = tmp_path / "newer"
    newer.write_text("x")
    link.unlink()
    link.symlink_to(newer)
    assert cached_version(str(link), state) is None


def test_two_clis_are_kept_apart(cli: Path, tmp_path: Path) -> None:
    """And one's version does not forget another's findings."""
    other = tmp_path / "other"
    other.write_text("y")
    mentions_variable(str(cli), "SOME_VARIABLE", tmp_path)
    remember_version(str(cli), tmp_path, "1.0")
    remember_version(str(other), tmp_path, "2.0")
    assert (cached_version(str(cli), tmp_path), cached_version(str(other), tmp_path)) == (
        "1.0",
        "2.0",
    )
    kept = json.loads((tmp_path / "clis.json").read_text())
    assert kept[str(cli)]["SOME_VARIABLE"] is True


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}', "\x00"])
def test_a_broken_file_is_made_anew(cli: Path, tmp_path: Path, text: str) -> None:
    """It holds nothing that cannot be found again."""
    (tmp_path / "clis.json").write_text(text)
    assert cached_version(str(cli), tmp_path) is None
    remember_version(str(cli), tmp_path, "1.0")
    assert cached_version(str(cli), tmp_path) == "1.0"


def test_a_broken_entry_is_made_anew(cli: Path, tmp_path: Path) -> None:
    """The same for one entry in a file that can be read."""
    (tmp_path / "clis.json").write_text(json.dumps({str(cli): "odd"}))
    assert cached_version(str(cli), tmp_path) is None


def test_a_directory_that_cannot_be_written_is_no_matter(cli: Path, tmp_path: Path) -> None:
    """What was found is used, and found again next time."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert mentions_variable(str(cli), "SOME_VARIABLE", blocked / "state")
    remember_version(str(cli), blocked / "state", "1.0")
    assert cached_version(str(cli), blocked / "state") is None


def test_a_cli_that_is_gone_has_no_version(tmp_path: Path) -> None:
    """Nor anything else."""
    assert cached_version(str(tmp_path / "gone"), tmp_path) is None
    assert not mentions_variable(str(tmp_path / "gone"), "X", tmp_path)


def test_an_empty_file_mentions_nothing(tmp_path: Path) -> None:
    """It cannot be mapped into memory, which is no reason to fail."""
    (tmp_path / "cli").write_text("")
    assert not mentions_variable(str(tmp_path / "cli"), "X", tmp_path)
