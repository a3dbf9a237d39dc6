"""Every query of the screens. Values are always bound; what is put together here are columns."""

from __future__ import annotations

__all__: list[str] = []

# --- lists of requests -------------------------------------------------------------------------

LIST_COLUMNS = (
    "id", "datetime_utc", "provider", "model", "status", "outcome", "error_category", "access",
    "session_id", "job_id", "cwd", "duration_ms", "input_tokens", "output_tokens", "cost_usd",
    "cost_basis", "retry_count", "refused_actions", "approval_decision",
)  # fmt: skip
LIST = ", ".join(f"r.{name}" for name in LIST_COLUMNS)
PREVIEW = "r.prompt_preview AS prompt"


def distinct(column: str) -> str:
    """The values of an indexed column of request_rows, by jumps in its index."""
    assert column in ("provider", "model", "status")
    return (
        f"WITH RECURSIVE found(value) AS (SELECT min({column}) FROM request_rows"
        f" UNION ALL SELECT (SELECT min({column}) FROM request_rows WHERE {column} > found.value)"
        " FROM found WHERE found.value IS NOT NULL LIMIT 200)"
        " SELECT value FROM found WHERE value IS NOT NULL"
    )


# --- one request ---------------------------------------------------------------------------------

REQUEST = "SELECT * FROM request_rows WHERE id = :id"
REQUEST_BY_PREFIX = "SELECT id FROM request_rows WHERE id >= :id AND id < :id || '{' LIMIT 2"
REQUEST_BY_TURN = "SELECT id FROM request_rows WHERE turn_id = :id LIMIT 1"
WHOLE_BODY = "SELECT prompt, system, response, stderr FROM bodies WHERE id = :id"
BODY = (
    "SELECT substr(prompt, 1, 40000) AS prompt, length(prompt) AS prompt_chars,"
    " substr(system, 1, 20000) AS system, substr(response, 1, 200000) AS response,"
    " length(response) AS response_chars, substr(messages, 1, 400000) AS messages,"
    " substr(stderr, -20000) AS stderr, length(stderr) AS stderr_chars,"
    " substr(prompt_asked, 1, 40000) AS prompt_asked, attachments, schema"
    " FROM bodies WHERE id = :id"
)
LLM_ROWS = (
    ("turns", "SELECT 1 FROM turns WHERE id = :id"),
    ("responses", "SELECT 1 FROM responses WHERE id = :id"),
)
JOB = "SELECT * FROM job_rows WHERE id = :id"
ATTEMPTS = "SELECT * FROM attempts WHERE job_id = :job ORDER BY n LIMIT 50"
APPROVALS_OF = "SELECT * FROM approvals WHERE request_id = :id ORDER BY datetime_utc LIMIT 20"
SHARING = (
    f"SELECT {LIST}, {PREVIEW} FROM request_rows r WHERE r.job_id = :job AND r.id <> :id"
    " ORDER BY r.datetime_utc LIMIT 20"
)
PREVIOUS = (
    f"SELECT {LIST}, {PREVIEW} FROM request_rows r WHERE r.session_id = :session"
    " AND (r.datetime_utc, r.id) < (:at, :id) ORDER BY r.datetime_utc DESC, r.id DESC LIMIT 1"
)
NEXT = (
    f"SELECT {LIST}, {PREVIEW} FROM request_rows r WHERE r.session_id = :session"
    " AND (r.datetime_utc, r.id) > (:at, :id) ORDER BY r.datetime_utc, r.id LIMIT 1"
)
SAME_PROMPT = (
    "SELECT count(*) FROM (SELECT 1 FROM request_rows"
    " WHERE prompt_hash = :hash AND id <> :id LIMIT 100)"
)
SESSION_SIZE = "SELECT count(*) FROM request_rows WHERE session_id = :session"

