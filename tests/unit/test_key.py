"""The key of a request: everything that can change the answer is in it, the asker is not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_gateway.dedup.key import ASKERS_OPTIONS, ASKERS_PARTS, _encoded, request_key
from llm_gateway.errors import InvalidInput
from llm_gateway.providers import provider_named
from llm_gateway.providers.claude import Claude
from llm_gateway.providers.demo import Demo
from llm_gateway.records import fields, replace
from llm_gateway.request import Access, Attachment, Options, Request, Turn

ENV = {"PATH": "/usr/bin:/bin", "HOME": "/home/u", "ANTHROPIC_MODEL": "opus"}
REQUEST = Request("r-1", "claude", "prompt", Options(cwd="/"))
VALUES: dict[Any, Any] = {
    str: "said",
    int: 7,
    float: 1.5,
    bool: True,
    Access: Access.EDIT,
    tuple[str, ...]: ("said",),
    Mapping[str, str]: {"said": "so"},
}


def key(request: Request = REQUEST, **more: Any) -> str:
    known: dict[str, Any] = {
        "provider": Claude(),
        "executable": "/bin/sh",
        "env": ENV,
        "access": Access.READ,
    }
    return request_key(request, **{**known, **more})


def said(**options: Any) -> Request:
    return replace(REQUEST, options=replace(REQUEST.options, **options))


def value_of(hint: Any) -> Any:
    """Return something that is not the default of a field of that type."""
    kinds = [kind for kind in VALUES if kind == hint or kind in getattr(hint, "__args__", ())]
    assert kinds, f"a field of type {hint}: give it a value here"
    return VALUES[kinds[0]]


OPTIONS = {name: value_of(hint) for name, hint in get_type_hints(Options).items()}


def test_the_same_request_has_the_same_key() -> None:
    """Two askers, nothing in common but what they ask."""
    again = Request("r-2", "claude", "prompt", Options(cwd="/"), turn_id="t-2", thread_id="c-2")
    assert key() == key(again) == key(replace(again, keep_bodies=False))
    assert len(key()) == 64


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - ASKERS_OPTIONS - {"access"}))
def test_an_option_that_reaches_the_child_is_in_the_key(name: str) -> None:
    """A new option is one of these unless somebody says that it is the asker's."""
    assert key(said(**{name: OPTIONS[name]})) != key()


@pytest.mark.parametrize("name", sorted(ASKERS_OPTIONS | {"access"}))
def test_an_option_of_the_asker_is_not(name: str) -> None:
    """How long to wait and what to take for an answer; the level counts that is in force."""
    assert key(said(**{name: OPTIONS[name]})) == key()


@pytest.mark.parametrize(
    "changed",
    [
        replace(REQUEST, prompt="prompt "),
        replace(REQUEST, system="be brief"),
        replace(REQUEST, schema={"type": "object"}),
        replace(REQUEST, history=(Turn("user", "before"),)),
        replace(REQUEST, attachments=(Attachment("image/png", content=b"1"),)),
        replace(REQUEST, servers={"exa": "digest of its definition"}),
    ],
    ids=["prompt", "system", "schema", "history", "attachments", "servers"],
)
def test_what_was_asked_is_in_the_key(changed: Request) -> None:
    """Each part by itself."""
    assert key(changed) != key()


def test_every_part_of_a_request_is_either_asked_or_the_askers() -> None:
    """A new field of Request is in the key by default, and has to be one that can be encoded."""
    asked = {"provider", "prompt", "options", "system", "history", "attachments", "schema"}
    asked |= {"servers"}
    assert {f.name for f in fields(Request)} == asked | ASKERS_PARTS


def test_how_it_runs_is_in_the_key() -> None:
    """Provider, access in force, session."""
    keys = {key(), key(provider=Demo()), key(access=Access.EDIT), key(session="s-1 t-1")}
    assert len(keys) == 4


def test_of_the_history_only_what_was_said_counts() -> None:
    """Not what an answer's metadata has; who said it does."""
    turn = Turn("user", "before")
    with_session = replace(turn, session={"session_id": "s-1"})
    one, same = (key(replace(REQUEST, history=(t,))) for t in (turn, with_session))
    assert one == same
    assert key(replace(REQUEST, history=(Turn("assistant", "before"),))) != one
    assert key(replace(REQUEST, history=(turn, turn))) != one


