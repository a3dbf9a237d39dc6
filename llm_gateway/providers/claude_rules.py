"""Rules that narrow claude's tools, such as ``Edit(src/**)``: one tool each, and no way out.

``--allowedTools`` takes several rules from one word, and a rule for files may name any place, so
that what looks like a narrower tool would be a wider one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import InvalidInput, PermissionDenied
from ..request import Access, Options
from .base import tool_base

__all__ = ["check_rules"]

FILE_TOOLS = frozenset({"Read", "Grep", "Glob", "Edit", "Write", "NotebookEdit"})
_SEGMENT = re.compile(r"[/,{}]")
_GLOB = re.compile(r"[*?\[{]")


def check_rules(options: Options, access: Access) -> None:
    """Refuse words of the tool lists that are more than one rule, and rules that lead outside.

    :raises InvalidInput: for a word that is no rule. :raises PermissionDenied: for a way out.
    """
    for rule in (*(options.allowed_tools or ()), *(options.disallowed_tools or ())):
        if "(" in rule and not _is_one(rule):
            raise InvalidInput(f"{rule!r} is not one rule for one tool, such as Edit(src/**).")
    if access is Access.FULL:
        return
    cwd = os.path.realpath(options.cwd or ".")
    places = [cwd, *(os.path.realpath(os.path.join(cwd, d)) for d in options.add_dirs or ())]
    for rule in options.allowed_tools or ():
        if tool_base(rule) in FILE_TOOLS and "(" in rule and not _stays(_inside(rule), places):
            raise PermissionDenied(
                f"The rule {rule} leads outside the workspace, which is wider than access "
                f"{access.value}; name the directory with -o add_dirs, or ask for -o access full."
            )


def _is_one(rule: str) -> bool:
    """Whether a word is a name and one pair of parentheses to its end, on one line."""
    if not re.match(r"\w+\(", rule) or not rule.endswith(")") or not rule.isprintable():
        return False
    depth = 0
    for at, sign in enumerate(rule):
        depth += (sign == "(") - (sign == ")")
        if sign == ")" and depth == 0:
            return at == len(rule) - 1
    return False


def _inside(rule: str) -> str:
    return rule.partition("(")[2][:-1].strip()


def _stays(pattern: str, places: Iterable[str]) -> bool:
    """Whether a pattern for files matches nothing outside some places.

    ``//`` begins at the top of the file system, ``~`` at the user's home.
    """
    if ".." in _SEGMENT.split(pattern):
        return False
    if pattern.startswith("//"):
        fixed = pattern[1:]
    elif pattern.startswith("~"):
        fixed = os.path.expanduser(pattern)
    else:
        return True
    start = Path(os.path.realpath(os.path.dirname(_GLOB.split(fixed, maxsplit=1)[0] + "x")))
    return any(start.is_relative_to(place) for place in places)
