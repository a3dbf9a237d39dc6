"""``llm gateway …``: one file a noun."""

from __future__ import annotations

import click

from . import recorder, settings

__all__ = ["group"]


@click.group()
def group() -> None:
    """Vendor coding CLIs as llm models: the flight recorder and what runs around a prompt."""


recorder.register(group)
settings.register(group)
