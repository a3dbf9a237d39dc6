"""What the recorder keeps beside prompts and answers holds no secrets."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_gateway.policy.redact import _PASSES, redact, redact_argv

SECRETS = {
    "anthropic": "sk-ant-api03-AbCdEf012345-xyz_789AA",
    "openai": "sk-proj-a1B2c3D4e5F6g7H8i9J0",
    "openai old": "sk-a1B2c3D4e5F6g7H8i9J0",
    "xai": "xai-abcdefghij0123456789ABCD",
    "google": "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
    "google oauth": "ya29.a0AfH6SMBxxxxxxxxxxxxxxxx",
    "github": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github fine": "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
}
LINES = {
    "bearer": ("Authorization: Bearer abc.def-123456", "abc.def-123456"),
    "basic": ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "raw header": ('"Authorization": "0123456789abcdef"', "0123456789abcdef"),
    "assignment": ("MY_API_KEY=hunter2secret", "hunter2secret"),
    "short assignment": ("DB_PASSWORD=abc", "abc"),
    "json": ('{"api_key": "0123456789abcdef"}', "0123456789abcdef"),
    "escaped json": (r"{\"client_secret\": \"0123456789abcdef\"}", "0123456789abcdef"),
    "colon": ("password: correcthorse", "correcthorse"),
    "url": ("https://user:pa55word@example.com/x", "pa55word"),
    "url token": ("git clone https://abcdef0123@github.com/a/b", "abcdef0123"),
    "x-api-key": ("x-api-key: 0123456789abcdef", "0123456789abcdef"),
    "pem": (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
        "MIIEowIBAAKCAQEA",
    ),
    "cut pem": ("-----BEGIN PRIVATE KEY-----\nMIIEowIBAAKCAQEA", "MIIEowIBAAKCAQEA"),
}
INNOCENT = [
    "input_tokens=1500, output_tokens: 20000000",
    "HTTP 401: invalid token: expired",
    "Invalid API key · Please run /login",
    "pip install scikit-learn sk-learn-contrib-packages",
    "see https://example.com/a@b and mail a@example.com",
    "/home/u/.codex/sessions/2026/01/01/rollout-0199-abc.jsonl",
    "commit 0123456789abcdef0123456789abcdef01234567",
    "session 01980000-aaaa-7bbb-8ccc-0123456789ab",
    "max_turns: 5",
]


@pytest.mark.parametrize("name", SECRETS)
def test_key_shapes_are_taken_out_wherever_they_stand(name: str) -> None:
    """A key is found alone, quoted, in an URL's query and at the end of a sentence."""
    secret = SECRETS[name]
    for text in (secret, f'"{secret}"', f"?k={secret}&x=1", f"bad key {secret}.", f"a\n{secret}\n"):
        assert secret[8:20] not in redact(text)
        assert "[redacted]" in redact(text)


@pytest.mark.parametrize("name", LINES)
def test_secrets_that_their_surroundings_betray_are_taken_out(name: str) -> None:
    """Headers, assignments, JSON fields, URL userinfo and PEM keys lose their value."""
    text, secret = LINES[name]
    assert secret not in redact(text)


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    """Token counts, paths, hashes and ordinary error sentences are not changed."""
    assert redact(text) == text


def test_redacting_twice_changes_nothing_more() -> None:
    """Text that passes through twice reads as after the first time."""
    for text in [*SECRETS.values(), *(line for line, _ in LINES.values())]:
        assert redact(redact(text)) == redact(text)


def test_the_value_after_a_secret_flag_is_taken_out() -> None:
    """``--api-key VALUE`` has its secret in another argument."""
    argv = ["x", "--api-key", "plain", "--model", "m", "--auth-token=longsecret1"]
    assert redact_argv(argv)[:5] == ["x", "--api-key", "[redacted]", "--model", "m"]
    assert "longsecret1" not in redact_argv(argv)[5]


HOSTILE = [
    *("a", "sk-", "sk-ant-", "sk-a", "eyJ", "eyJaaaaaaaaaa.", "AKIA", "xai-", "ghp_a-"),
    *("token", "token=", "token\\", "token token ", "api_key", "secret_", "A_", "A_KEY="),
    *("://", "://a", "bearer ", "authorization:", " ", "=", '"', "\\"),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----"),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_output_takes_linear_time(piece: str) -> None:
    """A megabyte of beginnings of secrets takes seconds; quadratic time would be hours."""
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 60.0


@pytest.mark.parametrize(("needed", "pattern"), _PASSES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_no_secret_is_passed_over_unlooked_at(
    needed: tuple[str, ...], pattern: str, data: st.DataObject
) -> None:
    """Whatever a pattern matches has one of the words without which it is not tried."""
    freely = re.compile(re.sub(r"\(\?<?[=!][^)]*\)", "", pattern), re.ASCII)
    found = data.draw(st.from_regex(freely, fullmatch=True))
    assert any(word in found.lower() for word in needed)
