"""What a model wrote, as HTML that can do nothing: no markup of its own, no images, safe links."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from markupsafe import Markup, escape

from .words import visible

__all__ = ["LONGEST", "rendered"]

LONGEST = 100_000  # beyond that the parser takes too long, and nobody reads it as one page


async def rendered(text: str | None) -> Markup:
    """The text as HTML; as it stands where it is too long to be parsed."""
    safe = visible(text)
    if len(safe) > LONGEST:
        return Markup('<pre class="gw-pre" tabindex="0">{}</pre>').format(safe)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, _render, safe)


def _render(text: str) -> Markup:
    try:
        return Markup(_parser().render(text))
    except Exception:  # too deeply nested
        return Markup("<pre>{}</pre>").format(escape(text))


@cache
def _parser() -> Any:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.disable("image")
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("fence", _code)
    parser.add_render_rule("code_block", _code)
    parser.add_render_rule("heading_open", _heading)
    parser.add_render_rule("heading_close", _heading)
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    return parser


def _link(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return str(self.renderToken(tokens, index, options, env))


def _code(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    return str(
        Markup('<pre class="gw-pre" tabindex="0"><code>{}</code></pre>\n').format(
            tokens[index].content
        )
    )


def _heading(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """A heading of an answer stands below those of the page."""
    level = min(6, int(tokens[index].tag[1]) + 3)
    tokens[index].tag = f"h{level}"
    return str(self.renderToken(tokens, index, options, env))


def _table_open(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    return '<div class="gw-scroll" tabindex="0"><table>\n'


def _table_close(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"
