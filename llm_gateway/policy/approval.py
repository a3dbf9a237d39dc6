"""Approval: a score for what is asked, and what a policy says to that score.

It is a second gate behind the access level: it can refuse what was asked and never widens it. The
score is a rule of thumb about words and options, and no protection against somebody who knows it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from ..errors import InvalidInput, PermissionDenied
from ..records import record
from ..request import Access, Options, Request
from . import review as reviews
from .child_env import ACCESS_CAP, FULL_ACCESS_SWITCH

__all__ = [
    "ASK",
    "POLICIES",
    "RULES",
    "Asked",
    "Point",
    "Rule",
    "Verdict",
    "asked_for",
    "judged",
    "policy_in_force",
    "switch_is_on",
]

ASK = "ask"
# The highest score that each policy approves; None asks a person.
POLICIES: dict[str, int | None] = {"strict": 2, "balanced": 5, "permissive": 7, ASK: None}
LOOSEST_FIRST = ("permissive", "balanced", "strict", ASK)
DEFAULT = "balanced"


@record(frozen=True)
class Asked:
    """What is judged.

    :param bypass: the CLI is to do everything the user may do. :param full_auto: it is to change
        files without asking. :param text: every word of the asker: the system prompt, the prompt
        as it was written and as it is sent. :param trusts: what the workspace itself brings may
        run. :param beyond: directories outside the workspace that the CLI may use as well.
    """

    text: str = ""
    bypass: bool = False
    full_auto: bool = False
    servers: tuple[str, ...] = ()
    allowed_tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] | None = None
    trusts: bool = False
    beyond: tuple[str, ...] = ()

    @cached_property
    def review(self) -> reviews.Review:
        """What it says about reviews; nobody else's word on that counts."""
        return reviews.review(self.text, self.allowed_tools, self.disallowed_tools)

    @cached_property
    def words(self) -> list[str]:
        """The words in it that tell of harm, once each."""
        return _harmful(self.text)


class Rule(NamedTuple):
    """One rule: what it counts, what it means, and what it has to say about a request."""

    name: str
    points: int
    meaning: str
    reason: Callable[[Asked], str | None]


class Point(NamedTuple):
    """A rule that holds for a request, and why."""

    rule: str
    points: int
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.points:+d})" if self.points else self.reason


# Words that tell of harm. Where "token" is a count or a part of a text, it tells of none.
_HARMFUL = (
    r"\b(delete|destroy|wipe|exfiltrate|credential|password|secret"
    r"|token(?![ -](?:counts?|counting|counter|limits?|budgets?|usage|windows?|estimates?"
    r"|prices?|costs?|numbers?|streams?|bucket|types?|ids?)\b))\b"
)


def _harmful(text: str) -> list[str]:
    found = (word[1].lower() for word in re.finditer(_HARMFUL, _legible(text), re.IGNORECASE))
    return list(dict.fromkeys(found))


def _legible(text: str) -> str:
    """The text as a model reads it: full-width letters are letters, invisible signs are nothing."""
    if text.isascii():
        return text
    import unicodedata

    plain = unicodedata.normalize("NFKC", text)
    return "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")


def _says(holds: Callable[[Asked], object], reason: str) -> Callable[[Asked], str | None]:
    return lambda asked: reason if holds(asked) else None


def _names_server(name: str) -> Callable[[Asked], bool]:
    return lambda asked: name in {server.lower().replace("-", "_") for server in asked.servers}


def _violated(kind: reviews.Kind, told: str = "") -> Rule:
    def reason(asked: Asked) -> str | None:
        found = (v for v in asked.review.violations if v.kind is kind)
        return next((f"a review is wanted, and {v.detail}{told}" for v in found), None)

    return Rule(kind.name, kind.score, kind.meaning, reason)


def _words_reason(asked: Asked) -> str | None:
    return f"the prompt says {', '.join(asked.words)}" if asked.words else None


def _beyond_reason(asked: Asked) -> str | None:
    return f"may also use {', '.join(asked.beyond)}" if asked.beyond else None


def _mcp_tools(asked: Asked) -> str | None:
    named = [tool for tool in asked.allowed_tools or () if tool.startswith("mcp_")]
    return f"may use {', '.join(named)}" if named else None


def _without_review(tools: Callable[[Asked], bool]) -> Callable[[Asked], bool]:
    return lambda asked: tools(asked) and not asked.review.is_review


def _none_allowed(asked: Asked) -> bool:
    return asked.allowed_tools == ()


def _harmless_disallowed(asked: Asked) -> bool:
    kinds = {violation.kind for violation in asked.review.violations}
    return bool(asked.disallowed_tools) and reviews.CRITICAL_TOOLS_DISALLOWED not in kinds


