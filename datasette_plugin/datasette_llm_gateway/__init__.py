"""Datasette screens for the flight recorder of llm-gateway: the hooks, and nothing else.

__init__.py   hooks                      recorder.py   which files, and which schema
compat.py     0.65 against 1.0           access.py     who may see, who may act
page.py       what every screen shares   filters.py    the filter bar
queries.py    every SQL                  tables.py     what Datasette's own pages say
words.py, markdown.py, charts.py, csvs.py   text, HTML, SVG, CSV
watching.py   whether the recorder was written, for views/changes.py
reopening.py  a database that follows its path
views/        one module a screen        templates/ static/
"""

from __future__ import annotations

from typing import Any

from datasette import hookimpl

from . import access, compat, guard, page, recorder, tables, words

__version__ = "0.1.0"


@hookimpl
def startup(datasette: Any) -> Any:
    recorder.attach(datasette)

    async def describe() -> None:
        await tables.describe(datasette)

    return describe


@hookimpl
def prepare_connection(conn: Any, database: str, datasette: Any) -> None:
    recorder.prepare(datasette, conn, database)


@hookimpl
def prepare_jinja2_environment(env: Any) -> None:
    env.filters.update(words.FILTERS)


@hookimpl
def register_routes() -> list[Any]:
    from .views import routes

    return routes()


@hookimpl
def asgi_wrapper(datasette: Any) -> Any:
    return guard.wrapper(datasette)


@hookimpl(trylast=True)  # on 0.65 the last word counts
def permission_allowed(datasette: Any, actor: Any, action: str, resource: Any) -> bool | None:
    return access.old_rule(datasette, actor, action, resource)


@hookimpl
def permission_resources_sql(datasette: Any, actor: Any, action: str) -> Any:
    return access.new_rule(datasette, actor, action)


@hookimpl
def menu_links(datasette: Any, actor: Any) -> list[dict[str, str]]:
    if not access.may_see(datasette, actor):
        return []
    return [{"href": datasette.urls.path(page.ROOT), "label": "llm-gateway"}]


@hookimpl
def database_actions(datasette: Any, actor: Any, database: str) -> list[dict[str, str]]:
    if database not in recorder.files(datasette).private or not access.may_see(datasette, actor):
        return []
    return [{"href": datasette.urls.path(page.ROOT), "label": "llm-gateway screens"}]


@hookimpl
def canned_queries(datasette: Any, database: str) -> dict[str, Any]:
    return tables.canned(datasette, database)


@hookimpl
def get_metadata(datasette: Any) -> dict[str, Any]:
    return tables.metadata(datasette)


@hookimpl
def render_cell(
    row: Any, value: Any, column: str, table: str | None, database: str, datasette: Any
) -> Any:
    return tables.linked(datasette, database, table, column, value, row)


__all__ = ["__version__", "compat"]
