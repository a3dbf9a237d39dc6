"""What is installed and what would upgrade it; the CLIs here are scripts on PATH."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llm_gateway import updates
from llm_gateway.commands import group
from llm_gateway.errors import GatewayError, InvalidInput, PermissionDenied, Saturated, TimedOut
from llm_gateway.providers import all_providers, provider_named
from llm_gateway.updates import how_installed, plan, run, target_of, versions
from tests.fakes.cli import alive, until

CLAUDE, CODEX, GEMINI, GROK = map(provider_named, ("claude", "codex", "gemini", "grok"))


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _nothing_installed(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test puts there; the usual places of this machine do not count."""
    monkeypatch.setattr("llm_gateway.providers.base.INSTALL_PLACES", ())


def test_versions_as_the_clis_print_them(bin_dir: Path) -> None:
    """The number of the first line, whatever is around it; a failure still counts as installed."""
    script(bin_dir / "claude", "echo; echo '2.1.330 (Claude Code)'; echo more")
    script(bin_dir / "codex", "echo codex-cli 0.169.0-alpha.2 >&2")
    script(bin_dir / "grok", "echo 'grok 1.0.41 (4220f3b224a6)'; exit 3")
    found = {row.provider: row for row in versions(all_providers().values())}
    assert found["claude"].version == "2.1.330"
    assert found["claude"].said == "2.1.330 (Claude Code)"
    assert found["codex"].version == "0.169.0-alpha.2"
    assert (found["grok"].version, found["grok"].installed) == ("1.0.41", True)
    assert found["grok"].problem == "it exited with 3"
    assert not found["gemini"].installed and "npm install" in str(found["gemini"].problem)
    assert found["demo"].version == "1.0" and found["demo"].how == "python"


def test_a_cli_that_hangs_is_told_and_its_tree_ends(bin_dir: Path, tmp_path: Path) -> None:
    """T-43: it is asked once, and the others are not kept waiting."""
    pids = tmp_path / "pids"
    script(bin_dir / "grok", f"trap '' INT TERM; sleep 300 & echo $$ $! >> {pids}; wait")
    script(bin_dir / "claude", "echo 1.0.0")
    found = versions([GROK, CLAUDE], 1.0)
    assert found[0].installed and "did not end within 1 s" in str(found[0].problem)
    assert found[1].version == "1.0.0"
    (line,) = pids.read_text().splitlines()
    until(lambda: not any(alive(int(pid)) for pid in line.split()), 20, "the end of the tree")


def test_a_question_runs_quietly_and_nowhere(
    bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty directory, without others' keys, without updating itself."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "own")
    monkeypatch.setenv("LLM_GATEWAY_ALLOW_FULL_ACCESS", "1")
    script(bin_dir / "claude", f"(pwd; ls -A; env) > {tmp_path}/told; echo 1.2.3")
    versions([CLAUDE])
    told = (tmp_path / "told").read_text().splitlines()
    assert told[0] != os.getcwd() and "=" in told[1]
    env = dict(line.split("=", 1) for line in told[1:] if "=" in line)
    assert env["DISABLE_AUTOUPDATER"] == "1" and env["ANTHROPIC_API_KEY"] == "own"
    assert not {"OPENAI_API_KEY", "LLM_GATEWAY_ALLOW_FULL_ACCESS"} & set(env)
    assert not Path(told[0]).exists()


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/opt/homebrew/Cellar/gemini-cli/0.61.0/bin/gemini", "brew"),
        ("/home/u/.bun/install/global/node_modules/@openai/codex/bin/codex.js", "bun"),
        ("/home/u/.local/share/pnpm/codex", "pnpm"),
        ("/home/u/.nvm/versions/node/v20.1.0/lib/node_modules/@openai/codex/bin/codex.js", "npm"),
        ("/home/u/.local/share/claude/versions/2.1.0", "native"),
        ("/home/u/.grok/bin/grok", "native"),
        ("/nix/store/abc-claude/bin/claude", "nix"),
        ("/usr/bin/codex", "system"),
        ("/somewhere/else/codex", "unknown"),
    ],
)
def test_who_installed_it(path: str, how: str) -> None:
    """As far as its path tells."""
    assert how_installed(path) == how


@pytest.mark.parametrize(
    "said",
    [
        *("", " ", "-g", "--version", "a b", "a\nb", "latest;id", "$(id)", "../x", "x/y", "."),
        *("https://example.com/x.tgz", "git+ssh://x/y", "github:a/b", "npm:other@1", "file:x"),
        *("x.tgz", "1.2.3-x.tgz", "1.0.0-a.tar", "@scope/x", "a@b", "~1.2", "^1", ">=1", "*"),
    ],
)
def test_what_is_no_target(said: str) -> None:
    """T-26: npm would install any of them; nothing is run."""
    with pytest.raises(InvalidInput):
        plan(CODEX, said)


