"""What llm sees. Importing this never raises: an exception here would end every llm command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import click
import llm

SUPPORTED = os.name == "posix"


@cache
def _models() -> list[tuple[Any, Any]]:
    if not SUPPORTED:
        from .unsupported import models

        return models()
    from .providers import provider_names

    return [_pair(name) for name in provider_names()]


@cache
def _pair(provider: str, vendor_model: str | None = None) -> tuple[Any, Any]:
    from .models import AsyncGatewayModel, GatewayModel

    return GatewayModel(provider, vendor_model), AsyncGatewayModel(provider, vendor_model)


def _offered() -> Iterator[tuple[Any, Any]]:
    """A model for each name that ``llm gateway models --refresh`` found; one file is read."""
    from .model_cache import offered
    from .providers import provider_names

    for provider, names in offered().items():
        if provider in provider_names():
            yield from (_pair(provider, name) for name in names)


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    for model, async_model in _models():
        register(model, async_model)
    if SUPPORTED:
        for model, async_model in _offered():
            register(model, async_model)


@llm.hookimpl
def register_commands(cli: click.Group) -> None:
    from .commands import group

    cli.add_command(group if SUPPORTED else _refusing(), "gateway")


def _refusing() -> click.Command:
    from .unsupported import REFUSAL

    @click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def gateway() -> None:
        """Not available on this platform."""
        raise click.ClickException(REFUSAL)

    return gateway