def test_an_attachment_counts_by_type_and_content(tmp_path: Path) -> None:
    """Not by its name, and not by whether it lies on disk."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"picture")

    def of(**what: Any) -> str:
        return key(replace(REQUEST, attachments=(Attachment(**{"type": "image/png", **what}),)))

    first = of(path=str(tmp_path / "a.png"))
    assert first == of(path=str(tmp_path / "b.png")) == of(content=b"picture")
    (tmp_path / "a.png").write_bytes(b"Picture")
    keys = {first, of(path=str(tmp_path / "a.png")), of(content=b"picture", type="image/gif")}
    assert len(keys | {of(url="https://x/1"), of(url="https://x/2")}) == 5


def test_an_attachment_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """It is bad input, said with its name."""
    gone = Attachment("image/png", path=str(tmp_path / "gone.png"))
    with pytest.raises(InvalidInput, match=r"gone\.png cannot be read: No such file"):
        key(replace(REQUEST, attachments=(gone,)))


def test_a_schema_counts_by_what_it_says() -> None:
    """The order of its keys says nothing, the order of its lists does."""

    def of(schema: Mapping[str, Any]) -> str:
        return key(replace(REQUEST, schema=schema))

    assert of({"a": {"c": 1, "d": [1, 2]}, "b": None}) == of(
        {"b": None, "a": {"d": [1, 2], "c": 1}}
    )
    assert len({of({"a": v}) for v in ([1, 2], [2, 1], "1", 1, 1.5, True, None, {}, [])}) == 9


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "SHELL", "TZ", "VIRTUAL_ENV", "HTTPS_PROXY", "ANTHROPIC_BASE_URL"),
        *("ANTHROPIC_API_KEY", "XDG_CONFIG_HOME", "SSL_CERT_FILE", "SOMETHING_NEW"),
    ],
)
def test_a_variable_that_can_change_the_answer_is_in_the_key(name: str) -> None:
    """Its value, and whether it is there at all."""
    one, other = (key(env={**ENV, name: value}) for value in ("1", "2"))
    without = key(env={k: v for k, v in ENV.items() if k != name})
    assert len({one, other, without}) == 3


@pytest.mark.parametrize(
    "name",
    [
        *("TERM", "COLORTERM", "LANG", "LC_ALL", "XDG_SESSION_ID", "XDG_RUNTIME_DIR", "TMPDIR"),
        *("SSH_AUTH_SOCK", "PWD", "SHLVL", "LLM_GATEWAY_RUN", "LLM_GATEWAY_HOME", "LLM_USER_PATH"),
    ],
)
def test_a_variable_of_the_askers_place_is_not(name: str) -> None:
    """The same prompt from another terminal, login or locale is the same prompt."""
    assert key(env={**ENV, name: "there"}) == key()


def test_a_variable_that_the_user_passes_on_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called, but for the gateway's own."""
    monkeypatch.setenv("LLM_GATEWAY_PASS_ENV", "TERM,LLM_GATEWAY_RUN")
    assert key(env={**ENV, "TERM": "vt100"}) != key()
    assert key(env={**ENV, "LLM_GATEWAY_RUN": "1"}) == key()


def test_the_executable_counts_by_what_it_is(tmp_path: Path) -> None:
    """Another file, another time or another size is another CLI; a link to it is the same one."""
    cli, link = tmp_path / "cli", tmp_path / "link"
    cli.write_text("1")
    os.utime(cli, (1, 1))
    link.symlink_to(cli)
    first = key(executable=str(cli))
    assert key(executable=str(link)) == first
    cli.write_text("22")
    os.utime(cli, (1, 1))
    second = key(executable=str(cli))
    os.utime(cli, (2, 2))
    other = tmp_path / "other"
    other.write_text("1")
    os.utime(other, (1, 1))
    keys = {first, second, key(executable=str(cli)), key(executable=str(other))}
    assert len(keys | {key(executable=str(tmp_path / "gone"))}) == 5


