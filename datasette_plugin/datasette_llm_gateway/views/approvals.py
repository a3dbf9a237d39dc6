"""``/-/gateway/approvals``: what was decided before anything ran, and by which rules."""

from __future__ import annotations

from typing import Any

from datasette.utils.asgi import Response

from .. import finding, queries, words
from ..charts import score_bar
from ..page import ROOT, Page, screen, together

__all__ = ["ROUTES"]

PAGE_SIZE = 50
POLICIES = ("strict", "balanced", "permissive", "ask")
DECISIONS = ("approved", "denied")
KEYS = ("decision", "provider", "policy")


@screen("approvals")
async def approvals(page: Page) -> Response:
    """Newest first, by decision, provider and policy."""
    said = {key: page.args[key] for key in KEYS if page.args.get(key)}
    at, tilde, id = page.args.get("before", "").partition("~")
    parameters = {**said, "until": "9999", "at": at, "id": id, "limit": PAGE_SIZE + 1}
    rows, decisions, providers = await together(
        page.rows(finding.approvals(said, bool(tilde)), parameters),
        page.panel(finding.DECISIONS),
        page.panel(queries.distinct("provider")),
    )
    more, rows = len(rows) > PAGE_SIZE, rows[:PAGE_SIZE]
    last = f"{rows[-1]['datetime_utc']}~{rows[-1]['id']}" if more else None
    return await page.render(
        "gateway_approvals.html",
        rows=[{**dict(row), **_scored(row)} for row in rows],
        decisions=[row for row in decisions or [] if row["decision"] in DECISIONS],
        providers=[row["value"] for row in providers or []],
        policies=POLICIES,
        said=said,
        older=page.url("/approvals", **said, before=last) if last else "",
        newer=page.url("/approvals", **said) if tilde else "",
    )


def _scored(row: Any) -> dict[str, Any]:
    """The rules that held, and their points as a bar."""
    told = words.parse_json(row["rules_json"], [])
    rules: list[dict[str, Any]] = [
        {
            "rule": words.inline(rule.get("rule"), 40).replace("_", " "),
            "points": _points(rule.get("points")),
            "reason": words.inline(rule.get("reason"), 200),
        }
        for rule in (told if isinstance(told, list) else [])[:20]
        if isinstance(rule, dict)
    ]
    rules.sort(key=lambda rule: -rule["points"])
    threshold = row["threshold"]
    return {
        "rules": rules,
        "bar": score_bar(
            [(rule["rule"], rule["points"]) for rule in rules],
            threshold if isinstance(threshold, int) else None,
        ),
    }


def _points(value: Any) -> int:
    return value if isinstance(value, int) and abs(value) < 1000 else 0


ROUTES = [(rf"^{ROOT}/approvals$", approvals)]
