"""Names by patterns such as ``LC_*``, with one star or none; nothing is compiled for them.

An environment has a hundred names, and each is looked at on a prompt's way.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["matches"]


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether the name is one of those."""
    words, beginnings, stars = _sorted(patterns)
    return (
        name in words
        or name.startswith(beginnings)
        or (bool(stars) and any(name.startswith(a) and name.endswith(z, len(a)) for a, z in stars))
    )


@lru_cache(maxsize=64)
def _sorted(
    patterns: tuple[str, ...],
) -> tuple[frozenset[str], tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Those without a star, those that end in one, and both sides of the others."""
    words = frozenset(pattern for pattern in patterns if "*" not in pattern)
    sides = [pattern.partition("*")[::2] for pattern in patterns if "*" in pattern]
    beginnings = tuple(before for before, after in sides if not after)
    return words, beginnings, tuple((before, after) for before, after in sides if after)
