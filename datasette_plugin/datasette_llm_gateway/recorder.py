"""Which file is the recorder's, which is llm's own log, and whether they can be read.

The recorder is known by its schema alone: ``application_id`` says that a file is one, and
``user_version`` which tables it has.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

__all__ = ["NEWEST", "OLDEST", "PLUGIN", "Files", "attach", "config", "files", "is_gone", "prepare"]

PLUGIN = "datasette-llm-gateway"
OLDEST, NEWEST = 2, 3  # the schema versions that these screens were written for
APPLICATION_ID = 0x6C6C6D67  # "llmg"
AGAIN_SECONDS = 10.0
_MAGIC = b"SQLite format 3\0"


@dataclass
class Files:
    """What one Datasette serves: names of databases there, and paths of files."""

    recorder: str | None = None
    llm: str | None = None
    path: Path | None = None
    llm_path: Path | None = None
    described: bool = False
    off: bool = False
    private: set[str] = field(default_factory=set)
    look_again: dict[str, float] = field(default_factory=dict)


_known: WeakKeyDictionary[Any, Files] = WeakKeyDictionary()


def config(datasette: Any) -> dict[str, Any]:
    """What the operator says to this plugin: path, llm_path, attach, public, allow, hosts."""
    return datasette.plugin_config(PLUGIN) or {}


def files(datasette: Any) -> Files:
    """What is known of this Datasette's files."""
    return _known.setdefault(datasette, Files())


def attach(datasette: Any) -> Files:
    """Find both files and serve what Datasette does not serve yet; said again, looks again.

    A file that is served is not looked at again: closing it would let go of the locks that the
    connections of this process hold on it, and the gateway would remove the log under them.
    """
    found, told = files(datasette), config(datasette)
    found.llm_path = _llm_path(told)
    if found.recorder is None:
        found.path, found.off = _recorder_path(told)
        found.recorder = _served(datasette, found.path) or _first_recorder(datasette, found)
    if found.recorder is None and found.path and is_recorder(found.path) and _wanted(told):
        found.recorder = _add(datasette, found.path, "gateway")
    if found.llm is None:
        found.llm = _served(datasette, found.llm_path)
    if found.llm is None and found.recorder and _is_database(found.llm_path) and _wanted(told):
        found.llm = _add(datasette, found.llm_path, "llm")
    found.private = {name for name in (found.recorder, found.llm) if name}
    return found


def prepare(datasette: Any, connection: Any, database: str) -> None:
    """Make a connection to our files read-only, and let queries of the recorder join llm's log."""
    found = files(datasette)
    if database not in found.private:
        return
    connection.execute("PRAGMA cache_size=-32000")
    if database == found.recorder and found.llm and found.llm.isidentifier():
        uri = f"file:{quote(str(datasette.databases[found.llm].path))}?mode=ro"
        try:
            connection.execute(f'ATTACH ? AS "{found.llm}"', (uri,))
        except Exception:  # the recorder is of use without it
            found.llm_path = None
    connection.execute("PRAGMA query_only=1")


def is_recorder(path: Path) -> bool:
    """Whether a file says of itself that it is a flight recorder."""
    head = _head(path)
    return head.startswith(_MAGIC) and struct.unpack(">I", head[68:72])[0] == APPLICATION_ID


def _head(path: Path | None) -> bytes:
    try:
        with open(path or "", "rb") as file:
            head = file.read(100)
    except OSError:
        return b""
    return head if len(head) == 100 else b""


def _is_database(path: Path | None) -> bool:
    return _head(path).startswith(_MAGIC)


def _wanted(told: dict[str, Any]) -> bool:
    return told.get("attach") is not False


def _recorder_path(told: dict[str, Any]) -> tuple[Path | None, bool]:
    """The recorder's file as the gateway itself finds it, and whether it is switched off."""
    named = told.get("path") or os.environ.get("LLM_GATEWAY_LOGS_DB")
    if named is not None and named.strip().lower() in ("", "none"):
        return None, True
    if named is not None:
        path = Path(named.strip()).expanduser().absolute()
    else:
        home = os.environ.get("LLM_GATEWAY_HOME", "").strip()
        path = Path(home).expanduser().absolute() if home else Path.home() / ".llm-cli-gateway"
        path /= "logs.db"
    beside = path.with_name("gateway.db")  # where the original's logs.db was there first
    return (beside if not is_recorder(path) and is_recorder(beside) else path), False


def _llm_path(told: dict[str, Any]) -> Path:
    import click

    if told.get("llm_path"):
        return Path(told["llm_path"]).expanduser().absolute()
    named = os.environ.get("LLM_USER_PATH")
    return Path(named or click.get_app_dir("io.datasette.llm")).absolute() / "logs.db"


def _served(datasette: Any, path: Path | None) -> str | None:
    """The name under which a file is served already."""
    if path is None:
        return None
    for name, database in datasette.databases.items():
        if database.path and os.path.realpath(database.path) == os.path.realpath(path):
            return str(name)
    return None


def _first_recorder(datasette: Any, found: Files) -> str | None:
    """A recorder that the operator opened under a name of his own.

    Asked through SQLite: whoever closes a file by himself lets go of its locks.
    """
    now = time.monotonic()
    for name, database in datasette.databases.items():
        path = str(database.path or "")
        if path and now >= found.look_again.get(path, 0.0):
            found.look_again[path] = now + AGAIN_SECONDS
            if _application_id(path) == APPLICATION_ID:
                return str(name)
    return None


def _application_id(path: str) -> int:
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as connection:
            return int(connection.execute("PRAGMA application_id").fetchone()[0])
    except sqlite3.Error:
        return 0


def is_gone(datasette: Any) -> bool:
    """Whether the recorder that is served was taken away; one in its place is served at once."""
    name = files(datasette).recorder
    return name is not None and not os.path.exists(datasette.databases[name].path)


def _add(datasette: Any, path: Path, name: str) -> str:
    from .served import Served

    database = Served(datasette, path=str(path), is_mutable=True)
    return str(datasette.add_database(database, name=name).name)
