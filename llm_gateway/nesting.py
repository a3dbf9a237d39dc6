"""Agents that ask the gateway from inside one of its own runs: counted, and stopped at a depth."""

from __future__ import annotations

import os

from .errors import PermissionDenied
from .process import RUN_MARK

__all__ = ["ANCESTORS", "DEEPEST", "DEPTH", "ancestors", "check_depth", "marks"]

ANCESTORS = "LLM_GATEWAY_ANCESTORS"
DEPTH = "LLM_GATEWAY_DEPTH"
DEEPEST = 4


def ancestors() -> tuple[str, ...]:
    """The jobs inside which this process runs, outermost first."""
    return tuple(filter(None, os.environ.get(ANCESTORS, "").split(",")))


def depth() -> int:
    """How many gateway runs this process is inside of; a value that is no number counts as deep."""
    said = os.environ.get(DEPTH, "0").strip()
    return max(int(said) if said.isdecimal() else DEEPEST, len(ancestors()))


def check_depth() -> None:
    """Refuse an ask that is nested too deeply."""
    if depth() >= DEEPEST:
        raise PermissionDenied(
            f"This is asked by an agent inside {depth()} others, and {DEEPEST} is the most; "
            "let the outer agent ask instead."
        )


def marks(job_id: str) -> dict[str, str]:
    """The variables by which a job's processes, and asks from inside of it, are known."""
    return {
        RUN_MARK: job_id,
        ANCESTORS: ",".join((*ancestors(), job_id)),
        DEPTH: str(depth() + 1),
    }
