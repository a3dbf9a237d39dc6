"""Identifiers and digests of our own are what the standard library would have made."""

from __future__ import annotations

import hashlib
import uuid

from llm_gateway.digest import sha256
from llm_gateway.ids import new_uuid


def test_a_uuid_is_a_random_one() -> None:
    """Vendors refuse what is no UUID."""
    made = {new_uuid() for _ in range(100)}
    assert len(made) == 100
    for text in made:
        told = uuid.UUID(text)
        assert str(told) == text and told.version == 4 and told.variant == uuid.RFC_4122


def test_a_digest_is_sha_256() -> None:
    """What is stored compares with what any other program computes."""
    for data in (b"", b"abc", bytes(range(256)) * 999):
        assert sha256(data).hexdigest() == hashlib.sha256(data).hexdigest()
    running = sha256(b"a")
    running.update(b"bc")
    assert running.digest() == hashlib.sha256(b"abc").digest()
