"""Rules that narrow claude's tools, such as ``Edit(src/**)``: one tool each, and no way out.

``--allowedTools`` takes several rules from one word, and a rule for files may name any place, so
that what looks like a narrower tool would be a wider one. Rules that claude does not go by it
ignores without a word; those are refused here. Facts seen on claude 2.1.330.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import InvalidInput, PermissionDenied
from ..request import Access, Options
from .base import tool_base

__all__ = ["EDITING", "READING", "check_rules", "granted"]

READING = frozenset({"Read", "Grep", "Glob"})
EDITING = frozenset({"Edit", "Write", "NotebookEdit"})
# For files it goes by two rules, whichever tool is used.
FOR_FILES = {**dict.fromkeys(READING, "Read"), **dict.fromkeys(EDITING, "Edit")}
PATTERNED = frozenset({"Agent", "Bash", "Edit", "Read", "Skill", "Task", "WebFetch"})
# With these words it asks for no rule before it writes.
UNASKED = frozenset({"acceptEdits", "auto", "bypassPermissions"})
_SEGMENT = re.compile(r"[/,{}]")
_GLOB = re.compile(r"[*?\[{]")


def check_rules(options: Options, access: Access) -> None:
    """Refuse words of the tool lists that are more than one rule, hold nothing, or lead outside.

    :raises InvalidInput: for a word that is no rule, or that claude would ignore.
    :raises PermissionDenied: for a way out.
    """
    cwd = os.path.realpath(options.cwd or ".")
    allowed = [rule for rule in options.allowed_tools or () if "(" in rule]
    for rule in (*allowed, *(r for r in options.disallowed_tools or () if "(" in r)):
        if not _is_one(rule):
            raise InvalidInput(f"{rule!r} is not one rule for one tool, such as Edit(src/**).")
        _refuse_ignored(tool_base(rule), _inside(rule), cwd)
    word = options.native.get("permission_mode")
    if allowed and word in UNASKED:
        raise InvalidInput(f"With permission_mode {word} claude ignores the rule {allowed[0]}.")
    places = [cwd, *(os.path.realpath(os.path.join(cwd, d)) for d in options.add_dirs or ())]
    for rule in allowed:
        if tool_base(rule) == "Read":
            raise InvalidInput(
                f"Claude Code reads all of the workspace whatever {rule} says; keep it from a "
                "place with -o disallowed_tools 'Read(PLACE)'."
            )
        if access is Access.FULL or tool_base(rule) != "Edit":
            continue
        if not _stays(_inside(rule), places):
            raise PermissionDenied(
                f"The rule {rule} leads outside the workspace, which is wider than access "
                f"{access.value}; name the directory with -o add_dirs, or ask for -o access full."
            )


def _refuse_ignored(tool: str, inside: str, cwd: str) -> None:
    ignores = f"Claude Code ignores what {tool}({inside}) says; "
    if FOR_FILES.get(tool, tool) != tool:
        kind = "read" if tool in READING else "write"
        raise InvalidInput(
            f"{ignores}{FOR_FILES[tool]}({inside}) holds for all of its tools that {kind}."
        )
    if tool not in PATTERNED or not inside:
        raise InvalidInput(f"{ignores}name {tool} alone.")
    if tool == "WebFetch" and not inside.startswith("domain:"):
        raise InvalidInput(f"{ignores}name a domain, as in WebFetch(domain:example.com).")
    if tool in FOR_FILES and _means_the_machine(inside, cwd):
        raise InvalidInput(
            f"{ignores}a path with one / is one of the workspace. Write {tool}(/{inside}) for the "
            f"one at the top of the machine, {tool}({inside.lstrip('/')}) for one of the workspace."
        )


def _means_the_machine(pattern: str, cwd: str) -> bool:
    """Whether a path begins with a folder of the machine that the workspace does not have."""
    if not pattern.startswith("/") or pattern.startswith("//"):
        return False
    top = pattern.split("/")[1]
    return os.path.lexists(f"/{top}") and not os.path.lexists(os.path.join(cwd, top))


def granted(allowed: Iterable[str], access: Access) -> list[str]:
    """Return the rules with which claude, asking for one each time, may do just what is allowed.

    Where a rule says which files may be written, it says so for every tool that writes.
    """
    rules = [tool for tool in allowed if "(" in tool]
    if access is not Access.FULL:
        return rules
    ruled = EDITING if any(tool_base(rule) == "Edit" for rule in rules) else frozenset[str]()
    whole = [tool for tool in allowed if "(" not in tool and tool not in ruled]
    named = ("Read(//**)" if tool in READING else tool for tool in whole)
    return list(dict.fromkeys((*rules, *named)))


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
