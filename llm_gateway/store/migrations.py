"""Brings a file of ours to the schema that this code knows, once, however many start at once."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from llm_gateway.store.connection import write

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations

__all__ = ["VERSION", "migrate", "version_of"]

VERSION = 3  # the number of migrations below; kept in user_version so that looking costs nothing


def version_of(conn: sqlite3.Connection) -> int:
    """The file's schema version; 0 for an empty one."""
    return int(conn.execute("PRAGMA user_version").fetchone()[0])


def migrate(conn: sqlite3.Connection) -> None:
    """Apply what is pending inside one write lock; what another process applied meanwhile is not.

    sqlite-utils begins with a plain BEGIN, which fails under concurrent starts; inside our own
    BEGIN IMMEDIATE its transactions are savepoints.
    """
    if version_of(conn) >= VERSION:
        return
    from sqlite_utils import Database

    with write(conn):
        if version_of(conn) < VERSION:
            _migrations().apply(Database(conn, execute_plugins=False, recursive_triggers=False))
            conn.execute(f"PRAGMA user_version={VERSION}")


def _migrations() -> Migrations:
    from sqlite_utils import Migrations

    from llm_gateway.store import schema, second

    ours = Migrations("llm_gateway")

    @ours()
    def m001_first(db: Database) -> None:
        for statement in schema.FIRST:
            db.conn.execute(statement)

    @ours()
    def m002_rollups_and_search(db: Database) -> None:
        second.apply(db.conn)

    @ours()
    def m003_session_names(db: Database) -> None:
        for statement in schema.THIRD:
            db.conn.execute(statement)

    return ours
