"""Opens the recorder for a run, whatever state its file is in."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from llm_gateway import settings
from llm_gateway.store import connection, idle, location, prune, search, spill
from llm_gateway.store.migrations import VERSION, migrate, version_of
from llm_gateway.store.recording import Recorder
from llm_gateway.store.writer import Writer

__all__ = ["Recorder", "open_file", "open_recorder"]

Warn = Callable[[str], None]
_TAKE_IN_SECONDS = 0.5


def open_recorder(warn: Warn) -> Recorder:
    """A recorder that can be used whatever happened: it never raises, and says at most one line."""
    try:
        path = location.locate(warn)
    except location.Unusable as error:
        warn(f"the flight recorder is off: {error}")
        return _without_file(warn, _spill() if error.spills else None)
    except Exception as error:
        warn(f"the flight recorder is off: {error}")
        return _without_file(warn)
    if path is None:
        return _without_file(warn)
    try:
        return _opened(path, warn)
    except Exception as error:
        spilled = _spill()
        warn(f"the flight recorder is off ({path}: {error}); {spilled.fate}")
        return _without_file(warn, spilled)


def open_file(path: Path, warn: Warn) -> connection.Connection:
    """A connection to a file of ours, migrated; a corrupt one in our own directory is set aside."""
    for last in (False, True):
        seen = connection.identity(path)
        try:
            return _looked_at(path)
        except sqlite3.DatabaseError as error:
            if last or settings.logs_db_is_named() or not connection.is_corrupt(error):
                raise
            location.set_aside(path, seen, warn)
            path = location.locate(warn) or path
    raise AssertionError


def _looked_at(path: Path) -> connection.Connection:
    conn = idle.take(path)
    try:
        migrate(conn)
        conn.execute("SELECT value FROM meta LIMIT 1").fetchone()
    except BaseException:
        idle.give_up(conn)
        raise
    return conn


def _opened(path: Path, warn: Warn) -> Recorder:
    conn = open_file(path, warn)
    try:
        return _of(conn, path, warn)
    except BaseException:
        idle.give_up(conn)
        raise


def _of(conn: connection.Connection, path: Path, warn: Warn) -> Recorder:
    spilled = _spill()
    if version_of(conn) > VERSION:
        warn(f"{path} was written by a newer llm-gateway; this run goes to a spill file for it")
        return Recorder(Writer(conn, spilled, warn, broken=True))
    _take_in(conn, spilled)
    return Recorder(
        Writer(
            conn,
            spilled,
            warn,
            set_aside=_setting_aside(path, warn),
            at_first=lambda conn: connection.begin_log(conn, path),
        ),
        at_close=_tidying(prune.is_due(conn)),
        retention_days=settings.job_retention_days(),
    )


def _without_file(warn: Warn, spilled: spill.Spill | None = None) -> Recorder:
    return Recorder(Writer(None, spilled, warn))


def _spill() -> spill.Spill:
    """For the recorder that the settings name, whichever file that is in the end."""
    return spill.Spill(settings.home() / "spill", settings.logs_db() or Path())


def _take_in(conn: sqlite3.Connection, spilled: spill.Spill) -> None:
    """Earlier runs that could not be recorded; where that fails again, they stay where they are."""
    with suppress(Exception):
        spill.take_in(conn, spilled.directory, spilled.database, _TAKE_IN_SECONDS)


def _setting_aside(path: Path, warn: Warn) -> Callable[[], bool] | None:
    """What is done with a file that turns out to be corrupt; nothing with one that was named."""
    if settings.logs_db_is_named():
        return None
    return partial(location.set_aside, path, connection.identity(path), warn)


def _tidying(due: bool) -> Callable[[sqlite3.Connection], None]:
    """What is done after a run, in a few milliseconds where it was short; pruning is daily."""

    def tidy(conn: sqlite3.Connection) -> None:
        conn.execute(f"PRAGMA wal_autocheckpoint={connection.SHORT_LOG}")
        search.a_little(conn)
        if due:
            prune.a_little(conn)
        conn.execute(f"PRAGMA wal_autocheckpoint={connection.LONG_LOG}")

    return tidy
