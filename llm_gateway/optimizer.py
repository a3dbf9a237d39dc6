"""Shortens prompts and answers by rules of thumb, which lose adjectives, articles and lists.

The rules are those of llm-cli-gateway 1.4.0, in its order. Code is left alone, fenced or inline.
Every rule takes time linear in the text: no pattern has a repeat without a bound that begins
anywhere, and what needs more than that is a scan.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

__all__ = ["RULES", "Rule", "optimized", "tokens"]

# Code is taken out, marked by one character each, and put back when the rules are through.

_TICKS = re.compile(r"`+")
_MARKS = ("\ue000", "\uf8ff", "\U000f0000", "\U0010fffd")


def optimized(text: str, *, response: bool = False) -> str:
    """Return the text as the rules leave it; ``response`` adds the one that is for answers."""
    mark = next((mark for mark in _MARKS if mark not in text), None)
    if mark is None:
        return text
    prose, code = _without_code(text, mark)
    for rule in RULES:
        if response or not rule.response:
            prose = rule.apply(prose)
    pieces = prose.rstrip().split(mark)
    if len(pieces) != len(code) + 1:
        return text
    return "".join(part for pair in zip(pieces, [*code, ""], strict=True) for part in pair)


def tokens(text: str) -> int:
    """Return the original's estimate of how many tokens a text has."""
    return -(-len(text.split()) * 13 // 10)


def _without_code(text: str, mark: str) -> tuple[str, list[str]]:
    """Return the text with a mark for each piece of code, and the pieces."""
    prose, code, at = [], [], 0
    for start, stop in _code(text):
        prose.append(text[at:start])
        code.append(text[start:stop])
        at = stop
    return mark.join([*prose, text[at:]]), code


def _code(text: str) -> Iterator[tuple[int, int]]:
    """Yield where code is: fences, to the end where one is not closed, and spans in a line."""
    runs = [found.span() for found in _TICKS.finditer(text)]
    lengths = [end - start for start, end in runs]
    fences = [n for n, (start, _) in enumerate(runs) if lengths[n] >= 3 and _first(text, start)]
    alike: dict[int, list[int]] = {}
    for number, length in enumerate(lengths):
        alike.setdefault(length, []).append(number)
    number = 0
    while number < len(runs):
        last: int | None
        if lengths[number] >= 3 and _first(text, runs[number][0]):
            after = range(bisect_right(fences, number), len(fences))
            last = next((fences[n] for n in after if lengths[fences[n]] >= lengths[number]), None)
            if last is None:
                yield runs[number][0], len(text)
                return
        else:
            same = alike[lengths[number]]
            at = bisect_right(same, number)
            if at == len(same):  # a lonely backtick is text
                number += 1
                continue
            last = same[at]
        yield runs[number][0], runs[last][1]
        number = last + 1


def _first(text: str, at: int) -> bool:
    """Whether only a few spaces are before it in its line."""
    line = text[max(0, at - 4) : at]
    return not line.rpartition("\n")[2].strip(" ") and ("\n" in line or at < 4)


# Rules: what is done to a piece of text, in this order.


class Rule(NamedTuple):
    """One rule: what it does, in words, and how. ``response``: for answers only."""

    meaning: str
    apply: Callable[[str], str]
    response: bool = False


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


def _replace(*pairs: tuple[str, str]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        for pattern, replacement in pairs:
            text = _compiled(pattern).sub(replacement, text)
        return text

    return apply


def _unwrapped(noun: str) -> Callable[[str], str]:
    """``the X NOUN`` → ``X`` for the shortest X after the first ``the``, in one pass."""

    def apply(text: str) -> str:
        out, at, opened = [], 0, None
        for found in _compiled(rf"\bthe | {noun}\b|[^a-z0-9 -]").finditer(text):
            word = found[0]
            if word[0] in "tT":
                opened = found if opened is None else opened
            elif word[0] != " ":
                opened = None
            elif opened is not None and found.start() > opened.end():
                out += [text[at : opened.start()], text[opened.end() : found.start()]]
                at, opened = found.end(), None
        return "".join([*out, text[at:]])

    return apply


_NAME = r"([\w./-]{1,300})"
_LINES = r"(?:on |at )?lines? ~?(\d{1,9}(?:(?:, ?(?:and )?| and )\d{1,9}){0,99})\b"
_EXTENSION = re.compile(r".\.[A-Za-z]\w{0,9}\Z")


def _file_references(text: str) -> str:
    def referred(found: re.Match[str]) -> str:
        if not _EXTENSION.search(found[1]):
            return found[0]
        return f"{found[1]}:{','.join(re.findall('[0-9]+', found[2]))}"

    text = _compiled(rf"\bin the {_NAME} file {_LINES}").sub(referred, text)
    return _compiled(rf"(?<![\w./-])(?:in the file )?(?<![\w./-]){_NAME} {_LINES}").sub(
        referred, text
    )


_NUMBERED, _DASHED = re.compile(r"\d{1,9}\.\s+"), re.compile(r"- +")
_LEAD = re.compile(
    r"(?:first|then|after that|finally)\b,?\s*(?:you should\s+)?|you should\s+|please\b,?\s*",
    re.IGNORECASE,
)


def _lists(text: str) -> str:
    """Two or more numbered or dashed lines in a row become one line."""
    out: list[str] = []
    items: list[str] = []
    kind: re.Pattern[str] | None = None
    kept: list[str] = []

    def flush() -> None:
        if len(items) > 1:
            out.append(("Tasks: " if kind is _NUMBERED else "") + " → ".join(items))
        else:
            out.extend(kept)
        items.clear()
        kept.clear()

    for line in text.split("\n"):
        found = next(((p, m) for p in (_NUMBERED, _DASHED) if (m := p.match(line))), None)
        if found is None or found[0] is not kind:
            flush()
        if found is None:
            kind = None
            out.append(line)
            continue
        kind = found[0]
        items.append(_LEAD.sub("", line[found[1].end() :], count=1).rstrip(" \t.:;"))
        kept.append(line)
    flush()
    return "\n".join(out)


_PLAIN_LINE = re.compile(r"[A-Za-z0-9 /&-]{0,49}\Z")


def _short_lines(text: str) -> str:
    return "\n".join(
        line.replace(" and ", "/", 1) if _PLAIN_LINE.match(line) else line
        for line in text.split("\n")
    )


RULES = (
    Rule(
        "In conclusion, Overall: left out of answers",
        _replace((r"\b(?:in conclusion|overall)\b[,:;.]?[ \t]*", "")),
        response=True,
    ),
    Rule(
        "Please, Could you, I would like (you to), I need you to, I just implemented: left out",
        _replace(
            (
                r"\b(?:please do the following|please|could you|i would like you to|i would like"
                r"|i need you to|i just implemented)\b[:,]?[ \t]*",
                "",
            )
        ),
    ),
    Rule(
        "comprehensive, detailed, thorough, overall, critical: left out",
        _replace((r"\b(?:comprehensive|detailed|thorough|overall|critical)\b", "")),
    ),
    Rule(
        "found in the … (to the next : or . or line), (that) we implemented: left out",
        _replace(
            (rf"\bfound in the [^:.\n{''.join(_MARKS)}]*", ""),
            (r"\b(?:that )?we implemented\b", ""),
        ),
    ),
    Rule("the X system → X", _unwrapped("system")),
    Rule("the X feature → X", _unwrapped("feature")),
    Rule(
        "Problem: left out at the start of a line", _replace((r"^[ \t]{0,9}problem:[ \t]{0,9}", ""))
    ),
    Rule("in the file F on lines N and M → F:N,M", _file_references),
    Rule(
        "names of types, such as a string parameter → param:str",
        _replace(
            (r"\b(?:an )?optional boolean \(default ([^()\n]{1,99})\)", r"bool=\1"),
            (r"\b(?:an )?optional boolean\b", "bool?"),
            (r"\bboolean\b", "bool"),
            (r"\b(?:a )?required integer\b", "int!"),
            (r"\b(?:an )?integer\b", "int"),
            (r"\b(?:an )?array of strings\b", "str[]"),
            (r"\bstring enum of \[([^\[\]\n]{0,199})\]", r"enum[\1]"),
            (r"\bstring enum\b", "enum"),
            (r"\bstring parameter\b", "param:str"),
            (r"\bstring\b", "str"),
        ),
    ),
    Rule("Are there any X? → X?", _replace((r"\bare there any ([^?\n]{1,299})\?", r"\1?"))),
    Rule("lines of a numbered or dashed list → one line with → between", _lists),
    Rule(
        "Change A to B, Convert A to B → A → B; X should be a Y → X: Y",
        _replace(
            (
                r"^(?:change|convert) (?:the )?(\S{1,99}) to (?:an? )?(\w{1,99})([.!?]?)$",
                r"\1 → \2\3",
            ),
            (r"(?<=\w) should be an? (?=\w)", ": "),
        ),
    ),
    Rule("the first “and” of a short line without punctuation → /", _short_lines),
    Rule(
        "several spaces → one, several empty lines → one",
        _replace((r"[ \t]+", " "), (r"\n{3,}", "\n\n")),
    ),
)
