"""The hook by which providers come in, ours and other people's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from .providers.base import Provider

hookspec = HookspecMarker("llm_gateway")
hookimpl = HookimplMarker("llm_gateway")


@hookspec
def register_gateway_providers(register: Callable[[Provider], None]) -> None:
    """Call ``register(provider)`` for each vendor CLI that this plugin knows."""
