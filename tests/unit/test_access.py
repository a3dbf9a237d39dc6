"""Which level a request gets."""

from __future__ import annotations

import pytest

from llm_gateway.errors import PermissionDenied
from llm_gateway.policy.access import resolve_access
from llm_gateway.request import Access

READ, EDIT, FULL = Access
SWITCH, CAP = "LLM_GATEWAY_ALLOW_FULL_ACCESS", "LLM_GATEWAY_ACCESS_CAP"


@pytest.mark.parametrize(
    ("asked", "inherited", "environ", "level"),
    [
        (None, None, {}, READ),
        (None, READ, {}, READ),
        (None, EDIT, {}, EDIT),
        (None, FULL, {}, EDIT),
        (None, FULL, {SWITCH: "1"}, EDIT),
        (None, EDIT, {CAP: "read"}, READ),
        (None, FULL, {CAP: "full", SWITCH: "1"}, EDIT),
        (READ, FULL, {}, READ),
        (EDIT, None, {}, EDIT),
        (EDIT, READ, {CAP: "edit"}, EDIT),
        (FULL, None, {SWITCH: "1"}, FULL),
        (FULL, None, {SWITCH: " 1 ", CAP: "full"}, FULL),
    ],
)
def test_the_level(
    asked: Access | None, inherited: Access | None, environ: dict[str, str], level: Access
) -> None:
    """What was asked; else what the session had, never full, never above the asker's own."""
    assert resolve_access(asked, inherited, environ) is level


@pytest.mark.parametrize(
    ("asked", "environ", "says"),
    [
        (FULL, {}, "export LLM_GATEWAY_ALLOW_FULL_ACCESS=1"),
        (FULL, {SWITCH: "0"}, "export LLM_GATEWAY_ALLOW_FULL_ACCESS=1"),
        (FULL, {SWITCH: "true"}, "export LLM_GATEWAY_ALLOW_FULL_ACCESS=1"),
        (FULL, {SWITCH: "1", CAP: "edit"}, "has access edit, so it cannot ask for access full"),
        (EDIT, {CAP: "read"}, "has access read, so it cannot ask for access edit"),
        (EDIT, {CAP: "nonsense"}, "has access read"),
        (EDIT, {CAP: ""}, "has access read"),
    ],
)
def test_what_is_refused(asked: Access, environ: dict[str, str], says: str) -> None:
    """With the way to it, for who may go it; a cap that cannot be read is the lowest."""
    with pytest.raises(PermissionDenied) as refused:
        resolve_access(asked, None, environ)
    assert says in str(refused.value)


def test_levels_are_ordered() -> None:
    """Each includes the one before."""
    assert [level.rank for level in (READ, EDIT, FULL)] == [0, 1, 2]