@pytest.mark.parametrize("said", ["latest", "alpha", "next-10", "1.2.3", "v0.169.0", "1.0.0-rc.1"])
def test_what_is_a_target(said: str) -> None:
    """Tags and versions."""
    assert target_of(f" {said} ") == said


@pytest.mark.parametrize(
    ("provider", "target", "args", "strategy"),
    [
        (CLAUDE, "latest", ["update"], "self-update"),
        (CLAUDE, "2.1.0", ["install", "2.1.0"], "self-update"),
        (CODEX, "latest", ["update"], "self-update"),
        (CODEX, "1.0", ["install", "-g", "@openai/codex@1.0"], "npm-global-install"),
        (GEMINI, "latest", ["install", "-g", "@google/gemini-cli@latest"], "npm-global-install"),
        (GROK, "latest", ["update"], "self-update"),
        (GROK, "1.0.0", ["update", "--version", "1.0.0"], "self-update"),
    ],
)
def test_plans_of_an_npm_installation(
    tmp_path: Path, bin_dir: Path, provider: Any, target: str, args: list[str], strategy: str
) -> None:
    """The CLI's own command where it has one, npm's where it has none."""
    real = script(tmp_path / "lib/node_modules/x/cli.js", "exit 1")
    (bin_dir / provider.command).symlink_to(real)
    made = plan(provider, target)
    assert (list(made.args), made.strategy) == (args, strategy)
    expected = str(bin_dir / provider.command) if strategy == "self-update" else "npm"
    assert made.command == expected


def test_plans_of_other_installations(tmp_path: Path, bin_dir: Path) -> None:
    """Whoever put it there upgrades it."""
    real = script(tmp_path / "Cellar/gemini-cli/1.0/bin/gemini", "exit 1")
    (bin_dir / "gemini").symlink_to(real)
    made = plan(GEMINI)
    assert (made.command, made.args) == ("brew", ("upgrade", "gemini-cli"))
    with pytest.raises(InvalidInput):
        plan(GEMINI, "1.2.3")
    real = script(tmp_path / ".bun/x/codex", "exit 1")
    (bin_dir / "codex").symlink_to(real)
    assert plan(CODEX).command == "bun"
    assert plan(CLAUDE).command == "npm" and "not installed" in str(plan(CLAUDE).note)
    with pytest.raises(InvalidInput):
        plan(provider_named("demo"))


def test_an_upgrade_is_run_once_and_bounded(
    bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time; what takes too long is ended."""
    ran = tmp_path / "ran"
    script(bin_dir / "npm", f'echo "$@" >> {ran}')
    made = plan(GEMINI, "1.2.3")
    assert run(GEMINI, made, 30).ok
    assert ran.read_text() == "install -g @google/gemini-cli@1.2.3\n"
    with updates._alone("gemini"), pytest.raises(Saturated):
        run(GEMINI, made, 30)
    with monkeypatch.context() as agent, pytest.raises(PermissionDenied):
        agent.setenv("LLM_GATEWAY_ACCESS_CAP", "edit")
        run(GEMINI, made, 30)
    script(bin_dir / "npm", "exec sleep 100")
    with pytest.raises(TimedOut):
        run(GEMINI, made, 0.5)
    (bin_dir / "npm").unlink()
    if not any(Path(place, "npm").exists() for place in ("/usr/bin", "/bin")):
        with pytest.raises(GatewayError, match="npm is not on PATH"):
            run(GEMINI, made, 30)


def test_the_command_prints_the_plan_and_runs_nothing(bin_dir: Path, tmp_path: Path) -> None:
    """Only --run does; then it tells both versions, or the reason."""
    runner, mark = CliRunner(), tmp_path / "mark"
    script(bin_dir / "npm", f"touch {mark}")
    script(bin_dir / "gemini", f"test -e {mark} && echo 2.0.0 || echo 1.0.0")
    told = runner.invoke(group, ["upgrade", "gemini", "2.0.0"])
    assert (told.exit_code, told.stdout) == (0, "npm install -g @google/gemini-cli@2.0.0\n")
    assert not mark.exists()
    data = json.loads(runner.invoke(group, ["upgrade", "gemini", "2.0.0", "--json"]).stdout)
    assert data["ran"] is False and not mark.exists()
    told = runner.invoke(group, ["upgrade", "gemini", "2.0.0", "--run"])
    assert (told.exit_code, told.stdout) == (0, "gemini: 1.0.0 → 2.0.0\n")
    script(bin_dir / "npm", "echo it is broken >&2; exit 7")
    told = runner.invoke(group, ["upgrade", "gemini", "2.0.0", "--run"])
    assert told.exit_code == 1 and "exit code 7" in told.stderr and "it is broken" in told.stderr
    assert runner.invoke(group, ["upgrade", "gemini", "x/y"]).exit_code == 65
    assert runner.invoke(group, ["upgrade", "nobody"]).exit_code == 2
