"""What every screen goes through: who may see it, whether the file can be read, how it is sent.

A view is ``async def view(page) -> Response``, made one with ``@screen("name")``. It reads through
``page.rows`` with bound parameters and answers through ``page.render``. Whatever is wrong with the
file ends in a page that says what to do.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from datasette.database import QueryInterrupted
from datasette.utils import tilde_decode
from datasette.utils.asgi import Forbidden, Response
from datasette.utils.sqlite import sqlite3

from . import access, compat
from .filters import OUTCOMES, RANGES, STATES
from .recorder import NEWEST, OLDEST, Files, attach, is_gone

__all__ = ["HEADERS", "PRIVATE", "ROOT", "Page", "Slow", "screen", "together"]

ROOT = "/-/gateway"
_STATIC = Path(__file__).parent / "static"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-store",
}
# What the navigation shows, in order: name of the screen, path below ROOT, label.
NAVIGATION: tuple[tuple[str, str, str], ...] = (
    ("dashboard", "", "Dashboard"),
    ("requests", "/requests", "Requests"),
    ("sessions", "/sessions", "Sessions"),
    ("jobs", "/jobs", "Jobs"),
    ("search", "/search", "Search"),
    ("approvals", "/approvals", "Approvals"),
    ("compare", "/compare", "Compare"),
    ("reliability", "/reliability", "Reliability"),
)


PRIVATE = (
    "The flight recorder is private. llm gateway browse prints an address that logs you in; "
    "whoever runs this Datasette can name you under allow."
)


class Slow(Exception):
    """A query ran into Datasette's time limit."""


class Unreadable(Exception):
    """The recorder cannot be read; ``kind`` names the section of the page that says why."""

    def __init__(self, kind: str, **told: Any) -> None:
        super().__init__(kind)
        self.kind, self.told = kind, told


View = Callable[["Page"], Awaitable[Response]]


