"""Review integrity: whether a prompt that wants a review takes away what a review needs.

Advisory: a violation is told and, where approvals are on, counted. It refuses nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from ..records import record

__all__ = ["CRITICAL_TOOLS_DISALLOWED", "EMPTY_ALLOWED_TOOLS", "TOOL_SUPPRESSION"]
__all__ += ["Kind", "Review", "Violation", "review"]


class Kind(NamedTuple):
    """A kind of violation, what it counts, and what it is, for the documentation."""

    name: str
    score: int
    meaning: str


EMPTY_ALLOWED_TOOLS = Kind(
    "empty_allowed_tools", 6, "a review is wanted, and `allowed_tools` is an empty list"
)
CRITICAL_TOOLS_DISALLOWED = Kind(
    "critical_tools_disallowed",
    6,
    "a review is wanted, and `disallowed_tools` has the CLI's Read, Grep, Glob or Bash",
)
TOOL_SUPPRESSION = Kind(
    "tool_suppression",
    4,
    "a review is wanted, and one sentence of the prompt says not to use tools, shell or commands",
)


@record(frozen=True)
class Violation:
    """One thing that stands in the way of the review that is asked for."""

    kind: Kind
    detail: str


@record(frozen=True)
class Review:
    """What was found."""

    is_review: bool
    violations: tuple[Violation, ...] = ()

    @property
    def score(self) -> int:
        """The sum of all violations."""
        return sum(violation.kind.score for violation in self.violations)

    def told(self) -> dict[str, Any]:
        """The same for JSON, under the original's names."""
        return {
            "isReviewContext": self.is_review,
            "violations": [
                {"type": v.kind.name, "score": v.kind.score, "detail": v.detail}
                for v in self.violations
            ],
            "totalScore": self.score,
        }


# Every CLI has names of its own for the four.
_CRITICAL = {
    "Read": ("read", "read_file", "read_many_files"),
    "Grep": ("grep", "grep_search", "search_file_content"),
    "Glob": ("glob", "list_dir", "list_directory"),
    "Bash": ("bash", "shell", "run_shell_command", "run_terminal_command", "run_terminal_cmd"),
}
_REVIEW = (
    r"\b(?:review|audit|analy[sz]e|analysis|inspect|assess|pentest|security|vulnerabilit(?:y|ies)"
    r"|bugs?|defects?|quality)\b"
)
_STEMS = (
    *("review", "audit", "analy", "inspect", "assess", "pentest", "security", "vulnerabilit"),
    *("bug", "defect", "quality"),
)
_VERBS = (
    "us(?:e|ing)|run(?:ning)?|call(?:ing)?|invok(?:e|ing)|execut(?:e|ing)|access(?:ing)?"
    "|employ(?:ing)?|launch(?:ing)?|open(?:ing)?|start(?:ing)?|touch(?:ing)?|rely(?:ing)? on"
)
_FILLERS = r"(?:(?:ever|please|just|even|the help of|try to|attempt to|go and)\s+){0,2}"
# One pass: what forbids, what is forbidden, and where a sentence ends. ``without`` needs no verb.
_WORDS = (
    rf"(?P<forbids>\b(?:(?:do\s+not|don['’]?t|never)\s+{_FILLERS}(?:{_VERBS})|without)\b)"
    r"|(?P<tool>\b(?:tools?|shell|bash|commands?)\b)"
    r"|(?P<end>[.!?;]+(?=\s|\Z)|\n[ \t]*\n)"
)
_SENTENCE_REACH = 80


def review(
    prompt: str, allowed: Iterable[str] | None = None, disallowed: Iterable[str] | None = None
) -> Review:
    """Return what a prompt and its tool lists say; time linear in the prompt."""
    if not _wants_review(prompt):
        return Review(False)
    found = []
    if allowed is not None and not tuple(allowed):
        found.append(Violation(EMPTY_ALLOWED_TOOLS, "no tool is allowed"))
    if critical := _critical(disallowed or ()):
        found.append(Violation(CRITICAL_TOOLS_DISALLOWED, ", ".join(critical)))
    if _suppresses_tools(prompt):
        found.append(Violation(TOOL_SUPPRESSION, "the prompt says to do without tools"))
    return Review(True, tuple(found))


def _wants_review(prompt: str) -> bool:
    lower = prompt.lower()
    return any(stem in lower for stem in _STEMS) and bool(_compiled(_REVIEW).search(prompt))


def _critical(disallowed: Iterable[str]) -> list[str]:
    """Return which of the four are taken away, in their fixed order."""
    named = {re.split("[(:]", tool, maxsplit=1)[0].strip().lower() for tool in disallowed}
    return [name for name, words in _CRITICAL.items() if named.intersection(words)]


def _suppresses_tools(prompt: str) -> bool:
    """Whether a negation, a verb and a tool stand in one sentence, in this order and close by."""
    lower = prompt.lower()
    if not any(word in lower for word in ("tool", "shell", "bash", "command")):
        return False
    forbidden: int | None = None
    for word in _compiled(_WORDS).finditer(re.sub(r"[*_`~]", "", prompt)):
        if word.lastgroup == "forbids":
            forbidden = word.end()
        elif word.lastgroup == "end":
            forbidden = None
        elif forbidden is not None and word.start() - forbidden <= _SENTENCE_REACH:
            return True
    return False


@lru_cache(maxsize=4)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