def test_a_directory_counts_by_where_it_is(tmp_path: Path) -> None:
    """However it is written."""
    real, link = tmp_path / "real", tmp_path / "link"
    (real / "more").mkdir(parents=True)
    link.symlink_to(real)
    assert key(said(cwd=str(link))) == key(said(cwd=f"{real}/more/..")) != key()
    absolute = key(said(cwd=str(real), add_dirs=(f"{real}/more",)))
    assert key(said(cwd=str(link), add_dirs=("more",))) == absolute
    assert key(said(cwd=str(real), add_dirs=())) == key(said(cwd=str(real))) != absolute


def test_only_a_hash_leaves() -> None:
    """No value can be read from a key."""
    assert "secret" not in key(replace(REQUEST, prompt="secret"), env={"K": "secret"})


def test_the_providers_name_their_reading_tools() -> None:
    """Those that the read level offers; codex reads by shell commands, so it has none."""
    for name in ("claude", "gemini", "grok"):
        provider = provider_named(name)
        assert provider.workspace_tools == set(provider.levels[Access.READ].tools)
        assert provider.workspace_tools <= provider.tool_names
    assert provider_named("codex").workspace_tools == frozenset()
    assert provider_named("demo").workspace_tools == {"read"}


# Few letters, those of the encoding itself among them, so that examples come close to each other.
CLOSE = st.text("s12:al", max_size=4)
TEXT = CLOSE | st.text(st.characters(exclude_categories=[]), max_size=6)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(
    PLAIN | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
REQUESTS = st.builds(
    Request,
    st.just("r"),
    st.just("claude"),
    TEXT,
    st.builds(
        Options,
        model=st.none() | TEXT,
        cwd=st.just("/"),
        effort=st.none() | TEXT,
        allowed_tools=st.none() | st.lists(TEXT, max_size=3).map(tuple),
        disallowed_tools=st.none() | st.lists(TEXT, max_size=3).map(tuple),
        native=st.dictionaries(TEXT, TEXT, max_size=2),
    ),
    system=st.none() | TEXT,
    history=st.lists(st.builds(Turn, TEXT, TEXT), max_size=3).map(tuple),
    schema=st.none() | st.dictionaries(TEXT, JSON, max_size=2),
)


def typed(value: object) -> object:
    """Return a value so that ``==`` tells 1, 1.0 and True apart, and 0.0 and -0.0."""
    if isinstance(value, dict):
        return {k: typed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [typed(v) for v in value]
    return (type(value), str(value))


@given(JSON, JSON)
def test_two_values_have_one_encoding_only_if_they_are_equal(one: object, other: object) -> None:
    """No text, list or number can be written so that it reads as another."""
    assert (_encoded(one) == _encoded(other)) == (typed(one) == typed(other))


@given(
    st.lists(CLOSE, min_size=2, max_size=4), st.sampled_from(["s", "s2:", ":", ",", "\0", "", "1"])
)
def test_no_text_reads_as_two(texts: list[str], between: str) -> None:
    """Where one ends and the next begins is in the bytes, whatever the texts have in them."""
    assert _encoded([between.join(texts)]) != _encoded(texts)
    assert _encoded([texts]) != _encoded(texts) != _encoded([*texts, ""])


def test_half_a_surrogate_pair_is_told_from_another() -> None:
    """A variable's bytes that are no text arrive as such halves."""
    assert len({_encoded(text) for text in ("\udc80", "\udc81", "?", "\ufffd")}) == 4


@given(REQUESTS, REQUESTS)
def test_two_requests_have_one_key_only_if_they_are_equal(one: Request, other: Request) -> None:
    """Words moved from one place to another make another request."""
    assert (key(one) == key(other)) == (typed_request(one) == typed_request(other))


@given(TEXT, st.lists(st.sampled_from(["prompt", "system", "model", "effort"]), max_size=2))
def test_the_same_word_in_another_place_is_another_request(word: str, places: list[str]) -> None:
    """What is said counts where it is said."""

    def put(place: str) -> Request:
        if place in ("model", "effort"):
            return said(**{place: word})
        return replace(REQUEST, **{place: word})

    assert len({key(put(place)) for place in places}) == len(set(places))


def typed_request(request: Request) -> object:
    schema = None if request.schema is None else typed(dict(request.schema))
    return replace(request, schema=None), schema
