"""The recorder for a command: looked at where there is one, never made by looking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from . import exits
from .output import say

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["recorder"]


@contextmanager
def recorder(
    *, make: bool = False, spare: bool = False, prunes: bool = True
) -> Iterator[sqlite3.Connection | None]:
    """The recorder's connection; None where it is off or nothing was recorded yet.

    One that is there and cannot be used ends the command: that there is nothing would be a lie.
    Once a day a little of what is too old goes afterwards.

    :param make: make the file where there is none: for what is to be kept.
    :param spare: the command has something to say without it; then None, and a line on stderr.
    :param prunes: False for a command that tells what would go.
    """
    from llm_gateway.run_files import remove_left

    remove_left()
    path, spilled = _file(), _spilled()
    if path is None and not spilled and not make:
        yield None
        return
    if path is not None and not spilled and (conn := _as_it_is(path)):
        try:
            yield conn
            _prune(conn if prunes else None)
        finally:
            conn.close()
        return
    from llm_gateway.store.recorder import open_recorder

    said: list[str] = []
    opened = open_recorder(said.append)
    try:
        if opened.connection is None and said and not spare:
            raise _unusable(said[-1])
        for line in said:
            say(line)
        yield opened.connection
        _prune(opened.connection if prunes else None)
    finally:
        opened.close()


def _prune(conn: sqlite3.Connection | None) -> None:
    import sqlite3

    from llm_gateway.store import prune

    with suppress(sqlite3.Error):
        if conn is not None and prune.is_due(conn):
            prune.a_little(conn)


def _unusable(told: str) -> exits.Failed:
    """Of what a prompt would be told, what concerns a command, which has nothing to spill."""
    why = (told.partition("recorder is off")[2].partition(": ")[2] or told).partition("; this run")
    return exits.Failed(f"The recorder cannot be used: {why[0]}; see: llm gateway doctor")


def _file() -> Path | None:
    """The file that was recorded into; None where there is none."""
    from llm_gateway import settings
    from llm_gateway.store.location import kind_of

    path = settings.logs_db()
    if path is None:
        return None
    with suppress(OSError):
        if kind_of(path) == "foreign":
            path = path.with_name("gateway.db")
        return None if kind_of(path) == "missing" else path
    return path


def _spilled() -> bool:
    """Whether earlier runs wait to be taken in."""
    from llm_gateway import settings

    with suppress(OSError):
        return settings.logs_db() is not None and any(os.scandir(settings.home() / "spill"))
    return False


def _as_it_is(path: Path) -> sqlite3.Connection | None:
    """The file where nothing has to be done to it first; this way is the cheap one."""
    import sqlite3

    from llm_gateway.store.connection import connect
    from llm_gateway.store.location import kind_of
    from llm_gateway.store.migrations import VERSION, version_of

    if kind_of(path) != "ours":
        return None
    try:
        conn = connect(path)
    except sqlite3.Error:
        return None
    try:
        if version_of(conn) == VERSION:
            return conn
    except sqlite3.Error:
        pass
    conn.close()
    return None
