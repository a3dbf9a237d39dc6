"""Takes operations to the database, or to the spill file where the database will not have them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from llm_gateway.store import idle
from llm_gateway.store.connection import BUSY_SECONDS, is_corrupt, write
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
        conn: sqlite3.Connection | None,
        spill: Spill | None,
        warn: Callable[[str], None],
        broken: bool = False,
        set_aside: Callable[[], bool] | None = None,
        at_first: Callable[[], None] | None = None,
    ) -> None:
        self.conn = conn
        self.broken = broken or conn is None
        self._spill = spill
        self._warn = warn
        self._set_aside = set_aside
        self._at_first = at_first

    @property
    def wanted(self) -> bool:
        """Whether there is any use in preparing an operation."""
        return not self.broken or self._spill is not None

    def do(self, operation: str, /, **arguments: Any) -> bool:
        """True where it is in the database; else it goes to the spill file, if that can be had."""
        return self.do_all([(operation, arguments)])

    def do_all(self, operations: Sequence[Operation]) -> bool:
        """Like ``do``, in one transaction."""
        if not self.broken and self.conn is not None:
            try:
                self._begin()
                with write(self.conn, PATIENCE, BUSY_SECONDS):
                    for name, arguments in operations:
                        OPERATIONS[name](self.conn, **arguments)
                return True
            except (sqlite3.Error, ArithmeticError) as error:
                self._fall_back(error)
        if self._spill is not None:
            for name, arguments in operations:
                self._spill.append(name, arguments)
        return False

    def offer(self, operation: str, /, **arguments: Any) -> bool:
        """Like ``do`` but hardly waits: False only where the lock is taken, so that it may wait."""
        if self.broken or self.conn is None:
            self.do(operation, **arguments)
            return True
        try:
            self._begin()
            with write(self.conn, _OFFER_SECONDS):
                OPERATIONS[operation](self.conn, **arguments)
        except sqlite3.Error as error:
            if _is_busy(error):
                return False
            self._fall_back(error)
            self.do(operation, **arguments)
        return True

    def within(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """What the work returns, done in one transaction; None where the database would not."""
        if self.broken or self.conn is None:
            return None
        try:
            self._begin()
            with write(self.conn, PATIENCE, BUSY_SECONDS):
                return work(self.conn)
        except (sqlite3.Error, ArithmeticError) as error:
            self._fall_back(error)
            return None

    def read(self, query: Callable[..., Any], *arguments: Any) -> Any:
        """What the query finds; None also where nothing can be read."""
        if self.conn is None:
            return None
        try:
            return query(self.conn, *arguments)
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
        if self.conn is not None and self.broken:
            idle.give_up(self.conn)
        elif self.conn is not None:
            idle.give_back(self.conn)
        self.conn, self.broken = None, True

    def _begin(self) -> None:
        if self._at_first is not None:
            first, self._at_first = self._at_first, None
            first()

    def _fall_back(self, error: Exception) -> None:
        self.broken = True
        if is_corrupt(error) and self._gone():
            return
        self._warn(
            f"the flight recorder could not write ({error}); "
            "this run goes to a spill file and is taken in later"
        )

    def _gone(self) -> bool:
        """Whether the corrupt file is out of the way, so that the next process begins a new one."""
        if self._set_aside is None or self.conn is None:
            return False
        idle.give_up(self.conn)
        self.conn = None
        try:
            return self._set_aside()
        except OSError:
            return False


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error) or "busy" in str(error)
