"""``/-/gateway/changes``: says to a page that the recorder was written, so that it looks again.

Server-Sent Events that carry nothing of the recorder: what is new is asked for as a page's own
part, with that page's permissions. Who is kept from the stream by a proxy looks every two seconds.
"""

from __future__ import annotations

import asyncio
from typing import Any

from datasette.utils.asgi import Forbidden, Response

from .. import access
from ..page import HEADERS, PRIVATE, ROOT
from ..recorder import attach
from ..watching import Full, is_ending, watch_of

__all__ = ["ROUTES"]

TYPE = "text/event-stream"
RETRY_MS = 3000
BEAT_SECONDS = 15.0
LONGEST_SECONDS = 300.0  # EventSource comes again, with whatever it may see by then
APART_SECONDS = 1.0
_EVENT = "event: written\ndata: 1\n\n"
STUCK_SECONDS = 10.0  # who takes nothing in for so long is gone


async def changes(datasette: Any, request: Any, send: Any, receive: Any) -> Response | None:
    """A stream, for who may see the screens and asks for one."""
    files = attach(datasette)
    if not access.may_see(datasette, request.actor):
        raise Forbidden(PRIVATE)
    if request.method != "GET":
        return _refused("Only GET has an answer here.", 405, allow="GET")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Forbidden("Only a page of this Datasette may listen.")
    if TYPE not in request.headers.get("accept", ""):
        return _refused("This address is for EventSource.", 406)
    if files.recorder is None:
        return _refused("There is no flight recorder yet.", 503)
    path = datasette.get_database(files.recorder).path
    try:
        with watch_of(datasette).listen(path) as changed:
            await _Stream(send, receive, changed).run()
    except Full:
        return _refused("So many listen that this page has to look by itself.", 503)
    return None


def _refused(why: str, status: int, **headers: str) -> Response:
    return Response.text(f"{why}\n", status=status, headers={**HEADERS, **headers})


class _Stream:
    """One browser that listens."""

    def __init__(self, send: Any, receive: Any, changed: asyncio.Event) -> None:
        self._send, self._receive, self._changed = send, receive, changed

    async def run(self) -> None:
        """Until the browser leaves, the server ends or it was long enough."""
        gone = asyncio.ensure_future(self._gone())
        try:
            await self._begin()
            await self._tell(gone)
            if not gone.done():
                await self._write(b"", last=True)
        except (asyncio.TimeoutError, OSError):
            pass  # whoever listened is gone
        finally:
            gone.cancel()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _begin(self) -> None:
        headers = {
            **HEADERS,
            "content-type": TYPE,
            "cache-control": "private, no-store, no-transform",
            "x-accel-buffering": "no",
        }
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": encoded})
        # The first event says at once that events arrive here.
        await self._write(f"retry: {RETRY_MS}\n\n{_EVENT}".encode())

    async def _tell(self, gone: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_SECONDS
        self._changed.clear()
        while loop.time() < end and not gone.done() and not is_ending():
            if await self._waited(gone, min(BEAT_SECONDS, end - loop.time())):
                self._changed.clear()
                await self._write(_EVENT.encode())
                await asyncio.wait([gone], timeout=APART_SECONDS)
            elif not gone.done():
                await self._write(b": still here\n\n")

    async def _waited(self, gone: asyncio.Future[None], seconds: float) -> bool:
        """Whether there was a change in that time, and not the end."""
        change = asyncio.ensure_future(self._changed.wait())
        either: list[asyncio.Future[Any]] = [gone, change]
        try:
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
        return self._changed.is_set() and not gone.done() and not is_ending()

    async def _write(self, body: bytes, last: bool = False) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": not last}
        await asyncio.wait_for(self._send(message), STUCK_SECONDS)


ROUTES = [(rf"^{ROOT}/changes$", changes)]
