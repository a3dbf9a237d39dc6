"""Which variables a CLI gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_gateway.policy.child_env import VendorVariables, child_environment
from llm_gateway.providers import all_providers
from llm_gateway.request import Access

VENDOR = VendorVariables(
    names=("ACME_*", "ONE_NAME"),
    without=("ACME_SESSION",),
    switched={"CLOUD_*": ("ACME_USE_CLOUD", "ACME_USE_OTHER")},
)


def env_of(environ: dict[str, str], access: Access = Access.READ, *more: str) -> dict[str, str]:
    kept, _ = child_environment(environ, VENDOR, access, more)
    kept.pop("LLM_GATEWAY_ACCESS_CAP")
    return kept


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "LC_TIME", "XDG_DATA_HOME", "https_proxy", "GOPATH", "ACME_KEY", "ONE_NAME"],
)
def test_what_is_needed_passes(name: str) -> None:
    """By name or by pattern."""
    assert env_of({name: "/v"}) == {name: "/v"}


@pytest.mark.parametrize(
    "name",
    [
        *("LD_PRELOAD", "DYLD_LIBRARY_PATH", "NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP"),
        *("GITHUB_TOKEN", "AWS_SESSION_TOKEN", "OPENAI_API_KEY", "ACME_SESSION", "ONE_NAME_MORE"),
        *("path", "XACME_KEY", "RUBYOPT", "BASH_ENV", "ENV", "IFS", "GIT_DIR"),
    ],
)
def test_everything_else_stays_here(name: str) -> None:
    """Other vendors' keys, loaders' and interpreters' variables, and what nobody thought of."""
    assert env_of({name: "v"}) == {}


@pytest.mark.parametrize("value", ["1", "true", "yes", "on", "anything"])
def test_a_switch_lets_a_cloud_through(value: str) -> None:
    """Any of the switches; what switches it off is an empty or negative word."""
    assert "CLOUD_KEY" in env_of({"CLOUD_KEY": "v", "ACME_USE_OTHER": value})
    for off in ("", "0", "false", "No", " off "):
        assert "CLOUD_KEY" not in env_of({"CLOUD_KEY": "v", "ACME_USE_CLOUD": off})
    assert "CLOUD_KEY" not in env_of({"CLOUD_KEY": "v"})


def test_the_agent_socket_needs_edit() -> None:
    """At read nothing can sign in somewhere in the user's name."""
    environ = {"SSH_AUTH_SOCK": "/s"}
    assert [len(env_of(environ, level)) for level in Access] == [0, 1, 1]


def test_the_operators_switch_is_passed_on_at_full_only() -> None:
    """Not even by name."""
    environ = {"LLM_GATEWAY_ALLOW_FULL_ACCESS": "1"}
    for level in Access:
        kept = env_of(environ, level, "LLM_GATEWAY_ALLOW_FULL_ACCESS")
        assert bool(kept) == (level is Access.FULL)


@pytest.mark.parametrize("level", list(Access))
def test_the_cap_is_the_level_of_this_run(level: Access) -> None:
    """Whatever the asker's own cap is."""
    environ = {"LLM_GATEWAY_ACCESS_CAP": "full"}
    kept, _ = child_environment(environ, VENDOR, level, ["LLM_GATEWAY_ACCESS_CAP"])
    assert kept["LLM_GATEWAY_ACCESS_CAP"] == level.value


def test_withheld_secrets_are_named() -> None:
    """Names that look like secrets and did not pass, sorted; an auth error tells them."""
    names = "ZED_TOKEN OPENAI_API_KEY DB_PASSWORD AWS_REGION ACME_KEY EDITOR PATH GIVEN_TOKEN"
    environ = dict.fromkeys(names.split(), "x")
    _, withheld = child_environment(environ, VENDOR, Access.READ, ["GIVEN_TOKEN"])
    assert withheld == ("AWS_REGION", "DB_PASSWORD", "OPENAI_API_KEY", "ZED_TOKEN")


@given(st.dictionaries(st.text(min_size=1), st.text()), st.sampled_from(list(Access)))
def test_nothing_is_invented_or_changed(environ: dict[str, str], level: Access) -> None:
    """Whatever the environment: what the child gets is a part of it, and the cap."""
    kept, withheld = child_environment(environ, VENDOR, level)
    cap = kept.pop("LLM_GATEWAY_ACCESS_CAP")
    assert cap == level.value
    assert kept.items() <= environ.items()
    assert not set(withheld) & set(kept)


VENDOR_KEYS = {
    "claude": "ANTHROPIC_API_KEY",
    "codex": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "grok": "XAI_API_KEY",
}


@pytest.mark.parametrize("name", sorted(all_providers()))
def test_no_vendor_gets_another_vendors_key(name: str) -> None:
    """Each its own and no other."""
    environ = dict.fromkeys(VENDOR_KEYS.values(), "secret")
    variables = all_providers()[name].variables
    for level in Access:
        kept, _ = child_environment(environ, variables, level)
        keys = set(kept) - {"LLM_GATEWAY_ACCESS_CAP"}
        assert keys == ({VENDOR_KEYS[name]} if name in VENDOR_KEYS else set())
