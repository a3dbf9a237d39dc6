"""Queries of the dashboard's lists, of search, approvals, compare and reliability.

As in ``queries``: values are bound, and no query goes through all requests.
"""

from __future__ import annotations

from collections.abc import Iterable

from .queries import LIST, PREVIEW

__all__: list[str] = []

_FAILED_STATES = ("failed", "timed_out", "orphaned")
_ROWS = f"SELECT {LIST}, {PREVIEW} FROM request_rows r"
ANY_REQUEST = "SELECT 1 FROM request_rows LIMIT 1"


def _of(keys: Iterable[str], plain: bool = True) -> str:
    """Conditions on provider and model; with a plus no index is chosen for them."""
    sign = "" if plain else "+"
    return "".join(f" AND {sign}r.{key} = :{key}" for key in ("provider", "model") if key in keys)


def longest(column: str, keys: Iterable[str], few: bool) -> str:
    """Those with the most of a column: by its own index, or of few all."""
    assert column in ("duration_ms", "cost_usd")
    if few:
        return (
            f"{_ROWS} WHERE r.datetime_utc >= :since AND r.datetime_utc < :until{_of(keys)}"
            f" AND +r.{column} > 0 ORDER BY +r.{column} DESC LIMIT 5"
        )
    return (
        f"{_ROWS} WHERE +r.datetime_utc >= :since AND +r.datetime_utc < :until{_of(keys, False)}"
        f" AND r.{column} > 0 AND r.{column} IS NOT NULL ORDER BY r.{column} DESC LIMIT 5"
    )


def failures(keys: Iterable[str], limit: int = 5) -> str:
    """The latest that failed, timed out or lost their process."""
    parts = [
        f"SELECT * FROM ({_ROWS} WHERE r.status = '{state}' AND r.datetime_utc >= :since"
        f" AND r.datetime_utc < :until{_of(keys, False)}"
        f" ORDER BY r.datetime_utc DESC LIMIT {limit})"
        for state in _FAILED_STATES
    ]
    return " UNION ALL ".join(parts) + f" ORDER BY datetime_utc DESC LIMIT {limit}"


# --- breakers ------------------------------------------------------------------------------------


def _provider(keys: Iterable[str]) -> str:
    return " AND provider = :provider" if "provider" in keys else ""


def breaker_changes(keys: Iterable[str]) -> str:
    """What changed in a span of time."""
    return (
        "SELECT datetime_utc, scope, provider, from_state, to_state, failures, last_error"
        " FROM breaker_changes WHERE datetime_utc >= :since AND datetime_utc < :until"
        f"{_provider(keys)} ORDER BY datetime_utc LIMIT 2000"
    )


def breakers_at(keys: Iterable[str]) -> str:
    """The state that each breaker was in before a span of time."""
    return (
        "SELECT scope, provider, to_state, max(datetime_utc) FROM breaker_changes"
        f" WHERE datetime_utc < :since{_provider(keys)} GROUP BY scope"
    )


def breakers(keys: Iterable[str]) -> str:
    """As they are now."""
    return (
        "SELECT scope, provider, state, failures, since, until, last_error FROM breakers"
        f" WHERE 1{_provider(keys)} ORDER BY provider, scope LIMIT 100"
    )


# --- search --------------------------------------------------------------------------------------

MOST_HITS = 5000
HAS_INDEX = "SELECT 1 FROM sqlite_master WHERE name = 'bodies_fts'"
PENDING = "SELECT count(*) AS n FROM (SELECT 1 FROM search_pending LIMIT 1001)"
HITS = "SELECT count(*) AS n FROM (SELECT 1 FROM bodies_fts WHERE bodies_fts MATCH :q LIMIT 1001)"
SNIPPETS = (
    "SELECT rowid AS seq, snippet(bodies_fts, -1, :open, :close, '…', 28) AS snippet"
    " FROM bodies_fts WHERE bodies_fts MATCH :q AND rowid IN (SELECT value FROM json_each(:seqs))"
)


