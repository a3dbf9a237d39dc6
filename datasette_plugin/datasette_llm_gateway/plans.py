"""How a list of requests is looked up: by the index of the filter that fewest requests pass.

SQLite knows how many requests a value has on average, not how many this one has. To count some of
them in an index costs a millisecond, to guess wrong seconds. On which days two filters have
something in common is in the sums by day: where there is none, nothing is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .filters import COMMON_VALUES, Filters, match
from .page import Page
from .queries import LIST, PREVIEW

__all__ = ["HITS", "Plan", "counts", "plan_of", "sums_of"]

FEW = 3000  # so many are found by an index and put in order; of more, what two indexes both have
MANY = 20_000  # whoever has more is as common as any, and some are met soon
RARE = 1500  # so many are looked through for words
HITS = 5000  # of those who have the words, so many of the newest are looked at
COMMON = 40  # to look whether one has the words costs as much as to find so many that have them
HOW_COMMON_MS = 20  # what takes longer to count are not many, but words that are hard to find
LIVE = ("queued", "running")
BY_TIME = "request_rows r INDEXED BY request_rows_time"
_ROWIDS = "SELECT rowid FROM request_rows INDEXED BY"

# Filter, its index and what has to be said to use it. These come in the order of time,
_IN_ORDER = {
    "session": ("request_rows_session", "session_id = :session"),
    "category": ("request_rows_category", "error_category = :category"),
    "outcome": ("request_rows_outcome", "outcome <> 'ran' AND outcome = :outcome"),
    "access": ("request_rows_access", "access <> 'read' AND access = :access"),
    "model": ("request_rows_model", "model = :model"),
    "status": ("request_rows_status", "status = :status"),
    "provider": ("request_rows_provider", "provider = :provider"),
}
# and these do not.
_UNORDERED = {
    "job": f"{_ROWIDS} request_rows_job WHERE job_id = :job",
    "thread": f"{_ROWIDS} request_rows_thread WHERE thread_id = :thread",
    "cwd": f"{_ROWIDS} request_rows_cwd WHERE cwd = :cwd"
    f" UNION ALL {_ROWIDS} request_rows_cwd WHERE cwd >= :cwd_from AND cwd < :cwd_to",
    "min_cost": f"{_ROWIDS} request_rows_cost WHERE cost_usd >= :min_cost",
    "min_seconds": f"{_ROWIDS} request_rows_duration WHERE duration_ms >= :min_ms",
}
# To look whether one has them begins with the first of all that do, which may be far away.
_HAS = "EXISTS (SELECT 1 FROM bodies_fts WHERE bodies_fts MATCH :q AND rowid = b.seq)"
_AMONG = "+b.seq IN (SELECT rowid FROM bodies_fts WHERE bodies_fts MATCH :q)"
HOW_COMMON = (
    "SELECT count(*) AS n FROM (SELECT 1 FROM bodies_fts WHERE bodies_fts MATCH :q LIMIT :enough)"
)
_IN_TIME = "datetime_utc >= :since AND datetime_utc < :until"


@dataclass
class Plan:
    """Which rows, what that is bound to, and where they are looked for.

    :param rowids: a query of the few that come into question. :param words: whether ``q`` is bound;
        ``common`` whether many have them.
    """

    where: str
    parameters: dict[str, Any]
    source: str = BY_TIME
    rowids: str = ""
    words: bool = False
    common: bool = False
    empty: bool = False

    def page(self, before: bool = False, after: bool = False) -> str:
        """A page of requests, newest first; ``after`` gives the page before it, oldest first."""
        if self.words:
            at = "(SELECT seq FROM bodies WHERE id = :id)"
            return self.found(f"< {at}" if before else f"> {at}" if after else "", after)
        order = "ASC" if after else "DESC"
        key = f" AND (r.datetime_utc, r.id) {'<' if before else '>'} (:at, :id)"
        return (
            f"SELECT {LIST}, {PREVIEW} FROM {self._rows()} WHERE {self._where()}"
            f"{key if before or after else ''}"
            f" ORDER BY r.datetime_utc {order}, r.id {order} LIMIT :limit"
        )

    def found(self, key: str = "", after: bool = False, best: bool = False, most: int = 0) -> str:
        """Requests that have the words, in the order of their writing, or the best first.

        :param key: a condition on ``seq``, that order. What has the words comes in order, and what
            is joined to it keeps that; to say so would make SQLite look at all before the first.
        """
        order = "ASC" if after else "DESC"
        if self.rowids and not best:
            return (
                f"SELECT b.seq, {LIST}, {PREVIEW} FROM {self._rows()} CROSS JOIN bodies b"
                f" ON b.id = r.id WHERE {self._where()}{f' AND b.seq {key}' if key else ''}"
                f" AND {_HAS if self.common else _AMONG} ORDER BY b.seq {order} LIMIT :limit"
            )
        return (
            f"SELECT h.seq, {LIST}, {PREVIEW} FROM (SELECT rowid AS seq FROM bodies_fts"
            f" WHERE bodies_fts MATCH :q{f' AND rowid {key}' if key else ''}"
            f" ORDER BY {'rank' if best else f'rowid {order}'} LIMIT {most or HITS}) h"
            " CROSS JOIN bodies b ON b.seq = h.seq CROSS JOIN request_rows r ON r.id = b.id"
            f" WHERE {self.where} LIMIT :limit{' OFFSET :skip' if best else ''}"
        )

    def _rows(self) -> str:
        return "request_rows r NOT INDEXED" if self.rowids else self.source

    def _where(self) -> str:
        return f"r.rowid IN ({self.rowids}) AND {self.where}" if self.rowids else self.where


async def plan_of(
    page: Page, filters: Filters, before: str = "", after: str = "", asked: str = ""
) -> Plan:
    """The plan of a list that begins before or after a time, or at its end.

    :param asked: the words as FTS5 takes them, where that is not simply ``q`` of the filters.
    """
    where, parameters = filters.where()
    asked = asked or (match(filters.said["q"]) if "q" in filters.said else "")
    plan = Plan(where, parameters, words=bool(asked))
    said = {name for name, value in filters.said.items() if COMMON_VALUES.get(name) != value}
    if asked:
        parameters["q"] = asked
    elif before:
        parameters["until"] = min(parameters["until"], before + "~")
    elif after:
        parameters["since"] = max(parameters["since"], after)
    await _keep_to_days(page, plan, said)
    if not plan.empty:
        await _look_by_the_rarest(page, plan, said)
    return plan


# --- days ----------------------------------------------------------------------------------------


def sums_of(said: set[str], parameters: dict[str, Any]) -> str:
    """The days on which there may be what passes the filters; empty where the sums cannot tell."""
    terms = [
        f"{key} = :{key}" for key in ("provider", "model", "status", "category") if key in said
    ]
    outcome = parameters.get("outcome")
    if outcome in ("joined", "collected", "reused", "denied"):
        terms.append(f"{outcome} > 0")
    if "min_cost" in said and outcome != "denied":
        terms.append("cost_usd + saved_usd > 0")
    if len(terms) < 2 or parameters.get("status") in LIVE:
        return ""
    return (
        "SELECT min(day) AS first, max(day) AS last FROM daily"
        f" WHERE day >= substr(:since, 1, 10) AND day <= substr(:until, 1, 10)"
        f" AND {' AND '.join(terms)}"
    )


# The sums have what has ended; what has not is little.
_LIVE = " UNION ALL ".join(
    f"SELECT {which}(datetime_utc) AS at FROM request_rows WHERE status = '{status}'"
    for status in LIVE
    for which in ("min", "max")
)
_LIVE = f"SELECT min(at) AS first, max(at) AS last FROM ({_LIVE})"


async def _keep_to_days(page: Page, plan: Plan, said: set[str]) -> None:
    sql = sums_of(said, plan.parameters)
    if not sql:
        return
    ended = await page.row(sql, plan.parameters)
    live = None if "status" in said else await page.row(_LIVE)
    found = [row for row in (ended, live) if row is not None and row["first"] is not None]
    plan.empty = not found
    if found:
        since, until = min(row["first"] for row in found), max(row["last"] for row in found) + "~"
        plan.parameters["since"] = max(plan.parameters["since"], since)
        plan.parameters["until"] = min(plan.parameters["until"], until)


# --- indexes -------------------------------------------------------------------------------------


def counts(said: set[str]) -> str:
    """How many requests each filter lets pass, as far as that matters; empty where one is best."""
    ordered = [name for name in _IN_ORDER if name in said]
    unordered = [name for name in _UNORDERED if name in said]
    if not unordered and len(ordered) < 2 and "q" not in said:
        return ""
    parts = []
    for name in ordered:
        index, condition = _IN_ORDER[name]
        rows = f"SELECT 1 FROM request_rows INDEXED BY {index} WHERE {condition} AND {_IN_TIME}"
        parts.append(f"(SELECT count(*) FROM ({rows} LIMIT {MANY})) AS {name}")
    for name in unordered:
        parts.append(f"(SELECT count(*) FROM ({_UNORDERED[name]} LIMIT {MANY})) AS {name}")
    return f"SELECT {', '.join(parts)}" if parts else ""


async def _look_by_the_rarest(page: Page, plan: Plan, said: set[str]) -> None:
    found: dict[str, int] = {name: 0 for name in _IN_ORDER if name in said}
    sql = counts(said)
    if sql:
        found = dict(await page.row(sql, plan.parameters))
    rarest, *others = [*sorted(found, key=lambda name: found[name]), ""]
    if not rarest:
        return
    if plan.words:
        if found[rarest] < RARE and not _is_beginning(plan):
            plan.rowids = _rowids(rarest)
            asked = {"q": plan.parameters["q"], "enough": COMMON * found[rarest]}
            told = await page.panel(HOW_COMMON, asked, HOW_COMMON_MS)
            plan.common = bool(told and told[0]["n"] == asked["enough"])
    elif found[rarest] >= FEW and found.get(others[0], MANY) < MANY:
        plan.rowids = f"{_rowids(rarest)}) AND +r.rowid IN ({_rowids(others[0])}"
    elif rarest in _UNORDERED and found[rarest] < FEW:
        plan.rowids = _rowids(rarest)
    elif ordered := [name for name in (rarest, *others) if name in _IN_ORDER]:
        plan.source = f"request_rows r INDEXED BY {_IN_ORDER[ordered[0]][0]}"


def _is_beginning(plan: Plan) -> bool:
    """Each look for a beginning of words costs as much as to find all that begin so."""
    return "*" in str(plan.parameters["q"])


def _rowids(name: str) -> str:
    if name in _UNORDERED:
        return _UNORDERED[name]
    index, condition = _IN_ORDER[name]
    return f"{_ROWIDS} {index} WHERE {condition} AND {_IN_TIME}"