RULES: tuple[Rule, ...] = (
    Rule(
        "bypass",
        3,
        "`-o access full`, or a CLI's own word for it",
        _says(lambda asked: asked.bypass, "full access"),
    ),
    Rule(
        "full_auto",
        2,
        "`-o access edit`, or a CLI's own word for it",
        _says(lambda asked: asked.full_auto, "edits files without asking"),
    ),
    Rule(
        "bypass_and_full_auto",
        2,
        "both of these at once: full access with a CLI's own word for edits",
        _says(lambda asked: asked.bypass and asked.full_auto, "both at once"),
    ),
    Rule(
        "trusts_workspace",
        3,
        "`trust_workspace`: hooks, servers and settings that the workspace brings may run",
        _says(lambda asked: asked.trusts, "trusts what the workspace brings"),
    ),
    Rule(
        "other_directories",
        1,
        "`add_dirs` has a directory outside the workspace (once, however many)",
        _beyond_reason,
    ),
    Rule(
        "server_exa",
        2,
        "`mcp_servers` has `exa`, which searches the web",
        _says(_names_server("exa"), "the MCP server exa"),
    ),
    Rule(
        "server_ref_tools",
        1,
        "`mcp_servers` has `ref_tools`, which reads documentation on the web",
        _says(_names_server("ref_tools"), "the MCP server ref_tools"),
    ),
    _violated(reviews.EMPTY_ALLOWED_TOOLS),
    Rule(
        "no_tools_allowed",
        0,
        "`allowed_tools` is an empty list, and no review is wanted",
        _says(_without_review(_none_allowed), "no tool is allowed"),
    ),
    _violated(reviews.CRITICAL_TOOLS_DISALLOWED, " taken away"),
    Rule(
        "tools_disallowed",
        0,
        "`disallowed_tools` takes away tools that no review needs",
        _says(_harmless_disallowed, "tools are taken away"),
    ),
    Rule("mcp_tools", 0, "`allowed_tools` has tools of an MCP server", _mcp_tools),
    Rule(
        "harmful_words",
        3,
        "the prompt or the system prompt has one of the words delete, destroy, wipe, exfiltrate, "
        "credential, token, password, secret (once, however many; not for “token count” and such)",
        _words_reason,
    ),
    _violated(reviews.TOOL_SUPPRESSION),
)


@record(frozen=True)
class Verdict:
    """What a policy says to a request. ``approved`` is None where a person is to be asked."""

    policy: str
    points: tuple[Point, ...]
    approved: bool | None
    refusal: str | None = None

    @property
    def score(self) -> int:
        return sum(point.points for point in self.points)

    @property
    def threshold(self) -> int | None:
        return POLICIES[self.policy]

    @property
    def reasons(self) -> list[str]:
        """Why, one sentence or part of one each."""
        told = [str(point) for point in self.points]
        return [self.refusal, *told] if self.refusal else told


def judged(asked: Asked, policy: str, *, switch: bool) -> Verdict:
    """Apply the rules. :param switch: whether the operator allows full access at all."""
    points = tuple(
        Point(rule.name, rule.points, reason)
        for rule in RULES
        if (reason := rule.reason(asked)) is not None
    )
    if asked.bypass and not switch:
        return Verdict(policy, points, False, f"full access needs {FULL_ACCESS_SWITCH}=1 as well")
    threshold = POLICIES[policy]
    if threshold is None:
        return Verdict(policy, points, None)
    return Verdict(policy, points, sum(point.points for point in points) <= threshold)


def asked_for(
    request: Request, access: Access, words: Iterable[Access], servers: Iterable[str] = ()
) -> Asked:
    """Return what a request asks for, in the same terms for every provider.

    :param access: the level that it would run at. :param words: the levels that the CLI's own
        words stand for, where some were said. :param servers: names of MCP servers.
    """
    levels, o = {access, *words}, request.options
    return Asked(
        text="\n\n".join(filter(None, (request.system, request.asked, request.prompt))),
        bypass=Access.FULL in levels,
        full_auto=Access.EDIT in levels,
        servers=tuple(servers),
        allowed_tools=o.allowed_tools,
        disallowed_tools=o.disallowed_tools,
        trusts=bool(o.trust_workspace),
        beyond=tuple(dict.fromkeys(_beyond(o.cwd or ".", o.add_dirs or ()))),
    )


def _beyond(cwd: str, folders: Iterable[str]) -> Iterator[str]:
    """Yield those of some directories that are not in the workspace; links are followed."""
    workspace = os.path.realpath(os.path.expanduser(cwd))
    for folder in folders:
        place = os.path.realpath(os.path.join(workspace, os.path.expanduser(folder)))
        if os.path.commonpath((place, workspace)) != workspace:
            yield place


def policy_in_force(options: Options, standing: str, environ: Mapping[str, str]) -> str | None:
    """Return the policy of a request; None where approvals are off.

    :param standing: the setting, empty where there is none. What the request says wins over it,
        but an agent cannot loosen what whoever started it has set.
    :raises InvalidInput: for words that contradict each other.
    """
    asked, strategy = options.approval_policy, options.approval_strategy
    if strategy == "legacy" and asked:
        raise InvalidInput(
            "approval_strategy legacy and an approval_policy contradict each other; "
            "leave one of them out."
        )
    if ACCESS_CAP in environ and standing:
        _refuse_loosening(asked, strategy, standing)
    if strategy == "legacy":
        return None
    return asked or standing or (DEFAULT if strategy else None)


def _refuse_loosening(asked: str | None, strategy: str | None, standing: str) -> None:
    looseness = LOOSEST_FIRST.index
    if strategy == "legacy" or (asked and looseness(asked) < looseness(standing)):
        raise PermissionDenied(
            f"The agent that runs this command is under approval policy {standing}, which it "
            "cannot loosen; ask where that agent was started."
        )


def switch_is_on(environ: Mapping[str, str]) -> bool:
    """Whether the operator allows full access."""
    return environ.get(FULL_ACCESS_SWITCH, "").strip() == "1"
