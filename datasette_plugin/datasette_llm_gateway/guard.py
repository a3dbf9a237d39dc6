"""Round every response: which hosts are served at all, and headers on pages that are not ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .csvs import Harmless
from .page import ROOT
from .recorder import config, files

__all__ = ["wrapper"]

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)


def wrapper(datasette: Any) -> Callable[[Any], Any]:
    """An ASGI wrapper; it refuses other hosts only where the configuration lists ``hosts``.

    A page of another name that resolves to this machine (DNS rebinding) would be same-origin.
    """

    def wrap(app: Any) -> Any:
        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            hosts = config(datasette).get("hosts")
            if hosts and _host(scope) not in hosts:
                await _refuse(send)
                return
            if _at_the_door(datasette, scope):
                await _to_the_screens(send, datasette)
                return
            if _ours(datasette, scope):
                send = _with_headers(send, scope["path"])
            await app(scope, receive, send)

        return guarded

    return wrap


def _host(scope: Any) -> str:
    host: str = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _ours(datasette: Any, scope: Any) -> bool:
    path = scope["path"]
    base = datasette.setting("base_url").rstrip("/")
    first = path[len(base) :].strip("/").split("/")[0].split(".")[0]
    return first in files(datasette).private or path.startswith(base + ROOT)


def _at_the_door(datasette: Any, scope: Any) -> bool:
    """Whether a login ended on Datasette's first page, where it was started for the screens."""
    home = scope["path"] == datasette.setting("base_url") and not scope["query_string"]
    return bool(home and config(datasette).get("start"))


async def _to_the_screens(send: Any, datasette: Any) -> None:
    location = datasette.urls.path(ROOT).encode()
    headers = [(b"location", location), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 302, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Any, path: str) -> Any:
    """Adds the headers, and makes of Datasette's own CSV one that a spreadsheet takes for data."""
    table: Harmless | None = None
    # Datasette shows a CSV as plain text unless it is to be saved.
    csv_types = (b"text/csv", b"text/plain") if path.endswith(".csv") else (b"text/csv",)

    async def sending(message: Any) -> None:
        nonlocal table
        if message["type"] == "http.response.start":
            headers = {name.lower(): value for name, value in message.get("headers", [])}
            there = list(message.get("headers", []))
            if headers.get(b"content-type", b"").startswith(csv_types):
                table = Harmless()
                there = [header for header in there if header[0].lower() != b"content-length"]
            extra = [header for header in _HEADERS if header[0] not in headers]
            message = {**message, "headers": [*there, *extra]}
        elif table is not None and message["type"] == "http.response.body":
            last = not message.get("more_body", False)
            message = {**message, "body": table.take(message.get("body", b""), last)}
        await send(message)

    return sending


async def _refuse(send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    body = b"This Datasette answers to localhost only. Open the address that was printed.\n"
    await send({"type": "http.response.body", "body": body})
