"""Somebody else's provider, installed as a distribution of its own, and what it cannot do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder, logged

# The whole of a third-party provider: a CLI that prints plain text and keeps sessions by name.
TINY = '''
"""Tiny, a CLI that prints plain text and keeps sessions by name."""

from llm_gateway.errors import AuthFailed
from llm_gateway.hookspecs import hookimpl
from llm_gateway.providers.base import SHARED_OPTIONS, Level, Provider, flag, quoted_prompt
from llm_gateway.providers.parsing import Parser
from llm_gateway.request import Access, Invocation


class Tiny(Provider):
    name = "tiny"
    title = "Tiny"
    command = "tiny"
    install = "pip install tiny"
    login = "tiny login"
    levels = {
        Access.READ: Level(("--sandbox", "read"), "reads"),
        Access.EDIT: Level(("--sandbox", "write"), "writes"),
        Access.FULL: Level(("--no-sandbox",), "everything"),
    }
    options = SHARED_OPTIONS | {"mood"}
    supports_schema = False

    def plan(self, request, launch):
        session = launch.session
        argv = (
            launch.executable,
            *self.levels[launch.access].argv,
            *flag("--session-id", session.new_id),
            *flag("--resume", session.session_id),
            *flag("--model", request.options.model),
        )
        prompt = quoted_prompt(request.prompt, session.quoted)
        return Invocation(
            argv, prompt.encode(), launch.env, launch.cwd, launch.access, session
        )

    def parser(self, request, invocation):
        parser = TinyParser()
        parser.session_id = invocation.session.expected_id
        return parser


class TinyParser(Parser):
    title = "Tiny"

    def feed(self, data):
        return [self.say(data.decode("utf-8", "replace"))]

    def failure(self, exit):
        if exit.code == 0:
            self.ended = True
        elif "log in" in exit.stderr:
            return AuthFailed("Tiny knows nobody; log in with: tiny login")
        return None


@hookimpl
def register_gateway_providers(register):
    register(Tiny())
'''
Install = Callable[..., dict[str, str | None]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Install a module as a distribution that has an entry point of ours; return the variables."""

    def make(name: str, code: str) -> dict[str, str | None]:
        site = tmp_path / "site"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[llm_gateway]\n{name} = {name}\n")
        return {"PYTHONPATH": str(site)}

    return make


def test_a_provider_may_have_an_option_of_its_own(llm: Llm, install: Install) -> None:
    """What it names in ``options`` is offered."""
    env = install("gateway_tiny", TINY)
    assert "mood" in llm("models", "--options", "-m", "gateway-tiny", env=env).answer


def test_a_provider_that_cannot_make_an_environment(
    llm: Llm, bin_dir: Path, install: Install, recorder: Recorder
) -> None:
    """Whether or not the prompt could be another one's answer, its row ends."""
    fails = '    def environment(self, *_):\n        raise RuntimeError("no way")\n\n'
    env = install("gateway_tiny", TINY.replace("    def plan(", f"{fails}    def plan("))
    FakeCli(bin_dir, "tiny")
    for option in ("0", "1"):
        ran = llm("-m", "gateway-tiny", "-o", "force_refresh", option, "one", env=env)
        assert "The gateway itself failed" in ran.error and "no way" in ran.error
    assert [row["status"] for row in recorder.requests] == ["failed", "failed"]


def test_a_provider_of_sixty_lines(
    llm: Llm, bin_dir: Path, install: Install, recorder: Recorder
) -> None:
    """It streams, continues, replays, is recorded and held at its level like ours."""
    assert len(TINY.splitlines()) < 75
    env = install("gateway_tiny", TINY)
    tiny = FakeCli(bin_dir, "tiny")
    tiny.does({"bytes": "hello "}, {"bytes": "there"})
    assert llm("-m", "gateway-tiny", "-o", "model", "t1", "one", env=env).answer == "hello there\n"
    assert llm("-c", "-o", "access", "edit", "two", env=env).answer == "hello there\n"
    assert llm("-m", "gateway-demo", "-c", "demo: say hi", env=env).answer == "hi\n"
    tiny.does({"stderr": "please log in"}, exit=2)
    failed = llm("-c", "-m", "gateway-tiny", "three", env=env)
    assert failed.error.startswith("Tiny knows nobody; log in with: tiny login (session ")
    one, two, three = tiny.calls
    assert one.argv[:2] == ["--sandbox", "read"] and two.argv[:2] == ["--sandbox", "write"]
    assert two.value("--resume") == one.value("--session-id") and two.stdin == "two"
    assert two.value("--model") == "t1"
    assert three.stdin is not None and "<assistant>\nhi\n</assistant>" in three.stdin
    assert [(r["provider"], r["status"]) for r in recorder.requests] == [
        ("tiny", "completed"),
        ("tiny", "completed"),
        ("demo", "completed"),
        ("tiny", "failed"),
    ]
    assert logged(llm)[0]["response_json"]["provider"] in ("tiny", "demo")
    tiny.check()


def test_a_provider_that_cannot_be_imported_is_left_out(llm: Llm, install: Install) -> None:
    """llm and our own models go on; one line says what is wrong."""
    env = install("gateway_broken", "raise RuntimeError('no')")
    ran = llm("-m", "gateway-demo", "demo: say fine", env=env)
    assert ran.answer == "fine\n"
    assert ran.err == ("llm-gateway: an installed provider failed to load: RuntimeError('no')\n")


def test_nobody_takes_the_name_of_one_of_ours(llm: Llm, claude: FakeCli, install: Install) -> None:
    """A plugin that calls itself claude does not get claude's prompts."""
    env = install("gateway_thief", TINY.replace('name = "tiny"', 'name = "claude"'))
    (outcome,) = llm.asks(("gateway-claude", "x", {}), env=env)
    assert outcome.answer == "ok"
    assert "--output-format" in claude.call.argv
