"""Queries to begin one's own with, as Datasette offers them on the recorder's page.

They read the sums where sums will do, and otherwise only the newest rows, so that each is quick on
a recorder of any size. An empty parameter means what is usual.
"""

from __future__ import annotations

from typing import Any

__all__ = ["QUERIES"]

_DAYS = "date('now', '-' || coalesce(nullif(:days, ''), 30) || ' days')"
_SINCE = f"{_DAYS} || 'T00:00:00.000Z'"
_PROVIDER = "(:provider = '' OR {}provider = :provider)"
_OF = _PROVIDER.format("")


def _query(title: str, description: str, sql: str) -> dict[str, Any]:
    return {"title": title, "description": description, "sql": sql}


QUERIES: dict[str, dict[str, Any]] = {
    "cost_by_day": _query(
        "Cost by day",
        "What each provider cost on each of the last 30 (or :days) days, UTC.",
        "SELECT day, provider, sum(requests) AS requests, round(sum(cost_usd), 4) AS cost_usd,"
        " round(sum(saved_usd), 4) AS saved_usd, sum(unpriced) AS unpriced\n"
        f"FROM daily WHERE day >= {_DAYS}\nGROUP BY day, provider ORDER BY day DESC, cost_usd DESC",
    ),
    "cost_by_model": _query(
        "Cost by model",
        "The dearest models of the last 30 (or :days) days.",
        "SELECT provider, model, sum(requests) AS requests, round(sum(cost_usd), 4) AS cost_usd,\n"
        " round(sum(cost_usd) / nullif(sum(requests), 0), 5) AS usd_each,"
        " sum(unpriced) AS unpriced\n"
        f"FROM daily WHERE day >= {_DAYS}\nGROUP BY provider, model ORDER BY cost_usd DESC",
    ),
    "success_by_provider": _query(
        "Success by provider",
        "How many requests ended with an answer; what was canceled on purpose does not count.",
        "SELECT provider, sum(requests) AS requests,\n"
        " sum(requests) FILTER (WHERE status = 'completed') AS completed,\n"
        " round(100.0 * sum(requests) FILTER (WHERE status = 'completed')"
        " / sum(requests) FILTER (WHERE status <> 'canceled'), 1) AS percent\n"
        f"FROM daily WHERE day >= {_DAYS}\nGROUP BY provider ORDER BY requests DESC",
    ),
    "failures_by_category": _query(
        "Failures by category",
        "Why requests failed, by provider.",
        "SELECT category, provider, sum(requests) AS requests\n"
        f"FROM daily WHERE day >= {_DAYS} AND status NOT IN ('completed', 'canceled')\n"
        "GROUP BY category, provider ORDER BY requests DESC",
    ),
    "latest_failures": _query(
        "Latest failures",
        "The newest requests that failed, with what was said.",
        "SELECT id AS request_id, datetime_utc, provider, model, error_category, error_message,"
        " prompt_preview\n"
        f"FROM request_rows WHERE status = 'failed' AND {_PROVIDER.format('+')}\n"
        "ORDER BY datetime_utc DESC LIMIT 100",
    ),
    "slowest": _query(
        "Slowest requests",
        "The longest of all time.",
        "SELECT id AS request_id, datetime_utc, provider, model, status,"
        " duration_ms / 1000.0 AS seconds, prompt_preview\n"
        "FROM request_rows WHERE duration_ms IS NOT NULL\n"
        "ORDER BY duration_ms DESC LIMIT 100",
    ),
    "dearest": _query(
        "Dearest requests",
        "Those that cost most, of all time.",
        "SELECT id AS request_id, datetime_utc, provider, model, cost_usd, cost_basis,"
        " input_tokens, output_tokens, prompt_preview\n"
        "FROM request_rows WHERE cost_usd IS NOT NULL\n"
        "ORDER BY cost_usd DESC LIMIT 100",
    ),
    "durations": _query(
        "Histogram of durations",
        "How many answers took how long in the last 30 (or :days) days; what percentiles are"
        " read from.",
        "SELECT above_ms, upto_ms, sum(requests) AS requests\n"
        "FROM daily_durations JOIN duration_bounds USING (upto_ms)\n"
        f"WHERE day >= {_DAYS} AND status = 'completed' AND {_OF}\n"
        "GROUP BY upto_ms ORDER BY upto_ms",
    ),
    "tokens_by_model": _query(
        "Tokens by model",
        "Tokens by kind, and which part of the input came from a cache.",
        "SELECT provider, model, sum(input_tokens) AS input, sum(cache_read_tokens) AS cached,\n"
        " round(100.0 * sum(cache_read_tokens) / nullif(sum(input_tokens), 0), 1) AS"
        " percent_cached,\n sum(output_tokens) AS output, sum(reasoning_tokens) AS thinking\n"
        f"FROM daily WHERE day >= {_DAYS}\nGROUP BY provider, model ORDER BY input DESC",
    ),
    "not_run_twice": _query(
        "Not run twice",
        "Answers that another request's run had already, and what that saved.",
        "SELECT day, sum(joined) AS joined, sum(collected) AS collected, sum(reused) AS reused,\n"
        " round(sum(saved_usd), 4) AS saved_usd\n"
        f"FROM daily WHERE day >= {_DAYS}\nGROUP BY day ORDER BY day DESC",
    ),
    "retried": _query(
        "Tried again",
        "The newest requests that took more than one start of the CLI.",
        "SELECT id AS request_id, datetime_utc, provider, model, status, retry_count,"
        " error_category, prompt_preview\n"
        f"FROM request_rows WHERE retry_count > 0 AND datetime_utc >= {_SINCE}\n"
        "ORDER BY datetime_utc DESC LIMIT 200",
    ),
    "breaker_history": _query(
        "Circuit breakers",
        "Each time that a vendor was no longer asked, and was asked again.",
        "SELECT datetime_utc, provider, from_state, to_state, failures, last_error, scope\n"
        "FROM breaker_changes ORDER BY datetime_utc DESC LIMIT 200",
    ),
    "denied": _query(
        "Denied",
        "What the approval policy refused, and for which reasons.",
        "SELECT a.datetime_utc, a.request_id, a.provider, a.policy, a.score, a.threshold,\n"
        " (SELECT group_concat(json_extract(value, '$.reason'), '; ')"
        " FROM json_each(a.rules_json)) AS reasons\n"
        "FROM approvals a WHERE a.decision = 'denied' AND json_valid(a.rules_json)\n"
        "ORDER BY a.datetime_utc DESC LIMIT 200",
    ),
    "find": _query(
        "Find a phrase",
        "The newest requests in which the :words stand together.",
        "SELECT r.id AS request_id, r.datetime_utc, r.provider, r.model,"
        " snippet(bodies_fts, -1, '[', ']', '…', 16) AS found\n"
        "FROM bodies_fts JOIN bodies b ON b.seq = bodies_fts.rowid"
        " JOIN request_rows r ON r.id = b.id\n"
        "WHERE bodies_fts MATCH '\"' || replace(:words, '\"', ' ') || '\"'\n"
        "ORDER BY bodies_fts.rowid DESC LIMIT 50",
    ),
    "directories": _query(
        "Directories",
        "Where agents worked in the newest 5,000 requests, and what it cost.",
        "SELECT cwd, count(*) AS requests, round(sum(cost_usd), 4) AS cost_usd,"
        " max(datetime_utc) AS last\n"
        "FROM (SELECT cwd, cost_usd, datetime_utc FROM request_rows WHERE datetime_utc > ''\n"
        " ORDER BY datetime_utc DESC LIMIT 5000)\nGROUP BY cwd ORDER BY requests DESC",
    ),
    "tools": _query(
        "Tools",
        "Which tools agents ran in the newest 5,000 requests.",
        "SELECT t.value AS tool, r.provider, count(*) AS requests\n"
        "FROM (SELECT provider, tools_run FROM request_rows WHERE datetime_utc > ''\n"
        " ORDER BY datetime_utc DESC LIMIT 5000) r, json_each(r.tools_run) t\n"
        "WHERE json_valid(r.tools_run)\nGROUP BY tool, r.provider ORDER BY requests DESC",
    ),
    "longest_sessions": _query(
        "Longest sessions",
        "The conversations with the most turns of the 5,000 that were used last.",
        "SELECT session_id, provider, turns, title, cwd, created_at, last_used_at\n"
        "FROM (SELECT * FROM sessions WHERE last_used_at > ''"
        " ORDER BY last_used_at DESC LIMIT 5000)\nORDER BY turns DESC LIMIT 100",
    ),
    "asked_twice": _query(
        "The same prompt, several answers",
        "Prompts that were answered more than once among the newest 5,000 requests.",
        "SELECT max(id) AS request_id, max(prompt_preview) AS prompt, count(*) AS answers,\n"
        " count(DISTINCT model) AS models, round(min(duration_ms) / 1000.0, 1) AS fastest_s,\n"
        " round(max(duration_ms) / 1000.0, 1) AS slowest_s\n"
        "FROM (SELECT * FROM request_rows WHERE datetime_utc > '' AND prompt_hash IS NOT NULL\n"
        " AND +status = 'completed' ORDER BY datetime_utc DESC LIMIT 5000)\n"
        "GROUP BY prompt_hash HAVING answers > 1 ORDER BY models DESC, answers DESC LIMIT 100",
    ),
    "not_fetched": _query(
        "Jobs whose answer nobody fetched",
        "Background jobs among the newest 5,000 that ended well;"
        " llm gateway job result ID prints the answer.",
        "SELECT id AS job_id, provider, model, kind, started_at, finished_at, cwd\n"
        "FROM (SELECT * FROM job_rows WHERE status = 'completed'"
        " ORDER BY started_at DESC LIMIT 5000)\n"
        "WHERE delivered_at IS NULL AND kind <> 'foreground' LIMIT 100",
    ),
}
