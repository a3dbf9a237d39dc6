"""From what -o says to our options."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from llm_gateway.options import OPTIONS, options_class, options_of
from llm_gateway.providers import all_providers
from llm_gateway.providers.claude import Claude
from llm_gateway.providers.demo import Demo
from llm_gateway.records import fields
from llm_gateway.request import Access, Options

SAID: Any = options_class(Claude())


def said(**values: Any) -> Options:
    return options_of(SAID(**values), Claude())


def test_nothing_said_is_nothing_set() -> None:
    """Every field is None."""
    assert said() == Options()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a , b ,", ("a", "b")),
        ('["a,b", "c"]', ("a,b", "c")),
        ("Bash(git log:*,git show:*),Read", ("Bash(git log:*,git show:*)", "Read")),
        ("Read,Bash(a(b,c),d)", ("Read", "Bash(a(b,c),d)")),
        ("x),y", ("x)", "y")),
        (["a", "b"], ("a", "b")),
        ([], ()),
        ("", ()),
    ],
)
def test_a_list_of_words(value: object, words: tuple[str, ...]) -> None:
    """JSON, commas outside parentheses, or a Python list."""
    assert said(allowed_tools=value).allowed_tools == words


@pytest.mark.parametrize("value", ['["a"', "[1, 2]", '{"a": 1}]', [1], {"a": 1}, 5])
def test_what_is_no_list_of_words(value: object) -> None:
    """Refused by pydantic, which names the option; a word with a brace is a word."""
    if value == '{"a": 1}]':
        assert said(allowed_tools=value).allowed_tools == (value,)
        return
    with pytest.raises(ValidationError):
        SAID(allowed_tools=value)


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        ("access", "edit", Access.EDIT),
        ("timeout", "1.5", 1.5),
        ("retry_wait", "0", 0.0),
        ("max_turns", "3", 3),
        ("resume_latest", "yes", True),
        ("create_new_session", "0", False),
        ("trust_workspace", "on", True),
        ("max_cost_usd", "0.01", 0.01),
        ("effort", "anything", "anything"),
    ],
)
def test_strings_from_the_command_line(name: str, value: str, result: object) -> None:
    """-o is always text; pydantic makes it what it has to be."""
    assert getattr(said(**{name: value}), name) == result


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("timeout", v) for v in ("0", "-1", "x", "")),
        *(("idle_timeout", v) for v in ("0", "soon")),
        *(("max_turns", v) for v in ("0", "1.5")),
        *(("max_cost_usd", v) for v in ("0", "-1")),
        *(("access", v) for v in ("all", "READ", "")),
        ("retry_wait", "-0.1"),
        ("no_such_option", "1"),
    ],
)
def test_values_that_are_refused(name: str, value: str) -> None:
    """Before anything runs."""
    with pytest.raises(ValidationError):
        SAID(**{name: value})


@pytest.mark.parametrize("name", ["timeout", "idle_timeout", "retry_wait", "max_cost_usd"])
def test_a_number_is_a_number(name: str) -> None:
    """nan would never be reached and break every comparison."""
    with pytest.raises(ValidationError):
        SAID(**{name: "nan"})


def test_the_clis_own_words_are_kept_apart() -> None:
    """They are checked against the level by the provider."""
    options = said(permission_mode="plan", model="opus")
    assert options.native == {"permission_mode": "plan"} and options.model == "opus"


def test_a_provider_offers_what_it_has() -> None:
    """And llm refuses the rest by name, because its class forbids extras."""
    assert set(options_class(Demo()).model_fields) == Demo.options
    with pytest.raises(ValidationError, match="effort"):
        options_class(Demo()).model_validate({"effort": "high"})


def test_every_option_of_ours_is_in_the_table_once() -> None:
    """The table, the record and the providers speak of the same options."""
    names = [option.name for option in OPTIONS]
    assert len(set(names)) == len(names)
    ours = {one.name for one in fields(Options)} - {"native"}
    native = {word for p in all_providers().values() for word in p.native_words}
    assert ours <= set(names) and set(names) - ours <= native
    for provider in all_providers().values():
        assert provider.options <= set(names), provider.name
