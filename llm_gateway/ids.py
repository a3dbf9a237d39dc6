"""Identifiers that sort by the time at which they were made."""

from __future__ import annotations

import os
import time

__all__ = ["new_id"]

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id() -> str:
    """Return a ULID in lower case: 48 bits of milliseconds, 80 of chance."""
    number = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
