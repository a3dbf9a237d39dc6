"""One module a screen; each lists its own routes."""

from __future__ import annotations

from typing import Any

__all__ = ["routes"]


def routes() -> list[Any]:
    """Every route of the plugin, as Datasette wants them."""
    from . import jobs, request, requests

    return [*requests.ROUTES, *request.ROUTES, *jobs.ROUTES]
