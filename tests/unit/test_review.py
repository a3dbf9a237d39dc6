"""Review integrity: vectors of the original, and where we differ from it on purpose."""

from __future__ import annotations

import pytest

from llm_gateway.policy.review import review


def test_everything_at_once() -> None:
    """The original's own vector: three violations, 6 + 6 + 4."""
    found = review("Review without tools", (), ("Read(*)", "Bash:git"))
    assert [(v.kind.name, v.kind.score) for v in found.violations] == [
        ("empty_allowed_tools", 6),
        ("critical_tools_disallowed", 6),
        ("tool_suppression", 4),
    ]
    assert found.violations[1].detail == "Read, Bash"
    assert found.told()["totalScore"] == found.score == 16


@pytest.mark.parametrize(
    "prompt",
    [
        *("review", "AUDIT it", "analyse", "analyze", "analysis", "inspect", "assess", "pentest"),
        *("security", "a vulnerability", "vulnerabilities", "bug", "bugs", "defects", "quality"),
    ],
)
def test_what_wants_a_review(prompt: str) -> None:
    """Whole words, whatever their case."""
    assert review(prompt).is_review


@pytest.mark.parametrize("prompt", ["secure it without shell", "reviewers", "debug", "hello", ""])
def test_what_wants_none(prompt: str) -> None:
    """Then there is nothing to violate."""
    assert review(prompt, (), ("Bash",)).told() == {
        "isReviewContext": False,
        "violations": [],
        "totalScore": 0,
    }


@pytest.mark.parametrize(
    "prompt",
    [
        "Review it. Do not use any tools.",
        "Review it; never ever run\na shell command",
        "Audit this, and don’t call bash",
        "Review it. Do **not** use `bash`.",
        "security review without running commands",
    ],
)
def test_doing_without_tools(prompt: str) -> None:
    """A negation, a verb and a tool in one sentence; without says the verb itself."""
    assert [v.kind.name for v in review(prompt).violations] == ["tool_suppression"]


@pytest.mark.parametrize(
    "prompt",
    [
        # The original flags these two (T-35); we do not.
        "Review this. Do not skip anything; the shell is available",
        "security: never mind\n\nuse a tool",
        "Review it. Do not forget to run the tools.",
        "Review the tool that we do not use",
        "Review it. Never use eval. The shell is available.",
        "Review it, do not use globals " + "x " * 60 + "tool",
    ],
)
def test_what_is_no_suppression(prompt: str) -> None:
    """Another sentence, another verb, or far away."""
    assert review(prompt).violations == ()


def test_tools_of_every_cli_have_the_same_four_names() -> None:
    """What one calls run_shell_command is Bash to the other."""
    found = review("review", None, ("run_shell_command", "list_dir", "grep_search", "read_file"))
    assert found.violations[0].detail == "Read, Grep, Glob, Bash"
    assert review("review", None, ("Write", "web_fetch")).violations == ()
