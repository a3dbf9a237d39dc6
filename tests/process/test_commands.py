"""The gateway's own commands: one group, two programs, and the habits that all of them share."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llm_gateway import errors
from llm_gateway.commands import COMMANDS, exits, group
from llm_gateway.store.migrations import VERSION
from llm_gateway.store.recorder import open_recorder
from tests.harness import Llm

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"
PROGRAM = str(Path(sys.executable).with_name("llm-gateway"))
LOADED = """
import json, sys
from llm_gateway.commands import main
for args in json.loads(sys.argv[1]):
    sys.argv = ["llm-gateway", *args]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (args, end.code)
    heavy = {m.split(".")[0] for m in sys.modules} & {"llm", "pydantic", "sqlite_utils"}
    assert not heavy, (args, heavy)
"""


def commands(inside: click.Group = group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with what is typed after ``llm gateway``."""
    context = click.Context(inside)
    for name in inside.list_commands(context):
        command = inside.get_command(context, name)
        assert command is not None, name
        yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")


ALL = dict(commands())
PRINT_NONE = {
    "job wait",
    "job cancel",
    "browse",
    *(f"session {act}" for act in ("use", "rename", "delete", "clear", "create")),
}


def test_the_list_of_commands_says_what_each_command_says() -> None:
    """Though it loads none of them."""
    for name, entry in COMMANDS.items():
        assert entry.help.rstrip(".") == ALL[name].get_short_help_str(200).rstrip("."), name


@pytest.mark.parametrize("name", ALL)
def test_every_command_is_documented_with_an_example(name: str) -> None:
    """In its own help, and in docs/commands.md."""
    said = ALL[name].help or ""
    assert (
        isinstance(ALL[name], click.Group)
        or f"llm gateway {name}" in said
        or (f"llm-gateway {name}" in said)
    ), "its help has no example"
    assert re.search(rf"^#+ llm gateway {name}$", DOCS.read_text(encoding="utf-8"), re.M)
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (name, parameter.name)


@pytest.mark.parametrize("name", [n for n in ALL if not isinstance(ALL[n], click.Group)])
def test_every_command_that_prints_data_has_json(name: str) -> None:
    """The others are named here."""
    command = ALL[name]
    names = {p.name for p in command.get_params(click.Context(command))}
    assert ("as_json" in names) != (name in PRINT_NONE)


@pytest.mark.parametrize("name", [n for n in COMMANDS if n.endswith("s")])
def test_a_list_works_before_anything_was_recorded(
    name: str, tmp_path: Path, bin_dir: Path
) -> None:
    """And looking makes no file."""
    ran = CliRunner().invoke(group, [name, "--json"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert isinstance(json.loads(ran.stdout), (list, dict))
    assert CliRunner().invoke(group, [name], catch_exceptions=False).exit_code == 0
    assert not (tmp_path / "gateway" / "logs.db").exists()


@pytest.mark.parametrize("state", ["garbage", "newer"])
def test_a_recorder_that_cannot_be_used_is_not_an_empty_one(
    state: str, tmp_path: Path, bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that polls must not take it for one without jobs."""
    path = tmp_path / "a.db"
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", str(path))
    if state == "newer":
        open_recorder(print).close()
        with closing(sqlite3.connect(path)) as conn:
            conn.execute(f"pragma user_version={VERSION + 1}")
    else:
        path.write_bytes(b"x" * 5000)
    for args in (["jobs", "--json"], ["job", "result", "@last"], ["status"], ["sessions"]):
        ran = CliRunner().invoke(group, args, catch_exceptions=False)
        assert (ran.exit_code, ran.stdout) == (exits.OTHER, ""), args
        assert str(path) in ran.stderr and ran.stderr.count("\n") == 1, args
    for name in ("models", "approvals", "settings", "doctor"):
        ran = CliRunner().invoke(group, [name, "--json"], catch_exceptions=False)
        assert isinstance(json.loads(ran.stdout), (list, dict)), name


def test_every_error_category_has_its_exit_code() -> None:
    """The table names no category that does not exist, and each code is explained."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert set(exits.CODES) <= {kind.category for kind in kinds}
    assert set(exits.CODES.values()) <= set(exits.MEANINGS)
    for kind in kinds:
        ending = exits.failure(kind("No."))
        assert ending is not None and ending.exit_code == exits.code_of(kind.category)


def test_the_program_does_not_load_llm(llm: Llm) -> None:
    """Which costs half a second; whether there is a recorder yet or not."""
    lists = [["--help"], *([name, "--json"] for name in COMMANDS if name.endswith("s"))]
    assert llm.python(LOADED, json.dumps(lists)).ok().err == ""
    assert llm.asks(("gateway-demo", "hello", {}))[0].answer
    acts = [["job", act, "@last"] for act in ("show", "tail", "result")]
    assert llm.python(LOADED, json.dumps([*lists, *acts])).ok().err == ""


def test_both_programs_are_the_same_commands(llm: Llm) -> None:
    """The help, exit codes included, differs in nothing but the name."""
    ours, theirs = llm.run(PROGRAM, "--help").answer, llm("gateway", "--help").answer
    assert ours.replace("llm-gateway", "X") == theirs.replace("llm gateway", "X")
    assert all(f"  {name} " in ours for name in COMMANDS)
    assert all(f"{code}  {said}" in ours for code, said in exits.MEANINGS.items())


def test_a_reader_that_goes_away_makes_no_noise(llm: Llm) -> None:
    """No traceback, and the exit status of a program that SIGPIPE ended."""
    code = (
        "import sys\nfrom llm_gateway.commands import *\nfrom llm_gateway.commands import output\n"
    )
    code += "import click\n@group.command()\ndef much():\n"
    code += "    output.print_table(['n'], ([n] for n in range(100_000)))\n"
    code += "group.main(['much'])\n"
    process = llm.popen(sys.executable, "-c", code)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().strip() == b"n"
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (exits.READER_GONE, b"")


@pytest.mark.parametrize("program", ["llm-gateway", "llm gateway"])
def test_an_error_is_never_data(llm: Llm, program: str) -> None:
    """With stderr closed it is lost; what reads stdout has nothing."""
    for args in ("job result nobody", "jobs --no-such-option", "no-such-command"):
        ran = llm.run("/bin/sh", "-c", f"exec {program} {args} 2>&-")
        assert (ran.code, ran.out) == (exits.USAGE, "")


@pytest.mark.parametrize("stdin", ["</dev/null", "<&-"])
def test_a_question_that_nobody_answers_says_so(llm: Llm, stdin: str) -> None:
    """And how to do it without one; nothing is done."""
    llm("-m", "gateway-demo", "x").ok()
    ran = llm.run("/bin/sh", "-c", f"exec llm-gateway prune --older-than 0 {stdin}")
    assert (ran.code, ran.out) == (exits.USAGE, "")
    assert ran.err.endswith("\nError: Nobody answered; -y does it without asking.\n")
    assert len(json.loads(llm.run(PROGRAM, "jobs", "--json").answer)) == 1


def test_ctrl_c_ends_a_command_with_its_own_code(llm: Llm) -> None:
    """In silence where nobody watches."""
    code = "from llm_gateway.commands import group\n@group.command()\ndef long():\n"
    code += "    import click, time; click.echo('on'); time.sleep(60)\ngroup.main(['long'])\n"
    process = llm.popen(sys.executable, "-c", code)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"on\n"
    process.send_signal(2)
    assert (process.wait(60), process.stderr.read()) == (exits.INTERRUPTED, b"")