# A tool's output may be long, and what is cut is no JSON any more: SQLite takes out the parts.
_PART = "CASE WHEN json_valid(data) THEN {} END AS {}"
_PARTS = ", ".join(
    _PART.format(expression, name)
    for expression, name in (
        ("json_extract(data, '$.id')", "tool_id"),
        ("json_extract(data, '$.name')", "name"),
        ("substr(json_extract(data, '$.arguments'), 1, 20000)", "arguments"),
        ("substr(json_extract(data, '$.output'), 1, 20000)", "output"),
        ("length(json_extract(data, '$.output'))", "output_chars"),
        ("json_extract(data, '$.is_error')", "is_error"),
        ("json_extract(data, '$.refused')", "refused"),
        ("substr(json_extract(data, '$.text'), 1, 20000)", "text"),
        ("json_extract(data, '$.message')", "message"),
        ("json_extract(data, '$.notice')", "notice"),
        ("json_extract(data, '$.seconds')", "seconds"),
        ("json_extract(data, '$.chars')", "chars"),
    )
)
STEPS = (
    f"SELECT seq, attempt, t, kind, length(data) AS size, {_PARTS} FROM events"
    " WHERE job_id = :job AND kind IN ('tool_call', 'tool_result', 'notice', 'reasoning')"
    " ORDER BY seq LIMIT :limit"
)
# The ends of each attempt, which lie at the ends of its events: an answer may come in many pieces.
_TEXT = (
    "(SELECT t FROM events WHERE job_id = :job AND kind = 'text' AND attempt = a.n"
    " ORDER BY seq {} LIMIT 1)"
)
FIRST_TEXT = (
    f"SELECT * FROM (SELECT a.n AS attempt, {_TEXT.format('ASC')} AS first,"
    f" {_TEXT.format('DESC')} AS last FROM attempts a WHERE a.job_id = :job LIMIT 50)"
    " WHERE first IS NOT NULL"
)
EVENTS = (
    "SELECT seq, attempt, t, kind, length(data) AS size, substr(data, 1, 4000) AS data FROM events"
    " WHERE job_id = :job AND seq > :after ORDER BY seq LIMIT :limit"
)
EVENTS_BEFORE = (
    "SELECT min(seq) - 1 FROM (SELECT seq FROM events WHERE job_id = :job AND seq <= :after"
    " ORDER BY seq DESC LIMIT :limit)"
)
LAST_EVENT = "SELECT max(seq) FROM events WHERE job_id = :job"

# --- jobs ----------------------------------------------------------------------------------------

_JOB_LIST = (
    "SELECT j.id, j.request_id, j.kind, j.provider, j.model, j.status, j.access, j.cwd,"
    " j.session_id, j.attempts, j.exit_code, j.error_category, j.queued_at, j.started_at,"
    " j.finished_at, j.delivered_at, j.cancel_requested_at, j.pid, j.owner_host, j.heartbeat_at,"
    " j.lease_until, j.parent_job_id,"
    " (SELECT r.prompt_preview FROM request_rows r WHERE r.id = j.request_id) AS prompt"
    " FROM job_rows j"
)
LIVE_JOBS = (
    f"{_JOB_LIST} WHERE j.status IN ('queued', 'running')"
    " ORDER BY j.status DESC, j.started_at LIMIT 200"
)
JOB_TAIL = (
    "SELECT seq, attempt, t, kind, substr(data, 1, 2000) AS data FROM events"
    " WHERE job_id = :job ORDER BY seq DESC LIMIT 12"
)
SAID = (  # the newest first; a text may come in pieces of a few letters
    "SELECT attempt, CASE WHEN json_valid(data) THEN substr(json_extract(data, '$.text'), 1, 20000)"
    " END AS text FROM events WHERE job_id = :job AND kind = 'text' ORDER BY seq DESC LIMIT 500"
)
REQUEST_OF_JOB = "SELECT id FROM request_rows WHERE job_id = :job ORDER BY datetime_utc LIMIT 1"


def ended_jobs(status: str | None, provider: str | None, before: bool) -> str:
    """A page of jobs that are over, last started first."""
    terms = ["j.started_at <= :at" if before else "j.started_at < :until"]
    terms.append("j.status = :status" if status else "j.status NOT IN ('queued', 'running')")
    if provider:
        terms.append("j.provider = :provider")
    if before:  # no index has both columns, so the first is bounded alone as well
        terms.append("(j.started_at, j.id) < (:at, :id)")
    where = " AND ".join(terms)
    return f"{_JOB_LIST} WHERE {where} ORDER BY j.started_at DESC, j.id DESC LIMIT :limit"


