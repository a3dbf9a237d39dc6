"""The real CLIs beside their prompts: versions, logins, models, and every flag that we pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runner import MockHandle, RunFunction

pytestmark = pytest.mark.vendor
NAMES = ("claude", "codex", "gemini", "grok")


@pytest.fixture
def told(vendor: Callable[[str], Path], run_llm: RunFunction) -> Callable[..., Any]:
    """What a command says as JSON, with all four CLIs installed."""
    for name in NAMES:
        vendor(name)

    def tell(*args: str) -> Any:
        return json.loads(run_llm("gateway", *args, "--json").stdout)

    return tell


def test_every_flag_that_we_pass_is_in_the_real_help(
    told: Callable[..., Any], mock: MockHandle
) -> None:
    """And the doctor finds nothing broken; no model is called for it."""
    data = told("doctor", "--probe")
    assert data["ok"], [c for c in data["checks"] if c["state"] == "broken"]
    checks = {(c["area"], c["subject"]): c for c in data["checks"]}
    for name in NAMES:
        assert checks["clis", name]["state"] == "ok", checks["clis", name]
        assert checks["flags", name]["state"] == "ok", checks["flags", name]
        assert checks["logins", name]["state"] == "ok", checks["logins", name]
    assert not mock.requests("/messages") and not mock.requests("/responses")
    assert "sk-test-000" not in json.dumps(data)


def test_versions_and_models_of_the_real_clis(told: Callable[..., Any], mock: MockHandle) -> None:
    """Versions from their own words; codex, grok and claude say what models they have."""
    found = {row["provider"]: row for row in told("versions")}
    for name in NAMES:
        assert found[name]["version"] and found[name]["how"] == "npm", found[name]
    listed = {row["provider"]: row for row in told("models", "--refresh")}
    for name in ("claude", "codex", "grok"):
        live = [m["name"] for m in listed[name]["models"] if m["source"] == "live"]
        assert live, listed[name]
        again = {row["provider"]: row for row in told("models")}
        assert live == [m["name"] for m in again[name]["models"] if m["source"] == "live"]
    assert listed["grok"]["default_source"] == "grok models"
    assert not mock.requests("/messages") and not mock.requests("/responses")
