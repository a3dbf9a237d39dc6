"""Round every response: which hosts are served at all, and headers on pages that are not ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
            await app(scope, receive, _with_headers(send) if _ours(datasette, scope) else send)

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


def _with_headers(send: Any) -> Any:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", [])}
            extra = [header for header in _HEADERS if header[0] not in there]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return sending


async def _refuse(send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    body = b"This Datasette answers to localhost only. Open the address that was printed.\n"
    await send({"type": "http.response.body", "body": body})
