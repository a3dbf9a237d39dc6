"""What a conversation is called: the first words that its user said."""

from __future__ import annotations

import re

__all__ = ["title_of"]

LONGEST = 80
# What the gateway, or a CLI, puts round or before a person's words.
_BEFORE = re.compile(
    r"\s*<(instructions|session_context|system-reminder|environment_context|user_instructions"
    r"|command-[a-z]+|local-command-[a-z]+)>.*?</\1>",
    re.DOTALL,
)
_ROUND = re.compile(r"\s*<(prompt|user_query)>\s*(.*?)\s*(?:</\1>\s*)?\Z", re.DOTALL)
_NEW_WORDS = "</transcript>\n\nThe user now says:"
_STEERING = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)")


def title_of(text: str) -> str | None:
    """One short line that steers no terminal; None where there are no words."""
    text = text.rpartition(_NEW_WORDS)[2][:20_000]
    while found := _BEFORE.match(text):
        text = text[found.end() :]
    if found := _ROUND.match(text):
        text = found.group(2)
    words = " ".join(_STEERING.sub("", text[: LONGEST * 8]).split())
    words = "".join(c for c in words if c.isprintable())
    return (words if len(words) <= LONGEST else words[: LONGEST - 1] + "…") or None