class Page:
    """One request of a browser for one screen."""

    sqlite_error = sqlite3.Error

    def __init__(self, datasette: Any, request: Any, name: str, files: Files) -> None:
        self.datasette, self.request, self.name, self.files = datasette, request, name, files
        self.args: Mapping[str, str] = {key: request.args.get(key) or "" for key in request.args}
        self.path: Mapping[str, str] = request.url_vars

    @property
    def recorder(self) -> str:
        """The recorder's name as a database of this Datasette."""
        assert self.files.recorder is not None
        return self.files.recorder

    @property
    def id(self) -> str:
        """What the address names."""
        return str(tilde_decode(self.path["id"]))

    @property
    def may_act(self) -> bool:
        """Whether this actor may cancel, too."""
        return access.granted(self.datasette, self.request.actor)

    async def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        database: str | None = None,
        most_ms: int | None = None,
    ) -> list[Any]:
        """All rows of a query; raises Slow at Datasette's time limit, or at ``most_ms`` before."""
        source = self.datasette.get_database(database or self.recorder)
        try:
            result = await source.execute(
                sql,
                dict(parameters or {}),
                truncate=False,
                log_sql_errors=False,
                custom_time_limit=most_ms,
            )
        except QueryInterrupted as error:
            raise Slow from error
        return list(result.rows)

    async def row(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first row, or None."""
        found = await self.rows(sql, parameters)
        return found[0] if found else None

    async def panel(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        most_ms: int | None = None,
    ) -> list[Any] | None:
        """Rows for one part of a page; None where it took too long, so that the rest is shown."""
        try:
            return await self.rows(sql, parameters, most_ms=most_ms)
        except Slow:
            return None

    def url(self, path: str = "", **query: Any) -> str:
        """The address of a screen; what is empty is left out."""
        told = {key: value for key, value in query.items() if value not in (None, "")}
        address = str(self.datasette.urls.path(ROOT + path))
        return f"{address}?{urlencode(told)}" if told else address

    def sql_url(self, sql: str, parameters: Mapping[str, Any], format: str = "") -> str:
        """Datasette's own page for a query of the recorder."""
        used = {key: value for key, value in parameters.items() if f":{key}" in sql}
        return compat.sql_url(self.datasette, self.recorder, sql, used, format)

    async def may_sql(self) -> bool:
        """Whether the actor may run queries, so that links to them lead somewhere."""
        return await compat.may(self.datasette, self.request.actor, "execute-sql", self.recorder)

    async def render(self, template: str, /, http_status: int = 200, **context: Any) -> Response:
        """The screen as HTML."""
        body = await self.datasette.render_template(
            template, {**self._common(), **context}, request=self.request
        )
        return Response.html(body, status=http_status, headers=dict(HEADERS))

    def send(self, body: str, content_type: str, filename: str | None = None) -> Response:
        """Something else than HTML."""
        headers = dict(HEADERS)
        if filename:
            headers["content-disposition"] = f'attachment; filename="{filename}"'
        return Response(body, headers=headers, content_type=content_type)

    async def gone(self, what: str, name: str) -> Response:
        """There is nothing of that name (any more)."""
        return await self.render(
            "gateway_problem.html", http_status=404, kind="gone", what=what, asked=name
        )

    def go(self, address: str, message: str | None = None) -> Response:
        """To another page, with a word about what was done."""
        if message:
            self.datasette.add_message(self.request, message)
        return Response.redirect(address, headers=dict(HEADERS))

    def _common(self) -> dict[str, Any]:
        urls = self.datasette.urls
        tables = urls.database(self.files.recorder) if self.files.recorder else None
        return {
            "screen": self.name,
            "page": self,
            "url": self.url,
            "navigation": [(name, self.url(path), label) for name, path, label in NAVIGATION],
            "static": {
                name: f"{urls.static_plugins('datasette-llm-gateway', name)}?v={_digest(name)}"
                for name in ("gateway.css", "gateway.js")
            },
            "tables_url": tables,
            "may_act": self.may_act,
            "ranges": RANGES,
            "states": STATES,
            "outcomes": OUTCOMES,
            "show_messages": lambda: self.datasette._show_messages(self.request),
        }


def screen(name: str) -> Callable[[View], Callable[..., Awaitable[Response]]]:
    """Make a view of a function: permission, the file's state, and its failures."""

    def wrap(view: View) -> Callable[..., Awaitable[Response]]:
        async def guarded(datasette: Any, request: Any) -> Response:
            page = Page(datasette, request, name, attach(datasette))
            await _describe(page)
            if not access.may_see(datasette, request.actor):
                raise Forbidden(PRIVATE)
            if request.method == "POST" and not (page.may_act and access.is_from_here(request)):
                raise Forbidden("This may only be asked from a page of this Datasette, logged in.")
            return await _answer(page, view)

        guarded.__name__, guarded.__doc__ = view.__name__, view.__doc__
        return guarded

    return wrap


async def _describe(page: Page) -> None:
    """A recorder that appeared after the start gets its descriptions now."""
    if page.files.recorder and not page.files.described:
        from . import tables

        await tables.describe(page.datasette)


async def together(*parts: Awaitable[Any]) -> list[Any]:
    """Wait for all parts, also where one fails: no query outlives its page."""
    found = await asyncio.gather(*parts, return_exceptions=True)
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found


async def _answer(page: Page, view: View) -> Response:
    try:
        if page.files.recorder is None:
            raise Unreadable("off" if page.files.off else "missing")
        if is_gone(page.datasette):
            raise Unreadable("missing")
        return await view(page)
    except Unreadable as error:
        return await _problem(page, error)
    except Slow:
        return await _problem(page, Unreadable("slow"))
    except sqlite3.Error as error:
        return await _problem(page, await _why(page, error))
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        # Anybody can write to the file, and SQLite takes any value for any column.
        traceback.print_exc()
        return await _problem(page, Unreadable("odd", said=f"{type(error).__name__}: {error}"))


async def _why(page: Page, error: Exception) -> Unreadable:
    """A newer schema is read as long as it has what is asked for; only then it is too new."""
    said = str(error)
    if "no such" not in said:
        return Unreadable("unreadable", said=said)
    try:
        version = (await page.rows("PRAGMA user_version"))[0][0]
    except sqlite3.Error as again:
        return Unreadable("unreadable", said=str(again))
    kind = "older" if version < OLDEST else "newer" if version > NEWEST else "schema"
    return Unreadable(kind, version=version, said=said)


async def _problem(page: Page, error: Unreadable) -> Response:
    return await page.render(
        "gateway_problem.html",
        http_status=200 if error.kind in ("missing", "off") else 503,
        kind=error.kind,
        file=page.files.path,
        **{"version": None, "said": None, **error.told},
        oldest=OLDEST,
        newest=NEWEST,
    )


@functools.cache
def _digest(name: str) -> str:
    return hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]
