"""Names by patterns, as the shell's wildcards have them."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_gateway.wildcards import matches

PATTERNS = ("A", "A_*", "*_A", "A_*_B", "*", "")
NAMES = st.text("AB_", max_size=6)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(name=NAMES)
def test_one_star_is_what_it_is_to_a_shell(pattern: str, name: str) -> None:
    """And what has none is the name itself."""
    assert matches(name, (pattern,)) == fnmatchcase(name, pattern)


@given(name=NAMES)
def test_one_pattern_of_several_is_enough(name: str) -> None:
    """In any order."""
    some = PATTERNS[:4]
    assert matches(name, some) == any(fnmatchcase(name, pattern) for pattern in some)
