"""What a run does in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ENDS = """
import atexit, gc, sys
atexit.register(lambda: print("frozen" if gc.get_freeze_count() else "not frozen"))
from llm_gateway.foreground import ends_at_once
ends_at_once()
ends_at_once()
kept = open(sys.argv[1], "w")
kept.write("words")
class Knot: pass
knot = Knot(); knot.itself = knot; knot.file = open(sys.argv[2], "w"); knot.file.write("more")
atexit.register(print, "handler")
"""


def test_a_process_that_ends_at_once_ends_whole(tmp_path: Path) -> None:
    """Handlers run, and what was written to a file is in it, also in one that nobody closed."""
    files = tmp_path / "a", tmp_path / "b"
    command = [sys.executable, "-c", ENDS, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["handler", "frozen"] and done.stderr == ""
    assert [file.read_text() for file in files] == ["words", "more"]
