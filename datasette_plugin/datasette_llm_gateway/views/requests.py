"""``/-/gateway/requests``: everything that was asked, by filters, newest first."""

from __future__ import annotations

from typing import Any

from datasette.utils.asgi import Response

from .. import queries, words
from ..csvs import as_csv
from ..filters import COMMON_VALUES, Filters
from ..page import ROOT, Page, screen, together
from ..plans import Plan, plan_of

__all__ = ["ROUTES", "choices"]

PAGE_SIZE = 50
EXPORT_SIZE = 10_000


@screen("requests")
async def requests(page: Page) -> Response:
    """The list, or with ``_format`` the same rows as CSV or JSON."""
    filters = Filters.of(page.args)
    if page.args.get("_format") in ("csv", "json"):
        return await _export(page, filters, page.args["_format"])
    listed, options = await together(_page_of(page, filters), choices(page))
    rows, newer, older, plan = listed
    return await page.render(
        "gateway_requests.html",
        rows=rows,
        longest=_long(rows or []),
        newer=newer and page.url("/requests", **filters.query(after=newer)),
        older=older and page.url("/requests", **filters.query(before=older)),
        filters=filters,
        choices=options,
        exports=await _exports(page, filters, plan),
    )


async def choices(page: Page) -> dict[str, list[str]]:
    """What the filter bar offers: what there is."""
    columns = ("provider", "model")
    found = await together(*(page.panel(queries.distinct(column)) for column in columns))
    return {
        column: [row["value"] for row in rows or []]
        for column, rows in zip(columns, found, strict=True)
    }


def _long(rows: list[Any]) -> float:
    """What fills a meter: longer than nine of ten, so that one that hung does not hide the rest."""
    took = sorted(words.number(row["duration_ms"]) or 0 for row in rows)
    return took[len(took) * 9 // 10] if took else 0


async def _page_of(page: Page, filters: Filters) -> tuple[list[Any] | None, str, str, Plan]:
    """Rows, the keys of the pages before and after them, and how they were found."""
    after = _key(page.args.get("after"))
    before = None if after else _key(page.args.get("before"))
    plan = await plan_of(page, filters, before[0] if before else "", after[0] if after else "")
    if plan.empty:
        return [], "", "", plan
    at, id = before or after or ("", "")
    parameters = {**plan.parameters, "at": at, "id": id, "limit": PAGE_SIZE + 1}
    found = await page.panel(plan.page(bool(before), bool(after)), parameters)
    if found is None:
        return None, "", "", plan
    more, rows = len(found) > PAGE_SIZE, found[:PAGE_SIZE]
    if after:
        rows.reverse()
    if not rows:
        return [], "", "", plan
    newer = more if after else bool(before)
    older = True if after else more
    return rows, _key_of(rows[0]) if newer else "", _key_of(rows[-1]) if older else "", plan


def _key_of(row: Any) -> str:
    return f"{row['datetime_utc']}~{row['id']}"


def _key(text: str | None) -> tuple[str, str] | None:
    at, tilde, id = (text or "").partition("~")
    return (at, id) if tilde else None


async def _exports(page: Page, filters: Filters, plan: Plan) -> list[tuple[str, str]]:
    links = [
        ("CSV", page.url("/requests", **filters.query(_format="csv"))),
        ("JSON", page.url("/requests", **filters.query(_format="json"))),
    ]
    if await page.may_sql():
        sql = plan.page().replace(" LIMIT :limit", "")
        links.append(("SQL", page.sql_url(sql, plan.parameters)))
    table = page.datasette.urls.table(page.recorder, "request_rows")
    exact = {"provider", "model", "status", "access", "outcome"}
    said = {key: value for key, value in filters.said.items() if key in exact}
    query = [f"{key}__exact={_quoted(value)}" for key, value in said.items()]
    query += [  # so that their indexes are used
        f"{key}__not={common}"
        for key, common in COMMON_VALUES.items()
        if said.get(key, common) != common
    ]
    return [("Table", "&".join([f"{table}?_sort_desc=datetime_utc", *query])), *links]


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


async def _export(page: Page, filters: Filters, format: str) -> Response:
    plan = await plan_of(page, filters)
    parameters = {**plan.parameters, "limit": EXPORT_SIZE}
    rows = [] if plan.empty else await page.rows(plan.page(), parameters)
    columns = [*queries.LIST_COLUMNS, "prompt"]
    if format == "csv":
        return page.send(as_csv(columns, rows), "text/csv; charset=utf-8", "requests.csv")
    return Response.json([{name: row[name] for name in columns} for row in rows], default=str)


ROUTES = [
    (rf"^{ROOT}/requests$", requests),
]
