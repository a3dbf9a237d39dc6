"""Which models are known, how that is told, and what a word means that stands for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.errors import InvalidInput
from llm_gateway.model_cache import cached, listing_of, offered, remember
from llm_gateway.model_names import aliases_in, models_in
from llm_gateway.providers import provider_named
from llm_gateway.providers.catalogue import Listing, claude_listing, codex_listing, grok_listing
from llm_gateway.registry import known, resolve

CLAUDE, CODEX, GEMINI, GROK = map(provider_named, ("claude", "codex", "gemini", "grok"))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def home(tmp_path: Path, name: str) -> Path:
    return tmp_path / "user" / name


# The grammar of the variables.


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a, b\nc", {"a": "", "b": "", "c": ""}),
        ("a=the first,b = second ", {"a": "the first", "b": "second"}),
        (
            '["a", {"id": "b", "desc": "B"}, {"model": "c", "description": "C"}]',
            {"a": "", "b": "B", "c": "C"},
        ),
        ('{"a": "A"}', {"a": "A"}),
        ('["a"', {'["a"': ""}),
        ("", {}),
    ],
)
def test_names_in_a_variable(text: str, names: dict[str, str]) -> None:
    """JSON or a list; broken JSON is one name, if it can be one."""
    assert models_in(text) == (names, [])


@pytest.mark.parametrize("text", ["a b", "[a b", "--model", '[""]', "a\tb,c d"])
def test_what_can_be_no_name(text: str) -> None:
    """A blank, a flag, nothing: left out and told."""
    names, wrong = models_in(text)
    assert names == {} and wrong


def test_aliases_in_a_variable() -> None:
    """Lower case; the variable for all providers needs to say whose; broken JSON has none."""
    assert aliases_in("Fast=haiku, best = opus") == ({"fast": "haiku", "best": "opus"}, [])
    assert aliases_in('{"x": "y"}')[0] == {"x": "y"}
    found, wrong = aliases_in("claude.Fast=haiku, codex.fast=c, fast=x", "claude.")
    assert (found, len(wrong)) == ({"fast": "haiku"}, 1)
    assert aliases_in('{"x": ')[0] == {}
    assert aliases_in("my fast=haiku, x=")[0] == {} and len(aliases_in("my fast=haiku, x=")[1]) == 2


# What is known.


def test_hints_say_that_they_are_hints() -> None:
    """T-39: a name from the source code is of low confidence; claude's have an order."""
    found = known(CLAUDE, {})
    assert [k.name for k in found.ordered()][:3] == ["sonnet", "opus", "haiku"]
    assert {(k.source, k.confidence) for k in found.models.values()} == {("fallback", "low")}
    assert found.default == "sonnet"
    for provider in (CODEX, GEMINI, GROK):
        assert known(provider, {}).default is None


def test_a_stronger_source_says_what_a_name_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """env over live over config over observed over fallback; the day is kept."""
    monkeypatch.setenv("GROK_MODELS", "grok-4.6=mine")
    observed = [("grok-4.6", "the recorder", "2026-01-02"), ("grok-9", "the recorder", "")]
    listing = Listing({"grok-4.6": "listed", "grok-5": "new"}, "grok-5")
    found = known(GROK, {}, observed=observed, listing=listing, listed_by="grok models")
    row = found.models["grok-4.6"]
    assert (row.source, row.confidence, row.description) == ("env", "high", "mine")
    assert (row.detail, row.last_seen) == ("GROK_MODELS", "2026-01-02")
    assert found.models["grok-9"].confidence == "low"
    assert (found.default, found.default_source) == ("grok-5", "grok models")


@pytest.mark.parametrize(
    ("provider", "file", "text", "default"),
    [
        (CLAUDE, ".claude/settings.json", '{"model": "opus"}', "opus"),
        (CLAUDE, ".claude/settings.local.json", '{"model": {"name": "opus"}}', "opus"),
        (CODEX, ".codex/config.toml", 'model = "gpt-x"', "gpt-x"),
        (GEMINI, ".gemini/settings.json", '// mine\n{"model": {"name": "g" /*x*/}}', "g"),
        (GEMINI, ".gemini/settings.json", '{"selectedModel": "s", "defaultModel": "d"}', "s"),
        (GROK, ".grok/config.toml", '[models]\ndefault = "grok-x"', "grok-x"),
    ],
)
def test_the_clis_own_files(
    tmp_path: Path, provider: Any, file: str, text: str, default: str
) -> None:
    """What they say is the default, and a model of medium confidence."""
    write(home(tmp_path, file), text)
    found = known(provider, {"HOME": str(tmp_path / "user")})
    assert found.default == default
    assert found.default_source == str(home(tmp_path, file))
    assert found.models[default].source == "config"
    assert found.ordered()[0].name == default