def found(where: str, best: bool, before: bool, most: int = MOST_HITS) -> str:
    """Requests that have the words: the newest hits, or the best of them."""
    key = " AND rowid < :before" if before and not best else ""
    order = "rank" if best else "rowid DESC"
    return (
        f"SELECT h.seq, h.n, {LIST}, {PREVIEW} FROM (SELECT rowid AS seq, row_number() OVER () AS n"
        " FROM (SELECT rowid FROM bodies_fts"
        f" WHERE bodies_fts MATCH :q{key} ORDER BY {order} LIMIT {most})) h"
        " JOIN bodies b ON b.seq = h.seq JOIN request_rows r ON r.id = b.id"
        f" WHERE {where} ORDER BY h.n LIMIT :limit OFFSET :skip"
    )


# --- approvals -----------------------------------------------------------------------------------


def approvals(keys: Iterable[str], before: bool) -> str:
    """A page of decisions, newest first."""
    terms = ["a.datetime_utc < :until"]
    terms += [f"a.{key} = :{key}" for key in ("decision", "provider", "policy") if key in keys]
    if before:
        terms.append("(a.datetime_utc, a.id) < (:at, :id)")
    return (
        "SELECT a.id, a.request_id, a.datetime_utc, a.provider, a.operation, a.access, a.policy,"
        " a.decision, a.score, a.threshold, a.rules_json,"
        " coalesce(a.prompt_preview, r.prompt_preview) AS prompt, r.status AS status"
        " FROM approvals a LEFT JOIN request_rows r ON r.id = a.request_id"
        f" WHERE {' AND '.join(terms)} ORDER BY a.datetime_utc DESC, a.id DESC LIMIT :limit"
    )


DECISIONS = (
    "SELECT decision, count(*) AS n FROM approvals WHERE decision > '' GROUP BY decision LIMIT 20"
)

# --- compare -------------------------------------------------------------------------------------

COMPARED = (
    "SELECT r.*, substr(b.prompt, 1, 20000) AS prompt, substr(b.response, 1, 200000) AS response,"
    " length(b.response) AS whole_chars FROM request_rows r LEFT JOIN bodies b ON b.id = r.id"
    " WHERE r.id = :id"
)
SAME_PROMPT = (
    f"{_ROWS} WHERE r.prompt_hash = :hash AND r.prompt_hash IS NOT NULL"
    " ORDER BY r.datetime_utc DESC LIMIT 60"
)
ASKED_TWICE = (
    "SELECT prompt_hash, count(*) AS asks, count(DISTINCT model) AS models,"
    " count(DISTINCT provider) AS providers, group_concat(DISTINCT provider) AS of,"
    " max(datetime_utc) AS last, max(prompt_preview) AS prompt, max(id) AS id FROM ("
    "SELECT id, prompt_hash, provider, model, datetime_utc, prompt_preview FROM request_rows"
    " WHERE datetime_utc >= :since AND prompt_hash IS NOT NULL AND +status = 'completed'"
    " ORDER BY datetime_utc DESC LIMIT 4000) GROUP BY prompt_hash HAVING asks > 1"
    " ORDER BY models > 1 DESC, last DESC LIMIT 40"
)

# --- reliability ---------------------------------------------------------------------------------

NEWEST_FAILURES = 2000


def phrases(keys: Iterable[str]) -> str:
    """What the newest failures said, to be put together by category and words."""
    parts = [
        "SELECT * FROM (SELECT r.id, r.datetime_utc, r.provider, r.model, r.status,"
        " coalesce(r.error_category, r.status) AS category,"
        " substr(r.error_message, 1, 400) AS message FROM request_rows r"
        f" WHERE r.status = '{state}' AND r.datetime_utc >= :since AND r.datetime_utc < :until"
        f"{_of(keys, False)} ORDER BY r.datetime_utc DESC LIMIT {NEWEST_FAILURES})"
        for state in _FAILED_STATES
    ]
    return " UNION ALL ".join(parts) + f" ORDER BY datetime_utc DESC LIMIT {NEWEST_FAILURES}"


def retried(keys: Iterable[str], limit: int) -> str:
    """The newest that took more than one start of the CLI."""
    return (
        f"{_ROWS} WHERE r.retry_count > 0 AND r.datetime_utc >= :since AND r.datetime_utc < :until"
        f"{_of(keys, False)} ORDER BY r.datetime_utc DESC LIMIT {limit}"
    )
