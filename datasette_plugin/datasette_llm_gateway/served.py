"""The recorder as a database of Datasette: another file under its name, and no long counts."""

from __future__ import annotations

from datasette.database import QueryInterrupted
from datasette.utils.sqlite import sqlite3

from . import compat
from .reopening import Reopening

__all__ = ["Served"]

COUNTED = 10_000  # as 1.0 does


class Served(Reopening):
    """SQLite counts a table in one step, which no time limit ends; so 0.65 counts to a number."""

    async def table_counts(self, limit: int = 10) -> dict[str, int | None]:
        """Rows of each table; None, which is shown as many, beyond what is counted."""
        if compat.COUNTS_FEW:
            counts: dict[str, int | None] = await super().table_counts(limit)
            return counts
        return {name: await self._count(name, limit) for name in await self.table_names()}

    async def _count(self, table: str, limit: int) -> int | None:
        sql = f"SELECT count(*) FROM (SELECT 1 FROM [{table}] LIMIT {COUNTED + 1})"
        try:
            count = int((await self.execute(sql, custom_time_limit=limit)).rows[0][0])
        except (QueryInterrupted, sqlite3.Error):
            return None
        return count if count <= COUNTED else None