def test_defaults_by_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """settings.json, settings.local.json, the CLI's variable, ours: the later wins."""
    env = {"HOME": str(tmp_path / "user")}
    write(home(tmp_path, ".claude/settings.json"), '{"model": "a"}')
    assert known(CLAUDE, env).default == "a"
    write(home(tmp_path, ".claude/settings.local.json"), '{"model": "b"}')
    assert known(CLAUDE, env).default == "b"
    assert known(CLAUDE, {**env, "ANTHROPIC_MODEL": "c"}).default == "c"
    monkeypatch.setenv("CLAUDE_DEFAULT_MODEL", "d")
    assert known(CLAUDE, {**env, "ANTHROPIC_MODEL": "c"}).default == "d"
    assert {"a", "b", "c", "d"} <= set(known(CLAUDE, {**env, "ANTHROPIC_MODEL": "c"}).models)


def test_another_path_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original's variables still name it; codex has more names in it."""
    text = 'model = "m"\n[profiles.fast]\nmodel = "f"\n[notice.model_migrations]\nold = "new"\n'
    write(tmp_path / "c.toml", text)
    monkeypatch.setenv("CODEX_CONFIG_PATH", str(tmp_path / "c.toml"))
    found = known(CODEX, {})
    assert found.models["f"].description == "profile fast"
    assert found.models["new"].description == "migration target"
    assert found.models["old"].description.startswith("Legacy model")


def test_a_file_that_cannot_be_parsed_is_a_warning(tmp_path: Path) -> None:
    """Said once; so is a name that can be none."""
    write(home(tmp_path, ".codex/config.toml"), "model = ")
    found = known(CODEX, {"HOME": str(tmp_path / "user")})
    assert found.warnings == [f"{home(tmp_path, '.codex/config.toml')} cannot be parsed"]
    assert "a b" in known(GEMINI, {"GEMINI_MODEL": "a b"}).warnings[0]
    assert known(GEMINI, {"GEMINI_MODEL": "a b"}).default is None


def test_gemini_s_own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its chats name models, at any depth; large files and links are left out; it can be off."""
    monkeypatch.setenv("GEMINI_HISTORY_ROOT", str(tmp_path / "h"))
    monkeypatch.setenv("GEMINI_HISTORY_MAX_FILE_BYTES", "100")
    write(
        tmp_path / "h/p/chats/a.jsonl", '{"x": {"model": "gemini-9-pro"}}\n{"modelId": "gemini-8"}'
    )
    write(tmp_path / "h/p/chats/b.json", '{"model": "large"}' + " " * 100)
    write(tmp_path / "x.json", '{"model": "outside"}')
    (tmp_path / "h/p/chats/c.json").symlink_to(tmp_path / "x.json")
    assert {name for name, _, _ in GEMINI.seen_models()} == {"gemini-9-pro", "gemini-8"}
    found = known(GEMINI, {}, observed=GEMINI.seen_models())
    assert found.models["gemini-8"].source == "observed" and found.default is None
    monkeypatch.setenv("GEMINI_DISABLE_HISTORY_DISCOVERY", "1")
    assert list(GEMINI.seen_models()) == []


# What a word means.


def test_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, the default's words, aliases, anything else as it is."""
    monkeypatch.setenv("CLAUDE_MODEL_ALIASES", "Fast=haiku,std=default,x=y")
    monkeypatch.setenv("LLM_GATEWAY_MODEL_ALIASES", "claude.x=global,claude.z=zed,codex.z=no")
    for said, meant in {
        None: None,
        "  ": None,
        "default": "sonnet",
        "LATEST": "sonnet",
        "fast": "haiku",
        "FAST": "haiku",
        "std": "sonnet",
        "x": "y",
        "z": "zed",
        " opus ": "opus",
        "claude-unknown-9": "claude-unknown-9",
    }.items():
        assert resolve(CLAUDE, said, {}) == meant, said
    # The original filled in nothing here either.
    assert resolve(CODEX, "latest", {}) is None
    assert resolve(CODEX, None, {"CODEX_DEFAULT_MODEL": "x"}) is None


