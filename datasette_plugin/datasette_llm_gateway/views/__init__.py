"""One module a screen; each lists its own routes. To add one:

1. A module here: ``@screen("name") async def name(page) -> Response`` and ``ROUTES``; add it below
   and to ``page.NAVIGATION``.
2. Its SQL goes to ``queries``, with bound parameters; read with ``page.rows``, or ``page.panel``
   for a part that may take too long (None: say so there, the page stays).
3. A template that extends ``gateway_base.html``; ``gw`` has the macros that make all screens look
   the same: ``request_table``, ``filter_bar``, ``status``, ``provider``, ``time``, ``step``,
   ``pager``, ``empty``. No inline script or style: the policy forbids both. Text from the recorder
   goes through ``gw_inline`` (one line) or ``gw_visible``.
4. The tests look at every route: tests/datasette/conftest.py fills the gaps of its pattern.
"""

from __future__ import annotations

from typing import Any

__all__ = ["routes"]


def routes() -> list[Any]:
    """Every route of the plugin, as Datasette wants them."""
    from . import (
        approvals,
        changes,
        compare,
        dashboard,
        jobs,
        reliability,
        request,
        requests,
        search,
        session,
    )

    screens = (
        dashboard, requests, request, session, jobs, search, approvals, compare, reliability,
        changes,
    )  # fmt: skip
    return [route for module in screens for route in module.ROUTES]
