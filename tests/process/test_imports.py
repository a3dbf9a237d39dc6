"""What the plugin costs every llm command, and that importing it never fails."""

from __future__ import annotations

import json

from tests.fakes.cli import FakeCli
from tests.harness import Llm

# Of the standard library, beyond what llm has loaded anyway.
CHEAP = {
    *("_compat_pickle", "_pickle", "glob", "mmap", "pickle", "_posixshmem", "fnmatch", "queue"),
    *("_queue", "click._textwrap", "_sha2", "_sha256"),
}
# llm loads its plugins when llm.cli is imported, so it is kept from doing that.
MEASURE = """
import json, os, sys
os.environ["LLM_LOAD_PLUGINS"] = ""
import llm.cli, llm.plugins
import WARM
before = set(sys.modules)
import llm_gateway.plugin
llm.plugins.pm.register(llm_gateway.plugin)
llm_gateway.plugin.register_commands(llm.cli.cli)
WORK
print(json.dumps(sorted(set(sys.modules) - before)))
"""
MODELS = """
import llm
llm.get_model("gateway-claude")
"""
COMMAND = """
from click.testing import CliRunner
for args in (["--version"], ["--help"], ["gateway", "--help"], ["logs", "path"], ["keys", "list"]):
    result = CliRunner().invoke(llm.cli.cli, args)
    assert result.exit_code == 0, (args, result.output)
"""
PROMPT = """
import llm
llm.get_model("gateway-claude").prompt("x").text()
"""


def added(llm: Llm, work: str = "", warm: str = "click") -> set[str]:
    """The modules that the plugin and some work of it add to what llm's command has loaded."""
    ran = llm.python(MEASURE.replace("WARM", warm).replace("WORK", work))
    return set(json.loads(ran.answer.splitlines()[-1]))


def foreign(modules: set[str]) -> set[str]:
    return {m for m in modules if m.split(".")[0] not in ("llm_gateway", "llm")} - CHEAP


def test_other_commands_pay_next_to_nothing(llm: Llm) -> None:
    """--version, --help, keys, logs: neither our models nor the recorder are loaded."""
    modules = added(llm, COMMAND, warm="click.testing")
    ours = {m for m in modules if m.startswith("llm_gateway")}
    assert ours == {
        "llm_gateway",
        "llm_gateway.plugin",
        *(m for m in ours if m.startswith("llm_gateway.commands")),
    }
    assert foreign(modules) == set()


def test_the_registry_loads_nothing_foreign(llm: Llm) -> None:
    """Making the models needs the standard library alone, and of that what is cheap."""
    modules = added(llm, MODELS)
    assert "llm_gateway.models" in modules
    assert foreign(modules) == set()


def test_a_prompt_loads_no_library_of_its_own(llm: Llm, claude: FakeCli) -> None:
    """jsonschema comes with a schema only; sqlite_utils with a migration, never twice."""
    first = added(llm, PROMPT)
    assert claude.call.prompt == "x"
    again = added(llm, PROMPT)
    for modules in (first, again):
        assert not {m for m in foreign(modules) if m.split(".")[0] in ("jsonschema", "referencing")}
    assert foreign(again) == set()


WINDOWS = """
import os, sys
os.environ["LLM_LOAD_PLUGINS"] = ""
import click.testing, llm.cli, llm.plugins, llm_gateway
# An editable installation's finder would make a WindowsPath.
sys.meta_path[:] = [f for f in sys.meta_path if getattr(f, "__name__", "") != "_EditableFinder"]
for name in ("fcntl", "termios", "pwd", "grp", "resource"):
    sys.modules[name] = None
os.name = "nt"
import llm_gateway.plugin as plugin
os.name = "posix"
llm.plugins.pm.register(plugin)
plugin.register_commands(llm.cli.cli)
for args in (["--version"], ["models", "-q", "gateway"], ["-m", "gateway-claude", "-n", "x"],
             ["-m", "gateway-demo", "-n", "--async", "x"], ["gateway", "import", "f", "--json"]):
    result = click.testing.CliRunner().invoke(llm.cli.cli, args)
    print(result.exit_code, result.output.splitlines()[-1])
"""


def test_on_windows_each_model_and_command_refuses(llm: Llm) -> None:
    """In one sentence; llm and everything else of it works."""
    refusal = "llm-gateway runs on Linux, macOS and WSL; on Windows, install llm inside WSL."
    lines = llm.python(WINDOWS).answer.splitlines()
    assert lines[0].startswith("0 llm, version") or "version" in lines[0]
    assert lines[1].startswith("0 ") and "gateway" in lines[1]
    assert lines[2:] == [f"1 Error: {refusal}"] * 3
