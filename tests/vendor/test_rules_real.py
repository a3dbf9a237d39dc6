"""Rules of the tool lists, such as ``Edit(src/**)``: each kind that we let through is held."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from battery import Call, tool_lines
from runner import MockHandle, RunFunction

pytestmark = [pytest.mark.vendor, pytest.mark.timeout(240)]

FULL = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1"}
SHELL = {"claude": "Bash", "gemini": "run_shell_command", "grok": "run_terminal_command"}
WRITE = {"claude": "Write", "gemini": "write_file", "grok": "write"}
READ = {
    "claude": ("Read", "file_path"),
    "gemini": ("read_file", "file_path"),
    "grok": ("read_file", "target_file"),
}
ALL = {"secret", "src", "touch", "mkdir", "seen"}
SECRET = "a line that is nobody's"


def calls(name: str, workspace: Path) -> list[Call]:
    """Read and write a place that is closed, write one that is not, run two commands."""
    tool, argument = READ[name]
    found: list[Call] = [(tool, {argument: str(workspace / "secret" / "old.txt")})]
    for folder in ("secret", "src"):
        path = str(workspace / folder / "new.txt")
        found.append((WRITE[name], {"file_path": path, "content": "new\n"}))
    for command in ("ls; touch b_touch", "mkdir b_mkdir"):
        found.append((SHELL[name], {"command": command, "description": "try"}))
    return found


def done(workspace: Path, mock: MockHandle) -> set[str]:
    """What became of the calls."""
    made = {name for name in ("touch", "mkdir") if (workspace / f"b_{name}").exists()}
    made |= {name for name in ("secret", "src") if (workspace / name / "new.txt").exists()}
    return made | ({"seen"} if SECRET in json.dumps(mock.bodies()) else set())


@pytest.mark.parametrize(
    ("name", "level", "option", "rules", "expected"),
    [
        ("claude", "read", "disallowed", "Read(secret/**)", set()),
        ("claude", "read", "disallowed", "Read(/{cwd}/secret/**)", set()),
        ("claude", "edit", "disallowed", "Edit(secret/**)", {"src", "seen"}),
        ("claude", "edit", "disallowed", "Edit(/secret)", {"src", "seen"}),
        ("claude", "full", "disallowed", "Bash(touch:*)", ALL - {"touch"}),
        ("claude", "edit", "allowed", "Read,Write,Edit(src/**)", {"src", "seen"}),
        ("claude", "edit", "allowed", "Read,Write,Edit(/{cwd}/src/**)", {"src", "seen"}),
        ("claude", "full", "allowed", "Write,Edit(src/**),Bash(mkdir:*)", {"src", "mkdir"}),
        ("claude", "full", "allowed", "Write,Bash(mkdir:*)", {"secret", "src", "mkdir"}),
        ("gemini", "full", "disallowed", "run_shell_command(touch:*)", ALL - {"touch"}),
        ("gemini", "full", "allowed", "read_file,run_shell_command(mkdir:*)", {"mkdir", "seen"}),
        ("grok", "read", "disallowed", "Read(secret/**)", set()),
        ("grok", "edit", "disallowed", "Edit(secret/**)", {"src", "seen"}),
        ("grok", "full", "disallowed", "Write({cwd}/secret/**)", ALL - {"secret"}),
        ("grok", "full", "disallowed", "Bash(touch:*)", ALL - {"touch"}),
    ],
)  # fmt: skip
def test_a_rule_is_held(
    run_llm: RunFunction,
    vendor: Callable[[str], Path],
    mock: MockHandle,
    repo: Path,
    name: str,
    level: str,
    option: str,
    rules: str,
    expected: set[str],
) -> None:
    """Also at full, where nobody is asked about anything else."""
    vendor(name)
    for folder in ("secret", "src"):
        (repo / folder).mkdir()
    (repo / "secret" / "old.txt").write_text(SECRET)
    said = ("-o", "access", level, "-o", f"{option}_tools", rules.format(cwd=repo))
    lines = tool_lines(calls(name, repo)) + "MOCK:SAY=done"
    ran = run_llm("prompt", "-m", f"gateway-{name}", *said, input=lines, cwd=repo, env=FULL)
    assert ran.returncode == 0, ran
    assert done(repo, mock) == expected
