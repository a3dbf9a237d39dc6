"""What a person sees while an agent works; in a pipe, warnings on stderr and nothing else."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

from .events import ToolCall

__all__ = ["Progress", "described", "harmless"]

WIDTH = 100
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
# Whole sequences (colours, titles, the clipboard), then every other character that is no text.
STEERING = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|[\0-\x08\x0b-\x1f\x7f-\x9f]"
)
TELLING = ("command", "file_path", "path", "file", "pattern", "query", "url", "description")


def harmless(text: str) -> str:
    """Take out what would steer a terminal instead of being read."""
    return STEERING.sub("", text)


class Progress:
    """Writes lines to stderr without running into the answer on the same screen.

    :param shown: stdout and stderr are where llm prints, so that a terminal there is to be spared.
    """

    def __init__(self, *, shown: bool = False) -> None:
        screen = _is_terminal(sys.stdout)
        self._terminal = _is_terminal(sys.stderr)
        self._shared = self._terminal and screen
        self._spare_out, self._spare_err = shown and screen, shown and self._terminal
        self._at_line_start = True
        self._open = False
        self._thinking = False

    def text(self, text: str) -> str:
        """Note what is about to be printed on stdout, and return it as it may be printed."""
        self._thinking = False
        if self._spare_out:
            text = harmless(text)
        if not self._shared or not text:
            return text
        if self._open and not text.startswith("\n"):
            self._write("\n")
        self._open = False
        self._at_line_start = text.endswith("\n")
        return text

    def reasoning(self, text: str) -> str:
        """The same for what llm prints on stderr itself."""
        if text:
            self._thinking = not text.endswith("\n")
        return harmless(text) if self._spare_err else text

    def tool(self, call: ToolCall) -> None:
        """Say that an action runs, where somebody is watching."""
        if self._terminal:
            self._line(_dim(f"· {described(call)}"))

    def line(self, text: str) -> None:
        """Say something that matters in a pipe as well."""
        self._line(_dim(harmless(text)) if self._terminal else text)

    def end(self) -> None:
        """Leave the cursor at the start of a line."""
        if self._open:
            self._write("\n")
            self._open = False

    def _line(self, text: str) -> None:
        if self._thinking:
            self._write("\n")
            self._thinking, self._at_line_start = False, True
        if not self._shared:
            self._write(f"{text}\n")
            return
        # The newline comes first, so that the answer's own blank line ends this one.
        self._write(text if self._at_line_start else f"\n{text}")
        self._at_line_start, self._open = False, True

    def _write(self, text: str) -> None:
        try:
            sys.stdout.flush() if self._shared else None
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, RuntimeError):  # nobody reads, or a signal came amid it
            pass


def _dim(text: str) -> str:
    """The text as a terminal shows it dim; or as it is where styles are not wanted."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"{DIM}{text}{PLAIN}"


def described(call: ToolCall) -> str:
    detail = next((call.arguments[k] for k in TELLING if call.arguments.get(k)), None)
    if detail is None and call.arguments:
        detail = json.dumps(call.arguments, ensure_ascii=False)
    text = " ".join(f"{call.name} {detail or ''}".split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
