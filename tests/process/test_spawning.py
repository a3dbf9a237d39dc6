"""Finding and starting the CLI, and what is said when that fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder

ASK = ("-m", "gateway-claude")


def test_a_cli_that_is_not_installed(llm: Llm, recorder: Recorder) -> None:
    """What was looked for, and the command that installs it; the row is there."""
    assert llm(*ASK, "x").error == (
        "Claude Code was not found: claude is not on PATH. "
        "Install it with: npm install -g @anthropic-ai/claude-code"
    )
    row = recorder.request
    assert (row["status"], row["error_category"]) == ("failed", "cli_missing")
    assert recorder.attempts == []


def test_a_variable_names_another_executable(llm: Llm, claude: FakeCli) -> None:
    """By path, by ~, or by a name on PATH; it wins over what is on PATH."""
    other = FakeCli(llm.folder / "user" / "tools", "my-claude")
    other.does([{"line": {"type": "result", "result": "other", "session_id": "$SESSION"}}])
    named = {"LLM_GATEWAY_CLAUDE_CLI": str(other.path)}
    assert llm(*ASK, "x", env=named).answer == "other\n"
    (home,) = llm.asks(
        ("gateway-claude", "x", {}), env={"LLM_GATEWAY_CLAUDE_CLI": "~/tools/my-claude"}
    )
    assert home.answer == "other" and claude.calls == []


def test_a_variable_that_names_nothing(llm: Llm, claude: FakeCli) -> None:
    """The error names the variable; what is on PATH is not used instead."""
    ran = llm(*ASK, "x", env={"LLM_GATEWAY_CLAUDE_CLI": "/no/such/claude"})
    assert ran.error == (
        "Claude Code was not found: '/no/such/claude' (LLM_GATEWAY_CLAUDE_CLI) cannot be run. "
        "Install it with: npm install -g @anthropic-ai/claude-code"
    )
    assert claude.calls == []


@pytest.mark.parametrize(
    "place", [".local/bin", ".claude/local", ".nvm/versions/node/v20.1.0/bin", ".npm-global/bin"]
)
def test_the_usual_install_places_are_looked_at(
    llm: Llm, bin_dir: Path, tmp_path: Path, place: str
) -> None:
    """After PATH; where a version manager has several, the newest."""
    old = FakeCli(tmp_path / "user" / ".nvm/versions/node/v9.9.9/bin", "claude")
    cli = FakeCli(tmp_path / "user" / place, "claude")
    for one, word in ((old, "old"), (cli, "new")):
        one.does([{"line": {"type": "result", "result": word, "session_id": "$SESSION"}}])
    if "nvm" not in place:
        shutil.rmtree(tmp_path / "user" / ".nvm")
    (outcome,) = llm.asks(("gateway-claude", "x", {}))
    assert outcome.answer == "new"
    cli.check()


def test_a_cli_that_cannot_be_started(llm: Llm, bin_dir: Path, recorder: Recorder) -> None:
    """Not executable, no such interpreter, not a program: a sentence each, and a row."""
    path = bin_dir / "claude"
    cases = [("#!/no/such/interpreter\n", 0o755), ("\x7fELF nonsense", 0o755), ("#!/bin/sh", 0o644)]
    told = []
    for text, mode in cases:
        path.write_text(text)
        path.chmod(mode)
        (outcome,) = llm.asks(("gateway-claude", "x", {}))
        told.append((outcome.category, outcome.error))
    assert told == [
        ("cli_missing", f"{path} does not exist, or the interpreter it names does not."),
        ("spawn", f"{path} could not be started: Exec format error."),
        (
            "cli_missing",
            "Claude Code was not found: claude is not on PATH. "
            "Install it with: npm install -g @anthropic-ai/claude-code",
        ),
    ]
    assert [row["error_category"] for row in recorder.requests] == [c for c, _ in told]


def test_the_directory_one_stands_in_was_deleted(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """Before the spawn, without a traceback."""
    gone = tmp_path / "gone"
    code = """
import os, shutil, sys
os.makedirs(sys.argv[1]); os.chdir(sys.argv[1]); shutil.rmtree(sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
"""
    for options in ((), ("-o", "cwd", "."), ("-o", "cwd", "below")):
        ran = llm.python(code, str(gone), *llm.program(*ASK, *options, "x"))
        assert ran.error == "The directory . does not exist (any more)."
    assert claude.calls == []


def test_one_file_of_the_clis_version_is_remembered(llm: Llm, claude: FakeCli) -> None:
    """What the CLI said of itself is known the next time, until the file changes; no spawn."""
    told = {"type": "result", "result": "ok", "session_id": "$SESSION"}
    first = {"type": "system", "subtype": "init", "session_id": "$SESSION"}
    code = """
import json, llm
response = llm.get_model("gateway-claude").prompt("x")
response.text()
print(response.response_json["cli_version"])
"""
    claude.does({"line": {**first, "claude_code_version": "9.8.7"}}, {"line": told})
    assert llm.python(code).answer == "9.8.7\n"
    claude.does({"line": first}, {"line": told})
    assert llm.python(code).answer == "9.8.7\n"
    os.utime(claude.path, (1, 1))
    assert llm.python(code).answer == "None\n"
    assert len(claude.calls) == 3
