"""The vendor CLIs, one module each, and those that other distributions bring.

``llm`` asks for the names at every start, so nothing is imported for a name alone: a provider's
module is loaded when that provider is used.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Provider

__all__ = ["OURS", "all_providers", "provider_named", "provider_names"]

OURS = ("claude", "codex", "gemini", "grok", "demo")


@cache
def provider_names() -> tuple[str, ...]:
    """The name of every provider: ours in their fixed order, then those of installed plugins."""
    from .installed import any_installed

    theirs = _installed() if any_installed() else {}
    return (*OURS, *(name for name in theirs if name not in OURS))


@cache
def provider_named(name: str) -> Provider:
    """Return the provider of that name; KeyError where there is none."""
    if name in OURS:  # nobody takes the name of one of ours
        module = import_module(f".{name}", __name__)
        provider: Provider = getattr(module, name.capitalize())()
        return provider
    return _installed()[name]


def all_providers() -> dict[str, Provider]:
    """Return every provider by name."""
    return {name: provider_named(name) for name in provider_names()}


@cache
def _installed() -> dict[str, Provider]:
    """Those of installed plugins.

    One that fails to load is left out with one line on stderr: an exception here would end every
    llm command.
    """
    import pluggy

    from .. import hookspecs

    manager = pluggy.PluginManager("llm_gateway")
    manager.add_hookspecs(hookspecs)
    found: dict[str, Provider] = {}

    def register(provider: Provider) -> None:
        found.setdefault(provider.name, provider)

    try:
        manager.load_setuptools_entrypoints("llm_gateway")
        manager.hook.register_gateway_providers(register=register)
    except Exception as error:
        print(f"llm-gateway: an installed provider failed to load: {error!r}", file=sys.stderr)
    return found
