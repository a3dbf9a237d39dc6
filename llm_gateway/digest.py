"""SHA-256 of what is short: ``hashlib`` loads all of OpenSSL, which a worker has no other use for.

Python's own modules take a smaller one for the same reason (``random`` does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["sha256"]

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256
    except ImportError:
        try:
            from _sha256 import sha256  # before Python 3.12
        except ImportError:
            from hashlib import sha256
