"""``llm gateway import``: what another gateway recorded becomes part of the recorder."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import click

__all__ = ["register"]


class BadData(click.ClickException):
    """The file is not what it should be."""

    exit_code = 65


def register(group: click.Group) -> None:
    """Add the recorder's commands to a group."""
    group.add_command(import_)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("as_json", "--json", is_flag=True, help="Print the counts as a JSON object.")
def import_(file: Path, as_json: bool) -> None:
    """Take over the rows of an original llm-cli-gateway FILE.

    The file is only read. Rows that are there already are left alone, so this can be repeated;
    what was imported is never pruned.
    """
    from llm_gateway.store.import_original import NotAnOriginal, import_file
    from llm_gateway.store.recorder import open_recorder

    recorder = open_recorder(lambda text: click.echo(text, err=True))
    try:
        if recorder.connection is None:
            raise click.ClickException("The recorder is off; LLM_GATEWAY_LOGS_DB names its file.")
        counts = import_file(file, recorder.connection)
    except NotAnOriginal as error:
        raise BadData(str(error)) from error
    except (sqlite3.Error, OSError) as error:
        raise click.ClickException(f"The import ended early: {error}.") from error
    finally:
        recorder.close()
    click.echo(json.dumps(counts) if as_json else _sentence(counts))


def _sentence(counts: dict[str, int]) -> str:
    told = f"Imported {counts['requests']} requests and {counts['jobs']} jobs"
    there = counts["already_there"]
    return f"{told}; {there} were there already." if there else f"{told}."
