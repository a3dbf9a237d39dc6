"""The key of a request: equal for two asks only if the same answer would do for both.

Whatever is not known to be the asker's own affair is a part of it, so that a new option makes two
spawns of what could have been one, never one of what should have been two. Values are only hashed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from .. import settings
from ..errors import InvalidInput
from ..providers.base import Provider
from ..records import fields
from ..request import Access, Attachment, Options, Request
from ..wildcards import matches

__all__ = ["ASKERS_OPTIONS", "ASKERS_PARTS", "ASKERS_VARIABLES", "request_key"]

FORMAT = "1"
CHUNK = 1024 * 1024

# Who asks, and what becomes of the answer.
ASKERS_PARTS = frozenset({"id", "turn_id", "thread_id", "keep_bodies", "asked", "approval"})
# How long this asker waits, how often it tries, and what it takes for an answer.
ASKERS_OPTIONS = frozenset(
    {
        *("timeout", "idle_timeout", "retries", "retry_wait", "ignore_breaker"),
        *("correlation_id", "reuse", "force_refresh", "durable", "create_new_session"),
        *("approval_strategy", "approval_policy", "optimize_prompt", "optimize_response"),
    }
)
# Where the asker sits: its terminal, its locale, its login, its place for temporary files. The
# gateway's own and llm's variables are in the key as far as they have become options.
ASKERS_VARIABLES = (
    *("TERM", "TERM_*", "COLORTERM", "COLUMNS", "LINES", "LANG", "LANGUAGE", "LC_*"),
    *("SSH_*", "XDG_SESSION_*", "XDG_SEAT", "XDG_SEAT_PATH", "XDG_VTNR", "XDG_RUNTIME_DIR"),
    *("XDG_CURRENT_DESKTOP", "XDG_MENU_PREFIX", "XDG_GREETER_*", "XDG_ACTIVATION_TOKEN"),
    *("TMPDIR", "PWD", "OLDPWD", "SHLVL", "_"),
)
OURS = ("LLM_*",)


def request_key(
    request: Request,
    provider: Provider,
    executable: str,
    env: Mapping[str, str],
    access: Access,
    session: str = "",
) -> str:
    """Return the key of a request whose options are complete.

    :param env: the child's environment. :param access: the level that it will run at.
    :param session: for a turn of a continued session: which one, and the last turn it has seen.
    :raises InvalidInput: for an attachment that cannot be read.
    """
    parts = {
        **_parts(request),
        "format": FORMAT,
        "provider": provider.name,
        "executable": _identity(executable),
        "environment": _environment(env),
        "access": access,
        "session": session,
    }
    return hashlib.sha256(_encoded(parts)).hexdigest()


def _parts(request: Request) -> dict[str, Any]:
    parts = {f.name: getattr(request, f.name) for f in fields(Request)}
    return {
        **{name: value for name, value in parts.items() if name not in ASKERS_PARTS},
        "options": _options(request.options),
        "history": [(turn.role, turn.text) for turn in request.history],
        "attachments": [(a.type, _content(a)) for a in request.attachments],
    }


def _options(options: Options) -> dict[str, Any]:
    """Return the options that reach the child; the level is apart, directories go by their place.

    An option that was not said is left out, so that a new one changes no key while it is unused.
    """
    said = {f.name: getattr(options, f.name) for f in fields(Options)}
    cwd = os.path.realpath(options.cwd or ".")
    dirs = [os.path.realpath(os.path.join(cwd, folder)) for folder in options.add_dirs or ()]
    said |= {"cwd": cwd, "add_dirs": dirs or None}
    return {
        name: value
        for name, value in said.items()
        if value is not None and name not in ASKERS_OPTIONS and name != "access"
    }


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    named = set(settings.pass_env())
    return {name: value for name, value in env.items() if _counts(name, named)}


def _counts(name: str, named: set[str]) -> bool:
    if matches(name, OURS):
        return False
    return name in named or not matches(name, ASKERS_VARIABLES)


def _identity(executable: str) -> tuple[object, ...]:
    real = os.path.realpath(executable)
    try:
        stat = os.stat(real)
    except OSError:
        return (real,)
    return (real, stat.st_mtime_ns, stat.st_size)


def _content(attachment: Attachment) -> bytes | str | None:
    """Return the hash of an attachment's bytes, or the address of one that has none here."""
    if attachment.content is not None:
        return hashlib.sha256(attachment.content).digest()
    return attachment.url if attachment.path is None else _file_hash(attachment.path)


def _file_hash(path: str) -> bytes:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InvalidInput(
            f"The attachment {path} cannot be read: {error.strerror or error}."
        ) from None
    return digest.digest()


def _encoded(value: object) -> bytes:
    """Return bytes that no other value has: its kind, its length, and what it is made of."""
    kind, data = _kind(value), b"".join(_inside(value))
    return b"%s%d:%s" % (kind, len(data), data)


def _kind(value: object) -> bytes:
    if isinstance(value, Mapping):
        return b"m"
    for types, kind in KINDS:
        if isinstance(value, types):
            return kind
    raise TypeError(f"a request cannot be told from others by a {type(value).__name__}")


# A kind of another kind comes before it: bool before int, an Enum of words before str.
KINDS: tuple[tuple[Any, bytes], ...] = (
    (Enum, b"e"),
    (bool, b"b"),
    (int, b"i"),
    (float, b"f"),
    (str, b"s"),
    (bytes, b"y"),
    ((list, tuple), b"l"),
    ((set, frozenset), b"u"),
    (type(None), b"n"),
)


def _inside(value: object) -> Iterator[bytes]:
    if isinstance(value, Mapping):
        yield from sorted(_encoded(key) + _encoded(value[key]) for key in value)
    elif isinstance(value, Enum):
        yield _encoded(value.value)
    elif isinstance(value, (set, frozenset)):
        yield from sorted(map(_encoded, value))
    elif isinstance(value, (list, tuple)):
        yield from map(_encoded, value)
    elif isinstance(value, bytes):
        yield value
    elif value is not None:
        yield str(value).encode("utf-8", "surrogatepass")
