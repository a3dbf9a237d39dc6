"""``llm gateway …`` and ``llm-gateway …``: one group, installed twice, one file a noun.

The console script never imports llm, and llm imports no command at its start: a command's module is
loaded when the command is named. To add one:

1. Write a module here, called after the noun, with ``register(group)`` that calls
   ``group.add_command``. Lists are plural (``jobs``), acts on one thing singular (``job show ID``).
   Import click and what lies in this package at the top, everything heavier inside the function.
   The docstring's first sentence is the short help; an example after ``\\b`` is the last part.
2. Add a line to ``COMMANDS``: name, module, short help. Tests compare them with the command.
3. Use what is shared, so that all commands feel the same:

   - ``output``: ``@json_option``, ``print_json``, ``print_table``, ``local_time``, ``span``; data
     goes to stdout. ``say`` is for people: one line on stderr.
   - ``opening.recorder()``: a context manager that gives the recorder's connection, or None where
     nothing was recorded yet (print ``[]`` or an empty table then; never make the file to look).
     Where the file cannot be used it ends the command.
   - ``exits``: any ``GatewayError`` that a command raises ends it with its sentence and the exit
     code of its category; ``exits.Failed("One sentence.", exits.USAGE)`` says the rest.
4. Run ``make docs``: docs/commands.md has every command's help.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NamedTuple

import click

from . import exits

__all__ = ["COMMANDS", "Entry", "Gateway", "group", "main"]


class Entry(NamedTuple):
    """Where a command is, and what a list of commands says about it."""

    module: str
    help: str


COMMANDS: dict[str, Entry] = {
    "submit": Entry("submit", "Begin a job that goes on without this terminal, and print its id."),
    "jobs": Entry("jobs", "List jobs, newest first, finished ones included."),
    "job": Entry("job", "Look at one job, wait for it, take its answer, cancel it."),
    "sessions": Entry(
        "sessions", "List sessions, the last used first; * marks the active one of a provider."
    ),
    "session": Entry("session", "Name a session, continue it by default, forget it."),
    "approvals": Entry("approvals", "List what was approved and denied, newest first."),
    "approval": Entry("approvals", "Show one approval, or what would become of a prompt."),
    "status": Entry("status", "Say for each provider whether it is asked, or left alone."),
    "models": Entry("models", "List the models of PROVIDER, or of all, and how they are known."),
    "versions": Entry(
        "clis", "Tell which CLIs are installed: version, path, and how they got there."
    ),
    "upgrade": Entry("clis", "Print what would upgrade PROVIDER's CLI to TARGET, or do it."),
    "doctor": Entry(
        "doctor", "Look at everything that a prompt needs; say what is broken and what mends it."
    ),
    "settings": Entry("settings", "List every setting, its value and where that is from."),
    "stats": Entry("stats", "Add up requests: successes, durations, tokens, cost, what was saved."),
    "browse": Entry("browse", "Open the flight recorder in Datasette."),
    "prune": Entry("prune", "Take old rows out of the flight recorder and give their room back."),
    "import": Entry("recorder", "Take over the rows of an original llm-cli-gateway FILE."),
}


class Gateway(click.Group):
    """A group that loads a command when it is named, and ends with an exit code by cause."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.commands and name in COMMANDS:
            import_module(f"{__name__}.{COMMANDS[name].module}").register(self)
        return self.commands.get(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if sys.stderr is None:  # it was closed, and click would put errors among the data
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read us has what it wanted; flushing at exit must not fail once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(exits.READER_GONE) from None
        except (KeyboardInterrupt, click.Abort):
            if sys.stderr.isatty():
                click.echo(err=True)
            raise click.exceptions.Exit(exits.INTERRUPTED) from None
        except Exception as error:
            if failed := exits.failure(error):
                raise failed from error
            raise


@click.group(
    cls=Gateway, epilog=exits.EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="llm-gateway", prog_name="llm-gateway")
def group() -> None:
    """Vendor coding CLIs as llm models: the flight recorder and what runs around a prompt."""
    from llm_gateway.foreground import ends_at_once

    ends_at_once()


def main() -> None:
    """The console script ``llm-gateway``."""
    if os.name != "posix":
        from llm_gateway.unsupported import REFUSAL

        sys.exit(f"Error: {REFUSAL}")
    group.main(prog_name="llm-gateway")
