"""Names by patterns such as ``LC_*``, with one star or none; nothing is compiled for them.

An environment has a hundred names, and each is looked at on a prompt's way.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["matches"]


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether the name is one of those."""
    words, stars = _sorted(patterns)
    return name in words or any(
        name.startswith(before) and name.endswith(after, len(before)) for before, after in stars
    )


@lru_cache(maxsize=64)
def _sorted(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[tuple[str, str], ...]]:
    words = frozenset(pattern for pattern in patterns if "*" not in pattern)
    stars = (pattern.partition("*") for pattern in patterns if "*" in pattern)
    return words, tuple((before, after) for before, _, after in stars)
