"""Takes operations to the database, or to the spill file where the database will not have them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from llm_gateway.store import idle
from llm_gateway.store.connection import BUSY_SECONDS, Connection, is_corrupt, write
from llm_gateway.store.operations import OPERATIONS
from llm_gateway.store.spill import Spill

__all__ = ["PATIENCE", "Operation", "Writer"]

Operation = tuple[str, dict[str, Any]]

# Seconds that an operation waits for a write lock under which nothing is written. They bound what
# one that is held for ever adds to a prompt: after the first that fails, all go to the spill file
# at once. Where others get on with writing, its turn comes.
PATIENCE = 3.0
_OFFER_SECONDS = 0.05


class Writer:
    """One connection and one spill file; says once that something is wrong.

    :param conn: None where there is no file to write.
    :param spill: None where nothing is to be kept at all.
    :param broken: the connection may be read from and not written to.
    :param set_aside: takes a corrupt file out of the way and says so; False where it did not.
    :param at_first: done before the first write; a recorder that only reads leaves no trace.
    """

    def __init__(
        self,
        conn: Connection | None,
        spill: Spill | None,
        warn: Callable[[str], None],
        broken: bool = False,
        set_aside: Callable[[], bool] | None = None,
        at_first: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self._conn = conn
        self._lent: idle.Lent | None = None
        self.broken = broken or conn is None
        self._spill = spill
        self._warn = warn
        self._set_aside = set_aside
        self._at_first = at_first

    @property
    def conn(self) -> Connection | None:
        """The connection, or another one to the same file where it was lent meanwhile.

        Good until ``rest`` is called.
        """
        if self._lent is not None:
            lent, self._lent = self._lent, None
            try:
                self._conn = idle.take_again(lent)
            except (sqlite3.Error, OSError) as error:
                idle.leave(lent)
                self._fall_back(error)
        return self._conn

    def rest(self) -> None:
        """Let other runs of the process have the connection until the next operation."""
        if self._conn is not None and not self.broken:
            self._lent = idle.lend(self._conn)
            if self._lent is not None:
                self._conn = None

    @property
    def wanted(self) -> bool:
        """Whether there is any use in preparing an operation."""
        return not self.broken or self._spill is not None

    def do(self, operation: str, /, **arguments: Any) -> bool:
        """True where it is in the database; else it goes to the spill file, if that can be had."""
        return self.do_all([(operation, arguments)])

    def do_all(self, operations: Sequence[Operation]) -> bool:
        """Like ``do``, in one transaction."""
        conn = self.conn
        if not self.broken and conn is not None:
            try:
                self._begin(conn)
                with write(conn, PATIENCE, BUSY_SECONDS):
                    for name, arguments in operations:
                        OPERATIONS[name](conn, **arguments)
                return True
            except (sqlite3.Error, ArithmeticError) as error:
                self._fall_back(error)
        if self._spill is not None:
            for name, arguments in operations:
                self._spill.append(name, arguments)
        return False

    def offer(self, operation: str, /, **arguments: Any) -> bool:
        """Like ``do`` but hardly waits: False only where the lock is taken, so that it may wait."""
        conn = self.conn
        if self.broken or conn is None:
            self.do(operation, **arguments)
            return True
        try:
            self._begin(conn)
            with write(conn, _OFFER_SECONDS):
                OPERATIONS[operation](conn, **arguments)
        except sqlite3.Error as error:
            if _is_busy(error):
                return False
            self._fall_back(error)
            self.do(operation, **arguments)
        return True

    def within(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """What the work returns, done in one transaction; None where the database would not."""
        conn = self.conn
        if self.broken or conn is None:
            return None
        try:
            self._begin(conn)
            with write(conn, PATIENCE, BUSY_SECONDS):
                return work(conn)
        except (sqlite3.Error, ArithmeticError) as error:
            self._fall_back(error)
            return None

    def read(self, query: Callable[..., Any], *arguments: Any) -> Any:
        """What the query finds; None also where nothing can be read."""
        conn = self.conn
        if conn is None:
            return None
        try:
            return query(conn, *arguments)
        except (sqlite3.Error, ValueError, TypeError):
            return None

    def failed(self, error: Exception) -> bool:
        """An error of our own making must not cost anybody the answer."""
        if not self.broken:
            self.broken = True
            self._warn(f"the flight recorder failed ({type(error).__name__}: {error})")
        return False

    def end_run(self) -> None:
        """What was spilled may now be taken in."""
        if self._spill is not None:
            self._spill.close()

    def close(self) -> None:
        """Let go of the files."""
        self.end_run()
        if self._lent is not None:
            idle.leave(self._lent)
        elif self._conn is not None and self.broken:
            idle.give_up(self._conn)
        elif self._conn is not None:
            idle.give_back(self._conn)
        self._conn, self._lent, self.broken = None, None, True

    def _begin(self, conn: sqlite3.Connection) -> None:
        if self._at_first is not None:
            first, self._at_first = self._at_first, None
            first(conn)

    def _fall_back(self, error: Exception) -> None:
        self.broken = True
        if is_corrupt(error) and self._gone():
            return
        fate = self._spill.fate if self._spill is not None else "it is not kept"
        self._warn(f"the flight recorder could not write ({error}); {fate}")

    def _gone(self) -> bool:
        """Whether the corrupt file is out of the way, so that the next process begins a new one."""
        if self._set_aside is None or self._conn is None:
            return False
        idle.give_up(self._conn)
        self._conn = None
        try:
            return self._set_aside()
        except OSError:
            return False


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error) or "busy" in str(error)
