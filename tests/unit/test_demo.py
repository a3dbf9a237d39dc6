"""The demo CLI itself, as a program: the smallest thing that behaves like a vendor's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


def demo(folder: Path, prompt: str, *args: str, access: str = "read") -> tuple[int, list[Any]]:
    """Run it in a folder; return its exit code and its events."""
    argv = [sys.executable, "-I", "-m", "llm_gateway.demo_cli", "--home", str(folder / "home")]
    done = subprocess.run(
        [*argv, "--access", access, *args],
        input=prompt.encode(),
        capture_output=True,
        cwd=folder,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def said(events: list[Any]) -> str:
    return "".join(e["text"] for e in events if e["type"] == "text")


def test_it_echoes_and_counts(tmp_path: Path) -> None:
    """Session first, text word by word, the end last; the same again for the same prompt."""
    code, events = demo(tmp_path, "one two", "--session-id", "s-1")
    assert code == 0
    assert events[0] == {"type": "session", "session": "s-1", "model": "demo-1", "version": "1.0"}
    assert said(events) == "You said: one two\n(turn 1 of this session, 2 words)"
    assert events[-1] == {
        "type": "done",
        "stop_reason": "end_turn",
        "usage": {"input": 2, "cached": 0, "output": 11},
    }
    assert demo(tmp_path, "one two", "--session-id", "s-2")[1][1:] == events[1:]


def test_sessions(tmp_path: Path) -> None:
    """Resumed, forked, unknown."""
    demo(tmp_path, "one", "--session-id", "s-1")
    _, two = demo(tmp_path, "two", "--resume", "s-1")
    assert said(two).endswith("(turn 2 of this session, 1 word)")
    _, forked = demo(tmp_path, "other", "--resume", "s-1", "--fork", "--session-id", "s-2")
    assert forked[0]["session"] == "s-2" and "turn 3" in said(forked)
    _, three = demo(tmp_path, "three", "--resume", "s-1")
    assert "turn 3" in said(three)
    code, events = demo(tmp_path, "x", "--resume", "nope")
    assert (code, events) == (
        1,
        [{"type": "error", "category": "session_lost", "message": "no session nope"}],
    )


@pytest.mark.parametrize(
    ("prompt", "access", "kinds"),
    [
        ("demo: think", "read", ["thinking", "text"]),
        ("demo: read a.txt", "read", ["tool", "tool_result", "text"]),
        ("demo: fail auth", "read", ["error"]),
    ],
)
def test_what_it_can_be_told(tmp_path: Path, prompt: str, access: str, kinds: list[str]) -> None:
    """Kinds of events in their order."""
    (tmp_path / "a.txt").write_text("inside")
    _, events = demo(tmp_path, prompt, access=access)
    middle = [e["type"] for e in events[1:] if e["type"] != "done"]
    assert list(dict.fromkeys(middle)) == kinds


@pytest.mark.parametrize(
    ("order", "access", "result"),
    [
        ("read a.txt", "read", {"output": "inside"}),
        ("read no.txt", "read", {"error": True}),
        ("write b.txt hello", "read", {"refused": True}),
        ("write b.txt hello", "edit", {"output": "wrote 5 characters"}),
        ("write b.txt hello", "full", {"output": "wrote 5 characters"}),
        ("write ../b.txt hello", "full", {"refused": True}),
        ("write /etc/b.txt hello", "full", {"refused": True}),
        ("read /etc/passwd", "full", {"refused": True}),
        ("read d/../../x", "full", {"refused": True}),
    ],
)
def test_its_tools_keep_to_the_workspace_and_the_level(
    tmp_path: Path, order: str, access: str, result: dict[str, Any]
) -> None:
    """Refused, failed or done; what was refused left nothing."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("inside")
    _, events = demo(work, f"demo: {order}", access=access)
    (told,) = (e for e in events if e["type"] == "tool_result")
    assert {**told, **result} == told
    assert (work / "b.txt").exists() == (result.get("output", "").startswith("wrote"))
    assert not (tmp_path / "b.txt").exists()


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    """Nor into a file outside, at any level."""
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "outside.txt").write_text("secret")
    (work / "link.txt").symlink_to(tmp_path / "outside.txt")
    _, events = demo(work, "demo: read link.txt")
    (told,) = (e for e in events if e["type"] == "tool_result")
    assert told.get("refused")


def test_it_can_be_slow(tmp_path: Path) -> None:
    """A pause after each word."""
    begun = time.monotonic()
    _, events = demo(tmp_path, "demo: slow 0.1\ndemo: words 5")
    assert said(events) == "word1 word2 word3 word4 word5"
    assert time.monotonic() - begun >= 0.5


@pytest.mark.parametrize("order", ["words many", "slow fast"])
def test_a_directive_that_cannot_be_meant(tmp_path: Path, order: str) -> None:
    """An error event that names it."""
    code, events = demo(tmp_path, f"demo: {order}")
    assert (code, events[-1]["category"]) == (1, "invalid_input")


def test_system_images_and_schema(tmp_path: Path) -> None:
    """What llm can hand over besides the prompt."""
    (tmp_path / "i.png").write_bytes(b"123")
    (tmp_path / "s.json").write_text(
        json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}})
    )
    _, events = demo(tmp_path, "x", "--system", "Be brief.", "--image", "i.png")
    assert said(events) == (
        "[Be brief.]\nYou said: x\nImage: i.png, 3 bytes.\n(turn 1 of this session, 1 word)"
    )
    _, events = demo(tmp_path, "x", "--schema", "s.json")
    assert json.loads(said(events)) == {"n": 7}


def test_a_session_that_cannot_be_kept_is_a_sentence(tmp_path: Path) -> None:
    """A home that is no directory; the answer was said before."""
    (tmp_path / "home").touch()
    code, events = demo(tmp_path, "one")
    assert (code, said(events)[:13]) == (1, "You said: one")
    assert events[-1]["message"].startswith("the session cannot be kept: ")


def test_its_sessions_are_private(tmp_path: Path) -> None:
    """0700 and 0600."""
    demo(tmp_path, "secret", "--session-id", "s-1")
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home" / "s-1.json").stat().st_mode & 0o777 == 0o600
