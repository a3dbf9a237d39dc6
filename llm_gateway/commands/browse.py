"""``llm gateway browse``: the flight recorder in Datasette, for the person who starts it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import click

from .exits import OTHER, USAGE, Failed
from .output import say

__all__ = ["SETTINGS", "register"]

PORT = 8765
_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
SETTINGS = {
    "suggest_facets": "off",
    "sql_time_limit_ms": "3000",
    "facet_time_limit_ms": "500",
    "truncate_cells_html": "200",
    "default_page_size": "50",
    "allow_download": "off",
}


def register(group: click.Group) -> None:
    """Add the browser's command to a group."""
    group.add_command(browse)


@click.command()
@click.option(
    "-p", "--port", type=click.IntRange(0, 65535), help=f"Port, 0 for any free one; default {PORT}."
)
@click.option("--no-open", is_flag=True, help="Do not open a browser; the address is printed.")
def browse(port: int | None, no_open: bool) -> None:
    """Open the flight recorder in Datasette.

    The address that is printed logs its reader in, once; without it nobody sees anything. The
    recorder is made or brought up to date first. Datasette answers to this machine only and ends
    with this command. It serves the recorder as database gateway and llm's own log as llm.

    \b
    Examples:
      llm gateway browse
      llm gateway browse -p 0 --no-open
    """
    if not find_spec("datasette") or not find_spec("datasette_llm_gateway"):
        raise Failed(
            "Datasette is not installed here; install it with: llm install datasette-llm-gateway"
        )
    recorder = _recorder()
    environ = {**os.environ, "DATASETTE_SECRET": _secret()}
    argv = _argv(_free(port), _told(_configuration(recorder)), not no_open)
    sys.stdout.flush()
    _become(argv, environ)


def _recorder() -> Path:
    """The recorder's file, made and migrated."""
    from llm_gateway.store import location
    from llm_gateway.store.recorder import open_recorder

    recorder = open_recorder(say)
    off = recorder.connection is None
    recorder.close()
    path = None if off else location.locate(say)
    if path is None:
        raise Failed("The recorder is off, so there is nothing to see; see LLM_GATEWAY_LOGS_DB.")
    return path


def _configuration(recorder: Path) -> dict[str, Any]:
    plugin = {"path": str(recorder), "hosts": _HOSTS, "start": True}
    return {"allow": {"id": "root"}, "plugins": {"datasette-llm-gateway": plugin}}


def _told(configuration: dict[str, Any]) -> str:
    """A path from which the configuration can be read once; no file is left anywhere."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    with open(writing, "w") as pipe:
        json.dump(configuration, pipe)
    return f"/dev/fd/{reading}"


def _secret() -> str:
    """What cookies are signed with, the same next time, so that a login outlives a restart."""
    from llm_gateway import settings
    from llm_gateway.store.connection import create_private

    path = settings.home() / "datasette-secret"
    with open(create_private(path), "r+") as file:
        known = file.read().strip()
        if len(known) < 32:
            known = secrets.token_hex(32)
            file.seek(0)
            file.truncate()
            file.write(known)
    return known


def _free(port: int | None) -> int:
    """A port that can be listened on: the one that was asked for, or any."""
    for wanted in (PORT, 0) if port is None else (port,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except PermissionError:
                raise Failed(
                    f"Port {wanted} may not be used; take one above 1023.", USAGE
                ) from None
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Failed(f"Port {port} is in use; -p 0 takes a free one.", OTHER)


def _argv(port: int, configuration: str, opens: bool) -> list[str]:
    argv = [sys.executable, "-m", "datasette", "serve", "--root", "-h", "127.0.0.1"]
    argv += ["-p", str(port), "-m", configuration]
    for name, value in SETTINGS.items():
        argv += ["--setting", name, value]
    return [*argv, "-o"] if opens else argv


def _become(argv: list[str], environ: dict[str, str]) -> NoReturn:
    """Datasette takes this process over, so that whatever ends one ends the other."""
    os.execve(argv[0], argv, environ)
