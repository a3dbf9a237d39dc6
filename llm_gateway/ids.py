"""Identifiers: our own, which sort by the time at which they were made, and the vendors'."""

from __future__ import annotations

import os
import time

__all__ = ["is_session_id", "new_id", "new_uuid"]

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LONGEST = 256


def new_id() -> str:
    """Return a ULID in lower case: 48 bits of milliseconds, 80 of chance."""
    number = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def new_uuid() -> str:
    """Return a random UUID (version 4), as vendors want their sessions' ids."""
    number = int.from_bytes(os.urandom(16), "big")
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 4 << 76 | 2 << 62
    digits = f"{number:032x}"
    parts = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
    return "-".join(digits[begin:end] for begin, end in parts)


def is_session_id(word: object) -> bool:
    """Whether a word can go into a command line and a path as a session's id, whoever said it."""
    if not isinstance(word, str) or not 0 < len(word) <= LONGEST:
        return False
    return word.isprintable() and "/" not in word and not word.startswith(("-", "."))
