"""Which models answered: the names that a provider's completed requests were resolved to."""

from __future__ import annotations

import sqlite3

__all__ = ["answered"]

# The newest requests say it; a recorder of years has too many to look at them all.
LOOKED_AT = 20_000


def answered(conn: sqlite3.Connection, provider: str) -> list[tuple[str, str, str]]:
    """Names with where they are from and the day of the last answer, the newest first."""
    rows = conn.execute(
        "SELECT resolved_model, max(datetime_utc) AS seen FROM ("
        " SELECT resolved_model, datetime_utc, status FROM request_rows"
        " WHERE provider = ? ORDER BY datetime_utc DESC LIMIT ?)"
        " WHERE resolved_model IS NOT NULL AND status = 'completed'"
        " GROUP BY resolved_model ORDER BY seen DESC",
        (provider, LOOKED_AT),
    )
    return [(str(name), "the recorder", str(seen)[:10]) for name, seen in rows]
