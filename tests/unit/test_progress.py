"""Lines on stderr, with and without a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from llm_gateway.events import ToolCall
from llm_gateway.progress import Progress


class Screen(io.StringIO):
    """A stream that is a terminal or is not; two of them may share one sheet."""

    def __init__(self, terminal: bool, sheet: list[str]) -> None:
        super().__init__()
        self.terminal, self.sheet = terminal, sheet

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.sheet.append(text)
        return len(text)


Streams = Callable[[bool, bool], list[str]]


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    """Make stdout and stderr terminals or not, on one sheet; dimming is left out."""

    monkeypatch.setenv("TERM", "xterm")

    def make(out: bool, err: bool) -> list[str]:
        sheet: list[str] = []
        monkeypatch.setattr(sys, "stdout", Screen(out, sheet))
        monkeypatch.setattr(sys, "stderr", Screen(err, sheet))
        return sheet

    return make


def plain(sheet: list[str]) -> str:
    return "".join(sheet).replace("\x1b[2m", "").replace("\x1b[0m", "")


def told(progress: Progress, *texts: str) -> None:
    for text in texts:
        progress.text(text)
        sys.stdout.write(text)


CALL = ToolCall("1", "Read", {"file_path": "a.txt"})


def test_in_a_pipe_there_are_warnings_only(streams: Streams) -> None:
    """No actions, no dimming, whole lines."""
    sheet = streams(False, False)
    progress = Progress()
    progress.tool(CALL)
    progress.line("careful")
    progress.end()
    assert "".join(sheet) == "careful\n"


def test_with_the_answer_in_a_pipe_lines_stand_alone(streams: Streams) -> None:
    """stdout is a file then, and nothing of it is on the screen."""
    sheet = streams(False, True)
    progress = Progress()
    progress.text("half")
    progress.tool(CALL)
    progress.line("careful")
    assert "".join(sheet) == "\x1b[2m· Read a.txt\x1b[0m\n\x1b[2mcareful\x1b[0m\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_lines_are_not_dim_where_styles_are_not_wanted(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """By the person, or by a terminal that has none."""
    monkeypatch.setenv(name, value)
    sheet = streams(False, True)
    progress = Progress()
    progress.tool(CALL)
    progress.line("careful")
    assert "".join(sheet) == "· Read a.txt\ncareful\n"


@pytest.mark.parametrize(
    ("steps", "screen"),
    [
        (["tool", "answer"], "· Read a.txt\nanswer"),
        (["one", "tool", "\n\ntwo"], "one\n· Read a.txt\n\ntwo"),
        (["one\n", "tool", "\n\ntwo"], "one\n· Read a.txt\n\ntwo"),
        (["one", "tool", "tool", "\n\ntwo"], "one\n· Read a.txt\n· Read a.txt\n\ntwo"),
        (["one", "tool"], "one\n· Read a.txt\n"),
        (["tool"], "· Read a.txt\n"),
        (["one", "two"], "onetwo"),
    ],
)
def test_on_one_screen_nothing_runs_into_another(
    streams: Streams, steps: list[str], screen: str
) -> None:
    """Answer and lines share it; the cursor ends at the start of a line after a line."""
    sheet = streams(True, True)
    progress = Progress()
    for step in steps:
        if step == "tool":
            progress.tool(CALL)
        else:
            told(progress, step)
    progress.end()
    assert plain(sheet) == screen


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "· T"),
        ({"command": "ls -l", "description": "list"}, "· T ls -l"),
        ({"pattern": "*.py", "path": "src"}, "· T src"),
        ({"query": "q"}, "· T q"),
        ({"odd": [1]}, '· T {"odd": [1]}'),
        ({"command": "a\n\tb   c"}, "· T a b c"),
        ({"command": "\x1b]52;c;x\x07\x9b1m"}, "· T ?]52;c;x??1m"),
        ({"command": "e\u202ecod"}, "· T e?cod"),
        ({"command": 5}, "· T 5"),
        ({"command": "", "path": "p"}, "· T p"),
    ],
)
def test_an_action_is_one_harmless_line(
    streams: Streams, arguments: dict[str, Any], line: str
) -> None:
    """What tells most about it, without anything that moves the cursor."""
    sheet = streams(False, True)
    Progress().tool(ToolCall("1", "T", arguments))
    assert plain(sheet) == f"{line}\n"


def test_a_long_action_is_cut(streams: Streams) -> None:
    """To the width of a narrow terminal."""
    sheet = streams(False, True)
    Progress().tool(ToolCall("1", "T", {"command": "x" * 1000}))
    assert len(plain(sheet).rstrip("\n").removeprefix("· ")) == 100
    assert plain(sheet).endswith("x…\n")


def test_a_screen_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on without it."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    for stream in (Gone(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        progress = Progress()
        if stream is not None:
            progress.line("careful")
        progress.tool(CALL)
        progress.end()
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    Progress().line("careful")
