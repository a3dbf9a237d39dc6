"""What a conversation is called: the first words that its user said."""

from __future__ import annotations

import re

__all__ = ["title_of"]

LONGEST = 80
# What the gateway, or a CLI, puts round or before a person's words.
_BEFORE = (
    r"(?s)\s*<(instructions|session_context|system-reminder|environment_context|user_instructions"
    r"|command-[a-z]+|local-command-[a-z]+)>.*?</\1>"
)
_ROUND = r"(?s)\s*<(prompt|user_query)>\s*(.*?)\s*(?:</\1>\s*)?\Z"
_NEW_WORDS = "</transcript>\n\nThe user now says:"
_STEERING = "\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)"


def title_of(text: str) -> str | None:
    """One short line that steers no terminal; None where there are no words."""
    text = text.rpartition(_NEW_WORDS)[2][:20_000]
    if text.lstrip().startswith("<"):
        text = _unwrapped(text)
    words = text[: LONGEST * 8]
    if "\x1b" in words:
        words = re.sub(_STEERING, "", words)
    words = " ".join(words.split())
    words = "".join(c for c in words if c.isprintable())
    return (words if len(words) <= LONGEST else words[: LONGEST - 1] + "…") or None


def _unwrapped(text: str) -> str:
    while found := re.match(_BEFORE, text):
        text = text[found.end() :]
    found = re.match(_ROUND, text)
    return found.group(2) if found else text
