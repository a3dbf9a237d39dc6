"""Queries of the dashboard's lists, of search, approvals, compare and reliability.

As in ``queries``: values are bound, and no query goes through all requests.
"""

from __future__ import annotations

from collections.abc import Container

from .queries import LIST, PREVIEW

__all__: list[str] = []

_FAILED_STATES = ("failed", "timed_out", "orphaned")
_ROWS = f"SELECT {LIST}, {PREVIEW} FROM request_rows r"
ANY_REQUEST = "SELECT 1 FROM request_rows LIMIT 1"


def _of(keys: Container[str], plain: bool = True) -> str:
    """Conditions on provider and model; with a plus no index is chosen for them.

    A model says more than its provider does.
    """
    signs = {
        "provider": "" if plain and "model" not in keys else "+",
        "model": "" if plain else "+",
    }
    return "".join(f" AND {sign}r.{key} = :{key}" for key, sign in signs.items() if key in keys)


def longest(column: str, keys: Container[str], few: bool) -> str:
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


def failures(keys: Container[str], limit: int = 5) -> str:
    """The latest that failed, timed out or lost their process."""
    parts = [
        f"SELECT * FROM ({_ROWS} WHERE r.status = '{state}' AND r.datetime_utc >= :since"
        f" AND r.datetime_utc < :until{_of(keys, False)}"
        f" ORDER BY r.datetime_utc DESC LIMIT {limit})"
        for state in _FAILED_STATES
    ]
    return " UNION ALL ".join(parts) + f" ORDER BY datetime_utc DESC LIMIT {limit}"


# --- breakers ------------------------------------------------------------------------------------


def _provider(keys: Container[str]) -> str:
    return " AND provider = :provider" if "provider" in keys else ""


def breaker_changes(keys: Container[str]) -> str:
    """What changed in a span of time."""
    return (
        "SELECT datetime_utc, scope, provider, from_state, to_state, failures, last_error"
        " FROM breaker_changes WHERE datetime_utc >= :since AND datetime_utc < :until"
        f"{_provider(keys)} ORDER BY datetime_utc LIMIT 2000"
    )


def breakers_at(keys: Container[str]) -> str:
    """The state that each breaker was in before a span of time."""
    return (
        "SELECT scope, provider, to_state, max(datetime_utc) FROM breaker_changes"
        f" WHERE datetime_utc < :since{_provider(keys)} GROUP BY scope"
    )


def breakers(keys: Container[str]) -> str:
    """As they are now."""
    return (
        "SELECT scope, provider, state, failures, since, until, last_error FROM breakers"
        f" WHERE 1{_provider(keys)} ORDER BY provider, scope LIMIT 100"
    )


# --- search --------------------------------------------------------------------------------------

HAS_INDEX = "SELECT 1 FROM sqlite_master WHERE name = 'bodies_fts'"
PENDING = "SELECT count(*) AS n FROM (SELECT 1 FROM search_pending LIMIT 1001)"
HITS = "SELECT count(*) AS n FROM (SELECT 1 FROM bodies_fts WHERE bodies_fts MATCH :q LIMIT 1001)"
NTH_HIT = (
    "SELECT rowid AS seq FROM bodies_fts WHERE bodies_fts MATCH :q"
    " ORDER BY rowid DESC LIMIT 1 OFFSET :nth"
)
SNIPPETS = (
    "SELECT rowid AS seq, snippet(bodies_fts, -1, :open, :close, '…', 28) AS snippet"
    " FROM bodies_fts WHERE bodies_fts MATCH :q AND rowid IN (SELECT value FROM json_each(:seqs))"
)
SNIPPETS_NEAR = SNIPPETS.replace(
    "AND rowid IN", "AND rowid >= :first AND rowid <= :last AND +rowid IN"
)

# --- approvals -----------------------------------------------------------------------------------


def approvals(keys: Container[str], before: bool) -> str:
    """A page of decisions, newest first."""
    terms = ["a.datetime_utc <= :at" if before else "a.datetime_utc < :until"]
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


def phrases(keys: Container[str]) -> str:
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


def retried(keys: Container[str], limit: int) -> str:
    """The newest that took more than one start of the CLI."""
    return (
        f"{_ROWS} WHERE r.retry_count > 0 AND r.datetime_utc >= :since AND r.datetime_utc < :until"
        f"{_of(keys, False)} ORDER BY r.datetime_utc DESC LIMIT {limit}"
    )
