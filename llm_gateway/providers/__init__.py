"""The vendor CLIs, one module each; ``all_providers`` is the only list of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType

from ..hookspecs import hookimpl
from .base import Provider

__all__ = ["all_providers", "provider_named"]


@cache
def all_providers() -> dict[str, Provider]:
    """Return every provider by name: ours in their fixed order, then those of installed plugins.

    A plugin that fails to load is left out with one line on stderr: an exception here would end
    every llm command.
    """
    ours = sys.modules[__name__]
    try:
        return _registered(ours, installed=True)
    except Exception as error:
        print(f"llm-gateway: an installed provider failed to load: {error!r}", file=sys.stderr)
        return _registered(ours, installed=False)


def _registered(ours: ModuleType, *, installed: bool) -> dict[str, Provider]:
    import pluggy

    from .. import hookspecs

    manager = pluggy.PluginManager("llm_gateway")
    manager.add_hookspecs(hookspecs)
    if installed:
        manager.load_setuptools_entrypoints("llm_gateway")
    # Registered last and therefore called first: nobody takes the name of one of ours.
    manager.register(ours)
    found: dict[str, Provider] = {}

    def register(provider: Provider) -> None:
        found.setdefault(provider.name, provider)

    manager.hook.register_gateway_providers(register=register)
    return found


def provider_named(name: str) -> Provider:
    """Return the provider of that name; KeyError where there is none."""
    return all_providers()[name]


@hookimpl
def register_gateway_providers(register: Callable[[Provider], None]) -> None:
    from .claude import Claude
    from .codex import Codex
    from .demo import Demo
    from .gemini import Gemini
    from .grok import Grok

    register(Claude())
    register(Codex())
    register(Gemini())
    register(Grok())
    register(Demo())