CANCEL = (
    "UPDATE job_rows SET cancel_requested_at = :at WHERE id = :id"
    " AND status IN ('queued', 'running') AND cancel_requested_at IS NULL"
)

# --- sessions ------------------------------------------------------------------------------------

# The key begins with the provider, of which there are few.
SESSION = (
    "WITH RECURSIVE found(value) AS (SELECT min(provider) FROM sessions"
    " UNION ALL SELECT (SELECT min(provider) FROM sessions WHERE provider > found.value)"
    " FROM found WHERE found.value IS NOT NULL LIMIT 200)"
    " SELECT s.* FROM found CROSS JOIN sessions s ON s.provider = found.value"
    " AND s.session_id = :session WHERE :provider = '' OR s.provider = :provider"
    " ORDER BY s.last_used_at DESC LIMIT 2"
)
IS_THREAD = "SELECT 1 FROM request_rows WHERE thread_id = :thread LIMIT 1"
TURN_BODY = (
    "SELECT substr(prompt, 1, 8000) AS prompt, substr(response, 1, 40000) AS response,"
    " coalesce(length(response), 0) > 40000 OR coalesce(length(prompt), 0) > 8000 AS cut"
    " FROM bodies WHERE id = :id"
)


FEW_SESSIONS = 3000
HOW_MANY_SESSIONS = (
    "SELECT count(*) AS n FROM (SELECT 1 FROM sessions WHERE provider = :provider"
    f" LIMIT {FEW_SESSIONS})"
)


def sessions(provider: bool, before: bool, few: bool = False) -> str:
    """A page of sessions, last used first.

    :param few: whether the provider has so few that they are found by it, and then put in order.
    """
    used, of = ("+s.last_used_at", "s.provider") if few else ("s.last_used_at", "+s.provider")
    terms = [f"{used} <= :at" if before else f"{used} < :until"]
    if provider:
        terms.append(f"{of} = :provider")
    if before:
        terms.append("(s.last_used_at, s.session_id) < (:at, :id)")
    return (
        "SELECT s.provider, s.session_id, s.title, s.cwd, s.access, s.turns, s.created_at,"
        " s.last_used_at, s.parent_session_id, coalesce(s.resolved_model, s.model) AS model,"
        " r.status, r.error_category, r.prompt_preview AS prompt FROM sessions s"
        f" LEFT JOIN request_rows r ON r.id = s.last_request_id WHERE {' AND '.join(terms)}"
        " ORDER BY s.last_used_at DESC, s.session_id DESC LIMIT :limit"
    )


def _conversation(with_thread: bool, thread_only: bool) -> str:
    """The ids of a conversation; each half by its own index."""
    of_session = "SELECT id FROM request_rows WHERE session_id = :session"
    of_thread = "SELECT id FROM request_rows WHERE thread_id = :thread"
    if thread_only:
        return of_thread
    return f"{of_session} UNION {of_thread}" if with_thread else of_session


def turns(with_thread: bool, thread_only: bool, after: bool) -> str:
    """A page of a conversation's turns, in their order."""
    key = " AND (r.datetime_utc, r.id) > (:at, :id)" if after else ""
    return (
        f"SELECT {LIST}, {PREVIEW} FROM request_rows r"
        f" WHERE r.id IN ({_conversation(with_thread, thread_only)}){key}"
        " ORDER BY r.datetime_utc, r.id LIMIT :limit"
    )


def turn_sums(with_thread: bool, thread_only: bool, before: bool = False) -> str:
    """What a conversation came to, or the part of it up to a turn."""
    key = " AND (r.datetime_utc, r.id) <= (:at, :id)" if before else ""
    return (
        "SELECT count(*) AS turns, sum(r.cost_usd) AS cost, sum(r.duration_ms) AS took,"
        " sum(r.input_tokens) AS input, sum(r.output_tokens) AS output FROM request_rows r"
        f" WHERE r.id IN ({_conversation(with_thread, thread_only)}){key}"
    )
