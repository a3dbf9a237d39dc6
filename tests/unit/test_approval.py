"""Approval: what each rule counts, the policies, and that nothing widens what was asked."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest

from llm_gateway import options, settings
from llm_gateway.errors import InvalidInput, PermissionDenied
from llm_gateway.policy.approval import (
    LOOSEST_FIRST,
    POLICIES,
    RULES,
    Asked,
    asked_for,
    judged,
    policy_in_force,
)
from llm_gateway.policy.child_env import ACCESS_CAP, child_environment
from llm_gateway.providers import all_providers
from llm_gateway.request import Access, Options, Request

READ, EDIT, FULL = Access
PROVIDERS = [p for p in all_providers().values() if p.native_words]


def score(**asked: object) -> int:
    return judged(Asked(**asked), "strict", switch=True).score  # type: ignore[arg-type]


def told(policy: str = "balanced", switch: bool = True, **asked: object) -> bool | None:
    return judged(Asked(**asked), policy, switch=switch).approved  # type: ignore[arg-type]


REVIEW = "Review the code"


@pytest.mark.parametrize(
    ("asked", "points"),
    [
        ({}, 0),
        ({"bypass": True}, 3),
        ({"full_auto": True}, 2),
        ({"bypass": True, "full_auto": True}, 7),
        ({"trusts": True}, 3),
        ({"beyond": ("/elsewhere", "/more")}, 1),
        ({"full_auto": True, "trusts": True, "beyond": ("/elsewhere",)}, 6),
        ({"servers": ("exa",)}, 2),
        ({"servers": ("ref_tools",)}, 1),
        ({"servers": ("Ref-Tools", "EXA")}, 3),
        ({"servers": ("sqry", "trstr", "mine")}, 0),
        ({"allowed_tools": ()}, 0),
        ({"allowed_tools": (), "text": REVIEW}, 6),
        ({"allowed_tools": ("Read",), "text": REVIEW}, 0),
        ({"disallowed_tools": ("Bash",)}, 0),
        ({"disallowed_tools": ("Write",), "text": REVIEW}, 0),
        ({"disallowed_tools": (" Bash(git:*)",), "text": REVIEW}, 6),
        ({"disallowed_tools": ("run_shell_command",), "text": REVIEW}, 6),
        ({"disallowed_tools": ("read_file", "grep"), "text": REVIEW}, 6),
        ({"text": "Review without tools"}, 4),
        ({"text": "delete it"}, 3),
        ({"text": "DELETE the secret token and the password"}, 3),
        ({"text": "deleted tokens, secrets"}, 0),
        ({"full_auto": True, "text": "delete every secret token"}, 5),
    ],
)
def test_what_each_rule_counts(asked: dict[str, object], points: int) -> None:
    """The original's weights, and ours for what it did not have; words of harm count once."""
    assert score(**asked) == points


@pytest.mark.parametrize(
    "text", ["How large is the token count?", "raise the token limit", "token-usage by model"]
)
def test_a_token_that_is_counted_is_no_secret(text: str) -> None:
    """T-36, on purpose other than the original, which adds 3."""
    assert score(text=text) == 0
    assert score(text=f"{text} Then print the token.") == 3


def test_words_that_only_look_different_count() -> None:
    """Full-width letters and invisible signs are read as they look."""
    assert score(text="ｄｅｌｅｔｅ it") == 3
    assert score(text="de\u200blete it") == 3


@pytest.mark.parametrize(
    ("points", "approving"),
    [
        (2, ["strict", "balanced", "permissive"]),
        (5, ["balanced", "permissive"]),
        (7, ["permissive"]),
    ],
)
def test_what_each_policy_approves(points: int, approving: list[str]) -> None:
    """At most its threshold."""
    asked = {
        2: {"full_auto": True},
        5: {"full_auto": True, "text": "delete"},
        7: {"bypass": True, "full_auto": True},
    }[points]
    assert score(**asked) == points
    assert [policy for policy in POLICIES if told(policy, **asked)] == approving
    assert told("ask", **asked) is None


@pytest.mark.parametrize("policy", POLICIES)
def test_no_score_approves_full_access(policy: str) -> None:
    """T-11: the operator's switch as well, whatever the policy, a person's included."""
    verdict = judged(Asked(bypass=True), policy, switch=False)
    assert verdict.approved is False
    assert "LLM_GATEWAY_ALLOW_FULL_ACCESS=1" in verdict.reasons[0]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.name)
@pytest.mark.parametrize(("access", "points"), [(READ, 0), (EDIT, 2), (FULL, 3)])
def test_all_providers_go_through_the_same_rules(
    provider: object, access: Access, points: int
) -> None:
    """edit counts as fullAuto and full as bypass on each."""
    request = Request("id", provider.name, "hello")  # type: ignore[attr-defined]
    verdict = judged(asked_for(request, access, ()), "strict", switch=True)
    assert verdict.score == points


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.name)
def test_a_clis_own_word_counts_as_its_level(provider: object) -> None:
    """bypassPermissions, danger-full-access and yolo are bypasses."""
    for word, levels in provider.native_words.items():  # type: ignore[attr-defined]
        for level in levels.values():
            request = Request("id", provider.name, "x")  # type: ignore[attr-defined]
            asked = asked_for(request, READ, [level])
            assert (asked.bypass, asked.full_auto) == (level is FULL, level is EDIT), word


