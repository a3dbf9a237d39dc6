"""Full-text search over what was asked and answered.

The index takes its text from ``bodies`` instead of keeping a copy, so a row must be taken out of it
before it is changed or deleted (``forget``). A finished request waits in ``search_pending``, where
a trigger puts it, until the end of a run indexes it (``take_in``): no answer waits for that, a
SQLite without FTS5 writes the recorder all the same, and an old file is indexed little by little.

unicode61 without stemming: half of the words are code, ``_`` and ``.`` divide them, so a part of a
name finds it and the whole name is a phrase. Diacritics do not count. A trigram index would find
any part of a word, also in scripts without spaces, and be three times as large. Of each text the
first million characters are indexed, so that no answer holds the write lock for seconds.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from itertools import chain, repeat

from llm_gateway.store.connection import write

__all__ = ["STATEMENTS", "a_little", "begin", "fill", "forget", "merge", "pending", "take_in"]

_COLUMNS = "prompt, system, response, stderr"
_INDEX = (
    f"CREATE VIRTUAL TABLE IF NOT EXISTS bodies_fts USING fts5({_COLUMNS},"
    " content='bodies', content_rowid='seq', tokenize='unicode61 remove_diacritics 2')"
)
_ENDED = "status NOT IN ('queued', 'running') AND keep_bodies"
_MOST_CHARS = 1_000_000
_TEXTS = ", ".join(f"substr({name}, 1, {_MOST_CHARS})" for name in _COLUMNS.split(", "))
_BATCH_CHARS = 500_000
_MERGE_PAGES = 500

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE search_pending (\n    seq INTEGER PRIMARY KEY\n)",
    "CREATE TRIGGER request_rows_searchable AFTER UPDATE OF status ON request_rows"
    f" WHEN OLD.status IN ('queued', 'running') AND NEW.{_ENDED.replace('AND ', 'AND NEW.')}"
    " BEGIN INSERT OR IGNORE INTO search_pending (seq)"
    " SELECT seq FROM bodies WHERE id = NEW.id; END",
    "CREATE TRIGGER bodies_gone AFTER DELETE ON bodies"
    " BEGIN DELETE FROM search_pending WHERE seq = OLD.seq; END",
)


def begin(conn: sqlite3.Connection) -> bool:
    """Make the index where it is missing; False where this SQLite has no FTS5."""
    try:
        conn.execute(_INDEX)
        conn.execute("SELECT 1 FROM bodies_fts LIMIT 0")
    except sqlite3.OperationalError as error:
        if "no such module" not in str(error):
            raise
        return False
    return True


def fill(conn: sqlite3.Connection) -> None:
    """Let every finished request of a file that has no index wait for it."""
    conn.execute(
        "INSERT OR IGNORE INTO search_pending (seq) SELECT b.seq FROM request_rows"
        f" JOIN bodies b ON b.id = request_rows.id WHERE {_ENDED}"
    )


def pending(conn: sqlite3.Connection) -> int:
    """How many finished requests the index does not have yet."""
    return int(conn.execute("SELECT count(*) FROM search_pending").fetchone()[0])


def forget(conn: sqlite3.Connection, body_id: str, again: bool = True) -> None:
    """Take a row of ``bodies`` out of the index, before it changes.

    :param again: whether it is to be indexed again, as it is then.
    """
    try:
        seq = conn.execute(
            "SELECT seq FROM bodies JOIN bodies_fts_docsize d ON d.id = seq WHERE bodies.id = ?",
            (body_id,),
        ).fetchone()
        if seq is None:
            return
        conn.execute(
            f"INSERT INTO bodies_fts (bodies_fts, rowid, {_COLUMNS})"
            f" SELECT 'delete', seq, {_TEXTS} FROM bodies WHERE seq = ?",
            seq,
        )
    except sqlite3.OperationalError as error:
        # No index, or one that this SQLite cannot write: a search then finds what is no longer
        # there, which is left out where the rows are read.
        if "no such" not in str(error):
            raise
        return
    if again:
        conn.execute("INSERT OR IGNORE INTO search_pending (seq) VALUES (?)", seq)


def a_little(conn: sqlite3.Connection) -> None:
    """Index what has just ended, and a few of those that wait; where nobody else is writing."""
    with suppress(sqlite3.Error):
        take_in(conn, budget=0.003, patience=0.01)


def take_in(
    conn: sqlite3.Connection, budget: float | None = None, patience: float = 30.0
) -> int | None:
    """Index what waits, newest first, until the budget is spent; None where it cannot be done."""
    until = float("inf") if budget is None else time.monotonic() + budget
    taken = 0
    while conn.execute("SELECT 1 FROM search_pending LIMIT 1").fetchone():
        with write(conn, patience):
            if not begin(conn):
                return None
            taken += _batch(conn, 200 if budget is None else 5)
        if time.monotonic() >= until:
            break
    return taken


def merge(conn: sqlite3.Connection) -> None:
    """Rewrite the index, a little at a time: it has only marked what was taken out of it."""
    if not begin(conn):
        return
    for pages in chain([-_MERGE_PAGES], repeat(_MERGE_PAGES)):
        before = conn.total_changes
        with write(conn):
            conn.execute("INSERT INTO bodies_fts (bodies_fts, rank) VALUES ('merge', ?)", (pages,))
        if conn.total_changes - before < 2:  # FTS5's way to say that nothing was left to do
            return


def _batch(conn: sqlite3.Connection, most: int) -> int:
    seqs, chars = [], 0
    rows = conn.execute(
        "SELECT p.seq, coalesce(length(prompt), 0) + coalesce(length(response), 0)"
        " FROM search_pending p LEFT JOIN bodies b USING (seq) ORDER BY p.seq DESC LIMIT ?",
        (most,),
    )
    for seq, length in rows:
        seqs.append((seq,))
        chars += length
        if chars >= _BATCH_CHARS:
            break
    rows.close()
    conn.executemany(
        f"INSERT INTO bodies_fts (rowid, {_COLUMNS})"
        f" SELECT seq, {_TEXTS} FROM bodies WHERE seq = ?",
        seqs,
    )
    conn.executemany("DELETE FROM search_pending WHERE seq = ?", seqs)
    return len(seqs)
