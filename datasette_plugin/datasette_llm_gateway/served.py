"""The recorder as a database of Datasette: another file under its name, and no long counts."""

from __future__ import annotations

from datasette.database import QueryInterrupted
from datasette.utils.sqlite import sqlite3

from . import compat
from .reopening import Reopening

__all__ = ["Served"]

COUNTED = 10_000  # as 1.0 does


class Served(Reopening):
    """Counts a few thousand rows of each table for the page that lists them.

    SQLite counts a whole table in one step, which no time limit ends; and 1.0, which counts to a
    number, reads every column of what it counts.
    """

    async def table_counts(self, limit: int = 10) -> dict[str, int | None]:
        """Rows of each table; beyond what is counted, what this Datasette shows as many."""
        return {name: await self._count(name, limit) for name in await self.table_names()}

    async def _count(self, table: str, limit: int) -> int | None:
        sql = f"SELECT count(*) FROM (SELECT 1 FROM [{table}] LIMIT {COUNTED + 1})"
        try:
            count = int((await self.execute(sql, custom_time_limit=limit)).rows[0][0])
        except (QueryInterrupted, sqlite3.Error):
            return None
        return count if count <= COUNTED or compat.COUNTS_TO_A_NUMBER else None
