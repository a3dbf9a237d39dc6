"""Which access level a request gets: what was asked, and never more than that."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import PermissionDenied
from ..request import Access, Options
from .child_env import ACCESS_CAP, FULL_ACCESS_SWITCH

__all__ = ["refuse_unheld", "resolve_access"]


def resolve_access(
    asked: Access | None, inherited: Access | None, environ: Mapping[str, str]
) -> Access:
    """Return the level to run at.

    :param asked: what this prompt says. :param inherited: what its session ran at; ``full`` is
        never inherited.
    :raises PermissionDenied: for ``full`` without the operator's switch, and for more than the
        agent has that asks.
    """
    cap = _cap(environ)
    if asked is None:
        inherited = inherited or Access.READ
        return min(inherited, Access.EDIT, cap, key=lambda level: level.rank)
    if asked.rank > cap.rank:
        raise PermissionDenied(
            f"The agent that runs this command has access {cap.value}, so it cannot ask for "
            f"access {asked.value}; ask for it where that agent was started."
        )
    if asked is Access.FULL and environ.get(FULL_ACCESS_SWITCH, "").strip() != "1":
        raise PermissionDenied(
            "access full lets the agent do whatever you may do; whoever runs this machine allows "
            f"it with: export {FULL_ACCESS_SWITCH}=1"
        )
    return asked


def refuse_unheld(options: Options, environ: Mapping[str, str]) -> None:
    """Refuse an agent below full what no access level holds: servers, and the workspace's own code.

    :raises PermissionDenied: names what it asked for.
    """
    cap = _cap(environ)
    asked = {"mcp_servers": options.mcp_servers, "trust_workspace": options.trust_workspace}
    for name, value in asked.items():
        if value and cap is not Access.FULL:
            raise PermissionDenied(
                f"The agent that runs this command has access {cap.value}, so it cannot say "
                f"{name}: no access level would hold what then runs."
            )


def _cap(environ: Mapping[str, str]) -> Access:
    value = environ.get(ACCESS_CAP)
    if value is None:
        return Access.FULL
    try:
        return Access(value)
    except ValueError:
        return Access.READ
