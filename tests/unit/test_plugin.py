"""What the package offers: entry point, public names, models, options."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from importlib.metadata import entry_points, version
from pathlib import Path

import llm
import pytest

import llm_gateway
from llm_gateway.providers import all_providers

PACKAGE = Path(llm_gateway.__file__).parent
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages([str(PACKAGE)], "llm_gateway.")
    if not m.name.endswith("demo_cli")
)


def test_the_entry_point_has_our_name() -> None:
    """Another distribution's ``gateway`` must not keep pluggy from loading ours."""
    ours = [e for e in entry_points(group="llm") if e.value == "llm_gateway.plugin"]
    assert [e.name for e in ours] == ["llm-gateway"]
    assert version("llm-gateway")


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_there(name: str) -> None:
    """Every module can be imported alone, and every name in ``__all__`` exists, sorted, once."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert [n for n in names if not hasattr(module, n)] == []
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", MODULES)
def test_no_module_prints(name: str) -> None:
    """stdout is the answer: nothing of ours writes to it except through llm or click."""
    source = Path(str(importlib.import_module(name).__file__)).read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            to_stderr = any(k.arg == "file" for k in node.keywords)
            assert node.func.id != "print" or to_stderr, f"{name}:{node.lineno}"


def test_every_provider_has_a_sync_and_an_async_model() -> None:
    """With the same options, attachments and abilities."""
    models = {m.model_id: m for m in llm.get_models()}
    async_models = {m.model_id: m for m in llm.get_async_models()}
    for name, provider in all_providers().items():
        model, other = models[f"gateway-{name}"], async_models[f"gateway-{name}"]
        assert str(model) == f"Gateway: gateway-{name}"
        assert model.can_stream and other.can_stream
        assert model.supports_schema == other.supports_schema == provider.supports_schema
        assert set(model.attachment_types) == set(provider.attachment_types)
        assert set(model.Options.model_fields) == set(other.Options.model_fields)


def test_every_option_is_unset_by_default_and_explained() -> None:
    """A default that is not None would defeat ``llm models options set`` and be logged always."""
    for name in all_providers():
        for option, field in llm.get_model(f"gateway-{name}").Options.model_fields.items():
            assert field.default is None, (name, option)
            assert field.description and not field.description.endswith("."), (name, option)


def test_every_provider_states_every_level() -> None:
    """What a level means is one table, with words for the docs."""
    for provider in all_providers().values():
        assert len(provider.levels) == 3
        for level in provider.levels.values():
            assert level.allows
        assert provider.title and provider.install and provider.login