def test_the_newest_of_gemini_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest configured one. On purpose unlike the original, a hint of ours is never it."""
    assert resolve(GEMINI, "flash", {}) == "flash"
    monkeypatch.setenv("GEMINI_MODELS", "gemini-2.5-pro,gemini-2.5-flash")
    assert resolve(GEMINI, "flash", {}) == "gemini-2.5-flash"
    monkeypatch.setenv("GEMINI_MODELS", "gemini-2.5-pro,gemini-10-pro,gemini-10-pro-b,a-pro")
    assert resolve(GEMINI, "Pro", {}) == "gemini-10-pro"
    assert resolve(GEMINI, "flash", {}) == "flash"


@pytest.mark.parametrize("said", ["--help", "-m", "a b", "a\nb"])
def test_a_flag_is_no_model(said: str) -> None:
    """T-09: it would be an option of the CLI's."""
    with pytest.raises(InvalidInput):
        resolve(CLAUDE, said, {})


# What the CLIs list.


def test_what_the_clis_print() -> None:
    """The real ones' forms; hidden models of codex are left out."""
    text = "Default model: grok-4.6\n\nAvailable models:\n  * grok-4.6 (default)\n  - grok-4.5\n"
    assert grok_listing(text) == Listing({"grok-4.6": "", "grok-4.5": ""}, "grok-4.6")
    rows = [
        {"slug": "a", "description": "A\nx", "visibility": "list"},
        {"slug": "b", "visibility": "hide"},
    ]
    assert codex_listing(json.dumps({"models": rows})).models == {"a": "A\nx"}
    helped = (
        "  --mcp <x>  'no'\n  --model <model>   Use an alias (e.g. 'fable', 'opus', or\n"
        "     'sonnet').\n  -n, --name 'no'\n"
    )
    assert list(claude_listing(helped).models) == ["fable", "opus", "sonnet"]


# What is kept of it.


def test_what_was_learnt_is_kept_for_llm(tmp_path: Path) -> None:
    """0600, one provider at a time."""
    remember({"codex": {"offered": ["a"], "listed": {"a": "A"}, "listed_by": "codex x"}})
    remember({"grok": {"offered": ["b", "--x"]}})
    assert offered() == {"codex": ["a"], "grok": ["b"]}
    assert listing_of("codex") == ({"a": "A"}, None, "codex x, None")
    assert listing_of("grok") is None
    file = tmp_path / "gateway" / "models.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in file.parent.iterdir()] == ["models.json"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{",
            "[]",
            "null",
            '"x"',
            '{"format": 2, "providers": {"codex": {"offered": ["a"]}}}',
        ),
        *(
            '{"format": 1}',
            '{"format": 1, "providers": []}',
            '{"format": 1, "providers": {"c": 1}}',
        ),
        "[" * 100_000,
    ],
)
def test_a_broken_file_is_an_empty_one(tmp_path: Path, text: str) -> None:
    """Whatever it holds: an exception here would end every llm command."""
    write(tmp_path / "gateway" / "models.json", text)
    assert cached() == {} and offered() == {} and listing_of("codex") is None


def test_offered_names_of_a_wrong_kind(tmp_path: Path) -> None:
    """Are not offered."""
    text = '{"format": 1, "providers": {"codex": {"offered": ["a", 1, "b c", null], "listed": []}}}'
    write(tmp_path / "gateway" / "models.json", text)
    assert offered() == {"codex": ["a"]}


def test_llm_offers_what_is_kept() -> None:
    """As gateway-PROVIDER/NAME, sync and async, with the provider's options; else nothing more."""
    import llm

    ids = {m.model_id for m in llm.get_models()}
    assert "gateway-codex" in ids and not any("/" in i for i in ids if i.startswith("gateway-"))
    remember({"codex": {"offered": ["gpt-x"]}, "nobody": {"offered": ["y"]}})
    more = {m.model_id for m in llm.get_models()} - ids
    assert more == {"gateway-codex/gpt-x"}
    model = llm.get_async_model("gateway-codex/gpt-x")
    assert (model.vendor_model, model.Options) == ("gpt-x", llm.get_model("gateway-codex").Options)