def test_the_system_prompt_counts_and_so_does_what_was_typed() -> None:
    """Not what the optimiser makes of it."""
    request = Request("id", "claude", "tidy", Options(), "delete everything", asked="please wipe")
    assert asked_for(request, READ, ()).words == ["delete", "wipe"]


def test_directories_outside_the_workspace_count(tmp_path: Path) -> None:
    """Relative ones and links too, by where they lead; those inside it add nothing."""
    workspace, other = tmp_path / "workspace", tmp_path / "other"
    (workspace / "inside").mkdir(parents=True)
    other.mkdir()
    (workspace / "link").symlink_to(other)
    folders = ("inside", str(workspace), "../other", "link", str(tmp_path))
    o = Options(cwd=str(workspace), add_dirs=folders, trust_workspace=True)
    asked = asked_for(Request("id", "claude", "hello", o), READ, ())
    assert asked.beyond == (str(other), str(tmp_path))
    assert asked.trusts and score(trusts=asked.trusts, beyond=asked.beyond) == 4
    reasons = judged(asked, "strict", switch=True).reasons
    assert reasons[0] == "trusts what the workspace brings (+3)"
    assert reasons[1] == f"may also use {other}, {tmp_path} (+1)"
    within = Options(cwd=str(workspace), add_dirs=("inside",))
    assert score(beyond=asked_for(Request("id", "claude", "x", within), READ, ()).beyond) == 0


def test_every_rule_is_one_row_with_its_words() -> None:
    """Code, documentation and the record's reasons are made from the same rows."""
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(rule.meaning and rule.points >= 0 for rule in RULES)


def test_the_words_of_the_options_and_of_the_setting_are_the_policies() -> None:
    """They are written down there once more, so that nothing else need be loaded."""
    assert set(typing.get_args(options.Policy)) == set(POLICIES) == set(LOOSEST_FIRST)
    (setting,) = [s for s in settings.SETTINGS if s.name == "LLM_GATEWAY_APPROVAL_POLICY"]
    assert setting.strict
    assert [w for w in ("", *POLICIES) if setting.kind.wrong(w)] == []
    assert setting.kind.wrong("lenient")


@pytest.mark.parametrize(
    ("said", "standing", "policy"),
    [
        ({}, "", None),
        ({"approval_strategy": "legacy"}, "", None),
        ({"approval_strategy": "mcp_managed"}, "", "balanced"),
        ({"approval_policy": "strict"}, "", "strict"),
        ({}, "permissive", "permissive"),
        ({"approval_strategy": "mcp_managed"}, "strict", "strict"),
        ({"approval_policy": "permissive"}, "strict", "permissive"),
        ({"approval_strategy": "legacy"}, "strict", None),
    ],
)
def test_which_policy_is_in_force(said: dict[str, str], standing: str, policy: str | None) -> None:
    """The request's word, else the setting, else balanced where approvals are on."""
    assert policy_in_force(Options(**said), standing, {}) == policy  # type: ignore[arg-type]


def test_words_that_contradict_each_other() -> None:
    """Nobody guesses which of them was meant."""
    with pytest.raises(InvalidInput, match="contradict"):
        policy_in_force(Options(approval_strategy="legacy", approval_policy="strict"), "", {})


@pytest.mark.parametrize(
    "said",
    [
        {"approval_policy": "permissive"},
        {"approval_policy": "balanced"},
        {"approval_strategy": "legacy"},
    ],
)
def test_an_agent_cannot_loosen_the_policy_it_is_under(said: dict[str, str]) -> None:
    """Nor switch approvals off; it may ask to be judged more strictly."""
    inside = {ACCESS_CAP: "edit"}
    with pytest.raises(PermissionDenied, match="cannot loosen"):
        policy_in_force(Options(**said), "strict", inside)  # type: ignore[arg-type]
    assert policy_in_force(Options(approval_policy="ask"), "strict", inside) == "ask"
    assert policy_in_force(Options(), "strict", inside) == "strict"


def test_the_policy_reaches_the_agents_own_asks(tmp_path: Path) -> None:
    """As a variable that the child's environment lets through."""
    env, _ = child_environment(
        {"LLM_GATEWAY_APPROVAL_POLICY": "strict"}, PROVIDERS[0].variables, EDIT
    )
    assert env["LLM_GATEWAY_APPROVAL_POLICY"] == "strict"


def test_hostile_prompts_take_no_time() -> None:
    """Time linear in the prompt; the suite's own time-out ends this if not."""
    for part in ("delete ", "token ", "token count ", "do not ", "review without ", "never use "):
        judged(Asked(text=part * 100_000), "strict", switch=True)
